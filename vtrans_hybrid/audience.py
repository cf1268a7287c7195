"""Who wants to know: watchers, the jobs that each still waits for, and their deadlines."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable
from dataclasses import dataclass

from msgspec import Struct

from vtrans_hybrid.errors import VtransError
from vtrans_hybrid.merge import Watcher
from vtrans_hybrid.models import JobStatus

__all__ = ["Audience", "Deliver", "Fail", "Finish", "Watch"]


class Deliver(Struct, frozen=True, gc=False):
    """Action: hand a status to watchers."""

    watchers: tuple[Watcher, ...]
    status: JobStatus
    is_late: bool = False
    """Whether it is news to these watchers only, who came after it."""


class Fail(Struct, frozen=True):
    """Action: tell a watcher that a job, or with None that nothing, can be followed any more."""

    watcher: Watcher
    job_id: str | None
    error: VtransError


class Finish(Struct, frozen=True):
    """Action: tell a watcher that nothing more will come."""

    watcher: Watcher


@dataclass(slots=True, eq=False)
class Watch:
    """What one watcher still waits for.

    Attributes:
        watcher: The watcher.
        jobs: Ids of its jobs, in the order in which they were asked for; empty for a watcher that
            joins and leaves them one by one.
        waiting: How many of them have not ended.
        deadline: Monotonic seconds; infinite for none, or once it is over.
        alone: The tuple of the watcher, which all jobs that nobody else watches share.
    """

    watcher: Watcher
    jobs: tuple[str, ...]
    waiting: int
    deadline: float
    alone: tuple[Watcher, ...]


class Audience:
    """Keeps all watches of a client."""

    def __init__(self) -> None:
        self._watches: dict[Watcher, Watch] = {}
        self._deadlines: list[tuple[float, int, Watch]] = []
        self._serial = 0
        self._over = 0

    def add(self, watcher: Watcher, job_ids: Iterable[str], deadline: float) -> Watch:
        """Begin a watch.

        Raises:
            ValueError: The watcher watches already.
        """
        if watcher in self._watches:
            raise ValueError("a watcher follows its jobs in one watch: make another for more jobs")
        jobs = tuple(dict.fromkeys(job_ids))
        watch = self._watches[watcher] = Watch(watcher, jobs, len(jobs), deadline, (watcher,))
        if deadline < math.inf:
            self._serial += 1
            heapq.heappush(self._deadlines, (deadline, self._serial, watch))
        return watch

    def join(self, watcher: Watcher, jobs: int) -> Watch:
        """Let a watcher wait for more jobs, without a deadline. It is forgotten with the last.

        Raises:
            ValueError: It watches already, jobs that it named all at once.
        """
        watch = self._watches.get(watcher) or self.add(watcher, (), math.inf)
        if watch.jobs:
            raise ValueError("a watcher names its jobs all at once, or joins them one by one")
        watch.waiting += jobs
        return watch

    def remove(self, watcher: Watcher) -> Watch | None:
        """End a watch; return it, or None if there is none."""
        watch = self._watches.pop(watcher, None)
        if watch is not None and watch.deadline < math.inf:
            watch.deadline = math.inf
            self._forget_deadlines()
        return watch

    def ended(self, watchers: Iterable[Watcher]) -> list[Finish]:
        """Note that a job of these watchers has ended; return whom that finishes."""
        done = []
        for watcher in watchers:
            watch = self._watches[watcher]
            watch.waiting -= 1
            done += self.finish_if_done(watch)
        return done

    def finish_if_done(self, watch: Watch) -> list[Finish]:
        """End a watch that waits for nothing; return the action for it, if so."""
        if watch.waiting or self.remove(watch.watcher) is None:
            return []
        return [Finish(watch.watcher)]

    def next_deadline(self) -> float:
        """Return the monotonic time of the next deadline; infinite for none."""
        while self._deadlines and self._deadlines[0][2].deadline == math.inf:
            heapq.heappop(self._deadlines)
        return self._deadlines[0][0] if self._deadlines else math.inf

    def expired(self, now: float) -> list[Watch]:
        """Return the watches whose deadline has passed; each only once."""
        late = []
        while self.next_deadline() <= now:
            late.append(heapq.heappop(self._deadlines)[2])
        return late

    def clear(self) -> list[Watcher]:
        """End all watches; return whose they were."""
        watchers = [*self._watches]
        self._watches.clear()
        self._deadlines.clear()
        self._over = 0
        return watchers

    def _forget_deadlines(self) -> None:
        """Drop deadlines of watches that are over, once they are the greater part."""
        self._over += 1
        if self._over > 64 and self._over * 2 > len(self._deadlines):
            self._deadlines = [entry for entry in self._deadlines if entry[2].deadline < math.inf]
            heapq.heapify(self._deadlines)
            self._over = 0
