"""What the whole is for, on real sockets and in real time.

A run with VTRANS_FULL_SIZE=1 in the environment takes the sizes and times in full, about a minute;
without it, jobs live faster and the cuts of connections come faster in the same measure.
"""

import asyncio
import os
from collections.abc import Iterable

import pytest

from tests.promises import e1_push_share, e3_dials
from tests.sockets.control import add_fault, calls_of, drop_channels, opened_channels
from tests.sockets.proxy import Proxy
from tests.sockets.server_process import ServerProcess
from tests.sockets.side_by_side import side_by_side, stage
from tests.sockets.witness import Witness, history
from vtrans_hybrid import AsyncClient, Job, JobLost, JobStatus, Source

__all__ = ["stage"]

FULL_SIZE = bool(os.environ.get("VTRANS_FULL_SIZE"))
VIDEO = "https://example.com/talk.mp4"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


def address(proxy: Proxy) -> str:
    """Return the base URL of whatever is behind a proxy."""
    return f"http://127.0.0.1:{proxy.port}"


async def order(client: AsyncClient, count: int, **options: object) -> list[Job]:
    """Order jobs, a hundred at a time, and return them."""
    languages = [f"language {number}" for number in range(count)]
    chunks = [languages[start : start + 100] for start in range(0, count, 100)]
    ordered = await asyncio.gather(
        *(client.submit_all(VIDEO, languages=chunk, **options) for chunk in chunks)
    )
    return [job for jobs in ordered for job in jobs]


def ids(jobs: Iterable[Job]) -> list[str]:
    """Return the ids of jobs."""
    return [job.job_id for job in jobs]


async def finals_of(client: AsyncClient, jobs: list[Job], timeout: float) -> list[JobStatus]:
    """Return the final statuses in the order in which they came."""
    return [status async for status in client.as_completed(jobs, timeout=timeout)]


@side_by_side
async def test_a_thousand_jobs_through_cuts_every_8_to_12_seconds() -> None:
    """Every final comes exactly once, nothing twice or out of order, 90 % and more by push."""
    speed = 1 if FULL_SIZE else 2
    witness = Witness()
    async with (
        ServerProcess("--delay", "20:40", "--speed", str(speed)) as server,
        Proxy(server.port, seed=1) as proxy,
        AsyncClient(address(proxy), on_update=witness) as client,
    ):
        proxy.cut_every(8 / speed, 12 / speed)
        jobs = await order(client, 1000)
        finals = await finals_of(client, jobs, timeout=60)
        stats = client.stats()
        kept = await history(server.url, ids(jobs))
        opened = await opened_channels(server)
    assert sorted(status.job_id for status in finals) == sorted(ids(jobs))
    witness.check(ids(jobs), kept)
    e1_push_share(pushes=witness.pushes, polls=witness.polls, share=0.9)
    assert stats.drops >= 2
    assert stats.dials == stats.drops + 1, "a socket beside the one"
    assert opened == stats.dials


@side_by_side
async def test_a_thousand_jobs_through_cuts_every_2_seconds() -> None:
    """However often the connection is cut, nothing is lost, and dials stay within their budget."""
    speed = 1 if FULL_SIZE else 4
    witness = Witness()
    async with (
        ServerProcess("--delay", "20:40", "--speed", str(speed)) as server,
        Proxy(server.port, seed=2) as proxy,
        AsyncClient(address(proxy), on_update=witness) as client,
    ):
        proxy.cut_every(2, 2)
        jobs = await order(client, 1000)
        async with asyncio.timeout(59):
            finals = await finals_of(client, jobs, timeout=59)
        stats = client.stats()
        kept = await history(server.url, ids(jobs))
    assert sorted(status.job_id for status in finals) == sorted(ids(jobs))
    witness.check(ids(jobs), kept)
    assert stats.drops >= 2
    assert stats.dials <= 10, "more than ten dials, and that within a minute"


@side_by_side
async def test_a_killed_server_that_returns_without_its_state() -> None:
    """Watches of jobs that the server has forgotten end with `JobLost`."""
    async with ServerProcess("--delay", "600") as server, AsyncClient(server.url) as client:
        jobs = await order(client, 20)
        watches = [client.watch(job) for job in jobs]
        for watch in watches:
            await anext(watch)
        await server.restart()
        async with asyncio.timeout(20):
            for job, watch in zip(jobs, watches, strict=True):
                with pytest.raises(JobLost, match=job.job_id):
                    await watch
        assert client.stats().watched_jobs == 0


@side_by_side
async def test_a_network_that_goes_and_returns() -> None:
    """With the connection cut and refused for a while, every version arrives all the same."""
    async with (
        ServerProcess("--delay", "9") as server,
        Proxy(server.port) as proxy,
        AsyncClient(address(proxy)) as client,
    ):
        jobs = await order(client, 20)
        witness = Witness()

        async def follow() -> None:
            async for status in client.watch_all(jobs, mode="all", timeout=40):
                witness(status)

        following = asyncio.create_task(follow())
        await asyncio.sleep(2)
        proxy.refuse()
        proxy.cut()
        await asyncio.sleep(4)
        await proxy.accept()
        await following
        kept = await history(server.url, ids(jobs))
    witness.check(ids(jobs), kept, wants_all=True)
    assert {(status.job_id, status.version) for status in witness.seen} == kept.keys()


@side_by_side
async def test_a_frozen_server() -> None:
    """Silence is noticed within 11 s, and the finals come right after the server goes on."""
    loop = asyncio.get_running_loop()
    async with ServerProcess("--delay", "6") as server, AsyncClient(server.url) as client:
        jobs = await order(client, 100)
        following = asyncio.create_task(finals_of(client, jobs, timeout=90))
        await asyncio.sleep(2)
        assert client.stats().link == "live"
        server.stop()
        frozen_at = loop.time()
        async with asyncio.timeout(11):
            while client.stats().drops == 0:  # noqa: ASYNC110 (a counter has no event)
                await asyncio.sleep(0.05)
        await asyncio.sleep(frozen_at + (30 if FULL_SIZE else 14) - loop.time())
        assert not following.done()
        server.cont()
        async with asyncio.timeout(7):
            finals = await following
    assert sorted(status.job_id for status in finals) == sorted(ids(jobs))


@side_by_side
async def test_a_server_that_accepts_and_closes_at_once() -> None:
    """The channel gets at most ten dials in a minute, and the watch goes on by polling."""
    witness = Witness()
    async with ServerProcess("--delay", "70" if FULL_SIZE else "8") as server:
        await add_fault(server, "accept_and_close", code=1000)
        async with AsyncClient(server.url, on_update=witness) as client:
            jobs = await order(client, 10)
            finals = await finals_of(client, jobs, timeout=85)
            kept = await history(server.url, ids(jobs))
            dials = client.stats().dials
        dialed_at = await calls_of(server, "/events")
    assert sorted(status.job_id for status in finals) == sorted(ids(jobs))
    witness.check(ids(jobs), kept)
    assert witness.pushes == 0
    assert len(witness.seen) > 20, "polling has not kept up"
    assert len(dialed_at) == dials >= 2
    e3_dials(dialed_at, window=59.5)  # a packet may take its time


@side_by_side
async def test_a_muted_channel() -> None:
    """A channel that answers pings and tells of nothing does not keep the final away."""
    async with ServerProcess("--delay", "3") as server, AsyncClient(server.url) as client:
        [job] = await order(client, 1)
        watch = client.watch(job, timeout=30)
        await anext(watch)
        await add_fault(server, "mute")
        final = await watch
        assert final.ok
        assert final.source == Source.POLL
        assert client.stats().dials == 1


@side_by_side
async def test_a_clean_close_is_not_the_end() -> None:
    """After close code 1000, and after a FIN without any, the watch goes on, by push again."""
    async with (
        ServerProcess("--delay", "6") as server,
        Proxy(server.port) as proxy,
        AsyncClient(address(proxy)) as client,
    ):
        [job] = await order(client, 1)
        watch = client.watch(job, mode="all", timeout=30)
        await anext(watch)
        assert await drop_channels(server, 1000) == 1
        await asyncio.sleep(2)
        assert client.stats().link == "live"
        assert proxy.cut(clean=True) >= 1
        statuses = [status async for status in watch]
        assert statuses[-1].ok
        assert statuses[-1].source == Source.PUSH
        assert [status.version for status in statuses] == list(range(2, len(statuses) + 2))
        assert client.stats().drops == 2
