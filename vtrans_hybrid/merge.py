"""The merge of histories: one record a job, one rule for whatever arrives about it.

Theory
======

Every status is a whole snapshot with a position (epoch, version). Push events, poll answers and
webhooks meet in `offer()`, which keeps the newest and refuses the rest. It is a join: whatever the
order and however often things arrive, the record ends the same. That is why changing between push
and poll is no race, and why an answer that was overtaken does no harm.

The rule, read from the top; `e` and `v` are what the record holds:

    record             offered                           verdict
    ------             -------                           -------
    final              anything                          ABSORBED
    any                a version below 1                 STALE       names no place in a history
    (e, v)             an epoch older than e             STALE
    (e, v)             an epoch newer than e             RESTARTED   applied, skipped unknown
    (e, v)             (e, v), the same content          REPEATED
    (e, v)             (e, v), other content             CONTRADICTED
    (e, v)             (e, less than v)                  REPEATED
    (e, v), wants all  (e, more than v + 1) without gap  HOLE        the source broke its word
    (e, v)             (e, more than v)                  NEWER       applied

Epochs are time-ordered identifiers, so "older" is plain string order (docs/protocol.md section
1.1). A hole is mended by asking again from the known version. While that is under way the statuses
behind the hole are refused as well; only when the source that decides (cover.py) has answered with
the same hole three times is it taken at its word, and `skipped` counts the versions missing.

A backend without versions gets them from us (`number()`): an observation counts if its request
started after the last one that was applied, if it says something new, and if the job does not go
backwards. Offered with the next version it then takes the same road as everything else.
"""

from __future__ import annotations

import math
from enum import Enum
from sys import intern

import msgspec
from msgspec import Struct

from vtrans_hybrid.errors import VtransError
from vtrans_hybrid.models import FINAL, JobStatus, Source

__all__ = ["Record", "Verdict", "Watcher", "number", "offer", "predict"]


class Watcher:
    """Whoever wants to know. The core only hands it back; a shell calls it, and it never blocks."""

    __slots__ = ()

    def put(self, status: JobStatus) -> None:
        """Take a status."""
        raise NotImplementedError

    def fail(self, job_id: str | None, error: VtransError) -> None:
        """Take the news that a job, or with None that nothing, can be followed any more."""
        raise NotImplementedError

    def finish(self) -> None:
        """Take the news that nothing more will come."""
        raise NotImplementedError


class Verdict(Enum):
    """What became of an offered status."""

    NEWER = "newer"
    RESTARTED = "restarted"
    REPEATED = "repeated"
    CONTRADICTED = "contradicted"
    STALE = "stale"
    HOLE = "hole"
    ABSORBED = "absorbed"

    @property
    def is_applied(self) -> bool:
        """Whether the record changed."""
        return self is Verdict.NEWER or self is Verdict.RESTARTED


class Record(Struct, gc=False, eq=False):
    """All that the client keeps of one job. A hundred thousand of these must be light.

    Times are monotonic seconds. Generations number the connections of the channel from 1 on.
    """

    job_id: str
    status: JobStatus | None = None
    watchers: tuple[Watcher, ...] = ()

    wants_all: bool = False
    """Whether some watcher wants every version."""

    applied_at: float = -math.inf
    """When the newest status was applied."""

    end_at: float = math.inf
    """When the job will end, as its newest status predicts; infinite where it does not."""

    is_eta_steady: bool = False
    """Whether the newest two predictions of the end agree."""

    added_at: float = 0.0

    reads: int = 0
    """How many polls have answered for this job."""

    poll_at: float = math.inf
    """When the next poll is due. A job that is open always has one, or a poll in flight."""

    tick: int = 0
    """Slot of the schedule that holds this record; 0 where none does."""

    in_flight: int = 0
    """Number of the poll in flight for this job; 0 where there is none."""

    subscribed: int = 0
    """Generation on which this job was subscribed last; below zero while it waits for that."""

    synced: int = 0
    """Generation that has brought this job to its head; it covers the job while it is live. Below
    zero: that generation has left something of the job out, and has to be asked anew."""

    mends: int = 0
    """How often a hole, for which statuses are refused, was to be mended; 0 where there is none."""

    holes: int = 0
    """How often in a row the source that decides answered with the hole that it was to mend."""

    @property
    def version(self) -> int:
        """Version of the newest status; 0 before the first."""
        return 0 if self.status is None else self.status.version

    @property
    def epoch(self) -> str:
        """Epoch of the newest status; empty before the first."""
        return "" if self.status is None else self.status.epoch

    @property
    def is_torn(self) -> bool:
        """Whether a status was refused for a hole, and nothing newer was applied since."""
        return self.mends > 0

    @property
    def is_final(self) -> bool:
        """Whether the job has ended."""
        return self.status is not None and self.status.is_final


# A source that shows the same hole so often when asked has no more to give: better a gap that is
# counted than a job that stands still.
_PATIENCE_WITH_HOLES = 3

_set = msgspec.structs.force_setattr
_NEWER, _RESTARTED, _REPEATED = Verdict.NEWER, Verdict.RESTARTED, Verdict.REPEATED


def offer(record: Record, status: JobStatus, source: Source, now: float) -> Verdict:
    """Merge one status into a record by the rule at the top of this file.

    When the verdict `is_applied`, `record.status` is the status to deliver, with `source` and
    `skipped` set by us: what a peer writes there does not count. A `gap` stays where something was
    skipped.
    """
    known = record.status
    if known is not None and known.state in FINAL:
        return Verdict.ABSORBED
    if status.version < 1:
        return Verdict.STALE
    skipped: int | None
    if known is None:
        verdict, skipped = _NEWER, status.version - 1
    elif status.epoch != known.epoch:
        if status.epoch < known.epoch:
            return Verdict.STALE
        verdict, skipped = _RESTARTED, None
    elif status.version <= known.version:
        return _judge_repeat(known, status)
    else:
        verdict, skipped = _NEWER, status.version - known.version - 1
    if skipped and record.wants_all and not status.gap and record.holes < _PATIENCE_WITH_HOLES:
        return Verdict.HOLE
    if record.mends:
        record.mends = record.holes = 0
    gap = status.gap and skipped != 0  # what a peer says would be missing may have come meanwhile
    if status.skipped != skipped or status.source is not source or status.gap is not gap:
        status = msgspec.structs.replace(status, skipped=skipped, source=source, gap=gap)
    _share(status, record)
    record.status = status
    record.applied_at = now
    return verdict


def _judge_repeat(known: JobStatus, status: JobStatus) -> Verdict:
    if status.version == known.version and _content(status) != _content(known):
        return Verdict.CONTRADICTED
    return _REPEATED


def _content(status: JobStatus) -> tuple[object, ...]:
    # Neither the estimate, which merely counts down, nor the URL, which backends sign anew on each
    # read, nor the language, which not every answer tells, makes a status another one.
    return (status.state, status.progress, status.error)


def _share(status: JobStatus, record: Record) -> None:
    """Let equal values be one object: told apart, these are a third of what a job costs."""
    _set(status, "job_id", record.job_id)
    _set(status, "epoch", intern(status.epoch))
    if status.language is not None:
        _set(status, "language", intern(status.language))
    if status.progress is not None:
        _set(status, "progress", _PERCENT.get(status.progress, status.progress))


# What most servers send for progress: two decimals.
_PERCENT = {percent / 100: percent / 100 for percent in range(101)}


def number(record: Record, status: JobStatus, started_at: float) -> JobStatus | None:
    """Give a status of a backend without versions the next one; None where it says nothing new.

    Args:
        record: What is known of the job.
        status: What the backend said, with version 0.
        started_at: When the request was sent, in monotonic seconds.
    """
    known = record.status
    if known is None:
        return msgspec.structs.replace(status, version=1)
    if status.language is None:  # which not every answer repeats
        status = msgspec.structs.replace(status, language=known.language)
    is_late = started_at < record.applied_at
    falls_back = status.state.rank < known.state.rank
    if is_late or falls_back or _content(status) == _content(known):
        return None
    return msgspec.structs.replace(status, version=known.version + 1, epoch=known.epoch)


def predict(record: Record, eta: float | None, now: float) -> None:
    """Note when the job will end by the newest estimate, and whether two estimates agree.

    An estimate that does not count down, because it is frozen, predicts a later end each time and
    is therefore never steady.
    """
    if eta is None or not eta < _FARTHEST:
        record.end_at, record.is_eta_steady = math.inf, False
        return
    end_at = now + eta if eta > 0 else now
    tolerance = max(_STEADY_SECONDS, _STEADY_SHARE * eta)
    record.is_eta_steady = -tolerance <= end_at - record.end_at <= tolerance
    record.end_at = end_at


# Seconds, ten years: an end that lies further away is none. So large a number may be that counting
# in it overflows.
_FARTHEST = 3e8

# Two predictions agree when they differ by no more than this, in seconds or as a share of the rest.
_STEADY_SECONDS = 0.1
_STEADY_SHARE = 0.01
