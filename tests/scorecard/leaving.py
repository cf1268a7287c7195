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

GOAL = 0.1  # seconds
WAITED = 1.0
"""Seconds that only a client takes which waits for the dead: no machine is as busy as that."""

REAL_CLIENTS = 20

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
    real = asyncio.run(_leave_frozen())
    measured = (
        f"{virtual:.3f} s, the longest of {len(DEATHS) * len(seeds)} (virtual); a frozen server on "
        f"real sockets: median {median(real):.3f} s, longest {max(real):.3f} s of {len(real)}"
    )
    return Result(measured, virtual <= GOAL and median(real) <= WAITED, median(real) <= GOAL)


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


async def _leave_frozen() -> list[float]:
    times = []
    async with ServerProcess("--delay", "600") as server:
        clients = [AsyncClient(server.url) for _ in range(REAL_CLIENTS)]
        jobs = [await client.submit("https://example.com/v", language="x") for client in clients]
        watching = [
            asyncio.ensure_future(client.wait(job))
            for client, job in zip(clients, jobs, strict=True)
        ]
        await asyncio.sleep(0.5)
        server.stop()
        for client, task in zip(clients, watching, strict=True):
            times.append(max(await _cancel(task), await _close(client)))
    return times


async def _cancel(task: asyncio.Future[object]) -> float:
    began = asyncio.get_running_loop().time()
    task.cancel()
    await asyncio.wait([task])
    return asyncio.get_running_loop().time() - began


async def _close(client: AsyncClient) -> float:
    began = asyncio.get_running_loop().time()
    await client.aclose()
    return asyncio.get_running_loop().time() - began
