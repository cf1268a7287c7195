"""What a watched job occupies (G3), each way of following in a fresh process.

The server is a real simulator, in another process. Memory is resident memory, as the operating
system counts it, beyond that of a connected client with one job.
"""

from __future__ import annotations

import asyncio

import msgspec

from benchmarks.memory_probe import Footprint
from benchmarks.orders import order
from benchmarks.processes import Helper
from benchmarks.report import Limit, Row, at_most
from benchmarks.rounds import Options

__all__ = ["rows"]

_DELAY = 100_000.0  # s: nothing happens to the jobs while they are measured

_LABELS = {
    "bulk": "memory, bulk iterator",
    "callback": "memory, a callback a job",
    "task": "memory, a user's task a job",
}
_KIB = {"bulk": 0.5, "callback": 0.5, "task": 1.5}
_MB_OF_100_000 = {"bulk": 60.0, "callback": 60.0, "task": 160.0}


def rows(options: Options) -> list[Row]:
    """Measure 10,000 jobs, and 100,000 in a thorough run."""
    return asyncio.run(_measure(options))


async def _measure(options: Options) -> list[Row]:
    table = []
    for count in (10_000,) if options.is_quick else (10_000, 100_000):
        async with Helper("simulator", "--port", "0", "--no-control") as server:
            url = await server.url()
            jobs = await order(url, count, delay=_DELAY)
            await asyncio.sleep(1.5)  # all of them are running by then
            kinds = ("bulk", "callback") if options.is_quick else tuple(_LABELS)
            table += [_row(kind, count, await _probe(url, kind, jobs)) for kind in kinds]
    return table


async def _probe(url: str, kind: str, jobs: list[str]) -> Footprint:
    async with Helper("benchmarks.memory_probe", url, kind, cpu=0) as probe:
        await probe.tell(msgspec.json.encode(jobs).decode())
        return msgspec.json.decode(await probe.line(), type=Footprint)


def _row(kind: str, count: int, footprint: Footprint) -> Row:
    kib = footprint.resident / count / 1024
    megabytes = footprint.resident / 1e6
    limits: list[Limit] = []
    if count == 100_000:
        limits = [at_most(megabytes, _MB_OF_100_000[kind], " MB")]
        if kind != "task":
            limits += [at_most(footprint.tasks, 10, " tasks")]
            more = footprint.full_gc - footprint.idle_gc  # the rest is the libraries'
            limits += [at_most(more * 1e3, 10, " ms more gc")]
    else:
        limits = [at_most(kib, _KIB[kind], " KiB a job")]
    return Row(
        name=f"{_LABELS[kind]} ({count:,} jobs)",
        measured=f"{kib:.2f} KiB a job, {megabytes:.1f} MB, {footprint.tasks} tasks, "
        f"gc {footprint.full_gc * 1e3:.0f} ms (idle {footprint.idle_gc * 1e3:.0f}), "
        f"{footprint.cpu / count * 1e6:.0f} us CPU each",
        limits=limits,
        ratio=None,
        goal="G3",
    )
