"""Servers of the virtual network: where they listen, and how they end."""

import asyncio
import contextvars
import errno
import socket
from functools import partial

import pytest

from simulator.testing import Network
from simulator.testing.listener import Listener
from tests.simulator.testing.recorder import Recorder, connected

pytestmark = pytest.mark.usefixtures("virtual_time")


async def test_names_have_addresses(virtual_network: Network) -> None:
    """Servers at different names share a port, and an unknown name is not resolved."""
    loop = asyncio.get_running_loop()
    servers = {name: Recorder() for name in ("one.example", "two.example")}
    listeners = [
        await loop.create_server(partial(servers.__getitem__, name), name, 80) for name in servers
    ]
    client = Recorder()
    await loop.create_connection(lambda: client, "two.example", 80)
    await servers["two.example"].until_noted("made")
    assert servers["one.example"].events == []
    assert virtual_network.connections[0].server.host == virtual_network.resolve("two.example")
    with pytest.raises(socket.gaierror, match=r"three\.example"):
        await loop.create_connection(Recorder, "three.example", 80)
    client.transport.close()
    await servers["two.example"].until_noted("lost NoneType")
    for listener in listeners:
        listener.close()


async def test_a_wildcard_listens_at_every_name(virtual_network: Network) -> None:
    """A server without a host is reached at any address."""
    virtual_network.name("backend.example", "192.0.2.7")
    loop = asyncio.get_running_loop()
    listener = await loop.create_server(Recorder, None, 80)
    for host in ("backend.example", "localhost", "192.0.2.7", "::1"):
        _, writer = await asyncio.open_connection(host, 80)
        writer.close()
        await writer.wait_closed()
    listener.close()


async def test_a_taken_port_is_in_use() -> None:
    """Two servers can not listen at one address, until the first is closed."""
    loop = asyncio.get_running_loop()
    first = await loop.create_server(Recorder, "127.0.0.1", 80)
    with pytest.raises(OSError, match="in use") as caught:
        await loop.create_server(Recorder, "127.0.0.1", 80)
    assert caught.value.errno == errno.EADDRINUSE
    first.close()
    second = await loop.create_server(Recorder, "127.0.0.1", 80)
    second.close()


async def test_wait_closed_waits_for_connections() -> None:
    """A closed server is over only when its connections are."""
    server = Recorder()
    listener = await asyncio.get_running_loop().create_server(lambda: server, "127.0.0.1", 80)
    client = Recorder()
    await asyncio.get_running_loop().create_connection(lambda: client, "127.0.0.1", 80)
    await server.until_noted("made")
    listener.close()
    assert not listener.is_serving()
    waiter = asyncio.create_task(listener.wait_closed())
    await asyncio.sleep(60)
    assert not waiter.done()
    assert isinstance(listener, Listener)
    listener.close_clients()
    await waiter
    assert server.events == ["made", "lost NoneType"]


async def test_abort_clients_ends_connections() -> None:
    """A server can end all its connections at once."""
    client, server = Recorder(), Recorder()
    listener = await connected(client, server)
    assert isinstance(listener, Listener)
    listener.abort_clients()
    await client.until_noted("lost NoneType")
    listener.close()


async def test_serve_forever_closes_when_cancelled() -> None:
    """Cancelling serve_forever closes the server, which waits for its connections."""
    listener = await asyncio.get_running_loop().create_server(
        Recorder, "127.0.0.1", 80, start_serving=False
    )
    assert not listener.is_serving()
    task = asyncio.create_task(listener.serve_forever())
    await asyncio.sleep(1)
    assert listener.is_serving()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert listener.sockets == ()


async def test_a_failing_protocol_factory_resets_the_client(virtual_network: Network) -> None:
    """A server that can not make a protocol is reported, and its client is not left hanging."""
    reported: list[str] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: reported.append(context["message"]))

    def fail() -> Recorder:
        raise LookupError("mine")

    listener = await loop.create_server(fail, "127.0.0.1", 80)
    client = Recorder()
    await loop.create_connection(lambda: client, "127.0.0.1", 80)
    await client.until_noted("lost ConnectionResetError")
    listener.close()
    assert reported == ["The protocol factory of a server failed"]
    assert virtual_network.connections == ()


async def test_each_connection_is_accepted_in_a_context_of_its_own() -> None:
    """What the protocol factory sets for one connection is not set for the next."""
    user: contextvars.ContextVar[str] = contextvars.ContextVar("user", default="nobody")
    seen: list[str] = []

    def make() -> Recorder:
        seen.append(user.get())
        user.set("somebody")
        return Recorder()

    listener = await asyncio.get_running_loop().create_server(make, "127.0.0.1", 80)
    for _ in range(2):
        _, writer = await asyncio.open_connection("127.0.0.1", 80)
        writer.close()
        await writer.wait_closed()
    listener.close()
    assert seen == ["nobody", "nobody"]


async def test_clients_do_not_take_the_port_of_a_server(virtual_network: Network) -> None:
    """The port of a client is one where nobody listens."""
    loop = asyncio.get_running_loop()
    listeners = [await loop.create_server(Recorder, "127.0.0.1", port) for port in (32_768, 32_769)]
    _, writer = await asyncio.open_connection("127.0.0.1", 32_768)
    assert virtual_network.connections[0].client.port == 32_770
    writer.close()
    await writer.wait_closed()
    for listener in listeners:
        listener.close()
