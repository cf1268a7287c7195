"""A client under a flood of frames: faster than it can act on each of them alone."""

import asyncio
from collections import defaultdict

from benchmarks.documents import job_ids
from benchmarks.processes import Helper
from vtrans_hybrid import AsyncClient, JobStatus

PROMPTLY = 0.8
"""Seconds; a timer of the core, which would act on what was forgotten, rings after 1 s."""


class Tally:
    """What callbacks were told."""

    def __init__(self, jobs: int) -> None:
        self.versions: dict[str, list[int]] = defaultdict(list)
        self.all_heard = asyncio.Event()
        self.all_ended = asyncio.Event()
        self._jobs = jobs
        self._ended = 0

    def take(self, status: JobStatus) -> None:
        """Note a status."""
        self.versions[status.job_id].append(status.version)
        if len(self.versions) == self._jobs:
            self.all_heard.set()
        self._ended += status.is_final
        if self._ended == self._jobs:
            self.all_ended.set()


async def play(jobs: int, last: int) -> Tally:
    """Let a server send versions 2 to `last` of each job, a frame each, as fast as it can."""
    tally = Tally(jobs)
    arguments = ["--jobs", str(jobs), "--last", str(last)]
    async with (
        Helper("benchmarks.frame_server", *arguments, cpu=None) as server,
        AsyncClient(await server.url()) as client,
    ):
        for job_id in job_ids(jobs):
            client.on_update(tally.take, job_id)
        await asyncio.wait_for(tally.all_heard.wait(), 10)
        await server.tell("go")
        await asyncio.wait_for(tally.all_ended.wait(), PROMPTLY)
    return tally


async def test_a_flood_of_frames_is_delivered_whole_and_in_order() -> None:
    """Frames that come in one pass of the loop are acted on together, and none is left out."""
    tally = await play(jobs=100, last=11)
    assert list(tally.versions.values()) == [list(range(1, 12))] * 100


async def test_the_last_frames_of_a_flood_wait_for_no_others() -> None:
    """What was put off in a pass of the loop is acted on in the next, though nothing more comes."""
    tally = await play(jobs=3, last=2)
    assert list(tally.versions.values()) == [[1, 2]] * 3
