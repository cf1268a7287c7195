"""A schedule: who watches which jobs of what backend, and which faults come when.

A schedule is a value that holds everything that a run depends on, so that it can be written down in
one line, read again years later, and shrunk piece by piece. A seed is only a way to draw one: what
it stands for changes whenever `draw` does. So the corpus keeps schedules, not seeds.
"""

from __future__ import annotations

from random import Random
from typing import Literal

import msgspec
from msgspec import Struct

from tests.sim.knobs import KNOBS, Family

__all__ = ["Backend", "Gust", "Schedule", "Visit", "draw", "from_line", "to_line"]

Backend = Literal["native", "plain", "bare", "legacy", "heygen"]
"""What the client meets: `native` and `plain` are met in their own dialect, `bare` is plain and has
no versions either, and `legacy` is a plain server whose client expects a native one. `heygen` is
HeyGen's stand-in; with the transport `auto` it knows an address for webhooks."""

Estimate = Literal["true", "none", "frozen"]
"""What the server says of the time that is left."""

FINE = 3
"""Decimals of a second in a schedule."""


class Gust(Struct, frozen=True, kw_only=True):
    """One fault, from when to when."""

    kind: str
    """A key of `knobs.KNOBS`."""
    at: float
    """Seconds after the start."""
    lasts: float
    """Seconds."""
    chance: float = 1.0
    """How likely an occasion is struck; for faults of the server."""
    is_narrow: bool = False
    """Whether it hits the channel alone; for faults of the link."""
    amount: float = 0.0
    """What the kind makes of it; mostly seconds."""


class Visit(Struct, frozen=True, kw_only=True):
    """One who watches."""

    how: Literal["watch", "wait", "callback", "as_completed"] = "watch"
    mode: Literal["latest", "all"] = "latest"
    jobs: tuple[int, ...] = ()
    """Which jobs, by the order in which they were made; none means all of them."""
    at: float = 0.0
    """Seconds after the start."""
    leaves_after: float | None = None
    """Seconds after which it is cancelled; None stays to the end."""
    pause: float = 0.0
    """Seconds that it takes over each status."""
    timeout: float | None = None
    """Its total time limit in seconds."""


class Schedule(Struct, frozen=True, kw_only=True):
    """Everything that a run depends on."""

    seed: int
    """Of whatever is left to chance: latencies, jitter, the order of what is ready."""
    backend: Backend = "native"
    transport: Literal["auto", "push", "poll"] = "auto"
    delays: tuple[float, ...] = (3.0,)
    """How long each job takes, in seconds."""
    estimate: Estimate = "true"
    updates: int = 4
    """How often a job tells of its progress."""
    visits: tuple[Visit, ...] = (Visit(),)
    gusts: tuple[Gust, ...] = ()
    is_shuffled: bool = False
    """Whether tasks that are ready together run in random order."""
    is_calm: bool = False
    """Whether, after all that, push must bring one more job without any help."""
    closes_at: float | None = None
    """Seconds after which the client is closed in the midst of everything; None waits for the end.
    """

    @property
    def kinds(self) -> frozenset[str]:
        """The kinds of faults in it."""
        return frozenset(gust.kind for gust in self.gusts)

    def has(self, *families: Family) -> bool:
        """Whether it has a fault of one of these families."""
        return any(KNOBS[kind].family in families for kind in self.kinds)

    @property
    def ends_at(self) -> float:
        """Seconds after the start at which the last fault has ended by itself."""
        return max((gust.at + gust.lasts for gust in self.gusts), default=0.0)


def to_line(schedule: Schedule) -> str:
    """Write a schedule down in one line of JSON, without what is as usual."""
    return msgspec.json.encode(_unusual(schedule)).decode()


def from_line(line: str) -> Schedule:
    """Read what `to_line` wrote; fields that were added since have their defaults.

    Raises:
        ValueError: The line is no schedule, or names a fault that does not exist.
    """
    schedule = msgspec.json.decode(line, type=Schedule)
    unknown = sorted(schedule.kinds - KNOBS.keys())
    if unknown:
        raise ValueError(f"there are no faults called {', '.join(unknown)}")
    return schedule


def _unusual(value: object) -> object:
    if isinstance(value, tuple):
        return [_unusual(item) for item in value]
    if not isinstance(value, Struct):
        return value
    fields = msgspec.structs.fields(value)
    return {
        field.name: _unusual(getattr(value, field.name))
        for field in fields
        if getattr(value, field.name) != field.default
    }


def draw(seed: int) -> Schedule:
    """Return the schedule that a seed stands for."""
    from tests.sim import heygen_schedule  # which needs what stands here

    if heygen_schedule.stands_for(seed):
        return heygen_schedule.draw(seed)
    random = Random(seed)
    backend: Backend = random.choices(["native", "plain", "bare", "legacy"], [75, 9, 8, 8])[0]
    transport = "auto"
    if backend == "native":
        transport = random.choice(["auto"] * 4 + ["push", "poll"])
    is_flood = backend == "native" and random.random() < _FLOODS
    jobs = 1 if is_flood else random.choices(*_CROWDS[backend == "native"])[0]
    # Most are short, for they are cheap; what takes its time shows in those that are not.
    length = random.uniform(1, _SHORT) if random.random() < 0.75 else random.uniform(_SHORT, 12)
    longest = 20 if is_flood else random.choice([2, 4] if length < _SHORT else [3, 8, 20])
    gusts = _gusts(random, backend, transport, length)
    if is_flood:
        # What piles up before a peer that takes nothing.
        gusts = (Gust(kind=random.choice(["dumb", "stall"]), at=1.0, lasts=8.0),)
    families = {KNOBS[gust.kind].family for gust in gusts}
    has_push = backend == "native" and transport != "poll"
    drawn = Schedule(
        seed=seed,
        backend=backend,
        transport=transport,
        delays=tuple(_round(random.uniform(1, longest)) for _ in range(jobs)),
        estimate="true" if is_flood else random.choice(_ESTIMATES),
        updates=_FLOOD if is_flood else random.choice([1, 1, 2, 4, 8]),
        visits=visits_of(random, jobs, length, is_flood=is_flood),
        gusts=gusts,
        is_shuffled=random.random() < 0.5,
        is_calm=has_push and families.isdisjoint(_LASTING) and random.random() < 0.12,
        closes_at=_round(random.uniform(0, length)) if random.random() < 0.15 else None,
    )
    return msgspec.convert(msgspec.to_builtins(drawn), Schedule)  # whole numbers become floats


_ESTIMATES: list[Estimate] = ["true"] * 4 + ["none", "frozen"]

_CROWDS = {
    True: ([1, 2, 3, 10, 40], [898, 60, 30, 10, 2]),
    False: ([1, 2, 3, 40], [902, 60, 30, 8]),
}
"""How many jobs, and how often; a backend that is read job by job needs a crowd to meet its budget.
"""

_COUNTS = [1, 1, 1, 2, 2, 3, 6]
"""How many faults."""

_SHORT = 4.0
"""Seconds that the faults of most schedules begin within."""

_FLOODS = 0.002
_FLOOD = 2000
"""How few schedules are about a flood of updates, which takes long to play, and how many it has."""


_STORMS = 0.1
"""How many of those with push alone have a channel that fails for a minute: nothing else in them
ends before, and so the budget of dials is met."""


def _gusts(random: Random, backend: str, transport: str, length: float) -> tuple[Gust, ...]:
    if random.random() < 0.06:
        return ()
    if transport == "push" and random.random() < _STORMS:
        return (Gust(kind=random.choice(["flaps", "refuse"]), at=0.0, lasts=60.0),)
    families = _families(random, backend, transport)
    kinds = [kind for kind, knob in KNOBS.items() if knob.family in families]
    swarm = random.sample(kinds, min(len(kinds), random.randint(1, 4)))
    # What is seldom allowed is to come when it is.
    rare = [kind for kind in kinds if KNOBS[kind].family in _RARE]
    if rare and random.random() < 0.5:
        swarm[0] = random.choice(rare)
    count = random.choice(_COUNTS)
    lasting = [0.1, 1.0, 1.0, 4.0] if length < _SHORT else [1.0, 4.0, 12.0, 12.0, 30.0]
    gusts = [gust_of(random, random.choice(swarm), length, lasting) for _ in range(count)]
    if "rebirth" in swarm and "old answers" in kinds:
        # Nobody else remembers the history before.
        at = _round(random.uniform(0.5, length))
        gusts += [
            Gust(kind="rebirth", at=at, lasts=0.1),
            Gust(kind="old answers", at=at, lasts=12.0, chance=0.5),
        ]
    return tuple(sorted(gusts, key=lambda gust: gust.at))


def _families(random: Random, backend: str, transport: str) -> set[Family]:
    """Return which faults may come together, so that what must hold can still be said."""
    families: set[Family] = {"link", "server", "reads"}
    if backend == "native":
        families = {"link", "server", "channel"}
        # What is true of one source alone shows best while the other one is well.
        if transport == "poll" or random.random() < 0.5:
            families.add("reads")
        if transport == "auto" and ("reads" not in families or random.random() < 0.2):
            families.add("order")
        if transport == "push" and random.random() < 0.5:
            families.add("order")
        # Push must not be put off for good where it is alone.
        if transport != "push" and random.random() < 0.25:
            families.add("for good")
    for family, share in _SELDOM.items():
        if random.random() < share:
            families.add(family)
    return families


_LASTING: set[Family] = {"damage", "for good", "keys"}
"""Families after which push may be off for minutes."""

_RARE: tuple[Family, ...] = ("damage", "for good", "keys", "loss", "order")

_SELDOM: dict[Family, float] = {"loss": 0.15, "keys": 0.04, "damage": 0.04}
"""Which families are allowed in which share of the schedules: they excuse too much."""


_AT_FIRST = {"unknown at first": 0.9}
"""How often a fault begins with the run that means nothing to those who know a job already."""


def gust_of(random: Random, kind: str, length: float, lasting: list[float]) -> Gust:
    # What is wrong with the first words shows only where the fault was there before them.
    usual = 0.5 if KNOBS[kind].family == "order" else 0.2
    is_first = random.random() < _AT_FIRST.get(kind, usual)
    return Gust(
        kind=kind,
        at=0.0 if is_first else _round(random.uniform(0, length)),
        lasts=random.choice(lasting),
        chance=random.choice([0.2, 0.5, 1.0]),
        is_narrow=random.random() < 0.3,
        amount=random.choice(KNOBS[kind].amounts),
    )


_MODES = [("latest",)] * 2 + [("all",)] * 2 + [("latest", "all")]


def visits_of(random: Random, jobs: int, length: float, *, is_flood: bool) -> tuple[Visit, ...]:
    if is_flood:
        return (Visit(mode="all", pause=0.5), Visit(mode="latest"))
    # One who wants every version makes the client ask for them, and hides what it does else.
    modes = random.choice(_MODES)
    visits = [Visit(mode=mode) for mode in modes]
    for _ in range(random.choice([0, 0, 0, 0, 1, 2])):
        some = tuple(sorted(random.sample(range(jobs), random.randint(1, jobs))))
        how = random.choice(["watch", "watch", "wait", "callback", "as_completed"])
        visits.append(
            Visit(
                how=how,
                mode=random.choice(modes) if how == "watch" else "latest",
                jobs=some if how in ("watch", "as_completed") else some[:1],
                at=_round(random.choice([0, random.uniform(0, length / 2)])),
                leaves_after=_round(random.uniform(0, 3)) if random.random() < 0.3 else None,
                pause=random.choice([0, 0, 0, 0.05, 2]) if how != "wait" else 0,
                timeout=_round(random.uniform(0.1, length)) if random.random() < 0.2 else None,
            )
        )
    if random.random() < 0.15:
        visits[0] = msgspec.structs.replace(
            visits[0], leaves_after=_round(random.uniform(0, length))
        )
    return tuple(visits)


def _round(seconds: float) -> float:
    return round(seconds, FINE)
