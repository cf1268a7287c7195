"""The faults of REST: what becomes of a request, or of its answer."""

import asyncio
import math
import zlib
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import cache
from http import HTTPStatus
from random import Random
from typing import Final

import msgspec
from aiohttp import web

from simulator.envelope import ORDERS, Refused, refusal
from simulator.faults import (
    AuthExpire,
    BulkPartial,
    Fault,
    Garbage,
    GzipBomb,
    Hang,
    HttpStatus,
    Latency,
    OutOfCredit,
    Overload,
    Redirect,
    SlowBody,
    TruncateBody,
)
from simulator.link import abort
from simulator.messages import ProblemError
from simulator.plan import Facts, FaultPlan
from simulator.problems import problem_response, refuse, retry_after_header

__all__ = ["Spoiler"]

_DROPS: Final = 20.0  # pieces of a slow body per second
_MEGABYTE: Final = 1_000_000
_BULK: Final = "/v3/video-translations/statuses"

_GARBAGE: Final = {
    "json": ("application/json", b'{"job_id":"job-1","state":"runn'),
    "utf8": ("application/json", b'{"job_id":"\xff\xfe\x80","result":"pending"}'),
    "nan": ("application/json", b'{"job_id":"job-1","result":"pending","version":NaN}'),
    "deep": ("application/json", b"[" * 100_000 + b"]" * 100_000),
    "huge_int": (
        "application/json",
        b'{"job_id":"job-1","result":"pending","version":%b}' % (b"9" * 5000),
    ),
    "html": ("text/html", b"<!doctype html><title>Sign in</title><h1>Sign in to this network</h1>"),
    "empty": ("application/json", b""),
    "wrong_type": ("application/json", b'["completed",42]'),
}

Answer = web.StreamResponse
Handle = Callable[[web.Request], Awaitable[Answer]]


class Spoiler:
    """Show the faults of REST.

    Args:
        plan: asked for a `request` fault at each request.
        random: for jitter, and for what a bulk answer leaves out.
        is_leaving: ends whatever lasts.
    """

    def __init__(self, plan: FaultPlan, random: Random, is_leaving: asyncio.Event) -> None:
        self._plan = plan
        self._random = random
        self._is_leaving = is_leaving
        self._buckets: dict[int, _Bucket] = {}

    async def answer(self, request: web.Request, handle: Handle, *, key: str | None) -> Answer:
        """Answer a request by `handle`, unless a fault has it otherwise.

        Args:
            request: to be answered.
            handle: answers it as it should be.
            key: the owner that the caller's key stands for.
        """
        if not self._plan.asks("request"):
            return await handle(request)
        now = asyncio.get_running_loop().time()
        job_id = request.match_info.get("job_id")
        facts = Facts(path=request.path, job=job_id, direction="in", key=key)

        def applies(rule: int, fault: Fault) -> bool:
            match fault:
                case Overload(rps=rps):
                    return not self._buckets.setdefault(rule, _Bucket(rps, now)).admits(now)
                case BulkPartial():
                    return request.path == _BULK or (
                        request.path == "/status"
                        and (request.method == "POST" or "ids" in request.query)
                    )
                case OutOfCredit():
                    return request.method == "POST" and request.path in ORDERS
            return True

        fault = self._plan.decide("request", facts, now, applies=applies)
        match fault:
            case None:
                return await handle(request)
            case Latency():
                await asyncio.sleep(fault.seconds + fault.jitter * self._random.random())
                return await handle(request)
            case Hang(at="before_headers"):
                return await self._hang(request, fault.seconds)
            case Hang() | TruncateBody() | SlowBody() | BulkPartial():
                return await self._spoilt(fault, request, await handle(request))
        return _instead(fault, request.path)

    async def _spoilt(self, fault: Fault, request: web.Request, answer: Answer) -> Answer:
        """Send a good answer badly."""
        body = answer.body if isinstance(answer, web.Response) else None
        if not isinstance(body, bytes) or not body or request.method == "HEAD":
            return answer
        match fault:
            case BulkPartial(fraction=fraction):
                return self._partial(answer, body, fraction)
            case SlowBody(bytes_per_second=rate):
                return await self._drip(await _begin(request, answer, body), body, rate)
            case TruncateBody(fraction=fraction):
                sent = await _begin(request, answer, body)
                await sent.write(body[: min(int(len(body) * fraction), len(body) - 1)])
                if request.transport is not None:
                    request.transport.close()
                return sent
            case Hang(seconds=seconds):
                sent = await _begin(request, answer, body)
                await sent.write(body[: len(body) // 2])
                await self._hang(request, seconds)
                return sent
        raise AssertionError(f"{fault.name!r} spoils no answer.")

    async def _hang(self, request: web.Request, seconds: float | None) -> Answer:
        """Stay silent until the time is over, the server leaves, or the caller (a cancellation)."""
        await self._pause(seconds)
        if request.transport is not None:
            abort(request.transport)
        return web.Response(status=HTTPStatus.GATEWAY_TIMEOUT)  # nobody will get it

    async def _drip(self, sent: Answer, body: bytes, rate: float) -> Answer:
        size = math.ceil(rate / _DROPS)
        for start in range(0, len(body), size):
            if await self._pause(size / rate):
                break
            await sent.write(body[start : start + size])
        return sent

    def _partial(self, answer: Answer, body: bytes, fraction: float) -> Answer:
        document = msgspec.json.decode(body)
        for items, job_id in (("events", "job_id"), ("data", "video_id")):
            if items in document:
                jobs = list(dict.fromkeys(item.get(job_id) for item in document[items]))
                gone = set(self._random.sample(jobs, round(fraction * len(jobs))))
                kept = [item for item in document[items] if item.get(job_id) not in gone]
                document[items] = kept
        return web.Response(
            status=answer.status, body=msgspec.json.encode(document), headers=_headers(answer)
        )

    async def _pause(self, seconds: float | None) -> bool:
        """Let time pass; return early, and True, if the server leaves."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._is_leaving.wait()
        return self._is_leaving.is_set()


class _Bucket:
    """What is left of a rate of requests."""

    def __init__(self, rate: float, now: float) -> None:
        self._rate = rate
        self._most = max(rate, 1.0)
        self._left = self._most
        self._at = now

    def admits(self, now: float) -> bool:
        """Take one request, if it is within the rate."""
        self._left = min(self._left + (now - self._at) * self._rate, self._most)
        self._at = now
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True


def _instead(fault: Fault, path: str) -> Answer:
    """Return the answer that a fault gives in place of a good one."""
    match fault:
        case HttpStatus(status=status, retry_after=wait, as_date=as_date, body=None):
            return refuse(status, path=path, retry_after=wait, as_date=as_date)
        case HttpStatus():
            headers = retry_after_header(fault.retry_after, as_date=fault.as_date)
            return web.Response(status=fault.status, text=fault.body, headers=headers)
        case Overload():
            status = HTTPStatus.TOO_MANY_REQUESTS
            return refuse(status, path=path, retry_after=fault.retry_after)
        case AuthExpire():
            problem = ProblemError("unauthorized", "This key has expired.").problem
            return problem_response(problem, path)
        case OutOfCredit():
            return refusal(Refused(fault.code, "There is nothing left to pay with."), path)
        case Redirect():
            return web.Response(status=fault.status, headers={"Location": fault.url})
        case Garbage():
            content_type, body = _GARBAGE[fault.kind]
            return web.Response(body=body, content_type=content_type)
        case GzipBomb():
            headers = {"Content-Encoding": "gzip"}
            body = _bomb(fault.megabytes)
            return web.Response(body=body, headers=headers, content_type="application/json")
    raise AssertionError(f"{fault.name!r} is no fault of a request.")


async def _begin(request: web.Request, answer: Answer, body: bytes) -> web.StreamResponse:
    """Send the head of an answer, which announces the whole body."""
    sent = web.StreamResponse(status=answer.status, headers=_headers(answer))
    sent.content_length = len(body)
    await sent.prepare(request)
    return sent


def _headers(answer: Answer) -> dict[str, str]:
    return {name: text for name, text in answer.headers.items() if name != "Content-Length"}


@cache
def _bomb(megabytes: int) -> bytes:
    """Return so many megabytes of zeros, gzip-coded."""
    packer = zlib.compressobj(wbits=31)
    zeros = bytes(_MEGABYTE)
    return b"".join(packer.compress(zeros) for _ in range(megabytes)) + packer.flush()
