"""Callbacks: in order, never twice at once for one job, and many jobs to one callback."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable, Coroutine, Hashable
from functools import partial, update_wrapper
from types import MethodType
from typing import NoReturn, overload
from weakref import WeakValueDictionary

import anyio
import anyio.to_thread

from vtrans_hybrid.driver import Driver
from vtrans_hybrid.errors import ClientClosed, VtransError
from vtrans_hybrid.mailbox import Latest
from vtrans_hybrid.merge import Watcher
from vtrans_hybrid.models import JobStatus

__all__ = ["Callback", "Callbacks", "ErrorCallback", "Registration", "Subscriber"]

logger = logging.getLogger("vtrans_hybrid.client")

Callback = Callable[[JobStatus], object]
"""What `on_update` takes: called with each status; what it returns is awaited if it can be."""

ErrorCallback = Callable[[Exception, JobStatus | None], object]
"""What `on_error` takes: the error, and the status whose callback raised it, if it was one. What it
returns is awaited if it can be."""


class Registration:
    """Ends a callback when it is called without an argument. Made by `AsyncClient.on_update`.

    Called with a status it is the callback. So whoever writes `@client.on_update` above a function,
    and thereby puts this in its place, has not lost the function.

    Args:
        callback: What is called with each status.
        end: Ends that.
    """

    def __init__(self, callback: Callback, end: Callable[[], None]) -> None:
        self._callback = callback
        self._end = end
        update_wrapper(self, callback, updated=())

    @overload
    def __call__(self) -> None: ...

    @overload
    def __call__(self, status: JobStatus) -> object: ...

    def __call__(self, status: JobStatus | None = None) -> object:
        """End the callback; or, with a status, do what it does and return what it returns."""
        return self._end() if status is None else self._callback(status)


class Callbacks:
    """The callbacks of a client.

    Args:
        driver: Tells them what happens.
        on_error: What to call with their exceptions; None logs them.
    """

    def __init__(self, driver: Driver, on_error: ErrorCallback | None) -> None:
        self._driver = driver
        self._on_error = on_error
        self._shared: WeakValueDictionary[Hashable, Subscriber] = WeakValueDictionary()

    def make(self, callback: Callback, *, threaded: bool = False) -> Subscriber:
        """Return what calls back."""
        spawn = self._driver.supervisor.spawn_callback
        return Subscriber(callback, self._on_error, spawn, threaded=threaded)

    def listen(self, callback: Callback, *, threaded: bool = False) -> Callable[[], None]:
        """Call back for every job that is watched; return what ends that."""
        subscriber = self.make(callback, threaded=threaded)
        self._driver.listeners += (subscriber.put,)
        return partial(self._stop_listening, subscriber)

    def follow(
        self, callback: Callback, job_id: str, *, threaded: bool = False
    ) -> Callable[[], None]:
        """Call back for one job; return what ends that, once.

        Jobs with the same callback share a subscriber: there may be a hundred thousand of them.
        """
        key = (_key_of(callback), threaded)
        subscriber = self._shared.get(key)
        if subscriber is None or not (
            subscriber.takes(job_id) and self._driver.join(subscriber, job_id)
        ):
            subscriber = self._shared[key] = self.make(callback, threaded=threaded)
            self._driver.join(subscriber, job_id)
        return partial(self._leave, [subscriber], job_id)

    def _leave(self, registration: list[Subscriber], job_id: str) -> None:
        if not self._driver.is_inside:
            self._driver.call_later(partial(self._leave, registration, job_id))
            return
        if not registration:
            return  # the same callback may follow the job anew by now
        subscriber = registration.pop()
        subscriber.leave(job_id)
        self._driver.detach(subscriber, job_id)
        # By then nothing is on its way any more.
        self._driver.call_later(partial(subscriber.rejoin, job_id))

    def _stop_listening(self, subscriber: Subscriber) -> None:
        subscriber.stop()
        driver = self._driver
        driver.listeners = tuple(each for each in driver.listeners if each != subscriber.put)


class Subscriber(Watcher):
    """Calls back: in order and never twice at once for one job, whatever the callback does.

    A plain function is called from the event loop, so it must be quick; `threaded` hands it to a
    worker thread. What a callback returns is awaited if it can be. Statuses of a job that arrive
    while its callback runs coalesce into the newest.

    Args:
        callback: What to call.
        on_error: What to call with an exception of the callback; None logs it.
        spawn: Runs a coroutine function in the background.
        threaded: Whether to call in a worker thread.

    Raises:
        TypeError: It cannot be called, or not in a thread.
    """

    __slots__ = (
        "__weakref__",
        "_busy",
        "_callback",
        "_is_idle",
        "_is_over",
        "_left",
        "_on_error",
        "_spawn",
        "_threaded",
    )

    def __init__(
        self,
        callback: Callback,
        on_error: ErrorCallback | None,
        spawn: Callable[[Callable[[], Coroutine[object, object, None]]], None],
        *,
        threaded: bool = False,
    ) -> None:
        if not callable(callback):
            raise TypeError(f"a callback is a function of a status, not {callback!r:.100}")
        if threaded and inspect.iscoroutinefunction(callback):
            raise TypeError("an asynchronous callback runs in the event loop: leave out `threaded`")
        self._callback = callback
        self._on_error = on_error
        self._spawn = spawn
        self._threaded = threaded
        self._busy: dict[str, Latest] = {}
        self._is_idle: anyio.Event | None = None
        self._is_over = False
        self._left: set[str] = set()

    def put(self, status: JobStatus) -> None:
        """Call back, or keep the status until the callback that runs has ended."""
        if self._is_over or status.job_id in self._left:
            return
        if self._busy and (unread := self._busy.get(status.job_id)) is not None:
            unread.put(status)
            return
        pending = self._call(status)
        if pending is not None:
            self._busy[status.job_id] = Latest()
            self._spawn(lambda: self._drain(status, pending))

    def fail(self, job_id: str | None, error: VtransError) -> None:  # noqa: ARG002  # in the error
        """Report that a job cannot be followed; that the client was closed is no news."""
        if not isinstance(error, ClientClosed):
            self._report(error, None)

    def finish(self) -> None:
        """Nothing to do: the last status was final, and was called back."""

    def stop(self) -> None:
        """Call back no more; a callback that runs goes on to its end."""
        self._is_over = True

    def leave(self, job_id: str) -> None:
        """Call back no more for one job, with what is on its way already either."""
        self._left.add(job_id)
        if job_id in self._busy:
            self._busy[job_id] = Latest()

    def takes(self, job_id: str) -> bool:
        """Tell whether a job may be joined: not while something from before is on its way."""
        return job_id not in self._left

    def rejoin(self, job_id: str) -> None:
        """Call back for a job again that was left."""
        self._left.discard(job_id)

    async def drained(self) -> None:
        """Wait until no callback runs."""
        while self._busy:
            self._is_idle = anyio.Event()
            await self._is_idle.wait()

    def _call(self, status: JobStatus) -> Awaitable[object] | None:
        """Call back; return what has to be awaited."""
        if self._threaded:
            return anyio.to_thread.run_sync(self._callback, status, abandon_on_cancel=True)
        try:
            result = self._callback(status)
        except (Exception, asyncio.CancelledError) as error:
            self._report(error, status)
            return None
        except (SystemExit, KeyboardInterrupt) as error:
            # Out of a task group they would come as a group of exceptions, and end nothing else.
            asyncio.get_running_loop().call_soon(_raise, error)
            return None
        return result if result is not None and inspect.isawaitable(result) else None

    async def _drain(self, status: JobStatus, pending: Awaitable[object] | None) -> None:
        job_id = status.job_id
        try:
            while True:
                if pending is not None:
                    await self._end_of(pending, status)
                unread = self._busy[job_id]
                if not unread or self._is_over:
                    return
                status = unread.pop()
                pending = self._call(status)
        finally:
            del self._busy[job_id]
            if not self._busy and self._is_idle is not None:
                self._is_idle.set()

    async def _end_of(self, pending: Awaitable[object], status: JobStatus) -> None:
        """Wait until a callback has ended, and report its failure."""
        try:
            await pending
        except (Exception, asyncio.CancelledError) as error:
            is_cancelled = _is_being_cancelled()
            if not (is_cancelled and isinstance(error, asyncio.CancelledError)):
                self._report(error, status)
            if is_cancelled:
                raise asyncio.CancelledError from error

    def _report(self, error: Exception | asyncio.CancelledError, status: JobStatus | None) -> None:
        if isinstance(error, asyncio.CancelledError):
            cause, error = error, RuntimeError("a callback waited for a task that was cancelled")
            error.__cause__ = cause
        if self._on_error is None:
            what = "a callback failed" if status is not None else "a job cannot be followed"
            logger.error("%s: %s", what, error, exc_info=error)
            return
        try:
            result = self._on_error(error, status)
        except Exception:
            logger.exception("on_error failed")
            return
        if inspect.isawaitable(result):
            self._spawn(partial(_finish_report, result))


def _raise(error: BaseException) -> NoReturn:
    raise error


async def _finish_report(result: Awaitable[object]) -> None:
    try:
        await result
    except Exception:
        logger.exception("on_error failed")


def _key_of(callback: Callback) -> Hashable:
    """Return what is the same for the same callback, as long as it lives.

    A method is another object each time it is taken from its own. Equality would not do, for it is
    up to the callback's class.
    """
    if isinstance(callback, MethodType):
        return id(callback.__self__), id(callback.__func__)
    return id(callback)


def _is_being_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
