"""One way of a TCP connection: what is late, held back, cut to pieces or damaged on it. No I/O."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from random import Random
from typing import Final, NamedTuple

__all__ = ["CLEAR", "Lane", "Shape"]

_DUE: Final = 1e-9  # s by which a timer may come early

Item = bytes | Callable[[], None]


class Shape(NamedTuple):
    """How bytes pass."""

    is_held: bool = False
    """Whether nothing passes at all."""
    lag: float = 0.0
    """Seconds that each piece travels, at least."""
    jitter: float = 0.0
    """Seconds, of which a random part is added."""
    rate: float | None = None
    """Bytes per second; None for no limit."""
    size: int | None = None
    """Bytes of a piece at most; None leaves them as they come."""
    pause: float = 0.0
    """Seconds between two pieces."""
    damage: float = 0.0
    """How likely it is for a piece that a bit of it is flipped."""
    end_delay: float = 0.0
    """Seconds between the last byte and the end of the stream."""


CLEAR: Final = Shape()
"""How bytes pass where nothing is wrong."""


class Lane:
    """Carry the bytes of one direction, in their order.

    Args:
        loop: whose time it is.
        deliver: takes the bytes that have arrived.
        random: for jitter and damage.
        on_change: called when bytes were delivered from the queue, so that there is room.
    """

    __slots__ = (
        "_deliver",
        "_free_at",
        "_loop",
        "_on_change",
        "_queue",
        "_random",
        "_shape",
        "_timer",
        "is_blocked",
        "waiting",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        deliver: Callable[[bytes], None],
        random: Random,
        on_change: Callable[[], None],
    ) -> None:
        self.waiting = 0
        """Bytes on their way."""
        self.is_blocked = False
        """Whether the receiver takes nothing at present."""
        self._loop = loop
        self._deliver = deliver
        self._random = random
        self._on_change = on_change
        self._shape = CLEAR
        self._queue: deque[tuple[float, Item]] = deque()
        self._free_at = 0.0  # when the last piece has passed
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_clear(self) -> bool:
        """Whether bytes may pass beside it."""
        return not self._queue and not self.is_blocked and self._shape == CLEAR

    def put(self, data: bytes) -> None:
        """Take bytes to be delivered."""
        for piece in self._pieces(data):
            self._queue.append((self._arrival(len(piece)), piece))
            self.waiting += len(piece)
        self.pump()

    def then(self, act: Callable[[], None]) -> None:
        """Call something once all bytes before it have been delivered."""
        at = max(self._free_at, self._loop.time()) + self._shape.end_delay
        self._queue.append((at, act))
        self.pump()

    def reshape(self, shape: Shape) -> None:
        """Let bytes pass in another way; once nothing is wrong, those on their way arrive."""
        self._shape = shape
        if shape == CLEAR:
            now = self._loop.time()
            self._queue = deque((now, item) for _, item in self._queue)
            self._free_at = now
        self.pump()

    def pump(self) -> None:
        """Deliver what is due."""
        had = self.waiting
        while self._queue and self._may_pass():
            _, item = self._queue.popleft()
            if isinstance(item, bytes):
                self.waiting -= len(item)
                self._deliver(item)
            else:
                item()
        self._arm()
        if self.waiting != had:
            self._on_change()

    def drop(self) -> None:
        """Forget whatever is on its way."""
        self._queue.clear()
        self.waiting = 0
        self._arm()

    def _may_pass(self) -> bool:
        at, _ = self._queue[0]
        is_open = not (self._shape.is_held or self.is_blocked)
        return is_open and at <= self._loop.time() + _DUE

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._queue and not (self._shape.is_held or self.is_blocked):
            self._timer = self._loop.call_at(self._queue[0][0], self.pump)

    def _arrival(self, size: int) -> float:
        """Return when a piece arrives: never before the one in front of it."""
        shape, now = self._shape, self._loop.time()
        travel = shape.lag + (shape.jitter * self._random.random() if shape.jitter else 0.0)
        passing = 0.0 if shape.rate is None else size / shape.rate
        self._free_at = max(now + travel, self._free_at + shape.pause) + passing
        return self._free_at

    def _pieces(self, data: bytes) -> Iterator[bytes]:
        shape = self._shape
        size = shape.size
        if size is None and shape.rate is not None:
            size = max(int(shape.rate / 20), 1)  # a slow line delivers as it goes
        for start in range(0, len(data), size or len(data)):
            piece = data[start : start + (size or len(data))]
            if shape.damage and self._random.random() < shape.damage:
                piece = self._damaged(piece)
            yield piece

    def _damaged(self, piece: bytes) -> bytes:
        damaged = bytearray(piece)
        damaged[self._random.randrange(len(damaged))] ^= 1 << self._random.randrange(8)
        return bytes(damaged)
