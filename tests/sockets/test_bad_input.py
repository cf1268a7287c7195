"""Wrong addresses, wrong servers, wrong keys and wrong arguments: a typed error that helps."""

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from tests.sockets.control import add_fault, heal
from tests.sockets.server_process import ServerProcess
from tests.sockets.side_by_side import side_by_side, stage
from tests.vtrans_hybrid.network import web_server
from vtrans_hybrid import (
    AsyncClient,
    AuthError,
    Backoff,
    ConnectFailed,
    JobNotFound,
    NetworkOptions,
    PollPolicy,
    ProtocolError,
    RetryPolicy,
    ServerError,
    Unsupported,
    VtransError,
)

__all__ = ["stage"]

BRISK = RetryPolicy(max_attempts=2, backoff=Backoff(initial=0.01))
VIDEO = "https://example.com/talk.mp4"

Call = Callable[[AsyncClient], Awaitable[object]]

CALLS: dict[str, Call] = {
    "submit": lambda client: client.submit(VIDEO, language="Spanish"),
    "status": lambda client: client.status("job-1"),
    "statuses": lambda client: client.statuses(["job-1", "job-2"]),
    "wait": lambda client: client.wait("job-1"),
    "wait for the default job": lambda client: client.wait(),
    "as_completed": lambda client: anext(client.as_completed(["job-1", "job-2"])),
}


async def failures_of(url: str, **options: object) -> dict[str, VtransError]:
    """Make every call at once, each with a client of its own, and return how each of them failed.

    None may succeed, hang, or raise what is not ours.
    """

    async def fail(call: Call) -> VtransError:
        async with client_of(url, **options) as client:
            with pytest.raises(VtransError) as caught:
                await call(client)
            return caught.value

    async with asyncio.TaskGroup() as group:
        tasks = {name: group.create_task(fail(call)) for name, call in CALLS.items()}
    return {name: task.result() for name, task in tasks.items()}


def everything_said(error: BaseException) -> str:
    """Return the message of an error with its notes and those of its cause."""
    notes = [*getattr(error, "__notes__", ()), *getattr(error.__cause__, "__notes__", ())]
    return " ".join([str(error), *notes])


@asynccontextmanager
async def client_of(url: str, **options: object) -> AsyncIterator[AsyncClient]:
    """Open a client that gives up soon, for at most ten seconds."""
    async with asyncio.timeout(10), AsyncClient(url, retry=BRISK, **options) as client:  # type: ignore[arg-type]
        yield client


async def check_unreachable(host: str) -> None:
    """Check that every call names the host and asks the right question."""
    for name, error in (await failures_of(f"http://{host}")).items():
        assert isinstance(error, ConnectFailed), name
        assert isinstance(error, OSError), name
        assert host in str(error), name
        assert "base_url right" in str(error), name


@side_by_side
async def test_a_host_that_refuses() -> None:
    """Where nobody listens, every call ends with `ConnectFailed`."""
    await check_unreachable("127.0.0.1:1")


@side_by_side
async def test_a_host_without_an_address() -> None:
    """Where the name means nothing, every call ends with `ConnectFailed`."""
    await check_unreachable("nowhere.invalid")


@side_by_side
async def test_a_wrong_path(calm_url: str) -> None:
    """Where the server has nothing of ours, the error says to look at base_url."""
    for name, error in (await failures_of(f"{calm_url}/api/v9")).items():
        assert isinstance(error, Unsupported), name
        assert "path of base_url" in str(error), name


@side_by_side
async def test_html_instead_of_json() -> None:
    """A server that is no API answers 200 with a page: an error that says so, and no hang."""

    async def page(request: web.Request) -> web.StreamResponse:
        return web.Response(text="<html>welcome</html>", content_type="text/html")

    async with web_server(("*", "/{path:.*}", page)) as url:
        failures = await failures_of(url)
    for name, error in failures.items():
        assert isinstance(error, ProtocolError), name
        assert "text/html" in str(error), name
        assert "base_url" in str(error), name


@side_by_side
async def test_an_error_page_instead_of_json() -> None:
    """A server that has never heard of us answers 404 with a page: a typed error, and no hang."""

    async def page(request: web.Request) -> web.StreamResponse:
        return web.Response(text="<html>what?</html>", content_type="text/html", status=404)

    async with web_server(("*", "/{path:.*}", page)) as url:
        failures = await failures_of(url)
    for name, error in failures.items():
        assert isinstance(error, ServerError), name
        assert "base_url" in everything_said(error), name


@side_by_side
async def test_not_a_number_for_ever() -> None:
    """NaN is no JSON: a server that always says it is a broken one."""

    async def broken(request: web.Request) -> web.StreamResponse:
        body = '{"job_id": "job-1", "state": "running", "progress": NaN}'
        return web.Response(text=body, content_type="application/json")

    async with web_server(("*", "/{path:.*}", broken)) as url:
        failures = await failures_of(url)
    for name, error in failures.items():
        assert isinstance(error, ProtocolError), name
        assert "something else than the JSON expected" in str(error), name


@side_by_side
async def test_not_a_number_for_a_while() -> None:
    """NaN in the answers to polls loses nothing: once it is over, the watch goes on."""
    async with (
        ServerProcess("--delay", "2") as server,
        client_of(server.url, transport="poll") as client,
    ):
        job = await client.submit(VIDEO, language="Spanish")
        watch = client.watch(job)
        assert not (await anext(watch)).is_final
        await add_fault(server, "garbage", kind="nan")
        with pytest.raises(ProtocolError):
            await client.status(job)
        await asyncio.sleep(1)
        await heal(server)
        assert (await watch).ok


async def check_key(url: str, key: str | None) -> None:
    """Check that every call is refused with this key."""
    for name, error in (await failures_of(url, api_key=key)).items():
        assert isinstance(error, AuthError), name
        assert "API key is missing or wrong" in str(error), name
        assert error.status == 401, name
        assert not error.retryable, name


@side_by_side
async def test_a_wrong_key(guarded_url: str) -> None:
    """A key that the server does not know is `AuthError` at once, in watches too."""
    await check_key(guarded_url, "wrong")


@side_by_side
async def test_no_key(guarded_url: str) -> None:
    """A server that wants a key says so to those who have none."""
    await check_key(guarded_url, None)


@side_by_side
async def test_the_right_key(guarded_url: str) -> None:
    """With its key the same server takes orders, and its channel opens."""
    async with client_of(guarded_url, api_key="right") as client:
        job = await client.submit(VIDEO, language="Spanish")
        assert (await client.wait(job)).source == "push"


@side_by_side
async def test_an_unknown_job(calm_url: str) -> None:
    """Whatever is asked of a job that the server does not know, the answer names the job."""
    async with client_of(calm_url) as client:
        known = await client.submit(VIDEO, language="Spanish")
        for call in (client.status, client.wait, client.result, client.cancel):
            with pytest.raises(JobNotFound, match="nobody-1") as caught:
                await call("nobody-1")
            assert caught.value.job_id == "nobody-1"
        with pytest.raises(JobNotFound, match="nobody-1") as several:
            await client.statuses([known, "nobody-1"])
        assert list(several.value.statuses) == [known.job_id]
        watch = client.watch_all([known, "nobody-1"])
        with pytest.raises(JobNotFound, match="nobody-1"):
            await watch
        assert (await client.status(known)).ok, "the other job was not followed to its end"
        assert list(watch.errors) == ["nobody-1"]


@pytest.mark.parametrize(
    "job_id", ["", "a/b", "../jobs", "a\r\nb: c", "a b", "a?b", "ä", "x" * 129, ".hidden"]
)
async def test_job_ids_that_are_none(job_id: str) -> None:
    """An id that would change the request is refused before anything is sent."""
    async with AsyncClient("http://127.0.0.1:1") as client:
        for call in (client.job, client.watch):
            with pytest.raises(ValueError, match="is no job id"):
                call(job_id)
        with pytest.raises(ValueError, match="is no job id"):
            client.watch_all(["good", job_id])
        with pytest.raises(ValueError, match="is no job id"):
            client.on_update(print, job_id)
        for ask in (client.status, client.wait, client.cancel):
            with pytest.raises(ValueError, match="is no job id"):
                await ask(job_id)
        assert client.stats().requests == 0


@pytest.mark.parametrize("wrong", [-1, 0, math.nan, math.inf, -math.inf])
def test_intervals_that_are_none(wrong: float) -> None:
    """Times that make no sense are refused where they are given, by name."""
    for make in (
        lambda: PollPolicy(min_interval=wrong),
        lambda: PollPolicy(max_interval=wrong),
        lambda: PollPolicy(initial_interval=wrong),
        lambda: PollPolicy(max_rate=wrong),
        lambda: PollPolicy(max_wait_time=wrong),
        lambda: PollPolicy.fixed(wrong),
        lambda: RetryPolicy(request_timeout=wrong),
        lambda: Backoff(initial=wrong),
        lambda: Backoff(cap=wrong),
    ):
        with pytest.raises(ValueError, match=r"must be more than zero (seconds|a second)"):
            make()


@pytest.mark.parametrize("wrong", [-1, 0, math.nan, -math.inf])
def test_timeouts_that_are_none(wrong: float) -> None:
    """A total timeout that has passed before it begins is refused; an infinite one is none."""
    with pytest.raises(ValueError, match="timeout"):
        AsyncClient("http://127.0.0.1:1", timeout=wrong)
    client = AsyncClient("http://127.0.0.1:1")
    with pytest.raises(ValueError, match="timeout"):
        client.watch("job-1", timeout=wrong)


def test_other_arguments_that_are_none() -> None:
    """Each of them is named."""
    with pytest.raises(ValueError, match="transport"):
        AsyncClient("http://127.0.0.1:1", transport="carrier pigeon")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="mode"):
        AsyncClient("http://127.0.0.1:1").watch("job-1", mode="some")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="max_attempts"):
        RetryPolicy(max_attempts=0)
    with pytest.raises(ValueError, match="max_connections"):
        NetworkOptions(max_connections=0)
    with pytest.raises(ValueError, match="jitter"):
        PollPolicy(jitter=-0.1)
    with pytest.raises(ValueError, match="below min_interval"):
        PollPolicy(min_interval=5, max_interval=1)


async def test_orders_that_are_none(calm_url: str) -> None:
    """An order without a video or a language never leaves, and what the server rejects is named."""
    async with client_of(calm_url) as client:
        for video, language in (("", "Spanish"), (" ", "Spanish"), (VIDEO, ""), (VIDEO, " ")):
            with pytest.raises(ValueError, match=r"empty"):
                await client.submit(video, language=language)
        with pytest.raises(ValueError, match="at least one language"):
            await client.submit_all(VIDEO, languages=[])
        with pytest.raises(ValueError, match="limit"):
            await client.statuses(["job-1"], limit=0)
        assert client.stats().requests == 0
        with pytest.raises(VtransError, match="delay"):
            await client.submit(VIDEO, language="Spanish", delay="a while")
