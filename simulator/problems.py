"""Answers that refuse: problem documents, or HeyGen's envelope where its paths were asked."""

import math
import time
from email.utils import formatdate
from http import HTTPStatus
from http.client import responses

from aiohttp import web

from simulator.envelope import code_of, enveloped, is_heygen, translated
from simulator.messages import PROBLEM_STATUS, Problem, encode

__all__ = ["problem_response", "refuse", "retry_after_header"]


def problem_response(problem: Problem, path: str = "") -> web.Response:
    """Return a problem as an answer.

    Args:
        problem: what is wrong.
        path: that was asked; HeyGen's get its envelope, all others a problem document
            (docs/protocol.md section 4.9).
    """
    if is_heygen(path):
        return translated(problem, path)
    headers = {"Cache-Control": "no-store"} | retry_after_header(problem.retry_after)
    if problem.status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    return web.Response(
        status=problem.status,
        body=encode(problem),
        headers=headers,
        content_type="application/problem+json",
    )


def refuse(
    status: int,
    *,
    path: str = "",
    retry_after: float | str | None = None,
    as_date: bool = False,
) -> web.Response:
    """Return the answer of a fault: a problem, as `problem_response` has it, with this status.

    Args:
        status: any HTTP status from 400 on.
        path: that was asked.
        retry_after: of the header Retry-After, in seconds, or whatever text; None for no header.
        as_date: whether seconds are written as the date at which they are over.
    """
    detail = "This answer is a fault that the simulator was told to show."
    if is_heygen(path):
        answer = enveloped(path, status, code_of(status), detail)
    else:
        codes = (code for code, known in PROBLEM_STATUS.items() if known == status)
        problem = Problem(
            title=responses.get(status, "Fault"),
            status=status,
            code=next(codes, "fault"),
            detail=detail,
        )
        answer = problem_response(problem)
    answer.headers.update(retry_after_header(retry_after, as_date=as_date))
    return answer


def retry_after_header(value: float | str | None, *, as_date: bool = False) -> dict[str, str]:
    """Return the header Retry-After as part of the headers of an answer.

    Args:
        value: seconds, which are rounded up, or any text; None for no header.
        as_date: whether seconds are written as the date at which they are over.
    """
    match value:
        case None:
            return {}
        case str():
            return {"Retry-After": value}
    if as_date:
        return {"Retry-After": formatdate(math.ceil(time.time() + value), usegmt=True)}
    return {"Retry-After": str(math.ceil(value))}
