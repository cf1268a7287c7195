"""Watch many jobs in a fresh process and print what that occupies.

Runs as `python -m benchmarks.memory_probe URL KIND`; the first line of its standard input is a JSON
list of job ids.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import sys
import time
from collections.abc import Coroutine
from typing import Any

import msgspec

from benchmarks.processes import resident_bytes
from vtrans_hybrid import AsyncClient, JobStatus

__all__ = ["KINDS", "Footprint", "main"]

KINDS = ("bulk", "callback", "task")

_SETTLING = 3.0
"""Seconds after the last first status: subscribes are answered, and reads that began have ended."""


class Footprint(msgspec.Struct, frozen=True):
    """What the jobs of one process occupy, beyond a connected client with one job."""

    resident: int
    """Bytes of resident memory."""
    tasks: int
    """Tasks of the event loop."""
    full_gc: float
    """Seconds that a full garbage collection takes, of all that there is."""
    idle_gc: float
    """Seconds that it took before the jobs came."""
    cpu: float
    """Processor seconds from the first job to the first status of the last."""


class _Tally:
    """Waits for the first status of every job."""

    def __init__(self, jobs: int) -> None:
        self._missing = jobs
        self.is_full = asyncio.Event()

    def take(self, status: JobStatus) -> None:  # noqa: ARG002  # a callback takes a status
        self._missing -= 1
        if self._missing == 0:
            self.is_full.set()


async def _read(client: AsyncClient, jobs: list[str], tally: _Tally) -> None:
    async for status in client.watch_all(jobs):
        tally.take(status)


def _follow(
    client: AsyncClient, kind: str, jobs: list[str], tally: _Tally
) -> list[Coroutine[Any, Any, None]]:
    """Let the application follow jobs in one way; return what it does in tasks of its own."""
    if kind == "bulk":
        return [_read(client, jobs, tally)]
    if kind == "task":
        return [_read(client, [job_id], tally) for job_id in jobs]
    take = tally.take  # one object for all jobs, as an application's function is
    for job_id in jobs:
        client.on_update(take, job_id)
    return []


async def _footprint(url: str, kind: str, jobs: list[str]) -> Footprint:
    async with AsyncClient(url) as client:
        first = client.watch(jobs[0])
        await anext(first)
        await asyncio.sleep(0.5)
        idle_gc = min(_full_gc() for _ in range(3))
        resident, tasks = resident_bytes(), len(asyncio.all_tasks())
        began = time.process_time()
        tally = _Tally(len(jobs) - 1)
        own = [asyncio.create_task(each) for each in _follow(client, kind, jobs[1:], tally)]
        await tally.is_full.wait()
        cpu = time.process_time() - began
        await asyncio.sleep(_SETTLING)
        footprint = Footprint(
            full_gc=min(_full_gc() for _ in range(3)),
            idle_gc=idle_gc,
            resident=resident_bytes() - resident,
            tasks=len(asyncio.all_tasks()) - tasks,
            cpu=cpu,
        )
        for task in own:
            task.cancel()
        await asyncio.gather(*own, return_exceptions=True)
    return footprint


def _full_gc() -> float:
    began = time.perf_counter()
    gc.collect()
    return time.perf_counter() - began


def main() -> None:
    """Measure, and print the result as one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("kind", choices=KINDS)
    options = parser.parse_args()
    jobs = msgspec.json.decode(sys.stdin.readline(), type=list[str])
    footprint = asyncio.run(_footprint(options.url, options.kind, jobs))
    print(msgspec.json.encode(footprint).decode(), flush=True)


if __name__ == "__main__":
    main()
