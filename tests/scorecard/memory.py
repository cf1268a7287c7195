"""Row 9: whether memory grows over a virtual day in which jobs come and go."""

from __future__ import annotations

import asyncio
import gc
import statistics
import sys
from functools import partial
from random import Random
from unittest.mock import patch

from simulator import Simulator
from simulator.testing import Network, current_network, run
from tests.scorecard.row import Result
from vtrans_hybrid import AsyncClient, RetryPolicy

__all__ = ["slope"]

JOBS_AN_HOUR = 120
KEPT = 600.0  # s that the server keeps what has ended, else it would grow for two days
BLOCK = 64  # bytes, about what one block of Python's allocator takes
MOST = 16 * 1024
"""Bytes an hour within which a slope is none: what one job takes that is open at the time."""


def slope(is_short: bool) -> Result:
    """Fit a line through what client, server and loop hold at each hour."""
    hours = 5 if is_short else 24
    with patch("simulator.histories.KEEP_FINALS", KEPT):
        blocks = run(partial(_live, hours), network=Network(1), seed=1)
    settled = blocks[2:]  # until the logs of the server are as long as they get
    fit = statistics.linear_regression(range(len(settled)), settled)
    growth = fit.slope * BLOCK
    held = settled[-1] * BLOCK / 2**20
    measured = (
        f"{growth / 1024:+.1f} KiB an hour of {held:.0f} MiB, over {hours} h with "
        f"{hours * JOBS_AN_HOUR:,} jobs and a drop every 10 min (virtual)"
    )
    return Result(measured, growth <= MOST)


async def _live(hours: int) -> list[int]:
    """Return how many blocks of memory are held at the end of each hour."""
    random = Random(1)
    network = current_network()
    retry = RetryPolicy(max_attempts=10_000)
    blocks: list[int] = []
    pause = 3600 / JOBS_AN_HOUR
    async with (
        Simulator(seed=1, delay="60:600") as sim,
        AsyncClient(sim.url, retry=retry) as client,
        asyncio.TaskGroup() as tasks,
    ):
        for number in range(1, hours * JOBS_AN_HOUR + 1):
            [job] = await sim.create()
            match number % 3:
                case 0:
                    tasks.create_task(_watch(client, job.job_id))
                case 1:
                    tasks.create_task(_wait(client, job.job_id))
                case _:
                    client.on_update(lambda _: None, job.job_id)
            if random.random() < pause / 600:
                network.reset()
            await asyncio.sleep(pause)
            if number % JOBS_AN_HOUR == 0:
                network.dials.clear()
                gc.collect()
                blocks.append(sys.getallocatedblocks())
    return blocks


async def _watch(client: AsyncClient, job_id: str) -> None:
    async for _ in client.watch(job_id, mode="all"):
        pass


async def _wait(client: AsyncClient, job_id: str) -> None:
    await client.wait(job_id)
