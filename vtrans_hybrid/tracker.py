"""The core: every job of a client, and every decision about them. No clock, no randomness, no I/O.

A shell feeds what happened, with the time at which it happened, and carries out the actions that
come out. It holds one timer, for `next_deadline()`. The parts of the decision have files of their
own, with a table each, and this one joins them:

    ledger.py            the life of a job, and who is told what; over merge.py (what is news)
    absence.py           what it means that the server does not know a job
    cover.py             how every open job stays covered, by push and by reads
    push.py              which jobs push covers; over link.py (when to dial and hang up) and
                         subscriptions.py (what the channel has been told)
    schedule.py          when to read which job

What is decided here is what news and errors do to the jobs that they are about:

    event                                              effect
    -----                                              ------
    a newer status, by push or poll                    Deliver; Finish if it is final
    a newer status by poll, though push covers         the same, and a doubt about push
    a tombstone                                        Fail(JobNotFound)
    a poll says "not found"                            Fail(JobNotFound or JobLost), or ask again
    push says "not found"                              a read decides; without polls like a poll
    401 on any poll                                    Fail(AuthError) for every job
    a poll fails, and trying again is no use           Fail(that error) for its jobs
    a server that has answered rejects a poll          the same, after `max_attempts` in a row
    a poll fails, and the server has never answered    the same, after `max_attempts` failures
    any other failure of a poll                        its jobs again after a backoff
    an answer that was cut short                       its jobs again at once
    push is off or never came, and there are no polls  Fail(the error of push) for every job

Push trouble never fails a watch that may poll; and a poll that gets no answer does so only until
the server has answered once, for a wrong address looks like an outage for ever.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable
from typing import assert_never

from vtrans_hybrid.absence import Absences, unknown_job
from vtrans_hybrid.audience import Deliver, Fail, Finish
from vtrans_hybrid.cover import Cover
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
    Synced,
    Welcome,
)
from vtrans_hybrid.errors import (
    AuthError,
    ConnectionLost,
    InvalidRequest,
    JobNotFound,
    ProtocolError,
    TransportError,
    Unsupported,
    VtransError,
)
from vtrans_hybrid.ledger import Counters, Ledger, Opened
from vtrans_hybrid.link import Connection, Dial, Hangup, Link, Phase
from vtrans_hybrid.merge import Record, Verdict, Watcher, number, predict
from vtrans_hybrid.models import FINAL, JobStatus, Source
from vtrans_hybrid.policy import PollPolicy, RetryPolicy
from vtrans_hybrid.push import Push, Send
from vtrans_hybrid.schedule import Outage, Poll, Schedule

__all__ = ["Action", "Counters", "Send", "Tracker"]

logger = logging.getLogger("vtrans_hybrid.tracker")

_LINK_LINGER = 15.0
"""Seconds for which the channel is kept without a job: dials are dearer than an idle socket."""

# Looked up once: see ledger.py.
_NEWER, _RESTARTED, _PUSH = Verdict.NEWER, Verdict.RESTARTED, Source.PUSH

Action = Dial | Hangup | Send | Poll | Deliver | Fail | Finish


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
        self.has_heard = False
        """Whether the server has ever answered in the words of its dialect."""
        self._rand = rand
        self._retry = retry
        self._now = now
        self._ledger = Ledger()
        self._push = Push(rand, retry.backoff, enabled=has_channel)
        self._schedule = Schedule(poll, capabilities, rand, max_in_flight=max_in_flight, now=now)
        self._cover = Cover(
            self._ledger, self._push, self._schedule, retry.backoff, rand, uses_polls=uses_polls
        )
        self._outage = Outage(retry.backoff)
        self._absences = Absences()
        self._epoch = ""
        self._idle_at = math.inf
        self._sends: list[Send] = []

    @property
    def counters(self) -> Counters:
        """What happened so far."""
        return self._ledger.counters

    @property
    def link(self) -> Link:
        """The state of the push channel."""
        return self._push.link

    @property
    def open_jobs(self) -> int:
        """How many jobs are followed now."""
        return self._ledger.open_jobs

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
        """Let a watcher follow jobs, until they end or the deadline passes.

        Raises:
            ValueError: The watcher follows jobs already.
        """
        opened = self._ledger.attach(watcher, job_ids, now, wants_all=wants_all, deadline=deadline)
        self._cover_opened(opened, now)

    def join(self, watcher: Watcher, job_id: str, now: float) -> bool:
        """Let a watcher follow one more job; return whether it did not do so already."""
        opened = self._ledger.join(watcher, job_id, now)
        self._cover_opened(opened or (), now)
        return opened is not None

    def _cover_opened(self, opened: Iterable[Opened], now: float) -> None:
        self._now = now
        for record, is_new, wants_more in opened:
            self._cover.opened(record, is_new=is_new, wants_more=wants_more, now=now)
            if not self._cover.uses_polls:
                self._check_push(record)

    def _check_push(self, record: Record) -> None:
        """Fail a job that lives by push alone where there is none."""
        if not self.link.enabled:
            sentence = "this backend has no push channel, and polling is switched off"
            self._fail(record, Unsupported(sentence, job_id=record.job_id))
        elif self.link.phase is Phase.OFF and self.link.last_error is not None:
            self._fail(record, self.link.last_error)

    def detach(self, watcher: Watcher, now: float, job_id: str | None = None) -> None:
        """Forget a watcher, which gets nothing more, not even `Finish`; or just a joined job."""
        self._now = now
        ledger = self._ledger
        closed = ledger.detach(watcher) if job_id is None else ledger.leave(watcher, job_id)
        self._cover.closed(closed, now)

    def created(self, statuses: Iterable[JobStatus], now: float) -> None:
        """Note jobs that this client just ordered: for a while they may be unknown elsewhere."""
        self._absences.ordered((status.job_id for status in statuses), now)

    def observed(self, statuses: Iterable[JobStatus], now: float) -> None:
        """Take statuses that the answer to another operation brought along."""
        self._now = now
        for status in statuses:
            record = self._ledger.find(status.job_id)
            if record is not None:
                self._offer(record, status, Source.POLL)

    def adapt(self, capabilities: Capabilities, now: float) -> None:
        """Take note that the backend is of another kind than was thought."""
        self._now = now
        self._schedule.adapt(capabilities)
        if capabilities.push_path is None and self.link.enabled:
            self.link.close()
            self._push.forget_all()
            if self._cover.uses_polls:
                self._cover.uncover(now, was_live=False)
            else:
                for record in tuple(self._ledger.watched()):
                    self._check_push(record)

    # What happens on the network.

    def received(self, generation: int, message: Received, now: float) -> None:
        """Take a message of the channel."""
        connection = self._push.link.find(generation)
        if connection is None:
            return
        self._now = now
        connection.heard_at = now
        if isinstance(message, Welcome):
            self._take_welcome(generation, message)
        elif connection.is_live:
            self._take_message(generation, message)
        # Nothing counts before the welcome: docs/protocol.md section 3.2.

    def push_lost(self, generation: int, error: VtransError, now: float) -> None:
        """Take the end of a connection, or the failure to open one."""
        self._now = now
        self._ended(self.link.lost(generation, error, now))

    def push_garbled(self, generation: int, error: ProtocolError, now: float) -> None:
        """Take a frame that made no sense."""
        self._now = now
        self._ended(self._push.garbled(generation, error, self._ledger.watched(), now))

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
            self._schedule.next_deadline(),
            self._push.next_deadline(),
            self._ledger.next_deadline(),
            self._idle_at,
        )

    def advance(self, now: float) -> None:
        """Do whatever is due."""
        self._now = now
        self._ended(self._push.drop_liar(now), *self.link.advance(now))
        self._cover.closed(self._ledger.expire(now), now)
        for record in self._schedule.advance(now):
            if self._cover.wake(record, now):
                self._absences.present(record.job_id)
                self._ledger.remove(record)
        if now >= self._idle_at and not self.open_jobs:
            self._idle_at = math.inf
            self._push.forget_all()
            self.link.want(False, now)

    def actions(self) -> list[Action]:
        """Return what is to be done now, in order, and forget it."""
        push, ledger, link = self._push, self._ledger, self._push.link
        self._keep_link(link)
        if (replaced := push.settle(self._now)) is not None:
            self._ended(replaced)
        if push.has_mail:
            self._sends += push.flush(self._now)
        # Hangups and dials first: what is sent must not meet a connection that is gone.
        done: list[Action] = [*link.actions, *self._sends, *ledger.actions]
        link.actions, self._sends, ledger.actions = [], [], []
        if self._cover.uses_polls:
            while poll := self._schedule.start(self._epoch, self._now):
                ledger.counters.polls += 1
                done.append(poll)
        return done

    def close(self, error: VtransError) -> list[Action]:
        """End everything; return the last actions."""
        self.link.close()
        self._push.forget_all()
        for record in tuple(self._ledger.watched()):
            self._ledger.fail(record, error)
        self._ledger.clear()
        self._schedule.clear()
        self._idle_at = math.inf
        done: list[Action] = [*self.link.actions, *self._ledger.actions]
        self.link.actions, self._sends, self._ledger.actions = [], [], []
        return done

    # Private methods: news of a job.

    def _offer(self, record: Record, status: JobStatus, source: Source) -> Verdict:
        if status.gone and record.watchers and status.epoch >= record.epoch:
            self._fail(record, unknown_job(record.job_id, "gone"))
            return Verdict.ABSORBED
        verdict = self._ledger.offer(record, status, source, self._now)
        if verdict is _NEWER or verdict is _RESTARTED:
            self._absences.present(record.job_id)
            if status.epoch > self._epoch:
                self._epoch = status.epoch
            if status.state in FINAL:
                self._cover.closed((record,), self._now)
            else:
                self._cover.applied(record, status.estimated_time_remaining, self._now)
        elif verdict is Verdict.HOLE:
            self._cover.torn(record, self._now)
        return verdict

    def _fail(self, record: Record, error: VtransError) -> None:
        self._absences.present(record.job_id)
        self.counters.failures += 1
        self._ledger.fail(record, error)
        self._cover.failed(record, self._now)

    def _fail_all(self, error: VtransError) -> None:
        for record in tuple(self._ledger.watched()):
            self._fail(record, error)

    # Private methods: the channel.

    def _keep_link(self, link: Link) -> None:
        """Want the channel while there is a job, and for a while after."""
        if self._ledger.open_jobs:
            self._idle_at = math.inf
            if not link.is_wanted:
                link.want(True, self._now)
        elif link.is_wanted and self._idle_at == math.inf:
            self._idle_at = self._now + _LINK_LINGER

    def _take_welcome(self, generation: int, welcome: Welcome) -> None:
        if welcome.epoch < self._epoch:
            # docs/protocol.md section 1.1: a newer epoch sorts after, so this replica is behind.
            logger.warning("replica %r serves an older history than others did", welcome.replica)
            error = ConnectionLost("the replica serves an older history", code=4000)
            self._ended(self.link.drop(generation, 4000, error, self._now))
        elif self._push.opened(generation, welcome, self._ledger.watched(), self._now):
            self.has_heard = True
            self._epoch = welcome.epoch

    def _take_message(
        self,
        generation: int,
        message: Events | Synced | Ping | Drain | ChannelError | Ignored,
    ) -> None:
        match message:
            case Events():
                self._take_events(message)
            case Ping():
                if message.spread is not None:
                    self.link.announced(message.spread)
                self._sends.append(Send(generation, Pong(message.n)))
            case Synced():
                self._take_synced(generation, message)
            case Drain():
                self.link.drain(generation, message, self._now)
            case ChannelError():
                logger.warning("the channel reports %s: %s", message.code, message.message[:200])
                refused = self._push.refused(generation, message, self._now)
                self._cover.refused(refused, message, self._now)
            case Ignored():
                pass
            case _:
                assert_never(message)

    def _take_events(self, message: Events) -> None:
        doubts, find = self._push.doubts, self._ledger.find
        for status in message.events:
            if doubts:
                doubts.dispel(status.job_id, status.version)
            record = find(status.job_id)
            if record is not None:
                self._offer(record, status, _PUSH)

    def _take_synced(self, generation: int, message: Synced) -> None:
        for record in self._push.synced(generation, message, self._now):
            if record.job_id not in message.errors:
                self._absences.present(record.job_id)
                self._cover.synced(record, self._now)
                continue
            self._cover.excluded(record, self._now)
            if record.watchers and not self._cover.uses_polls:
                error = unknown_job(record.job_id, message.errors[record.job_id])
                self._take_not_found(record, error, self._epoch)

    def _ended(self, *connections: Connection | None) -> None:
        """Deal with connections that are gone, however they went."""
        ended = [connection for connection in connections if connection is not None]
        if not ended:
            return
        self._push.lost()
        if not self._cover.uses_polls:
            self._give_up_push()
            return
        was_live = any(connection.is_live for connection in ended)
        self._cover.push_ended(self._now, was_live=was_live)

    def _give_up_push(self) -> None:
        """Without polls, a channel that will not come is the end of every watch."""
        error = self.link.last_error
        is_unheard = not self.has_heard and self.link.attempt >= self._retry.max_attempts
        if error is not None and (is_unheard or self.link.phase is Phase.OFF):
            self._fail_all(error)

    # Private methods: reads.

    def _take_answer(self, poll: Poll, answer: Answer) -> None:
        if answer.statuses or answer.errors or answer.epoch:
            self.has_heard = True
            self._outage.end()
        has_news = False
        for status in answer.statuses:
            record = self._ledger.find(status.job_id)
            if record is not None:
                has_news |= self._take_read(record, status, poll.started_at)
        self._epoch = max(self._epoch, answer.epoch)
        # docs/protocol.md section 4.4: zero means that the answer was cut, and there is more.
        is_cut = has_news and answer.poll_after == 0
        for record in poll.records:
            record.reads += 1
            error = answer.errors.get(record.job_id)
            if not record.watchers:
                continue
            if error is not None:
                self._take_job_error(record, error, answer.epoch)
                continue
            self._absences.present(record.job_id)
            self._cover.answered(record, answer.poll_after, self._now)
            if is_cut:
                self._cover.read_later(record, 0.0, self._now)

    def _take_read(self, record: Record, status: JobStatus, started_at: float) -> bool:
        """Merge a status that a poll found; return whether it was news."""
        was_covered = self._push.covers(record)
        if not status.version:
            numbered = number(record, status, started_at)
            if numbered is None:
                if not record.is_final:
                    predict(record, status.estimated_time_remaining, self._now)
                return False
            status = numbered
        is_news = self._offer(record, status, Source.POLL).is_applied
        if is_news and was_covered:
            self._push.doubts.raise_on(record.job_id, status.version, self._now)
        return is_news

    def _take_poll_error(self, poll: Poll, error: VtransError) -> None:
        # Our reads are well-formed, and the server has been well: what rejects one now may be
        # something in between, or bytes that were damaged on the way.
        is_passing = error.retryable or (self.has_heard and isinstance(error, InvalidRequest))
        delay = self._outage.delay(error, self._rand(), self._now) if is_passing else 0.0
        self._schedule.hold_after(error, delay, self._now)
        if isinstance(error, AuthError) and error.status == 401:
            self._fail_all(error)
            return
        fatal = InvalidRequest if self.has_heard else (TransportError, ProtocolError)
        is_hopeless = isinstance(error, fatal) and self._outage.failures >= self._retry.max_attempts
        for record in poll.records:
            if not record.watchers:
                continue
            if isinstance(error, JobNotFound):
                self._take_not_found(record, error, "")
            elif is_hopeless or not is_passing:
                self._fail(record, error)
            else:
                self._schedule.arm(record, self._now + delay)

    def _take_job_error(self, record: Record, error: VtransError, epoch: str) -> None:
        if isinstance(error, JobNotFound):
            self._take_not_found(record, error, epoch)
        elif error.retryable:
            self._schedule.arm(record, self._now + self._retry.backoff.delay(1, self._rand()))
        else:
            self._fail(record, error)

    def _take_not_found(self, record: Record, error: VtransError, epoch: str) -> None:
        if verdict := self._absences.judge(record, error, epoch, self._now):
            self._fail(record, verdict)
        else:
            self._cover.unknown(record, self._now)
