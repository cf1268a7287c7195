"""Row 7: how long cancelling and closing take while the peer is dead."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from functools import partial
from random import Random
from statistics import median

from simulator import Simulator
from simulator.testing import Network, current_network, run
from tests.scorecard.row import Result
from tests.sockets.server_process import ServerProcess
from vtrans_hybrid import AsyncClient

__all__ = ["dead_peer"]

GOAL = 0.1  # seconds, with up to `MANY` jobs
MANY = 1_000
VERY_MANY = 100_000  # with which it takes somewhat longer, and is shown for that
WAITED = 1.0
"""Seconds that only a client takes which waits for the dead: no machine is as busy as that."""

REAL_CLIENTS = {1: 20, MANY: 10}
"""How many clients are measured that follow so many jobs."""

DEATHS: dict[str, Callable[[Network], object]] = {
    "refused": lambda network: network.refuse(),
    "a black hole": lambda network: network.blackhole(),
    "silence": lambda network: network.stall(),
    "half-open, to the client": lambda network: network.half_open("to_client"),
    "half-open, to the server": lambda network: network.half_open("to_server"),
    "slow": lambda network: network.latency(2, 5),
}


def dead_peer(is_short: bool) -> Result:
    """Measure the longest on virtual time, and with a server that was frozen (SIGSTOP).

    In real time the median counts: the longest is that of whoever else is busy on this machine.
    """
    seeds = range(3 if is_short else 100)
    virtual = max(
        run(partial(_leave, death, seed), seed=seed)
        for death, seed in itertools.product(DEATHS.values(), seeds)
    )
    real = {
        jobs: asyncio.run(_leave_frozen(clients, jobs)) for jobs, clients in REAL_CLIENTS.items()
    }
    figures = [
        f"{median(times):.3f} s (longest {max(times):.3f} s of {len(times)}) with {jobs:,}"
        for jobs, times in real.items()
    ]
    if not is_short:
        [seconds] = asyncio.run(_leave_frozen(1, VERY_MANY))
        figures.append(f"{seconds:.3f} s with {VERY_MANY:,}")
    measured = (
        f"{virtual:.3f} s, the longest of {len(DEATHS) * len(seeds)} (virtual); on real sockets, a "
        f"frozen server, by jobs: median {', '.join(figures)}"
    )
    slowest = max(median(times) for times in real.values())
    return Result(measured, virtual <= GOAL and slowest <= WAITED, slowest <= GOAL)


async def _leave(death: Callable[[Network], object], seed: int) -> float:
    random = Random(seed)
    network = current_network()
    async with Simulator(seed=seed) as sim:
        jobs = [status.job_id for _ in range(50) for status in await sim.create(delay=600)]
        client = AsyncClient(sim.url)
        watching = asyncio.ensure_future(client.wait(jobs[0]))
        await asyncio.sleep(random.uniform(0.1, 3))
        death(network)
        if random.random() < 0.5:
            network.reset()
        others = asyncio.ensure_future(client.wait(jobs[1]))
        await asyncio.sleep(random.uniform(0, 30))
        seconds = max(await _cancel(watching), await _close(client))
        await asyncio.wait([others])
        others.exception()
        network.heal()
        return seconds


async def _leave_frozen(count: int, jobs: int) -> list[float]:
    """Return the seconds that each of so many clients took which followed so many jobs."""
    times = []
    async with ServerProcess("--delay", "600") as server:
        clients = [AsyncClient(server.url) for _ in range(count)]
        known = [await client.submit("https://example.com/v", language="x") for client in clients]
        watching: list[asyncio.Future[object]] = [
            asyncio.ensure_future(client.wait(job))
            for client, job in zip(clients, known, strict=True)
        ]
        await asyncio.sleep(0.5)
        server.stop()
        # Ids as long as those of the server, of jobs that it need not know: it is not there.
        more = [f"job-{number:026}" for number in range(jobs - 1)]
        others = [asyncio.ensure_future(_next(client, more)) for client in clients if more]
        await asyncio.sleep(0.5)
        for client, task in zip(clients, watching, strict=True):
            times.append(max(await _cancel(task), await _close(client)))
        await asyncio.gather(*others, return_exceptions=True)
    return times


async def _next(client: AsyncClient, job_ids: list[str]) -> object:
    return await anext(client.watch_all(job_ids))


async def _cancel(task: asyncio.Future[object]) -> float:
    began = asyncio.get_running_loop().time()
    task.cancel()
    await asyncio.wait([task])
    return asyncio.get_running_loop().time() - began


async def _close(client: AsyncClient) -> float:
    began = asyncio.get_running_loop().time()
    await client.aclose()
    return asyncio.get_running_loop().time() - began
