"""What HeyGen's API answers, read: from JSON documents to neutral values. No I/O.

Whatever a document holds beyond what is looked for here is left alone, and may be of any type.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import msgspec

from vtrans_hybrid.deliveries import job_ids_of
from vtrans_hybrid.dialect import (
    AddEndpoint,
    Answer,
    Endpoint,
    EventHistory,
    Happening,
    ListEndpoints,
    Operation,
    Read,
    RemoveEndpoint,
    Response,
    Submit,
)
from vtrans_hybrid.errors import InvalidRequest, JobNotFound, ProtocolError, VtransError
from vtrans_hybrid.models import Failure, JobStatus, Source, State, check_job_id, state_of
from vtrans_hybrid.refusal import refusal

__all__ = [
    "about_webhooks",
    "accepted",
    "language_names",
    "listed",
    "opened",
    "read_alone",
    "read_together",
]

_IDS = (
    "video_translation_ids",
    "video_translate_ids",
    "video_translate_id",
    "video_translation_id",
)
_NAMES = ("id", "video_id", "video_translate_id", "video_translation_id")
_RESULTS = ("video_url", "url", "audio_url")
_REASONS = ("failure_message", "failure_reason", "message", "msg")

_STATUS_OF_CODE = {
    "download_failed": 400,
    "forbidden": 403,
    "insufficient_credit": 402,
    "invalid_parameter": 400,
    "not_found": 404,
    "quota_exceeded": 429,
    "rate_limit_exceeded": 429,
    "resource_access_denied": 403,
    "resource_limit_reached": 429,
    "resource_not_found": 404,
    "unauthorized": 401,
}
"""HTTP statuses that errors stand for which come with 200. What is not listed may pass."""

_END_OF_TIME = 1e12
"""Seconds that no clock shows."""

_decoder = msgspec.json.Decoder()


def opened(response: Response, operation: Operation) -> dict[str, Any]:
    """Return the document of a good answer.

    Raises:
        ServerError: The server refused, be it with HTTP 200.
        ProtocolError: It is not HeyGen's API that answers.
    """
    try:
        document = _decoder.decode(response.body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        document = None
    is_good = 200 <= response.status < 300
    if isinstance(document, dict):
        # A failed request may come with HTTP 200, and then whatever else it says means nothing.
        error = document.get("error")
        if error is not None or not is_good:
            raise _refused(response, error, operation)
        return document
    if is_good:
        kind = response.headers.get("content-type", "no content type")[:60]
        raise ProtocolError(f"the server answered no JSON object ({kind}): {_WRONG_PLACE}")
    raise _refused(response, None, operation)


_WRONG_PLACE = "does base_url name HeyGen's API?"


def _refused(response: Response, error: object, operation: Operation) -> VtransError:
    said = error if isinstance(error, dict) else {"message": error}
    code = _word(said.get("code"))
    message = _word(said.get("message"))
    if param := _word(said.get("param")):
        message = f"{param}: {message}"
    status = response.status
    if 200 <= status < 300:
        status = _STATUS_OF_CODE.get(code, 500)
    if status in (404, 410):
        return _not_found(response, status, code, message, operation, is_signed=error is not None)
    return refusal(replace(response, status=status), code=code, message=message[:300])


def _not_found(
    response: Response,
    status: int,
    code: str,
    message: str,
    operation: Operation,
    *,
    is_signed: bool,
) -> VtransError:
    """Return what it means that something is not there.

    Only the API itself knows which jobs there are: a 404 without its envelope comes from a wrong
    host, a wrong path or something in between, and says nothing of a job.
    """
    if not is_signed:
        return ProtocolError(f"there is nothing at this address (HTTP {status}): {_WRONG_PLACE}")
    job_id = getattr(operation, "job_id", None)
    if isinstance(operation, Read) and len(operation.jobs) == 1:
        [job_id] = operation.jobs
    if job_id is not None:
        return refusal(
            replace(response, status=status), code=code, message=message[:300], job_id=job_id
        )
    return InvalidRequest(
        f"the server does not know something that the request names (HTTP {status}): {message}",
        status=status,
        code=code,
        request_id=response.headers.get("x-request-id"),
    )


def accepted(document: Mapping[str, Any], order: Submit) -> Answer:
    """Read the answer to an order: one job for each language, in their order."""
    data = _data(document)
    found = next((data[name] for name in _IDS if data.get(name)), None)
    job_ids = [found] if isinstance(found, str) else found
    if not isinstance(job_ids, list) or len(job_ids) != len(order.languages):
        count = len(job_ids) if isinstance(job_ids, list) else 0
        raise ProtocolError(f"{len(order.languages)} languages were ordered, {count} jobs came")
    statuses = [
        JobStatus(job_id=_checked(job_id), state=State.PENDING, language=language)
        for job_id, language in zip(job_ids, order.languages, strict=True)
    ]
    return Answer(statuses=statuses)


def read_alone(document: Mapping[str, Any], job_id: str) -> Answer:
    """Read the answer about one job."""
    status = _status(_data(document), job_id)
    # The word "completed" may come moments before the URL.
    is_half = status.ok and status.result_url is None
    return Answer(statuses=[status], hearsay=[job_id] if is_half else ())


def read_together(document: Mapping[str, Any], read: Read) -> Answer:
    """Read the answer about many jobs: only of those that go on does it say all there is."""
    statuses: dict[str, JobStatus] = {}
    errors: dict[str, VtransError] = {}
    for item in _items(document):
        job_id = _named(item)
        if job_id not in read.jobs:
            continue
        if _word(item.get("status")).lower() == "not_found":
            sentence = f"the server does not know job {job_id}"
            errors[job_id] = JobNotFound(sentence, status=404, code="not_found", job_id=job_id)
        elif _word(item.get("status")):  # one without must not keep us from the others
            statuses[job_id] = _status(item, job_id)
    going_on = {job_id for job_id, status in statuses.items() if not status.is_final}
    return Answer(
        statuses=list(statuses.values()), errors=errors, hearsay=read.jobs.keys() - going_on
    )


def _status(item: Mapping[str, Any], job_id: str) -> JobStatus:
    """Read one job.

    Raises:
        ProtocolError: It has no status.
    """
    word = _word(item.get("status"))
    if not word:
        raise ProtocolError(f"the answer has no status: {_WRONG_PLACE}", job_id=job_id)
    state = state_of(word)
    results = (_word(item.get(name)) for name in _RESULTS)
    return JobStatus(
        job_id=job_id,
        state=state,
        language=_word(item.get("output_language")) or None,
        error=_failure(item) if state == State.ERROR else None,
        result_url=next(filter(None, results), None) if state == State.COMPLETED else None,
        created_at=_time(item.get("created_at")),
        source=Source.POLL,
        raw=dict(item),
    )


def _failure(item: Mapping[str, Any]) -> Failure | None:
    """Return why a job failed, wherever it is said."""
    message = next(filter(None, (_word(item.get(name)) for name in _REASONS)), "")
    error = item.get("error")
    if isinstance(error, dict):
        return Failure(
            code=_word(error.get("code")), message=message or _word(error.get("message"))
        )
    message = message or _word(error)
    return Failure(message=message) if message else None


def listed(document: Mapping[str, Any]) -> Answer:
    """Read a page of jobs."""
    statuses = [_status(item, _checked(_named(item))) for item in _items(document)]
    return Answer(statuses=statuses, next_token=_next_token(document))


def about_webhooks(operation: Operation, document: Mapping[str, Any]) -> Answer:
    """Read the answer about endpoints of webhooks, or about what they were sent for."""
    match operation:
        case AddEndpoint():
            return Answer(endpoints=[_endpoint(_data(document))])
        case ListEndpoints():
            endpoints = [_endpoint(item) for item in _items(document)]
            return Answer(endpoints=endpoints, next_token=_next_token(document))
        case EventHistory():
            happenings = [_happening(item) for item in _items(document)]
            return Answer(happenings=happenings, next_token=_next_token(document))
        case RemoveEndpoint():
            return Answer()
        case _:
            raise AssertionError(f"there is no request for {operation}")


def _endpoint(item: Mapping[str, Any]) -> Endpoint:
    endpoint_id = _word(item.get("endpoint_id")) or _word(item.get("id"))
    url, secret = _word(item.get("url")), _word(item.get("secret"))
    return Endpoint(endpoint_id=_checked(endpoint_id), url=url, secret=secret)


def _happening(item: Mapping[str, Any]) -> Happening:
    happened_at = _time(item.get("created_at"))
    return Happening(
        event_id=_word(item.get("event_id")),
        job_ids=job_ids_of(item),
        created_at=None if happened_at is None else happened_at.timestamp(),
    )


def language_names(document: Mapping[str, Any]) -> Answer:
    """Read the list of languages."""
    data = document.get("data")
    names = data.get("languages") if isinstance(data, dict) else data
    if not isinstance(names, list):
        raise ProtocolError(f"the answer lists no languages: {_WRONG_PLACE}")
    return Answer(languages=[name for name in names if isinstance(name, str)])


# What is in a document.


def _data(document: Mapping[str, Any]) -> dict[str, Any]:
    data = document.get("data")
    if not isinstance(data, dict):
        raise ProtocolError(f'the answer has no "data": {_WRONG_PLACE}')
    return data


def _items(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the items of a list, which is `data` itself or the one list in it."""
    data = document.get("data")
    if isinstance(data, dict):
        data = next((value for value in data.values() if isinstance(value, list)), None)
    if not isinstance(data, list):
        raise ProtocolError(f'the answer has no list in "data": {_WRONG_PLACE}')
    return [item for item in data if isinstance(item, dict)]


def _next_token(document: Mapping[str, Any]) -> str:
    data = document.get("data")
    for place in (document, data if isinstance(data, dict) else {}):
        token = _word(place.get("next_token"))
        if token and place.get("has_more") is not False:
            return token
    return ""


def _named(item: Mapping[str, Any]) -> str:
    return next(filter(None, (_word(item.get(name)) for name in _NAMES)), "")


def _checked(name: object) -> str:
    try:
        return check_job_id(name if isinstance(name, str) else "")
    except ValueError as error:
        raise ProtocolError(
            f"the server names something in a way that is no id: {error}"
        ) from error


def _word(value: object) -> str:
    """Return a text; a number as one, and nothing for anything else."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value if isinstance(value, str) else ""


def _time(value: object) -> datetime | None:
    """Return a time given in Unix seconds or by RFC 3339; None for anything else."""
    try:
        if isinstance(value, str):
            time = datetime.fromisoformat(value)
            return time.replace(tzinfo=time.tzinfo or UTC).astimezone(UTC)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return None
        # Compared first, for a whole number of JSON may be too large for a float.
        if not 0 <= value < _END_OF_TIME:
            return None
        return datetime.fromtimestamp(value, UTC)
    except (OverflowError, OSError, ValueError):
        return None
