"""What news and errors do to the jobs that they are about, whichever way they come.

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
    a poll is refused, for the account is empty        its jobs again after a backoff, for what was
                                                       ordered goes on; a warning once an episode
    any other failure of a poll                        its jobs again after a backoff
    an answer that was cut short                       its jobs again at once
    a poll brings a word that nobody knows             data, as any other; a warning once a word
    a poll finds a job open for very long              nothing but a warning, once a job
    hearsay: an announcement, half an answer           see hearsay.py: a read of the job alone
    an event of another history than the welcome's     taken as little as all behind it; the tracker
                                                       drops the connection

Push trouble never fails a watch that may poll; and a poll that gets no answer does so only until
the server has answered once, for a wrong address looks like an outage for ever.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable

from vtrans_hybrid.absence import Absences, unknown_job
from vtrans_hybrid.cover import Cover
from vtrans_hybrid.dialect import Answer, Capabilities
from vtrans_hybrid.errors import (
    AuthError,
    InvalidRequest,
    JobNotFound,
    ProtocolError,
    QuotaExceeded,
    TransportError,
    VtransError,
)
from vtrans_hybrid.hearsay import Hearsay
from vtrans_hybrid.ledger import Ledger
from vtrans_hybrid.merge import Record, Verdict, number, predict
from vtrans_hybrid.messages import Events
from vtrans_hybrid.models import FINAL, JobStatus, Source, State
from vtrans_hybrid.policy import RetryPolicy
from vtrans_hybrid.push import Push
from vtrans_hybrid.schedule import Outage, Poll, Schedule

__all__ = ["News"]

logger = logging.getLogger("vtrans_hybrid.tracker")

_KNOWN_WORDS = frozenset(State)
_MOST_WORDS = 100
"""Words nobody knows that are warned of: a server may invent more without end."""

# Looked up once: see ledger.py.
_NEWER, _RESTARTED, _PUSH = Verdict.NEWER, Verdict.RESTARTED, Source.PUSH


class News:
    """Merges what is heard of jobs, and judges what is said against them. `now` is monotonic.

    Args:
        ledger: The records.
        cover: Who sees to it that more is heard.
        push: What the channel covers.
        schedule: When to read.
        capabilities: What the backend can do.
        retry: How errors are waited out.
        rand: Source of random numbers in [0, 1).
    """

    def __init__(
        self,
        ledger: Ledger,
        cover: Cover,
        push: Push,
        schedule: Schedule,
        capabilities: Capabilities,
        retry: RetryPolicy,
        rand: Callable[[], float],
    ) -> None:
        self.has_heard = False
        """Whether the server has ever answered in the words of its dialect."""
        self.has_ordered = False
        """Whether it has ever accepted an order: by this, too, it is the server that was meant."""
        self.trouble: VtransError | None = None
        """Why the last poll failed; None if it was answered, or a channel has opened since."""
        self.epoch = ""
        """The newest history of which a status was merged; empty before the first. What a server
        merely announces is not known yet: docs/protocol.md section 1.6."""
        self._named = ""  # by the last welcome or answer
        self.absences = Absences(capabilities)
        self.hearsay = Hearsay(schedule)
        self._ledger = ledger
        self._cover = cover
        self._push = push
        self._schedule = schedule
        self._retry = retry
        self._rand = rand
        self._outage = Outage(retry.backoff)
        self._is_exhausted = False
        self._new_words: set[str] = set()
        self._stuck: set[str] = set()

    def welcomed(self, epoch: str) -> None:
        """Note that a channel names this epoch as its own."""
        self.trouble = None
        self._named = epoch

    def pushed(self, message: Events, epoch: str, now: float) -> bool:
        """Take what a channel brought whose welcome named this epoch.

        Returns:
            Whether all of it was of that epoch; if not, docs/protocol.md section 1.6 says that
            nothing more of the channel is to be believed.
        """
        doubts, find = self._push.doubts, self._ledger.find
        for status in message.events:
            if status.epoch != epoch:
                return False
            if doubts:
                doubts.dispel(status.job_id, status.version)
            record = find(status.job_id)
            if record is not None:
                self._offer(record, status, _PUSH, now)
        return True

    def observed(self, statuses: Iterable[JobStatus], now: float) -> None:
        """Take statuses that the answer to another operation brought along.

        Nothing vouches for their epochs, so one that is not that of its job is merely looked into.
        """
        for status in statuses:
            if status.gone:
                self.absences.deleted(status.job_id)
            record = self._ledger.find(status.job_id)
            if record is None:
                continue
            if status.gone and not record.watchers:
                self._end_gone(record, now)
            elif status.epoch == record.epoch:
                self._offer(record, status, Source.POLL, now)
            else:
                self._cover.ask_anew(record, now)

    def announced(self, job_ids: Iterable[str], now: float) -> None:
        """Take the word of somebody else that jobs have news; a read of each settles it."""
        named = tuple(job_ids)
        self.hearsay.announced(named)
        for job_id in named:
            record = self._ledger.find(job_id)
            if record is None or not record.watchers:
                self.hearsay.remember(job_id)
            elif not record.is_final:
                self._confirm(record, now)

    def opened(self, record: Record, now: float) -> None:
        """Read a job at once that was announced before anybody watched it."""
        if self.hearsay.recall(record.job_id) and not record.is_final:
            self._confirm(record, now)

    def answered(self, poll: Poll, answer: Answer, now: float) -> None:
        """Take the answer to a poll."""
        self.trouble = None
        if answer.statuses or answer.errors or answer.epoch:
            self.has_heard = True
            self._is_exhausted = False
            self._outage.end()
        withheld = self.hearsay.withhold(poll, answer.hearsay, now) if answer.hearsay else {}
        has_news = False
        holed = set()
        for status in answer.statuses:
            record = self._ledger.find(status.job_id)
            if record is None or record.job_id in withheld:
                continue
            verdict = self._take_read(record, status, poll, now)
            has_news |= verdict.is_applied
            if verdict is Verdict.HOLE and poll.read.wants_all:
                holed.add(record.job_id)
        history = self._borne_out(answer.epoch)
        # docs/protocol.md section 4.4: zero means that the answer was cut, and there is more.
        is_cut = has_news and answer.poll_after == 0
        for record in poll.records:
            record.reads += 1
            error = answer.errors.get(record.job_id)
            if not record.watchers:
                continue
            if record.job_id in withheld:
                self._cover.plan(record, now)
                self._cover.read_later(record, withheld[record.job_id], now)
                continue
            if error is not None:
                self._take_job_error(record, error, history, now)
                continue
            self._present(record)
            self._look_for_stuck(record, now)
            shows_hole = record.job_id in holed
            self._cover.answered(record, answer.poll_after, now, shows_hole=shows_hole)
            if is_cut or self.hearsay.needs_confirmation(record.job_id):
                self._cover.read_later(record, 0.0, now)
            elif poll.source is Source.WEBHOOK:
                self._cover.read_later(record, self.hearsay.unconfirmed(record.job_id, now), now)

    def unanswered(self, poll: Poll, error: VtransError, now: float) -> None:
        """Take the failure of a poll."""
        self.trouble = error
        # Our reads are well-formed, and the server has been well: what rejects one now may be
        # something in between, or bytes that were damaged on the way.
        is_known = self.has_heard or self.has_ordered
        # An account that has nothing left orders no more; what it ordered is paid, and goes on.
        is_exhausted = isinstance(error, QuotaExceeded)
        is_rejected = is_known and isinstance(error, InvalidRequest)
        is_passing = error.retryable or is_exhausted or is_rejected
        spread = self._push.link.read_spread
        delay = self._outage.delay(error, self._rand(), now, spread) if is_passing else 0.0
        self._schedule.hold_after(error, delay, now)
        self.hearsay.unanswered(poll)
        if isinstance(error, AuthError) and error.status == 401:
            self.fail_all(error, now)
            return
        if is_exhausted and is_known:
            self._warn_of_exhaustion(error)
        is_hopeless = self._is_hopeless(error, is_known=is_known)
        for record in poll.records:
            if not record.watchers:
                continue
            if isinstance(error, JobNotFound):
                self.not_found(record, error, "", now)
            elif is_hopeless or not is_passing:
                self.fail(record, error, now)
            else:
                self._cover.unanswered(record, delay, now)

    def _is_hopeless(self, error: VtransError, *, is_known: bool) -> bool:
        """Whether a poll has failed like this for too long."""
        most = self._retry.max_attempts
        if is_known:
            return isinstance(error, InvalidRequest) and self._outage.rejections >= most
        is_silence = isinstance(error, (TransportError, ProtocolError, QuotaExceeded))
        return is_silence and self._outage.failures >= most

    def not_found(self, record: Record, error: VtransError, history: str, now: float) -> None:
        """Take the word of a server that it does not know a job.

        Args:
            record: The job.
            error: What the server said.
            history: The epoch in which it speaks; empty where nothing has borne that out.
            now: Monotonic seconds.
        """
        if verdict := self.absences.judge(record, error, history, now):
            self.fail(record, verdict, now)
        else:
            self._cover.unknown(record, now)

    def fail(self, record: Record, error: VtransError, now: float) -> None:
        """End a job with an error; whoever comes back to it gets a fresh look.

        A poll that is under way may still say what was true when it began.
        """
        self.forget(record)
        self._ledger.counters.failures += bool(record.watchers)
        self._ledger.fail(record, error)
        self._cover.failed(record, now)

    def fail_all(self, error: VtransError, now: float) -> None:
        """End every job with an error."""
        for record in tuple(self._ledger.watched()):
            self.fail(record, error, now)

    def forget(self, record: Record) -> None:
        """Note that nobody asks for a job any more."""
        self.absences.present(record.job_id)
        self.hearsay.forget(record.job_id)
        self._stuck.discard(record.job_id)

    # Private methods.

    def _confirm(self, record: Record, now: float) -> None:
        """Let a read of a job alone settle what was said of it."""
        self.hearsay.confirm(record.job_id)
        self._cover.look_now(record, now)

    def _present(self, record: Record) -> None:
        """Note that the server has said what there is to know of a job at present."""
        self.absences.present(record.job_id)
        self.hearsay.settled(record.job_id)

    def _offer(self, record: Record, status: JobStatus, source: Source, now: float) -> Verdict:
        if status.gone and not record.is_final and status.epoch >= record.epoch:
            self._end_gone(record, now)
            return Verdict.ABSORBED
        verdict = self._ledger.offer(record, status, source, now)
        if verdict is _NEWER or verdict is _RESTARTED:
            self.trouble = None
            self._present(record)
            if status.epoch > self.epoch:
                self.epoch = status.epoch
            if status.state in FINAL:
                self.absences.ended(status.job_id)
                self._cover.closed((record,), now)
            else:
                self._cover.applied(record, status.estimated_time_remaining, now)
        elif verdict is Verdict.HOLE:
            self._cover.torn(record, now)
        return verdict

    def _end_gone(self, record: Record, now: float) -> None:
        """End a job that is no more; if nobody watches it, whoever comes back is not told of it."""
        self.fail(record, unknown_job(record.job_id, "gone"), now)

    def _take_read(self, record: Record, status: JobStatus, poll: Poll, now: float) -> Verdict:
        """Merge a status that a poll found."""
        was_covered = self._push.covers(record)
        is_ordered = self.absences.ordered_at(record.job_id, now) > -math.inf
        was_open = is_ordered or record.status is not None  # as far as we know
        if not status.version:
            numbered = number(record, status, poll.started_at)
            if numbered is None:
                if not record.is_final:
                    predict(record, status.estimated_time_remaining, now)
                return Verdict.REPEATED
            status = numbered
        verdict = self._offer(record, status, poll.source, now)
        if verdict.is_applied and status.state not in _KNOWN_WORDS:
            self._warn_of(status)
        if verdict.is_applied and record.is_final and was_open:
            self.hearsay.ended(record.job_id, poll.source, now)
        if verdict.is_applied and was_covered:
            self._push.doubts.raise_on(record.job_id, status.version, now)
        return verdict

    def _borne_out(self, epoch: str) -> str:
        """Return the epoch of an answer if it is known, or was named before it; else nothing.

        An epoch that was damaged on the way may compare greater than the true one, and would make a
        loss of what is merely late; the same damage does not come twice in a row.
        """
        is_borne_out = epoch in (self.epoch, self._named)
        self._named = epoch
        return epoch if is_borne_out else ""

    def _take_job_error(self, record: Record, error: VtransError, history: str, now: float) -> None:
        if isinstance(error, JobNotFound):
            self.not_found(record, error, history, now)
        elif error.retryable:
            self._cover.unanswered(record, self._retry.backoff.delay(1, self._rand()), now)
        else:
            self.fail(record, error, now)

    def _warn_of(self, status: JobStatus) -> None:
        """Warn once of a word that nobody knows: it is never taken for an end."""
        word = status.state[:64]
        if word not in self._new_words and len(self._new_words) < _MOST_WORDS:
            self._new_words.add(word)
            logger.warning("job %s is %r, a word not known here: not an end", status.job_id, word)

    def _warn_of_exhaustion(self, error: VtransError) -> None:
        """Warn once an episode that reads are refused, for waiting may not mend it."""
        if not self._is_exhausted:
            self._is_exhausted = True
            logger.warning("reads are refused, and jobs are followed all the same: %s", error)

    def _look_for_stuck(self, record: Record, now: float) -> None:
        if not self._schedule.is_stuck(record, now) or record.job_id in self._stuck:
            return
        self._stuck.add(record.job_id)
        minutes = (now - record.added_at) / 60
        logger.warning(
            "job %s has not ended in %d minutes and may be stuck; it is followed all the same",
            record.job_id,
            minutes,
        )
