"""What it means that the server does not know a job: late, lost or never there.

    the job                                          verdict when the server does not know it
    -------                                          ----------------------------------------
    is a tombstone (`gone`)                          JobNotFound at once
    was never seen, and not ordered by us just now   JobNotFound at once
    was seen, and the server has a newer history     JobLost at once, if that is borne out
    was seen or ordered, unknown for a short while   ask again: a replica may not have heard of it
    was seen or ordered, unknown for longer          JobLost
    the same, where the backend loses no jobs        JobNotFound: somebody has deleted it

A newer history is borne out by a status of it, or because the same epoch was named twice, by a
welcome or an answer and then by the answer that does not know the job (docs/protocol.md section
1.6). Until then such a job is asked for again like any other.

How long the while is, 10 s as a rule, is a fact of the backend (`Capabilities.unknown_grace`). A
server that knows the job in between ends it; so two replicas of which one is behind do not add up
to a loss (docs/protocol.md section 3.5).
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from vtrans_hybrid.dialect import Capabilities
from vtrans_hybrid.errors import JobLost, JobNotFound, VtransError
from vtrans_hybrid.merge import Record

__all__ = ["Absences", "unknown_job"]


class Absences:
    """Keeps which jobs were just ordered, and since when a job has been unknown.

    Args:
        capabilities: What the backend can do.
    """

    def __init__(self, capabilities: Capabilities) -> None:
        self._ordered: dict[str, float] = {}
        self._ended: set[str] = set()
        self._since: dict[str, float] = {}
        self.adapt(capabilities)

    def adapt(self, capabilities: Capabilities) -> None:
        """Take note of what the backend can really do."""
        self._grace = capabilities.unknown_grace
        self._may_be_lost = capabilities.may_lose_jobs

    def ordered(self, job_ids: Iterable[str], now: float) -> None:
        """Note jobs that this client just ordered."""
        self._expire(now)
        for job_id in job_ids:
            # Taken out first, for the order of insertion is to be the order of time.
            self._forget(job_id)
            self._ordered[job_id] = now

    def ended(self, job_id: str) -> None:
        """Note that a job has ended: it is not new, though a replica may not have heard of it."""
        if job_id in self._ordered:
            self._ended.add(job_id)

    def deleted(self, job_id: str) -> None:
        """Note that this client has deleted a job, which is therefore not late any more."""
        self._forget(job_id)
        self._since.pop(job_id, None)

    def ordered_at(self, job_id: str, now: float) -> float:
        """Return when this client ordered a job that is still new; else minus infinity."""
        self._expire(now)
        return -math.inf if job_id in self._ended else self._ordered.get(job_id, -math.inf)

    def present(self, job_id: str) -> None:
        """Note that the server knows a job, or that nobody asks for it any more."""
        if self._since:
            self._since.pop(job_id, None)

    def judge(
        self, record: Record, error: VtransError, epoch: str, now: float
    ) -> VtransError | None:
        """Return what a job that the server does not know ends with; None to ask again.

        Args:
            record: The job.
            error: What the server said.
            epoch: The history that the server speaks of; empty where it has none, or where nothing
                has borne it out.
            now: Monotonic seconds.
        """
        self._expire(now)
        is_expected = (
            record.status is not None
            or record.job_id in self._ordered
            or record.job_id in self._since
        )
        is_gone = isinstance(error, JobNotFound) and (error.code == "gone" or error.status == 410)
        if is_gone or not is_expected:
            return error
        since = self._since.setdefault(record.job_id, now)
        is_other_history = bool(record.epoch) and epoch > record.epoch
        if now - since >= self._grace and not self._may_be_lost:
            return error
        if is_other_history or now - since >= self._grace:
            return _lost(record.job_id, error)
        return None

    def _expire(self, now: float) -> None:
        while self._ordered:
            job_id = next(iter(self._ordered))
            if self._ordered[job_id] + self._grace > now:
                return
            self._forget(job_id)

    def _forget(self, job_id: str) -> None:
        self._ordered.pop(job_id, None)
        self._ended.discard(job_id)


def _lost(job_id: str, cause: VtransError) -> JobLost:
    sentence = f"the server no longer knows job {job_id}: it lost its state, so submit it again"
    error = JobLost(sentence, job_id=job_id)
    error.__cause__ = cause
    return error


def unknown_job(job_id: str, code: str) -> JobNotFound:
    """Return the error for a job that the server does not know, `gone` if it has deleted it."""
    sentence = f"the server does not know job {job_id}"
    if code == "gone":
        sentence = f"the server has deleted job {job_id}"
    return JobNotFound(sentence, status=410 if code == "gone" else 404, code=code, job_id=job_id)
