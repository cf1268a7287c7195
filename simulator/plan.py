"""The plan that decides which occasion gets which fault.

A rule says whom a fault strikes; a `FaultPlan` holds the rules and is asked at each occasion:
`decide(where, facts, now)`, or `standing(...)` where faults are conditions. It has neither clock
nor I/O, and its randomness comes from its seed, so the same plan asked the same questions gives the
same answers.
"""

from collections import deque
from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase
from random import Random
from typing import Annotated, Any, Final, NamedTuple, Self

import msgspec
from msgspec import Meta, Struct, structs

from simulator.faults import FAULTS, ONCE, Direction, Fault, Where
from simulator.keys import owner_of

__all__ = [
    "Applies",
    "Facts",
    "FaultPlan",
    "Injection",
    "Match",
    "Rule",
    "Strike",
]

Seconds = Annotated[float, Meta(ge=0, le=1e9)]
Applies = Callable[[int, Fault], bool]
"""Tells of the number of a rule and its fault whether it could do anything."""

_LOG_LENGTH: Final = 10_000  # injections remembered; older ones are forgotten


class Facts(NamedTuple):
    """What is known about one occasion; None where it does not apply."""

    path: str | None = None
    """Of the request, or of the address of a webhook."""
    job: str | None = None
    """The id of the job."""
    connection: int | None = None
    """Of a channel, or of a TCP connection where the fault is one of the link; each kind is
    numbered from 1 in the order of opening."""
    direction: Direction | None = None
    """Which way data was going."""
    key: str | None = None
    """A digest of the caller's API key (`keys.owner_of`)."""


class Strike(NamedTuple):
    """A fault that a rule has chosen for an occasion."""

    rule: int
    """The number of the rule."""
    fault: Fault
    direction: Direction | None
    """To which the rule is confined; None for both."""


class Match(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """Whom a rule strikes; None matches everything.

    Args:
        path: a glob over the path of the request, such as `/status/*`.
        job: a glob over the job id.
        connection: the number of the channel, or of the TCP connection for a fault of the link.
        key: the API key of the caller; of a rule that was added only its digest is kept and shown.
        nth: only the n-th occasion (from 1) that fits the rest.
        direction: `in` for what the server receives, `out` for what it sends.
    """

    path: str | None = None
    job: str | None = None
    connection: Annotated[int, Meta(ge=1)] | None = None
    key: Annotated[str, Meta(min_length=1, max_length=1000)] | None = None
    nth: Annotated[int, Meta(ge=1)] | None = None
    direction: Direction | None = None

    def fits(self, facts: Facts) -> bool:
        """Tell whether the occasion fits, `nth` left aside."""
        return (
            _fits_glob(self.path, facts.path)
            and _fits_glob(self.job, facts.job)
            and self.connection in (None, facts.connection)
            and self.key in (None, facts.key)
            and self.direction in (None, facts.direction)
        )


class Rule(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """One line of a plan: which fault, whom it strikes, how often and when.

    Args:
        fault: the name of the fault.
        parameters: the fields of that fault.
        match: whom it strikes.
        probability: how likely a fitting occasion is struck.
        count: how often it strikes at most; None for no limit.
        after: seconds after it was added from which it strikes.
        for_: seconds, from then, for which it strikes; None for ever.
        seed: of its randomness; None takes it from the plan and the number of the rule.
    """

    fault: str
    parameters: dict[str, Any] = {}
    match: Match = Match()
    probability: Annotated[float, Meta(ge=0, le=1)] = 1.0
    count: Annotated[int, Meta(ge=1)] | None = None
    after: Seconds = 0.0
    for_: Seconds | None = None
    seed: int | str | None = None

    @classmethod
    def of(cls, fault: Fault, **options: Any) -> Self:
        """Return the rule for a fault.

        Args:
            fault: what to show.
            options: the other fields of a rule.
        """
        parameters = msgspec.to_builtins(fault)
        return cls(fault=fault.name, parameters=parameters, **options)

    @classmethod
    def from_dict(cls, document: object) -> Self:
        """Return the rule that a dict describes.

        Args:
            document: its fields as the control API and plan files have them: `for`, not `for_`.

        Raises:
            ValueError: it describes none; the text says where and why.
        """
        if isinstance(document, dict) and "for" in document:
            document = {"for_" if key == "for" else key: said for key, said in document.items()}
        try:
            rule = msgspec.convert(document, cls)
        except msgspec.ValidationError as error:
            raise ValueError(f"This is no rule: {error}.") from error
        rule.build()
        return rule

    def to_dict(self) -> dict[str, Any]:
        """Return the dict from which `from_dict` makes this rule."""
        document: dict[str, Any] = msgspec.to_builtins(self)
        return document

    def without_key(self) -> Self:
        """Return this rule with the digest of a key in place of the key, to be kept and shown."""
        if self.match.key is None:
            return self
        match = structs.replace(self.match, key=owner_of(self.match.key))
        return structs.replace(self, match=match)

    def build(self) -> Fault:
        """Return the fault itself.

        Raises:
            ValueError: there is no fault of this name, or it has no such parameters.
        """
        kind = FAULTS.get(self.fault)
        if kind is None:
            raise ValueError(f"There is no fault {self.fault!r}; there are {', '.join(FAULTS)}.")
        try:
            return msgspec.convert(self.parameters, kind)
        except msgspec.ValidationError as error:
            text = str(error).rstrip(".")
            raise ValueError(f"The fault {self.fault!r} has other parameters: {text}.") from error


class Injection(NamedTuple):
    """One fault that was shown."""

    at: float
    """Monotonic time in seconds."""
    rule: int
    """The number of the rule."""
    fault: str
    """The name of the fault."""
    facts: Facts
    """Whom it struck."""


class FaultPlan:
    """Decide which occasion gets which fault. That of a simulator is `Simulator.faults`.

    Args:
        seed: of all its randomness.
    """

    def __init__(self, seed: int | str = 0) -> None:
        self.seed = seed
        self._armed: dict[int, _Armed] = {}
        self._by_where: dict[Where, list[_Armed]] = {}
        self._last_id = 0
        self._log: deque[Injection] = deque(maxlen=_LOG_LENGTH)
        self._listeners: dict[object, Callable[[], None]] = {}

    @property
    def log(self) -> list[Injection]:
        """The faults shown so far, the oldest first; the newest 10,000 are kept."""
        return list(self._log)

    @property
    def rules(self) -> dict[int, Rule]:
        """The rules that hold, by their number."""
        return {number: armed.rule for number, armed in self._armed.items()}

    def struck(self, number: int) -> int:
        """Return how often a rule has struck; 0 if there is none of this number.

        Args:
            number: of the rule, as `add` returned it.
        """
        armed = self._armed.get(number)
        return armed.struck if armed else 0

    def add(self, fault: Fault | Rule, *, now: float | None = None, **options: Any) -> int:
        """Add a rule and return its number.

        Args:
            fault: what to show, such as `HttpStatus(status=503)`, or a whole rule.
            now: when the rule begins, monotonic seconds; None for when the plan is next asked.
            options: the other fields of `Rule`: match (a `Match` or a dict), probability, count,
                after, for_, seed.

        Raises:
            ValueError: a value is out of its range; the text says which one.
        """
        rule = Rule.of(fault, **options) if isinstance(fault, Fault) else fault
        # A Struct checks its fields only when it is converted.
        rule = Rule.from_dict(rule.to_dict()).without_key()
        self._last_id += 1
        number = self._last_id
        armed = _Armed(number, rule, Random(_seed_of(rule, self.seed, number)), now)
        self._armed[number] = armed
        self._by_where.setdefault(armed.fault.where, []).append(armed)
        self._changed()
        return number

    def remove(self, number: int) -> bool:
        """Remove one rule; return whether there was one of this number.

        Args:
            number: of the rule, as `add` returned it.
        """
        armed = self._armed.pop(number, None)
        if armed is None:
            return False
        self._by_where[armed.fault.where].remove(armed)
        self._changed()
        return True

    def heal(self) -> None:
        """Remove all rules; whatever was standing ends."""
        self._armed.clear()
        self._by_where.clear()
        self._changed()

    def asks(self, where: Where) -> bool:
        """Tell whether any rule could strike there, so that a busy path can skip the question."""
        return bool(self._by_where.get(where))

    def in_force(self, where: Where, now: float) -> frozenset[int]:
        """Return the numbers of the rules there whose time it is."""
        rules = self._by_where.get(where, ())
        return frozenset(armed.number for armed in rules if armed.holds(now))

    def decide(
        self, where: Where, facts: Facts, now: float, *, applies: Applies | None = None
    ) -> Fault | None:
        """Return the fault of the first rule that strikes this occasion, or None.

        Args:
            where: the kind of the occasion; a rule of the `server` strikes once.
            facts: what is known about it.
            now: monotonic seconds.
            applies: tells of a rule's number and fault whether it could do anything here; it is
                asked before chance is, and what it spares is not counted. None for always.
        """
        for armed in self._by_where.get(where, ()):
            if not armed.fits(facts, now) or (
                applies is not None and not applies(armed.number, armed.fault)
            ):
                continue
            if armed.strikes(facts):
                self._log.append(Injection(now, armed.number, armed.rule.fault, facts))
                return armed.fault
        return None

    def standing(
        self, where: Where, facts: Facts, now: float, *, applies: Applies | None = None
    ) -> list[Strike]:
        """Return the faults under which a channel, a link, the port or the clock stands now.

        Each rule decides once for each connection, and that stands while the rule holds. To a
        direction they are confined by their rules; `facts` has none.

        Args:
            where: one of `faults.STANDING`.
            facts: what is known about it.
            now: monotonic seconds.
            applies: as for `decide`; asked only where nothing is decided yet.
        """
        found = []
        for armed in self._by_where.get(where, ()):
            direction = armed.rule.match.direction
            if not armed.fits(facts._replace(direction=direction), now):
                continue
            is_new = facts.connection not in armed.decided
            if is_new and applies is not None and not applies(armed.number, armed.fault):
                continue
            if is_new:
                armed.decided[facts.connection] = armed.strikes(facts)
            if not armed.decided[facts.connection]:
                continue
            if is_new:
                self._log.append(Injection(now, armed.number, armed.rule.fault, facts))
            found.append(Strike(armed.number, armed.fault, direction))
        return found

    def forget(self, where: Where, connection: int) -> None:
        """Drop what was decided for a channel or link that is gone."""
        for armed in self._by_where.get(where, ()):
            armed.decided.pop(connection, None)

    def next_change(self, now: float) -> float | None:
        """Return when a rule next begins or ends by itself, in monotonic seconds, or None."""
        times = [at for armed in self._armed.values() for at in armed.times(now) if at > now]
        return min(times, default=None)

    def on_change(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call `listener` whenever rules come or go; return a function that ends that."""
        ticket = object()
        self._listeners[ticket] = listener

        def stop() -> None:
            self._listeners.pop(ticket, None)

        return stop

    def _changed(self) -> None:
        for listener in tuple(self._listeners.values()):
            listener()


class _Armed:
    """A rule at work: its fault, its randomness and what it has done so far."""

    __slots__ = ("decided", "fault", "number", "random", "rule", "seen", "since", "struck")

    def __init__(self, number: int, rule: Rule, random: Random, since: float | None) -> None:
        self.number = number
        self.rule = rule
        self.fault = rule.build()
        self.random = random
        self.since = since
        self.seen = 0
        self.struck = 0
        self.decided: dict[int | None, bool] = {}

    def fits(self, facts: Facts, now: float) -> bool:
        """Tell whether the rule holds and is about this occasion, chance and `nth` left aside."""
        return self.holds(now) and self.rule.match.fits(facts)

    def strikes(self, facts: Facts) -> bool:
        """Decide whether an occasion that fits is struck."""
        if self.fault.where in ONCE:
            if facts.connection in self.decided:
                return False
            self.decided[facts.connection] = True
        return self._draw()

    def times(self, now: float) -> Iterable[float]:
        """Return when the rule begins and, if ever, ends."""
        begin = self._begin(now)
        return (begin,) if self.rule.for_ is None else (begin, begin + self.rule.for_)

    def holds(self, now: float) -> bool:
        """Tell whether it is the rule's time."""
        begin = self._begin(now)
        return begin <= now and (self.rule.for_ is None or now < begin + self.rule.for_)

    def _begin(self, now: float) -> float:
        if self.since is None:
            self.since = now
        return self.since + self.rule.after

    def _draw(self) -> bool:
        if self.rule.count is not None and self.struck >= self.rule.count:
            return False
        self.seen += 1
        if self.rule.match.nth not in (None, self.seen):
            return False
        if self.rule.probability < 1.0 and self.random.random() >= self.rule.probability:
            return False
        self.struck += 1
        return True


def _fits_glob(glob: str | None, text: str | None) -> bool:
    return glob is None or (text is not None and fnmatchcase(text, glob))


def _seed_of(rule: Rule, plan_seed: int | str, number: int) -> int | str:
    return f"{plan_seed}:{number}" if rule.seed is None else rule.seed
