"""What a client takes from a server: sizes, floods, and the addresses it is given."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from tests.security.corpus import packed
from tests.security.raw_peer import bomb
from tests.vtrans_hybrid.network import answer, raw_server, web_server
from vtrans_hybrid import AsyncClient, ConnectionLost, InvalidRequest, NetworkOptions, ProtocolError
from vtrans_hybrid.dialect import Capabilities, Read, ReadDefault, Request
from vtrans_hybrid.heygen import HeyGen
from vtrans_hybrid.transport import Transport
from vtrans_hybrid.wire import Native, Plain

CHANNEL = Capabilities(push_path="/events")
MEGABYTE = 2**20


@asynccontextmanager
async def transport_to(url: str, **options: object) -> AsyncIterator[Transport]:
    """Open a transport and close it afterwards."""
    transport = Transport(url, None, NetworkOptions(**options), 5)  # type: ignore[arg-type]
    try:
        yield transport
    finally:
        await transport.aclose()


# -- sizes ----------------------------------------------------------------------------------------

BULK = Native().request(Read(jobs={"job-1": 0}))
ONE = Plain().request(Read(jobs={"job-1": 0}))
DEFAULT = Native().request(ReadDefault())


@pytest.mark.parametrize(
    ("request_", "limit"), [(BULK, 8 * MEGABYTE), (ONE, MEGABYTE), (DEFAULT, MEGABYTE)]
)
@pytest.mark.parametrize("is_packed", [False, True])
async def test_answers_are_read_up_to_a_limit(
    request_: Request, limit: int, is_packed: bool
) -> None:
    """A bulk answer may have 8 MiB, any other one 1 MiB, measured as it is when unpacked."""
    for size in (limit, limit + MEGABYTE):
        body = bomb(size) if is_packed else bytes(size)
        headers = ("Content-Encoding: gzip",) if is_packed else ()
        async with (
            raw_server(answer("200 OK", *headers, body=body)) as server,
            transport_to(server.url) as transport,
        ):
            if size > limit:
                with pytest.raises(ProtocolError, match=f"longer than {limit} bytes"):
                    await transport.request(request_)
            else:
                assert len((await transport.request(request_)).body) == size


@pytest.mark.parametrize(
    ("capabilities", "header"),
    [
        (Native.capabilities, b"authorization: bearer a-key"),
        (HeyGen.capabilities, b"x-api-key: a-key"),
    ],
)
async def test_the_key_travels_in_the_header_of_the_backend(
    capabilities: Capabilities, header: bytes
) -> None:
    """It is there once, and no picture of the client shows it."""
    reply = answer("200 OK", body=b"{}")
    async with raw_server(reply) as server:
        transport = Transport(server.url, "a-key", NetworkOptions(), 5.0, capabilities)
        try:
            await transport.request(ONE)
            assert "a-key" not in repr(transport._headers)
            assert "a-key" not in repr(vars(transport))
        finally:
            await transport.aclose()
    [head] = server.heads
    assert header in head.lower()
    assert head.count(b"a-key") == 1


async def test_no_compression_is_asked_for() -> None:
    """Neither answers nor frames are to be compressed, and no cookie is kept."""
    reply = answer("200 OK", "Set-Cookie: a=b", body=b"{}")
    async with raw_server(reply) as server, transport_to(server.url) as transport:
        await transport.request(ONE)
        await transport.request(ONE)
        with pytest.raises(InvalidRequest):
            await transport.open_channel(CHANNEL)
    first, second, upgrade = [head.lower() for head in server.heads]
    assert b"accept-encoding: identity" in first
    assert b"cookie" not in second
    assert b"upgrade: websocket" in upgrade
    assert b"sec-websocket-extensions" not in upgrade


# -- a server that talks and does not listen ------------------------------------------------------


async def test_a_server_that_pings_and_reads_nothing_is_left() -> None:
    """The answers to a flood of pings do not fill the memory: the connection is given up."""

    async def flood(request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        assert request.transport is not None
        request.transport.pause_reading()
        pings = packed(bytes(125), first=0x89) * 1000
        try:
            while True:
                request.transport.write(pings)
                await request.protocol._drain_helper()
                await asyncio.sleep(0)
        except ConnectionError:
            return socket

    async with (
        asyncio.timeout(10),
        web_server(("GET", "/events", flood)) as url,
        transport_to(url) as transport,
    ):
        channel = await transport.open_channel(CHANNEL)
        with pytest.raises(ConnectionLost):
            await channel.receive()
        assert channel._connection.transport.get_write_buffer_size() == 0
        await channel.aclose()


# -- addresses ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "address",
    [
        "http://me:canary@exa mple.com",
        "ftp://me:canary@example.com/x",
        "me:canary@example.com",
        "https://me:canary@example.com:port",
        "https://me:can@ary@example.com:port",
        "http://?token=canary",
        "ftp://example.com/?token=canary",
        "ftp://example.com#canary",
        "https://me:canary@example.com",
        "https://example.com?token=canary",
    ],
)
def test_addresses_are_not_shown_with_their_secrets(address: str) -> None:
    """An address that cannot be used is named without its password and its query."""
    with pytest.raises(ValueError, match="base_url") as caught:
        AsyncClient(address)
    assert "can" not in str(caught.value).replace("carry", "")
