"""The endpoints of an account: added, replaced, removed at the end whatever happens."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from typing import Any

import pytest

from vtrans_hybrid.dialect import (
    AddEndpoint,
    Answer,
    Endpoint,
    EventHistory,
    Happening,
    ListEndpoints,
    Operation,
    RemoveEndpoint,
)
from vtrans_hybrid.endpoints import BlockingEndpoints, Endpoints, Registration
from vtrans_hybrid.errors import (
    AuthError,
    ClientClosed,
    InvalidRequest,
    ProtocolError,
    RequestTimeout,
    Unavailable,
    VtransError,
)

URL = "https://you.example/hooks"


class Account:
    """What a server knows of endpoints, and what went on there; it owns a registration."""

    def __init__(self, *urls: str, pages: Iterable[list[str]] = ()) -> None:
        self.there = {f"ep-{number}": url for number, url in enumerate(urls)}
        self.pages = list(pages)
        self.calls: list[Operation] = []
        self.heard: list[list[str]] = []
        """How many endpoints are listed at once."""
        self.trouble: dict[type, list[BaseException]] = {}
        """What operations of a kind fail with, one after the other."""

    def endpoints(self) -> Endpoints:
        """Return what manages them."""
        return Endpoints(self.call)

    def announced(self, jobs: Iterable[str]) -> None:
        """Take down which jobs have news."""
        self.heard.append(list(jobs))

    async def call(self, operation: Operation, timeout: float | None) -> Answer:
        """Carry out an operation."""
        self.calls.append(operation)
        if trouble := self.trouble.get(type(operation)):
            raise trouble.pop(0)
        match operation:
            case AddEndpoint(url=url):
                name = f"ep-{len(self.calls)}00"
                self.there[name] = url
                return Answer(endpoints=[Endpoint(endpoint_id=name, url=url, secret="whsec_new")])
            case ListEndpoints(token=token):
                there = [Endpoint(endpoint_id=i, url=u) for i, u in self.there.items()]
                end = int(token or 0) + 10
                next_token = str(end) if end < len(there) else ""
                return Answer(endpoints=there[end - 10 : end], next_token=next_token)
            case RemoveEndpoint(endpoint_id=name):
                del self.there[name]
                return Answer()
            case EventHistory(token=token):
                return self._page(int(token or 0))
        raise AssertionError(operation)

    def _page(self, number: int) -> Answer:
        if number >= len(self.pages):
            return Answer()
        found = [Happening(event_id="", job_ids=(job_id,)) for job_id in self.pages[number]]
        is_last = number + 1 == len(self.pages)
        return Answer(happenings=found, next_token="" if is_last else str(number + 1))


class Block:
    """What a receiver takes down of a registration."""

    def __init__(self, account: Any) -> None:
        self.secrets: list[str] = []
        self.registration = Registration(account, URL, began=self.began, ended=self.ended)

    def began(self, endpoint: Endpoint) -> None:
        """Take the secret."""
        self.secrets.append(endpoint.secret)

    def ended(self, endpoint: Endpoint) -> None:
        """Forget the secret."""
        self.secrets.remove(endpoint.secret)


async def test_an_endpoint_lives_as_long_as_its_block() -> None:
    """It is added with its secret, and removed at the end; other addresses are left alone."""
    account = Account("https://you.example/other")
    block = Block(account)
    async with block.registration as endpoint:
        assert endpoint.url == URL
        assert block.secrets == ["whsec_new"]
        assert URL in account.there.values()

    assert block.secrets == []
    assert account.there == {"ep-0": "https://you.example/other"}


async def test_what_an_earlier_run_has_left_is_replaced() -> None:
    """Endpoints at the same address are removed, once there is the new one."""
    account = Account(URL, "https://you.example/other", URL)
    endpoint = await account.endpoints().replace(URL)

    assert account.there == {"ep-1": "https://you.example/other", endpoint.endpoint_id: URL}
    assert isinstance(account.calls[0], AddEndpoint)


async def test_what_an_earlier_run_has_left_far_behind_is_replaced() -> None:
    """They are found on whatever page they are."""
    others = [f"https://you.example/other/{number}" for number in range(25)]
    account = Account(*others, URL)
    endpoint = await account.endpoints().replace(URL)

    assert len(await account.endpoints().known()) == 26
    assert [i for i, url in account.there.items() if url == URL] == [endpoint.endpoint_id]


@pytest.mark.parametrize(("tokens", "calls"), [("same", 2), ("new", 50)])
async def test_a_list_without_an_end(tokens: str, calls: int) -> None:
    """A server whose pages repeat, or never end, is not asked for ever."""
    asked: list[Operation] = []

    async def call(operation: Operation, timeout: float | None) -> Answer:
        asked.append(operation)
        token = "t" if tokens == "same" else str(len(asked))
        return Answer(endpoints=[Endpoint(endpoint_id="ep-1", url=URL)], next_token=token)

    assert [each.endpoint_id for each in await Endpoints(call).known()] == ["ep-1"]
    assert len(asked) == calls


async def test_another_run_that_cleans_up_as_well(caplog: pytest.LogCaptureFixture) -> None:
    """What is gone by the time of its removal keeps nobody from removing the rest."""
    account = Account(URL, URL)
    account.trouble[RemoveEndpoint] = [InvalidRequest("it is not there", status=404)]
    endpoint = await account.endpoints().replace(URL)

    assert set(account.there) == {"ep-0", endpoint.endpoint_id}
    assert "may be left" not in caplog.text


async def test_what_cannot_be_removed_is_left(caplog: pytest.LogCaptureFixture) -> None:
    """An endpoint that stays does no harm, and keeps nobody from the new one; at the end either."""
    account = Account(URL)
    account.trouble[RemoveEndpoint] = [Unavailable("no") for _ in range(2)]
    async with Block(account).registration as endpoint:
        assert endpoint.secret
    assert [record.getMessage() for record in caplog.records] == [
        "endpoints of earlier runs may be left: no",
        f"endpoint {endpoint.endpoint_id} is left: no",
    ]


async def test_what_somebody_else_has_removed(caplog: pytest.LogCaptureFixture) -> None:
    """An endpoint that is gone at the end, for another run has replaced it, is no trouble."""
    account = Account()
    account.trouble[RemoveEndpoint] = [InvalidRequest("it is not there", status=404)]
    async with Block(account).registration:
        pass
    assert not caplog.records


async def test_the_jobs_of_the_history_are_announced() -> None:
    """What happened while nobody listened is looked up once, as far as it is kept."""
    account = Account(pages=[["job-9", "job-8"], ["job-8", "job-7"], []])
    async with Block(account).registration:
        assert account.heard == [["job-9", "job-8", "job-7"]]


async def test_the_history_is_read_a_few_pages_far() -> None:
    """A long history is not read to its end, which nobody waits for."""
    account = Account(pages=[[f"job-{number}"] for number in range(50)])

    assert len(await account.endpoints().recent_jobs()) == 5


async def test_a_history_that_cannot_be_read() -> None:
    """Without the history news are expected all the same."""
    account = Account()
    account.trouble[EventHistory] = [Unavailable("no")]
    async with Block(account).registration:
        assert account.heard == [[]]


async def test_a_web_server_that_starts_beside_us(virtual_time: object) -> None:
    """An address that does not answer yet is tried again for ten seconds, and no longer."""
    account = Account()
    account.trouble[AddEndpoint] = [InvalidRequest("nobody is there", status=400) for _ in range(3)]
    async with Block(account).registration as endpoint:
        assert endpoint.secret
    account.trouble[AddEndpoint] = [InvalidRequest("nobody", status=400) for _ in range(100)]
    began = asyncio.get_running_loop().time()
    with pytest.raises(InvalidRequest):
        await Block(account).registration.__aenter__()
    assert asyncio.get_running_loop().time() - began == pytest.approx(10, abs=1)


async def test_a_registration_is_told_of(
    virtual_time: object, caplog: pytest.LogCaptureFixture
) -> None:
    """That it waits is logged once, and that it is done; neither the secret nor the path is."""
    caplog.set_level(logging.INFO)
    account = Account()
    account.trouble[AddEndpoint] = [InvalidRequest(f"nobody at {URL}") for _ in range(3)]
    async with Block(account).registration as endpoint:
        said = [record.getMessage() for record in caplog.records]

    assert said == [
        "webhooks to you.example are refused so far: asking again for at most 10 s",
        f"webhooks to you.example are registered as {endpoint.endpoint_id}",
    ]


@pytest.mark.parametrize("error", [AuthError("no", status=401), RequestTimeout("late")])
async def test_a_server_that_refuses(error: VtransError) -> None:
    """Where there is no endpoint the block is not entered."""
    account = Account()
    account.trouble[AddEndpoint] = [error]
    with pytest.raises(type(error)):
        await Block(account).registration.__aenter__()
    assert len(account.calls) == 1


async def test_a_server_that_keeps_the_secret_for_itself() -> None:
    """An endpoint without a secret is of no use, and is not left behind."""
    calls: list[Operation] = []

    async def call(operation: Operation, timeout: float | None) -> Answer:
        calls.append(operation)
        return Answer(endpoints=[Endpoint(endpoint_id="ep-1", url=URL)])

    with pytest.raises(ProtocolError, match="secret"):
        await Endpoints(call).add(URL)
    assert calls[1:] == [RemoveEndpoint(endpoint_id="ep-1")]


@pytest.mark.parametrize("kind", [ListEndpoints, EventHistory])
async def test_whoever_is_cancelled_on_the_way_leaves_nothing(kind: type) -> None:
    """An endpoint that was added is removed though its block is never entered."""
    account = Account()
    account.trouble[kind] = [asyncio.CancelledError()]
    block = Block(account)
    with pytest.raises(asyncio.CancelledError):
        await block.registration.__aenter__()
    assert not account.there
    assert not block.secrets


async def test_a_client_that_is_closed_meanwhile() -> None:
    """Who cannot be told of news any more has no block, and keeps no secret."""

    class Closed(Account):
        def announced(self, jobs: Iterable[str]) -> None:
            raise ClientClosed

    account = Closed()
    block = Block(account)
    with pytest.raises(ClientClosed):
        await block.registration.__aenter__()
    assert not account.there
    assert not block.secrets


async def test_a_block_that_is_cancelled_removes_its_endpoint() -> None:
    """The end takes place though the task is being cancelled."""
    account = Account()
    inside = asyncio.Event()

    async def work() -> None:
        async with Block(account).registration:
            inside.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await inside.wait()
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    assert not account.there


class BlockingAccount(Account):
    """The same, for whoever has no event loop."""

    def endpoints(self) -> Any:
        """Return what manages them."""

        def wait(function: Callable[[], Awaitable[Any]]) -> Any:
            async def run() -> Any:
                return await function()

            return asyncio.run(run())

        return BlockingEndpoints(super().endpoints(), wait)


def test_blocks_without_await() -> None:
    """A blocking client has the same calls, without await."""
    account = BlockingAccount(URL, pages=[["job-1"]])
    block = Block(account)
    with block.registration as endpoint:
        assert block.secrets == [endpoint.secret]
        assert account.heard == [["job-1"]]
    assert not account.there

    endpoints = account.endpoints()
    added = endpoints.add(URL, events=["video_translate.fail"])
    assert account.calls[-1] == AddEndpoint(url=URL, events=("video_translate.fail",))
    replaced = endpoints.replace(URL)
    assert [each.endpoint_id for each in endpoints.known()] == [replaced.endpoint_id]
    assert added != replaced
    endpoints.remove(replaced.endpoint_id)
    assert endpoints.recent_jobs() == ["job-1"]
    assert not account.there


async def test_the_wrong_kind_of_block() -> None:
    """Each kind of client says which kind of block it takes."""
    with pytest.raises(TypeError, match="not by `with`"), Block(Account()).registration:
        pass
    with pytest.raises(TypeError, match="not by `async with`"):
        await Block(BlockingAccount()).registration.__aenter__()
