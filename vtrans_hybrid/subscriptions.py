"""What the channel has been told, and whether it keeps its word.

A reconnect with a hundred thousand jobs is a hundred frames. They leave a few at a time, the next
one when the server has synced one, so that little is ever queued for a peer that does not read, and
news of the first jobs does not wait for the last.

A channel that is open and brings nothing is worse than none, because it keeps polling away. So news
that a poll finds on a covered job is a *doubt*, until push brings the same within two seconds.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator

from vtrans_hybrid.dialect import JOB_OVERHEAD
from vtrans_hybrid.merge import Record
from vtrans_hybrid.messages import Subscribe, Synced, Unsubscribe, Welcome

__all__ = ["Doubts", "Subscriptions"]

_WINDOW = 4
"""Batches on their way at once."""

_FRAME_OVERHEAD = 200
"""Bytes in a frame beside the jobs."""


class Subscriptions:
    """The subscribes of one connection at a time; `start` begins with a new one."""

    def __init__(self) -> None:
        self._generation = 0
        self._line: deque[Record] = deque()
        self._first_places = 0
        self._first_batches: set[int] = set()
        self._leaving: list[str] = []
        self._failed: set[str] = set()
        self._batches: dict[int, list[Record]] = {}
        self._serial = 0

    @property
    def generation(self) -> int:
        """The connection that is told; 0 for none."""
        return self._generation

    @property
    def is_caught_up(self) -> bool:
        """Whether each job that was there at the start has had its answer on this connection."""
        return not self._first_places and not self._first_batches

    @property
    def has_mail(self) -> bool:
        """Whether there is something to tell the server."""
        return bool(self._line or self._leaving)

    @property
    def is_waiting(self) -> bool:
        """Whether some job has yet to be asked for."""
        return bool(self._line)

    @property
    def waiting(self) -> list[Record]:
        """The records that have yet to be asked for."""
        return [record for record in self._line if self._is_in_line(record)]

    @property
    def oldest(self) -> int:
        """Number of the batch that has waited longest for its answer; 0 where none waits."""
        return next(iter(self._batches), 0)

    def start(self, generation: int, records: Iterable[Record]) -> None:
        """Begin with a new connection and the jobs to subscribe on it."""
        self._generation = generation
        self._line.clear()
        for record in records:
            self.add(record)
        self._first_places = len(self._line)
        self._first_batches.clear()
        self._leaving.clear()
        self._failed.clear()
        self._batches.clear()

    def stop(self) -> None:
        """Forget everything: the connection is gone."""
        self.start(0, ())

    def add(self, record: Record) -> None:
        """Subscribe a job, again if need be: a subscribe replaces cursor and mode."""
        if self._generation and not self._is_in_line(record):
            # No list beside the line says who stands in it, for a hundred thousand may: the
            # generation, below zero, does. Whoever leaves the line leaves an empty place.
            record.subscribed = -self._generation
            self._line.append(record)

    def discard(self, record: Record) -> None:
        """Unsubscribe a job, or never subscribe it."""
        # The server unsubscribes a job itself when it has sent the final status. One that stands in
        # line may have been told before, and an unsubscribe too many does no harm.
        if abs(record.subscribed) == self._generation != 0 and not record.is_final:
            self._leaving.append(record.job_id)
        if self._is_in_line(record):
            record.subscribed = 0
        self._failed.discard(record.job_id)

    def flush(
        self, welcome: Welcome, batch_limit: int, *, may_subscribe: bool
    ) -> list[Subscribe | Unsubscribe]:
        """Return the messages to send now.

        Args:
            welcome: The limits of the server.
            batch_limit: A lower limit of jobs a frame, learned from refusals.
            may_subscribe: Whether subscribes may leave, or only unsubscribes.
        """
        messages: list[Subscribe | Unsubscribe] = []
        if self._leaving:
            leaving, self._leaving = self._leaving, []
            messages += map(Unsubscribe, _frames(leaving, welcome))
        while may_subscribe and self._line and len(self._batches) < _WINDOW:
            records = self._next_batch(welcome, batch_limit)
            self._serial += 1
            if not records:
                self._first_batches.discard(self._serial)
                break
            self._batches[self._serial] = records
            messages.append(
                Subscribe(
                    id=self._serial,
                    epoch=welcome.epoch,
                    mode="all" if records[0].wants_all else "latest",
                    jobs={r.job_id: r.version if r.epoch == welcome.epoch else 0 for r in records},
                )
            )
        return messages

    def synced(self, message: Synced) -> list[Record]:
        """Take the server's word that a batch is done; return the records of it."""
        return self._take_batch(message.id)

    def refused(self, batch_id: int | None) -> list[Record]:
        """Take the server's refusal of a whole batch; return the records of it."""
        return [] if batch_id is None else self._take_batch(batch_id)

    def excluded(self, record: Record) -> bool:
        """Note that the server does not push a job; return whether it is the first time."""
        record.subscribed = record.synced = 0
        return self._is_first_failure(record)

    def astray(self, record: Record) -> bool:
        """Note that what the server sent first did not arrive; return what `excluded` does."""
        record.synced = -self._generation
        return self._is_first_failure(record)

    def _is_first_failure(self, record: Record) -> bool:
        is_first = record.job_id not in self._failed
        self._failed.add(record.job_id)
        return is_first

    def _is_in_line(self, record: Record) -> bool:
        return record.subscribed == -self._generation != 0

    def _take_batch(self, batch_id: int) -> list[Record]:
        self._first_batches.discard(batch_id)
        return self._batches.pop(batch_id, [])

    def _next_batch(self, welcome: Welcome, batch_limit: int) -> list[Record]:
        """Take what fits into one frame from the line: one mode, and both limits of the server."""
        most = max(1, min(welcome.max_jobs, batch_limit))
        room = welcome.max_frame - _FRAME_OVERHEAD
        batch: list[Record] = []
        others: list[Record] = []
        taken = 0
        while self._line and len(batch) < most:
            record = self._line[0]
            cost = len(record.job_id) + JOB_OVERHEAD
            if batch and cost > room:
                break
            self._line.popleft()
            taken += 1
            if not self._is_in_line(record):
                continue
            if batch and record.wants_all != batch[0].wants_all:
                others.append(record)
                continue
            record.subscribed = self._generation
            record.synced = max(0, record.synced)  # what was left out is asked for again
            batch.append(record)
            room -= cost
        self._line.extendleft(reversed(others))
        if self._first_places:
            self._first_places = max(0, self._first_places - taken) + len(others)
            self._first_batches.add(self._serial + 1)
        return batch


def _frames(job_ids: list[str], welcome: Welcome) -> Iterator[list[str]]:
    """Cut the ids of one unsubscribe into as many as the server's limits ask for."""
    frame: list[str] = []
    room = welcome.max_frame - _FRAME_OVERHEAD
    for job_id in job_ids:
        cost = len(job_id) + JOB_OVERHEAD
        if frame and (cost > room or len(frame) >= welcome.max_jobs):
            yield frame
            frame, room = [], welcome.max_frame - _FRAME_OVERHEAD
        frame.append(job_id)
        room -= cost
    yield frame


_DOUBT = 2.0
"""Seconds that push has to bring what a poll found on a covered job."""

_LIES = 3
"""Doubts that push did not dispel before its connection is given up."""


class Doubts:
    """Whether push brings what polls find."""

    def __init__(self) -> None:
        self._open: dict[str, tuple[int, float]] = {}
        self._lies = 0

    def __bool__(self) -> bool:
        return bool(self._open)

    def raise_on(self, job_id: str, version: int, now: float) -> None:
        """Note that a poll found a version which push should have brought."""
        self._open.setdefault(job_id, (version, now + _DOUBT))

    def dispel(self, job_id: str, version: int) -> None:
        """Note that push brought a version."""
        if self._open.get(job_id, (math.inf, 0.0))[0] <= version:
            del self._open[job_id]

    def discard(self, job_id: str) -> None:
        """Note that push need not bring anything: we have unsubscribed the job."""
        self._open.pop(job_id, None)

    def next_deadline(self) -> float:
        """Return when the next doubt becomes a certainty; infinite for never."""
        # In order of insertion, which is the order of time.
        return next(iter(self._open.values()))[1] if self._open else math.inf

    def is_liar(self, now: float) -> bool:
        """Whether push has failed to keep its word too often; asked once, it starts anew."""
        while self.next_deadline() <= now:
            del self._open[next(iter(self._open))]
            self._lies += 1
        if self._lies < _LIES:
            return False
        self.clear()
        return True

    def clear(self) -> None:
        """Trust again: a new connection has done nothing wrong yet."""
        self._open.clear()
        self._lies = 0
