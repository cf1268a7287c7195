"""The gate that every HTTP request passes: faults, keys, problem documents, and the list of calls.

Handlers behind it raise `messages.ProblemError` and read `request[OWNER]`.
"""

import asyncio
import hmac
import logging
import math
from collections import deque
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress
from http import HTTPStatus
from http.client import responses
from random import Random
from typing import Final, NamedTuple

from aiohttp import web

from simulator.access import check_control, check_origin, shown_key, without_secrets
from simulator.faults import Fault, Garbage, Hang, HttpStatus, Latency
from simulator.keys import key_digest, owner_of
from simulator.messages import PROBLEM_STATUS, Problem, ProblemError, encode
from simulator.plan import Facts, FaultPlan

__all__ = [
    "Call",
    "Gate",
    "OWNER",
    "problem_response",
    "refuse",
]

logger = logging.getLogger("simulator.gate")

OWNER: Final[web.RequestKey[str | None]] = web.RequestKey("owner")
"""To whom the request belongs: a digest of its key, or None where no key was asked for."""

_CALLS_LENGTH: Final = 10_000  # calls remembered; older ones are forgotten
_LEFT: Final = 499  # the status of a call whose caller left; nginx took this number for it
_OPEN_PATHS: Final = frozenset({"/healthz", "/openapi.json", "/asyncapi.json"})
_CONTROL: Final = "/_control/"
_CHANNEL: Final = "/events"  # a browser brings its key later, in hello

_GARBAGE: Final = {
    "json": ("application/json", b'{"job_id":"job-1","state":"runn'),
    "html": ("text/html", b"<!doctype html><title>Sign in</title><h1>Sign in to this network</h1>"),
    "nan": ("application/json", b'{"job_id":"job-1","result":"pending","version":NaN}'),
    "empty": ("application/json", b""),
    "wrong_type": ("application/json", b'["completed",42]'),
}

Answer = web.StreamResponse
Continue = Callable[[web.Request], Awaitable[Answer]]


class Call(NamedTuple):
    """One request that was answered, or left by its caller."""

    method: str
    path: str
    """With its query, in which what looks like a secret is left out."""
    status: int
    """499 if the caller left before the answer; 101 for a channel."""
    at: float
    """When it came, in monotonic seconds."""
    seconds: float
    """How long the answer took; for the channel, how long it was open."""


class Gate:
    """Admit requests.

    Args:
        plan: asked for a `request` fault at each one.
        digests: of the keys of which one must be shown; an empty collection asks for none.
        control_digest: of the key that the control API asks for; None lets in this machine alone.
        origins: of pages that may ask, beside the server's own.
        random: for the jitter of faults.
    """

    def __init__(
        self,
        plan: FaultPlan,
        *,
        digests: Collection[str] = (),
        control_digest: str | None = None,
        origins: frozenset[str] = frozenset(),
        random: Random,
    ) -> None:
        self.calls: deque[Call] = deque(maxlen=_CALLS_LENGTH)
        self.answered = 0
        self.is_leaving = asyncio.Event()
        """Ends whatever hangs."""
        self._plan = plan
        self._digests = tuple(digests)
        self._control_digest = control_digest
        self._origins = origins
        self._random = random

    @property
    def asks_for_keys(self) -> bool:
        """Whether callers have to show a key."""
        return bool(self._digests)

    def owner_of(self, key: str) -> str:
        """Return the owner that a key stands for.

        Raises:
            ProblemError: `unauthorized`, the key is none of ours.
        """
        digest = key_digest(key)
        # Every key is compared, and each in constant time, so that timing tells nothing.
        if sum(hmac.compare_digest(digest, known) for known in self._digests) == 0:
            raise ProblemError("unauthorized", "This API key is not known here.")
        return owner_of(key)

    @web.middleware
    async def admit(self, request: web.Request, handler: Continue) -> Answer:
        """Answer one request, whatever happens, and take down the call."""
        loop = asyncio.get_running_loop()
        at = loop.time()
        # A channel ends by its caller's leaving; that is no missing answer.
        status = 101 if request.path == _CHANNEL else _LEFT
        try:
            answer = await self._answer(request, handler)
            status = answer.status
            return answer
        finally:
            self.answered += 1
            path = without_secrets(request.path_qs)
            self.calls.append(Call(request.method, path, status, at, loop.time() - at))

    async def _answer(self, request: web.Request, handler: Continue) -> Answer:
        try:
            self._check(request)
            if not request.path.startswith((_CONTROL, _CHANNEL)):
                faulty = await self._fault(request)
                if faulty is not None:
                    return faulty
            request[OWNER] = self._owner(request)
            return await handler(request)
        except ProblemError as error:
            return problem_response(error.problem)
        except web.HTTPException as error:
            return _refusal(request, error)
        except ConnectionError:
            # Nobody is there to read an answer; aiohttp wants one all the same.
            logger.debug("%s %s: the caller has left", request.method, request.path)
            return web.Response(status=_LEFT)
        except Exception:
            logger.exception("%s %s failed", request.method, request.path)
            problem = ProblemError("internal", "The server failed; its log says why.").problem
            return problem_response(problem)

    def _check(self, request: web.Request) -> None:
        """Refuse who must not ask, whatever the key."""
        if request.path.startswith(_CONTROL):
            check_control(request, self._control_digest)
        else:
            check_origin(request, self._origins)

    def _owner(self, request: web.Request) -> str | None:
        if not self._digests or request.path in _OPEN_PATHS or request.path.startswith(_CONTROL):
            return None
        key = shown_key(request)
        if key is not None:
            return self.owner_of(key)
        if request.path == _CHANNEL:
            return None
        raise ProblemError("unauthorized", "Send a key as `Authorization: Bearer KEY`.")

    async def _fault(self, request: web.Request) -> Answer | None:
        """Show a fault, if there is one; return its answer, or None to go on."""
        if not self._plan.asks("request"):
            return None
        now = asyncio.get_running_loop().time()
        fault = self._plan.decide("request", Facts(path=request.path, direction="in"), now)
        match fault:
            case Latency():
                await asyncio.sleep(fault.seconds + fault.jitter * self._random.random())
                return None
            case Hang():
                await self._hang(request, fault.seconds)
        return None if fault is None else _faulty_answer(fault)

    async def _hang(self, request: web.Request, seconds: float | None) -> None:
        """Stay silent until the time is over, the server leaves, or the caller (a cancellation)."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.is_leaving.wait()
        if request.transport is not None:
            request.transport.abort()


def problem_response(problem: Problem) -> web.Response:
    """Return a problem document as an answer (docs/protocol.md section 4.9)."""
    headers = {"Cache-Control": "no-store"} | _retry_after(problem.retry_after)
    if problem.status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    return web.Response(
        status=problem.status,
        body=encode(problem),
        headers=headers,
        content_type="application/problem+json",
    )


def refuse(status: int, *, retry_after: float | str | None = None) -> web.Response:
    """Return the answer of a fault: a problem document with this status.

    Args:
        status: any HTTP status from 400 on.
        retry_after: of the header Retry-After, in seconds, or whatever text; None for no header.
    """
    codes = (code for code, known in PROBLEM_STATUS.items() if known == status)
    problem = Problem(
        title=responses.get(status, "Fault"),
        status=status,
        code=next(codes, "fault"),
        detail="This answer is a fault that the simulator was told to show.",
    )
    answer = problem_response(problem)
    answer.headers.update(_retry_after(retry_after))
    return answer


def _refusal(request: web.Request, error: web.HTTPException) -> web.Response:
    """Return the problem document for what aiohttp itself refuses."""
    match error:
        case web.HTTPMethodNotAllowed():
            allowed = ", ".join(sorted(error.allowed_methods))
            detail = f"{request.path} takes {allowed}, not {request.method}."
            answer = problem_response(ProblemError("method_not_allowed", detail).problem)
            answer.headers["Allow"] = allowed
            return answer
        case web.HTTPNotFound():
            detail = f"There is nothing at {request.path}; /openapi.json lists what there is."
            return problem_response(ProblemError("unknown_path", detail).problem)
        case web.HTTPRequestEntityTooLarge():
            detail = "The body is too large; 65,536 bytes are allowed."
            return problem_response(ProblemError("too_large", detail).problem)
    raise error


def _faulty_answer(fault: Fault) -> web.Response:
    match fault:
        case Garbage():
            content_type, body = _GARBAGE[fault.kind]
            return web.Response(body=body, content_type=content_type)
        case HttpStatus(body=None):
            return refuse(fault.status, retry_after=fault.retry_after)
        case HttpStatus():
            headers = _retry_after(fault.retry_after)
            return web.Response(status=fault.status, text=fault.body, headers=headers)
        case Hang():
            return web.Response(status=HTTPStatus.GATEWAY_TIMEOUT)  # the socket is gone already
    raise AssertionError(f"{fault.name!r} is no fault of a request.")


def _retry_after(value: float | str | None) -> dict[str, str]:
    if value is None:
        return {}
    return {"Retry-After": value if isinstance(value, str) else str(math.ceil(value))}
