"""An asyncio transport whose other side is another one in the same process.

It behaves as the socket transport of asyncio's selector loop does, down to when a protocol is told
what, because clients and servers depend on it:

* `connection_made` comes first, from the loop; nothing is read before it.
* Bytes that the pipe has no room for wait in the write buffer; above its high-water mark the
  protocol is told to pause, below the low-water mark to resume.
* `close()` sends the write buffer first, so against a peer that does not read it takes for ever;
  `abort()` throws it away.
* Closing with unread bytes, or receiving bytes afterwards, resets the peer instead of ending its
  stream in order (RFC 9293 section 3.6.1, RFC 2525 section 2.17).
"""

import asyncio
import contextvars
import errno
import logging
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from simulator.testing.pipe import Pipe

__all__ = ["MemoryTransport"]

logger = logging.getLogger("simulator.testing")

HIGH_WATER = 65_536  # bytes; the default of asyncio's transports

Buffer = bytes | bytearray | memoryview
BUFFERS = (bytes, bytearray, memoryview)  # the same for isinstance, which takes a tuple faster


def _reset_error() -> ConnectionResetError:
    """Return what the operating system says when the peer has reset a connection."""
    return ConnectionResetError(errno.ECONNRESET, "Connection reset by peer")


class MemoryTransport(asyncio.Transport):
    """One end of a connection of the virtual network.

    Args:
        loop: the loop that calls the protocol.
        protocol: what uses the transport.
        inbound: the pipe that it reads from.
        outbound: the pipe that it writes to.
        extra: what `get_extra_info` knows.
        on_lost: called once, after the protocol's `connection_lost`.
    """

    _start_tls_compatible = True  # what loop.start_tls() asks for

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        protocol: asyncio.BaseProtocol,
        *,
        inbound: Pipe,
        outbound: Pipe,
        extra: dict[str, object],
        on_lost: "Callable[[MemoryTransport], None]",
    ) -> None:
        super().__init__(extra)
        self._loop = loop
        self._protocol = protocol
        self._inbound = inbound
        self._outbound = outbound
        self._on_lost = on_lost
        # The pipes call in the context of this end, not of the peer that happens to write.
        self._context = contextvars.copy_context()
        self._buffer: deque[memoryview] = deque()
        self._buffered = 0
        self._low_water, self._high_water = HIGH_WATER // 4, HIGH_WATER
        self._is_closing = False
        self._is_lost = False
        self._is_reading_paused = False
        self._is_writing_paused = False
        self._has_sent_eof = False
        self._call_soon(self._connect)

    def __repr__(self) -> str:
        state = "closing" if self._is_closing else "open"
        names = ("sockname", "peername")
        ends = " -> ".join(str(self.get_extra_info(name)) for name in names)
        return f"<MemoryTransport {ends} {state}>"

    # asyncio.BaseTransport

    def get_protocol(self) -> asyncio.BaseProtocol:
        """Return the current protocol."""
        return self._protocol

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Let `protocol` be called from now on."""
        self._protocol = protocol

    def is_closing(self) -> bool:
        """Tell whether it is closing or closed."""
        return self._is_closing

    def close(self) -> None:
        """Send what is buffered, then end the connection in order."""
        if not self._is_closing:
            self._is_closing = True
            if not self._buffer:
                self._schedule_loss(None)

    # asyncio.ReadTransport

    def is_reading(self) -> bool:
        """Tell whether it takes what arrives."""
        return not self._is_closing and not self._is_reading_paused

    def pause_reading(self) -> None:
        """Leave what arrives in the pipe, so that the peer feels it."""
        if not self._is_closing:
            self._is_reading_paused = True

    def resume_reading(self) -> None:
        """Take what arrives again."""
        if self._is_reading_paused and not self._is_closing:
            self._is_reading_paused = False
            self._inbound.wake()

    # asyncio.WriteTransport

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Set between how many buffered bytes the protocol's writing is resumed and paused."""
        if high is None:
            high = HIGH_WATER if low is None else 4 * low
        if low is None:
            low = high // 4
        if not high >= low >= 0:
            raise ValueError(f"high ({high!r}) must be >= low ({low!r}) must be >= 0")
        self._low_water, self._high_water = low, high
        self._pause_writing_if_full()

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """Return the low-water and the high-water mark, in bytes."""
        return self._low_water, self._high_water

    def get_write_buffer_size(self) -> int:
        """Return how many bytes wait for room in the pipe."""
        return self._buffered

    def write(self, data: Buffer) -> None:
        """Send `data`, or buffer what the pipe has no room for."""
        if not isinstance(data, BUFFERS):
            raise TypeError(f"data must be a bytes-like object, not {type(data).__name__}")
        if self._has_sent_eof:
            raise RuntimeError("Cannot call write() after write_eof()")
        if self._is_lost or not data:
            return
        if self._inbound.has_reset():
            self._fail(_reset_error(), "Fatal write error on memory transport")
            return
        # A copy: the caller may change a bytearray while it waits.
        data = bytes(data)
        sent = 0 if self._buffer else self._outbound.send(data)
        if sent < len(data):
            self._buffer.append(memoryview(data)[sent:])
            self._buffered += len(data) - sent
            self._pause_writing_if_full()

    def writelines(self, list_of_data: Iterable[Any]) -> None:
        """Send the concatenation of `list_of_data`."""
        self.write(b"".join(list_of_data))

    def can_write_eof(self) -> bool:
        """Return True: each direction can be closed by itself."""
        return True

    def write_eof(self) -> None:
        """Send what is buffered, then end the outgoing stream; reading goes on."""
        if not self._is_closing and not self._has_sent_eof:
            self._has_sent_eof = True
            if not self._buffer:
                self._outbound.send_eof()

    def abort(self) -> None:
        """End the connection at once, without sending what is buffered."""
        self._force_close(None)

    # what the pipes call

    def on_room(self) -> None:
        """Send more of the write buffer."""
        if not self._buffer:
            return
        if self._inbound.has_reset():
            self._fail(_reset_error(), "Fatal write error on memory transport")
            return
        while self._buffer:
            view = self._buffer[0]
            sent = self._outbound.send(view)
            self._buffered -= sent
            if sent < len(view):
                self._buffer[0] = view[sent:]
                break
            self._buffer.popleft()
        self._resume_writing_if_drained()
        if self._buffer or self._is_lost:
            return
        if self._is_closing:
            self._schedule_loss(None)
        elif self._has_sent_eof:
            self._outbound.send_eof()

    def deliver(self, data: bytes) -> int:
        """Hand data to the protocol; return how many bytes it took before it paused or closed."""
        taken = 0
        while taken < len(data) and self.is_reading():
            try:
                taken += self._hand_over(data, taken)
            except (SystemExit, KeyboardInterrupt):
                raise
            except BaseException as exc:
                self._fail(exc, "Fatal error: the protocol failed to take received data")
                return len(data)
        return taken

    def deliver_eof(self) -> None:
        """Tell the protocol that the peer has ended its stream, and close unless it objects."""
        try:
            keep_open = _as_stream(self._protocol).eof_received()
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as exc:
            self._fail(exc, "Fatal error: protocol.eof_received() call failed")
            return
        if not keep_open:
            self.close()

    def deliver_reset(self) -> None:
        """Lose the connection because the peer is gone."""
        self._fail(_reset_error(), "Fatal read error on memory transport")

    # the rest

    def _hand_over(self, data: bytes, start: int) -> int:
        protocol = self._protocol
        if not isinstance(protocol, asyncio.BufferedProtocol):
            _as_stream(protocol).data_received(data[start:])
            return len(data) - start
        target = memoryview(protocol.get_buffer(-1)).cast("B")
        size = min(len(target), len(data) - start)
        if not size:
            raise RuntimeError("get_buffer() returned an empty buffer")
        target[:size] = data[start : start + size]
        protocol.buffer_updated(size)
        return size

    def _connect(self) -> None:
        self._outbound.attach_source(self)
        try:
            self._protocol.connection_made(self)
        finally:
            self._inbound.attach_sink(self, self._context)

    def _pause_writing_if_full(self) -> None:
        if not self._is_writing_paused and self.get_write_buffer_size() > self._high_water:
            self._is_writing_paused = True
            self._tell_protocol(self._protocol.pause_writing)

    def _resume_writing_if_drained(self) -> None:
        if self._is_writing_paused and self.get_write_buffer_size() <= self._low_water:
            self._is_writing_paused = False
            self._tell_protocol(self._protocol.resume_writing)

    def _tell_protocol(self, call: Callable[[], None]) -> None:
        try:
            call()
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as exc:
            self._report(exc, f"protocol.{call.__name__}() failed")

    def _fail(self, exc: BaseException, message: str) -> None:
        if isinstance(exc, OSError):
            logger.debug("%r: %s: %s", self, message, exc)
        else:
            self._report(exc, message)
        self._force_close(exc)

    def _report(self, exc: BaseException, message: str) -> None:
        self._loop.call_exception_handler(
            {"message": message, "exception": exc, "transport": self, "protocol": self._protocol}
        )

    def _force_close(self, exc: BaseException | None) -> None:
        """Lose the connection now; asyncio's SSLProtocol calls it by this name."""
        if not self._is_lost:
            self._buffer.clear()
            self._buffered = 0
            self._is_closing = True
            self._schedule_loss(exc)

    def _schedule_loss(self, exc: BaseException | None) -> None:
        self._is_lost = True
        self._call_soon(self._lose, exc)

    def _lose(self, exc: BaseException | None) -> None:
        try:
            # The stubs say Exception; asyncio hands on what a protocol's method raised.
            self._protocol.connection_lost(exc)  # type: ignore[arg-type]
        finally:
            if self._inbound.has_unread():
                self._outbound.send_reset()
            else:
                self._outbound.send_eof()
            self._outbound.detach_source()
            self._inbound.detach_sink(self._outbound.send_reset)
            self._on_lost(self)

    def _call_soon(self, call: Callable[..., None], *args: object) -> None:
        self._loop.call_soon(call, *args, context=self._context)


def _as_stream(protocol: asyncio.BaseProtocol) -> asyncio.Protocol:
    """Return `protocol` as what TCP needs; asyncio checks no more than this either."""
    return protocol  # type: ignore[return-value]  # duck typing is part of asyncio's contract
