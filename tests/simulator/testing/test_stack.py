"""Real clients and servers, unmodified, on virtual time and under faults."""

import asyncio
import gc
import socket
import ssl
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import anyio
import pytest
import websockets
from aiohttp import web
from anyio.abc import SocketAttribute
from websockets.asyncio.client import ClientConnection

from simulator.testing import Connection, Network, VirtualLoop, run
from tests.simulator.testing.scenario import URL, serve

pytestmark = pytest.mark.usefixtures("virtual_time")

CERTIFICATE = Path(__file__).parent / "localhost.pem"


class Service:
    """A small application: a request that takes ten minutes, an echo, and a flood."""

    def __init__(self) -> None:
        self.app = web.Application()
        self.app.router.add_get("/status", self._status)
        self.app.router.add_route("*", "/slow", self._slow)
        self.app.router.add_get("/echo", self._echo)
        self.app.router.add_get("/flood", self._flood)
        self.closes: list[int | None] = []
        self.messages_sent = 0

    async def _status(self, request: web.Request) -> web.Response:
        return web.json_response({"path": request.path, "peer": request.remote})

    async def _slow(self, request: web.Request) -> web.Response:
        await asyncio.sleep(600)
        return web.Response(text="at last")

    async def _echo(self, request: web.Request) -> web.WebSocketResponse:
        channel = web.WebSocketResponse()
        await channel.prepare(request)
        async for message in channel:
            await channel.send_str(message.data)
        self.closes.append(channel.close_code)
        return channel

    async def _flood(self, request: web.Request) -> web.WebSocketResponse:
        channel = web.WebSocketResponse(compress=False)
        await channel.prepare(request)
        while self.messages_sent < 1_000:
            await channel.send_bytes(bytes(4_096))
            self.messages_sent += 1
        await channel.close()
        return channel


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    """Serve the application on the virtual network."""
    service = Service()
    runner = web.AppRunner(service.app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 8080).start()
    yield service
    await runner.cleanup()


def now() -> float:
    """Return the virtual time."""
    return asyncio.get_running_loop().time()


async def get_json(url: str, **options: Any) -> dict[str, str]:
    """Return what one request of a new session is answered."""
    async with aiohttp.ClientSession() as session, session.get(url, **options) as answer:
        found: dict[str, str] = await answer.json()
        return found


async def receive_until_closed(client: ClientConnection) -> websockets.ConnectionClosed:
    """Receive to the end and return how it ended."""
    try:
        while True:
            await client.recv()
    except websockets.ConnectionClosed as closed:
        return closed


async def test_a_request_of_ten_minutes(service: Service) -> None:
    """An aiohttp client waits ten virtual minutes for an aiohttp server, in no time."""
    real_start, start = time.perf_counter(), now()
    patient = aiohttp.ClientTimeout(total=None)
    async with (
        aiohttp.ClientSession(timeout=patient) as session,
        session.get(f"http://{URL}/slow") as answer,
    ):
        assert await answer.text() == "at last"
    assert 600 < now() - start < 601
    assert time.perf_counter() - real_start < 60


async def test_keep_alive_reuses_a_connection(service: Service, virtual_network: Network) -> None:
    """Many requests of one session travel over one connection, until it has been idle for long."""
    async with aiohttp.ClientSession() as session:
        for _ in range(5):
            async with session.get(f"http://{URL}/status") as answer:
                assert (await answer.json())["peer"] == "127.0.0.1"
        assert virtual_network.stats().connected == 1
        await asyncio.sleep(60)
        async with session.get(f"http://{URL}/status") as answer:
            assert answer.status == 200
        assert virtual_network.stats().connected == 2


async def test_a_client_timeout_strikes_at_its_time(service: Service) -> None:
    """The total timeout of aiohttp is virtual too."""
    start = now()
    timeout = aiohttp.ClientTimeout(total=15)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        with pytest.raises(TimeoutError):
            await session.get(f"http://{URL}/slow")
    assert now() - start == pytest.approx(15, abs=0.01)


async def test_websockets_talks_to_aiohttp(service: Service, virtual_network: Network) -> None:
    """A websockets client and an aiohttp server exchange frames and close in order."""
    async with websockets.connect(f"ws://{URL}/echo") as client:
        for text in ("one", "two", "x" * 4_000):
            await client.send(text)
            assert await client.recv() == text
    await asyncio.sleep(1)
    assert service.closes == [1000]
    assert virtual_network.connections == ()


async def test_websockets_keep_alive_works_for_an_hour(service: Service) -> None:
    """Pings and pongs keep an idle connection open over virtual hours."""
    async with websockets.connect(f"ws://{URL}/echo") as client:
        await asyncio.sleep(3_600)
        await client.send("still there?")
        assert await client.recv() == "still there?"


async def test_a_websockets_server(virtual_network: Network) -> None:
    """The server of websockets runs here too."""

    async def greet(connection: websockets.ServerConnection) -> None:
        await connection.send("hello")

    async with (
        websockets.serve(greet, "127.0.0.1", 9000),
        websockets.connect("ws://127.0.0.1:9000") as client,
    ):
        assert await client.recv() == "hello"
        assert (await receive_until_closed(client)).rcvd is not None
    await asyncio.sleep(1)
    assert virtual_network.connections == ()


async def test_aiohttp_talks_websocket_to_aiohttp(service: Service) -> None:
    """The WebSocket client of aiohttp works against its server."""
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(f"ws://{URL}/echo", heartbeat=10) as client,
    ):
        await client.send_str("over aiohttp")
        assert await client.receive_str() == "over aiohttp"
        await asyncio.sleep(600)
        await client.send_str("again")
        assert await client.receive_str() == "again"


async def test_anyio_connects(service: Service) -> None:
    """Streams of anyio run over the virtual network, and know both addresses, as httpx asks."""
    async with await anyio.connect_tcp("127.0.0.1", 8080) as stream:
        assert stream.extra(SocketAttribute.remote_address) == ("127.0.0.1", 8080)
        assert stream.extra(SocketAttribute.local_port) > 32_000
        assert stream.extra(SocketAttribute.family) == socket.AF_INET
        stream.extra(SocketAttribute.raw_socket).setsockopt(
            socket.IPPROTO_TCP, socket.TCP_NODELAY, 1
        )
        await stream.send(b"GET /status HTTP/1.0\r\n\r\n")
        assert (await stream.receive()).startswith(b"HTTP/1.0 200")


async def test_a_slow_consumer_stops_the_server(service: Service, virtual_network: Network) -> None:
    """A client that does not receive makes the server wait, until it does."""
    async with websockets.connect(f"ws://{URL}/flood", ping_interval=None) as client:
        await asyncio.sleep(60)
        stopped_at = service.messages_sent
        assert 10 < stopped_at < 200
        await asyncio.sleep(600)
        assert service.messages_sent == stopped_at
        await receive_until_closed(client)
        assert service.messages_sent == 1_000
    assert virtual_network.stats().bytes_to_client > 4_096_000


async def test_a_half_open_channel_is_found_by_its_keep_alive(
    service: Service, virtual_network: Network
) -> None:
    """Only the channel falls silent: its ping goes unanswered, while requests work on."""
    async with (
        aiohttp.ClientSession() as session,
        websockets.connect(
            f"ws://{URL}/echo", ping_interval=5, ping_timeout=5, close_timeout=1
        ) as client,
    ):
        virtual_network.half_open("to_client", where=lambda connection: connection.is_upgrade)
        start = now()
        closed = await receive_until_closed(client)
        assert 5 <= now() - start <= 12
        assert closed.sent is not None
        assert closed.sent.code == 1011
        async with session.get(f"http://{URL}/status") as answer:
            assert answer.status == 200
    virtual_network.heal()


async def test_a_reset_channel_is_an_abnormal_close(
    service: Service, virtual_network: Network
) -> None:
    """Both sides of a WebSocket see 1006 when the connection is reset."""
    async with websockets.connect(f"ws://{URL}/echo") as client:
        virtual_network.reset(where=lambda connection: connection.is_upgrade)
        closed = await receive_until_closed(client)
        assert closed.rcvd is None
        assert isinstance(closed.__cause__, ConnectionResetError)
    await asyncio.sleep(1)
    assert service.closes == [1006]


async def test_a_reset_request_is_an_error_of_aiohttp(
    service: Service, virtual_network: Network
) -> None:
    """A request whose connection is reset fails with aiohttp's own exception."""
    asyncio.get_running_loop().call_later(5, virtual_network.reset)
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientOSError, match="reset by peer"):
            await session.post(f"http://{URL}/slow")


async def test_refused_and_unanswered_dials(service: Service, virtual_network: Network) -> None:
    """Both clients report a refused dial at once and give up on a silent one."""
    with virtual_network.refuse():
        with pytest.raises(ConnectionRefusedError):
            await websockets.connect(f"ws://{URL}/echo")
        async with aiohttp.ClientSession() as session:
            with pytest.raises(aiohttp.ClientConnectorError):
                await session.get(f"http://{URL}/status")
    start = now()
    with virtual_network.blackhole(), pytest.raises(TimeoutError):
        await websockets.connect(f"ws://{URL}/echo", open_timeout=10)
    assert now() - start == pytest.approx(10, abs=0.01)


async def test_a_stall_is_survived(service: Service, virtual_network: Network) -> None:
    """A request that is held back for a minute is answered when the network heals."""
    async with aiohttp.ClientSession() as session:
        fault = virtual_network.stall()
        asyncio.get_running_loop().call_later(60, fault.heal)
        start = now()
        async with session.get(f"http://{URL}/status") as answer:
            assert answer.status == 200
        assert now() - start == pytest.approx(60, abs=1)


async def test_sliced_data_is_understood(service: Service, virtual_network: Network) -> None:
    """Requests, answers and frames that arrive in parts mean the same."""
    virtual_network.slice()
    virtual_network.latency(0.01, 0.5)
    assert await get_json(f"http://{URL}/status") == {"path": "/status", "peer": "127.0.0.1"}
    async with websockets.connect(f"ws://{URL}/echo") as client:
        for number in range(20):
            await client.send(f"message {number}")
            assert await client.recv() == f"message {number}"


async def test_a_loss_of_the_server_is_a_refusal_and_then_a_return() -> None:
    """A server that stops and starts again at the same port is refused, then reached."""

    async def use() -> None:
        assert "path" in await get_json(f"http://{URL}/status")

    await serve(Service().app, use)
    with pytest.raises(aiohttp.ClientConnectorError):
        await use()
    await serve(Service().app, use)


async def test_https_and_wss(virtual_network: Network) -> None:
    """The whole stack speaks TLS, with a verified certificate."""
    server_tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_tls.load_cert_chain(CERTIFICATE)
    client_tls = ssl.create_default_context(cafile=CERTIFICATE)
    service = Service()
    runner = web.AppRunner(service.app)
    await runner.setup()
    await web.TCPSite(runner, "backend.example", 443, ssl_context=server_tls).start()
    assert "path" in await get_json("https://backend.example/status", ssl=client_tls)
    async with websockets.connect("wss://backend.example/echo", ssl=client_tls) as client:
        await client.send("a secret")
        assert await client.recv() == "a secret"
        assert not virtual_network.connections[-1].is_upgrade
    await runner.cleanup()
    await asyncio.sleep(60)
    assert virtual_network.connections == ()


def test_long_compressed_frames_need_inline_threads() -> None:
    """Long frames are compressed by aiohttp in a thread, which runs inline if allowed."""

    async def main() -> None:
        async def use() -> None:
            async with websockets.connect(f"ws://{URL}/echo") as client:
                await client.send("x" * 100_000)
                assert await client.recv() == "x" * 100_000

        await serve(Service().app, use)

    run(main, threads="inline")
    with pytest.raises(websockets.ConnectionClosedError):
        run(main)


def test_a_run_leaves_nothing() -> None:
    """A run keeps no loop, no network and no connection alive."""

    async def main() -> None:
        async def use() -> None:
            async with websockets.connect(f"ws://{URL}/echo") as client:
                await client.send("x")
                await client.recv()

        await serve(Service().app, use)

    def count_kept() -> int:
        run(main)
        gc.collect()
        kinds = Connection | Network | VirtualLoop
        return sum(isinstance(thing, kinds) for thing in gc.get_objects())

    count_kept()  # also collects what earlier tests have left
    assert count_kept() == count_kept()
