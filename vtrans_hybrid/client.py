"""The client: order translations, and know the moment they are done.

Nothing is decided here. This file checks what the application gives, turns it into operations and
watches, and hands them to the `Driver`.
"""

from __future__ import annotations

import os
import random
import uuid
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from types import TracebackType
from typing import Literal, NamedTuple, Self, overload

from vtrans_hybrid.bulk import as_read, place_order, read_jobs
from vtrans_hybrid.dialect import Cancel, Dialect, ReadDefault, Submit
from vtrans_hybrid.driver import Driver
from vtrans_hybrid.errors import (
    ProtocolError,
    VtransError,
    WatchTimeout,
)
from vtrans_hybrid.models import Job, JobStatus, check_job_id
from vtrans_hybrid.policy import PollPolicy, RetryPolicy
from vtrans_hybrid.tracker import Counters, Tracker
from vtrans_hybrid.transport import (
    NetworkOptions,
    Transport,
    check_api_key,
    check_base_url,
)
from vtrans_hybrid.watch import Callback, ErrorCallback, Subscriber, Watch, check_result
from vtrans_hybrid.wire import Native

__all__ = ["AsyncClient", "Mode", "Stats", "TransportChoice"]

Mode = Literal["latest", "all"]
TransportChoice = Literal["auto", "push", "poll"]


class Stats(NamedTuple):
    """What a client has done so far, and what it is doing."""

    link: str
    """State of the push channel: idle, dialing, live, backoff or off."""
    watched_jobs: int
    """Jobs that are followed now."""
    pushes: int
    """Updates that came by push."""
    poll_updates: int
    """Updates that came by polling."""
    polls: int
    """Requests that polling cost."""
    requests: int
    """All HTTP requests, polls included."""
    dials: int
    """Attempts to open the channel."""
    drops: int
    """Open channels that were lost."""
    duplicates: int
    """Statuses dropped because they were known already."""
    gaps_healed: int
    """Holes in a history that were noticed and read again."""
    failures: int
    """Jobs that could not be followed to their end."""


class AsyncClient:
    """Orders video translations and follows them, by push where possible and polls where not.

    One client serves any number of jobs over one WebSocket and one connection pool. It belongs to
    the event loop on which it is first used; use `async with`, or call `aclose` at the end.

    Args:
        base_url: Address of the server, such as https://translate.example.com; None takes it from
            the environment variable VTRANS_BASE_URL.
        api_key: Key for the server; None takes it from VTRANS_API_KEY, if that is set.
        dialect: What the server speaks; None finds out, native or plain.
        transport: "auto" for push with polling as the fallback, "push" or "poll" for one alone.
        poll: How often to read a running job.
        retry: How failed requests are repeated.
        timeout: Total timeout in seconds of a watch that is given none of its own; None falls back
            on `poll.max_wait_time`, and waits for ever if that is None too.
        on_update: Called with every update of every job that is watched.
        on_error: Called with an exception that a callback raised and the status it was called with,
            or with the error of a job followed by callback alone and None. None logs it.
        options: How to reach the server.

    Raises:
        ValueError: An argument makes no sense; the message says which, and what would.
    """

    _base_url = "nowhere"  # for a repr of what could not be made, as debuggers show it

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
        address = base_url or os.environ.get("VTRANS_BASE_URL")
        if not address:
            raise ValueError("give base_url, or set the environment variable VTRANS_BASE_URL")
        if transport not in ("auto", "push", "poll"):
            raise ValueError(f'transport is "auto", "push" or "poll", not {transport!r}')
        key = check_api_key(api_key if api_key is not None else os.environ.get("VTRANS_API_KEY"))
        self._base_url = check_base_url(
            address, has_key=key is not None, allow_insecure=options.allow_insecure
        )
        self._timeout = poll.max_wait_time if timeout is None else _check_timeout(timeout)
        self._on_error = on_error
        # Not Random(), whose seed bypasses os.urandom: runs on virtual time must repeat themselves.
        self._random = random.Random(os.urandom(16))
        spoken = dialect or Native()
        make_tracker = partial(
            Tracker,
            spoken.capabilities,
            self._random.random,
            poll=poll,
            retry=retry,
            uses_push=transport != "poll",
            uses_polls=transport != "push",
        )
        carrier = Transport(self._base_url, key, options, retry.request_timeout)
        self._driver = Driver(carrier, spoken, retry, make_tracker, self._random.random)
        if on_update is not None:
            self.on_update(on_update)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._base_url}>"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    # Order and cancel.

    async def submit(self, video: str, *, language: str, **options: object) -> Job:
        """Order the translation of a video into one language.

        Args:
            video: URL of the video.
            language: Target language.
            options: Further fields of the order in the backend's words, such as `title`.

        Raises:
            InvalidRequest: The server rejects the order.
            VtransError: It could not be placed; it is safe to try again.
        """
        [job] = await self.submit_all(video, languages=[language], **options)
        return job

    async def submit_all(
        self, video: str, *, languages: Iterable[str], **options: object
    ) -> list[Job]:
        """Order translations of a video into several languages: one job each, in their order.

        An idempotency key goes with every order, so that a retry never orders twice.
        """
        wanted = tuple([languages] if isinstance(languages, str) else languages)
        if not isinstance(video, str) or not video.strip():
            raise ValueError("video is the URL of a video, and it is empty")
        if not wanted or not all(isinstance(each, str) and each.strip() for each in wanted):
            raise ValueError("give at least one language, and none that is empty")
        key = str(uuid.UUID(int=self._random.getrandbits(128), version=4))
        order = Submit(video=video, languages=wanted, options=options, key=key)
        statuses = await place_order(self._driver, order)
        if len(statuses) != len(wanted):
            raise ProtocolError(f"{len(wanted)} languages were ordered, {len(statuses)} jobs came")
        self._driver.created(statuses)
        return [
            Job(job_id=check_job_id(status.job_id), language=language, status=as_read(status))
            for status, language in zip(statuses, wanted, strict=True)
        ]

    async def cancel(self, job: Job | str) -> JobStatus:
        """Cancel a job and return its status; a job that has ended stays as it is.

        Raises:
            Unsupported: The backend cannot cancel.
            JobNotFound: The server does not know the job.
        """
        answer = await self._driver.call(Cancel(job_id=_id_of(job)))
        self._driver.observed(answer.statuses)
        return as_read(answer.statuses[0])

    # Follow.

    def job(self, job_id: str) -> Job:
        """Take up a job again whose id is known. No request is made."""
        return Job(job_id=check_job_id(job_id))

    def watch(
        self,
        job: Job | str | None = None,
        *,
        mode: Mode = "latest",
        timeout: float | None = None,
        on_update: Callback | None = None,
    ) -> Watch:
        """Follow a job: an asynchronous iterator of its statuses, ending with the final one.

        Args:
            job: The job, or its id; None is the default job of a server that has one.
            mode: "latest": each status is newer than the one before, progress may coalesce. "all":
                every version that the server still keeps, as long as the reader keeps up.
            timeout: Total time limit in seconds from the first use on; None is the client's.
            on_update: Called with each status, too.
        """
        if job is None:
            return self._watch(self._find_default_job, mode, timeout, on_update=on_update)
        return self.watch_all([job], mode=mode, timeout=timeout, on_update=on_update)

    def watch_all(
        self,
        jobs: Iterable[Job | str],
        *,
        mode: Mode = "latest",
        timeout: float | None = None,
        on_update: Callback | None = None,
    ) -> Watch:
        """Follow many jobs with one iterator: every update of each, as it comes."""
        return self._watch(_known(jobs), mode, timeout, on_update=on_update)

    def as_completed(self, jobs: Iterable[Job | str], *, timeout: float | None = None) -> Watch:
        """Follow many jobs with one iterator: the final status of each, as it comes."""
        return self._watch(_known(jobs), "latest", timeout, finals_only=True)

    async def wait(
        self,
        job: Job | str | None = None,
        *,
        timeout: float | None = None,
        on_update: Callback | None = None,
        cancel_on_timeout: bool = False,
    ) -> JobStatus:
        """Return the final status of a job, whatever it is.

        Args:
            job: The job, or its id; None is the default job of a server that has one.
            timeout: Total time limit in seconds; None is the client's.
            on_update: Called with each status on the way.
            cancel_on_timeout: Whether to cancel the job when the timeout passes.

        Raises:
            WatchTimeout: The timeout passed.
            VtransError: The job cannot be followed.
        """
        try:
            return await self.watch(job, timeout=timeout, on_update=on_update)
        except WatchTimeout as error:
            if cancel_on_timeout and error.job_id is not None:
                try:
                    await self.cancel(error.job_id)
                except VtransError as failure:
                    error.add_note(f"and the job could not be canceled: {failure}")
            raise

    async def result(
        self,
        job: Job | str | None = None,
        *,
        timeout: float | None = None,
        on_update: Callback | None = None,
        cancel_on_timeout: bool = False,
    ) -> JobStatus:
        """Return the final status of a job that is completed; the arguments are those of `wait`.

        Raises:
            JobFailed: The job ended otherwise.
            WatchTimeout: The timeout passed.
            VtransError: The job cannot be followed.
        """
        return check_result(
            await self.wait(
                job, timeout=timeout, on_update=on_update, cancel_on_timeout=cancel_on_timeout
            )
        )

    @overload
    def on_update(
        self, callback: Callback, job: Job | str | None = None, *, threaded: bool = False
    ) -> Callable[[], None]: ...

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
    ) -> Callable[[], None] | Callable[[Callback], Callback]:
        """Call back with each update of one job, or of every job that is watched.

        Callbacks for one job come in order and never overlap. One that raises goes to `on_error`
        and stops nothing; a slow one delays nobody else, and gets the newest status next. One that
        still runs when the client is closed is cancelled; `wait(on_update=...)` waits for its own.

        Args:
            callback: Plain or asynchronous function of one status. Without it, the call returns a
                decorator: `@client.on_update()`.
            job: The job to follow; None means all that are watched by whatever means.
            threaded: Whether to run a plain function in a worker thread, since it blocks.

        Returns:
            A function that ends it.
        """
        if callback is None:
            return partial(self._decorate, job=job, threaded=threaded)
        subscriber = Subscriber(callback, self._on_error, self._driver.spawn, threaded=threaded)
        if job is not None:
            self._driver.attach(subscriber, [_id_of(job)], wants_all=False, timeout=None)
            return partial(self._driver.detach, subscriber)
        self._driver.listeners += (subscriber.put,)
        return partial(self._stop_listening, subscriber)

    # Read once.

    async def status(self, job: Job | str | None = None) -> JobStatus:
        """Read the status of one job now; None reads the default job of a server that has one.

        Raises:
            JobNotFound: The server does not know the job.
        """
        if job is None:
            return as_read((await self._driver.call(ReadDefault())).statuses[0])
        return next(iter((await self.statuses([job])).values()))

    async def statuses(self, jobs: Iterable[Job | str], *, limit: int = 10) -> dict[str, JobStatus]:
        """Read the status of many jobs now, in as few requests as the server allows.

        Args:
            jobs: The jobs, or their ids.
            limit: How many requests may be under way at once.

        Returns:
            The status by job id, in the order given.

        Raises:
            JobNotFound: The server does not know some of them; its `statuses` holds the others.
        """
        if limit < 1:
            raise ValueError(f"limit must be at least 1, not {limit}")
        job_ids = list(dict.fromkeys(_id_of(job) for job in jobs))
        return await read_jobs(self._driver, job_ids, limit)

    def stats(self) -> Stats:
        """Return counters and the state of the channel; costs nothing."""
        core = self._driver.core
        counters = Counters() if core is None else core.counters
        return Stats(
            link="idle" if core is None else core.link.phase.value if core.link.enabled else "off",
            watched_jobs=0 if core is None else core.open_jobs,
            pushes=counters.pushes,
            poll_updates=counters.poll_updates,
            polls=counters.polls,
            requests=self._driver.requests,
            dials=0 if core is None else core.link.dials,
            drops=0 if core is None else core.link.drops,
            duplicates=counters.duplicates,
            gaps_healed=counters.holes,
            failures=counters.failures,
        )

    async def aclose(self) -> None:
        """Close the client: afterwards no task, socket or timer of it is left.

        Whoever still waits gets `ClientClosed`. Takes a tenth of a second at most, even with a dead
        peer. Closing twice is harmless.
        """
        await self._driver.aclose()

    # Private methods.

    def _watch(
        self,
        find_jobs: Callable[[], Awaitable[tuple[str, ...]]],
        mode: Mode,
        timeout: float | None,
        *,
        finals_only: bool = False,
        on_update: Callback | None = None,
    ) -> Watch:
        if mode not in ("latest", "all"):
            raise ValueError(f'mode is "latest" or "all", not {mode!r}')
        subscriber = None
        if on_update is not None:
            subscriber = Subscriber(on_update, self._on_error, self._driver.spawn)
        return Watch(
            self._driver,
            find_jobs,
            mode=mode,
            timeout=self._timeout if timeout is None else _check_timeout(timeout),
            finals_only=finals_only,
            subscriber=subscriber,
        )

    async def _find_default_job(self) -> tuple[str, ...]:
        return ((await self._driver.call(ReadDefault())).statuses[0].job_id,)

    def _decorate(self, callback: Callback, job: Job | str | None, threaded: bool) -> Callback:
        self.on_update(callback, job, threaded=threaded)
        return callback

    def _stop_listening(self, subscriber: Subscriber) -> None:
        driver = self._driver
        driver.listeners = tuple(each for each in driver.listeners if each != subscriber.put)


def _id_of(job: Job | str) -> str:
    if isinstance(job, (Job, JobStatus)):
        return job.job_id
    return check_job_id(job)


def _known(jobs: Iterable[Job | str]) -> Callable[[], Awaitable[tuple[str, ...]]]:
    """Return how a watch finds its jobs when they are given."""
    job_ids = tuple(map(_id_of, jobs))

    async def find() -> tuple[str, ...]:
        return job_ids

    return find


def _check_timeout(timeout: float) -> float:
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)):
        raise TypeError(f"timeout is a number of seconds, not {type(timeout).__name__}")
    if not timeout > 0:
        raise ValueError(f"timeout must be more than zero seconds, not {timeout}")
    return float(timeout)
