"""How HeyGen's paths refuse: its envelope, its codes, and which paths these are."""

import math
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from aiohttp import web

from simulator.messages import Problem

__all__ = [
    "ORDERS",
    "Refused",
    "STATUS",
    "UNAUTHORIZED",
    "code_of",
    "enveloped",
    "is_heygen",
    "refusal",
    "translated",
]

ORDERS: Final = frozenset(
    {"/v3/video-translations", "/v3/video-translations/batches", "/v2/video_translate"}
)
"""Where a POST orders translations."""

STATUS: Final[Mapping[str, int]] = {
    "invalid_parameter": 400,
    "download_failed": 400,
    "unauthorized": 401,
    "insufficient_credit": 402,
    "forbidden": 403,
    "not_found": 404,
    "method_not_allowed": 405,
    "conflict": 409,
    "request_in_progress": 409,
    "gone": 410,
    "payload_too_large": 413,
    "rate_limit_exceeded": 429,
    "quota_exceeded": 429,
    "resource_limit_reached": 429,
    "internal_error": 500,
}
"""The HTTP status that carries each code."""

UNAUTHORIZED: Final = "Invalid or missing API key."
"""The same for a key that is missing, wrong or revoked, so that none of them can be told."""

_LEGACY: Final = "/v2/"
_CODES: Final = {
    "bad_request": "invalid_parameter",
    "unauthorized": "unauthorized",
    "forbidden": "forbidden",
    "not_found": "not_found",
    "method_not_allowed": "method_not_allowed",
    "conflict": "conflict",
    "gone": "not_found",
    "too_large": "payload_too_large",
    "rate_limited": "rate_limit_exceeded",
    "internal": "internal_error",
    "unavailable": "internal_error",
}


class Refused(Exception):
    """Refuse a request to one of HeyGen's paths.

    Args:
        code: one of the keys of `STATUS`.
        message: for people.
        param: the field or parameter that is to blame; None for none.
        retry_after: whole seconds before it makes sense to ask again; None for no such hint.
    """

    def __init__(
        self, code: str, message: str, *, param: str | None = None, retry_after: int | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.param = param
        self.retry_after = retry_after


def is_heygen(path: str) -> bool:
    """Tell whether a path belongs to HeyGen's face."""
    return path.startswith(("/v3/", _LEGACY))


def code_of(status: int) -> str:
    """Return the code that goes with an HTTP status."""
    fitting = (code for code, known in STATUS.items() if known == status)
    return next(fitting, "internal_error" if status >= 500 else "invalid_parameter")


def refusal(refused: Refused, path: str) -> web.Response:
    """Return what answers a refused request."""
    return enveloped(
        path,
        STATUS[refused.code],
        refused.code,
        refused.message,
        param=refused.param,
        retry_after=refused.retry_after,
    )


def translated(problem: Problem, path: str) -> web.Response:
    """Return a problem in HeyGen's words.

    A path that does not exist is answered bare, so that nobody takes it for a job that does not.
    """
    if problem.code not in _CODES:
        return web.Response(status=problem.status, text="404 page not found")
    code = _CODES[problem.code]
    status = STATUS[code] if problem.code == "gone" else problem.status
    message = UNAUTHORIZED if code == "unauthorized" else problem.detail or problem.title
    wait = None if problem.retry_after is None else math.ceil(problem.retry_after)
    return enveloped(path, status, code, message, retry_after=wait)


def enveloped(
    path: str,
    status: int,
    code: str,
    message: str,
    *,
    param: str | None = None,
    retry_after: int | None = None,
) -> web.Response:
    """Return an error in the envelope of its path: that of v2 has `data` as well, and it is null.

    Args:
        path: that was asked.
        status: the HTTP status.
        code: for programs.
        message: for people.
        param: the field or parameter that is to blame; None for none.
        retry_after: whole seconds of the header Retry-After; None for no header.
    """
    error: dict[str, Any] = {"code": code, "message": message}
    if param is not None:
        error["param"] = param
    document = {"error": error, "data": None} if path.startswith(_LEGACY) else {"error": error}
    headers = {"Cache-Control": "no-store"}
    if retry_after is not None:
        headers["Retry-After"] = str(retry_after)
    return web.Response(
        status=status,
        body=msgspec.json.encode(document),
        headers=headers,
        content_type="application/json",
    )
