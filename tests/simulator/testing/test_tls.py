"""TLS between real ends on the virtual network."""

import asyncio
import ssl
from pathlib import Path

import pytest

from simulator.testing import Network
from tests.simulator.testing.recorder import Recorder

pytestmark = pytest.mark.usefixtures("virtual_time")

CERTIFICATE = Path(__file__).parent / "localhost.pem"


def tls_contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Return a context for the server and one for a client that trusts it."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(CERTIFICATE)
    client = ssl.create_default_context(cafile=CERTIFICATE)
    return server, client


async def test_tls_over_memory(virtual_network: Network) -> None:
    """The TLS of asyncio runs over the memory transport: verified, encrypted, closed in order."""
    server_tls, client_tls = tls_contexts()

    async def shout(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write((await reader.readline()).upper())
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(shout, "backend.example", 443, ssl=server_tls)
    reader, writer = await asyncio.open_connection("backend.example", 443, ssl=client_tls)
    assert writer.get_extra_info("ssl_object").version() == "TLSv1.3"
    writer.write(b"a secret\n")
    assert await reader.read() == b"A SECRET\n"
    assert b"a secret" not in virtual_network.connections[0].first_bytes
    writer.close()
    await writer.wait_closed()
    server.close()
    await server.wait_closed()
    assert virtual_network.connections == ()


async def test_tls_checks_the_name(virtual_network: Network) -> None:
    """A certificate for another name fails the handshake on the client, and nothing is left."""
    server_tls, client_tls = tls_contexts()
    listener = await asyncio.get_running_loop().create_server(
        Recorder, "other.example", 443, ssl=server_tls
    )
    with pytest.raises(ssl.SSLCertVerificationError, match=r"other\.example"):
        await asyncio.open_connection("other.example", 443, ssl=client_tls)
    await asyncio.sleep(60)
    listener.close()
    assert virtual_network.connections == ()


async def test_a_cancelled_handshake_leaves_nothing(virtual_network: Network) -> None:
    """A client that gives up during the handshake ends its connection."""
    server_tls, client_tls = tls_contexts()
    listener = await asyncio.get_running_loop().create_server(
        Recorder, "backend.example", 443, ssl=server_tls
    )
    virtual_network.latency(1)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(3.5):
            await asyncio.open_connection("backend.example", 443, ssl=client_tls)
    assert virtual_network.stats().open_connections == 1
    await asyncio.sleep(10)
    assert virtual_network.stats().open_connections == 0
    listener.close()


async def test_start_tls_upgrades_a_connection() -> None:
    """A plain connection becomes an encrypted one on both sides."""
    server_tls, client_tls = tls_contexts()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readline())
        await writer.start_tls(server_tls)
        writer.write(await reader.readline())
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(serve, "localhost", 25)
    reader, writer = await asyncio.open_connection("localhost", 25)
    writer.write(b"STARTTLS\n")
    assert await reader.readline() == b"STARTTLS\n"
    await writer.start_tls(client_tls, server_hostname="localhost")
    writer.write(b"encrypted\n")
    assert await reader.readline() == b"encrypted\n"
    writer.close()
    await writer.wait_closed()
    server.close()
    await server.wait_closed()


async def test_tls_without_a_name_is_misuse() -> None:
    """As in asyncio, a client that can not know whom to verify must say so."""
    with pytest.raises(ValueError, match="server_hostname"):
        await asyncio.get_running_loop().create_connection(
            asyncio.Protocol, "", 443, ssl=ssl.create_default_context()
        )
