"""Servers without a channel, without bulk reads, without versions: polling alone must do."""

import time

import pytest

from tests.sockets.plain_server import PlainServer
from tests.sockets.side_by_side import side_by_side, stage
from vtrans_hybrid import (
    AsyncClient,
    JobFailed,
    JobNotFound,
    JobStatus,
    PollPolicy,
    Source,
    Unsupported,
    WatchTimeout,
)

__all__ = ["stage"]

VIDEO = "https://example.com/talk.mp4"


@side_by_side
async def test_a_server_with_one_job_and_nothing_else() -> None:
    """`watch()` without a job follows the one there is, with at most five reads where it knows."""
    async with PlainServer(6).with_one_job() as server, AsyncClient(server.url) as client:
        statuses = [status async for status in client.watch(timeout=20)]
        late = time.monotonic() - server.ends[""]
        assert [status.state for status in statuses] == ["pending", "completed"]
        assert {status.source for status in statuses} == {Source.POLL}
        assert late < 1
        assert len(server.reads) <= 5, "a truthful estimate is worth more than that"
        assert client.stats().link == "off"
        assert client.stats().dials == 1


@side_by_side
async def test_a_server_that_gives_no_estimate() -> None:
    """Without any estimate the end is found all the same, soon and without hammering."""
    server = PlainServer(3, tells_eta=False)
    async with server.with_one_job(), AsyncClient(server.url) as client:
        assert (await client.wait(timeout=20)).ok
        assert time.monotonic() - server.ends[""] < 2.5
        assert len(server.reads) <= 6


@side_by_side
async def test_a_job_that_fails() -> None:
    """The word `error` is the end, and `result` raises it."""
    server = PlainServer(0.5, end="error")
    async with server.with_one_job(), AsyncClient(server.url) as client:
        assert (await client.wait(timeout=20)).state == "error"
        with pytest.raises(JobFailed):
            await client.result(timeout=20)


@side_by_side
async def test_a_server_with_jobs() -> None:
    """Jobs are ordered, one request each, and followed by reads of single jobs."""
    updates: list[JobStatus] = []
    server = PlainServer(2)
    async with server.with_jobs(), AsyncClient(server.url, on_update=updates.append) as client:
        jobs = await client.submit_all(VIDEO, languages=["Spanish", "French", "German"])
        assert [job.language for job in jobs] == ["Spanish", "French", "German"]
        ids = sorted(job.job_id for job in jobs)
        finals = [status async for status in client.as_completed(jobs, timeout=20)]
        assert sorted(status.job_id for status in finals) == ids
        assert all(status.ok for status in finals)
        for job_id in ids:
            states = [status.state for status in updates if status.job_id == job_id]
            assert states == ["pending", "completed"], "a read that told nothing new called back"
        assert len(server.reads) <= 5 * len(jobs)
        assert list(await client.statuses(jobs)) == [job.job_id for job in jobs]


@side_by_side
async def test_what_such_a_server_cannot_do() -> None:
    """Cancelling, push alone and unknown jobs are typed errors."""
    server = PlainServer(30)
    async with server.with_jobs(), AsyncClient(server.url) as client:
        job = await client.submit(VIDEO, language="Spanish")
        with pytest.raises(Unsupported, match="cannot cancel"):
            await client.cancel(job)
        with pytest.raises(JobNotFound, match="nobody-1"):
            await client.wait("nobody-1")
        with pytest.raises(JobNotFound, match="nobody-1"):
            await client.status("nobody-1")
        with pytest.raises(WatchTimeout) as caught:
            await client.wait(job, timeout=1.5)
        assert caught.value.last_status is not None
        assert caught.value.last_status.state == "pending"
        async with AsyncClient(server.url, transport="push") as pushed:
            with pytest.raises(Unsupported):
                await pushed.wait(job, timeout=20)


@side_by_side
async def test_a_rhythm_of_ones_own() -> None:
    """A fixed interval is kept."""
    server = PlainServer(2)
    fixed = PollPolicy.fixed(0.25, jitter=0)
    async with server.with_one_job(), AsyncClient(server.url, poll=fixed) as client:
        assert (await client.wait(timeout=20)).ok
    # The first reads find out what kind of server this is.
    gaps = [
        after - before for before, after in zip(server.reads[1:], server.reads[2:], strict=False)
    ]
    assert all(0.2 < gap < 0.4 for gap in gaps[1:]), gaps


@side_by_side
async def test_what_a_server_cannot_do_is_said_at_once() -> None:
    """After a job was followed, too: only what was there before may be there again."""
    async with PlainServer(0.5).with_one_job() as server, AsyncClient(server.url) as client:
        assert (await client.wait(timeout=20)).ok
        requests = client.stats().requests
        with pytest.raises(Unsupported):
            await client.cancel("job-1")
        with pytest.raises(Unsupported):
            await client.submit(VIDEO, language="Spanish")
        assert client.stats().requests <= requests + 2, "nothing is tried again"
