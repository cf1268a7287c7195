"""The same client without `await`, for scripts and threads.

There is no logic here: an event loop runs in a thread of its own, and each call waits for its
counterpart in `AsyncClient`. Crossing over costs about a tenth of a millisecond. Any number of
threads may share one client. A call that is interrupted, by Ctrl-C for instance, ends on the other
side as well.
"""

from __future__ import annotations

import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import Self, TypeVar, Unpack, overload

from vtrans_hybrid.arguments import ids_of
from vtrans_hybrid.callbacks import Callback, ErrorCallback, Registration
from vtrans_hybrid.client import (
    AsyncClient,
    AsyncHeyGenClient,
    Mode,
    TransportChoice,
    heygen_account,
)
from vtrans_hybrid.dialect import Dialect
from vtrans_hybrid.endpoints import BlockingEndpoints
from vtrans_hybrid.errors import ClientClosed, VtransError
from vtrans_hybrid.heygen import HeyGenOptions, HeyGenVersion
from vtrans_hybrid.loop_thread import LoopThread
from vtrans_hybrid.models import Job, JobStatus
from vtrans_hybrid.policy import PollPolicy, RetryPolicy
from vtrans_hybrid.stats import Stats
from vtrans_hybrid.transport import NetworkOptions
from vtrans_hybrid.watch import Watch

__all__ = ["BlockingWatch", "Client", "HeyGenClient"]

_T = TypeVar("_T")

_PATIENT = PollPolicy.patient()


class BlockingWatch:
    """Iterator over the statuses of one or more jobs. Made by `Client.watch`; see `Watch`."""

    def __init__(self, client: Client, thread: LoopThread, watch: Watch) -> None:
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
        return await _next(self._watch)


async def _next(iterator: AsyncIterator[JobStatus]) -> JobStatus | None:
    # StopAsyncIteration cannot travel through the future that carries the result.
    return await anext(iterator, None)


class Client:
    """Orders video translations and follows them; `AsyncClient` without `await`.

    The arguments are those of `AsyncClient`. Callbacks run in the thread of the event loop, unless
    `threaded=True`. Use `with`, or call `close` at the end: the loop's thread lives until then. A
    client that is dropped without is closed all the same, with a `ResourceWarning`.
    """

    _kind: type[AsyncClient] = AsyncClient

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
        self._client = self._kind(
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
        self._thread = LoopThread()

    @classmethod
    def heygen(
        cls,
        api_key: str | None = None,
        *,
        base_url: str | None = None,
        api_version: HeyGenVersion = "v3",
        poll: PollPolicy = _PATIENT,
        retry: RetryPolicy = RetryPolicy(),
        timeout: float | None = None,
        on_update: Callback | None = None,
        on_error: ErrorCallback | None = None,
        options: NetworkOptions = NetworkOptions(),
    ) -> HeyGenClient:
        """Return a client of HeyGen's API; see `AsyncClient.heygen`."""
        address, key, dialect = heygen_account(api_key, base_url, api_version)
        return HeyGenClient(
            address,
            api_key=key,
            dialect=dialect,
            poll=poll,
            retry=retry,
            timeout=timeout,
            on_update=on_update,
            on_error=on_error,
            options=options,
        )

    def __repr__(self) -> str:
        return repr(self._client).replace("<Async", "<")

    def __enter__(self) -> Self:
        if self._thread.is_closed:
            raise ClientClosed
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

    def delete(self, job: Job | str, *, timeout: float | None = None) -> None:
        """Delete a job and its result for good; see `AsyncClient.delete`."""
        self._thread.call(partial(self._client.delete, job, timeout=timeout))

    def job(self, job_id: str) -> Job:
        """Take up a job again whose id is known; see `AsyncClient.job`."""
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
        """Return what manages the addresses of webhooks; see `AsyncClient.endpoints`."""
        return BlockingEndpoints(self._client.endpoints(), self._call)

    def status(self, job: Job | str | None = None, *, timeout: float | None = None) -> JobStatus:
        """Read the status of one job now; see `AsyncClient.status`."""
        return self._thread.call(partial(self._client.status, job, timeout=timeout))

    def statuses(
        self, jobs: Iterable[Job | str], *, limit: int = 10, timeout: float | None = None
    ) -> dict[str, JobStatus]:
        """Read the status of many jobs now; see `AsyncClient.statuses`."""
        return self._thread.call(partial(self._client.statuses, jobs, limit=limit, timeout=timeout))

    def refresh_url(self, job: Job | str, *, timeout: float | None = None) -> str:
        """Return a freshly signed address of the result; see `AsyncClient.refresh_url`."""
        return self._thread.call(partial(self._client.refresh_url, job, timeout=timeout))

    def list_jobs(
        self, *, page_size: int | None = None, timeout: float | None = None
    ) -> Iterator[JobStatus]:
        """Iterate over all jobs of this key; see `AsyncClient.list_jobs`."""
        listed = self._client.list_jobs(page_size=page_size, timeout=timeout)
        while (status := self._thread.call(partial(_next, listed))) is not None:
            yield status

    def languages(self, *, timeout: float | None = None) -> list[str]:
        """Return the languages that videos can be translated into; see `AsyncClient.languages`."""
        return self._thread.call(partial(self._client.languages, timeout=timeout))

    def stats(self) -> Stats:
        """Return counters and the state of the channel; see `AsyncClient.stats`."""
        return self._client.stats()

    def close(self) -> None:
        """Close the client and end its thread; whoever still waits gets `ClientClosed`.

        Closing twice is harmless.
        """
        self._thread.close(self._client.aclose)

    # Private methods.

    def _call(self, function: Callable[[], Awaitable[_T]]) -> _T:
        # Bound to us, so that the client is not closed while somebody holds this method.
        return self._thread.call(function)

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


class HeyGenClient(Client):
    """A client of HeyGen's API, made by `Client.heygen`: the same, but orders are typed."""

    _kind = AsyncHeyGenClient

    def submit(  # type: ignore[override]  # on purpose: here the fields of an order are known
        self,
        video: str,
        *,
        language: str,
        timeout: float | None = None,
        **options: Unpack[HeyGenOptions],
    ) -> Job:
        """Order the translation of a video into one language; see `AsyncHeyGenClient.submit`."""
        return super().submit(video, language=language, timeout=timeout, **options)

    def submit_all(  # type: ignore[override]  # as above
        self,
        video: str,
        *,
        languages: Iterable[str],
        timeout: float | None = None,
        **options: Unpack[HeyGenOptions],
    ) -> list[Job]:
        """Order translations into several languages; see `AsyncHeyGenClient.submit_all`."""
        return super().submit_all(video, languages=languages, timeout=timeout, **options)
