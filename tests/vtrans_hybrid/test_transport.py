"""HTTP and WebSocket: errors that are ours, limits, and a key that goes nowhere else."""

import asyncio
import gzip
import logging
import socket
import traceback
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from simulator import Simulator
from tests.vtrans_hybrid.network import answer, make_certificate, raw_server, web_server
from vtrans_hybrid import (
    AsyncClient,
    AuthError,
    ClientClosed,
    ConnectFailed,
    ConnectionLost,
    InvalidRequest,
    NetworkOptions,
    ProtocolError,
    RequestTimeout,
    RetryPolicy,
    Unavailable,
    VtransError,
)
from vtrans_hybrid.dialect import Capabilities, Request
from vtrans_hybrid.transport import (
    Channel,
    Transport,
    check_api_key,
    check_base_url,
)

CANARY = "canary-0f3a91"
READ = Request(method="GET", path="/status/job-1")
CHANNEL = Capabilities(push_path="/events", subprotocol="vtrans.v1")


@asynccontextmanager
async def transport_to(
    url: str, *, key: str | None = None, timeout: float = 5.0, **options: object
) -> AsyncIterator[Transport]:
    """Open a transport and close it afterwards."""
    transport = Transport(url, key, NetworkOptions(**options), timeout)  # type: ignore[arg-type]
    try:
        yield transport
    finally:
        await transport.aclose()


# Redirects.


@pytest.mark.parametrize("status", ["301 M", "302 F", "303 S", "307 T", "308 P"])
async def test_no_redirect_of_a_request_is_followed(status: str) -> None:
    """The other host hears nothing, least of all the key; the error says what to do."""
    async with raw_server(answer("200 OK")) as other:
        reply = answer(status, f"Location: {other.url}/status/job-1")
        async with (
            raw_server(reply) as server,
            AsyncClient(server.url, api_key=CANARY) as client,
        ):
            with pytest.raises(InvalidRequest, match=f"base_url.*{status[:3]}") as caught:
                await client.status("job-1")
        assert other.url in str(caught.value)
        assert CANARY.encode() in server.heads[0]
        assert other.heads == []


@pytest.mark.parametrize("status", ["301 M", "302 F", "303 S", "307 T", "308 P"])
async def test_no_redirect_of_the_upgrade_is_followed(status: str) -> None:
    """The other host hears nothing, least of all the key."""
    async with raw_server(answer("200 OK")) as other:
        target = other.url.replace("http:", "ws:")
        async with (
            raw_server(answer(status, f"Location: {target}/events")) as server,
            transport_to(server.url, key=CANARY) as transport,
        ):
            with pytest.raises(InvalidRequest, match="redirects are never followed"):
                await transport.open_channel(CHANNEL)
        assert CANARY.encode() in server.heads[0]
        assert other.heads == []


# Limits.


async def test_an_answer_without_end_is_cut() -> None:
    """More than one MiB of body is not read."""

    async def flood(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            while True:
                await response.write(bytes(65536))
        except ConnectionResetError:
            return response

    async with (
        web_server(("GET", "/status/job-1", flood)) as url,
        transport_to(url) as transport,
    ):
        with pytest.raises(ProtocolError, match="longer than 1048576 bytes"):
            await transport.request(READ)


async def test_a_compressed_answer_is_measured_unpacked() -> None:
    """A small answer that unpacks to two MiB is refused."""
    packed = gzip.compress(bytes(2 * 2**20))
    reply = answer("200 OK", "Content-Encoding: gzip", body=packed)
    async with raw_server(reply) as server, transport_to(server.url) as transport:
        with pytest.raises(ProtocolError, match="longer than 1048576 bytes"):
            await transport.request(READ)
    assert b"accept-encoding: identity" in server.heads[0].lower()


async def test_a_frame_that_is_too_long_ends_the_channel() -> None:
    """A frame of more than one MiB is refused with 1009."""

    async def flood(request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse(protocols=["vtrans.v1"])
        await socket.prepare(request)
        await socket.send_str("x" * (2**20 + 1))
        await socket.receive()
        return socket

    async with web_server(("GET", "/events", flood)) as url, transport_to(url) as transport:
        channel = await transport.open_channel(CHANNEL)
        with pytest.raises(ConnectionLost) as caught:
            await channel.receive()
        assert caught.value.code == 1009
        await channel.aclose()


async def test_a_long_reason_for_closing_is_cut() -> None:
    """A close frame holds 123 bytes of reason, whatever the letters; the socket is closed."""
    reasons: list[object] = []

    async def listen(request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse(protocols=["vtrans.v1"])
        await socket.prepare(request)
        reasons.append((await socket.receive()).extra)
        return socket

    async with web_server(("GET", "/events", listen)) as url, transport_to(url) as transport:
        channel = await transport.open_channel(CHANNEL)
        await channel.aclose(4500, "é" * 100)
    assert reasons == ["é" * 61]


async def test_a_socket_goes_even_if_its_closing_is_cancelled() -> None:
    """A cancellation from within, which no shield keeps off, leaves no socket behind."""

    class Stubborn:
        """A connection whose closing handshake is cancelled; it is its own transport."""

        is_aborted = False

        @property
        def transport(self) -> "Stubborn":
            return self

        async def close(self, code: int, reason: str) -> None:
            raise asyncio.CancelledError(code, reason)

        def abort(self) -> None:
            self.is_aborted = True

    connection = Stubborn()
    with pytest.raises(asyncio.CancelledError):
        await Channel(connection).aclose()  # type: ignore[arg-type]
    assert connection.is_aborted


async def test_a_request_takes_no_longer_than_its_timeout() -> None:
    """A server that keeps silent is given up, and the error is no builtin one."""
    asked, is_over = asyncio.Event(), asyncio.Event()

    async def hang(request: web.Request) -> web.StreamResponse:
        asked.set()
        await is_over.wait()
        return web.Response()

    async with (
        web_server(("GET", "/status/job-1", hang)) as url,
        transport_to(url, timeout=0.1) as transport,
    ):
        with pytest.raises(RequestTimeout, match=r"within 0\.1 s"):
            await transport.request(READ)
        assert asked.is_set()
        is_over.set()


# Answers that are no answers.


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (b"", ConnectionLost),
        (b"SSH-2.0-OpenSSH_9.6\r\n", ProtocolError),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort", ConnectionLost),
        (b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n", ProtocolError),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nnope", None),
    ],
)
async def test_broken_answers_are_errors_of_ours(
    reply: bytes, kind: type[VtransError] | None
) -> None:
    """Whatever comes instead of HTTP, no exception of a library gets through."""
    async with raw_server(reply) as server, transport_to(server.url) as transport:
        with pytest.raises(kind or VtransError) as caught:
            await transport.request(READ)
        assert caught.value.__cause__ is not None


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (b"", ConnectFailed),
        (b"SSH-2.0-OpenSSH_9.6\r\n", ConnectFailed),
        (answer("200 OK", "Content-Type: text/html", body=b"<html>"), InvalidRequest),
        (answer("401 No"), AuthError),
        (answer("503 Later", "Retry-After: 3"), Unavailable),
        (answer("101 Switching Protocols"), ProtocolError),
    ],
)
async def test_broken_upgrades_are_errors_of_ours(reply: bytes, kind: type[VtransError]) -> None:
    """Whatever comes instead of a WebSocket, no exception of a library gets through."""
    async with raw_server(reply) as server, transport_to(server.url) as transport:
        with pytest.raises(kind) as caught:
            await transport.open_channel(CHANNEL)
        assert caught.value.__cause__ is not None


async def test_a_channel_of_another_subprotocol_is_refused() -> None:
    """A WebSocket that does not speak our protocol is closed again."""

    async def other(request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.receive()
        return socket

    async with web_server(("GET", "/events", other)) as url, transport_to(url) as transport:
        with pytest.raises(ProtocolError, match=r"does not speak vtrans\.v1"):
            await transport.open_channel(CHANNEL)


# Closing.


async def test_closing_ends_a_request_that_hangs() -> None:
    """Whoever waits for an answer gets `ClientClosed` at once, not after the timeout."""
    asked, is_over = asyncio.Event(), asyncio.Event()

    async def hang(request: web.Request) -> web.StreamResponse:
        asked.set()
        await is_over.wait()
        return web.Response()

    async with (
        web_server(("GET", "/status/job-1", hang)) as url,
        transport_to(url, timeout=60) as transport,
    ):
        asking = asyncio.create_task(transport.request(READ))
        await asked.wait()
        async with asyncio.timeout(0.1):
            await transport.aclose()
            with pytest.raises(ClientClosed):
                await asking
        is_over.set()


async def test_closing_ends_a_connection_attempt() -> None:
    """A host that does not even answer the first packet keeps nobody waiting at the end."""
    # A listener whose backlog is full drops further packets: to whoever dials, a black hole.
    with socket.create_server(("127.0.0.1", 0), backlog=0) as hole:
        place = hole.getsockname()
        with socket.create_connection(place):
            async with transport_to(f"http://127.0.0.1:{place[1]}", timeout=60) as transport:
                asking = asyncio.create_task(transport.request(READ))
                await asyncio.sleep(0.05)
                assert not asking.done()
                async with asyncio.timeout(0.1):
                    await transport.aclose()
                    with pytest.raises(ClientClosed):
                        await asking


async def test_a_closed_transport_says_so() -> None:
    """A request after the end is `ClientClosed`."""
    async with transport_to("http://127.0.0.1:9") as transport:
        pass
    with pytest.raises(ClientClosed):
        await transport.request(READ)


# Addresses and keys.


@pytest.mark.parametrize(
    "address",
    [
        "",
        "example.com",
        "ftp://example.com",
        "http://",
        "http://example.com:port",
        "http://exa mple.com",
        "http://example.com/\r\nx: y",
        "http://example.com?x=1",
        "http://example.com#part",
        "http://example.com/?",
        "http://example.com/#",
        "http://user:password@example.com",
    ],
)
def test_addresses_that_are_none(address: str) -> None:
    """What cannot be a base URL is refused before anything is sent, and no password is shown."""
    with pytest.raises(ValueError, match="base_url") as caught:
        check_base_url(address, has_key=False, allow_insecure=False)
    assert "password@" not in str(caught.value)


def test_a_slash_at_the_end_does_not_matter() -> None:
    """Paths are appended without doubling the slash."""
    url = check_base_url("https://example.com/api/", has_key=True, allow_insecure=False)
    assert url == "https://example.com/api"


def test_capitals_in_the_scheme_do_not_matter() -> None:
    """It is the same scheme, RFC 3986 section 3.1."""
    url = check_base_url("HTTPS://example.com", has_key=True, allow_insecure=False)
    assert url == "https://example.com"


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "[::1]", "localhost", "a.localhost"])
def test_a_key_may_go_over_http_to_this_machine(host: str) -> None:
    """Loopback needs no TLS."""
    check_base_url(f"http://{host}:8080", has_key=True, allow_insecure=False)


@pytest.mark.parametrize("host", ["example.com", "10.0.0.1", "127.0.0.1.example.com"])
def test_a_key_does_not_go_over_http_elsewhere(host: str) -> None:
    """Clear text is refused, unless the caller insists; without a key it is fine."""
    url = f"http://{host}"
    with pytest.raises(ValueError, match=r"clear text.*allow_insecure"):
        AsyncClient(url, api_key=CANARY)
    assert check_base_url(url, has_key=True, allow_insecure=True) == url
    assert check_base_url(url, has_key=False, allow_insecure=False) == url


@pytest.mark.parametrize("key", ["with space", "line\nbreak", "cr\r", "schlüssel", "\x00"])
def test_keys_that_are_none(key: str) -> None:
    """A key that would break a header is refused, and not shown."""
    with pytest.raises(ValueError, match="API key") as caught:
        check_api_key(key)
    assert key not in str(caught.value)


def test_a_key_that_is_no_text() -> None:
    """Such a key is a mistake of another kind."""
    key: Any = b"key"
    with pytest.raises(TypeError, match="text, not bytes"):
        check_api_key(key)


# TLS.


async def status_of_tls(request: web.Request) -> web.StreamResponse:
    """Answer one read, or one upgrade."""
    if request.path != "/events":
        return web.json_response({"job_id": "job-1", "state": "running"})
    socket = web.WebSocketResponse(protocols=["vtrans.v1"])
    await socket.prepare(request)
    await socket.send_str("hello")
    await socket.receive()
    return socket


async def test_a_certificate_of_ones_own_is_trusted_on_both_ways(tmp_path: Path) -> None:
    """With `ca_file`, requests and the channel both trust what it holds."""
    certificate = make_certificate(tmp_path)
    async with (
        web_server(("GET", "/{path:.*}", status_of_tls), tls=certificate.context) as url,
        transport_to(url, key=CANARY, ca_file=certificate.file) as transport,
    ):
        assert (await transport.request(READ)).status == 200
        channel = await transport.open_channel(CHANNEL)
        assert await channel.receive() == b"hello"
        await channel.aclose()


async def test_an_unknown_certificate_is_refused_on_both_ways(tmp_path: Path) -> None:
    """Without `ca_file`, a certificate that nobody signed is no server of ours."""
    certificate = make_certificate(tmp_path)
    async with (
        web_server(("GET", "/{path:.*}", status_of_tls), tls=certificate.context) as url,
        transport_to(url, key=CANARY) as transport,
    ):
        with pytest.raises(ConnectFailed, match="certificate"):
            await transport.request(READ)
        with pytest.raises(ConnectFailed, match="certificate"):
            await transport.open_channel(CHANNEL)


# Proxies of the environment.


@pytest.fixture
def proxied(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Clear the environment of proxies."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "ws_proxy", "socks_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    return monkeypatch


async def test_proxies_of_the_environment_are_used_on_both_ways(
    proxied: pytest.MonkeyPatch,
) -> None:
    """With `trust_env`, both the request and the channel ask the proxy."""
    async with (
        raw_server(answer("502 No")) as proxy,
        transport_to("http://far.example", trust_env=True) as transport,
    ):
        proxied.setenv("HTTP_PROXY", proxy.url)
        proxied.setenv("http_proxy", proxy.url)
        assert (await transport.request(READ)).status == 502
        with pytest.raises(ConnectFailed):
            await transport.open_channel(CHANNEL)
    asked = [head.split(b"\r\n")[0] for head in proxy.heads]
    assert asked == [
        b"GET http://far.example/status/job-1 HTTP/1.1",
        b"CONNECT far.example:80 HTTP/1.1",
    ]


async def test_proxies_of_the_environment_are_left_alone_by_default(
    proxied: pytest.MonkeyPatch,
) -> None:
    """Without `trust_env`, neither the request nor the channel asks the proxy."""
    async with (
        raw_server(answer("502 No")) as proxy,
        raw_server(answer("404 No")) as server,
        transport_to(server.url) as transport,
    ):
        proxied.setenv("HTTP_PROXY", proxy.url)
        proxied.setenv("http_proxy", proxy.url)
        assert (await transport.request(READ)).status == 404
        with pytest.raises(VtransError):
            await transport.open_channel(CHANNEL)
        assert len(server.heads) == 2
        assert proxy.heads == []


# The key.


def everything_said(error: BaseException) -> str:
    """Return an exception as a log would show it, with its causes and attributes."""
    chain, link = [], error
    while link is not None:
        chain.append(f"{link!r} {vars(link)!r}")
        link = link.__cause__ or link.__context__  # type: ignore[assignment]
    return "".join([*traceback.format_exception(error), *chain])


async def test_the_key_is_never_shown(caplog: pytest.LogCaptureFixture) -> None:
    """Whatever happens, no log down to DEBUG, no repr and no exception holds the key."""
    caplog.set_level(logging.DEBUG)
    said: list[str] = []
    async with Simulator(delay=0.3, api_keys=[CANARY]) as sim:
        async with AsyncClient(sim.url, api_key=CANARY) as client:
            said.append(repr(client))
            job = await client.submit("https://example.com/talk.mp4", language="Spanish")
            assert (await client.wait(job)).ok
            with pytest.raises(VtransError) as caught:
                await client.status("nobody-knows-it")
            said.append(everything_said(caught.value))
        async with AsyncClient(sim.url, api_key=f"{CANARY}-but-wrong") as client:
            with pytest.raises(AuthError) as refused:
                await client.watch(job)
            said.append(everything_said(refused.value))
    async with (
        raw_server(b"SSH-2.0\r\n") as server,
        AsyncClient(server.url, api_key=CANARY, retry=RetryPolicy(max_attempts=1)) as client,
    ):
        with pytest.raises(VtransError) as broken:
            await client.watch("job-1", timeout=1)
        said.append(everything_said(broken.value))
    assert "vtrans_hybrid" in caplog.text
    assert CANARY not in caplog.text
    assert CANARY not in "".join(said)
