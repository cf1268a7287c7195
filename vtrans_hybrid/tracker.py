"""The core: every job of a client, and every decision about them. No clock, no randomness, no I/O.

A shell feeds what happened, with the time at which it happened, and carries out the actions that
come out. It holds one timer, for `next_deadline()`. The parts of the decision have files of their
own: `merge.py` (what is news), `audience.py` (who wants to know), `link.py` (when to dial and hang
up), `subscriptions.py` (what the channel has been told), `schedule.py` (when to read). This file
joins them. Its transitions:

A job, by what happens to it:

    state     event                                   next      actions
    -----     -----                                   ----      -------
    ABSENT    attach                                  OPEN      Subscribe when live, else a poll
    OPEN      a newer status                          OPEN      Deliver
    OPEN      a final status                          FINAL     Deliver, Finish
    OPEN      not found, and never seen before        FAILED    Fail(JobNotFound)
    OPEN      not found, and the history is a new one FAILED    Fail(JobLost)
    OPEN      not found for 10 s, though seen before  FAILED    Fail(JobLost)
    OPEN      a tombstone                             FAILED    Fail(JobNotFound)
    OPEN      401 on any poll; a fatal refusal        FAILED    Fail(that error)
    OPEN      last watcher leaves                     LINGER
    FINAL     anything about it                       FINAL     none: absorbed
    FINAL     attach                                  FINAL     Deliver, Finish
    LINGER    attach                                  OPEN      Deliver what is known
    LINGER    1 s later, no poll in flight            ABSENT    Unsubscribe
    FINAL     1 s later                               ABSENT

How an open job is covered (`Record.synced`, `poll_at`, `in_flight`). Overlap is free, a hole is a
bug: an open job always has a read ahead, in line or in flight.

    event                     effect
    -----                     ------
    welcome                   subscribe all open jobs, a window of batches at a time
    synced, without error     covered: the next read becomes an audit
    synced, with an error     read at once: REST decides
    connection lost           uncovered: read after `FALLBACK_AFTER` + spread; soon if push is off
    hole in the versions      subscribe again from the known version, and read at once
    poll with news, covered   doubt: three that push does not confirm within 2 s drop the connection

Push trouble never fails a watch. A poll error does only while no server has ever answered, for a
wrong address looks like an outage for ever.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import assert_never

import msgspec

from vtrans_hybrid.audience import Audience, Deliver, Fail, Finish, Watch
from vtrans_hybrid.dialect import (
    Answer,
    Capabilities,
    ChannelError,
    Drain,
    Events,
    Ignored,
    Ping,
    Pong,
    Received,
    Subscribe,
    Synced,
    Unsubscribe,
    Welcome,
)
from vtrans_hybrid.errors import (
    AuthError,
    ConnectionLost,
    JobLost,
    JobNotFound,
    ProtocolError,
    TransportError,
    VtransError,
    WatchTimeout,
)
from vtrans_hybrid.link import Dial, Hangup, Link, Phase
from vtrans_hybrid.merge import Record, Verdict, Watcher, number, offer, predict
from vtrans_hybrid.models import JobStatus, Source
from vtrans_hybrid.policy import PollPolicy, RetryPolicy
from vtrans_hybrid.schedule import FALLBACK_AFTER, Outage, Poll, Schedule
from vtrans_hybrid.subscriptions import Doubts, Subscriptions

__all__ = ["Action", "Counters", "Send", "Tracker"]

logger = logging.getLogger("vtrans_hybrid.tracker")

_LINGER = 1.0
"""Seconds for which a job is kept after its end or its last watcher."""

_LINK_LINGER = 15.0
"""Seconds for which the channel is kept without a job: dials are dearer than an idle socket."""

_NOT_FOUND_GRACE = 10.0
"""Seconds for which a job that exists may be unknown: a replica may not have heard of it yet."""

_NOT_FOUND_INTERVAL = 1.0
"""Seconds between two reads of a job that should exist and is unknown."""


@dataclass(frozen=True, slots=True)
class Send:
    """Action: send a message on a connection."""

    generation: int
    message: Subscribe | Unsubscribe | Pong


Action = Dial | Hangup | Send | Poll | Deliver | Fail | Finish


@dataclass(slots=True)
class Counters:
    """What happened so far: every field a count."""

    pushes: int = 0
    """Updates that came by push."""
    poll_updates: int = 0
    """Updates that came by polling."""
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


class Tracker:
    """Decides for all jobs of one client. All times are monotonic seconds.

    Args:
        capabilities: What the backend can do.
        rand: Source of random numbers in [0, 1).
        now: The present.
        poll: How often to read a running job.
        retry: How errors are waited out.
        uses_push: Whether to use the channel, where there is one.
        uses_polls: Whether to poll.
        max_in_flight: How many polls may be under way at once.
    """

    def __init__(
        self,
        capabilities: Capabilities,
        rand: Callable[[], float],
        now: float,
        *,
        poll: PollPolicy,
        retry: RetryPolicy,
        uses_push: bool = True,
        uses_polls: bool = True,
        max_in_flight: int = 10,
    ) -> None:
        has_channel = uses_push and capabilities.push_path is not None
        self.link = Link(rand, retry.backoff, enabled=has_channel)
        self.counters = Counters()
        self.has_heard = False
        """Whether the server has ever answered in the words of its dialect."""
        self._schedule = Schedule(poll, capabilities, rand, max_in_flight=max_in_flight, now=now)
        self._rand = rand
        self._retry = retry
        self._uses_polls = uses_polls
        self._now = now
        self._records: dict[str, Record] = {}
        self._audience = Audience()
        self._subscriptions = Subscriptions()
        self._doubts = Doubts()
        self._outage = Outage(retry.backoff)
        self._created: dict[str, float] = {}
        self._missing: dict[str, float] = {}
        self._open = 0
        self._idle_at = math.inf
        self._epoch = ""
        self._actions: list[Action] = []

    @property
    def open_jobs(self) -> int:
        """How many jobs are followed now."""
        return self._open

    # Watchers come and go.

    def attach(
        self,
        watcher: Watcher,
        job_ids: Iterable[str],
        now: float,
        *,
        wants_all: bool = False,
        deadline: float = math.inf,
    ) -> None:
        """Let a watcher follow jobs, until they end or the deadline passes."""
        self._now = now
        watch = self._audience.add(watcher, job_ids, deadline)
        for job_id in tuple(watch.jobs):
            self._attach_one(watch, job_id, wants_all)
        self._actions += self._audience.finish_if_done(watch)

    def _attach_one(self, watch: Watch, job_id: str, wants_all: bool) -> None:
        record = self._records.get(job_id)
        if record is None:
            record = self._records[job_id] = Record(job_id, added_at=self._now)
        if record.status is not None:
            # Present state first: a late watcher has seen none of the versions before.
            late = msgspec.structs.replace(record.status, skipped=record.version - 1)
            self._actions.append(Deliver((watch.watcher,), late))
            if record.is_final:
                watch.jobs.discard(job_id)
                return
        is_new = not record.watchers
        wants_more = wants_all and not record.wants_all
        record.watchers = (*record.watchers, watch.watcher)
        record.wants_all = record.wants_all or wants_all
        if is_new:
            self._open += 1
            self._cover(record)
        elif wants_more:
            self._subscriptions.add(record)

    def _cover(self, record: Record) -> None:
        """Give a job that just got its first watcher a subscription and a read."""
        is_covered = self.link.covers(record.synced)
        if not is_covered or record.wants_all:
            self._subscriptions.add(record)
        if record.in_flight or not self._uses_polls:
            return
        if is_covered:
            self._plan(record)
            return
        is_push_near = self.link.phase in (Phase.IDLE, Phase.DIALING, Phase.LIVE)
        wait = FALLBACK_AFTER if self.link.enabled and is_push_near else 0.0
        self._schedule.arm(record, self._now + wait)

    def detach(self, watcher: Watcher, now: float) -> None:
        """Forget a watcher. It gets nothing more, not even `Finish`."""
        self._now = now
        watch = self._audience.remove(watcher)
        for job_id in watch.jobs if watch is not None else ():
            record = self._records.get(job_id)
            if record is None or watcher not in record.watchers:
                continue
            record.watchers = tuple(w for w in record.watchers if w is not watcher)
            if not record.watchers:
                self._close(record)

    def created(self, statuses: Iterable[JobStatus], now: float) -> None:
        """Note jobs that this client just ordered: for a while they may be unknown elsewhere."""
        for job_id, until in tuple(self._created.items()):
            if until > now:
                break
            del self._created[job_id]
        for status in statuses:
            self._created[status.job_id] = now + _NOT_FOUND_GRACE

    # What happens on the network.

    def received(self, generation: int, message: Received, now: float) -> None:
        """Take a message of the channel."""
        connection = self.link.find(generation)
        if connection is None:
            return
        self._now = now
        connection.heard_at = now
        match message:
            case Events():
                for status in message.events if connection.is_live else ():
                    self._doubts.dispel(status.job_id, status.version)
                    record = self._records.get(status.job_id)
                    if record is not None:
                        self._offer(record, status, Source.PUSH)
            case Ping():
                self.link.spread = max(0.25, message.spread or self.link.spread)
                self._actions.append(Send(generation, Pong(message.n)))
            case Synced():
                self._take_synced(generation, message)
            case Welcome():
                self._take_welcome(generation, message)
            case Drain():
                self.link.drain(generation, message, now)
            case ChannelError():
                self._take_refusal(generation, message)
            case Ignored():
                pass
            case _:
                assert_never(message)

    def push_lost(self, generation: int, error: VtransError, now: float) -> None:
        """Take the end of a connection, or the failure to open one."""
        self._now = now
        if self.link.lost(generation, error, now):
            self._uncover()

    def push_garbled(self, generation: int, error: ProtocolError, now: float) -> None:
        """Take a frame that made no sense."""
        self._now = now
        if self.link.nonsense(generation, error, now):
            self._uncover()

    def polled(self, poll_id: int, result: Answer | VtransError, now: float) -> None:
        """Take the result of a `Poll`."""
        self._now = now
        poll = self._schedule.finish(poll_id)
        if poll is None:
            return
        if isinstance(result, Answer):
            self._take_answer(poll, result)
        else:
            self._take_poll_error(poll, result)

    # Time passes.

    def next_deadline(self) -> float:
        """Return when `advance` must be called at the latest; infinite for never."""
        return min(
            self._schedule.wake_at,
            self._schedule.line_moves_at(),
            self.link.deadline(),
            self._audience.next_deadline(),
            self._doubts.next_deadline(),
            self._idle_at,
        )

    def advance(self, now: float) -> None:
        """Do whatever is due."""
        self._now = now
        if self.link.advance(now):
            self._uncover()
        for watch in self._audience.expired(now):
            self._actions.append(Fail(watch.watcher, None, self._timeout_of(watch)))
            self.detach(watch.watcher, now)
        if self._doubts.is_liar(now):
            self._drop_liar()
        for record in self._schedule.advance(now):
            self._wake(record)
        if now >= self._idle_at:
            self._idle_at = math.inf
            self._subscriptions.stop()
            self.link.want(False, now)

    def actions(self) -> list[Action]:
        """Return what is to be done now, in order, and forget it."""
        self._keep_link()
        self._flush_subscriptions()
        if self._uses_polls:
            while poll := self._schedule.start(self._epoch, self._now):
                self.counters.polls += 1
                self._actions.append(poll)
        # Hangups first: a dial that replaces a connection must not meet its predecessor.
        done = [*self.link.actions, *self._actions]
        self.link.actions, self._actions = [], []
        return done

    def close(self, error: VtransError) -> list[Action]:
        """End everything; return the last actions."""
        self.link.close()
        self._fail_all(error)
        self._records.clear()
        self._schedule.clear()
        self._doubts.clear()
        self._idle_at = math.inf
        last = [*self.link.actions, *self._actions]
        self.link.actions, self._actions = [], []
        return last

    # Private methods: news of a job.

    def _offer(self, record: Record, status: JobStatus, source: Source) -> Verdict:
        if status.gone:
            self._fail_job(
                record, _not_found(f"the server has deleted job {record.job_id}", record)
            )
            return Verdict.ABSORBED
        verdict = offer(record, status, source, self._now)
        if verdict.is_applied:
            self._applied(record, source)
        elif verdict is Verdict.HOLE:
            self.counters.holes += 1
            self._subscriptions.add(record)
            self._read_now(record)
        elif verdict is Verdict.REPEATED:
            self.counters.duplicates += 1
        elif verdict is Verdict.CONTRADICTED:
            self.counters.contradictions += 1
        return verdict

    def _applied(self, record: Record, source: Source) -> None:
        status = record.status
        assert status is not None, "an applied status is in its record"
        if source is Source.PUSH:
            self.counters.pushes += 1
        else:
            self.counters.poll_updates += 1
        if self._missing:
            self._missing.pop(record.job_id, None)
        if status.epoch > self._epoch:
            self._epoch = status.epoch
        if record.watchers:
            self._actions.append(Deliver(record.watchers, status))
        if status.is_final:
            self._end(record)
            return
        predict(record, status.estimated_time_remaining, self._now)
        if record.end_at < record.poll_at and self.link.covers(record.synced):
            self._schedule.hasten(record, self._schedule.plan_covered(record, self._now))

    def _end(self, record: Record) -> None:
        watchers, record.watchers = record.watchers, ()
        self._actions += self._audience.ended(record.job_id, watchers)
        if watchers:
            self._close(record)

    def _fail_job(self, record: Record, error: VtransError) -> None:
        self.counters.failures += 1
        self._missing.pop(record.job_id, None)
        self._actions += [Fail(watcher, record.job_id, error) for watcher in record.watchers]
        self._end(record)
        # Whoever asks again shall get a fresh look, not this verdict.
        self._remove(record)

    def _fail_all(self, error: VtransError) -> None:
        for record in tuple(self._records.values()):
            if record.watchers:
                self._fail_job(record, error)

    def _close(self, record: Record) -> None:
        """Let a job without watchers linger."""
        self._open -= 1
        self._schedule.arm(record, self._now + _LINGER)

    def _remove(self, record: Record) -> None:
        if self._records.get(record.job_id) is record:
            del self._records[record.job_id]
        record.poll_at = math.inf
        self._subscriptions.discard(record)

    # Private methods: the channel.

    def _keep_link(self) -> None:
        """Want the channel while there is a job, and for a while after."""
        if self._open:
            self._idle_at = math.inf
            self.link.want(True, self._now)
        elif self.link.is_wanted and self._idle_at == math.inf:
            self._idle_at = self._now + _LINK_LINGER

    def _take_welcome(self, generation: int, welcome: Welcome) -> None:
        if welcome.epoch < self._epoch:
            # docs/protocol.md section 1: a newer epoch sorts after, so this replica is behind.
            logger.warning("replica %r serves an older history than others did", welcome.replica)
            error = ConnectionLost("the replica serves an older history", code=4000)
            self.link.drop(generation, 4000, error, self._now)
            self._uncover()
        elif self.link.opened(generation, welcome, self._now):
            self.has_heard = True
            self._doubts.clear()
            watched = [r for r in self._records.values() if r.watchers]
            self._subscriptions.start(generation, watched)
            self._note_progress(generation)

    def _flush_subscriptions(self) -> None:
        primary = self.link.primary
        if primary is None or primary.welcome is None:
            return
        for message in self._subscriptions.flush(primary.welcome, self.link.batch_limit):
            self._actions.append(Send(primary.generation, message))
            if isinstance(message, Subscribe):
                self.link.await_sync(primary.generation, self._now)

    def _take_synced(self, generation: int, message: Synced) -> None:
        for record in self._subscriptions.synced(message):
            if record.job_id in message.errors:
                self._take_unsynced(record)
                continue
            record.synced = generation
            if record.watchers and not record.in_flight:
                self._plan(record)
        self._note_progress(generation)

    def _take_unsynced(self, record: Record) -> None:
        """Deal with a job that the channel refuses: REST decides, where it may be asked."""
        record.subscribed = 0
        if self._uses_polls:
            self._read_now(record)
        elif record.watchers:
            said = f"the server does not know job {record.job_id}"
            self._take_not_found(record, _not_found(said, record), self._epoch)

    def _take_refusal(self, generation: int, message: ChannelError) -> None:
        logger.warning("the channel reports %s: %s", message.code, message.message[:200])
        for record in self._subscriptions.refused(message.id):
            # Refused as a whole: these jobs live by polling until the next connection.
            self._read_now(record)
        self._note_progress(generation)
        if message.retry_after is not None:
            self._schedule.hold(self._now + message.retry_after)

    def _note_progress(self, generation: int) -> None:
        if self._subscriptions.is_pending:
            self.link.await_sync(generation, self._now)
        else:
            self.link.synced(generation, self._now)

    def _uncover(self) -> None:
        """Give every job that no live connection covers a read soon."""
        if self.link.primary is None:
            self._subscriptions.stop()
        if not self._uses_polls:
            self._give_up_push()
            return
        wait = 0.0 if self.link.phase is Phase.OFF else FALLBACK_AFTER
        at = self._now + wait + self.link.spread * self._rand()
        for record in self._records.values():
            if record.watchers and not record.in_flight and not self.link.covers(record.synced):
                self._schedule.hasten(record, at)

    def _give_up_push(self) -> None:
        """Without polls, a channel that will not come is the end of every watch."""
        error = self.link.last_error
        is_unheard = not self.has_heard and self.link.attempt >= self._retry.max_attempts
        if error is not None and (is_unheard or self.link.phase is Phase.OFF):
            self._fail_all(error)

    def _drop_liar(self) -> None:
        primary = self.link.primary
        if primary is None:
            return
        error = ConnectionLost("the channel is open, but polls find news that it does not bring")
        logger.warning("%s: connecting anew", error)
        self.link.drop(primary.generation, 4000, error, self._now)
        self._uncover()

    # Private methods: reads.

    def _read_now(self, record: Record) -> None:
        if record.watchers and self._uses_polls and not record.in_flight:
            self._schedule.hasten(record, self._now)

    def _plan(self, record: Record, poll_after: float | None = None) -> None:
        """Set the next read of an open job that has none in flight."""
        if not self._uses_polls:
            return
        if self.link.covers(record.synced):
            at = self._schedule.plan_covered(record, self._now)
        else:
            at = self._schedule.plan_uncovered(record, self._open, poll_after, self._now)
        self._schedule.arm(record, at)

    def _wake(self, record: Record) -> None:
        """Deal with a record whose slot came up."""
        if not record.watchers and record.in_flight:
            self._schedule.arm(record, self._now + _LINGER)
        elif not record.watchers:
            self._remove(record)
        elif not self._uses_polls:
            self._subscriptions.add(record)
        elif record.in_flight:
            return  # its answer plans the next read
        elif self.link.covers(record.synced) and not self._schedule.is_audit_due(record, self._now):
            self._plan(record)
        else:
            self._schedule.queue(record)

    def _take_answer(self, poll: Poll, answer: Answer) -> None:
        self.has_heard = True
        self._outage.end()
        for status in answer.statuses:
            record = self._records.get(status.job_id)
            if record is not None and not record.is_final:
                self._take_read(record, status, poll.started_at)
        self._epoch = max(self._epoch, answer.epoch)
        for record in poll.records:
            record.reads += 1
            error = answer.errors.get(record.job_id)
            if not record.watchers:
                continue
            if error is not None:
                self._take_job_error(record, error, answer.epoch)
            elif record.holes:
                self._schedule.arm(record, self._now)
            else:
                if record.subscribed == 0:
                    self._subscriptions.add(record)
                self._plan(record, answer.poll_after)

    def _take_read(self, record: Record, status: JobStatus, started_at: float) -> None:
        was_covered = self.link.covers(record.synced)
        if not status.version:
            predict(record, status.estimated_time_remaining, self._now)
            numbered = number(record, status, started_at)
            if numbered is None:
                return
            status = numbered
        if self._offer(record, status, Source.POLL).is_applied and was_covered:
            self._doubts.raise_on(record.job_id, status.version, self._now)

    def _take_poll_error(self, poll: Poll, error: VtransError) -> None:
        if isinstance(error, AuthError) and error.status == 401:
            self._fail_all(error)
            return
        delay = 0.0
        if error.retryable:
            delay = self._outage.delay(error, self._rand(), self._now)
            self._schedule.hold_after(error, delay, self._now)
        is_hopeless = (
            not self.has_heard
            and self._outage.failures >= self._retry.max_attempts
            and isinstance(error, (TransportError, ProtocolError))
        )
        for record in poll.records:
            if not record.watchers:
                continue
            if isinstance(error, JobNotFound):
                self._take_not_found(record, error, "")
            elif is_hopeless or not error.retryable:
                self._fail_job(record, error)
            else:
                self._schedule.arm(record, self._now + delay)

    def _take_job_error(self, record: Record, error: VtransError, epoch: str) -> None:
        if isinstance(error, JobNotFound):
            self._take_not_found(record, error, epoch)
        elif error.retryable:
            self._schedule.arm(record, self._now + self._retry.backoff.delay(1, self._rand()))
        else:
            self._fail_job(record, error)

    def _take_not_found(self, record: Record, error: VtransError, epoch: str) -> None:
        """Decide whether a job that the server does not know is late, lost or was never there."""
        now = self._now
        is_expected = record.status is not None or self._created.get(record.job_id, 0.0) > now
        since = self._missing.setdefault(record.job_id, now) if is_expected else now
        is_other_history = bool(record.epoch) and epoch > record.epoch
        if not is_expected:
            self._fail_job(record, error)
        elif is_other_history or now - since >= _NOT_FOUND_GRACE:
            self._fail_job(record, _lost(record.job_id, error))
        else:
            self._schedule.arm(record, now + _NOT_FOUND_INTERVAL)

    def _timeout_of(self, watch: Watch) -> WatchTimeout:
        if len(watch.jobs) > 1:
            return WatchTimeout(f"{len(watch.jobs)} jobs had not ended when the timeout passed")
        [job_id] = watch.jobs
        last = self._records[job_id].status
        state = "was not heard of" if last is None else f"was {last.state}"
        return WatchTimeout(
            f"job {job_id} {state} when the timeout passed; it goes on at the server",
            job_id=job_id,
            last_status=last,
        )


def _not_found(sentence: str, record: Record) -> JobNotFound:
    return JobNotFound(sentence, status=404, code="not_found", job_id=record.job_id)


def _lost(job_id: str, cause: VtransError) -> JobLost:
    sentence = f"the server no longer knows job {job_id}: it lost its state, so submit it again"
    error = JobLost(sentence, job_id=job_id)
    error.__cause__ = cause
    return error
