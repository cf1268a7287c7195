"""The requests of docs/protocol.md and their answers: the native dialect, and the plain one in it.

The plain contract, `GET /status` -> `{"result": "pending" | "completed" | "error"}`, is what the
simplest servers speak. `Native` is tried first; the first answer that shows a server without bulk
reads makes the client fall back on `Plain`.
"""

from __future__ import annotations

import math
from typing import Any, TypeVar
from urllib.parse import urlencode

import msgspec
from msgspec import Struct

from vtrans_hybrid.dialect import (
    Answer,
    Cancel,
    Capabilities,
    Dialect,
    ListJobs,
    Operation,
    Read,
    ReadDefault,
    Request,
    Response,
    Submit,
    lacking,
)
from vtrans_hybrid.errors import (
    AuthError,
    JobNotFound,
    ProtocolError,
    RateLimited,
    ServerError,
    Unavailable,
    VtransError,
)
from vtrans_hybrid.models import Failure, JobStatus, Source, State, check_job_id, state_of
from vtrans_hybrid.refusal import refusal

__all__ = ["DEFAULT_JOB", "Native", "Plain"]

DEFAULT_JOB = "default"
"""Name that the plain dialect gives to the one job of a server without job ids."""


_MAX_BULK_ANSWER = 8 * 2**20
"""Bytes of the largest answer to a bulk read: 1,000 jobs in mode `all` with long URLs."""


class _Problem(Struct):
    """An RFC 9457 problem document, or whatever of it a server has, of whatever type."""

    code: Any = ""
    detail: Any = ""
    title: Any = ""
    retry_after: Any = None


class _Accepted(Struct):
    jobs: list[JobStatus]


class _Page(Struct):
    jobs: list[JobStatus]
    next: str | None = None


class _BulkAnswer(Struct):
    epoch: str
    events: list[JobStatus] = []
    errors: dict[str, str] = {}
    poll_after: float | None = None


_problem = msgspec.json.Decoder(_Problem)
_accepted = msgspec.json.Decoder(_Accepted)
_page = msgspec.json.Decoder(_Page)
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
    return refusal(
        response,
        code=_text(problem.code) or "",
        message=(_text(problem.detail) or _text(problem.title) or "")[:300],
        job_id=job_id,
        retry_after=_number(problem.retry_after),
    )


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _number(value: object) -> float | None:
    """Return a number, also if the server wrote it as text; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


class Native:
    """The protocol of docs/protocol.md, whole."""

    capabilities = Capabilities(
        push_path="/events",
        subprotocol="vtrans.v1",
        max_bulk=1000,
        operations=frozenset({Cancel, ListJobs, ReadDefault}),
    )

    def __repr__(self) -> str:
        return "the native protocol"

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
                return Request.post("/jobs", body, key=operation.key)
            case Read():
                mode = "all" if operation.wants_all else "latest"
                known = {"mode": mode, "jobs": operation.jobs}
                if operation.epoch:
                    known = {"epoch": operation.epoch, **known}
                return Request.post("/status", known, max_answer=_MAX_BULK_ANSWER)
            case ReadDefault():
                return Request(method="GET", path="/status")
            case Cancel():
                return Request(method="DELETE", path=f"/jobs/{check_job_id(operation.job_id)}")
            case ListJobs():
                asked = {"limit": operation.limit, "after": operation.token or None}
                given = {name: value for name, value in asked.items() if value is not None}
                path = f"/jobs?{urlencode(given)}" if given else "/jobs"
                return Request(method="GET", path=path, max_answer=_MAX_BULK_ANSWER)
            case _:
                raise lacking(operation)

    def decipher(self, operation: Operation, response: Response) -> Answer:
        """Read the answer to an operation."""
        if not 200 <= response.status < 300:
            job_id = operation.job_id if isinstance(operation, Cancel) else None
            raise _refused(response, job_id)
        match operation:
            case Submit():
                accepted = _decode(_accepted, response).jobs
                return Answer(statuses=[_checked(status) for status in accepted])
            case Read():
                answer = _decode(_bulk_answer, response)
                return Answer(
                    statuses=[_polled(_of(answer.epoch, status)) for status in answer.events],
                    errors={job: job_error(job, code) for job, code in answer.errors.items()},
                    epoch=answer.epoch,
                    poll_after=answer.poll_after,
                )
            case ReadDefault():
                return _decipher_default(response)
            case Cancel():
                return Answer(statuses=[_checked(_decode(_status, response))])
            case ListJobs():
                page = _decode(_page, response)
                listed = [_checked(status) for status in page.jobs]
                return Answer(statuses=listed, next_token=page.next or "")
            case _:
                raise AssertionError(f"there is no request for {operation}")


def _of(epoch: str, status: JobStatus) -> JobStatus:
    """Return a status of an answer that speaks of a history; docs/protocol.md section 1.6."""
    if status.epoch != epoch:
        raise ProtocolError(
            "the server's answer speaks of one history, and a status in it of another",
            job_id=status.job_id,
        )
    return status


def _polled(status: JobStatus) -> JobStatus:
    """Note that a status has just come by a request: what the peer writes of that does not count.

    It is changed in place, for nobody else has seen it yet and a bulk answer has a thousand.
    """
    msgspec.structs.force_setattr(status, "source", Source.POLL)
    msgspec.structs.force_setattr(status, "skipped", 0)
    return status


def _checked(status: JobStatus) -> JobStatus:
    """Return a status of a job whose id will be used in paths."""
    return _polled(msgspec.structs.replace(status, job_id=_job_id(status.job_id)))


def _job_id(job_id: str) -> str:
    try:
        return check_job_id(job_id)
    except ValueError as error:
        raise ProtocolError(
            f"the server names a job in a way that is no job id: {error}"
        ) from error


def _decipher_default(response: Response) -> Answer:
    """Read the default job: a whole status of a native server, or the bare one of a plain one."""
    try:
        status = _status.decode(response.body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return Answer(statuses=[_plain(response, None)])
    return Answer(
        statuses=[_checked(msgspec.structs.replace(status, state=state_of(status.state)))]
    )


def job_error(job_id: str, code: str) -> VtransError:
    """Return the error for what the server says of one job among many; section 4.4."""
    if code in {"not_found", "gone"}:
        sentence = f"the server does not know job {job_id}"
        status = 410 if code == "gone" else 404
        return JobNotFound(sentence, status=status, code=code, job_id=job_id)
    kind = _KINDS_OF_JOB_ERROR.get(code, ServerError)
    return kind(f"the server cannot tell of job {job_id}: {code}", code=code, job_id=job_id)


_KINDS_OF_JOB_ERROR: dict[str, type[ServerError]] = {
    "forbidden": AuthError,
    "internal": Unavailable,
    "rate_limited": RateLimited,
    "unauthorized": AuthError,
    "unavailable": Unavailable,
}


class _PlainStatus(Struct):
    """What a plain server says of a job. Only the word counts; the rest may be of any type."""

    result: Any = None
    status: Any = None
    state: Any = None
    job_id: Any = None
    version: Any = None
    epoch: Any = None
    progress: Any = None
    estimated_time_remaining: Any = None
    language: Any = None
    error: Any = None
    message: Any = None
    result_url: Any = None


class _PlainAccepted(Struct):
    job_id: str | int


_plain_status = msgspec.json.Decoder(_PlainStatus)
_plain_accepted = msgspec.json.Decoder(_PlainAccepted)


class Plain:
    """The least that a status server can be: one GET a job, no versions, no channel."""

    capabilities = Capabilities(languages_per_order=1, operations=frozenset({ReadDefault}))

    def __repr__(self) -> str:
        return "the plain contract"

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
                return Request.post("/create_job", body, key=operation.key)
            case Read():
                [job_id] = operation.jobs
                path = "/status" if job_id == DEFAULT_JOB else f"/status/{check_job_id(job_id)}"
                return Request(method="GET", path=path)
            case ReadDefault():
                return Request(method="GET", path="/status")
            case _:
                raise lacking(operation)

    def decipher(self, operation: Operation, response: Response) -> Answer:
        """Read the answer to an operation."""
        match operation:
            case Submit():
                if not 200 <= response.status < 300:
                    raise _refused(response)
                job_id = _job_id(str(_decode(_plain_accepted, response).job_id))
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
                return Answer(statuses=[_plain(response, None)])


def _plain_refusal(response: Response, job_id: str) -> ServerError:
    error = _refused(response, job_id)
    if isinstance(error, JobNotFound) and "json" not in response.headers.get("content-type", ""):
        # A server without the path answers just like one without the job.
        error.add_note("the answer was no JSON: if the job exists, base_url may be wrong")
    return error


def _plain(response: Response, job_id: str | None) -> JobStatus:
    """Read the status of a plain server.

    Args:
        response: The answer.
        job_id: The job that was asked for, which the answer is about whatever it says; None for
            the default job, which may have a name.
    """
    said = _decode(_plain_status, response)
    word = _text(said.state) or _text(said.result) or _text(said.status)
    if word is None:
        raise ProtocolError(
            'the server answered JSON without "result": does base_url name a '
            "video-translation server?",
            job_id=job_id,
        )
    if job_id is None:
        named = isinstance(said.job_id, (str, int)) and not isinstance(said.job_id, bool)
        job_id = _job_id(str(said.job_id)) if named else DEFAULT_JOB
    state = state_of(word)
    # Only together do they name a place in a history: a version alone may be that of the API.
    epoch = _text(said.epoch) or ""
    version = said.version if epoch and type(said.version) is int else 0
    _check_tag(response, epoch, version)
    return JobStatus(
        job_id=job_id,
        state=state,
        version=max(0, version),
        epoch=epoch if version > 0 else "",
        gap=version > 1,  # there is no way to ask for those before: docs/protocol.md section 5.1
        progress=_number(said.progress),
        estimated_time_remaining=_number(said.estimated_time_remaining),
        language=_text(said.language),
        error=_failure(said) if state in (State.ERROR, State.CANCELED) else None,
        result_url=_text(said.result_url),
        source=Source.POLL,
    )


def _check_tag(response: Response, epoch: str, version: int) -> None:
    """Check a status that comes alone against its tag, where that is one of section 4.3."""
    tag = response.headers.get("etag", "").removeprefix("W/")
    if version > 0 and tag.endswith(f'.{version}"') and tag != f'"{epoch}.{version}"':
        raise ProtocolError("the server's answer speaks of one history, and its tag of another")


def _failure(said: _PlainStatus) -> Failure | None:
    """Return why a job failed: a text, or an object with a text and perhaps a code."""
    if isinstance(said.error, dict):
        code, message = said.error.get("code"), said.error.get("message")
        return Failure(code="" if code is None else str(code), message=_text(message) or "")
    message = _text(said.error) or _text(said.message)
    return None if message is None else Failure(message=message)
