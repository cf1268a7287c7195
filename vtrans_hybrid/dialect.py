"""The seam between the client and a backend: what is asked, what comes back, in neutral words.

A dialect is a small pure value. It turns an operation into an HTTP request, deciphers the answer,
and says what the backend can do. Nothing outside a dialect knows which backend it talks to. What is
said on a push channel, where the backend has one, is in `messages.py`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgspec
from msgspec import Struct

from vtrans_hybrid.errors import Unsupported, VtransError
from vtrans_hybrid.models import JobStatus

__all__ = [
    "AddEndpoint",
    "Answer",
    "Cancel",
    "Capabilities",
    "Delete",
    "Dialect",
    "Endpoint",
    "EventHistory",
    "Happening",
    "JOB_OVERHEAD",
    "Languages",
    "ListEndpoints",
    "ListJobs",
    "Operation",
    "Read",
    "ReadDefault",
    "RemoveEndpoint",
    "Request",
    "Response",
    "Submit",
    "lacking",
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Delete:
    """Delete a job for good: afterwards the backend does not know it."""

    job_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ListJobs:
    """List the jobs of the caller, a page at a time.

    Attributes:
        limit: How many jobs a page may have; None leaves it to the backend.
        token: `Answer.next_token` of the page before; empty for the first.
    """

    limit: int | None = None
    token: str = ""


@dataclass(frozen=True, slots=True)
class Languages:
    """List the languages that videos are translated into."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AddEndpoint:
    """Let the backend deliver webhooks to an address.

    Attributes:
        url: The address.
        events: What to deliver, in the backend's own words; empty for what jobs end with.
    """

    url: str = field(repr=False)  # whoever knows it can send to it
    events: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ListEndpoints:
    """List the addresses that webhooks are delivered to, a page at a time, without their secrets.

    Attributes:
        limit: How many endpoints a page may have; None leaves it to the backend.
        token: `Answer.next_token` of the page before; empty for the first.
    """

    limit: int | None = None
    token: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveEndpoint:
    """Let the backend deliver no more webhooks to an address."""

    endpoint_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EventHistory:
    """List what webhooks were about, a page at a time.

    Attributes:
        limit: How many events a page may have; None leaves it to the backend.
        token: `Answer.next_token` of the page before; empty for the first.
    """

    limit: int | None = None
    token: str = ""


Operation = (
    Submit
    | Read
    | ReadDefault
    | Cancel
    | Delete
    | ListJobs
    | Languages
    | AddEndpoint
    | ListEndpoints
    | RemoveEndpoint
    | EventHistory
)


# What travels over HTTP.

_MOST_ANSWER = 2**20
"""Bytes of the longest answer that is about a few jobs."""


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
    max_answer: int = _MOST_ANSWER

    @classmethod
    def post(
        cls, path: str, body: object, *, key: str | None = None, max_answer: int = _MOST_ANSWER
    ) -> Request:
        """Build a request that posts JSON.

        Args:
            path: Its path.
            body: What is encoded as its body.
            key: Idempotency key of an order; None for what is no order.
            max_answer: How many bytes of answer are read, unpacked.
        """
        headers = {"content-type": "application/json"}
        if key is not None:
            headers["idempotency-key"] = key
        encoded = msgspec.json.encode(body)
        return cls(method="POST", path=path, headers=headers, body=encoded, max_answer=max_answer)


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """One HTTP answer, whole. Names of headers are in lower case."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """An address that webhooks are delivered to.

    Attributes:
        endpoint_id: Its name at the backend.
        url: The address.
        secret: What deliveries are signed with; empty where the backend does not show it.
    """

    endpoint_id: str
    url: str = field(default="", repr=False)
    secret: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Happening:
    """An event that webhooks were sent about.

    Attributes:
        event_id: Its name at the backend; empty where it has none.
        job_ids: The jobs that had news; empty where it was about something else.
        created_at: When it happened, in Unix seconds; None where the backend does not say.
    """

    event_id: str
    job_ids: tuple[str, ...]
    created_at: float | None = None


class Answer(Struct, frozen=True, kw_only=True):
    """What the backend said of the jobs it was asked about, and of what else it was asked.

    Attributes:
        statuses: Statuses, in ascending order of version for each job. A job that is missing has
            nothing newer than what was known.
        errors: Why nothing is said of a job.
        hearsay: Jobs of which the answer says something that only a read of the job alone settles:
            an end without its result, a job that is not found among many.
        epoch: The history that the answer speaks of, and every status in it with a version; empty
            where the backend does not say.
        poll_after: Seconds before which another read is of no use; None where not said.
        next_token: Where the next page of a list begins; empty on the last.
        languages: Names of languages.
        endpoints: Addresses that webhooks are delivered to.
        happenings: Events that webhooks were sent about.
    """

    statuses: Sequence[JobStatus] = ()
    errors: Mapping[str, VtransError] = {}
    hearsay: Collection[str] = ()
    epoch: str = ""
    poll_after: float | None = None
    next_token: str = ""
    languages: Sequence[str] = ()
    endpoints: Sequence[Endpoint] = ()
    happenings: Sequence[Happening] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What a backend can do, and how it wants to be treated.

    Attributes:
        push_path: Path of the WebSocket; None where there is no channel.
        subprotocol: WebSocket subprotocol of the channel.
        max_bulk: How many jobs one `Read` may name.
        bulk_from: From how many open jobs on a `Read` of many pays.
        max_body: How many bytes of job ids and versions one `Read` may carry.
        languages_per_order: How many languages one `Submit` may name; None is no limit.
        operations: What it can do beside `Submit` and `Read`.
        repeats_orders: Whether an order that is sent again with its key is carried out once. Where
            not, it is sent again only if it is certain that nothing came of it.
        may_lose_jobs: Whether a job that is known no more was lost with the state of the server.
            Where not, somebody has deleted it.
        unknown_grace: Seconds for which a job that exists may be unknown.
        unknown_interval: Seconds between two questions about such a job.
        key_header: Name of the header that carries the API key.
        key_prefix: What stands before the key in it.
    """

    push_path: str | None = None
    subprotocol: str | None = None
    max_bulk: int = 1
    bulk_from: int = 1
    max_body: int = 60_000
    languages_per_order: int | None = None
    operations: frozenset[type[Operation]] = frozenset()
    repeats_orders: bool = True
    may_lose_jobs: bool = True
    unknown_grace: float = 10.0
    unknown_interval: float = 1.0
    key_header: str = "authorization"
    key_prefix: str = "Bearer "

    def offers(self, operation: Operation) -> bool:
        """Whether there is such an operation."""
        return isinstance(operation, (Submit, Read)) or type(operation) in self.operations

    def admits(self, operation: Operation) -> bool:
        """Whether one request can carry an operation."""
        if isinstance(operation, Read):
            return len(operation.jobs) <= self.max_bulk
        if isinstance(operation, Submit) and self.languages_per_order is not None:
            return len(operation.languages) <= self.languages_per_order
        return True

    def chunks(self, job_ids: Sequence[str]) -> Iterator[list[str]]:
        """Cut job ids into lists, for each of which one `Read` is best."""
        most = self.max_bulk if len(job_ids) >= self.bulk_from else 1
        chunk: list[str] = []
        room = self.max_body
        for job_id in job_ids:
            cost = len(job_id) + JOB_OVERHEAD
            if chunk and (len(chunk) == most or cost > room):
                yield chunk
                chunk, room = [], self.max_body
            chunk.append(job_id)
            room -= cost
        if chunk:
            yield chunk


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


def lacking(operation: Operation) -> Unsupported:
    """Return the error for an operation that a backend does not have."""
    job_id = getattr(operation, "job_id", None)
    return Unsupported(f"this backend cannot {_WORDS[type(operation)]}", job_id=job_id)


_WORDS: Mapping[type[Operation], str] = {
    AddEndpoint: "send webhooks",
    Cancel: "cancel a job",
    Delete: "delete a job",
    EventHistory: "tell of past webhooks",
    Languages: "list its languages",
    ListEndpoints: "send webhooks",
    ListJobs: "list jobs",
    ReadDefault: "tell of a job that is not named",
    RemoveEndpoint: "send webhooks",
}
