"""The push channel as the core sees it: one link, what has been told on it, and whether it lies.

This file joins `link.py` and `subscriptions.py`. It knows which jobs push covers and keeps the
server to its word; what a job without cover needs is none of its business. Its rules:

    event                      effect
    -----                      ------
    welcome                    subscribe what the caller names, a window of batches at a time
    welcome of an older epoch  a replica that is behind: drop the connection and come back
    synced                     the jobs of the batch are covered, but those it lists as errors
    every first batch done     the link is synced, and the leaving connection may go
    oldest batch without
      an answer for 10 s       the link drops the connection
    a refusal of a batch       its jobs are not covered; no subscribe before its `retry_after`
    a frame without sense      whatever it brought is lost: subscribe everything anew
    three doubts that stand    drop the connection
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable

from msgspec import Struct

from vtrans_hybrid.errors import ConnectionLost, ProtocolError
from vtrans_hybrid.link import Connection, Link
from vtrans_hybrid.merge import Record
from vtrans_hybrid.messages import ChannelError, Pong, Subscribe, Synced, Unsubscribe, Welcome
from vtrans_hybrid.policy import Backoff
from vtrans_hybrid.subscriptions import Doubts, Subscriptions

__all__ = ["Push", "Send"]

logger = logging.getLogger("vtrans_hybrid.push")

_PROGRESS = 2.0
"""Seconds for which an answer to one batch lets the jobs of the next ones wait for theirs."""


class Send(Struct, frozen=True, gc=False):
    """Action: send a message on a connection."""

    generation: int
    message: Subscribe | Unsubscribe | Pong


class Push:
    """Which jobs push covers, and what the server must be told for it.

    Args:
        rand: Source of random numbers in [0, 1).
        backoff: Delay between attempts.
        enabled: Whether the backend has a channel and the application wants it.
    """

    def __init__(self, rand: Callable[[], float], backoff: Backoff, *, enabled: bool) -> None:
        self.link = Link(rand, backoff, enabled=enabled)
        self.doubts = Doubts()
        self._subscriptions = Subscriptions()
        self._held_until: float | None = None
        self._progress_at = -math.inf

    @property
    def has_mail(self) -> bool:
        """Whether there is something to tell the server, so that `flush` is worth a call."""
        return self._subscriptions.has_mail

    # Jobs come and go.

    def covers(self, record: Record) -> bool:
        """Whether push brings what is new about a job."""
        return record.synced > 0 and self.link.covers(record.synced)

    def is_bringing(self, record: Record, now: float) -> bool:
        """Whether push is about to cover a job: it has been asked, and it has just answered.

        A job of which it left something out is none of them, for there it needs help.
        """
        is_asked = abs(record.subscribed) == self._subscriptions.generation != 0
        is_whole = not record.is_torn and not self.has_missed(record)
        return is_asked and is_whole and now - self._progress_at < _PROGRESS

    def follow(self, record: Record, *, again: bool = False) -> None:
        """Subscribe a job on the connection in use.

        Args:
            record: The job.
            again: Subscribe it even if it is subscribed, for its cursor or its mode has changed.
                Where the connection has left something out, that is so anyway.
        """
        is_told = record.subscribed == self._subscriptions.generation
        if again or not is_told or self.has_missed(record):
            self._subscriptions.add(record)

    def missed(self, record: Record) -> None:
        """Note that the connection in use left something of a job out.

        It does not cover the job, whatever it says, until the job is subscribed anew.
        """
        record.synced = -self._subscriptions.generation

    def has_missed(self, record: Record) -> bool:
        """Whether the connection in use left something of a job out since it was subscribed."""
        return record.synced == -self._subscriptions.generation != 0

    def forget(self, record: Record) -> None:
        """Unsubscribe a job that nobody watches any more."""
        self._subscriptions.discard(record)
        if not record.is_final:
            self.doubts.discard(record.job_id)

    def forget_all(self) -> None:
        """Let the channel go: there is no job to follow."""
        self._subscriptions.stop()
        self.doubts.clear()

    # What the server says.

    def opened(
        self, generation: int, welcome: Welcome, records: Iterable[Record], now: float
    ) -> bool:
        """Take a welcome and subscribe these jobs; return whether the connection counts."""
        if not self.link.opened(generation, welcome, now):
            return False
        self.doubts.clear()
        self._subscriptions.start(generation, records)
        return True

    def synced(self, generation: int, message: Synced, now: float) -> list[Record]:
        """Take the answer to a batch; return its jobs, those that are covered and the others."""
        if generation != self._subscriptions.generation:
            return []
        before = self._subscriptions.oldest
        records = self._subscriptions.synced(message)
        self._note_progress(before, now)
        for record in records:
            if record.job_id not in message.errors and not self.has_missed(record):
                record.synced = generation
        return records

    def excluded(self, record: Record) -> bool:
        """Note that the server does not push a job; return whether it is the first time."""
        return self._subscriptions.excluded(record)

    def astray(self, record: Record) -> bool:
        """Note that the first status of a job went astray; return what `excluded` does."""
        return self._subscriptions.astray(record)

    def refused(self, generation: int, message: ChannelError, now: float) -> list[Record]:
        """Take a refusal; return the jobs that are not covered because of it."""
        hold = message.hold
        self.link.hold(now + hold)
        if generation != self._subscriptions.generation:
            return []
        if hold:
            self._held_until = now + hold
        before = self._subscriptions.oldest
        records = self._subscriptions.refused(message.id)
        self._note_progress(before, now)
        if message.code == "too_large" and records:
            self.link.batch_limit = max(1, min(self.link.batch_limit, len(records) // 2))
        return records

    def garbled(
        self, generation: int, error: ProtocolError, records: Iterable[Record], now: float
    ) -> Connection | None:
        """Take a frame that made no sense; return the connection if it was given up for it.

        Args:
            generation: Where it came from.
            error: What was wrong with it.
            records: The jobs to subscribe anew, for what the frame brought is lost.
            now: Monotonic seconds.
        """
        ended = self.link.nonsense(generation, error, now)
        if ended is None and generation == self._subscriptions.generation:
            for record in records:
                self._subscriptions.add(record)
        return ended

    # Time passes.

    def next_deadline(self) -> float:
        """Return when `advance`, `drop_liar` or `flush` has something to do; infinite for never."""
        at = self.link.deadline()
        if self.doubts:
            at = min(at, self.doubts.next_deadline())
        if self._held_until is not None and self._subscriptions.is_waiting:
            at = min(at, self._held_until)
        return at

    def lost(self) -> None:
        """Note that a connection ended: what it was told counts no more."""
        if self.link.find(self._subscriptions.generation) is None:
            self.forget_all()

    def drop_liar(self, now: float) -> Connection | None:
        """Give up who was told of the jobs, if it has not brought what polls found; return it."""
        told = self._subscriptions.generation
        if not self.doubts.is_liar(now) or self.link.find(told) is None:
            return None
        error = ConnectionLost("the channel is open, but polls find news that it does not bring")
        logger.warning("%s: connecting anew", error)
        return self.link.drop(told, 4000, error, now)

    def settle(self, now: float) -> Connection | None:
        """Note when every job has had its answer; return the connection that may go for it."""
        primary = self.link.primary
        if primary is None or (primary.synced_at < math.inf and self.link.leaving is None):
            return None
        if not primary.is_live or not self._subscriptions.is_caught_up:
            return None
        return self.link.synced(now)

    def flush(self, now: float) -> list[Send]:
        """Return the messages to send now."""
        if self._held_until is not None and now >= self._held_until:
            self._held_until = None
        primary = self.link.primary
        if primary is None or primary.welcome is None:
            return []
        before = self._subscriptions.oldest
        messages = self._subscriptions.flush(
            primary.welcome, self.link.batch_limit, may_subscribe=self._held_until is None
        )
        if messages:
            self._note_progress(before, now)
        return [Send(primary.generation, message) for message in messages]

    def _note_progress(self, before: int, now: float) -> None:
        """Time the oldest batch without an answer: others that are answered do not excuse it."""
        oldest = self._subscriptions.oldest
        if oldest != before:
            self._progress_at = now
            self.link.expect_sync(self._subscriptions.generation, now if oldest else None)
