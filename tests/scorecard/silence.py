"""Row 5: how soon a half-open connection is noticed, whatever is in flight."""

from __future__ import annotations

import asyncio
import itertools
from functools import partial
from typing import Literal

from simulator import Simulator
from simulator.testing import Network, current_network, run
from tests.scorecard.row import Result
from vtrans_hybrid import AsyncClient

__all__ = ["half_open"]

GOAL = 11.0  # seconds
IN_FLIGHT = {"0": 1, "10 KB": 250, "4 MB": 100_000}
"""What the client has to say to a server that is gone, and how many jobs that takes."""

Way = Literal["to_client", "to_server", "both"]
WAYS: tuple[Way, ...] = ("to_client", "to_server", "both")


def half_open(is_short: bool) -> Result:
    """Measure the longest time, over directions and seeds."""
    longest = {}
    for name, jobs in IN_FLIGHT.items():
        seeds = range(1 if is_short else 3 if jobs > 1_000 else 40)
        longest[name] = max(
            run(partial(_notice, jobs, way), network=Network(seed), seed=seed)
            for way, seed in itertools.product(WAYS, seeds)
        )
    figures = ", ".join(f"{seconds:.1f} s with {name}" for name, seconds in longest.items())
    return Result(f"{figures} (virtual, the longest)", max(longest.values()) <= GOAL)


async def _notice(jobs: int, way: Way) -> float:
    """Return how many seconds it takes a client to leave a connection that is half-open."""
    loop = asyncio.get_running_loop()
    async with Simulator(seed=0) as sim, AsyncClient(sim.url) as client:
        [job] = await sim.create(delay=3600)
        first = await anext(client.watch(job.job_id))
        assert not first.is_final
        while client.stats().link != "live":  # noqa: ASYNC110 (virtual time passes for nothing)
            await asyncio.sleep(0.01)
        network = current_network()
        # Ids as long as those of the server, of jobs that it need not know: it is not there.
        more = client.watch_all([f"job-{number:026}" for number in range(jobs)])
        if way == "both":
            network.stall()
        else:
            network.half_open(way)
        began = loop.time()
        waiting = asyncio.ensure_future(anext(more))
        while client.stats().drops == 0:  # noqa: ASYNC110 (virtual time passes for nothing)
            await asyncio.sleep(0.01)
        seconds = loop.time() - began
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        network.heal()
        return seconds
