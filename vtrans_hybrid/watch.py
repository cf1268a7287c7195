"""What the application holds: an iterator of statuses."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Generator
from copy import copy
from functools import partial
from types import TracebackType
from typing import Self

import anyio
import anyio.to_thread

from vtrans_hybrid.callbacks import Subscriber
from vtrans_hybrid.driver import Driver
from vtrans_hybrid.errors import JobFailed, VtransError, WatchTimeout
from vtrans_hybrid.mailbox import Every, Latest
from vtrans_hybrid.merge import Watcher
from vtrans_hybrid.models import FINAL, JobStatus

__all__ = ["Watch", "check_result"]

logger = logging.getLogger("vtrans_hybrid.client")


class Watch:
    """Asynchronous iterator over the statuses of one or more jobs. Made by `AsyncClient.watch`.

    Use it in any of three ways: `async for status in watch`, `await watch` for the final status, or
    `async with watch` around either. Leaving the loop early needs no clean-up; `aclose` is there
    for those who want it at a certain moment. The following begins, and the timeout starts to run,
    at the first use.

    Iteration ends after the final status of the last job. A job that cannot be followed raises its
    error: at once for a watch of one job, after all others have ended for a watch of many.

    Raises:
        WatchTimeout: The timeout passed.
        JobNotFound: The server does not know the job.
        JobLost: The server no longer knows the job.
        AuthError: The API key is missing or wrong.
        ClientClosed: The client was closed.
    """

    def __init__(
        self,
        driver: Driver,
        find_jobs: Callable[[], Awaitable[tuple[str, ...]]],
        *,
        mode: str = "latest",
        timeout: float | None = None,
        finals_only: bool = False,
        subscriber: Subscriber | None = None,
    ) -> None:
        self._driver = driver
        self._find_jobs = find_jobs
        self._wants_all = mode == "all"
        self._timeout = timeout
        self._deadline: float | None = None
        self._subscriber = subscriber
        self._inbox = _Inbox(mode == "all", finals_only, subscriber)
        self._is_attached = False
        self._is_over = False
        self._is_waiting = False

    @property
    def errors(self) -> dict[str, VtransError]:
        """Why jobs could not be followed, by job id; empty while all can be."""
        return dict(self._inbox.errors)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> JobStatus:
        if self._is_waiting:
            raise RuntimeError("this watch is being read by another task already")
        self._is_waiting = True
        try:
            status = await self._next()
        finally:
            self._is_waiting = False
        if status is None:
            raise StopAsyncIteration
        return status

    def __await__(self) -> Generator[None, None, JobStatus]:
        return self._last().__await__()

    async def __aenter__(self) -> Self:
        await self._attach()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    def __del__(self) -> None:
        if self._is_attached and not self._is_over:
            # The collector may run in any thread, and in ours even in the middle of the core.
            self._driver.call_later(partial(self._driver.detach, self._inbox))

    async def aclose(self) -> None:
        """Stop following; iteration ends. The jobs go on at the server."""
        if self._subscriber is not None:
            self._subscriber.stop()
        if not self._is_over:
            self._end()
            self._inbox.finish()

    async def _next(self) -> JobStatus | None:
        await self._attach()
        inbox = self._inbox
        while not self._is_over:
            if inbox.unread:
                return inbox.unread.pop()
            if inbox.is_finished:
                await self._drained()
                self._end()
                inbox.raise_error()
                break
            await inbox.wait()
        return None

    async def _drained(self) -> None:
        """Wait for the callbacks of this watch, but not beyond its timeout."""
        if self._subscriber is not None:
            with anyio.CancelScope(deadline=self._give_up_at()):
                await self._subscriber.drained()

    async def _last(self) -> JobStatus:
        last = None
        try:
            async for status in self:
                last = status
        finally:
            await self.aclose()
        if last is None:
            raise RuntimeError("no status came: this watch has no job, or was over already")
        return last

    async def _attach(self) -> None:
        if self._is_attached or self._is_over:
            return
        self._is_attached = True
        try:
            with anyio.CancelScope(deadline=self._give_up_at()) as scope:
                job_ids = await self._find_jobs()
            if scope.cancelled_caught:
                raise WatchTimeout(f"it is not known after {self._timeout:g} s which job to watch")
            if not self._is_over:  # it may have been closed meanwhile
                left = max(0.0, self._give_up_at() - anyio.current_time())
                timeout = None if left == math.inf else left
                self._driver.attach(
                    self._inbox, job_ids, wants_all=self._wants_all, timeout=timeout
                )
        except Exception:
            self._is_over = True
            self._inbox.finish()
            raise
        except BaseException:
            self._is_attached = False  # cancelled, so the next use asks again
            raise

    def _give_up_at(self) -> float:
        """Return the monotonic time in seconds at which the timeout passes, from the first use."""
        if self._deadline is None:
            timeout = math.inf if self._timeout is None else self._timeout
            self._deadline = anyio.current_time() + timeout
        return self._deadline

    def _end(self) -> None:
        self._is_over = True
        self._driver.detach(self._inbox)


class _Inbox(Watcher):
    """Where the driver puts what a `Watch` reads.

    A separate object, so that the driver does not keep alive a watch that nobody reads any more.
    """

    __slots__ = (
        "_finals_only",
        "_is_trim_planned",
        "_subscriber",
        "_waiter",
        "errors",
        "failure",
        "is_finished",
        "unread",
    )

    def __init__(self, wants_all: bool, finals_only: bool, subscriber: Subscriber | None) -> None:
        self.unread: Latest | Every = Every() if wants_all else Latest()
        self.errors: dict[str, VtransError] = {}
        self.failure: VtransError | None = None
        self.is_finished = False
        self._finals_only = finals_only
        self._is_trim_planned = False
        self._subscriber = subscriber
        self._waiter: asyncio.Future[None] | None = None

    def put(self, status: JobStatus) -> None:
        if self._subscriber is not None:
            self._subscriber.put(status)
        if not self._finals_only or status.state in FINAL:
            if self.unread.put(status) and not self._is_trim_planned:
                self._trim_later()
            self._wake()

    def fail(self, job_id: str | None, error: VtransError) -> None:
        if job_id is None:
            self.failure = error
            self.finish()
        else:
            self.errors[job_id] = error

    def finish(self) -> None:
        self.is_finished = True
        self._wake()

    async def wait(self) -> None:
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def raise_error(self) -> None:
        """Raise what went wrong, if anything did."""
        if self.failure is not None:
            raise _own(self.failure)
        if not self.errors:
            return
        first, *others = dict.fromkeys(self.errors.values())
        mine = _own(first)
        for error in others[:20]:
            mine.add_note(f"also: {error}")
        raise mine

    def _trim_later(self) -> None:
        """Keep the bound once the reader has had its turn: it runs in the next pass of the loop."""
        self._is_trim_planned = True
        loop = asyncio.get_running_loop()
        loop.call_soon(loop.call_soon, self._trim)

    def _trim(self) -> None:
        self._is_trim_planned = False
        self.unread.trim()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


def _own(error: VtransError) -> VtransError:
    """Return a copy. An error that many watches raise would gather all their frames and notes."""
    mine = copy(error)
    mine.__cause__ = error.__cause__
    if notes := getattr(error, "__notes__", None):
        mine.__notes__ = list(notes)  # the copy is shallow
    return mine


def check_result(status: JobStatus) -> JobStatus:
    """Return a final status that is completed.

    Raises:
        JobFailed: It is another one.
    """
    if status.ok:
        return status
    why = status.error
    said = f": {why.message or why.code}" if why is not None else ""
    raise JobFailed(f"job {status.job_id} ended as {status.state}{said}", job_status=status)
