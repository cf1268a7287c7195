"""The same client without `await`, for scripts and threads.

There is no logic here: an event loop runs in a thread of its own, and each call waits for its
counterpart in `AsyncClient`. Crossing over costs about a tenth of a millisecond. Any number of
threads may share one client. A call that is interrupted, by Ctrl-C for instance, ends on the other
side as well.
"""

from __future__ import annotations

import asyncio
import os
import warnings
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from threading import Lock, Thread, current_thread
from types import TracebackType
from typing import Self, TypeVar, overload

import anyio
from anyio import from_thread

from vtrans_hybrid.arguments import ids_of
from vtrans_hybrid.callbacks import Callback, ErrorCallback, Registration
from vtrans_hybrid.client import AsyncClient, Mode, Stats, TransportChoice
from vtrans_hybrid.dialect import Dialect
from vtrans_hybrid.endpoints import BlockingEndpoints
from vtrans_hybrid.errors import ClientClosed, VtransError
from vtrans_hybrid.models import Job, JobStatus
from vtrans_hybrid.policy import PollPolicy, RetryPolicy
from vtrans_hybrid.transport import NetworkOptions
from vtrans_hybrid.watch import Watch

__all__ = ["BlockingWatch", "Client"]

_T = TypeVar("_T")


class _LoopThread:
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
                self._portal.call(self._portal.stop)
                self._thread.join()

    def tell(self, function: Callable[[], object]) -> None:
        """Call a function in the loop, without waiting for it. Safe from any thread.

        Raises:
            ClientClosed: The loop has ended.
        """
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
            raise RuntimeError("a client does not survive a fork: make another in this process")
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


class BlockingWatch:
    """Iterator over the statuses of one or more jobs. Made by `Client.watch`; see `Watch`."""

    def __init__(self, client: Client, thread: _LoopThread, watch: Watch) -> None:
        self._client = client  # which would be closed if nobody held it
        self._thread = thread
        self._watch = watch

    @property
    def errors(self) -> dict[str, VtransError]:
        """Why jobs could not be followed, by job id."""
        return self._watch.errors

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> JobStatus:
        status = self._thread.call(self._next)
        if status is None:
            raise StopIteration
        return status

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop following; iteration ends. Harmless after the end of the client."""
        with suppress(ClientClosed):
            self._thread.call(self._watch.aclose)

    async def _next(self) -> JobStatus | None:
        # StopAsyncIteration cannot travel through the future that carries the result.
        return await anext(self._watch, None)


class Client:
    """Orders video translations and follows them; `AsyncClient` without `await`.

    The arguments are those of `AsyncClient`. Callbacks run in the thread of the event loop, unless
    `threaded=True`. Use `with`, or call `close` at the end: the loop's thread lives until then. A
    client that is dropped without is closed all the same, with a `ResourceWarning`.
    """

    def __init__(
        self,
        base_url: str | None = None,
        *,
        api_key: str | None = None,
        dialect: Dialect | None = None,
        transport: TransportChoice = "auto",
        poll: PollPolicy = PollPolicy(),
        retry: RetryPolicy = RetryPolicy(),
        timeout: float | None = None,
        on_update: Callback | None = None,
        on_error: ErrorCallback | None = None,
        options: NetworkOptions = NetworkOptions(),
    ) -> None:
        self._client = AsyncClient(
            base_url,
            api_key=api_key,
            dialect=dialect,
            transport=transport,
            poll=poll,
            retry=retry,
            timeout=timeout,
            on_update=on_update,
            on_error=on_error,
            options=options,
        )
        self._thread = _LoopThread()

    def __repr__(self) -> str:
        return repr(self._client).replace("AsyncClient", "Client")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._thread.close(partial(self._client.__aexit__, exc_type, exc_value, traceback))

    def __del__(self) -> None:
        thread = getattr(self, "_thread", None)  # None if the arguments made no sense
        if thread is not None and not thread.is_closed:
            thread.abandon(self._client.aclose)
            warnings.warn(f"unclosed {self!r}", ResourceWarning, stacklevel=2, source=self)

    def submit(
        self, video: str, *, language: str, timeout: float | None = None, **options: object
    ) -> Job:
        """Order the translation of a video into one language; see `AsyncClient.submit`."""
        return self._thread.call(
            partial(self._client.submit, video, language=language, timeout=timeout, **options)
        )

    def submit_all(
        self,
        video: str,
        *,
        languages: Iterable[str],
        timeout: float | None = None,
        **options: object,
    ) -> list[Job]:
        """Order translations into several languages; see `AsyncClient.submit_all`."""
        return self._thread.call(
            partial(self._client.submit_all, video, languages=languages, timeout=timeout, **options)
        )

    def cancel(self, job: Job | str, *, timeout: float | None = None) -> JobStatus:
        """Cancel a job and return its status; see `AsyncClient.cancel`."""
        return self._thread.call(partial(self._client.cancel, job, timeout=timeout))

    def job(self, job_id: str) -> Job:
        """Take up a job again whose id is known. No request is made."""
        return self._client.job(job_id)

    def watch(
        self,
        job: Job | str | None = None,
        *,
        mode: Mode = "latest",
        timeout: float | None = None,
        on_update: Callback | None = None,
    ) -> BlockingWatch:
        """Follow a job: an iterator of its statuses; see `AsyncClient.watch`."""
        watch = self._client.watch(job, mode=mode, timeout=timeout, on_update=on_update)
        return BlockingWatch(self, self._thread, watch)

    def watch_all(
        self,
        jobs: Iterable[Job | str],
        *,
        mode: Mode = "latest",
        timeout: float | None = None,
        on_update: Callback | None = None,
    ) -> BlockingWatch:
        """Follow many jobs with one iterator; see `AsyncClient.watch_all`."""
        watch = self._client.watch_all(jobs, mode=mode, timeout=timeout, on_update=on_update)
        return BlockingWatch(self, self._thread, watch)

    def as_completed(
        self, jobs: Iterable[Job | str], *, timeout: float | None = None
    ) -> BlockingWatch:
        """Iterate over the final status of each job as it comes; see `AsyncClient.as_completed`."""
        return BlockingWatch(self, self._thread, self._client.as_completed(jobs, timeout=timeout))

    def wait(
        self,
        job: Job | str | None = None,
        *,
        timeout: float | None = None,
        on_update: Callback | None = None,
        cancel_on_timeout: bool = False,
    ) -> JobStatus:
        """Return the final status of a job, whatever it is; see `AsyncClient.wait`."""
        return self._thread.call(
            partial(
                self._client.wait,
                job,
                timeout=timeout,
                on_update=on_update,
                cancel_on_timeout=cancel_on_timeout,
            )
        )

    def result(
        self,
        job: Job | str | None = None,
        *,
        timeout: float | None = None,
        on_update: Callback | None = None,
        cancel_on_timeout: bool = False,
    ) -> JobStatus:
        """Return the final status of a job that is completed; see `AsyncClient.result`."""
        return self._thread.call(
            partial(
                self._client.result,
                job,
                timeout=timeout,
                on_update=on_update,
                cancel_on_timeout=cancel_on_timeout,
            )
        )

    @overload
    def on_update(
        self, callback: Callback, job: Job | str | None = None, *, threaded: bool = False
    ) -> Registration: ...

    @overload
    def on_update(
        self, callback: None = None, job: Job | str | None = None, *, threaded: bool = False
    ) -> Callable[[Callback], Callback]: ...

    def on_update(
        self,
        callback: Callback | None = None,
        job: Job | str | None = None,
        *,
        threaded: bool = False,
    ) -> Registration | Callable[[Callback], Callback]:
        """Call back with each update, in the loop's thread; see `AsyncClient.on_update`."""
        if callback is None:
            return partial(self._decorate, job=job, threaded=threaded)
        end = self._thread.call(partial(self._on_update, callback, job, threaded))
        return Registration(callback, partial(self._end, end))

    def announced(self, jobs: Iterable[Job | str]) -> None:
        """Say that jobs have news, without waiting; see `AsyncClient.announced`."""
        self._thread.tell(partial(self._announced, tuple(ids_of(jobs))))

    def endpoints(self) -> BlockingEndpoints:
        """Return what manages the addresses that the server sends webhooks to. No request."""
        return BlockingEndpoints(self._client.endpoints(), self._thread.call)

    def status(self, job: Job | str | None = None, *, timeout: float | None = None) -> JobStatus:
        """Read the status of one job now; see `AsyncClient.status`."""
        return self._thread.call(partial(self._client.status, job, timeout=timeout))

    def statuses(
        self, jobs: Iterable[Job | str], *, limit: int = 10, timeout: float | None = None
    ) -> dict[str, JobStatus]:
        """Read the status of many jobs now; see `AsyncClient.statuses`."""
        return self._thread.call(partial(self._client.statuses, jobs, limit=limit, timeout=timeout))

    def stats(self) -> Stats:
        """Return counters and the state of the channel."""
        return self._client.stats()

    def close(self) -> None:
        """Close the client and end its thread; whoever still waits gets `ClientClosed`.

        Closing twice is harmless.
        """
        self._thread.close(self._client.aclose)

    # Private methods.

    async def _on_update(
        self, callback: Callback, job: Job | str | None, threaded: bool
    ) -> Callable[[], None]:
        return self._client.on_update(callback, job, threaded=threaded)

    def _announced(self, job_ids: tuple[str, ...]) -> None:
        with suppress(ClientClosed):  # since then
            self._client.announced(job_ids)

    def _end(self, end: Callable[[], None]) -> None:
        async def end_in_loop() -> None:
            end()

        if self._thread.is_inside:
            end()
            return
        with suppress(ClientClosed):
            self._thread.call(end_in_loop)

    def _decorate(self, callback: Callback, job: Job | str | None, threaded: bool) -> Callback:
        self.on_update(callback, job, threaded=threaded)
        return callback
