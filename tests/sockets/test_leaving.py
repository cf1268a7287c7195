"""Leaving early, in every way: at once, and with nothing left behind."""

import asyncio
import contextlib
import logging
import socket
import sys

import pytest

from tests.sockets.leaks import BRIEF, nothing_left
from tests.sockets.proxy import Proxy
from tests.sockets.server_process import ServerProcess
from vtrans_hybrid import AsyncClient, ClientClosed, Job, JobStatus, WatchTimeout

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="sockets are counted in /proc")


async def order(client: AsyncClient, **options: object) -> Job:
    """Order one job."""
    return await client.submit("https://example.com/talk.mp4", language="Spanish", **options)


async def until_link(client: AsyncClient, *phases: str) -> None:
    """Wait until the channel is in one of these phases."""
    async with asyncio.timeout(5):
        while client.stats().link not in phases:  # noqa: ASYNC110 (a phase has no event)
            await asyncio.sleep(0.001)


async def close(client: AsyncClient) -> None:
    """Close a client; that must be quick."""
    async with asyncio.timeout(BRIEF):
        await client.aclose()


async def test_break_leaves_nothing_behind(calm_url: str) -> None:
    """After `break` the job is followed no more, the task goes on, and the client works."""
    async with nothing_left():
        client = AsyncClient(calm_url)
        job = await order(client, delay=60)
        async for status in client.watch(job):
            assert not status.is_final
            break
        await asyncio.sleep(0)
        assert client.stats().watched_jobs == 0
        assert (await client.wait(await order(client))).ok
        await close(client)


async def test_cancelling_leaves_nothing_behind(calm_url: str) -> None:
    """Whenever the task that waits is cancelled, it ends at once, and so does the client."""
    async with AsyncClient(calm_url) as other:
        job = await order(other, delay=60)
    async with nothing_left():
        for delay in [0, *(number * 0.0007 for number in range(40))]:
            client = AsyncClient(calm_url)
            waiting = asyncio.create_task(client.wait(job))
            await asyncio.sleep(delay)
            waiting.cancel()
            async with asyncio.timeout(BRIEF):
                with pytest.raises(asyncio.CancelledError):
                    await waiting
            assert client.stats().watched_jobs == 0
            await close(client)


async def test_closing_at_any_moment_leaves_nothing_behind(calm_url: str) -> None:
    """Whenever a client is closed, whoever waits gets `ClientClosed`, and nothing is left."""
    async with AsyncClient(calm_url) as other:
        job = await order(other, delay=60)
    async with nothing_left():
        for delay in [0, *(number * 0.0007 for number in range(40))]:
            client = AsyncClient(calm_url)
            waiting = asyncio.create_task(client.wait(job))
            reading = asyncio.create_task(client.status(job))
            await asyncio.sleep(delay)
            await close(client)
            async with asyncio.timeout(BRIEF):
                with pytest.raises(ClientClosed):
                    await waiting
                with contextlib.suppress(ClientClosed):
                    await reading


async def test_an_exception_in_a_callback_stops_nothing(
    calm_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The watch goes on to its end, the error is told, and nothing is left behind."""
    told: list[tuple[Exception, JobStatus | None]] = []

    def fail(status: JobStatus) -> None:
        raise ZeroDivisionError("plain")

    async def fail_later(status: JobStatus) -> None:
        await asyncio.sleep(0)
        raise ZeroDivisionError("awaited")

    async with nothing_left():
        client = AsyncClient(
            calm_url, on_update=fail, on_error=lambda error, status: told.append((error, status))
        )
        job = await order(client)
        assert (await client.wait(job, on_update=fail_later)).ok
        await close(client)
        assert {str(error) for error, _ in told} == {"plain", "awaited"}
        assert all(status is not None and status.job_id == job.job_id for _, status in told)

        with caplog.at_level(logging.ERROR, "vtrans_hybrid"):
            async with AsyncClient(calm_url, on_update=fail) as quiet:
                assert (await quiet.wait(job)).ok
        assert "ZeroDivisionError: plain" in caplog.text


@pytest.mark.parametrize("is_refused", [True, False], ids=["refused", "silent"])
async def test_closing_during_a_reconnect(calm_url: str, is_refused: bool) -> None:
    """Closing while the channel is dialed anew, or waits to be, ends everything at once."""
    port = int(calm_url.rpartition(":")[2])
    async with nothing_left(), Proxy(port) as proxy:
        client = AsyncClient(f"http://127.0.0.1:{proxy.port}")
        job = await order(client, delay=60)
        waiting = asyncio.create_task(client.wait(job))
        await until_link(client, "live")
        if is_refused:
            proxy.refuse()
        else:
            proxy.stall()
        proxy.cut()
        await until_link(client, "backoff", "dialing")
        if not is_refused:
            await until_link(client, "dialing")
            await asyncio.sleep(0.05)
        await close(client)
        async with asyncio.timeout(BRIEF):
            with pytest.raises(ClientClosed):
                await waiting


async def test_closing_while_the_first_packet_is_not_answered() -> None:
    """A host that is not there at all delays neither a cancellation nor the end."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as hole:
        place = hole.getsockname()
        with socket.create_connection(place):  # the backlog is full: packets are dropped
            async with nothing_left():
                client = AsyncClient(f"http://127.0.0.1:{place[1]}")
                asking = [
                    asyncio.create_task(client.status("job-1")),
                    asyncio.create_task(client.wait("job-1")),
                    asyncio.create_task(client.submit("https://e.com/v", language="French")),
                ]
                await asyncio.sleep(0.1)
                await close(client)
                async with asyncio.timeout(BRIEF):
                    ends = await asyncio.gather(*asking, return_exceptions=True)
                assert [type(end) for end in ends] == [ClientClosed] * 3


async def test_closing_between_two_attempts() -> None:
    """A call that waits to repeat its request is ended by the end of the client."""
    async with nothing_left():
        client = AsyncClient("http://127.0.0.1:1")
        asking = asyncio.create_task(client.status("job-1"))
        await asyncio.sleep(0.1)
        assert not asking.done()
        await close(client)
        async with asyncio.timeout(BRIEF):
            with pytest.raises(ClientClosed):
                await asking


async def test_a_frozen_server_delays_nothing() -> None:
    """With a peer that answers nothing, cancelling, timeouts and the end are as quick as ever."""
    async with ServerProcess("--delay", "60") as server, nothing_left():
        client = AsyncClient(server.url)
        jobs = await client.submit_all("https://e.com/v", languages=[f"l{n}" for n in range(100)])
        waiting = asyncio.create_task(client.wait(jobs[0]))
        await until_link(client, "live")
        server.stop()
        loop = asyncio.get_running_loop()
        began = loop.time()
        with pytest.raises(WatchTimeout):
            await client.wait(jobs[1], timeout=0.3)
        assert 0.3 <= loop.time() - began < 0.3 + BRIEF
        cancelled = asyncio.create_task(client.status(jobs[2]))
        everything = asyncio.ensure_future(anext(client.watch_all(jobs)))
        await asyncio.sleep(0.1)
        cancelled.cancel()
        async with asyncio.timeout(BRIEF):
            with pytest.raises(asyncio.CancelledError):
                await cancelled
        await close(client)
        async with asyncio.timeout(BRIEF):
            with pytest.raises(ClientClosed):
                await waiting
            with contextlib.suppress(ClientClosed):
                await everything
