"""The messages of `vtrans.v1`: every shape that crosses the wire, and nothing that decides.

Channel messages are tagged by `type` (docs/protocol.md section 3). Absent means null: a field that
holds its default is left out. Unknown fields are ignored, so that either side can grow.
"""

from http import HTTPStatus
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta, Struct

from simulator.misfits import misfit

__all__ = [
    "Auth",
    "Authed",
    "BulkAnswer",
    "BulkRequest",
    "ClientMessage",
    "CreateAnswer",
    "CreateRequest",
    "Drain",
    "ErrorMessage",
    "Event",
    "Events",
    "Health",
    "Hello",
    "JobError",
    "JobPage",
    "MAX_FRAME",
    "MAX_JOBS",
    "Mode",
    "PROBLEM_STATUS",
    "Ping",
    "PlainCreateAnswer",
    "PlainCreateRequest",
    "Pong",
    "Problem",
    "ProblemError",
    "SUBPROTOCOL",
    "ScriptStep",
    "ServerMessage",
    "Status",
    "Subscribe",
    "Synced",
    "Unsubscribe",
    "Welcome",
    "decode_client",
    "encode",
    "events_frame",
    "flagged",
]

SUBPROTOCOL: Final = "vtrans.v1"
MAX_JOBS: Final = 1000  # jobs in one subscribe frame or one bulk read
MAX_FRAME: Final = 65_536  # bytes that the server takes in one frame or one request body

Mode = Literal["latest", "all"]
Version = Annotated[int, Meta(ge=0, le=2**53)]  # 2**53: what a JSON number holds without loss
RequestId = Annotated[int, Meta(ge=0, le=2**53)]
Seconds = Annotated[float, Meta(ge=0)]

# Problem codes and the HTTP status that carries each (docs/protocol.md section 4.9).
PROBLEM_STATUS: Final = {
    "bad_request": 400,
    "unauthorized": 401,
    "forbidden": 403,
    "not_found": 404,
    "unknown_path": 404,
    "method_not_allowed": 405,
    "conflict": 409,
    "gone": 410,
    "too_large": 413,
    "rate_limited": 429,
    "internal": 500,
    "unavailable": 503,
}


class JobError(Struct, frozen=True, gc=False, kw_only=True):
    """Why a job ended in `error`."""

    code: str
    message: str


class Status(Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """The status document: a whole snapshot of one version of a job, the same everywhere."""

    job_id: str
    """Which job this is about."""
    state: str
    """`pending`, `running`, or one of the final ones: `completed`, `error`, `canceled`."""
    result: str
    """Repeats `state` for clients of the plain contract."""
    version: Version
    """Number of this status in the history of the job, from 1."""
    epoch: str
    """The history that `version` counts in."""
    progress: float | None = None
    """From 0 to 1."""
    estimated_time_remaining: float | None = None
    """In seconds."""
    language: str | None = None
    """As ordered."""
    title: str | None = None
    """As ordered."""
    error: JobError | None = None
    """Its `code` and `message` say why the job ended in `error` or `canceled`."""
    result_url: str | None = None
    """Where the translation is, once there is one."""
    created_at: str | None = None
    """RFC 3339, for display only."""
    updated_at: str | None = None
    """RFC 3339, for display only."""
    poll_after: float | None = None
    """In seconds, a lower bound for the next poll; only in answers to a poll."""


class Event(Status, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """A status document with the remarks that the channel and the bulk read add to it."""

    gap: bool = False
    """Whether versions between the reader's last and this one are no longer kept."""
    final: bool = False
    """Whether the job has ended, and the server has unsubscribed it."""
    gone: bool = False
    """Whether only this tombstone is left of the job."""


# -- from client to server --------------------------------------------------------------------


class Hello(Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True, tag="hello"):
    """Open the conversation; the first message of a client."""

    agent: str = ""
    token: str | None = None
    """The key of a client that cannot set headers, such as a browser."""


class Subscribe(Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True, tag="subscribe"):
    """Ask for whatever is newer than the given version of each job, now and from now on."""

    id: RequestId
    epoch: str | None = None
    mode: Mode = "latest"
    jobs: dict[str, Version]
    """Job id to the last version that the client has applied; 0 for none."""


class Unsubscribe(
    Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True, tag="unsubscribe"
):
    """Stop the events of these jobs."""

    jobs: list[str]


class Pong(Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True, tag="pong"):
    """Answer a ping."""

    n: int


class Auth(Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True, tag="auth"):
    """Bring a newer key without a new connection."""

    id: RequestId
    token: str


ClientMessage = Hello | Subscribe | Unsubscribe | Pong | Auth


# -- from server to client --------------------------------------------------------------------


class Welcome(Struct, frozen=True, gc=False, kw_only=True, tag="welcome"):
    """Answer a hello with the terms of this connection."""

    epoch: str
    ping: float
    """Seconds after which the server pings when it had nothing else to say."""
    grace: float
    """Seconds that either side waits beyond `ping` before it takes the other for dead."""
    spread: float
    """Seconds over which clients spread their first return if this server goes away."""
    max_jobs: int
    max_frame: int
    replica: str


class Events(Struct, frozen=True, gc=False, kw_only=True, tag="events"):
    """Carry 1 to 64 events."""

    events: list[Event]


class Synced(Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True, tag="synced"):
    """Say that every job of one subscribe has been brought to its head once."""

    id: RequestId
    errors: dict[str, str] = {}
    """Job id to problem code, for the jobs that were not subscribed."""


class Ping(Struct, frozen=True, gc=False, kw_only=True, tag="ping"):
    """Ask for a sign of life."""

    n: int
    spread: float


class Drain(Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True, tag="drain"):
    """Announce that this connection will be closed with 1012 in `deadline` seconds."""

    spread: float
    deadline: float
    reason: str = ""


class Authed(Struct, frozen=True, gc=False, kw_only=True, tag="authed"):
    """Confirm an auth message."""

    id: RequestId


class ErrorMessage(Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True, tag="error"):
    """Refuse one request of the client; the connection stays."""

    id: RequestId | None = None
    code: str
    message: str = ""
    retry_after: float | None = None


ServerMessage = Welcome | Events | Synced | Ping | Drain | Authed | ErrorMessage


# -- REST -------------------------------------------------------------------------------------


class ScriptStep(Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """One step of a scripted life of a job."""

    at: Seconds
    """Seconds after the job was created."""
    state: Annotated[str, Meta(min_length=1, max_length=64)]
    progress: Annotated[float, Meta(ge=0, le=1)] | None = None
    estimated_time_remaining: float | None = None
    error: JobError | None = None
    result_url: str | None = None


class CreateRequest(Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """Order translations of one video: one job for each language."""

    video_url: Annotated[str, Meta(min_length=1, max_length=2048)]
    language: Annotated[str, Meta(min_length=1, max_length=100)] | None = None
    languages: (
        Annotated[
            list[Annotated[str, Meta(min_length=1, max_length=100)]],
            Meta(min_length=1, max_length=100),
        ]
        | None
    ) = None
    title: Annotated[str, Meta(max_length=500)] | None = None
    callback_url: (
        Annotated[str, Meta(max_length=2048, pattern=r"^https?://[^\s/?#@]+([/?#]\S*)?$")] | None
    ) = None
    delay: float | str | None = None
    """Seconds from creation to the end, a range "3:10", or a distribution "lognormal:300,0.5"."""
    error_probability: Annotated[float, Meta(ge=0, le=1)] | None = None
    script: Annotated[list[ScriptStep], Meta(min_length=1, max_length=1000)] | None = None

    def __repr__(self) -> str:
        # The addresses may be signed, and then they are secrets.
        return f"<{type(self).__name__} {self.language or self.languages}>"


class CreateAnswer(Struct, frozen=True, gc=False, kw_only=True):
    """Name the jobs that an order became, in the order of its languages."""

    jobs: list[Status]


class PlainCreateRequest(CreateRequest, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """Order one translation under the plain contract, in which nothing is required."""

    video_url: Annotated[str, Meta(min_length=1, max_length=2048)] = "https://example.com/video.mp4"
    language: Annotated[str, Meta(min_length=1, max_length=100)] | None = "English"


class PlainCreateAnswer(Struct, frozen=True, gc=False, kw_only=True):
    """Name the job that a plain order became."""

    job_id: str


class JobPage(Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """List some of the caller's jobs, oldest first."""

    jobs: list[Status]
    next: str | None = None
    """What `?after=` takes to get the next page; None on the last one."""


class Health(Struct, frozen=True, gc=False, kw_only=True):
    """Say that the server takes requests."""

    status: Literal["ok"] = "ok"
    epoch: str


class BulkRequest(Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """Read many jobs at once: a subscribe that is answered once."""

    jobs: dict[str, Version]
    epoch: str | None = None
    mode: Mode = "latest"
    wait: Seconds | None = None
    """Seconds to hold the answer while nothing is newer; None answers at once."""


class BulkAnswer(Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """Carry only what is newer than what the reader has."""

    epoch: str
    events: list[Event]
    errors: dict[str, str] = {}
    poll_after: float | None = None
    """In seconds, a lower bound for the next poll."""


class Problem(Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """A problem document (RFC 9457) of REST."""

    type: str = "about:blank"
    title: str
    status: int
    code: str
    detail: str | None = None
    retry_after: float | None = None
    job_id: str | None = None


class ProblemError(Exception):
    """Refuse a request; what the caller gets to see is `problem`.

    Args:
        code: one of the keys of `PROBLEM_STATUS`.
        detail: a sentence that says what to do.
        retry_after: seconds before it makes sense to ask again; None for no such hint.
        job_id: the job that the problem is about.
    """

    def __init__(
        self,
        code: str,
        detail: str,
        *,
        retry_after: float | None = None,
        job_id: str | None = None,
    ) -> None:
        super().__init__(detail)
        self.problem = Problem(
            title=HTTPStatus(PROBLEM_STATUS[code]).phrase,
            status=PROBLEM_STATUS[code],
            code=code,
            detail=detail,
            retry_after=retry_after,
            job_id=job_id,
        )


# -- bytes ------------------------------------------------------------------------------------

_encoder = msgspec.json.Encoder()
_client_decoder: msgspec.json.Decoder[ClientMessage] = msgspec.json.Decoder(ClientMessage)
_CLIENT_TYPES: Final = frozenset({"hello", "subscribe", "unsubscribe", "pong", "auth"})


class _Tagged(Struct, frozen=True, gc=False):
    type: str


_tag_decoder: msgspec.json.Decoder[_Tagged] = msgspec.json.Decoder(_Tagged)


def encode(message: Struct) -> bytes:
    """Return the JSON of one message."""
    return _encoder.encode(message)


def decode_client(frame: str | bytes) -> ClientMessage | None:
    """Return the message of a client, or None for a type that this server does not know.

    Raises:
        ValueError: the frame is no message; the text of the error says why.
    """
    try:
        return _client_decoder.decode(frame)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        if _has_unknown_type(frame):
            return None
        raise ValueError(misfit(error, ClientMessage)) from error


def _has_unknown_type(frame: str | bytes) -> bool:
    """Tell whether a newer client says what we cannot know (docs/protocol.md section 3)."""
    try:
        return _tag_decoder.decode(frame).type not in _CLIENT_TYPES
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return False


def flagged(document: bytes, flag: str) -> bytes:
    """Return an encoded status document with one more remark: `gap`, `final` or `gone`."""
    return b'%b,"%b":true}' % (document[:-1], flag.encode())


def events_frame(events: list[bytes]) -> bytes:
    """Return an `events` message around events that are already encoded."""
    return b'{"type":"events","events":[%b]}' % b",".join(events)
