"""When to read which job: one timing wheel for all jobs, one budget for all requests.

Theory
======

Every open job has `poll_at`, whether push covers it or not; what differs is how far away it is.

    the job is                              its next read is
    ----------                              ----------------
    covered by push                         an audit, 60 to 120 s after its last news or audit
    covered, but past its predicted end     5 s after that end, then after twice the delay each time
    not covered, running                    after the interval of the poll policy
    the same, while announcements come      60 to 120 s later, if that is more
    just uncovered by a drop                two seconds later, plus a share of the spread
    new, with the channel not up            at once

A record sits in the wheel at most once under its current `tick`. Moving a read *later* only changes
`poll_at`: the slot notices when its turn comes. That keeps a push event from costing a heap entry.

A due read becomes a request when the gate is open (Retry-After, backoff), a token is there
(`PollPolicy.max_rate`) and fewer than `max_in_flight` polls are under way. Until then it waits in
line (line.py), and a push that arrives meanwhile takes it out of line again. At most one poll is in
flight for a job; its end plans the next read.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable
from dataclasses import dataclass

from msgspec import Struct

from vtrans_hybrid.dialect import Capabilities, Read
from vtrans_hybrid.errors import (
    InvalidRequest,
    QuotaExceeded,
    RateLimited,
    ServerError,
    TransportError,
    VtransError,
)
from vtrans_hybrid.line import Line
from vtrans_hybrid.merge import Record
from vtrans_hybrid.models import Source
from vtrans_hybrid.policy import COHORT, Backoff, Pacing, PollPolicy, TokenBucket

__all__ = ["OVERDUE_GRACE", "Outage", "Poll", "Schedule"]

_TICK = 0.02
"""Width of a slot of the wheel in seconds."""

_AUDIT_INTERVAL = 60.0
"""A covered job is read after this many seconds without news, plus up to one more than as much at
random."""

OVERDUE_GRACE = 5.0
"""Seconds past its predicted end after which even a covered job is read."""

_COHORT_GRID = 0.25
"""Bulk reads of a cohort start at multiples of this many seconds, so that they share requests; or
at those of `PollPolicy.cohort_interval`, from the first of them on."""

_OUTAGE_CAP = 5.0
"""Longest delay in seconds between polls in the first minute of an outage: most are short."""

_MINUTE = 60.0

_TOGETHER = 0.1
"""Polls that fail within so many seconds have failed together, and count as one failure."""


class Poll(Struct, frozen=True):
    """Action: carry out one read, and report how it ended.

    Attributes:
        poll_id: Number to report by.
        read: What to ask.
        started_at: Monotonic time of the start, in seconds.
        records: The jobs asked about.
        source: What led to it, and the source of the updates that come of it.
    """

    poll_id: int
    read: Read
    started_at: float
    records: tuple[Record, ...]
    source: Source = Source.POLL


@dataclass(slots=True)
class Outage:
    """How long polls have been failing, and how long to wait after the next failure.

    Attributes:
        backoff: Delay by the number of failures in a row.
        failures: How many there were since the last answer.
        rejections: How many of them, up to the last one, said that the request was wrong.
    """

    backoff: Backoff
    failures: int = 0
    rejections: int = 0
    _began_at: float = -math.inf
    _failed_at: float = -math.inf

    def end(self) -> None:
        """Note an answer."""
        self.failures = self.rejections = 0

    def delay(self, error: VtransError, rand: float, now: float, spread: float = 0.0) -> float:
        """Count a failed poll and return how many seconds to wait; Retry-After is the least.

        Args:
            error: How it failed.
            rand: A random number in [0, 1).
            now: Monotonic seconds.
            spread: Seconds over which the polls of all clients are spread; this one waits about as
                long at least, so that they stay so.
        """
        if self.failures == 0:
            self._began_at = now
        if self.failures == 0 or now - self._failed_at > _TOGETHER:
            self.failures += 1
            self.rejections = self.rejections + 1 if isinstance(error, InvalidRequest) else 0
            self._failed_at = now
        delay = self.backoff.delay(self.failures, rand)
        if now - self._began_at < _MINUTE:
            delay = min(delay, _OUTAGE_CAP)
        delay = max(delay, min(self.backoff.cap, spread * (0.9 + 0.2 * rand)))
        if isinstance(error, ServerError) and error.retry_after is not None:
            delay = max(delay, error.retry_after)
        return delay


class Schedule:
    """Keeps the wheel, the line of due reads and the budget.

    Args:
        policy: How often to read a running job.
        capabilities: What the backend can do.
        rand: Source of random numbers in [0, 1).
        max_in_flight: How many polls may be under way at once.
        now: Monotonic time of the start, in seconds.
    """

    def __init__(
        self,
        policy: PollPolicy,
        capabilities: Capabilities,
        rand: Callable[[], float],
        *,
        max_in_flight: int,
        now: float,
    ) -> None:
        self.line = Line(_TICK)
        """The reads that are due."""
        self.is_stretched = False
        """Whether reads that only look for news are rare, since announcements come."""
        self._gate_at = -math.inf
        self._policy = policy
        self.capabilities = capabilities
        self._rand = rand
        self._bucket = TokenBucket(policy.max_rate, max(1.0, policy.max_rate), now)
        self._max_in_flight = max_in_flight
        self._polls: dict[int, Poll] = {}
        self._serial = 0
        self._slots: dict[int, list[Record]] = {}
        self._ticks: list[int] = []
        self._passed = math.floor(now / _TICK)
        self._phase = rand() * _COHORT_GRID
        self._beat_at = -math.inf

    def adapt(self, capabilities: Capabilities) -> None:
        """Take note of what the backend can really do."""
        self.capabilities = capabilities

    def arm(self, record: Record, at: float) -> None:
        """Set the next read of a job."""
        record.poll_at = at
        if at == math.inf:
            return
        tick = max(self._passed + 1, math.ceil(at / _TICK))
        if record.tick and record.tick <= tick:
            return
        slot = self._slots.get(tick)
        if slot is None:
            record.tick = tick
            self._slots[tick] = [record]
            heapq.heappush(self._ticks, tick)
        else:
            # One number object for all records of a slot, where the first has not moved away.
            first = slot[0]
            record.tick = first.tick if first.tick == tick else tick
            if first.poll_at == at:
                record.poll_at = first.poll_at
            slot.append(record)

    def hasten(self, record: Record, at: float) -> None:
        """Set the next read of a job, unless it comes sooner anyway."""
        if at < record.poll_at:
            self.arm(record, at)

    def advance(self, now: float) -> list[Record]:
        """Return the records whose time has come, in order."""
        # A slot that has passed takes nothing more, lest it come up again and again at one time.
        self._passed = max(self._passed, math.ceil(now / _TICK))
        due: list[Record] = []
        while self._ticks and self._ticks[0] * _TICK <= now:
            tick = heapq.heappop(self._ticks)
            for record in self._slots.pop(tick):
                if record.tick != tick:
                    continue
                record.tick = 0
                if record.poll_at <= now + _TICK:
                    due.append(record)
                else:
                    self.arm(record, record.poll_at)
        return due

    # What the next read of a job is.

    def plan_covered(self, record: Record, now: float) -> float:
        """Return when to audit a job that push covers."""
        is_fresh = now - record.applied_at < _AUDIT_INTERVAL
        since = record.applied_at if is_fresh else now
        # At whole seconds they meet others in one request, and share the number.
        audit_at = float(math.ceil(since + _AUDIT_INTERVAL * (1 + self._rand())))
        if record.end_at == math.inf:
            return audit_at
        overdue = now - record.end_at
        if overdue < OVERDUE_GRACE:
            return min(audit_at, self.overdue_at(record))
        return min(audit_at, now + overdue)

    def overdue_at(self, record: Record) -> float:
        """Return when a covered job is past its predicted end by enough to be read."""
        return record.end_at + OVERDUE_GRACE

    def is_audit_due(self, record: Record, now: float) -> bool:
        """Whether a covered job whose slot came up has really been silent for long enough."""
        if now >= self.overdue_at(record):
            return True
        return now >= record.applied_at + _AUDIT_INTERVAL

    def plan_uncovered(
        self, record: Record, open_jobs: int, poll_after: float | None, now: float
    ) -> float:
        """Return when to read a job again that only polling follows."""
        is_bulk = self._is_bulk(open_jobs)
        pacing = Pacing(
            reads=record.reads,
            elapsed=now - record.added_at,
            eta=None if record.end_at == math.inf else record.end_at - now,
            is_eta_steady=record.is_eta_steady,
            cohort=open_jobs if is_bulk else 1,
        )
        interval = self._policy.interval(pacing, self._rand())
        if poll_after is not None and math.isfinite(poll_after):
            interval = max(interval, min(poll_after, self._policy.max_interval))
        if self.is_stretched and record.status is not None:
            # Those who are read together stay together: at random they would share few requests.
            share = 0.5 if is_bulk else self._rand()
            interval = max(interval, _AUDIT_INTERVAL * (1 + share))
        return self._together(now + interval, open_jobs)

    def first_at(self, ordered_at: float, open_jobs: int) -> float:
        """Return when to read a job first that was ordered just now, and has not ended yet."""
        if ordered_at == -math.inf or not self._policy.first_interval:
            return ordered_at
        return self._together(ordered_at + self._policy.first_interval, open_jobs)

    def is_stuck(self, record: Record, now: float) -> bool:
        """Whether a job has been open for longer than such jobs take."""
        longest = self._policy.stuck_after
        return longest is not None and now - record.added_at >= longest

    def _together(self, at: float, open_jobs: int) -> float:
        """Return when to read a job that could be read at `at`, for it to share a request."""
        if not self._is_bulk(open_jobs) or open_jobs < COHORT:
            return at
        beat = self._policy.cohort_interval
        if beat is None:
            return math.ceil((at - self._phase) / _COHORT_GRID) * _COHORT_GRID + self._phase
        if at - self._beat_at > 2 * beat:
            self._beat_at = at  # the first, or the first after a pause
        return self._beat_at + math.ceil((at - self._beat_at) / beat) * beat

    def _is_bulk(self, open_jobs: int) -> bool:
        can = self.capabilities
        return can.max_bulk > 1 and open_jobs >= can.bulk_from

    # The line.

    def queue(self, record: Record) -> None:
        """Put a due read in line."""
        self.line.join(record)

    def hold(self, until: float) -> None:
        """Start no poll before `until`: the server asks for it, or nobody answers."""
        self._gate_at = max(self._gate_at, until)

    def hold_after(self, error: VtransError, delay: float, now: float) -> None:
        """Hold all polls if the error is about the server, not about the jobs asked for.

        Args:
            error: How a poll failed.
            delay: Seconds to wait before the next one.
            now: Monotonic time.
        """
        retry_after = error.retry_after if isinstance(error, ServerError) else None
        if retry_after is not None:
            self.hold(now + max(delay, retry_after))
        elif isinstance(error, (QuotaExceeded, RateLimited, TransportError)):
            self.hold(now + delay)

    def start(self, epoch: str, now: float, open_jobs: int) -> Poll | None:
        """Start the next poll; None if there is nothing to read or nothing may be sent now.

        Args:
            epoch: The newest history known; what is known of others counts as nothing.
            now: Monotonic time.
            open_jobs: How many jobs are followed.
        """
        if not self.line:
            return None
        self.line.trim(now)
        if not self.line or len(self._polls) >= self._max_in_flight or now < self._gate_at:
            return None
        if not self._bucket.take(now):
            return None
        can = self.capabilities
        most = can.max_bulk if self._is_bulk(open_jobs) else 1
        batch, source = self.line.next_batch(most, can.max_body, now)
        if len(batch) > 1 and now - self._beat_at >= (self._policy.cohort_interval or 0.0) / 2:
            self._beat_at = now
        self._serial += 1
        known = {r.job_id: r.version if r.epoch == epoch else 0 for r in batch}
        read = Read(jobs=known, epoch=epoch, wants_all=batch[0].wants_all)
        poll = self._polls[self._serial] = Poll(self._serial, read, now, tuple(batch), source)
        for record in batch:
            record.in_flight = self._serial
        return poll

    def finish(self, poll_id: int) -> Poll | None:
        """Note the end of a poll; return it, or None if it is none of ours."""
        poll = self._polls.pop(poll_id, None)
        for record in poll.records if poll is not None else ():
            record.in_flight = 0
        return poll

    def next_deadline(self) -> float:
        """Return when a slot comes up, or the line can move by the passing of time alone."""
        slot_at = self._ticks[0] * _TICK if self._ticks else math.inf
        if not self.line or len(self._polls) >= self._max_in_flight:
            return slot_at
        return min(slot_at, max(self._gate_at, self._bucket.ready_at()))

    def clear(self) -> None:
        """Forget every read."""
        self.line.clear()
        self._slots.clear()
        self._ticks.clear()
        self._polls.clear()
