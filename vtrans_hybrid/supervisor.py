"""The one task that owns all others of a client: they are started in it, and end with it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine

import anyio
from anyio.abc import TaskGroup

__all__ = ["Supervisor"]

_CLOSE_TIMEOUT = 0.1
"""Seconds for our tasks to end at close."""


class Supervisor:
    """Owns the task group of a client.

    Args:
        on_end: Called as its task ends, whatever ends it.
        on_failure: Called with what a task of the client failed with.
    """

    def __init__(self, on_end: Callable[[], None], on_failure: Callable[[Exception], None]) -> None:
        self.closing = asyncio.Event()
        """Set once nothing goes on any more but callbacks that are under way."""
        self._on_end = on_end
        self._on_failure = on_failure
        self._task: asyncio.Task[None] | None = None
        self._waiting: list[Callable[[], Coroutine[object, object, None]]] = []
        self._has_waiting = asyncio.Event()
        self._callbacks = 0
        self._patience = 0.0

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin: from now on, what is spawned is started."""
        self._task = loop.create_task(self._supervise(), name="vtrans-hybrid")

    def spawn(self, function: Callable[[], Coroutine[object, object, None]]) -> None:
        """Run a coroutine function in the task group of the client.

        The supervisor starts it: where the package sniffio is installed, anyio starts nothing
        outside of a task, and the core asks for much when a timer rings.
        """
        self._waiting.append(function)
        self._has_waiting.set()

    def spawn_callback(self, function: Callable[[], Coroutine[object, object, None]]) -> None:
        """Run a coroutine function for which the end may wait a while; see `wait`."""

        async def run() -> None:
            try:
                await function()
            finally:
                self._callbacks -= 1
                self._has_waiting.set()

        self._callbacks += 1
        self.spawn(run)

    def end(self) -> None:
        """Let every task end, callbacks after the patience that `wait` has for them."""
        self.closing.set()
        self._has_waiting.set()

    async def wait(self, patience: float) -> None:
        """Wait, after `end`, for callbacks that are under way; `patience` is in seconds."""
        self._patience = patience
        if self._task is not None and patience:
            await asyncio.wait([self._task], timeout=patience)

    async def cancel(self) -> None:
        """End at once, patient or not; wait a moment for the tasks to let go of what they hold."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task], timeout=_CLOSE_TIMEOUT)

    async def _supervise(self) -> None:
        try:
            async with anyio.create_task_group() as tasks:
                try:
                    await self._start_all(tasks)
                finally:
                    self._on_end()
                    # What waits is started to be cancelled: it may have to let go of something.
                    self._start_waiting(tasks)
                    tasks.cancel_scope.cancel()
        except Exception as error:
            self._on_failure(error)

    async def _start_all(self, tasks: TaskGroup) -> None:
        """Start whatever is spawned, until the end; then be patient with callbacks."""
        self._start_waiting(tasks)
        while not self.closing.is_set():
            await self._has_waiting.wait()
            self._start_waiting(tasks)
        with anyio.move_on_after(self._patience):
            while self._callbacks:
                await self._has_waiting.wait()
                self._start_waiting(tasks)

    def _start_waiting(self, tasks: TaskGroup) -> None:
        self._has_waiting.clear()
        waiting, self._waiting = self._waiting, []
        for function in waiting:
            tasks.start_soon(self._run, function)

    async def _run(self, function: Callable[[], Coroutine[object, object, None]]) -> None:
        try:
            await function()
        except Exception as error:
            # Said before the others are cancelled for it, which would say something else.
            self._on_failure(error)
