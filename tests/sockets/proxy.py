"""A TCP proxy on real sockets, in the loop of the test, that misbehaves on demand.

Kernel buffers are real: a stalled direction swallows some megabytes before its writer feels it.
"""

import asyncio
import random
import socket
import struct
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Self

__all__ = ["Direction", "Proxy", "ProxyStats"]

Direction = Literal["to_client", "to_server"]

HOST = "127.0.0.1"
LINGER = 1.0  # seconds that an orderly end may take
RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # struct linger: on, 0 seconds


class ProxyStats(NamedTuple):
    """What the proxy has carried so far."""

    connections: int  # accepted
    open_connections: int  # not ended yet
    bytes_to_client: int
    bytes_to_server: int


@dataclass(eq=False, slots=True)
class Relay:
    """One connection through the proxy."""

    writers: list[asyncio.StreamWriter]
    bytes_left: int | None
    ends_clean: bool = True
    timer: asyncio.TimerHandle | None = None
    task: asyncio.Task[None] = field(init=False)

    def cut(self, clean: bool) -> None:
        """End it by FIN if `clean`, else by RST."""
        self.ends_clean = clean
        self.task.cancel()

    def spare(self) -> None:
        """Do not end it by itself any more."""
        self.bytes_left = None
        if self.timer is not None:
            self.timer.cancel()

    async def close(self) -> None:
        """Close both sockets in order, as far as the peers let it happen."""
        for writer in self.writers:
            writer.close()
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(LINGER):
                for writer in self.writers:
                    await writer.wait_closed()


class Proxy:
    """Forwards connections to a port of this machine; use it as an async context manager.

    Args:
        target: the port to forward to.
        seed: of the random ages at which connections are cut.
    """

    def __init__(self, target: int, *, seed: int = 0) -> None:
        self.port = 0
        self._target = target
        self._random = random.Random(seed)
        self._server: asyncio.Server | None = None
        self._relays: list[Relay] = []
        self._is_flowing = {"to_client": asyncio.Event(), "to_server": asyncio.Event()}
        self._bytes = {"to_client": 0, "to_server": 0}
        self._connections = 0
        self._ages: tuple[float, float] | None = None
        self._cuts_clean = False
        self._latency = 0.0
        self._byte_limit: int | None = None
        self.heal()

    async def __aenter__(self) -> Self:
        await self.accept()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.refuse()
        self.cut()
        await asyncio.gather(*(relay.task for relay in self._relays), return_exceptions=True)

    def stats(self) -> ProxyStats:
        """Return the counters."""
        return ProxyStats(self._connections, len(self._relays), *self._bytes.values())

    def retarget(self, port: int) -> None:
        """Forward new connections to another port."""
        self._target = port

    async def accept(self) -> None:
        """Listen, at the same port as before if there was one."""
        if self._server is None:
            self._server = await asyncio.start_server(self._begin, HOST, self.port)
            self.port = self._server.sockets[0].getsockname()[1]

    def refuse(self) -> None:
        """Stop to listen, so that dials are refused; open connections live on."""
        if self._server is not None:
            self._server.close()
            self._server = None

    def cut(self, *, clean: bool = False) -> int:
        """End all connections, by RST or, if `clean`, by FIN; return how many."""
        for relay in self._relays:
            relay.cut(clean)
        return len(self._relays)

    def cut_every(self, minimum: float, maximum: float, *, clean: bool = False) -> None:
        """End each new connection at a random age between `minimum` and `maximum` seconds."""
        self._ages, self._cuts_clean = (minimum, maximum), clean

    def stall(self) -> None:
        """Forward nothing either way; the sockets stay open."""
        self.half_open("to_client")
        self.half_open("to_server")

    def half_open(self, direction: Direction) -> None:
        """Forward nothing in one direction; the sockets stay open."""
        self._is_flowing[direction].clear()

    def latency(self, seconds: float) -> None:
        """Hold each piece of data back for `seconds`."""
        self._latency = seconds

    def limit_bytes(self, limit: int) -> None:
        """Reset each new connection after `limit` bytes, both directions together."""
        self._byte_limit = limit

    def heal(self) -> None:
        """End stalls, cuts, latency and limits; what was held back is forwarded."""
        self._ages, self._byte_limit, self._latency = None, None, 0.0
        for relay in self._relays:
            relay.spare()
        for is_flowing in self._is_flowing.values():
            is_flowing.set()

    def _begin(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        relay = Relay([writer], self._byte_limit)
        relay.task = asyncio.get_running_loop().create_task(self._relay(relay, reader))
        relay.task.add_done_callback(lambda _: self._forget(relay))
        self._relays.append(relay)
        self._connections += 1
        if self._ages is not None:
            age = self._random.uniform(*self._ages)
            relay.timer = asyncio.get_running_loop().call_later(age, relay.cut, self._cuts_clean)

    async def _relay(self, relay: Relay, reader: asyncio.StreamReader) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection(HOST, self._target)
            relay.writers.append(far_writer)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pump(relay, reader, far_writer, "to_server"))
                group.create_task(self._pump(relay, far_reader, relay.writers[0], "to_client"))
        except* OSError:
            relay.ends_clean = False  # the other side learns of a reset by a reset
        finally:
            if relay.ends_clean:
                await relay.close()

    def _forget(self, relay: Relay) -> None:
        self._relays.remove(relay)
        relay.spare()
        for writer in relay.writers:
            reset(writer)

    async def _pump(
        self, relay: Relay, source: asyncio.StreamReader, sink: asyncio.StreamWriter, way: Direction
    ) -> None:
        while True:
            await self._is_flowing[way].wait()
            data = await source.read(65_536)
            await asyncio.sleep(self._latency)
            await self._is_flowing[way].wait()
            if not data:
                sink.write_eof()
                return
            data = data[: relay.bytes_left]
            sink.write(data)
            await sink.drain()
            self._bytes[way] += len(data)
            if relay.bytes_left is not None:
                relay.bytes_left -= len(data)
            if relay.bytes_left == 0:
                raise ConnectionResetError("the limit of bytes is reached")


def reset(writer: asyncio.StreamWriter) -> None:
    """Close a socket by RST, unless it is closed already."""
    sock: socket.socket | None = writer.get_extra_info("socket")
    if sock is not None and sock.fileno() >= 0:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
    writer.transport.abort()
