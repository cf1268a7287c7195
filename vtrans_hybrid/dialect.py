"""The seam between the client and a backend: what is asked, what comes back, in neutral words.

A dialect is a small pure value. It turns an operation into an HTTP request, deciphers the answer,
and says what the backend can do. Nothing outside a dialect knows which backend it talks to. A
backend with a push channel also exchanges the messages below; they are the messages of
docs/protocol.md section 3, decoded straight from the wire.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any, Protocol

from msgspec import Struct

from vtrans_hybrid.errors import (
    AuthError,
    InvalidRequest,
    JobNotFound,
    QuotaExceeded,
    RateLimited,
    ServerError,
    Unavailable,
    Unsupported,
    VtransError,
)
from vtrans_hybrid.models import JobStatus, State

__all__ = [
    "Answer",
    "Cancel",
    "Capabilities",
    "ChannelError",
    "Dialect",
    "Drain",
    "Events",
    "Hello",
    "Ignored",
    "JOB_OVERHEAD",
    "Operation",
    "Ping",
    "Pong",
    "Read",
    "ReadDefault",
    "Received",
    "Request",
    "Response",
    "Sent",
    "Submit",
    "Subscribe",
    "Synced",
    "Unsubscribe",
    "Welcome",
    "refusal",
    "retry_after_of",
    "state_of",
]


JOB_OVERHEAD = 16
"""Bytes that a job costs in a message beside its id: quotes, colon, version and comma."""


# Operations: what the client wants of a backend.


@dataclass(frozen=True, slots=True, kw_only=True)
class Submit:
    """Order the translation of one video into one or more languages.

    Attributes:
        video: URL of the video.
        languages: Target languages, one job each.
        options: Further fields of the order, in the backend's own words.
        key: Idempotency key: the same order sent twice with it is carried out once.
    """

    video: str = field(repr=False)  # it may be signed, and then it is a secret
    languages: tuple[str, ...]
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    key: str


class Read(Struct, frozen=True, kw_only=True):
    """Read the status of jobs.

    Attributes:
        jobs: The version known of each job; 0 where none is.
        epoch: The history that those versions belong to; empty where none is known.
        wants_all: Whether every version kept is wanted, not only the newest.
    """

    jobs: Mapping[str, int]
    epoch: str = ""
    wants_all: bool = False


@dataclass(frozen=True, slots=True)
class ReadDefault:
    """Read the job that a server without job ids, or asked without one, means."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancel:
    """Cancel a job."""

    job_id: str


Operation = Submit | Read | ReadDefault | Cancel


# What travels over HTTP.


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One HTTP request, without authentication and without the base URL.

    Attributes:
        method: Its method.
        path: Its path.
        headers: Headers beside those that every request has.
        body: Its body; None for none.
        max_answer: How many bytes of answer are read, unpacked.
    """

    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes | None = field(default=None, repr=False)
    max_answer: int = 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """One HTTP answer, whole. Names of headers are in lower case."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


class Answer(Struct, frozen=True, kw_only=True):
    """What the backend said of the jobs it was asked about.

    Attributes:
        statuses: Statuses, in ascending order of version for each job. A job that is missing has
            nothing newer than what was known.
        errors: Why nothing is said of a job.
        epoch: The history that the answer speaks of; empty where the backend has no versions.
        poll_after: Seconds before which another read is of no use; None where not said.
    """

    statuses: Sequence[JobStatus] = ()
    errors: Mapping[str, VtransError] = {}
    epoch: str = ""
    poll_after: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What a backend can do.

    Attributes:
        push_path: Path of the WebSocket; None where there is no channel.
        subprotocol: WebSocket subprotocol of the channel.
        max_bulk: How many jobs one `Read` may name.
        max_body: How many bytes of job ids and versions one `Read` may carry.
        languages_per_order: How many languages one `Submit` may name; None is no limit.
        can_cancel: Whether there is `Cancel`.
    """

    push_path: str | None = None
    subprotocol: str | None = None
    max_bulk: int = 1
    max_body: int = 60_000
    languages_per_order: int | None = None
    can_cancel: bool = False

    def admits(self, operation: Operation) -> bool:
        """Whether one request can carry an operation."""
        if isinstance(operation, Read):
            return len(operation.jobs) <= self.max_bulk
        if isinstance(operation, Submit) and self.languages_per_order is not None:
            return len(operation.languages) <= self.languages_per_order
        return True

    def chunks(self, job_ids: Sequence[str]) -> Iterator[list[str]]:
        """Cut job ids into as many lists as one `Read` each may carry."""
        chunk: list[str] = []
        room = self.max_body
        for job_id in job_ids:
            cost = len(job_id) + JOB_OVERHEAD
            if chunk and (len(chunk) == self.max_bulk or cost > room):
                yield chunk
                chunk, room = [], self.max_body
            chunk.append(job_id)
            room -= cost
        if chunk:
            yield chunk


# Messages of the channel. `tag` is the member `type` of the JSON object.


class Hello(Struct, frozen=True, gc=False, tag="hello", omit_defaults=True):
    """First message of the client."""

    agent: str


class Subscribe(Struct, frozen=True, gc=False, tag="subscribe", kw_only=True, omit_defaults=True):
    """Ask for whatever is newer than the versions given."""

    id: int
    mode: str
    jobs: dict[str, int]
    epoch: str | None = None


class Unsubscribe(Struct, frozen=True, gc=False, tag="unsubscribe"):
    """Ask for nothing more of these jobs."""

    jobs: list[str]


class Pong(Struct, frozen=True, gc=False, tag="pong"):
    """Answer to `Ping`."""

    n: int


Sent = Hello | Subscribe | Unsubscribe | Pong


class Welcome(Struct, frozen=True, gc=False, tag="welcome", kw_only=True):
    """First message of the server; times in seconds."""

    epoch: str
    ping: float = 5.0
    grace: float = 5.0
    spread: float = 0.25
    max_jobs: int = 1000
    max_frame: int = 65536
    replica: str = ""


class Events(Struct, frozen=True, gc=False, tag="events"):
    """Statuses, in ascending order of version for each job."""

    events: list[JobStatus]


class Synced(Struct, frozen=True, gc=False, tag="synced"):
    """Every job of subscribe `id` has been brought to its newest status once."""

    id: int
    errors: dict[str, str] = {}


class Ping(Struct, frozen=True, gc=False, tag="ping"):
    """Sign of life; `spread` in seconds follows the number of clients."""

    n: int
    spread: float | None = None


class Drain(Struct, frozen=True, gc=False, tag="drain", kw_only=True):
    """The server is about to leave.

    The client connects anew within `spread` seconds; the server closes after `deadline` seconds.
    """

    spread: float = 0.25
    deadline: float = 60.0
    reason: str = ""


class ChannelError(Struct, frozen=True, gc=False, tag="error", kw_only=True):
    """The server could not do what was asked."""

    code: str
    id: int | None = None
    retry_after: float | None = None
    message: str = ""

    @property
    def hold(self) -> float:
        """Seconds for which the server asks us to stay away, within the bounds of Retry-After."""
        return _bounded(self.retry_after or 0.0)


class Ignored(Struct, frozen=True, gc=False):
    """A message of a type that this client does not know: a sign of life, nothing more."""


Received = Welcome | Events | Synced | Ping | Drain | ChannelError | Ignored


class Dialect(Protocol):
    """What the client needs to know of a kind of backend."""

    @property
    def capabilities(self) -> Capabilities:
        """What the backend can do."""

    @property
    def fallback(self) -> Dialect | None:
        """A simpler dialect to speak once an operation of this one turns out `Unsupported`."""

    def request(self, operation: Operation) -> Request:
        """Build the request for an operation."""

    def decipher(self, operation: Operation, response: Response) -> Answer:
        """Read the answer to an operation.

        Raises:
            ServerError: The server refused.
            ProtocolError: The answer makes no sense.
        """


def refusal(
    response: Response,
    *,
    code: str = "",
    message: str = "",
    job_id: str | None = None,
    retry_after: float | None = None,
) -> ServerError:
    """Return the error that fits a status outside 200-299.

    Args:
        response: The answer.
        code: The backend's own word for the problem, if it gave one.
        message: The backend's own sentence, if it gave one.
        job_id: The one job that the request was about, if there was one.
        retry_after: Seconds that the body asks us to stay away; the header may ask for more.
    """
    asked = [retry_after_of(response.headers), retry_after and _bounded(retry_after)]
    kind, sentence = _kind_of_refusal(response.status, code, job_id)
    if 300 <= response.status < 400:
        target = response.headers.get("location", "")[:200]
        sentence += f" to {target!r}; set base_url to the final address"
    said = f": {message}" if message else ""
    return kind(
        f"{sentence} (HTTP {response.status}){said}",
        status=response.status,
        code=code,
        retry_after=max((seconds for seconds in asked if seconds is not None), default=None),
        request_id=response.headers.get("x-request-id"),
        job_id=job_id,
    )


def _kind_of_refusal(status: int, code: str, job_id: str | None) -> tuple[type[ServerError], str]:
    if status == 401:
        return AuthError, "the API key is missing or wrong"
    if status == 402 or code in _QUOTA_CODES:
        return QuotaExceeded, "the account's quota or credit is used up"
    if status == 403:
        return AuthError, "the API key does not allow this"
    if status in (404, 410) and job_id is not None and code != "unknown_path":
        return JobNotFound, f"the server does not know job {job_id}"
    if status == 429:
        return RateLimited, "the server asks for fewer requests"
    if status in _PASSING:
        return Unavailable, "the server cannot answer now"
    if status in (404, 405, 501):
        return Unsupported, "the server has no such operation: is the path of base_url right?"
    if 300 <= status < 400:
        # Followed, it would take the API key to a host that it was not meant for.
        return InvalidRequest, "redirects are never followed, and the server sends one"
    return InvalidRequest, "the server rejects the request"


_QUOTA_CODES = frozenset({"insufficient_credit", "quota_exceeded", "resource_limit_reached"})

# RFC 9110 sections 15.5 and 15.6: the statuses that speak of a passing condition. A 500 may be one
# bad replica, and every request here is safe to repeat.
_PASSING = frozenset({408, 425, 500, 502, 503, 504})

_LONGEST_RETRY_AFTER = 3600.0


def retry_after_of(headers: Mapping[str, str]) -> float | None:
    """Return the delay in seconds that an answer asks for; None where it asks for none.

    A date (RFC 9110 section 10.2.3) is measured against the `Date` of the same answer, so that the
    clocks of both machines may differ. What cannot be read is no delay; more than an hour is one.
    """
    text = headers.get("retry-after", "")
    seconds = _number(headers.get("retry-after-ms", ""), 1000.0) or _number(text, 1.0)
    if seconds is None and text:
        try:
            until = parsedate_to_datetime(text) - parsedate_to_datetime(headers.get("date", ""))
            seconds = until.total_seconds()
        except (TypeError, ValueError, OverflowError):
            return None
    return None if seconds is None else _bounded(seconds)


def _bounded(seconds: float) -> float:
    return min(max(seconds, 0.0), _LONGEST_RETRY_AFTER)


def _number(text: str, unit: float) -> float | None:
    try:
        value = float(text) / unit
    except ValueError:
        return None
    return value if math.isfinite(value) else None


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
