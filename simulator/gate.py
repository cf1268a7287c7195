"""The gate that every HTTP request passes: faults, keys, problem documents, and the list of calls.

Handlers behind it raise `messages.ProblemError` (those of HeyGen's paths `envelope.Refused` as
well), and read `request[OWNER]`.
"""

import asyncio
import hmac
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Collection
from functools import partial
from random import Random
from typing import Final, NamedTuple

from aiohttp import web

from simulator.access import check_control, check_origin, shown_key, without_secrets
from simulator.envelope import UNAUTHORIZED, Refused, is_heygen, refusal
from simulator.keys import key_digest, owner_of
from simulator.messages import ProblemError
from simulator.plan import FaultPlan
from simulator.problems import problem_response, refuse
from simulator.spoil import Spoiler

__all__ = [
    "Call",
    "Gate",
    "OWNER",
    "problem_response",
    "refuse",
    "shown_owner",
]

logger = logging.getLogger("simulator.gate")

OWNER: Final[web.RequestKey[str | None]] = web.RequestKey("owner")
"""To whom the request belongs: a digest of its key, or None where no key was asked for."""

_CALLS_LENGTH: Final = 10_000  # calls remembered; older ones are forgotten
_LEFT: Final = 499  # the status of a call whose caller left; nginx took this number for it
_OPEN_PATHS: Final = frozenset({"/healthz", "/openapi.json", "/asyncapi.json"})
_CONTROL: Final = "/_control/"
_OPEN: Final = (_CONTROL, "/files/")  # a signature opens a file, and only that file
_CHANNEL: Final = "/events"  # a browser brings its key later, in hello

Answer = web.StreamResponse
Continue = Callable[[web.Request], Awaitable[Answer]]


class Call(NamedTuple):
    """One request that was answered, or left by its caller."""

    method: str
    """Such as `GET`."""
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
        random: for what faults leave to chance.
        attend: called as each request comes.
    """

    def __init__(
        self,
        plan: FaultPlan,
        *,
        attend: Callable[[], None],
        digests: Collection[str] = (),
        control_digest: str | None = None,
        origins: frozenset[str] = frozenset(),
        random: Random,
    ) -> None:
        self.calls: deque[Call] = deque(maxlen=_CALLS_LENGTH)
        self.answered = 0
        self.is_leaving = asyncio.Event()
        """Ends whatever hangs."""
        self._attend = attend
        self._digests = tuple(digests)
        self._control_digest = control_digest
        self._origins = origins
        self._spoiler = Spoiler(plan, random, self.is_leaving)

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

    async def admit(self, request: web.Request, handler: Continue) -> Answer:
        """Answer one request, whatever happens, and take down the call."""
        loop = asyncio.get_running_loop()
        at = loop.time()
        self._attend()
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
            if request.path.startswith((_CONTROL, _CHANNEL)):
                return await self._admitted(request, handler)
            admitted = partial(self._admitted, handler=handler)
            return await self._spoiler.answer(request, admitted, key=shown_owner(request))
        except Refused as error:
            return refusal(error, request.path)
        except ProblemError as error:
            return problem_response(error.problem, request.path)
        except web.HTTPException as error:
            return _refusal(request, error)
        except ConnectionError:
            # Nobody is there to read an answer; aiohttp wants one all the same.
            logger.debug("%s %s: the caller has left", request.method, request.path)
            return web.Response(status=_LEFT)
        except Exception:
            logger.exception("%s %s failed", request.method, request.path)
            problem = ProblemError("internal", "The server failed; its log says why.").problem
            return problem_response(problem, request.path)

    def _check(self, request: web.Request) -> None:
        """Refuse who must not ask, whatever the key."""
        if request.path.startswith(_CONTROL):
            check_control(request, self._control_digest)
        else:
            check_origin(request, self._origins)

    async def _admitted(self, request: web.Request, handler: Continue) -> Answer:
        request[OWNER] = self._owner(request)
        return await handler(request)

    def _owner(self, request: web.Request) -> str | None:
        if is_heygen(request.path) and shown_key(request) is None:
            raise ProblemError("unauthorized", UNAUTHORIZED)  # though any key may do
        if not self._digests or request.path in _OPEN_PATHS or request.path.startswith(_OPEN):
            return None
        key = shown_key(request)
        if key is not None:
            return self.owner_of(key)
        if request.path == _CHANNEL:
            return None
        raise ProblemError("unauthorized", "Send a key as `Authorization: Bearer KEY`.")


def shown_owner(request: web.Request) -> str | None:
    """Return the owner that the caller's key stands for, known here or not; None without a key."""
    key = shown_key(request)
    return None if key is None else owner_of(key)


def _refusal(request: web.Request, error: web.HTTPException) -> web.Response:
    """Return the answer to what aiohttp itself refuses."""
    path = request.path
    match error:
        case web.HTTPMethodNotAllowed():
            allowed = ", ".join(sorted(error.allowed_methods))
            detail = f"{path} takes {allowed}, not {request.method}."
            answer = problem_response(ProblemError("method_not_allowed", detail).problem, path)
            answer.headers["Allow"] = allowed
            return answer
        case web.HTTPNotFound():
            detail = (
                f"There is nothing at {path}; /openapi.json lists what there is, docs/heygen.md "
                "HeyGen's paths, and docs/faults.md those of /_control/."
            )
            return problem_response(ProblemError("unknown_path", detail).problem, path)
        case web.HTTPRequestEntityTooLarge():
            detail = "The body is too large; 65,536 bytes are allowed."
            return problem_response(ProblemError("too_large", detail).problem, path)
    raise error
