"""The driver against a channel that misbehaves, and outside its loop."""

import asyncio
from collections.abc import Iterator
from itertools import count

import pytest

from vtrans_hybrid import AsyncClient
from vtrans_hybrid.transport import Channel

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
        monkeypatch.setattr(client._driver._transport, "open_channel", open_channel)
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
