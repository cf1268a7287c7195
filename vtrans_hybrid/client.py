"""The client: order translations, and know the moment they are done.

Nothing is decided here. This file checks what the application gives, turns it into operations and
watches, and hands them to the `Driver`.
"""

from __future__ import annotations

import logging
import os
import random
import re
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from types import TracebackType
from typing import Literal, Self, Unpack, overload

from vtrans_hybrid.arguments import check_dialect, check_timeout, check_type, id_of, ids_of, known
from vtrans_hybrid.callbacks import Callback, Callbacks, ErrorCallback, Registration
from vtrans_hybrid.calls import Calls
from vtrans_hybrid.dialect import Dialect, ReadDefault
from vtrans_hybrid.driver import Driver
from vtrans_hybrid.errors import (
    JobFailed,
    VtransError,
    WatchTimeout,
)
from vtrans_hybrid.heygen import (
    HeyGen,
    HeyGenLegacy,
    HeyGenOptions,
    HeyGenVersion,
    check_video,
    misspelt,
)
from vtrans_hybrid.models import Job, JobStatus
from vtrans_hybrid.policy import PollPolicy, RetryPolicy
from vtrans_hybrid.stats import Stats, stats_of
from vtrans_hybrid.tracker import Tracker
from vtrans_hybrid.transport import (
    NetworkOptions,
    Transport,
    check_api_key,
    check_base_url,
)
from vtrans_hybrid.watch import Watch, check_result
from vtrans_hybrid.wire import Native

__all__ = ["AsyncClient", "AsyncHeyGenClient", "Mode", "TransportChoice", "heygen_account"]

logger = logging.getLogger("vtrans_hybrid.client")

Mode = Literal["latest", "all"]
TransportChoice = Literal["auto", "push", "poll"]

_HEYGEN = "https://api.heygen.com"
_IS_HEYGEN = re.compile(r"https?://api\.heygen\.com(?:[:/?#]|$)", re.IGNORECASE)
_ADDED_PATH = re.compile(r"/(v[23](/(video-translations|video_translate|webhooks)(/.*)?)?)/*$")
_PATIENT = PollPolicy.patient()

_CANCEL_TIMEOUT = 5.0
_PATIENCE = 5.0


class AsyncClient(Calls):
    """Orders video translations and follows them, by push where possible and polls where not.

    One client serves any number of jobs over one WebSocket and one connection pool. It belongs to
    the event loop on which it is first used; use `async with`, or call `aclose` at the end. Leaving
    `async with` without an exception, or with `JobFailed`, gives callbacks that are under way five
    seconds to end.

    Args:
        base_url: Address of the server, such as https://translate.example.com; None takes it from
            the environment variable VTRANS_BASE_URL.
        api_key: Key for the server; None takes it from the environment variable VTRANS_API_KEY, and
            sends none where that is not set.
        dialect: What the server speaks, as a `Dialect` of vtrans_hybrid.dialect: it builds requests
            and reads answers. None finds out whether it is the job-event protocol or no more than
            `GET /status`; for HeyGen see `AsyncClient.heygen`.
        transport: "auto" for push with polling as the fallback, "push" or "poll" for one alone.
        poll: How often to read a running job that push does not cover.
        retry: How failed requests are repeated, and how long after a drop to dial again.
        timeout: Total timeout in seconds of a watch that is given none of its own; None falls back
            on `poll.max_wait_time`, and waits for ever if that is None too.
        on_update: Called with every update of every job that is watched.
        on_error: Called with an exception that a callback raised, and the status that it was called
            with; and with the error of a job that nothing but a callback follows, and no status.
            Without it, errors are logged.
        options: How to reach the server: certificates, proxies, connections.

    Raises:
        TypeError: An argument is of another type.
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
        if dialect is None and _IS_HEYGEN.match(str(address)):
            raise ValueError(
                "base_url is HeyGen's API: make the client with heygen(), or give the command line "
                "--heygen"
            )
        if transport not in ("auto", "push", "poll"):
            raise ValueError(f'transport is "auto", "push" or "poll", not {transport!r}')
        check_dialect(dialect)
        check_type("poll", poll, PollPolicy)
        check_type("retry", retry, RetryPolicy)
        check_type("options", options, NetworkOptions)
        if on_error is not None and not callable(on_error):
            raise TypeError(
                f"on_error is a function of an error and a status, not {on_error!r:.80}"
            )
        key = check_api_key(api_key if api_key is not None else os.environ.get("VTRANS_API_KEY"))
        self._base_url = check_base_url(
            address, has_key=key is not None, allow_insecure=options.allow_insecure
        )
        self._timeout = poll.max_wait_time if timeout is None else check_timeout(timeout)
        # Not Random(), whose seed bypasses os.urandom: runs on virtual time must repeat themselves.
        rand = random.Random(os.urandom(16))
        spoken = dialect or Native()
        make_tracker = partial(
            Tracker,
            spoken.capabilities,
            rand.random,
            poll=poll,
            retry=retry,
            uses_push=transport != "poll",
            uses_polls=transport != "push",
        )
        carrier = Transport(
            self._base_url, key, options, retry.request_timeout, spoken.capabilities
        )
        driver = Driver(carrier, spoken, retry, make_tracker, rand.random)
        super().__init__(driver, rand, retry.total_timeout)
        self._callbacks = Callbacks(self._driver, on_error)
        if on_update is not None:
            self.on_update(on_update)

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
    ) -> AsyncHeyGenClient:
        """Return a client of HeyGen's API, or of a server that stands in for it.

        Args:
            api_key: Key of the account; None takes it from the environment variable HEYGEN_API_KEY.
            base_url: Address of a stand-in; None takes it from HEYGEN_API_BASE, and where that is
                not set either it is https://api.heygen.com.
            api_version: "v3", or "v2" as long as HeyGen still has it. That reads jobs one by one,
                and an order to which the answer is lost is an error, for a second would cost again.
            poll: How often to read a running job. HeyGen tells neither progress nor estimates.
            retry: As for any client, and so are the arguments that follow.
            timeout: Total timeout in seconds of a watch that is given none of its own; None is
                `poll.max_wait_time`.
            on_update: Called with every update of every job that is watched.
            on_error: Called with what a callback raised; without it, that is logged.
            options: How to reach the server.

        Raises:
            ValueError: There is no key, or an argument makes no sense.
        """
        address, key, dialect = heygen_account(api_key, base_url, api_version)
        return AsyncHeyGenClient(
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
        return f"<{type(self).__name__} {self._base_url}>"

    async def __aenter__(self) -> Self:
        self._driver.check_open()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        is_regular = exc_type is None or issubclass(exc_type, JobFailed)
        await self._driver.aclose(_PATIENCE if is_regular else 0.0)

    # Follow.

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

        Returns:
            The iterator, which raises what there is to raise; `await` it for the final status.
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
        """Follow many jobs with one iterator: every update of each, as it comes.

        The arguments are those of `watch`, but for the jobs, or their ids.
        """
        return self._watch(known(jobs), mode, timeout, on_update=on_update)

    def as_completed(self, jobs: Iterable[Job | str], *, timeout: float | None = None) -> Watch:
        """Follow many jobs with one iterator: the final status of each, as it comes.

        Args:
            jobs: The jobs, or their ids.
            timeout: Total time limit in seconds from the first use on; None is the client's.
        """
        return self._watch(known(jobs), "latest", timeout, finals_only=True)

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
            cancel_on_timeout: Whether to cancel the job when the timeout passes, for which the call
                takes at most five seconds more.

        Raises:
            WatchTimeout: The timeout passed.
            VtransError: The job cannot be followed, for the reasons that `Watch` has.
        """
        try:
            return await self.watch(job, timeout=timeout, on_update=on_update)
        except WatchTimeout as error:
            if cancel_on_timeout and error.job_id is not None:
                try:
                    last = await self.cancel(error.job_id, timeout=_CANCEL_TIMEOUT)
                    error.add_note(f"after cancel_on_timeout the job is {last.state}")
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
            A function that ends it. Given a status it is the callback, so that a bare
            `@client.on_update` leaves the function below it what it was.

        Raises:
            ClientClosed: The client is closed.
        """
        if callback is None:
            return partial(self._decorate, job=job, threaded=threaded)
        self._driver.check_open()
        if job is None:
            end = self._callbacks.listen(callback, threaded=threaded)
        else:
            end = self._callbacks.follow(callback, id_of(job), threaded=threaded)
        return Registration(callback, end)

    def announced(self, jobs: Iterable[Job | str]) -> None:
        """Say that jobs have news, for something else has told so, such as a webhook.

        Those that are watched are read at once, each alone; others are of no concern. To name none
        says that such news are to be expected, so that polling can be rarer. Safe from any thread.

        Args:
            jobs: The jobs, or their ids.

        Raises:
            ClientClosed: The client is closed.
        """
        self._driver.announced(ids_of(jobs))

    def stats(self) -> Stats:
        """Return counters and the state of the channel; costs nothing."""
        return stats_of(self._driver)

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
            subscriber = self._callbacks.make(on_update)
        return Watch(
            self._driver,
            find_jobs,
            mode=mode,
            timeout=self._timeout if timeout is None else check_timeout(timeout),
            finals_only=finals_only,
            subscriber=subscriber,
        )

    async def _find_default_job(self) -> tuple[str, ...]:
        answer = await self._driver.call(ReadDefault())  # within the timeout of the watch
        return (answer.statuses[0].job_id,)

    def _decorate(self, callback: Callback, job: Job | str | None, threaded: bool) -> Callback:
        self.on_update(callback, job, threaded=threaded)
        return callback


class AsyncHeyGenClient(AsyncClient):
    """A client of HeyGen's API, made by `AsyncClient.heygen`: the same, but orders are typed."""

    async def submit(  # type: ignore[override]  # on purpose: here the fields of an order are known
        self,
        video: str,
        *,
        language: str,
        timeout: float | None = None,
        **options: Unpack[HeyGenOptions],
    ) -> Job:
        """Order the translation of a video into one language.

        Args:
            video: URL of the video, or the id of an asset that was uploaded before.
            language: Target language, as `AsyncClient.languages` names it.
            timeout: Total time limit in seconds; None takes `RetryPolicy.total_timeout`.
            options: Further fields of the order: `HeyGenOptions`.

        Raises:
            ValueError: The video is a file of this machine, or an argument makes no sense.
            InvalidRequest: HeyGen rejects the order.
            QuotaExceeded: The account has no credit left: waiting does not help.
            RateLimited: Too many jobs of the account run already, or too many requests were made.
            VtransError: It is not known whether the order was placed.
        """
        return await super().submit(video, language=language, timeout=timeout, **options)

    async def submit_all(  # type: ignore[override]  # as above
        self,
        video: str,
        *,
        languages: Iterable[str],
        timeout: float | None = None,
        **options: Unpack[HeyGenOptions],
    ) -> list[Job]:
        """Order translations of a video into several languages with one request.

        The arguments are those of `submit`, but for the languages: one job each, in their order.

        Raises:
            ValueError: The video is a file of this machine, or an argument makes no sense.
            VtransError: As `submit`.
        """
        if isinstance(video, str):  # else it is refused below
            check_video(video)
        for name, meant in misspelt(options).items():
            # It is sent all the same: the API may know fields that we do not.
            logger.warning("an order has no field %r that is known: is it %r?", name, meant)
        return await super().submit_all(video, languages=languages, timeout=timeout, **options)


def heygen_account(
    api_key: str | None, base_url: str | None, api_version: HeyGenVersion
) -> tuple[str, str, Dialect]:
    """Return address, key and dialect for HeyGen's API, from arguments and the environment.

    Raises:
        ValueError: There is no key, no such version, or the address holds the version already.
    """
    # An empty key is no reason to take another: it was to be the key of a certain account.
    key = os.environ.get("HEYGEN_API_KEY") if api_key is None else api_key
    if not key:
        raise ValueError(
            "give api_key, or leave it out and set the environment variable HEYGEN_API_KEY"
        )
    if "://" in str(key):
        # Not shown: it may hold a password. Sent as a key, an address would be told to HeyGen.
        raise ValueError("api_key is an address: give it as base_url, and the key as api_key")
    if api_version not in ("v3", "v2"):
        raise ValueError(f'api_version is "v3" or "v2", not {api_version!r}')
    address = base_url or os.environ.get("HEYGEN_API_BASE") or _HEYGEN
    if found := _ADDED_PATH.search(str(address)):
        raise ValueError(f"base_url ends in /{found[1]}, which requests add: leave that out")
    return address, key, HeyGen() if api_version == "v3" else HeyGenLegacy()
