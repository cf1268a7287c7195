"""A client under a flood of frames: faster than it can act on each of them alone."""

import asyncio
from collections import defaultdict

from benchmarks.documents import job_ids
from benchmarks.processes import Helper
from vtrans_hybrid import AsyncClient, JobStatus

JOBS = 200
LAST = 21


async def test_a_flood_of_frames_is_delivered_whole_and_in_order() -> None:
    """Frames that come in one pass of the loop are acted on together, and none is left behind."""
    versions: dict[str, list[int]] = defaultdict(list)
    heard, ended = asyncio.Event(), asyncio.Event()
    finals = 0

    def take(status: JobStatus) -> None:
        nonlocal finals
        versions[status.job_id].append(status.version)
        if len(versions) == JOBS:
            heard.set()
        finals += status.is_final
        if finals == JOBS:
            ended.set()

    arguments = ["--jobs", str(JOBS), "--last", str(LAST)]
    async with Helper("benchmarks.frame_server", *arguments, cpu=None) as server:
        async with AsyncClient(await server.url()) as client, asyncio.timeout(20):
            for job_id in job_ids(JOBS):
                client.on_update(take, job_id)
            await heard.wait()
            await server.tell("go")
            await ended.wait()
            stats = client.stats()
    assert list(versions.values()) == [list(range(1, LAST + 1))] * JOBS
    assert (stats.pushes, stats.polls, stats.gaps_healed) == (JOBS * LAST, 0, 0)


async def test_the_last_frame_of_a_flood_waits_for_no_other() -> None:
    """What was put off in a pass of the loop is acted on in the next, though nothing more comes."""
    arguments = ["--jobs", "3", "--last", "2"]
    async with Helper("benchmarks.frame_server", *arguments, cpu=None) as server:
        async with AsyncClient(await server.url()) as client, asyncio.timeout(10):
            seen = []
            async for status in client.watch_all(job_ids(3)):
                seen.append((status.job_id, status.version))
                if len(seen) == 3:
                    await server.tell("go")
    assert sorted(seen) == sorted((job, version) for job in job_ids(3) for version in (1, 2))
