"""The TCP fault proxy, between plain sockets."""

import asyncio
from collections.abc import AsyncIterator
from typing import Self

import pytest

from tests.sockets.proxy import Proxy

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Echo:
    """A server that sends back what it receives, and says how its connections ended."""

    def __init__(self, prefix: bytes = b"") -> None:
        self.port = 0
        self.ends: asyncio.Queue[str] = asyncio.Queue()
        self._prefix = prefix
        self._server: asyncio.Server
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._begin, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _begin(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        # Here and not in the task, which may be cancelled before it has begun.
        task.add_done_callback(lambda _: writer.close())
        task.add_done_callback(self._tasks.discard)
        self._tasks.add(task)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65_536):
                writer.write(self._prefix + data)
                await writer.drain()
            self.ends.put_nowait("end")
        except ConnectionResetError:
            self.ends.put_nowait("reset")


async def until_open(proxy: Proxy, count: int) -> None:
    """Wait until the proxy has `count` open connections."""
    for _ in range(500):
        if proxy.stats().open_connections == count:
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"There are {proxy.stats().open_connections} open connections.")


@pytest.fixture
async def echo() -> AsyncIterator[Echo]:
    """Yield an echo server."""
    async with Echo() as server:
        yield server


@pytest.fixture
async def proxy(echo: Echo) -> AsyncIterator[Proxy]:
    """Yield a proxy in front of the echo server."""
    async with Proxy(echo.port) as proxy:
        yield proxy


@pytest.fixture
async def streams(proxy: Proxy) -> AsyncIterator[Streams]:
    """Yield a connection through the proxy that has worked once."""
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    writer.write(b"hello")
    assert await reader.readexactly(5) == b"hello"
    yield reader, writer
    writer.transport.abort()


async def test_it_forwards_and_counts(proxy: Proxy, streams: Streams) -> None:
    """Bytes pass both ways, connections and bytes are counted."""
    assert proxy.stats() == (1, 1, 5, 5)


async def test_an_end_is_passed_on(proxy: Proxy, echo: Echo, streams: Streams) -> None:
    """When the client closes, the server sees the end, and the proxy forgets the connection."""
    _, writer = streams
    writer.close()
    assert await echo.ends.get() == "end"
    await writer.wait_closed()
    await until_open(proxy, 0)


async def test_a_large_transfer_arrives_whole(proxy: Proxy, streams: Streams) -> None:
    """Megabytes pass unchanged."""
    reader, writer = streams
    data = bytes(range(256)) * 16_384
    writer.write(data)
    assert await reader.readexactly(len(data)) == data


async def test_cut_resets_both_sides(proxy: Proxy, echo: Echo, streams: Streams) -> None:
    """A cut is a reset for client and server, and new connections work."""
    reader, _ = streams
    assert proxy.cut() == 1
    with pytest.raises(ConnectionResetError):
        await reader.read()
    assert await echo.ends.get() == "reset"
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    writer.write(b"again")
    assert await reader.readexactly(5) == b"again"
    writer.close()


async def test_a_clean_cut_is_an_end_for_both_sides(
    proxy: Proxy, echo: Echo, streams: Streams
) -> None:
    """A clean cut is the end of both streams."""
    reader, _ = streams
    proxy.cut(clean=True)
    assert await reader.read() == b""
    assert await echo.ends.get() == "end"


async def test_connections_are_cut_at_a_random_age(proxy: Proxy) -> None:
    """Each new connection ends between the two ages."""
    proxy.cut_every(0.1, 0.3)
    loop = asyncio.get_running_loop()

    async def age_at_reset() -> float:
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        start = loop.time()
        with pytest.raises(ConnectionResetError):
            await reader.read()
        writer.close()
        return loop.time() - start

    ages = await asyncio.gather(*(age_at_reset() for _ in range(10)))
    assert all(0.08 < age < 1 for age in ages)
    assert max(ages) - min(ages) > 0.01


async def test_a_refusing_proxy_can_accept_again(proxy: Proxy, streams: Streams) -> None:
    """Dials are refused while open connections live on, and work again at the same port."""
    reader, writer = streams
    port = proxy.port
    proxy.refuse()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"still here")
    assert await reader.readexactly(10) == b"still here"
    await proxy.accept()
    assert proxy.port == port
    _, second = await asyncio.open_connection("127.0.0.1", port)
    second.close()


async def test_a_stall_holds_everything_back(proxy: Proxy, streams: Streams) -> None:
    """Nothing passes during a stall, nothing is lost after it."""
    reader, writer = streams
    proxy.stall()
    writer.write(b"later")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(reader.read(100), 0.1)
    proxy.heal()
    assert await reader.readexactly(5) == b"later"


async def test_half_open_holds_one_direction_back(proxy: Proxy, streams: Streams) -> None:
    """The server receives, and its answer does not come back before healing."""
    reader, writer = streams
    proxy.half_open("to_client")
    writer.write(b"question")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(reader.read(100), 0.1)
    assert proxy.stats().bytes_to_server == 5 + 8
    assert proxy.stats().bytes_to_client == 5
    proxy.heal()
    assert await reader.readexactly(8) == b"question"


async def test_latency_delays_each_way(proxy: Proxy, streams: Streams) -> None:
    """A question and its answer take two latencies."""
    reader, writer = streams
    proxy.latency(0.1)
    start = asyncio.get_running_loop().time()
    writer.write(b"question")
    assert await reader.readexactly(8) == b"question"
    assert asyncio.get_running_loop().time() - start >= 0.19


async def test_a_limit_of_bytes_resets(proxy: Proxy) -> None:
    """A connection ends in the middle of its data."""
    proxy.limit_bytes(150)
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    writer.write(bytes(100))
    with pytest.raises(ConnectionResetError):
        await reader.readexactly(51)
    assert proxy.stats().bytes_to_client == 50
    writer.close()


async def test_a_new_target_serves_new_connections(proxy: Proxy, streams: Streams) -> None:
    """Old connections stay with the old server, new ones go to the new."""
    async with Echo(prefix=b"new ") as other:
        proxy.retarget(other.port)
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        writer.write(b"hello")
        assert await reader.readexactly(9) == b"new hello"
        streams[1].write(b"hello")
        assert await streams[0].readexactly(5) == b"hello"
        writer.close()
        await other.ends.get()


async def test_a_dead_target_resets_the_client(proxy: Proxy) -> None:
    """A client is not left waiting for a server that is not there."""
    async with Echo() as other:
        dead_port = other.port
    proxy.retarget(dead_port)
    reader, _ = await asyncio.open_connection("127.0.0.1", proxy.port)
    with pytest.raises(ConnectionResetError):
        await reader.read()


async def test_leaving_ends_everything(echo: Echo) -> None:
    """After the proxy is closed its connections are over and nobody listens at its port."""
    async with Proxy(echo.port) as proxy:
        reader, _ = await asyncio.open_connection("127.0.0.1", proxy.port)
        await until_open(proxy, 1)
        proxy.stall()
    with pytest.raises(ConnectionResetError):
        await reader.read()
    assert proxy.stats().open_connections == 0
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", proxy.port)
