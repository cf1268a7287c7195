"""Row 9: whether memory grows over a virtual day in which jobs come and go."""

from __future__ import annotations

import asyncio
import gc
import statistics
import tracemalloc
from functools import partial
from random import Random
from typing import NamedTuple
from unittest.mock import patch

import msgspec

from simulator import Simulator
from simulator.testing import Network, current_network, run
from tests.scorecard.row import Result
from vtrans_hybrid import AsyncClient, RetryPolicy

__all__ = ["Growth", "growth", "slope"]

MOST = 24.0
"""Bytes a job within which a slope is none: an object that is kept takes more, with its place."""

COMING = 2_400.0  # s of each hour in which jobs come; then they end, and there is rest
LONGEST = 300.0  # s that a job takes
KEPT = 60.0  # s that the server keeps what has ended, and then its tombstone, else for two days
RECENT = 100  # entries that the server's log finds soon, else 4,096: they would fill for hours
PLANTED = "job-00000000000000000000000000"
SETTLING = 1  # hours until tables and caches are as large as they get


class Growth(NamedTuple):
    """What jobs left behind, in bytes each."""

    slope: float
    planted: float
    """In one more hour, in which a string is kept of each job: what a leak looks like."""
    held: int
    """Bytes that client, server and loop hold at rest."""


def slope(is_short: bool) -> Result:
    """Fit a line through what client, server and loop hold at the end of each hour, at rest."""
    hours, jobs = (3, 250) if is_short else (24, 500)
    grown = growth(hours, jobs)
    measured = (
        f"{grown.slope:+.1f} bytes a job of {grown.held / 1024:,.0f} KiB at rest, over {hours} h "
        f"with {hours * jobs:,} jobs and a drop every 10 min; {grown.planted:+.1f} where a string "
        "is kept of each (virtual)"
    )
    return Result(measured, grown.slope <= MOST < grown.planted)


def growth(hours: int, jobs: int, planted: str = PLANTED) -> Growth:
    """Return what jobs leave behind.

    Args:
        hours: How long it goes on; the first is not counted.
        jobs: How many come in each of them.
        planted: What is kept of each job, in one more hour, by a copy of its own.
    """
    gc.collect()
    gc.freeze()  # what was there before need not be looked at again
    tracemalloc.start()
    try:
        with patch("simulator.histories.KEEP_FINALS", KEPT), patch("simulator.log._RECENT", RECENT):
            live = partial(_live, hours, jobs, planted)
            held = run(live, network=Network(1), seed=1)
    finally:
        tracemalloc.stop()
        gc.unfreeze()
    settled = held[SETTLING:-1]
    fit = statistics.linear_regression(range(len(settled)), settled)
    return Growth(fit.slope / jobs, (held[-1] - held[-2]) / jobs, held[-2])


async def _live(hours: int, jobs: int, planted: str) -> list[int]:
    """Return how many bytes are held at the end of each hour, and of one with a leak."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    held: list[int] = []
    leaked: list[str] = []
    _fill_cache_of_names()
    async with (
        Simulator(seed=1) as sim,
        AsyncClient(sim.url, retry=RetryPolicy(max_attempts=10_000)) as client,
    ):
        for hour in range(hours + 1):
            await _order(sim, client, jobs, Random(hour))
            if hour == hours:
                leaked += ("".join([planted[:-1], planted[-1]]) for _ in range(jobs))
            await asyncio.sleep(began + 3600 * (hour + 1) - loop.time())
            assert not client.stats().watched_jobs, "a job has not ended"
            assert not sim.jobs, "the server has not dropped what ended"
            sim.calls.clear()
            current_network().dials.clear()
            gc.collect()
            held.append(tracemalloc.get_traced_memory()[0])
    return held


def _fill_cache_of_names() -> None:
    """Let msgspec keep as many keys of objects as it ever does: 512, by their hash."""
    msgspec.json.decode(msgspec.json.encode({f"job-{number:026}": 0 for number in range(10_000)}))


async def _order(sim: Simulator, client: AsyncClient, jobs: int, random: Random) -> None:
    """Order jobs and follow them, one after the other, through drops."""
    pause = COMING / jobs
    async with asyncio.TaskGroup() as tasks:
        for number in range(jobs):
            [job] = await sim.create(script=_life(random.uniform(1, LONGEST)))
            match number % 3:
                case 0:
                    tasks.create_task(_watch(client, job.job_id))
                case 1:
                    tasks.create_task(_wait(client, job.job_id))
                case _:
                    client.on_update(lambda _: None, job.job_id)
            if random.random() < pause / 600:
                current_network().reset()
            await asyncio.sleep(pause)


def _life(seconds: float) -> list[dict[str, object]]:
    """Return a life of few changes: each costs time, and leaves no more than the others."""
    return [
        {"at": 0.0, "state": "pending"},
        {"at": seconds / 2, "state": "running"},
        {"at": seconds, "state": "completed"},
    ]


async def _watch(client: AsyncClient, job_id: str) -> None:
    async for _ in client.watch(job_id, mode="all"):
        pass


async def _wait(client: AsyncClient, job_id: str) -> None:
    await client.wait(job_id)
