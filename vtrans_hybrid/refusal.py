"""What a refusal means: from an HTTP status and a backend's own word to one of our errors."""

from __future__ import annotations

import math
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

from vtrans_hybrid.dialect import Response
from vtrans_hybrid.errors import (
    AuthError,
    InvalidRequest,
    JobNotFound,
    QuotaExceeded,
    RateLimited,
    ServerError,
    Unavailable,
    Unsupported,
)
from vtrans_hybrid.policy import bounded

__all__ = ["refusal", "retry_after_of"]


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
        job_id: The one job that the request was about, if there was one; of a wrong key (401) the
            error does not name it, for that concerns no single job.
        retry_after: Seconds that the body asks us to stay away; the header may ask for more.
    """
    asked = [retry_after_of(response.headers), retry_after and bounded(retry_after)]
    wait = max((seconds for seconds in asked if seconds is not None), default=None)
    kind, sentence = _kind_of_refusal(response.status, code, job_id)
    if 300 <= response.status < 400:
        target = response.headers.get("location", "")[:200]
        sentence += f" to {target!r}; set base_url to the final address"
    if wait and kind.retryable:
        sentence += f", and again in {wait:.3g} s"
    said = f": {message}" if message else ""
    return kind(
        f"{sentence} (HTTP {response.status}){said}",
        status=response.status,
        code=code,
        retry_after=wait,
        request_id=response.headers.get("x-request-id"),
        job_id=None if response.status == 401 else job_id,
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
        return RateLimited, "the server asks for fewer requests or jobs at once"
    if status in _PASSING or code in _UNDER_WAY:
        return Unavailable, "the server cannot answer now"
    if status in (404, 405, 501):
        return Unsupported, "the server has no such operation: is the path of base_url right?"
    if 300 <= status < 400:
        # Followed, it would take the API key to a host that it was not meant for.
        return InvalidRequest, "redirects are never followed, and the server sends one"
    return InvalidRequest, "the server rejects the request"


_QUOTA_CODES = frozenset({"insufficient_credit", "quota_exceeded", "resource_limit_reached"})

# The same order is being carried out this very moment; its answer can be had with the same key.
_UNDER_WAY = frozenset({"request_in_progress"})

# RFC 9110 sections 15.5 and 15.6: the statuses that speak of a passing condition. A 500 may be one
# bad replica, and every request here is safe to repeat.
_PASSING = frozenset({408, 425, 500, 502, 503, 504})


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
    return None if seconds is None else bounded(seconds)


def _number(text: str, unit: float) -> float | None:
    try:
        value = float(text) / unit
    except ValueError:
        return None
    return value if math.isfinite(value) else None
