"""The driver against a channel that misbehaves, and outside its loop."""

import asyncio
from collections.abc import Iterator
from itertools import count

import pytest
from aiohttp import web

from tests.vtrans_hybrid.network import web_server
from vtrans_hybrid import AsyncClient, ClientClosed, PollPolicy
from vtrans_hybrid.transport import Channel
from vtrans_hybrid.wire import Plain

WELCOME = b'{"type":"welcome","epoch":"01HK153X00000000000000000A","ping":5,"grace":5}'


class Greedy(Channel):
    """A channel whose peer asks and asks, and never reads an answer."""

    def __init__(self) -> None:
        self.code: int | None = None
        self.is_left = asyncio.Event()
        self._pings: Iterator[int] = count(1)
        self._is_welcomed = False

    async def receive(self) -> bytes:
        """Return a welcome, then pings."""
        await asyncio.sleep(0)
        if self._is_welcomed:
            return b'{"type":"ping","n":%d}' % next(self._pings)
        self._is_welcomed = True
        return WELCOME

    async def send(self, frame: bytes) -> None:
        """Wait for a peer that does not read."""
        await asyncio.Event().wait()

    async def aclose(self, code: int = 1000, reason: str = "") -> None:
        """Note the code."""
        self.code = self.code or code
        self.is_left.set()


async def test_a_peer_that_asks_without_reading_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits to be sent is bounded, though the writer itself waits for the peer."""
    greedy = Greedy()

    async def open_channel(*_: object) -> Channel:
        return greedy

    async with AsyncClient("http://127.0.0.1:9", transport="push") as client:
        monkeypatch.setattr(client._driver.backend.transport, "open_channel", open_channel)
        watching = asyncio.ensure_future(anext(client.watch("job-1")))
        async with asyncio.timeout(5):
            await greedy.is_left.wait()
        await asyncio.sleep(0)
        assert greedy.code == 4001
        assert client.stats().drops == 1
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)


def test_a_client_belongs_to_one_loop() -> None:
    """Single requests, too, say so in a second loop, instead of failing for odd reasons."""
    client = AsyncClient("http://127.0.0.1:9")

    async def use() -> None:
        client._driver.check_usable()

    async def read() -> None:
        await client.status("job-1")

    async def order() -> None:
        await client.submit("https://example.com/talk.mp4", language="Spanish")

    asyncio.run(use())
    for call in (read, order):
        with pytest.raises(RuntimeError, match="one event loop"):
            asyncio.run(call())


async def test_a_retry_meets_what_was_learned_meanwhile() -> None:
    """Many jobs are cut anew if another call has found out that the server reads one at a time."""
    bulk_reads = count(1)

    async def read_many(request: web.Request) -> web.StreamResponse:
        is_first = next(bulk_reads) == 1
        return web.Response(status=503 if is_first else 404)

    async def read_one(request: web.Request) -> web.StreamResponse:
        return web.json_response({"result": "pending"})

    async with (
        asyncio.timeout(5),
        web_server(("POST", "/status", read_many), ("GET", "/status/{id}", read_one)) as url,
        AsyncClient(url, transport="poll") as client,
    ):
        reading = asyncio.create_task(client.statuses(["job-1", "job-2"]))
        while client.stats().requests == 0:  # noqa: ASYNC110 (there is no event for it)
            await asyncio.sleep(0.01)
        await client.status("job-3")
        assert list(await reading) == ["job-1", "job-2"]


async def test_a_poll_meets_what_was_learned_meanwhile() -> None:
    """A poll of many jobs that begins after that is no failure: they are read one by one."""

    async def read_one(request: web.Request) -> web.StreamResponse:
        return web.json_response({"result": "completed"})

    async with (
        asyncio.timeout(5),
        web_server(("GET", "/status/{id}", read_one)) as url,
        AsyncClient(url, transport="poll") as client,
    ):
        driver = client._driver
        watching = asyncio.create_task(client.watch_all(["job-1", "job-2"]).__anext__())
        while not (polls := driver.core and driver.core.counters.polls):  # noqa: ASYNC110
            await asyncio.sleep(0)
        assert polls == 1
        driver.backend.adopt(Plain())  # after the poll was asked for, before it has begun
        assert (await watching).ok


async def test_announcements_to_a_client_that_was_not_used() -> None:
    """Whoever watches nothing is told nothing, and bound to no loop."""
    client = AsyncClient("http://127.0.0.1:9")
    client.announced(["job-1"])
    await asyncio.to_thread(client.announced, ["job-1"])

    assert client.stats().watched_jobs == 0
    assert client._driver.core is None
    await client.aclose()
    with pytest.raises(ClientClosed):
        client.announced(["job-1"])


def test_announcements_when_the_loop_is_gone() -> None:
    """A client whose loop has ended without it cannot be told, and says so."""
    client = AsyncClient("http://127.0.0.1:9")

    async def use() -> None:
        client._driver.check_usable()

    asyncio.run(use())
    with pytest.raises(ClientClosed):
        client.announced(["job-1"])


async def test_announcements_from_another_thread() -> None:
    """A thread may tell of news; a client that is closed meanwhile is no trouble."""
    statuses = iter(["pending", "completed"])

    async def read_one(request: web.Request) -> web.StreamResponse:
        return web.json_response({"result": next(statuses)})

    async with (
        asyncio.timeout(5),
        web_server(("GET", "/status/{id}", read_one)) as url,
        AsyncClient(url, dialect=Plain(), poll=PollPolicy.fixed(3600)) as client,
    ):
        watch = client.watch("job-1")
        assert (await anext(watch)).state == "pending"
        await asyncio.to_thread(client.announced, ["job-1"])
        assert (await anext(watch)).source == "webhook"
        await asyncio.to_thread(client.announced, ["job-1"])
