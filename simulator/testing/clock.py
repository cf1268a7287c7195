"""A loop whose clock jumps: when nothing is ready, to the next timer.

This is the half of `VirtualLoop` that knows time and order, and nothing of networks. It has a pass
of its own instead of asyncio's, which asks a selector and the system's clock each time round: most
of a run on virtual time is passes that do little.

It is built on private parts of asyncio, which hold on CPython 3.11 to 3.13: `BaseEventLoop`, the
base of all of asyncio's loops, calls `_run_once` until it is told to stop, and keeps what is ready
in `_ready`; a timer that is cancelled tells `_timer_handle_cancelled`.
"""

import asyncio
import contextvars
import heapq
import itertools
import math
import os
import random
import types
from collections import deque
from collections.abc import Callable, Coroutine, Generator, Iterator, Sequence
from typing import Any, TypeVar, TypeVarTuple, Unpack

from simulator.testing.errors import DeadlockError, LimitError

__all__ = ["ClockLoop", "LONGEST_RUN", "START"]

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

START = 1_000.0
"""What `loop.time()` says when a loop is new, in seconds; not 0, since real clocks never do."""

LONGEST_RUN = 8e6  # seconds, 92 days: beyond it a float can not tell nanoseconds apart
RESOLUTION = 1e-9  # seconds: timers that are no further apart are due together
PASSES_AT_ONE_INSTANT = 100_000
PASSES_TO_CLEAN_UP = 10_000
SECONDS_TO_CLEAN_UP = 60.0
CANCELLED_KEPT = 50  # timers, if that is not the greater part of them
TASKS_SHOWN = 10
SPREAD = 0x9E3779B97F4A7C15  # an odd number without a pattern
ASYNCIO = os.path.dirname(asyncio.__file__)
OURS = os.path.join(os.path.dirname(os.path.dirname(__file__)), "")  # with a slash at its end


class OrderedTask(asyncio.Task[T]):
    """A task that hashes by its number, so that a set of tasks has the same order in every run."""

    def __init__(
        self,
        coro: Coroutine[Any, Any, T] | Generator[Any, None, T],
        *,
        loop: "ClockLoop",
        **options: Any,
    ) -> None:
        self.number = next(loop.task_numbers)
        super().__init__(coro, loop=loop, **options)

    def __hash__(self) -> int:
        return self.number


class ClockLoop(asyncio.BaseEventLoop):
    """An asyncio loop on virtual time, without a network.

    Args:
        seed: of `shuffle`, and of how tasks hash.
        time_limit: how many seconds of virtual time may pass, at most 8,000,000.
        step_limit: how many passes the loop may make; None means any number.
        shuffle: whether tasks that are ready together run in random order.
    """

    _closed = True  # until it is open: what asyncio asks of a loop whose constructor failed
    _debug: bool
    _stopping: bool
    _ready: deque[asyncio.Handle]

    def __init__(
        self, *, seed: int, time_limit: float, step_limit: int | None, shuffle: bool
    ) -> None:
        if not 0 < time_limit <= LONGEST_RUN:
            raise ValueError(f"time_limit must be above 0 and at most {LONGEST_RUN:,.0f} seconds.")
        self._now = START  # first: a task that is collected meanwhile asks for the time, to log it
        super().__init__()
        self._time_limit = time_limit
        self._step_limit = math.inf if step_limit is None else step_limit
        self._steps = 0
        self._steps_at_this_instant = 0
        # A number orders timers of one time, and keeps the heap from comparing handles.
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._timer_numbers = itertools.count()
        self._cancelled_timers = 0
        self._shuffle = random.Random(seed) if shuffle else None
        # Not from 0: tasks of many loops stand in asyncio's one set of all, where equal hashes are
        # gone through one by one.
        self.task_numbers = itertools.count((seed * SPREAD) % 2**56)
        self.set_task_factory(_make_task)

    @property
    def steps(self) -> int:
        """How many passes the loop has made."""
        return self._steps

    @property
    def timers(self) -> list[asyncio.TimerHandle]:
        """The timers that are set, in no order."""
        return [timer for _, _, timer in self._timers if not timer.cancelled()]

    def time(self) -> float:
        """Return the virtual time in seconds, counted from `START`."""
        return self._now

    def call_soon(
        self,
        callback: Callable[[Unpack[Ts]], object],
        *args: *Ts,
        context: contextvars.Context | None = None,
    ) -> asyncio.Handle:
        """Call in the next pass."""
        if self._debug or self._closed:
            return super().call_soon(callback, *args, context=context)  # which checks more
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    def call_later(
        self,
        delay: float,
        callback: Callable[[Unpack[Ts]], object],
        *args: *Ts,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        """Call in so many seconds."""
        return self.call_at(self._now + delay, callback, *args, context=context)

    def call_at(
        self,
        when: float,
        callback: Callable[[Unpack[Ts]], object],
        *args: *Ts,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        """Call when the clock shows `when`; in the order of calling, if there are several."""
        if self._closed:
            raise RuntimeError("Event loop is closed")
        timer: Any = asyncio.TimerHandle(when, callback, args, self, context)
        timer._scheduled = True
        heapq.heappush(self._timers, (when, next(self._timer_numbers), timer))
        handle: asyncio.TimerHandle = timer
        return handle

    def close(self) -> None:
        """Close the loop; what it has not run yet is forgotten."""
        super().close()
        self._timers.clear()

    def _run_once(self) -> None:
        """Run what is ready; if nothing is, let the clock jump to the next timer before."""
        ready, timers = self._ready, self._timers
        while timers and timers[0][2]._cancelled:
            self._take_timer()
        if not ready and not self._stopping:
            self._jump()
        self._steps += 1
        self._steps_at_this_instant += 1
        if self._steps > self._step_limit or self._steps_at_this_instant > PASSES_AT_ONE_INSTANT:
            self._refuse_to_go_on()
        due_by = self._now + RESOLUTION
        while timers and timers[0][0] < due_by:
            ready.append(self._take_timer())
        if self._shuffle is not None and len(ready) > 1:
            self._shuffle_ready_tasks(self._shuffle)
        handle: asyncio.Handle | None = None
        for _ in range(len(ready)):
            handle = ready.popleft()
            if not handle._cancelled:
                handle._run()
        # The frames in the traceback of a task lead back to this one: with the handle in it, the
        # task and its exception would keep each other alive.
        handle = None

    def _take_timer(self) -> asyncio.TimerHandle:
        timer: Any = heapq.heappop(self._timers)[2]
        timer._scheduled = False
        self._cancelled_timers -= timer._cancelled
        handle: asyncio.TimerHandle = timer
        return handle

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Drop the timers that were cancelled, once they are the greater part."""
        timer: Any = handle
        self._cancelled_timers += timer._scheduled
        if self._cancelled_timers > max(CANCELLED_KEPT, len(self._timers) // 2):
            self._timers[:] = [entry for entry in self._timers if not entry[2].cancelled()]
            heapq.heapify(self._timers)
            self._cancelled_timers = 1  # this one, which is not marked yet

    def _jump(self) -> None:
        """Move the clock to the next timer."""
        if not self._timers:
            raise DeadlockError(self._deadlock_report())
        when = self._timers[0][0]
        limit = self._time_limit
        if when - START > limit:
            self._time_limit = self._now - START + SECONDS_TO_CLEAN_UP
            summary = (
                f"The next timer is at {when - START:,.6f} s, and the limit is {limit:,.6f} s of "
                "virtual time. Something waits in vain, or time_limit must be higher."
            )
            raise LimitError("\n".join([summary, *self._waiting_tasks()]))
        if when > self._now:
            self._now = when
        self._steps_at_this_instant = 0

    def _refuse_to_go_on(self) -> None:
        if self._steps > self._step_limit:
            self._step_limit = self._steps + PASSES_TO_CLEAN_UP
            raise LimitError(f"The loop has made {self._steps:,} passes, its limit.")
        self._steps_at_this_instant -= PASSES_TO_CLEAN_UP
        raise LimitError(
            f"The clock has stood at {self._now - START:.6f} s for "
            f"{PASSES_AT_ONE_INSTANT:,} passes: some task never waits."
        )

    def _shuffle_ready_tasks(self, rng: random.Random) -> None:
        """Permute the steps of tasks; callbacks keep their places, asyncio promises their order."""
        places = [place for place, handle in enumerate(self._ready) if _task_of(handle) is not None]
        handles = [self._ready[place] for place in places]
        rng.shuffle(handles)
        for place, handle in zip(places, handles, strict=True):
            self._ready[place] = handle

    def _deadlock_report(self) -> str:
        count = len(asyncio.all_tasks(self))
        summary = (
            f"Nothing is ready and no timer is set at {self._now - START:.6f} s, so {count} "
            "task(s) would wait for ever. (A thread can not wake this loop.)"
        )
        return "\n".join([summary, *self._waiting_tasks()])

    def _waiting_tasks(self) -> list[str]:
        """Return a line for each task, but not for too many: the simulator's last, oldest first."""
        tasks = sorted(asyncio.all_tasks(self), key=lambda task: (_is_ours(task), hash(task)))
        lines = [f"  {task.get_name()} waits {_place_of(task)}" for task in tasks[:TASKS_SHOWN]]
        if len(tasks) > TASKS_SHOWN:
            lines.append(f"  and {len(tasks) - TASKS_SHOWN} more")
        return lines

    def _process_events(self, event_list: Sequence[object]) -> None:
        """Do nothing: no file is ever waited for."""

    def _write_to_self(self) -> None:
        """Do nothing: the loop never blocks, so it needs no waking."""


def _make_task(
    loop: asyncio.AbstractEventLoop,
    coro: Coroutine[Any, Any, T] | Generator[Any, None, T],
    **options: Any,
) -> OrderedTask[T]:
    assert isinstance(loop, ClockLoop)
    return OrderedTask(coro, loop=loop, **options)


def _task_of(handle: asyncio.Handle) -> asyncio.Task[Any] | None:
    """Return the task that a handle would step."""
    owner = getattr(getattr(handle, "_callback", None), "__self__", None)
    return owner if isinstance(owner, asyncio.Task) else None


def _frames(task: asyncio.Task[Any]) -> Iterator[types.FrameType]:
    """Yield the frames in which a waiting task stands, the innermost last."""
    coro: Any = task.get_coro()
    while coro is not None:
        frame = getattr(coro, "cr_frame", None)
        if frame is not None:
            yield frame
        coro = getattr(coro, "cr_await", None)


def _is_ours(task: asyncio.Task[Any]) -> bool:
    """Tell whether a task stands in nothing but the simulator, and asyncio."""
    return all(frame.f_code.co_filename.startswith((OURS, ASYNCIO)) for frame in _frames(task))


def _place_of(task: asyncio.Task[Any]) -> str:
    """Say where a waiting task stands: in the innermost coroutine that is not asyncio's own."""
    place = f"in {task.get_coro()!r}"
    is_own = False
    for frame in _frames(task):
        is_asyncio = frame.f_code.co_filename.startswith(ASYNCIO)
        if not (is_own and is_asyncio):
            place = f"at {frame.f_code.co_filename}:{frame.f_lineno} in {frame.f_code.co_qualname}"
            is_own = not is_asyncio
    return place
