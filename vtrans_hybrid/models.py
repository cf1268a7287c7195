"""Values that the application sees: a job, its status, and a place in its history."""

from __future__ import annotations

import re
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, NamedTuple

import msgspec
from msgspec import Struct

__all__ = [
    "FINAL",
    "Failure",
    "Job",
    "JobStatus",
    "Position",
    "Source",
    "State",
    "check_job_id",
    "state_of",
]

_JOB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}")


class State(StrEnum):
    """What a job is doing, as an open enum.

    A word that a server invents becomes a member of its own: data to show, never final. Members
    compare equal to plain strings.
    """

    PENDING = "pending"
    """Ordered, and not begun."""
    RUNNING = "running"
    """Being worked on."""
    COMPLETED = "completed"
    """Final: there is a result."""
    ERROR = "error"
    """Final: it failed, and `JobStatus.error` says why."""
    CANCELED = "canceled"
    """Final: somebody canceled it."""

    @classmethod
    def _missing_(cls, value: object) -> State | None:
        if not isinstance(value, str):
            return None
        # Not cached: a server that invents words without end must not fill our memory.
        member = str.__new__(cls, value)
        member._name_ = value
        member._value_ = value
        return member

    @property
    def is_final(self) -> bool:
        """Whether nothing follows this state."""
        return self in FINAL

    @property
    def rank(self) -> int:
        """Place in the order of a job's life: pending 0, running 1, final 2; unknown words 1."""
        if self == State.PENDING:
            return 0
        return 2 if self in FINAL else 1


FINAL: Final = frozenset({State.COMPLETED, State.ERROR, State.CANCELED})
"""The states that nothing follows. A look in here costs half of what `is_final` does, which counts
for what is done with every event."""


def state_of(word: str) -> State:
    """Return the state that a backend's word stands for, whatever its case."""
    lower = word.strip().lower()
    return State(_SYNONYMS.get(lower, lower))


_SYNONYMS = {
    "success": "completed",
    "succeeded": "completed",
    "done": "completed",
    "failed": "error",
    "failure": "error",
    "cancelled": "canceled",
    "queued": "pending",
    "waiting": "pending",
    "processing": "running",
    "in_progress": "running",
}


class Source(StrEnum):
    """How a status reached the client."""

    PUSH = "push"
    """By the channel."""
    POLL = "poll"
    """By a read, the client's own or one that the application asked for."""
    WEBHOOK = "webhook"
    """By a read to which a webhook gave cause."""


class Position(NamedTuple):
    """A place in a job's history."""

    epoch: str
    """Identity of the history; one that sorts after another is newer. Empty where none is known."""

    version: int
    """Number of the status within the epoch: 1, 2, 3 ...; 0 is before the first."""


class Failure(Struct, frozen=True, gc=False):
    """Why a job ended in error or was canceled, in the backend's words."""

    code: str = ""
    """For programs; empty where the backend gave none."""

    message: str = ""
    """For people; empty where the backend gave none."""


class JobStatus(Struct, frozen=True, kw_only=True, gc=False):
    """A whole snapshot of one job. Never a delta: any one of them stands alone.

    On the wire it is the status document of docs/protocol.md section 2.
    """

    # An event of the channel is decoded straight into this, so the fields are those of the wire.

    job_id: str
    """Which job this is about."""

    state: State
    """What the job is doing."""

    version: int = 0
    """Number of this status in the job's history, ascending within one epoch. Where the backend
    does not number its statuses, the client does."""

    epoch: str = ""
    """Identity of the history that `version` counts in."""

    progress: float | None = None
    """Share of the work done, 0 to 1; None where the backend does not say."""

    estimated_time_remaining: float | None = None
    """Seconds until the job ends, as the backend guesses; None where it does not say."""

    language: str | None = None
    """Target language; None where the backend does not say."""

    error: Failure | None = None
    """Why the job ended badly; None unless `state` is error or canceled."""

    result_url: str | None = None
    """Where the result is; None before the job is completed."""

    created_at: datetime | None = None
    """Time of creation by the server's clock; None where it does not say. For display: no decision
    uses it."""

    updated_at: datetime | None = None
    """Time of this status by the server's clock; None where it does not say. For display: no
    decision uses it."""

    source: Source = Source.PUSH
    """How this status reached the client."""

    skipped: int | None = 0
    """How many versions before this one its receiver did not see, since progress coalesced or the
    server no longer keeps them; None where the history restarted and nobody can know."""

    gap: bool = False
    """Whether the server itself no longer keeps the versions that were skipped."""

    gone: bool = False
    """Whether this is a tombstone: the server has deleted the job. Never seen by applications, who
    get `JobNotFound` instead."""

    raw: dict[str, Any] | None = None
    """The backend's own document, where it has more to say than these fields; None otherwise."""

    @property
    def is_final(self) -> bool:
        """Whether the job has ended: completed, error or canceled."""
        return self.state in FINAL

    @property
    def ok(self) -> bool:
        """Whether the job is completed."""
        return self.state == State.COMPLETED

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON can hold them, without those that are None."""
        document: dict[str, Any] = msgspec.to_builtins(self)
        return {name: value for name, value in document.items() if value is not None}

    @property
    def position(self) -> Position:
        """Where in the job's history this status stands."""
        return Position(self.epoch, self.version)


class Job(Struct, frozen=True, kw_only=True, eq=False):
    """A job that the backend accepted: what `submit` returns and every call accepts.

    Two of them are equal if they name the same job, whatever else each knows of it.
    """

    job_id: str
    """What the backend calls it."""

    language: str | None = None
    """Target language; None where the client did not order the job itself."""

    status: JobStatus | None = None
    """The first status, where the backend gave one with its answer to the order; else None."""

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Job):
            return NotImplemented
        return self.job_id == other.job_id

    def __hash__(self) -> int:
        return hash(self.job_id)

    def __str__(self) -> str:
        return self.job_id


def check_job_id(job_id: str) -> str:
    """Return `job_id` if it is safe to put into a path; docs/protocol.md section 2.

    Raises:
        TypeError: It is not a string.
        ValueError: It has other characters, is empty or is longer than 128.
    """
    if not isinstance(job_id, str):
        raise TypeError(f"a job id is a string, not {type(job_id).__name__}")
    if not _JOB_ID.fullmatch(job_id):
        raise ValueError(
            f"{job_id[:140]!r} is no job id: use 1 to 128 letters, digits and _ . : -, "
            "the first a letter or a digit"
        )
    return job_id
