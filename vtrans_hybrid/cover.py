"""The cover of open jobs: by push, by a read that is planned, or by both.

Overlap is free, a hole is a bug: an open job always has a read ahead (`Record.poll_at`), in line or
in flight. While a *synced* connection covers the job, that read is only an audit.

    event                         effect
    -----                         ------
    attach                        Subscribe when live; a read, later if push is near, or if the job
                                  was ordered just now and the policy knows that it takes a while
    welcome                       subscribe all open jobs, a window of batches at a time
    synced, without error         covered: the next read becomes an audit
    synced, with an error         not covered: read at once, REST decides; subscribe after the read
    synced, but nothing is known  the same: what was sent went astray
    a batch is refused            the same, not before its `retry_after`
    live connection lost          uncovered: read `FALLBACK_AFTER` and a share of the spread of
                                  reads behind the return; only the share if push is off
    hole in the versions          uncovered: subscribe from the known version, and read at once
    a lone status of another
      epoch than the job's        the same
    synced, and still the hole    not covered: the read decides; subscribe once more after it
    a read does not mend it       the next with backoff; if it shows the hole, that counts as one
                                  of three (merge.py)
    last watcher leaves           Unsubscribe 1 s later, unless somebody comes back

So reads give the pace at which a hole is mended, and only what they say of it counts: a channel
that has left something out proves nothing by doing so again. Without polls it is the channel that
decides. Then a slot that comes up is used to subscribe a job that is to be asked for anew, and an
audit is a subscribe once more, from the known version on: its answer says what is new.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

from vtrans_hybrid.ledger import Ledger
from vtrans_hybrid.link import LONGEST_SPREAD, Phase
from vtrans_hybrid.merge import Record, predict
from vtrans_hybrid.messages import ChannelError
from vtrans_hybrid.policy import Backoff
from vtrans_hybrid.push import Push
from vtrans_hybrid.schedule import OVERDUE_GRACE, Schedule

__all__ = ["Cover"]

FALLBACK_AFTER = 2.0
"""Seconds that a dropped channel has to come back before its jobs are polled: most do."""

_LINGER = 1.0
"""Seconds for which a job is kept after its end or its last watcher."""

_SLACK = OVERDUE_GRACE + 1.0
"""Seconds past its predicted end by which a covered job is read at the latest."""

_UNKNOWN_INTERVAL = 1.0
"""Seconds between two attempts with a job that the channel has excluded."""


class Cover:
    """Keeps every open job covered. `now` is monotonic seconds throughout.

    Args:
        ledger: The records.
        push: What the channel covers.
        schedule: When to read.
        backoff: Delay between attempts to mend a hole.
        rand: Source of random numbers in [0, 1).
        uses_polls: Whether to poll.
    """

    def __init__(
        self,
        ledger: Ledger,
        push: Push,
        schedule: Schedule,
        backoff: Backoff,
        rand: Callable[[], float],
        *,
        uses_polls: bool,
    ) -> None:
        self.uses_polls = uses_polls
        self._ledger = ledger
        self._push = push
        self._schedule = schedule
        self._backoff = backoff
        self._rand = rand

    def opened(
        self, record: Record, ordered_at: float, *, is_new: bool, wants_more: bool, now: float
    ) -> None:
        """Cover a job that just got a watcher.

        Args:
            record: The job.
            ordered_at: When it was ordered; minus infinity if it was not just now.
            is_new: Whether nobody watched it before.
            wants_more: Whether every version is wanted now, and was not before.
            now: Monotonic seconds.
        """
        self._push.follow(record, again=wants_more)
        if not is_new:
            return
        if self._push.covers(record):
            self.plan(record, now)
            return
        if not self.uses_polls:
            return
        link = self._push.link
        is_push_near = link.phase in (Phase.IDLE, Phase.DIALING, Phase.LIVE)
        wait = FALLBACK_AFTER if link.enabled and is_push_near else 0.0
        first_at = self._schedule.first_at(ordered_at, self._ledger.open_jobs)
        self._schedule.arm(record, max(now + wait, first_at))

    def closed(self, records: Iterable[Record], now: float) -> None:
        """Keep records without watchers for a moment."""
        for record in records:
            self._schedule.arm(record, now + _LINGER)

    def failed(self, record: Record, now: float) -> None:
        """Stop covering a job that has ended with an error."""
        self._push.forget(record)
        record.subscribed = record.synced = 0
        self.closed((record,), now)

    def applied(self, record: Record, eta: float | None, now: float) -> None:
        """Note a newer status of a running job, and by it when the job should end."""
        predict(record, eta, now)
        # An estimate that shrinks a little with each event must not cost a new slot each time.
        if record.end_at + _SLACK < record.poll_at and self._push.covers(record):
            self._schedule.hasten(record, self._schedule.overdue_at(record))

    def torn(self, record: Record, now: float) -> None:
        """Mend a hole; what is refused while that goes on changes nothing."""
        if not record.is_torn:
            record.mends = 1
            self.ask_anew(record, now)

    def ask_anew(self, record: Record, now: float) -> None:
        """Ask every source from the known version on for what may have been left out."""
        if self._push.covers(record):
            record.synced = 0
            self._push.follow(record, again=True)
        else:
            self._push.missed(record)
        if self.uses_polls:
            self.read_later(record, 0.0, now)

    def look_now(self, record: Record, now: float) -> None:
        """Ask whether there is news of an open job."""
        if self.uses_polls:
            self.read_later(record, 0.0, now)
        else:
            self._push.follow(record, again=True)

    def synced(self, record: Record, now: float) -> None:
        """Note that push has brought a job to its newest status."""
        if record.is_torn or self._push.has_missed(record):
            self._push.missed(record)
            if not self.uses_polls:
                self._mend_later(record, now, is_shown=record.is_torn)
        elif record.status is None and self._ledger.find(record.job_id) is record:
            # Every job has a first status, so what the server sent of this one went astray. (One
            # that was forgotten since it was subscribed may have a successor by now.)
            self._read_soon(record, now, is_first=self._push.astray(record))
        elif record.watchers and not record.in_flight:
            self.plan(record, now)

    def excluded(self, record: Record, now: float) -> None:
        """Let polling follow a job that push does not."""
        self._read_soon(record, now, is_first=self._push.excluded(record))

    def _read_soon(self, record: Record, now: float, *, is_first: bool) -> None:
        if not record.watchers or record.in_flight:
            return
        # The read that finds the job subscribes it anew. Where the channel goes on refusing it,
        # that must not become a read after the other.
        at = now if is_first else self._uncovered_at(record, now)
        self._schedule.hasten(record, at if self.uses_polls else now + _UNKNOWN_INTERVAL)

    def refused(self, records: Iterable[Record], message: ChannelError, now: float) -> None:
        """Let polling follow jobs whose subscribe was refused."""
        wait = message.hold if self.uses_polls else max(message.hold, _UNKNOWN_INTERVAL)
        self._schedule.hold(now + message.hold)
        for record in records:
            self._push.excluded(record)
            self.read_later(record, wait, now)

    def answered(
        self, record: Record, poll_after: float | None, now: float, *, shows_hole: bool
    ) -> None:
        """Plan on after a read that went well.

        Args:
            record: The job.
            poll_after: Seconds before which another read is of no use; None where not said.
            now: Monotonic seconds.
            shows_hole: Whether every version was asked for, and the answer left some out.
        """
        self.plan(record, now, poll_after)
        if record.is_torn:
            self._mend_later(record, now, is_shown=shows_hole)
        self._push.follow(record)

    def unanswered(self, record: Record, delay: float, now: float) -> None:
        """Read a job again `delay` seconds after a read that failed."""
        self._schedule.arm(record, now + delay)
        if self._push.has_missed(record):
            self._push.follow(record)

    def unknown(self, record: Record, now: float) -> None:
        """Ask again soon for a job that should exist."""
        self._schedule.arm(record, now + self._schedule.capabilities.unknown_interval)

    def push_ended(self, now: float, *, was_live: bool) -> None:
        """Go over to reads after a connection that is gone, or that did not come about."""
        if was_live or self._push.link.phase is Phase.OFF:
            self.uncover(now, was_live=was_live)
            return
        # Whoever knows nothing yet does not wait to see whether the next attempt fares better.
        for record in self._ledger.watched():
            if record.status is None:
                self.read_later(record, 0.0, now)

    def uncover(self, now: float, *, was_live: bool) -> None:
        """Give every job that no live connection covers a read soon.

        Args:
            now: Monotonic seconds.
            was_live: Whether a live connection was lost, and so perhaps those of many others.
        """
        link = self._push.link
        wait = FALLBACK_AFTER if link.enabled and link.phase is not Phase.OFF else 0.0
        # Whoever comes back need not ask; the others must not ask all at once.
        returns_at = link.retry_at if link.phase is Phase.BACKOFF else now
        returns_in = min(max(0.0, returns_at - now), link.spread) if was_live else 0.0
        spread = min(link.read_spread, LONGEST_SPREAD - returns_in) if was_live else 0.0
        at = now + wait + returns_in + spread * self._rand()
        for record in self._ledger.watched():
            if not record.in_flight and not self._push.covers(record):
                self._schedule.hasten(record, at)

    def read_later(self, record: Record, delay: float, now: float) -> None:
        """Read an open job in `delay` seconds, unless it is read sooner anyway."""
        if record.watchers and not record.in_flight:
            self._schedule.hasten(record, now + delay)

    def plan(self, record: Record, now: float, poll_after: float | None = None) -> None:
        """Set the next read of an open job that has none in flight."""
        if self._push.covers(record):
            at = self._schedule.plan_covered(record, now)
        else:
            at = self._uncovered_at(record, now, poll_after)
        self._schedule.arm(record, at)

    def wake(self, record: Record, now: float) -> bool:
        """Deal with a record whose slot came up; return whether it may be forgotten."""
        if not record.watchers:
            if record.in_flight:
                self.closed((record,), now)
                return False
            self._push.forget(record)
            return True
        if not self.uses_polls:
            self._ask_by_push(record, now)
        elif record.in_flight:
            pass  # its answer plans the next read
        elif self._push.covers(record) and not self._schedule.is_audit_due(record, now):
            self.plan(record, now)
        elif not self._push.covers(record) and self._push.is_bringing(record, now):
            self._schedule.arm(record, now + FALLBACK_AFTER)
        else:
            self._schedule.queue(record)
        return False

    def _ask_by_push(self, record: Record, now: float) -> None:
        """Use a slot where there are no reads."""
        record.poll_at = math.inf  # or the next slot would seem to lie later than this one
        is_covered = self._push.covers(record)
        if is_covered and not self._schedule.is_audit_due(record, now):
            self.plan(record, now)
        else:
            self._push.follow(record, again=is_covered)

    def _mend_later(self, record: Record, now: float, *, is_shown: bool) -> None:
        """Note that the source which decides did not mend a job; ask it anew after a while."""
        record.holes += is_shown
        record.mends += record.is_torn
        self.read_later(record, self._backoff.delay(max(1, record.mends - 1), self._rand()), now)

    def _uncovered_at(self, record: Record, now: float, poll_after: float | None = None) -> float:
        return self._schedule.plan_uncovered(record, self._ledger.open_jobs, poll_after, now)
