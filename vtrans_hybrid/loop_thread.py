"""A thread with an event loop, and the way into it: what `Client` crosses with every call."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from threading import Lock, Thread, current_thread
from typing import TypeVar

import anyio
from anyio import from_thread

from vtrans_hybrid.errors import ClientClosed

__all__ = ["LoopThread"]

_T = TypeVar("_T")

_FORKED = "a client does not survive a fork: make another in this process"


class LoopThread:
    """A thread that runs an event loop, and the way into it."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._is_closed = False
        self._pid = os.getpid()
        self._leaving: asyncio.Task[None] | None = None
        begun: Future[None] = Future()
        # A daemon: a client that nobody has closed must not keep the program from ending.
        self._thread = Thread(target=self._run, args=(begun,), name="vtrans-hybrid", daemon=True)
        self._thread.start()
        begun.result()

    @property
    def is_inside(self) -> bool:
        """Whether the caller runs in the loop, as a plain callback does."""
        return current_thread() is self._thread

    @property
    def is_closed(self) -> bool:
        """Whether the loop has ended, or this is a forked process, where it never ran."""
        return self._is_closed or os.getpid() != self._pid

    def call(self, function: Callable[[], Awaitable[_T]]) -> _T:
        """Run a coroutine function in the loop and return its result.

        Raises:
            ClientClosed: The loop has ended.
            RuntimeError: The caller is the loop itself, which would wait for itself for ever, or a
                forked process, where the loop does not run.
        """
        self._check_not_inside()
        try:
            future = self._portal.start_task_soon(function)
        except RuntimeError as error:
            raise ClientClosed from error
        try:
            return future.result()
        except CancelledError as error:
            raise ClientClosed from error  # a callback has ended the loop, by SystemExit
        except BaseException:
            future.cancel()  # no effect, unless it was we who were interrupted
            raise

    def close(self, last: Callable[[], Awaitable[None]]) -> None:
        """Run a last coroutine function, then end the loop and the thread; once.

        Raises:
            RuntimeError: The caller is a callback, which the end would wait for.
        """
        self._check_not_inside()
        if self._is_worker():
            raise RuntimeError("a callback must not close the client that runs it")
        with self._lock:
            if self._is_closed:
                return
            try:
                self.call(last)
            finally:
                self._is_closed = True
                with suppress(RuntimeError):  # the loop has ended by itself
                    self._portal.call(self._portal.stop)
                self._thread.join()

    def tell(self, function: Callable[[], object]) -> None:
        """Call a function in the loop, without waiting for it. Safe from any thread.

        Raises:
            ClientClosed: The loop has ended, or this is a forked process, where it does not run.
        """
        if os.getpid() != self._pid:
            raise ClientClosed(_FORKED)
        if self.is_closed:
            raise ClientClosed("the client is closed")
        try:
            self._loop.call_soon_threadsafe(function)
        except RuntimeError as error:
            raise ClientClosed("the client is closed") from error

    def abandon(self, last: Callable[[], Awaitable[None]]) -> None:
        """Do as `close` does without waiting. Safe at any moment, from any thread."""
        self._is_closed = True
        with suppress(RuntimeError):  # the loop has ended by itself
            self._loop.call_soon_threadsafe(self._leave, last)

    def _run(self, begun: Future[None]) -> None:
        try:
            anyio.run(self._serve, begun)
        except BaseException as error:
            if begun.done():
                raise
            begun.set_exception(error)

    async def _serve(self, begun: Future[None]) -> None:
        self._loop = asyncio.get_running_loop()
        async with from_thread.BlockingPortal() as self._portal:
            begun.set_result(None)
            await self._portal.sleep_until_stopped()

    def _leave(self, last: Callable[[], Awaitable[None]]) -> None:
        async def leave() -> None:
            try:
                await last()
            finally:
                await self._portal.stop()

        self._leaving = asyncio.ensure_future(leave())

    def _check_not_inside(self) -> None:
        if os.getpid() != self._pid:
            raise RuntimeError(_FORKED)
        if self.is_inside:
            raise RuntimeError(
                "a callback must not call the client that runs it: use on_update(threaded=True), "
                "or AsyncClient"
            )

    def _is_worker(self) -> bool:
        """Whether the caller is a worker thread of our loop, as a `threaded` callback is."""
        try:
            return from_thread.run_sync(current_thread) is self._thread
        except RuntimeError:
            return False
