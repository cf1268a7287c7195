"""One direction of a connection: bytes in order, delayed, and bounded.

A pipe stands for the kernel's buffers on both sides and the line between them. It holds at most
`capacity` bytes, so that a peer that does not read, or a line that stalls, is felt by the writer
after that many, as with TCP. What has been accepted arrives in order, and once: loss shows as
delay, as TCP makes it. The end of the stream (FIN) and the reset (RST) travel behind the bytes.
"""

import asyncio
import contextvars
from collections import deque
from collections.abc import Callable
from enum import Enum
from typing import Protocol

from simulator.testing.conditions import Conditions
from simulator.testing.connection import Connection, Direction

__all__ = ["Observer", "Pipe", "Sink", "Source"]

GAP = 1e-6  # seconds between the pieces of one write, so that they arrive apart

Observer = Callable[[float, Connection, Direction, bytes], None]
"""Called with the time in seconds, the connection, the direction and the bytes as they arrive."""


class _Mark(Enum):
    EOF = "the writer has closed its side"
    RESET = "the connection is gone"


class Source(Protocol):
    """The writing end of a pipe."""

    def on_room(self) -> None:
        """Take note that the pipe has room again."""

    def deliver_reset(self) -> None:
        """Take note that the other end is gone, without an end of the stream."""


class Sink(Protocol):
    """The reading end of a pipe."""

    def is_reading(self) -> bool:
        """Tell whether `deliver` may be called."""

    def deliver(self, data: bytes) -> int:
        """Take data and return how many bytes of it were taken; the rest is offered again."""

    def deliver_eof(self) -> None:
        """Take note that nothing more will come."""

    def deliver_reset(self) -> None:
        """Take note that the other end is gone, without an end of the stream."""


class Pipe:
    """One direction of one connection.

    Args:
        loop: tells the time and calls when something arrives.
        connection: what it belongs to.
        direction: where its bytes go.
        conditions: how it treats them.
        capacity: how many bytes it holds.
        observer: told of all that arrives; None means nobody.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        connection: Connection,
        direction: Direction,
        conditions: Conditions,
        *,
        capacity: int,
        observer: Observer | None = None,
    ) -> None:
        self.connection = connection
        self.direction = direction
        self._loop = loop
        self._conditions = conditions
        self._room = capacity
        self._observer = observer
        self._queue: deque[tuple[float, bytes | _Mark]] = deque()
        self._line_free_at = 0.0
        self._last_arrival = 0.0
        self._source: Source | None = None
        self._sink: Sink | None = None
        self._sink_context: contextvars.Context | None = None
        self._on_unwanted: Callable[[], None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._has_ended = False
        self._is_reset = False
        self._is_severed = False

    def attach_source(self, source: Source) -> None:
        """Tell `source` from now on when there is room again."""
        self._source = source

    def attach_sink(self, sink: Sink, context: contextvars.Context) -> None:
        """Deliver to `sink` from now on, calling it in `context`."""
        self._sink = sink
        self._sink_context = context
        self.wake()

    def detach_source(self) -> None:
        """Let the writing end go; what is on its way still arrives."""
        self._source = None

    def detach_sink(self, on_unwanted: Callable[[], None]) -> None:
        """Let the reading end go; call `on_unwanted` when bytes arrive that nobody will read."""
        self._sink = None
        self._on_unwanted = on_unwanted
        self.wake()

    def send(self, data: bytes | memoryview) -> int:
        """Accept what there is room for, and return how many bytes that is."""
        if self._is_severed and self._source is not None:
            self._loop.call_soon(self._source.deliver_reset)
        if self._has_ended:
            return len(data)
        accepted = data if len(data) <= self._room else data[: self._room]
        if accepted:
            self._room -= len(accepted)
            self.connection.note_sent(self.direction, accepted)
            pieces = self._conditions.pieces(self.connection, bytes(accepted))
            self._post(pieces[0])
            for piece in pieces[1:]:
                self._post(piece, gap=GAP)
        return len(accepted)

    def send_eof(self) -> None:
        """End the stream behind what was sent."""
        if not self._has_ended:
            self._has_ended = True
            self._post(_Mark.EOF)

    def send_reset(self) -> None:
        """Reset the reading end, behind what was sent and even after its end."""
        self._has_ended = True
        if not self._is_severed and not self._is_reset:
            self._is_reset = True
            self._post(_Mark.RESET)

    def sever(self) -> None:
        """Forget what is on its way and carry nothing more; whoever writes into it is reset."""
        self._has_ended = True
        self._is_severed = True
        self._queue.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._source is not None:
            # What it has kept back for want of room is a write, too.
            self._loop.call_soon(self._source.on_room)

    def has_unread(self) -> bool:
        """Tell whether bytes have arrived that the reading end has not taken."""
        if not self._queue:
            return False
        arrival, item = self._queue[0]
        return isinstance(item, bytes) and arrival <= self._loop.time() and not self._is_held()

    def has_reset(self) -> bool:
        """Tell whether a reset has arrived, even if the reading end does not read."""
        if not self._queue:
            return False
        arrival, item = self._queue[-1]
        return item is _Mark.RESET and arrival <= self._loop.time() and not self._is_held()

    def wake(self) -> None:
        """Look again at what can be delivered and when."""
        if self._timer is None and self._queue and self._can_deliver():
            self._timer = self._loop.call_at(
                self._queue[0][0], self._deliver_next, context=self._sink_context
            )

    def _post(self, item: bytes | _Mark, *, gap: float = 0.0) -> None:
        size = len(item) if isinstance(item, bytes) else 0
        starts = max(self._loop.time(), self._line_free_at)
        self._line_free_at = starts + self._conditions.transmission_time(self.connection, size)
        arrival = self._line_free_at + self._conditions.delay(self.connection)
        self._last_arrival = max(arrival, self._last_arrival + gap)
        self._queue.append((self._last_arrival, item))
        self.wake()

    def _is_held(self) -> bool:
        return self._conditions.holds(self.connection, self.direction)

    def _can_deliver(self) -> bool:
        if self._is_held():
            return False
        return self._on_unwanted is not None if self._sink is None else self._sink.is_reading()

    def _deliver_next(self) -> None:
        self._timer = None
        if self._queue and self._can_deliver():
            item = self._take_arrived()
            if isinstance(item, bytes):
                self._deliver(item)
            elif self._sink is not None and item is _Mark.EOF:
                self._sink.deliver_eof()
            elif self._sink is not None and item is _Mark.RESET:
                self._sink.deliver_reset()
        self.wake()

    def _take_arrived(self) -> bytes | _Mark | None:
        """Return all bytes that have arrived, since TCP keeps no boundaries, or the next mark."""
        now = self._loop.time()
        arrived: list[bytes] = []
        while self._queue and self._queue[0][0] <= now:
            item = self._queue[0][1]
            if not isinstance(item, bytes):
                if not arrived:
                    self._queue.popleft()
                    return item
                break
            arrived.append(item)
            self._queue.popleft()
        return b"".join(arrived) if arrived else None

    def _deliver(self, data: bytes) -> None:
        taken = len(data) if self._sink is None else self._sink.deliver(data)
        if taken < len(data) and not self._is_severed:
            self._queue.appendleft((self._loop.time(), data[taken:]))
        self._room += taken
        if self._sink is None and self._on_unwanted is not None:
            self._on_unwanted()
        elif taken:
            self.connection.note_received(self.direction, taken)
            if self._observer is not None:
                now = self._loop.time()
                self._observer(now, self.connection, self.direction, data[:taken])
        if self._source is not None:
            self._source.on_room()
