"""A connection of the virtual network as a whole: its pipes, its two ends, and how both are cut."""

import asyncio
import socket
from collections.abc import Callable

from simulator.testing.connection import Connection, VirtualSocket
from simulator.testing.pipe import Pipe
from simulator.testing.transport import MemoryTransport

__all__ = ["Link"]


class Link:
    """A connection with its two pipes and, as far as they are there, its two ends.

    Args:
        loop: the loop of both ends.
        connection: what is known about it.
        to_server: the pipe that the client writes to.
        to_client: the pipe that the server writes to.
        on_over: called once, when both ends have let go.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        connection: Connection,
        to_server: Pipe,
        to_client: Pipe,
        on_over: "Callable[[Link], None]",
    ) -> None:
        self.connection = connection
        self.to_server = to_server
        self.to_client = to_client
        self._loop = loop
        self._on_over = on_over
        self._open_ends = 2
        self._transports: dict[MemoryTransport, None] = {}
        self._timers: list[asyncio.TimerHandle] = []
        self._ending: Callable[[MemoryTransport], None] | None = None
        self._has_client = False  # true once somebody has taken care of the client's end

    def open_end(
        self,
        protocol: asyncio.BaseProtocol,
        *,
        is_server: bool,
        sock: socket.socket | None = None,
        on_lost: Callable[[MemoryTransport], None] | None = None,
    ) -> MemoryTransport:
        """Put `protocol` on one end.

        Args:
            protocol: what speaks there.
            is_server: on which end.
            sock: a socket of the client's that stands for this end; closed with it.
            on_lost: called when this end has let go.
        """

        def lost(transport: MemoryTransport) -> None:
            if sock is not None:
                sock.close()
            if on_lost is not None:
                on_lost(transport)
            self._transports.pop(transport, None)
            self._end()

        self._has_client |= not is_server
        near, far = self.connection.client, self.connection.server
        inbound, outbound = self.to_client, self.to_server
        if is_server:
            near, far, inbound, outbound = far, near, outbound, inbound
        extra: dict[str, object] = {"sockname": tuple(near), "peername": tuple(far)}
        extra["socket"] = VirtualSocket(near, far) if sock is None else sock
        if is_server:
            extra["reset"] = self.reset  # as closing a socket that does not linger does
        transport = MemoryTransport(
            self._loop, protocol, inbound=inbound, outbound=outbound, extra=extra, on_lost=lost
        )
        self._transports[transport] = None
        if self._ending is not None:
            # It was cut while the client was still connecting.
            self._loop.call_soon(self._ending, transport)
        return transport

    def abandon_unopened_client(self) -> None:
        """Let the client's end go if no protocol was put on it before its loop was closed."""
        if not self._has_client and not self._loop.is_closed():
            self.abandon_end(is_server=False)

    def abandon_end(self, *, is_server: bool) -> None:
        """Let an end go before any protocol was put on it."""
        self._has_client |= not is_server
        inbound, outbound = self.to_client, self.to_server
        if is_server:
            inbound, outbound = outbound, inbound
        outbound.send_eof()
        inbound.detach_sink(outbound.send_reset)
        self._end()

    def call_later(self, seconds: float, call: Callable[[], None]) -> None:
        """Call in `seconds`, unless the connection is over by then."""
        self._timers.append(self._loop.call_later(seconds, call))

    def reset(self) -> None:
        """Let both ends see a reset (RST) now; what is on its way is lost."""
        self._cut(MemoryTransport.deliver_reset)

    def close(self) -> None:
        """Let both ends see an orderly end (FIN) now; what is on its way is lost."""
        self._cut(MemoryTransport.deliver_eof)

    def wake(self) -> None:
        """Look again at what the faults let through."""
        self.to_server.wake()
        self.to_client.wake()

    def _cut(self, ending: Callable[[MemoryTransport], None]) -> None:
        is_reset = ending is MemoryTransport.deliver_reset
        # An end that has heard of an orderly end may stay open, and only a reset moves it then.
        if self._ending is not None and (not is_reset or self._ending is ending):
            return
        self._ending = ending
        self.to_server.sever()
        self.to_client.sever()
        for transport in self._transports:
            if is_reset or not transport.is_closing():
                ending(transport)

    def _end(self) -> None:
        self._open_ends -= 1
        if not self._open_ends:
            for timer in self._timers:
                timer.cancel()
            self._timers.clear()
            self.to_server.sever()
            self.to_client.sever()
            self._on_over(self)
