"""Row 11: ten thousand clients lose a server at once, and it comes back."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterable
from functools import partial
from typing import NamedTuple

from simulator import Simulator
from simulator.testing import current_network, run
from tests.scorecard.row import Result
from vtrans_hybrid import AsyncClient

__all__ = ["restart"]

MOST_DIALS = 2_500  # a second
MOST_POLLS = 1_000  # a second
DOWN = 2.0  # seconds
RETURNING = 90.0  # seconds


class Storm(NamedTuple):
    """What came after the loss, at which seconds of the loop."""

    dials: list[float]
    """Of channels, whether they were answered or not."""
    connections: list[float]
    """Of channels and for polls, the same."""
    polls: list[float]
    """That the server answered."""
    seconds: float
    """From the loss until all channels were back."""


def restart(is_short: bool) -> Result:
    """Count the dials and polls of the fullest second."""
    count = 200 if is_short else 10_000
    gc.disable()  # so many objects are looked at again and again, and none of them is garbage
    storm = run(partial(_lose_and_return, count))
    dials, polls = _fullest(storm.dials), _fullest(storm.polls)
    measured = (
        f"{dials:,} dials/s, {polls:,} polls/s, {_fullest(storm.connections):,} connections/s "
        f"for both, all of {count:,} back after {storm.seconds:.1f} s, {DOWN:.0f} s of them "
        "without a server (virtual)"
    )
    return Result(measured, dials <= MOST_DIALS and polls <= MOST_POLLS)


async def _lose_and_return(count: int) -> Storm:
    loop = asyncio.get_running_loop()
    async with Simulator(seed=1) as sim:
        jobs = [job.job_id for job in await sim.create(languages=["x"] * 100, delay=3600)]
        clients = [AsyncClient(sim.url) for _ in range(count)]
        for number, client in enumerate(clients):
            client.on_update(lambda _: None, jobs[number % len(jobs)])
            if number % 20 == 0:
                await asyncio.sleep(0.01)  # they came one after the other, at 2,000 a second
        while len(sim.connections) < count:  # noqa: ASYNC110 (virtual time passes for nothing)
            await asyncio.sleep(1)
        await asyncio.sleep(6)  # the spread is announced with each ping
        network = current_network()
        network.dials.clear()
        sim.calls.clear()
        lost_at = loop.time()
        await sim.restart(down_for=DOWN)
        while len(sim.connections) < count and loop.time() < lost_at + RETURNING:  # noqa: ASYNC110
            await asyncio.sleep(0.1)
        storm = Storm(
            dials=[at for client in clients for at in _dials(client) if at >= lost_at],
            connections=[dial.at for dial in network.dials],
            polls=[call.at for call in sim.calls if call.path.startswith("/status")],
            seconds=loop.time() - lost_at,
        )
        await asyncio.gather(*(client.aclose() for client in clients))
        return storm


def _dials(client: AsyncClient) -> Iterable[float]:
    """Return when a client has dialed the channel, as its core remembers it."""
    core = client._driver.core
    return () if core is None else core.link._dials


def _fullest(times: Iterable[float]) -> int:
    """Return how many of these times lie in the second that has most of them."""
    ordered = sorted(times)
    most = first = 0
    for last, at in enumerate(ordered):
        while ordered[first] <= at - 1:
            first += 1
        most = max(most, last - first + 1)
    return most
