"""Run one schedule on virtual time and say how it went."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

from simulator.testing import Network, VirtualLoop, determined
from tests.sim.broken import BrokenPromise, promise_of
from tests.sim.leaks import leaks_of, noted
from tests.sim.schedule import Schedule
from tests.sim.trace import Trace
from tests.sim.world import play as play_on_loop

__all__ = ["Failure", "collect", "play"]

TIME_LIMIT = 5_000.0
"""Seconds of virtual time that a run may take."""

STEP_LIMIT = 400_000
"""Passes of the loop that a run may make: what goes round without end is found soon (L6)."""


class Failure(NamedTuple):
    """What was broken in a run."""

    promise: str
    text: str
    leaks: tuple[str, ...] = ()
    """What was left of the client (R1, R3), if something else was broken before that came out."""


class _Loop(VirtualLoop):
    """A virtual loop that remembers its tasks, and what it was told of that nobody retrieved."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.tasks_made: list[asyncio.Task[Any]] = []
        self.complaints: list[str] = []
        make = self.get_task_factory()
        assert make is not None

        def make_and_remember(loop: Any, coro: Any, **task_options: Any) -> Any:
            task = make(loop, coro, **task_options)
            self.tasks_made.append(task)
            return task

        self.set_task_factory(make_and_remember)
        self.set_exception_handler(_complain)


def _complain(loop: Any, context: dict[str, Any]) -> None:
    loop.complaints.append(str(context.get("exception") or context["message"]))


class _Complaints(logging.Handler):
    """Takes what is logged as an error: nothing in a run may be."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        error = f": {record.exc_info[1]!r}" if record.exc_info else ""
        self.said.append(f"{record.name}: {record.getMessage()}{error}")


_loggers = [
    logging.getLogger(name) for name in ("vtrans_hybrid", "simulator", "asyncio", "aiohttp")
]


def play(schedule: Schedule, trace: Trace | None = None) -> Failure | None:
    """Run a schedule; return what it broke, or None.

    What is never retrieved, such as the exception of a task, may show only later, when the memory
    is collected: see `collect`.
    """
    trace = trace or Trace(is_on=False)
    network = Network(schedule.seed, observer=trace.carried if trace.is_on else None)
    with determined(schedule.seed, network.time), _heard() as complaints:
        loop = _Loop(
            network,
            seed=schedule.seed,
            shuffle=schedule.is_shuffled,
            time_limit=TIME_LIMIT,
            step_limit=STEP_LIMIT,
        )
        try:
            error = _run(loop, partial(play_on_loop, schedule, trace))
        finally:
            asyncio.set_event_loop(None)
        said = [*complaints.said, *loop.complaints]
    _past.append((schedule, loop.complaints, len(loop.complaints)))
    if error is not None:
        trace.note("broken:", error)
        return Failure(promise_of(error), str(error), (*leaks_of(error), *said))
    return Failure("R3", said[0]) if said else None


_past: list[tuple[Schedule, list[str], int]] = []
"""Runs whose memory was not collected yet: the complaints of each, and how many are known."""


def collect() -> list[tuple[Schedule, Failure]]:
    """Collect the memory of past runs; return those about which something complained since (R3)."""
    past, _past[:] = list(_past), []
    gc.collect()
    return [
        (schedule, Failure("R3", complaints[-1]))
        for schedule, complaints, known in past
        if len(complaints) > known
    ]


def _run(loop: _Loop, main: Callable[[], Coroutine[Any, Any, None]]) -> BaseException | None:
    """Run to the end; return what was raised. Nobody else may be left on the loop (R1)."""
    broken: BaseException | None = None
    try:
        task = loop.create_task(main())
        try:
            loop.run_until_complete(task)
        except Exception as error:
            broken = error
        left = [other for other in loop.tasks_made if not other.done()]
        if left and task.done():  # else the loop has stopped in the midst of it
            with noted(broken):
                raise BrokenPromise("R1", f"left running: {left}")
    except BrokenPromise as error:
        return error
    else:
        return broken
    finally:
        _clear(loop)
        loop.close()


def _clear(loop: _Loop) -> None:
    """Cancel what a failed run has left, so that it does not meddle with the next one."""
    left = [task for task in loop.tasks_made if not task.done()]
    for task in left:
        task.cancel()
    if left:
        try:
            loop.run_until_complete(asyncio.wait(left, timeout=10))
        except Exception as error:
            loop.complaints.append(f"it can not even be ended: {error!r}")


@contextmanager
def _heard() -> Iterator[_Complaints]:
    complaints = _Complaints()
    for logger in _loggers:
        logger.addHandler(complaints)
    try:
        yield complaints
    finally:
        for logger in _loggers:
            logger.removeHandler(complaints)
