"""The plan that decides which occasion gets which fault.

A rule says whom a fault strikes; a `FaultPlan` holds the rules and is asked at each occasion:
`decide(where, facts, now)`, or `standing(...)` where faults are conditions. It has neither clock
nor I/O, and its randomness comes from its seed, so the same plan asked the same questions gives the
same answers.
"""

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from fnmatch import fnmatchcase
from random import Random
from typing import Any, Final, NamedTuple, Unpack

from simulator.faults import ONCE, Direction, Fault, Where
from simulator.rules import Match, Rule, RuleOptions

__all__ = [
    "Applies",
    "Facts",
    "FaultPlan",
    "Injection",
    "Strike",
]

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

    def add(
        self,
        fault: Fault | Rule | str | Mapping[str, Any],
        *,
        now: float | None = None,
        **options: Unpack[RuleOptions],
    ) -> int:
        """Add a rule and return its number.

        Args:
            fault: what to show, such as `HttpStatus(status=503)`; or a whole rule: a `Rule`, its
                text on a command line such as `"status:status=503,path=/status*"`, or its dict as
                in the control API.
            now: when the rule begins, monotonic seconds; None for when the plan is next asked.
            options: the other fields of `Rule`: match (a `Match` or a dict), probability, count,
                after, for_, seed. Beside a whole rule each takes the place of what that says of
                it, `match` as a whole.

        Raises:
            TypeError: `fault` is none of these, or there is no such option.
            ValueError: a value is out of its range; the text says which one.
        """
        rule = Rule.of(fault, **options).without_key()
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
        return self.holds(now) and _fits(self.rule.match, facts)

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


def _fits(match: Match, facts: Facts) -> bool:
    """Tell whether an occasion fits, `nth` left aside."""
    return (
        _fits_glob(match.path, facts.path)
        and _fits_glob(match.job, facts.job)
        and match.connection in (None, facts.connection)
        and match.key in (None, facts.key)
        and match.direction in (None, facts.direction)
    )


def _fits_glob(glob: str | None, text: str | None) -> bool:
    return glob is None or (text is not None and fnmatchcase(text, glob))


def _seed_of(rule: Rule, plan_seed: int | str, number: int) -> int | str:
    return f"{plan_seed}:{number}" if rule.seed is None else rule.seed
