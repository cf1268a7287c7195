"""The ledger: every job's record, who watches it, and what they are told.

A job, by what happens to it. LINGER and FINAL are records without watchers, kept for a moment, so
that a watcher who comes back finds what is known:

    state     event                                   next      actions
    -----     -----                                   ----      -------
    ABSENT    attach                                  OPEN
    OPEN      attach                                  OPEN      Deliver what is known, late
    OPEN      a newer status                          OPEN      Deliver
    OPEN      a final status                          FINAL     Deliver, Finish
    OPEN      an error that ends it                   LINGER    Fail, Finish; nothing is known
    OPEN      the deadline of its last watcher        LINGER    Fail(WatchTimeout)
    OPEN      last watcher leaves                     LINGER
    LINGER    attach                                  OPEN      Deliver what is known, late
    LINGER    a newer status                          LINGER    none, but it is kept
    LINGER    its time is over                        ABSENT
    FINAL     anything about it                       FINAL     none: absorbed
    FINAL     attach                                  FINAL     Deliver, Finish
    FINAL     its time is over                        ABSENT

A `Finish` follows when a watcher has nothing left to wait for.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import msgspec

from vtrans_hybrid.audience import Audience, Deliver, Fail, Finish, Watch
from vtrans_hybrid.errors import VtransError, WatchTimeout
from vtrans_hybrid.merge import Record, Verdict, Watcher, offer
from vtrans_hybrid.models import FINAL, JobStatus, Source

__all__ = ["Counters", "Ledger", "Opened"]

# Looked up once: a member of an enum costs as much as the rest of a line on the hot path.
_NEWER, _RESTARTED = Verdict.NEWER, Verdict.RESTARTED
_PUSH, _WEBHOOK = Source.PUSH, Source.WEBHOOK

_MOMENT = 0.1
"""Seconds within which records count as added at the same time."""


@dataclass(slots=True)
class Counters:
    """What happened so far: every field a count."""

    pushes: int = 0
    """Updates that came by push."""
    poll_updates: int = 0
    """Updates that came by polling."""
    webhook_updates: int = 0
    """Updates that a webhook announced."""
    polls: int = 0
    """Requests that polling cost."""
    duplicates: int = 0
    """Statuses dropped because they were known."""
    contradictions: int = 0
    """Statuses dropped because their version was known with other content."""
    holes: int = 0
    """Statuses refused because versions were missing before them."""
    failures: int = 0
    """Jobs that could not be followed to their end."""


class Opened(NamedTuple):
    """A record that an attach concerns."""

    record: Record
    is_new: bool
    """Whether nobody watched it before."""
    wants_more: bool
    """Whether every version is wanted now, and was not before."""


class Ledger:
    """Keeps all records of a client, and decides who is told what."""

    def __init__(self) -> None:
        self.counters = Counters()
        self.open_jobs = 0
        self.actions: list[Deliver | Fail | Finish] = []
        self._records: dict[str, Record] = {}
        self._audience = Audience()
        self._added_at = -math.inf
        self.find: Callable[[str], Record | None] = self._records.get
        """Return the record of a job; None if there is none."""

    def watched(self) -> Iterator[Record]:
        """Return the records of all open jobs."""
        return (record for record in self._records.values() if record.watchers)

    def next_deadline(self) -> float:
        """Return the time of the next deadline of a watcher; infinite for none."""
        return self._audience.next_deadline()

    # Watchers come and go.

    def attach(
        self,
        watcher: Watcher,
        job_ids: Iterable[str],
        now: float,
        *,
        wants_all: bool,
        deadline: float,
    ) -> list[Opened]:
        """Let a watcher follow jobs; return those that are open and whose cover may have to change.

        Raises:
            ValueError: The watcher follows jobs already.
        """
        watch = self._audience.add(watcher, job_ids, deadline)
        return self._follow(watch, watch.jobs, now, wants_all)

    def join(self, watcher: Watcher, job_id: str, now: float) -> list[Opened] | None:
        """Let a watcher follow one more job; return what `attach` returns, None if it does already.

        Raises:
            ValueError: The watcher follows other jobs by `attach`.
        """
        record = self._records.get(job_id)
        if record is not None and watcher in record.watchers:
            return None
        return self._follow(self._audience.join(watcher, 1), (job_id,), now, wants_all=False)

    def _follow(
        self, watch: Watch, job_ids: Iterable[str], now: float, wants_all: bool
    ) -> list[Opened]:
        watcher = watch.watcher
        opened = []
        ended: set[str] = set()
        for job_id in job_ids:
            record = self._records.get(job_id)
            if record is None:
                record = self._records[job_id] = Record(job_id, added_at=self._moment(now))
            elif watcher in record.watchers or job_id in ended:
                watch.waiting -= 1  # named twice
                continue
            if record.status is not None:
                # Present state first: a late watcher has seen none of the versions before.
                late = msgspec.structs.replace(record.status, skipped=record.version - 1)
                self.actions.append(Deliver((watcher,), late, is_late=True))
            if record.is_final:
                watch.waiting -= 1
                ended.add(job_id)
                continue
            is_new = not record.watchers
            wants_more = wants_all and not record.wants_all
            record.watchers = watch.alone if is_new else (*record.watchers, watcher)
            record.wants_all = record.wants_all or wants_all
            self.open_jobs += is_new
            if is_new or wants_more:
                opened.append(Opened(record, is_new, wants_more))
        self.actions += self._audience.finish_if_done(watch)
        return opened

    def _moment(self, now: float) -> float:
        """Return the time roughly: a float that many records share, instead of one each."""
        if now - self._added_at > _MOMENT:
            self._added_at = now
        return self._added_at

    def detach(self, watcher: Watcher) -> list[Record]:
        """Forget a watcher; return the records that nobody watches any more."""
        watch = self._audience.remove(watcher)
        closed = []
        for job_id in watch.jobs if watch is not None else ():
            record = self._records.get(job_id)
            if record is None or watcher not in record.watchers:
                continue
            record.watchers = tuple(other for other in record.watchers if other is not watcher)
            if not record.watchers:
                closed.append(record)
        self.open_jobs -= len(closed)
        return closed

    def leave(self, watcher: Watcher, job_id: str) -> list[Record]:
        """Undo `join`; return the record if nobody watches it any more."""
        record = self._records.get(job_id)
        if record is None or watcher not in record.watchers:
            return []
        self.actions += self._audience.ended((watcher,))
        record.watchers = tuple(other for other in record.watchers if other is not watcher)
        if record.watchers:
            return []
        self.open_jobs -= 1
        return [record]

    def expire(self, now: float, trouble: VtransError | None = None) -> list[Record]:
        """End the watches whose time is over; return the records that nobody watches any more.

        Args:
            now: Monotonic seconds.
            trouble: What stands between us and the server; None while nothing does.
        """
        closed = []
        for watch in self._audience.expired(now):
            error = self._timeout_of(watch)
            if trouble is not None and trouble.job_id in (None, *watch.jobs):
                error.add_note(f"the last trouble was: {trouble}")
            self.actions.append(Fail(watch.watcher, None, error))
            closed += self.detach(watch.watcher)
        return closed

    # News of a job.

    def offer(self, record: Record, status: JobStatus, source: Source, now: float) -> Verdict:
        """Merge a status into a record, and tell whoever watches."""
        verdict = offer(record, status, source, now)
        counters = self.counters
        if verdict is _NEWER or verdict is _RESTARTED:
            if source is _PUSH:
                counters.pushes += 1
            elif source is _WEBHOOK:
                counters.webhook_updates += 1
            else:
                counters.poll_updates += 1
            applied = record.status
            assert applied is not None, "an applied status is in its record"
            if record.watchers:
                self.actions.append(Deliver(record.watchers, applied))
                if applied.state in FINAL:
                    self._end(record)
        elif verdict is Verdict.HOLE:
            counters.holes += 1
        elif verdict is Verdict.REPEATED:
            counters.duplicates += 1
        elif verdict is Verdict.CONTRADICTED:
            counters.contradictions += 1
        return verdict

    def fail(self, record: Record, error: VtransError) -> None:
        """End a job with an error. Whoever asks again gets a fresh look, not this verdict."""
        self.actions += [Fail(watcher, record.job_id, error) for watcher in record.watchers]
        self._end(record)
        record.status = None
        record.mends = record.holes = record.reads = 0

    def remove(self, record: Record) -> None:
        """Forget a record that nobody watches."""
        assert not record.watchers, "only a record without watchers may go"
        del self._records[record.job_id]
        # A slot of the wheel may refer to the record for two minutes more; its status need not.
        record.status = None

    def close(self, error: VtransError) -> None:
        """End every watch, and forget every record.

        A watch ends as a whole, not job by job: closing with many jobs takes hardly longer.
        """
        self.actions += [Fail(watcher, None, error) for watcher in self._audience.clear()]
        self._records.clear()
        self.open_jobs = 0

    def _end(self, record: Record) -> None:
        watchers, record.watchers = record.watchers, ()
        self.open_jobs -= bool(watchers)
        self.actions += self._audience.ended(watchers)

    def _timeout_of(self, watch: Watch) -> WatchTimeout:
        if watch.waiting > 1:
            return WatchTimeout(f"{watch.waiting} jobs had not ended when the timeout passed")
        records = map(self.find, watch.jobs)
        [record] = [each for each in records if each and watch.watcher in each.watchers]
        last = record.status
        state = "was not heard of" if last is None else f"was {last.state}"
        return WatchTimeout(
            f"job {record.job_id} {state} when the timeout passed",
            job_id=record.job_id,
            last_status=last,
        )
