"""What reads cost the client: against a bare aiohttp session (G8), and 100,000 schedules (G9)."""

from __future__ import annotations

import asyncio
import random
import tracemalloc
from collections.abc import Awaitable, Callable
from functools import partial

import aiohttp
import msgspec

from benchmarks.documents import job_ids
from benchmarks.floor import decode_bare_bulk
from benchmarks.processes import Helper
from benchmarks.report import Row, at_most
from benchmarks.rounds import Effort, Options, Stopwatch, median_of, take_turns
from vtrans_hybrid import AsyncClient, PollPolicy
from vtrans_hybrid.dialect import Capabilities
from vtrans_hybrid.merge import Record
from vtrans_hybrid.schedule import Schedule

__all__ = ["rows"]

_SCHEDULES = 100_000
_HORIZON = 30.0


def rows(options: Options) -> list[Row]:
    """Measure single polls, bulk polls and the wheel of reads."""
    polls = asyncio.run(_polls(options))
    return [*polls, _schedule_row()]


async def _polls(options: Options) -> list[Row]:
    async with Helper("benchmarks.bare_server") as server:
        url = await server.url()
        async with AsyncClient(url) as client, aiohttp.ClientSession() as session:

            async def ours(jobs: list[str]) -> None:
                await client.statuses(jobs)

            async def bare(jobs: list[str]) -> None:
                body = msgspec.json.encode({"jobs": dict.fromkeys(jobs, 0)})
                async with session.post(f"{url}/status", data=body) as answer:
                    decode_bare_bulk(await answer.read())

            return [
                await _poll_row(ours, bare, job_ids(1), options.size(1500, 300), options.rounds),
                await _poll_row(ours, bare, job_ids(1000), options.size(60, 10), options.rounds),
            ]


_Read = Callable[[list[str]], Awaitable[None]]


async def _poll_row(ours: _Read, bare: _Read, jobs: list[str], times: int, rounds: int) -> Row:
    async def effort(read: _Read) -> Effort:
        with Stopwatch() as watch:
            for _ in range(times):
                await read(jobs)
        return watch.effort

    contestants = {"ours": partial(effort, ours), "bare": partial(effort, bare)}
    cost = {
        who: median_of([each.cpu for each in efforts]) / times * 1e6
        for who, efforts in (await take_turns(contestants, rounds)).items()
    }
    ratio = cost["ours"] / cost["bare"]
    is_single = len(jobs) == 1
    return Row(
        name=f"client, {'a single poll' if is_single else f'a bulk poll of {len(jobs):,}'}",
        measured=f"{cost['ours']:.0f} us CPU, a bare session {cost['bare']:.0f} us",
        limits=[at_most(ratio, 1.1, "x bare")] if is_single else [],
        ratio=ratio,
        goal="G8" if is_single else "",
    )


def _schedule_row() -> Row:
    """Plan, wake and plan anew 100,000 jobs in the wheel of the core."""
    rand = random.Random(3)
    records = [Record(job_id, status=None) for job_id in job_ids(_SCHEDULES)]
    schedule = Schedule(
        PollPolicy(), Capabilities(max_bulk=1000), rand.random, max_in_flight=10, now=0.0
    )
    tracemalloc.start()
    for record in records:
        schedule.arm(record, rand.random() * _HORIZON)
    per_job = tracemalloc.get_traced_memory()[0] / _SCHEDULES
    tracemalloc.stop()
    now, woken = 0.0, 0
    with Stopwatch() as watch:
        while now < _HORIZON:
            now = schedule.next_deadline()
            for record in schedule.advance(now):
                schedule.arm(record, now + _HORIZON)
                woken += 1
    wake = watch.effort.cpu / woken * 1e6
    return Row(
        name="100,000 poll schedules",
        measured=f"{wake:.2f} us a wake, {per_job:.0f} bytes a job",
        limits=[at_most(wake, 5, " us"), at_most(per_job / 1024, 0.1, " KiB a job")],
        goal="G9",
    )
