"""Schedules against HeyGen's stand-in: few words, no versions, and webhooks for a channel."""

from __future__ import annotations

from random import Random

import msgspec
from msgspec.structs import replace

from tests.sim.knobs import KNOBS, Family
from tests.sim.schedule import FINE, Gust, Schedule, gust_of, visits_of

__all__ = ["draw", "stands_for"]

_SHARE = 1 / 8
_FAMILIES: tuple[Family, ...] = ("heygen", "hooks", "link", "reads")
_OTHERS = ("restart",)
"""Which faults mean something to HeyGen."""

_LOSS = 0.08
"""In how few schedules the server may lose its jobs, which excuses much."""

_LENGTHS = ([4.0, 30.0, 150.0], [5, 3, 1])
"""Seconds that faults begin within, and how often: before the first read, while reads are frequent,
and later."""

_CROWD = 25
"""Jobs that are read together."""

_LASTING = [1.0, 4.0, 12.0, 30.0, 100.0]
"""Seconds."""


def stands_for(seed: int) -> bool:
    """Tell whether a seed is one of these."""
    return Random(f"{seed}:heygen").random() < _SHARE


def draw(seed: int) -> Schedule:
    """Return the schedule that a seed stands for, if it is one of these."""
    random = Random(seed)
    length = random.choices(*_LENGTHS)[0] * random.uniform(0.3, 1)
    jobs = random.choices([1, 2, 4, _CROWD], [72, 20, 7, 1])[0]
    delays = [round(random.uniform(1, 1.5 * length), FINE) for _ in range(min(jobs, 4))]
    drawn = Schedule(
        seed=seed,
        backend="heygen",
        transport="auto" if random.random() < 0.8 else "poll",
        delays=tuple(sorted(delays[number % 4] for number in range(jobs))),
        updates=1,
        visits=visits_of(random, jobs, length, is_flood=False),
        gusts=_gusts(random, length),
        is_shuffled=random.random() < 0.5,
        closes_at=round(random.uniform(0, length), FINE) if random.random() < 0.1 else None,
    )
    return msgspec.convert(msgspec.to_builtins(drawn), Schedule)  # whole numbers become floats


def _gusts(random: Random, length: float) -> tuple[Gust, ...]:
    if random.random() < 0.1:
        return ()
    families = (*_FAMILIES, "loss") if random.random() < _LOSS else _FAMILIES
    family = random.choice(families)
    kinds = [
        kind
        for kind, knob in KNOBS.items()
        if knob.family in families and (knob.family == family or random.random() < 0.3)
    ]
    kinds = [kind for kind in kinds if kind != "vanish"] + list(_OTHERS)
    swarm = random.sample(kinds, min(len(kinds), random.randint(1, 4)))
    gusts = [
        replace(gust_of(random, random.choice(swarm), length, _LASTING), is_narrow=False)
        for _ in range(random.choice([1, 1, 2, 3, 6]))
    ]
    return tuple(sorted(gusts, key=lambda gust: gust.at))
