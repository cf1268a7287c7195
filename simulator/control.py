"""The control API: `/_control/...`, for tests in other languages and for people with curl.

The gate lets in programs on this machine, or who shows the control key. Faults have the names and
parameters that they have in Python (`simulator.faults`, `simulator.rules.Rule`). What happened has
`at`, monotonic seconds, and `wall_time`, RFC 3339 in UTC by the clock of the machine: faults set
the clock of the simulator, but not this one.
"""

from collections.abc import Iterable
from typing import Annotated, Any, Literal, Protocol, TypeVar

import msgspec
from aiohttp import web
from msgspec import Meta, Struct

from simulator.clock import Clock
from simulator.faults import Drain, Restart
from simulator.gate import Call
from simulator.limits import read_body
from simulator.messages import ProblemError
from simulator.misfits import misfit
from simulator.orders import timestamp
from simulator.plan import FaultPlan, Injection
from simulator.rules import Rule

__all__ = ["Controlled", "Drop", "routes"]

T = TypeVar("T")

_MAX_SHOWN = 1000  # calls or injections in one answer


class Drop(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """End all channels now.

    Args:
        how: `close` says a close code, `reset` aborts the sockets.
        code: the close code.
        reason: the close reason.
    """

    how: Literal["close", "reset"] = "reset"
    code: Annotated[int, Meta(ge=1000, le=4999)] = 1012
    reason: Annotated[str, Meta(max_length=100)] = ""


class Controlled(Protocol):
    """What the control API needs of a server."""

    @property
    def calls(self) -> Iterable[Call]:
        """The requests answered lately, the oldest first."""

    def report(self) -> dict[str, Any]:
        """Return the server's numbers, as JSON can hold them."""

    def suffer(self, fault: Drain | Restart) -> None:
        """Begin to drain or to restart; the answer to the caller may still go out."""

    def end_channels(self, drop: Drop) -> int:
        """End all channels and return how many there were."""


def routes(plan: FaultPlan, server: Controlled, clock: Clock) -> list[web.RouteDef]:
    """Return the routes of the control API.

    Args:
        plan: whose rules come and go.
        server: whom the rest is about.
        clock: tells when things happened.
    """
    control = _Control(plan, server, clock)
    return [
        web.get("/_control/faults", control.show_rules),
        web.post("/_control/faults", control.add_rule),
        web.delete("/_control/faults", control.heal),
        web.get("/_control/faults/log", control.show_log),
        web.delete("/_control/faults/{number:[0-9]{1,9}}", control.remove_rule),
        web.post("/_control/heal", control.heal),
        web.post("/_control/restart", control.restart),
        web.post("/_control/drain", control.drain),
        web.post("/_control/drop", control.drop),
        web.get("/_control/stats", control.show_stats),
        web.get("/_control/calls", control.show_calls),
    ]


class _Control:
    """The handlers."""

    def __init__(self, plan: FaultPlan, server: Controlled, clock: Clock) -> None:
        self._plan = plan
        self._server = server
        self._clock = clock

    async def show_rules(self, _request: web.Request) -> web.Response:
        rules = [
            {"id": number, **rule.to_dict(), "struck": self._plan.struck(number)}
            for number, rule in self._plan.rules.items()
        ]
        return _json({"seed": self._plan.seed, "rules": rules})

    async def add_rule(self, request: web.Request) -> web.Response:
        document = await _body(request, Any)
        try:
            number = self._plan.add(Rule.from_dict(document))
        except ValueError as error:
            raise ProblemError("bad_request", str(error)) from error
        return _json({"id": number}, status=201)

    async def remove_rule(self, request: web.Request) -> web.Response:
        number = int(request.match_info["number"])
        if not self._plan.remove(number):
            raise ProblemError("not_found", f"There is no rule {number}.")
        return _json({"removed": 1})

    async def heal(self, _request: web.Request) -> web.Response:
        count = len(self._plan.rules)
        self._plan.heal()
        return _json({"removed": count})

    async def show_log(self, _request: web.Request) -> web.Response:
        newest = self._plan.log[-_MAX_SHOWN:]
        injections = [{**self._dated(one), "facts": one.facts._asdict()} for one in newest]
        return _json({"injections": injections})

    async def restart(self, request: web.Request) -> web.Response:
        self._server.suffer(await _body(request, Restart))
        return _json({}, status=202)

    async def drain(self, request: web.Request) -> web.Response:
        self._server.suffer(await _body(request, Drain))
        return _json({}, status=202)

    async def drop(self, request: web.Request) -> web.Response:
        return _json({"dropped": self._server.end_channels(await _body(request, Drop))})

    async def show_stats(self, _request: web.Request) -> web.Response:
        return _json(self._server.report())

    async def show_calls(self, _request: web.Request) -> web.Response:
        newest = list(self._server.calls)[-_MAX_SHOWN:]
        return _json({"calls": [self._dated(call) for call in newest]})

    def _dated(self, entry: Call | Injection) -> dict[str, Any]:
        """Return the fields of what happened, with the time that is that of other programs, too."""
        wall_time = timestamp(self._clock.machine_wall(entry.at))
        return {"wall_time": wall_time, **entry._asdict()}


async def _body(request: web.Request, model: type[T]) -> T:
    """Return the body as `model`; an empty one counts as {}."""
    try:
        return msgspec.json.decode(await read_body(request) or b"{}", type=model)
    except msgspec.ValidationError as error:
        text = f"The body does not fit: {misfit(error, model)}."
        raise ProblemError("bad_request", text) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ProblemError("bad_request", f"The body must be JSON: {error}.") from error


def _json(document: object, *, status: int = 200) -> web.Response:
    return web.Response(
        body=msgspec.json.encode(document), status=status, content_type="application/json"
    )
