"""How a view of the log is read: the one question, "what is newer than my cursor?".

Poll, long poll, stream and channel ask it alike (docs/protocol.md section 1.3). Reads are
synchronous, so nothing can come between a question and its answer.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import dropwhile, islice
from typing import NamedTuple, Protocol

from simulator.faults import Fault, Split, Stale
from simulator.histories import Entry, Histories, Newer, newer_than
from simulator.messages import Mode, ProblemError

__all__ = ["Audience", "Collected", "Hindsight", "Owned", "Reader", "Subscriber", "View"]


class Collected(NamedTuple):
    """What a reader has not seen yet."""

    newer: list[Newer]
    """In mode `all` ascending for each job."""
    errors: dict[str, str]
    """Job id to `not_found` or `gone`."""


class Subscriber(Protocol):
    """Who wants to hear that a job has something newer."""

    def notify(self, job_id: str) -> None:
        """Take note; called in the loop, must neither block nor subscribe."""


class Owned(Protocol):
    """What belongs to somebody."""

    @property
    def owner(self) -> str | None:
        """The owner; None for everybody."""


class View(Protocol):
    """What is known of the versions of jobs."""

    def latest(self, job_id: str) -> Entry | None:
        """Return the newest version of a job, or None if it is unknown."""

    def newer(self, job_id: str, version: int, mode: Mode) -> list[Newer]:
        """Return the events of one job above a version."""


class Hindsight:
    """A view as it was some time ago; of each job at least the first kept version is seen.

    Args:
        view: as it is.
        fault: says how far back to look.
        now: monotonic seconds.
    """

    def __init__(self, view: Histories, fault: Stale | Split, now: float) -> None:
        self._view = view
        self._fault = fault
        self._now = now

    @staticmethod
    def sees(fault: Fault) -> bool:
        """Tell whether it can look at things as this fault has it."""
        return isinstance(fault, Stale | Split)

    def latest(self, job_id: str) -> Entry | None:
        """Return what was the newest version of a job, or None if it is unknown."""
        kept = self._kept(job_id)
        return kept[-1] if kept else None

    def newer(self, job_id: str, version: int, mode: Mode) -> list[Newer]:
        """Return the events of one job above a version, as far as they are seen."""
        return newer_than(self._kept(job_id), version, mode)

    def _kept(self, job_id: str) -> Sequence[Entry]:
        kept = self._view.since(job_id, 0)
        match self._fault:
            case Stale(versions_back=back):
                count = len(kept) - back
            case Split(behind=behind):
                count = sum(entry.at <= self._now - behind for entry in kept)
        return kept[: max(count, 1)]


class Audience:
    """Who is to be told of which job: subscribers, and reads that are held back."""

    def __init__(self) -> None:
        self.subscriptions = 0
        """Pairs of subscriber and job now."""
        self.is_leaving = False
        """Whether nobody may wait any more."""
        self._subscribers: dict[str, dict[Subscriber, None]] = {}
        self._followers: list[Subscriber] = []
        self._waiters: dict[_Waiter, None] = {}

    @property
    def waiting(self) -> int:
        """Held reads now."""
        return len(self._waiters)

    def follow(self, follower: Subscriber) -> None:
        """Notify the follower from now on whenever any job has a new version."""
        self._followers.append(follower)

    def subscribe(self, job_id: str, subscriber: Subscriber) -> None:
        """Notify the subscriber from now on whenever the job has a new version."""
        subscribers = self._subscribers.setdefault(job_id, {})
        if subscriber not in subscribers:
            subscribers[subscriber] = None
            self.subscriptions += 1

    def unsubscribe(self, job_id: str, subscriber: Subscriber) -> None:
        """End that; harmless if there is nothing to end."""
        subscribers = self._subscribers.get(job_id)
        if subscribers is None or subscriber not in subscribers:
            return
        del subscribers[subscriber]
        self.subscriptions -= 1
        if not subscribers:
            del self._subscribers[job_id]  # most jobs are watched for a part of their life only

    def notify(self, job_id: str) -> None:
        """Tell the subscribers of a job, and the followers, that it has something newer."""
        for follower in self._followers:
            follower.notify(job_id)
        for subscriber in tuple(self._subscribers.get(job_id, ())):
            subscriber.notify(job_id)

    def forget(self, job_id: str) -> None:
        """Drop the subscribers of a job without a word."""
        self.subscriptions -= len(self._subscribers.pop(job_id, ()))

    def leave(self) -> None:
        """Let nobody wait any more, until `is_leaving` is taken back."""
        self.is_leaving = True
        for waiter in self._waiters:
            waiter.notify("")

    async def wait(self, job_ids: Iterable[str], timeout: float) -> None:
        """Wait until one of the jobs has something newer, but at most `timeout` seconds."""
        waiter = _Waiter()
        self._waiters[waiter] = None
        for job_id in job_ids:
            self.subscribe(job_id, waiter)
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(timeout):
                    await waiter.notified.wait()
        finally:
            self._waiters.pop(waiter)
            for job_id in job_ids:
                self.unsubscribe(job_id, waiter)


class Reader:
    """Answer reads from a view.

    Args:
        epoch: in which its versions count.
        view: what is known of the versions of jobs.
        jobs: whose they are, oldest job first.
        audience: with whom a read may wait for news.
    """

    def __init__(
        self, epoch: str, view: View, jobs: Mapping[str, Owned], audience: Audience
    ) -> None:
        self.epoch = epoch
        """The identity of the history."""
        self._seen = view
        self._owned = jobs
        self._audience = audience

    def head(self, job_id: str, *, owner: str | None = None) -> Entry:
        """Return the newest version of a job.

        Raises:
            ProblemError: `not_found` or `gone`.
        """
        latest = self._visible(job_id, owner)
        if latest is None:
            raise ProblemError("not_found", f"There is no job {job_id!r}.", job_id=job_id)
        if latest.is_gone:
            raise ProblemError("gone", f"The job {job_id!r} was removed.", job_id=job_id)
        return latest

    def is_visible(self, job_id: str, *, owner: str | None = None) -> bool:
        """Tell whether a job is known, be it a tombstone, and not somebody else's."""
        return self._visible(job_id, owner) is not None

    def newer(self, job_id: str, version: int, mode: Mode) -> list[Newer]:
        """Return the events of one job above a version; the one rule."""
        return self._seen.newer(job_id, version, mode)

    def collect(
        self,
        cursors: Mapping[str, int],
        *,
        epoch: str | None,
        mode: Mode = "latest",
        owner: str | None = None,
        max_bytes: int | None = None,
    ) -> Collected:
        """Return whatever is newer than the cursors.

        Args:
            cursors: job id to the last version that the reader has.
            epoch: in which these versions count; any other than this replica's makes them all 0.
            mode: `latest` for the newest version alone, `all` for every kept one.
            owner: whose jobs are visible.
            max_bytes: ends early once that many bytes of events are collected; None for no limit.
        """
        newer: list[Newer] = []
        errors: dict[str, str] = {}
        is_same_history = epoch == self.epoch
        size = 0
        for job_id, version in cursors.items():
            latest = self._visible(job_id, owner)
            if latest is None or latest.is_gone:
                errors[job_id] = "gone" if latest else "not_found"
                continue
            for event in self.newer(job_id, version if is_same_history else 0, mode):
                newer.append(event)
                size += len(event.entry.event)
                if max_bytes is not None and size >= max_bytes:
                    return Collected(newer, errors)
        return Collected(newer, errors)

    async def wait(
        self,
        cursors: Mapping[str, int],
        *,
        epoch: str | None,
        mode: Mode = "latest",
        owner: str | None = None,
        max_bytes: int | None = None,
        timeout: float = 0.0,
    ) -> Collected:
        """Return `collect(...)` as soon as it holds an event or an error.

        Args:
            cursors: as for `collect`, like the arguments after it.
            epoch: in which these versions count.
            mode: `latest` or `all`.
            owner: whose jobs are visible.
            max_bytes: ends early once that many bytes of events are collected.
            timeout: seconds after which it is returned empty; 0 answers at once. A drain ends the
                waiting as well.
        """
        found = self.collect(cursors, epoch=epoch, mode=mode, owner=owner, max_bytes=max_bytes)
        if any(found) or timeout <= 0 or self._audience.is_leaving:
            return found
        await self._audience.wait(cursors, timeout)
        return self.collect(cursors, epoch=epoch, mode=mode, owner=owner, max_bytes=max_bytes)

    def listing(
        self, *, owner: str | None = None, after: str | None = None, limit: int = 100
    ) -> list[Entry]:
        """Return the newest versions of the owner's jobs, oldest job first.

        Args:
            owner: whose jobs are visible.
            after: begins behind this job; None begins with the oldest.
            limit: at most so many.
        """
        job_ids: Iterable[str] = self._owned
        if after is not None:
            job_ids = islice(dropwhile(lambda job_id: job_id != after, job_ids), 1, None)
        visible = (self._visible(job_id, owner) for job_id in job_ids)
        return list(islice((entry for entry in visible if entry and not entry.is_gone), limit))

    def _visible(self, job_id: str, owner: str | None) -> Entry | None:
        """Return the newest version of a job; None if it is unknown, or somebody else's."""
        job = self._owned.get(job_id)
        if job is None or job.owner not in (None, owner):
            return None
        return self._seen.latest(job_id)


class _Waiter:
    """A held read."""

    __slots__ = ("notified",)

    def __init__(self) -> None:
        self.notified = asyncio.Event()

    def notify(self, job_id: str) -> None:  # noqa: ARG002 (any job ends the waiting)
        """Note that a job has something newer."""
        self.notified.set()
