"""An asyncio loop on virtual time.

Timers cost nothing: when nothing is ready, the clock jumps to the next timer. A sleep of ten
minutes takes microseconds, and every run with the same seed is the same run.

What is built on private parts of asyncio, and why it holds on CPython 3.11 to 3.13:
`BaseEventLoop` is the base of all of asyncio's loops; it leaves `_selector.select(timeout)`,
`_process_events` and `_write_to_self` to its subclasses, keeps its timers as a heap in `_scheduled`
and what is ready in `_ready`. tests/simulator/testing/test_loop.py pins what is relied on.

Threads are refused: one that finishes "later" can not be put on a virtual clock.
"""

import asyncio
import itertools
import math
import random
import socket
import ssl as ssl_module
import weakref
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any, Never, TypeVar

from simulator.testing.connection import Address
from simulator.testing.errors import DeadlockError, LimitError, UnsupportedError
from simulator.testing.listener import Listener, ProtocolFactory
from simulator.testing.network import Network
from simulator.testing.transport import Link, Tls

__all__ = ["START", "VirtualLoop"]

T = TypeVar("T")

START = 1_000.0
"""What `loop.time()` says when a loop is new, in seconds; not 0, since no machine starts at 0."""

FURTHEST = 8e6  # seconds, 92 days: beyond it a float can not tell nanoseconds apart
PASSES_AT_ONE_INSTANT = 100_000
TASKS_SHOWN = 10

AddressInfo = tuple[socket.AddressFamily, socket.SocketKind, int, str, tuple[str, int]]


class OrderedTask(asyncio.Task[T]):
    """A task that hashes by its number, so that a set of tasks has the same order in every run."""

    def __init__(
        self, coro: Coroutine[Any, Any, T], *, loop: "VirtualLoop", **options: Any
    ) -> None:
        self._number = next(loop.task_numbers)
        super().__init__(coro, loop=loop, **options)

    def __hash__(self) -> int:
        return self._number


class JumpingSelector:
    """Stands where asyncio waits for files: it moves the clock instead of waiting."""

    def __init__(self, jump: Callable[[float | None], None]) -> None:
        self._jump = jump

    def select(self, timeout: float | None) -> tuple[()]:
        """Let `timeout` seconds pass; None means that nothing will ever happen."""
        self._jump(timeout)
        return ()


class VirtualLoop(asyncio.BaseEventLoop):
    """An asyncio loop whose clock jumps and whose network is in memory.

    Real clients and servers run on it unmodified: aiohttp, websockets, anyio, asyncio streams, and
    TLS. `run_in_executor`, subprocesses, files to wait for, signals and datagrams do not.

    Args:
        network: carries the connections; None means a new `Network` with `seed`.
        seed: of the network that is made if none is given, and of `shuffle`.
        time_limit: how many seconds of virtual time may pass.
        step_limit: how many passes the loop may make; None means any number.
        shuffle: whether tasks that are ready together run in random order; asyncio promises none,
            and code that depends on it breaks here first.
    """

    _selector: JumpingSelector
    _clock_resolution: float
    _ready: deque[asyncio.Handle]
    _scheduled: list[asyncio.TimerHandle]

    def __init__(
        self,
        network: Network | None = None,
        *,
        seed: int = 0,
        time_limit: float = FURTHEST,
        step_limit: int | None = None,
        shuffle: bool = False,
    ) -> None:
        if not 0 < time_limit <= FURTHEST:
            raise ValueError(f"time_limit must be above 0 and at most {FURTHEST:.0f} seconds.")
        super().__init__()
        self._selector = JumpingSelector(self._jump)
        self._clock_resolution = 1e-9
        self._now = START
        self._end = START + time_limit
        self._step_limit = math.inf if step_limit is None else step_limit
        self._steps = 0
        self._steps_at_this_instant = 0
        self._shuffle = random.Random(seed) if shuffle else None
        self._dialled: weakref.WeakKeyDictionary[socket.socket, Link] = weakref.WeakKeyDictionary()
        self.task_numbers = itertools.count()
        self.set_task_factory(OrderedTask[Any]._make)
        self.network = Network(seed) if network is None else network
        self.network.attach(self)
