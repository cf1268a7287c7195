"""How many events a second one client can take, against bare `websockets` and msgspec (G1, G2).

The frame server is the same for all, and faster than any of them, so the processor time of this
process is what an event costs.
"""

from __future__ import annotations

import asyncio
from functools import partial

from benchmarks.documents import job_ids
from benchmarks.floor import decode_bare, open_bare
from benchmarks.processes import Helper
from benchmarks.report import Row, at_least
from benchmarks.rounds import Effort, Options, Stopwatch, median_of, take_turns
from vtrans_hybrid import AsyncClient, JobStatus

__all__ = ["rows"]

_JOBS = 1000

_GOALS = {"callback": ("G1", {1: 0.85, 64: 8.0}), "watchers": ("G2", {1: 0.7, 64: 3.5})}
"""Events a second as a multiple of the bare client's at one event a frame."""

_LABELS = {
    "bare": "bare recv + decode",
    "callback": "client, a callback a job",
    "watchers": "client, 1,000 `async for`",
}


def rows(options: Options) -> list[Row]:
    """Measure with 1, 10 and 64 events a frame, 64 being the most that the protocol allows."""
    return asyncio.run(_measure(options))


async def _measure(options: Options) -> list[Row]:
    measured: dict[tuple[str, int], float] = {}
    table = []
    for per_frame in (1, 64) if options.is_quick else (1, 10, 64):
        # Larger frames go faster and get more work, so that each round lasts long enough.
        last = options.size({1: 21, 10: 61, 64: 101}[per_frame], 11)
        arguments = ["--jobs", str(_JOBS), "--last", str(last), "--per-frame", str(per_frame)]
        async with Helper("benchmarks.frame_server", *arguments) as server:
            url = await server.url()
            contestants = {
                "bare": partial(_bare, server, url, last),
                "callback": partial(_callbacks, server, url),
                "watchers": partial(_watchers, server, url),
            }
            efforts = await take_turns(contestants, options.rounds)
        events = _JOBS * (last - 1)
        for name in contestants:
            measured[name, per_frame] = _microseconds(efforts[name], events)
            table.append(_row(name, per_frame, efforts[name], events, measured["bare", 1]))
    return sorted(table, key=lambda row: list(_LABELS.values()).index(row.name.split(" (")[0]))


def _microseconds(efforts: list[Effort], events: int) -> float:
    return median_of([effort.cpu for effort in efforts]) / events * 1e6


def _row(name: str, per_frame: int, efforts: list[Effort], events: int, yardstick: float) -> Row:
    cost = _microseconds(efforts, events)
    rate = events / median_of([effort.wall for effort in efforts])
    goal, bounds = _GOALS.get(name, ("", {}))
    ratio = yardstick / cost
    return Row(
        name=f"{_LABELS[name]} ({per_frame} a frame)",
        measured=f"{cost:.2f} us CPU an event, {rate:,.0f}/s",
        limits=[at_least(ratio, bounds.get(per_frame), "x bare at 1")],
        ratio=ratio,
        goal=goal,
    )


async def _bare(server: Helper, url: str, last: int) -> Effort:
    connection = await open_bare(url, job_ids(_JOBS))
    missing = _JOBS
    while missing:
        missing -= len(decode_bare(await connection.recv(decode=False)).events)
    await server.tell("go")
    missing = _JOBS * (last - 1)
    with Stopwatch() as watch:
        while missing > 0:
            missing -= len(decode_bare(await connection.recv(decode=False)).events)
    await server.line()
    await connection.close()
    return watch.effort


class _Tally:
    """Counts first and final statuses."""

    def __init__(self) -> None:
        self.heard = 0
        self.ended = 0
        self.all_heard = asyncio.Event()
        self.all_ended = asyncio.Event()

    def take(self, status: JobStatus) -> None:
        if status.is_final:
            self.ended += 1
            if self.ended == _JOBS:
                self.all_ended.set()
        elif status.version == 1:
            self.heard += 1
            if self.heard == _JOBS:
                self.all_heard.set()


async def _callbacks(server: Helper, url: str) -> Effort:
    tally = _Tally()
    async with AsyncClient(url) as client:
        for job_id in job_ids(_JOBS):
            client.on_update(tally.take, job_id)
        return await _play(server, tally)


async def _watchers(server: Helper, url: str) -> Effort:
    tally = _Tally()

    async def follow(job_id: str) -> None:
        async for status in client.watch(job_id):
            tally.take(status)

    async with AsyncClient(url) as client, asyncio.TaskGroup() as tasks:
        for job_id in job_ids(_JOBS):
            tasks.create_task(follow(job_id))
        return await _play(server, tally)


async def _play(server: Helper, tally: _Tally) -> Effort:
    await tally.all_heard.wait()
    await asyncio.sleep(0.05)  # the answer to the subscribe is still to come
    await server.tell("go")
    with Stopwatch() as watch:
        await tally.all_ended.wait()
    await server.line()
    return watch.effort
