"""A storm: faults that follow from a seed, of the link and of the server, and an end of them.

Each kind of fault is a way to begin it; what it returns, if anything, ends it again. A storm draws
a few kinds and lets them come and go, several at once, as swarm testing does: a run with every kind
in it would hide what two of them do together.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from random import Random
from typing import Any

from simulator.faults import (
    AcceptAndClose,
    Close,
    DelayEvent,
    DropEvent,
    Duplicate,
    Fault,
    Gap,
    Garbage,
    HalfOpen,
    Hang,
    HttpStatus,
    Latency,
    Mute,
    RefuseUpgrade,
    Reorder,
    Reset,
    UnknownState,
)
from tests.virtual.scene import Scene, is_channel

__all__ = ["Gust", "Storm"]

End = Callable[[], object] | None
Begin = Callable[[Scene, Random], End]


@dataclass(frozen=True, kw_only=True)
class Gust:
    """One fault of a storm; times in seconds."""

    at: float
    lasts: float
    kind: str


def _of_link(name: str, *arguments: Any, only_channel: bool = False) -> Begin:
    """Return how to begin a fault of the network."""

    def begin(scene: Scene, random: Random) -> End:
        where = is_channel if only_channel or random.random() < 0.3 else None
        options = {} if name in ("refuse", "blackhole") else {"where": where}
        end: End = getattr(scene.network, name)(*arguments, **options).heal
        return end

    return begin


def _of_server(fault: Fault) -> Begin:
    """Return how to begin a fault of the simulator."""

    def begin(scene: Scene, random: Random) -> End:
        probability = random.choice([0.2, 0.5, 1.0])
        number = scene.sim.faults.add(fault, probability=probability)
        return lambda: scene.sim.faults.remove(number)

    return begin


def _reset(scene: Scene, random: Random) -> None:
    scene.network.reset(where=random.choice([None, is_channel]))


def _close(scene: Scene, random: Random) -> None:
    scene.network.close(where=random.choice([None, is_channel]))


def _later(coroutine: Callable[[Scene, Random], Awaitable[object]]) -> Begin:
    """Return how to begin something that the server does in its own time."""

    def begin(scene: Scene, random: Random) -> End:
        task = asyncio.ensure_future(coroutine(scene, random))
        return task.done

    return begin


async def _restart(scene: Scene, random: Random) -> None:
    await scene.sim.restart(down_for=random.choice([0, 0.5, 3, 10]))


async def _lose(scene: Scene, random: Random) -> None:
    await scene.remember()
    await scene.sim.restart(lose_state="all", down_for=random.choice([0, 3]))


async def _drain(scene: Scene, random: Random) -> None:
    await scene.sim.drain(deadline=random.choice([0.5, 5]), spread=random.choice([0, 1, 10]))


PASSING: dict[str, Begin] = {
    "reset": _reset,
    "close": _close,
    "stall": _of_link("stall"),
    "deaf": _of_link("half_open", "to_server"),
    "dumb": _of_link("half_open", "to_client"),
    "refuse": _of_link("refuse"),
    "blackhole": _of_link("blackhole"),
    "slow": _of_link("latency", 0.1, 2.0),
    "slice": _of_link("slice"),
    "narrow": _of_link("bandwidth", 2000.0),
    "cuts": _of_link("cut_every", 1.0, 5.0),
    "cuts of the channel": _of_link("cut_every", 2.0, 10.0, only_channel=True),
    "half-open": _of_server(HalfOpen()),
    "mute": _of_server(Mute()),
    "closes": _of_server(Close(code=1000, age=1.0)),
    "server errors": _of_server(Close(code=1011, age=0.2)),
    "resets": _of_server(Reset(age=0.5)),
    "duplicates": _of_server(Duplicate()),
    "gaps": _of_server(Gap()),
    "accepts and closes": _of_server(AcceptAndClose()),
    "refuses upgrades": _of_server(RefuseUpgrade(status=503, retry_after=2)),
    "strange states": _of_server(UnknownState()),
    "restart": _later(_restart),
    "drain": _later(_drain),
}
"""Faults after which push is back, and which leave each source true to its word."""

REORDERING: dict[str, Begin] = {
    "drops": _of_server(DropEvent()),
    "disorder": _of_server(Reorder(window=3, seconds=2)),
    "delays": _of_server(DelayEvent(seconds=3)),
}
"""Faults by which push breaks its word: reads must be there to mend what it left out."""

OF_READS: dict[str, Begin] = {
    "hangs": _of_server(Hang()),
    "broken answers": _of_server(Hang(seconds=0.5)),
    "garbage": _of_server(Garbage(kind="json")),
    "no number": _of_server(Garbage(kind="nan")),
    "500": _of_server(HttpStatus(status=500)),
    "429": _of_server(HttpStatus(status=429, retry_after=3)),
    "late answers": _of_server(Latency(seconds=1, jitter=5)),
}
"""Faults of reads alone."""

FOR_GOOD: dict[str, Begin] = {
    "stay away": _of_server(Close(code=4500, age=1.0)),
    "no such path": _of_server(RefuseUpgrade(status=404)),
}
"""Faults after which push is off for minutes."""

LOSS: dict[str, Begin] = {"loss": _later(_lose)}


class Storm:
    """Faults that follow from a random generator.

    Args:
        random: Where everything comes from.
        length: Seconds.
        transport: What the client may use, so that push is not put off for good where it is alone.
    """

    def __init__(self, random: Random, length: float, transport: str) -> None:
        kinds = dict(PASSING)
        # What is true of one source alone can be shown only while the other one is well.
        if transport == "poll" or random.random() < 0.5:
            kinds |= OF_READS
        elif transport == "auto":
            kinds |= REORDERING
        if transport != "push" and random.random() < 0.2:
            kinds |= FOR_GOOD
        if random.random() < 0.15:
            kinds |= LOSS
        self._kinds = kinds
        self._random = random
        swarm = random.sample(sorted(kinds), random.randint(1, 5))
        if LOSS.keys() & kinds.keys() and random.random() < 0.7:
            swarm += LOSS
        self.gusts = sorted(
            (
                Gust(
                    at=random.uniform(0, length),
                    lasts=random.choice([0.1, 1, 5, 15, 40]),
                    kind=random.choice(swarm),
                )
                for _ in range(random.randint(1, 12))
            ),
            key=lambda gust: gust.at,
        )
        self.kinds = {gust.kind for gust in self.gusts}

    @property
    def loses_state(self) -> bool:
        """Whether the server loses its state on the way."""
        return not LOSS.keys().isdisjoint(self.kinds)

    @property
    def puts_push_off(self) -> bool:
        """Whether push may be off for minutes afterwards."""
        return not FOR_GOOD.keys().isdisjoint(self.kinds)

    async def rage(self, scene: Scene) -> None:
        """Let the faults come and go, and heal them all in the end."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        tasks = []
        for gust in self.gusts:
            await asyncio.sleep(began + gust.at - loop.time())
            end = self._kinds[gust.kind](scene, self._random)
            tasks.append(asyncio.create_task(_end_later(end, gust.lasts)))
        await asyncio.gather(*tasks)
        scene.sim.faults.heal()
        scene.network.heal()


async def _end_later(end: End, lasts: float) -> None:
    await asyncio.sleep(lasts if end else 0)
    # What the server does in its own time has ended when it says so.
    while end is not None and end() is False:  # noqa: ASYNC110 (virtual time passes for nothing)
        await asyncio.sleep(0.1)
