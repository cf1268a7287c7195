"""A protocol that writes down what it is told, for tests of transports."""

import asyncio
from collections.abc import Callable

__all__ = ["BufferedRecorder", "Recorder", "connected"]


class Recorder(asyncio.Protocol):
    """Records its calls; received data is one entry, however it was cut.

    Args:
        keep_open: what it answers to the end of the peer's stream.
        on_data: called with itself and each piece of data.
    """

    def __init__(
        self,
        *,
        keep_open: bool = False,
        on_data: "Callable[[Recorder, bytes], None] | None" = None,
    ) -> None:
        self.events: list[str] = []
        self.received = b""
        self.changed = asyncio.Event()
        self._keep_open = keep_open
        self._on_data = on_data
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Record "made"."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self._note("made")

    def data_received(self, data: bytes) -> None:
        """Record "data", unless it was the last thing too."""
        self.received += data
        if self.events[-1] != "data":
            self._note("data")
        self.changed.set()
        if self._on_data is not None:
            self._on_data(self, data)

    def eof_received(self) -> bool:
        """Record "eof"."""
        self._note("eof")
        return self._keep_open

    def connection_lost(self, exc: Exception | None) -> None:
        """Record "lost" and the type of the exception."""
        self._note(f"lost {type(exc).__name__}")

    def pause_writing(self) -> None:
        """Record "pause"."""
        self._note("pause")

    def resume_writing(self) -> None:
        """Record "resume"."""
        self._note("resume")

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until something that was recorded makes `condition` true."""
        while not condition():
            self.changed.clear()
            await self.changed.wait()

    async def until_noted(self, event: str) -> None:
        """Wait until `event` has been recorded."""
        await self.until(lambda: event in self.events)

    def _note(self, event: str) -> None:
        self.events.append(event)
        self.changed.set()


class BufferedRecorder(asyncio.BufferedProtocol):
    """Receives into a buffer of four bytes, and pauses reading at each piece."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.changed = asyncio.Event()
        self.transport: asyncio.Transport
        self._buffer = bytearray(4)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def get_buffer(self, sizehint: int) -> bytearray:
        """Return the whole buffer."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Keep what was received and pause."""
        self.pieces.append(bytes(self._buffer[:nbytes]))
        self.transport.pause_reading()
        self.changed.set()


async def connected(client: Recorder, server: Recorder, host: str = "127.0.0.1") -> asyncio.Server:
    """Connect two recorders on the running loop and return the server."""
    loop = asyncio.get_running_loop()
    listener = await loop.create_server(lambda: server, host, 0)
    port = listener.sockets[0].getsockname()[1]
    await loop.create_connection(lambda: client, host, port)
    await server.until_noted("made")
    return listener
