"""The core: every job of a client, and every decision about them. No clock, no randomness, no I/O.

A shell feeds what happened, with the time at which it happened, and carries out the actions that
come out. It holds one timer, for `next_deadline()`. The parts of the decision have files of their
own, with a table each, and this one joins them:

    news.py              what news and errors do to jobs; over absence.py (what it means that
                         the server does not know one)
    ledger.py            the life of a job, and who is told what; over merge.py (what is news)
    cover.py             how every open job stays covered, by push and by reads
    push.py              which jobs push covers; over link.py (when to dial and hang up) and
                         subscriptions.py (what the channel has been told)
    schedule.py          when to read which job

Push that is off or never came, where there are no polls, is the end of every watch.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable
from typing import assert_never

from vtrans_hybrid.absence import unknown_job
from vtrans_hybrid.audience import Deliver, Fail, Finish
from vtrans_hybrid.cover import Cover
from vtrans_hybrid.dialect import (
    Answer,
    Capabilities,
)
from vtrans_hybrid.errors import (
    ConnectionLost,
    ProtocolError,
    Unsupported,
    VtransError,
)
from vtrans_hybrid.ledger import Counters, Ledger, Opened
from vtrans_hybrid.link import Connection, Dial, Hangup, Link, Phase
from vtrans_hybrid.merge import Record, Watcher
from vtrans_hybrid.messages import (
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
from vtrans_hybrid.models import JobStatus
from vtrans_hybrid.news import News
from vtrans_hybrid.policy import PollPolicy, RetryPolicy
from vtrans_hybrid.push import Push, Send
from vtrans_hybrid.schedule import Poll, Schedule

__all__ = ["Action", "Counters", "Send", "Tracker"]

logger = logging.getLogger("vtrans_hybrid.tracker")

_LINK_LINGER = 15.0
"""Seconds for which the channel is kept without a job: dials are dearer than an idle socket."""

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
        self._retry = retry
        self._now = now
        self._ledger = Ledger()
        self._push = Push(rand, retry.backoff, enabled=has_channel)
        self._schedule = Schedule(poll, capabilities, rand, max_in_flight=max_in_flight, now=now)
        self._cover = Cover(
            self._ledger, self._push, self._schedule, retry.backoff, rand, uses_polls=uses_polls
        )
        self._news = News(
            self._ledger, self._cover, self._push, self._schedule, capabilities, retry, rand
        )
        self._idle_at = math.inf
        self._is_told_of_polls = False
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
    def has_heard(self) -> bool:
        """Whether the server has ever answered in the words of its dialect."""
        return self._news.has_heard

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
            ordered_at = self._news.absences.ordered_at(record.job_id, now)
            self._cover.opened(record, ordered_at, is_new=is_new, wants_more=wants_more, now=now)
            if self._cover.uses_polls:
                self._news.opened(record, now)
            else:
                self._check_push(record)

    def _check_push(self, record: Record) -> None:
        """Fail a job that lives by push alone where there is none."""
        if not self.link.enabled:
            sentence = "this backend has no push channel, and polling is switched off"
            self._news.fail(record, Unsupported(sentence, job_id=record.job_id), self._now)
        elif self.link.phase is Phase.OFF and self.link.last_error is not None:
            self._news.fail(record, self.link.last_error, self._now)

    def detach(self, watcher: Watcher, now: float, job_id: str | None = None) -> None:
        """Forget a watcher, which gets nothing more, not even `Finish`; or just a joined job."""
        self._now = now
        ledger = self._ledger
        closed = ledger.detach(watcher) if job_id is None else ledger.leave(watcher, job_id)
        self._cover.closed(closed, now)

    def created(self, statuses: Iterable[JobStatus], now: float) -> None:
        """Note jobs that this client just ordered: for a while they may be unknown elsewhere."""
        self._news.has_ordered = True
        self._news.absences.ordered((status.job_id for status in statuses), now)

    def observed(self, statuses: Iterable[JobStatus], now: float) -> None:
        """Take statuses that the answer to another operation brought along."""
        self._now = now
        self._news.observed(statuses, now)

    def adapt(self, capabilities: Capabilities, now: float) -> None:
        """Take note that the backend is of another kind than was thought."""
        self._now = now
        self._schedule.adapt(capabilities)
        self._news.absences.adapt(capabilities)
        if capabilities.push_path is None and self.link.enabled:
            self.link.close()
            self._push.forget_all()
            if self._cover.uses_polls:
                self._cover.uncover(now, was_live=False)
            else:
                for record in tuple(self._ledger.watched()):
                    self._check_push(record)

    def announced(self, job_ids: Iterable[str], now: float) -> None:
        """Take the word of somebody else, such as a webhook, that jobs have news.

        Each of them that is watched is read alone at once, and the update that comes of it has the
        source "webhook". While announcements prove to come, polling is stretched; to name no job
        says that they are to be expected. hearsay.py has the rules.
        """
        self._now = now
        self._news.announced(job_ids, now)

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
        elif connection.welcome is not None:
            self._take_message(generation, connection.welcome.epoch, message)
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
            self._news.answered(poll, result, now)
        else:
            self._news.unanswered(poll, result, now)

    # Time passes.

    def next_deadline(self) -> float:
        """Return when `advance` must be called at the latest; infinite for never."""
        return min(
            self._schedule.next_deadline(),
            self._push.next_deadline(),
            self._ledger.next_deadline(),
            self._news.hearsay.next_deadline(),
            self._idle_at,
        )

    def advance(self, now: float) -> None:
        """Do whatever is due."""
        self._now = now
        self._ended(self._push.drop_liar(now), *self.link.advance(now))
        self._cover.closed(self._ledger.expire(now, self._trouble()), now)
        if self._news.hearsay.advance(now) and self._cover.uses_polls:
            self._cover.uncover(now, was_live=False)
        for record in self._schedule.advance(now):
            if self._cover.wake(record, now):
                self._news.forget(record)
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
        if done:
            link.actions, self._sends, ledger.actions = [], [], []
        if self._cover.uses_polls:
            while poll := self._schedule.start(self._news.epoch, self._now, ledger.open_jobs):
                ledger.counters.polls += 1
                done.append(poll)
                is_away = link.enabled and link.away_since < math.inf
                if is_away and not self._is_told_of_polls:
                    self._is_told_of_polls = True
                    logger.info("polls follow the jobs while push is away")
        return done

    def close(self, error: VtransError) -> list[Action]:
        """End everything; return the last actions."""
        self.link.close()
        self._push.forget_all()
        self._ledger.close(error)
        self._schedule.clear()
        self._news.hearsay.clear()
        self._idle_at = math.inf
        done: list[Action] = [*self.link.actions, *self._ledger.actions]
        self.link.actions, self._sends, self._ledger.actions = [], [], []
        return done

    # Private methods: the channel.

    def _trouble(self) -> VtransError | None:
        """Return why nothing is heard of the jobs at present; None if something is, or may be."""
        if self._cover.uses_polls:
            return self._news.trouble
        return self.link.last_error if self.link.away_since < math.inf else None

    def _keep_link(self, link: Link) -> None:
        """Want the channel while there is a job, and for a while after."""
        if self._ledger.open_jobs:
            self._idle_at = math.inf
            if not link.is_wanted:
                link.want(True, self._now)
        elif link.is_wanted and self._idle_at == math.inf:
            self._idle_at = self._now + _LINK_LINGER

    def _take_welcome(self, generation: int, welcome: Welcome) -> None:
        if welcome.epoch < self._news.epoch:
            # docs/protocol.md section 1.1: a newer epoch sorts after, so this replica is behind.
            logger.warning("replica %r serves an older history than others did", welcome.replica)
            self._drop(generation, "the replica serves an older history")
        elif self._push.opened(generation, welcome, self._ledger.watched(), self._now):
            self._news.has_heard = True
            self._is_told_of_polls = False
            self._news.welcomed(welcome.epoch)

    def _take_message(
        self,
        generation: int,
        epoch: str,
        message: Events | Synced | Ping | Drain | ChannelError | Ignored,
    ) -> None:
        match message:
            case Events():
                if not self._news.pushed(message, epoch, self._now):
                    self._drop(generation, "the channel mixes two histories")
            case Ping():
                if message.spread is not None:
                    self.link.announced(message.spread)
                self._sends.append(Send(generation, Pong(message.n)))
            case Synced():
                self._take_synced(generation, epoch, message)
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

    def _take_synced(self, generation: int, epoch: str, message: Synced) -> None:
        for record in self._push.synced(generation, message, self._now):
            if record.job_id not in message.errors:
                self._news.absences.present(record.job_id)
                self._cover.synced(record, self._now)
                continue
            self._cover.excluded(record, self._now)
            if record.watchers and not self._cover.uses_polls:
                error = unknown_job(record.job_id, message.errors[record.job_id])
                # All of a channel has its epoch from one welcome, so only a status bears that out.
                history = epoch if epoch == self._news.epoch else ""
                self._news.not_found(record, error, history, self._now)

    def _drop(self, generation: int, why: str) -> None:
        """Leave a connection that speaks of the wrong history; docs/protocol.md section 1.6."""
        error = ConnectionLost(why, code=4000)
        self._ended(self.link.drop(generation, 4000, error, self._now))

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
        if error is None or not (is_unheard or self.link.phase is Phase.OFF):
            return
        for record in tuple(self._ledger.watched()):
            if not self._push.covers(record):
                self._news.fail(record, error, self._now)
