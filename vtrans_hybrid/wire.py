"""JSON of docs/protocol.md to and from values: the native dialect, and the plain one within it.

The plain contract, `GET /status` -> `{"result": "pending" | "completed" | "error"}`, is what the
simplest servers speak. `Native` is tried first; the first answer that shows a server without bulk
reads makes the client fall back on `Plain`.
"""

from __future__ import annotations

from typing import TypeVar

import msgspec
from msgspec import Struct

from vtrans_hybrid.dialect import (
    Answer,
    Cancel,
    Capabilities,
    ChannelError,
    Dialect,
    Drain,
    Events,
    Ignored,
    Operation,
    Ping,
    Read,
    ReadDefault,
    Received,
    Request,
    Response,
    Sent,
    Submit,
    Synced,
    Welcome,
    refusal,
    state_of,
)
from vtrans_hybrid.errors import JobNotFound, ProtocolError, ServerError, Unsupported, VtransError
from vtrans_hybrid.models import Failure, JobStatus, Source, State, check_job_id

__all__ = ["DEFAULT_JOB", "Native", "Plain", "decode_message", "encode_message"]

DEFAULT_JOB = "default"
"""Name that the plain dialect gives to the one job of a server without job ids."""


# The channel.

_encoder = msgspec.json.Encoder()
_received = msgspec.json.Decoder(Welcome | Events | Synced | Ping | Drain | ChannelError)
_KNOWN_TYPES = frozenset({"welcome", "events", "synced", "ping", "drain", "error"})


class _Typed(Struct):
    type: str


_typed = msgspec.json.Decoder(_Typed)


def encode_message(message: Sent) -> bytes:
    """Return the text frame for a message of the client."""
    return _encoder.encode(message)


def decode_message(frame: bytes) -> Received:
    """Read one frame of the server; docs/protocol.md section 3.

    Raises:
        ProtocolError: It is no JSON object, or a known message with wrong content.
    """
    try:
        message: Received = _received.decode(frame)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        if _has_unknown_type(frame):
            return Ignored()
        raise ProtocolError(f"a frame of the channel makes no sense: {error}") from error
    return message


def _has_unknown_type(frame: bytes) -> bool:
    try:
        return _typed.decode(frame).type not in _KNOWN_TYPES
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False


# REST.


class _Problem(Struct):
    """An RFC 9457 problem document, or whatever of it a server has."""

    code: str = ""
    detail: str = ""
    title: str = ""


class _Accepted(Struct):
    jobs: list[JobStatus]


class _BulkAnswer(Struct):
    epoch: str
    events: list[JobStatus] = []
    errors: dict[str, str] = {}
    poll_after: float | None = None


_problem = msgspec.json.Decoder(_Problem)
_accepted = msgspec.json.Decoder(_Accepted)
_bulk_answer = msgspec.json.Decoder(_BulkAnswer)
_status = msgspec.json.Decoder(JobStatus)


_T = TypeVar("_T")


def _decode(decoder: msgspec.json.Decoder[_T], response: Response) -> _T:
    try:
        return decoder.decode(response.body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        kind = response.headers.get("content-type", "no content type")
        raise ProtocolError(
            f"the server answered something else than the JSON expected ({kind[:60]}; {error}): "
            "does base_url name a video-translation server?"
        ) from error


def _refused(response: Response, job_id: str | None = None) -> ServerError:
    try:
        problem = _problem.decode(response.body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        problem = _Problem()
    said = problem.detail or problem.title
    return refusal(response, code=problem.code, message=said[:300], job_id=job_id)


def _json(method: str, path: str, body: object, headers: dict[str, str] | None = None) -> Request:
    return Request(
        method=method,
        path=path,
        headers={"content-type": "application/json", **(headers or {})},
        body=_encoder.encode(body),
    )


class Native:
    """The protocol of docs/protocol.md, whole."""

    capabilities = Capabilities(
        push_path="/events", subprotocol="vtrans.v1", max_bulk=1000, can_cancel=True
    )

    @property
    def fallback(self) -> Dialect | None:
        """The plain contract: a server without bulk reads speaks that."""
        return Plain()

    def request(self, operation: Operation) -> Request:
        """Build the request for an operation."""
        match operation:
            case Submit():
                body = {
                    **operation.options,
                    "video_url": operation.video,
                    "languages": operation.languages,
                }
                return _json("POST", "/jobs", body, {"idempotency-key": operation.key})
            case Read():
                mode = "all" if operation.wants_all else "latest"
                known = {"epoch": operation.epoch or None, "mode": mode, "jobs": operation.jobs}
                return _json("POST", "/status", known)
            case ReadDefault():
                return Request(method="GET", path="/status")
            case Cancel():
                return Request(method="DELETE", path=f"/jobs/{check_job_id(operation.job_id)}")

    def decipher(self, operation: Operation, response: Response) -> Answer:
        """Read the answer to an operation."""
        if not 200 <= response.status < 300:
            job_id = operation.job_id if isinstance(operation, Cancel) else None
            raise _refused(response, job_id)
        match operation:
            case Submit():
                return Answer(statuses=_decode(_accepted, response).jobs)
            case Read():
                answer = _decode(_bulk_answer, response)
                return Answer(
                    statuses=answer.events,
                    errors={job: job_error(job, code) for job, code in answer.errors.items()},
                    epoch=answer.epoch,
                    poll_after=answer.poll_after,
                )
            case ReadDefault():
                return Plain().decipher(operation, response)
            case Cancel():
                return Answer(statuses=[_decode(_status, response)])


def job_error(job_id: str, code: str) -> VtransError:
    """Return the error for what the server says of one job among many; section 4.3."""
    if code in {"not_found", "gone"}:
        sentence = f"the server does not know job {job_id}"
        return JobNotFound(sentence, status=404, code=code, job_id=job_id)
    return ServerError(f"the server cannot tell of job {job_id}: {code}", code=code, job_id=job_id)


class _PlainStatus(Struct):
    """What a plain server says of a job; every field but the word is optional."""

    result: str | None = None
    status: str | None = None
    state: str | None = None
    job_id: str | None = None
    version: int = 0
    epoch: str = ""
    progress: float | None = None
    estimated_time_remaining: float | None = None
    language: str | None = None
    error: Failure | str | None = None
    message: str | None = None
    result_url: str | None = None


class _PlainAccepted(Struct):
    job_id: str


_plain_status = msgspec.json.Decoder(_PlainStatus)
_plain_accepted = msgspec.json.Decoder(_PlainAccepted)


class Plain:
    """The least that a status server can be: one GET a job, no versions, no channel."""

    capabilities = Capabilities(languages_per_order=1)

    @property
    def fallback(self) -> Dialect | None:
        """None: nothing is simpler."""
        return None

    def request(self, operation: Operation) -> Request:
        """Build the request for an operation."""
        match operation:
            case Submit():
                body = {
                    **operation.options,
                    "video_url": operation.video,
                    "language": operation.languages[0],
                }
                return _json("POST", "/create_job", body, {"idempotency-key": operation.key})
            case Read():
                [job_id] = operation.jobs
                path = "/status" if job_id == DEFAULT_JOB else f"/status/{check_job_id(job_id)}"
                return Request(method="GET", path=path)
            case ReadDefault():
                return Request(method="GET", path="/status")
            case Cancel():
                raise Unsupported("this backend cannot cancel a job", job_id=operation.job_id)

    def decipher(self, operation: Operation, response: Response) -> Answer:
        """Read the answer to an operation."""
        match operation:
            case Submit():
                if not 200 <= response.status < 300:
                    raise _refused(response)
                job_id = check_job_id(_decode(_plain_accepted, response).job_id)
                [language] = operation.languages
                return Answer(
                    statuses=[JobStatus(job_id=job_id, state=State.PENDING, language=language)]
                )
            case Read():
                [job_id] = operation.jobs
                if not 200 <= response.status < 300:
                    raise _plain_refusal(response, job_id)
                return Answer(statuses=[_plain(response, job_id)])
            case _:
                if not 200 <= response.status < 300:
                    raise _refused(response)
                return Answer(statuses=[_plain(response, DEFAULT_JOB)])


def _plain_refusal(response: Response, job_id: str) -> VtransError:
    kind = response.headers.get("content-type", "")
    if response.status == 404 and "json" not in kind:
        # A server without the path answers just like that, so this is no proof of a dead job.
        return ProtocolError(
            f"the server answered 404 without JSON for job {job_id}: either base_url is wrong, "
            "or the server does not know the job",
            job_id=job_id,
        )
    return _refused(response, job_id)


def _plain(response: Response, job_id: str) -> JobStatus:
    said = _decode(_plain_status, response)
    word = said.state or said.result or said.status
    if word is None:
        raise ProtocolError(
            'the server answered JSON without "result": does base_url name a '
            "video-translation server?",
            job_id=job_id,
        )
    failure = said.error if isinstance(said.error, Failure) else None
    if isinstance(said.error, str) or said.message:
        text = said.error if isinstance(said.error, str) else said.message
        failure = Failure(message=text or "")
    state = state_of(word)
    return JobStatus(
        job_id=said.job_id or job_id,
        state=state,
        version=said.version,
        epoch=said.epoch,
        progress=said.progress,
        estimated_time_remaining=said.estimated_time_remaining,
        language=said.language,
        error=failure if state == State.ERROR else None,
        result_url=said.result_url,
        source=Source.POLL,
    )
