"""A listening end of the virtual network: what `loop.create_server` returns."""

import asyncio
import contextvars
import socket
from collections.abc import Callable
from typing import Any

from simulator.testing.connection import Address
from simulator.testing.link import Link
from simulator.testing.tls import Tls
from simulator.testing.transport import MemoryTransport

__all__ = ["Listener", "ProtocolFactory"]

ProtocolFactory = Callable[[], asyncio.BaseProtocol]


class ListeningSocket:
    """What a server shows of its socket: enough to ask for its address."""

    type = socket.SOCK_STREAM
    proto = socket.IPPROTO_TCP

    def __init__(self, address: Address) -> None:
        self._address = address
        self.family = socket.AF_INET6 if ":" in address.host else socket.AF_INET

    def getsockname(self) -> tuple[str, int]:
        """Return (IP address, port)."""
        return self._address.host, self._address.port

    def fileno(self) -> int:
        """Return -1, as a socket without a file descriptor does."""
        return -1


class Listener(asyncio.AbstractServer):
    """Accepts connections at one or more addresses.

    It behaves as `asyncio.Server` of Python 3.13 under every Python: `wait_closed()` waits for the
    connections too, `close_clients()` and `abort_clients()` exist.

    Args:
        loop: the loop of the server.
        factory: makes a protocol for each connection.
        addresses: where it listens.
        tls: how connections are encrypted; None means that they are not.
        register: called with True when it starts to listen, with False when it stops.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        factory: ProtocolFactory,
        addresses: tuple[Address, ...],
        *,
        tls: Tls | None,
        register: "Callable[[Listener, bool], None]",
    ) -> None:
        self.addresses = addresses
        self._loop = loop
        self._factory = factory
        self._tls = tls
        self._register = register
        # Connections are served in the context of who listens, not of the client that dials.
        self._context = contextvars.copy_context()
        self._clients: dict[MemoryTransport, None] = {}
        self._is_serving = False
        self._is_closed = False
        self._over: asyncio.Future[None] = loop.create_future()
        self._forever: asyncio.Future[None] | None = None

    @property
    def sockets(self) -> tuple[Any, ...]:
        """What it listens on, empty once it is closed; each knows `getsockname()`."""
        return () if self._is_closed else tuple(map(ListeningSocket, self.addresses))

    def get_loop(self) -> asyncio.AbstractEventLoop:
        """Return the loop of the server."""
        return self._loop

    def is_serving(self) -> bool:
        """Tell whether it accepts connections."""
        return self._is_serving

    async def start_serving(self) -> None:
        """Accept connections; harmless if it already does."""
        if self._is_closed:
            raise RuntimeError(f"The server at {self.addresses} is closed.")
        if not self._is_serving:
            self._is_serving = True
            self._register(self, True)

    async def serve_forever(self) -> None:
        """Accept connections until cancelled, then close."""
        if self._forever is not None:
            raise RuntimeError("serve_forever() is already waited for.")
        await self.start_serving()
        self._forever = self._loop.create_future()
        try:
            await self._forever
        except asyncio.CancelledError:
            self.close()
            await self.wait_closed()
            raise
        finally:
            self._forever = None

    def close(self) -> None:
        """Stop to listen; open connections live on."""
        if self._is_closed:
            return
        self._is_closed = True
        if self._is_serving:
            self._is_serving = False
            self._register(self, False)
        if self._forever is not None:
            self._forever.cancel()
        self._note_over()

    def close_clients(self) -> None:
        """Close every connection in order."""
        for transport in list(self._clients):
            transport.close()

    def abort_clients(self) -> None:
        """End every connection at once."""
        for transport in list(self._clients):
            transport.abort()

    async def wait_closed(self) -> None:
        """Wait until it is closed and its connections are over."""
        await asyncio.shield(self._over)

    def accept_soon(self, link: Link) -> None:
        """Serve a new connection, from the loop."""
        self._loop.call_soon(self._accept, link, context=self._context.copy())

    def _accept(self, link: Link) -> None:
        try:
            protocol = self._factory()
        except Exception as exc:
            link.reset()
            link.abandon_end(is_server=True)
            self._loop.call_exception_handler(
                {"message": "The protocol factory of a server failed", "exception": exc}
            )
            return
        if self._tls is not None:
            protocol = self._tls.wrap(self._loop, protocol, None)
        transport = link.open_end(protocol, is_server=True, on_lost=self._detach)
        self._clients[transport] = None

    def _detach(self, transport: MemoryTransport) -> None:
        self._clients.pop(transport, None)
        self._note_over()

    def _note_over(self) -> None:
        if self._is_closed and not self._clients and not self._over.done():
            self._over.set_result(None)
