"""The descriptions for machines: `/openapi.json` (OpenAPI 3.1) and `/asyncapi.json` (AsyncAPI 3.0).

Both are generated from the models of `messages.py`, so that they cannot say anything else than what
the server reads and writes. What the models do not know, the paths and their answers, stands in the
tables below; docs/protocol.md section 4 is the text they abridge.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from http import HTTPStatus
from importlib import metadata
from typing import Any, Final

import msgspec
from aiohttp import web

from simulator import messages

__all__ = ["asyncapi", "openapi", "routes"]

_DISTRIBUTION: Final = "vtrans-hybrid"
_TITLE: Final = "Video-translation simulator"
_SCHEMAS: Final = "#/components/schemas/{name}"
_PROBLEM: Final = "application/problem+json"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parameter:
    """A parameter of an operation; `place` is `path`, `query` or `header`."""

    name: str
    place: str
    description: str
    schema: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Operation:
    """One method of one path.

    Args:
        name: the operationId.
        answers: for each status without a problem document what it means, and the model of its
            body, several of them, or its media type; None for no body.
        problems: the statuses that carry a problem document.
        body: the model of the request's body.
        body_required: whether the request needs that body.
        is_told: whether a `callback_url` in its body is told how the jobs end.
        open: whether it answers without a key, too.
    """

    method: str
    path: str
    name: str
    summary: str
    answers: dict[int, tuple[str, Any]]
    problems: tuple[int, ...] = ()
    parameters: tuple[_Parameter, ...] = ()
    body: Any = None
    body_required: bool = True
    is_told: bool = False
    open: bool = False


_JOB_ID = _Parameter(
    name="job_id",
    place="path",
    description="The job.",
    schema={"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}$"},
)
_WAIT = _Parameter(
    name="wait",
    place="query",
    description="Seconds to hold the answer while it equals If-None-Match; more than 25 is 25.",
    schema={"type": "number", "minimum": 0},
)
_IF_NONE_MATCH = _Parameter(
    name="If-None-Match",
    place="header",
    description="The ETag of the answer that the caller has.",
    schema={"type": "string"},
)
_MODE = _Parameter(
    name="mode",
    place="query",
    description="`latest` sends the newest version, `all` every version that is kept.",
    schema={"enum": ["latest", "all"], "default": "latest"},
)
_LAST_EVENT_ID = _Parameter(
    name="Last-Event-ID",
    place="header",
    description="The id of the last event that the caller has: <epoch>.<version>.",
    schema={"type": "string"},
)
_IDEMPOTENCY_KEY = _Parameter(
    name="Idempotency-Key",
    place="header",
    description="Repetitions with the same key and body get the first answer and make nothing.",
    schema={"type": "string", "minLength": 1, "maxLength": 255},
)
_IDS = _Parameter(
    name="ids",
    place="query",
    description="Job ids with commas between them: read these instead, as POST /status does.",
    schema={"type": "string"},
)
_LIMIT = _Parameter(
    name="limit",
    place="query",
    description="Jobs on a page.",
    schema={"type": "integer", "minimum": 1, "maximum": messages.MAX_JOBS, "default": 100},
)
_AFTER = _Parameter(
    name="after",
    place="query",
    description="The `next` of the page before.",
    schema={"type": "string"},
)
_SIGNED: Final = tuple(
    _Parameter(name=name, place="header", description=description, schema={"type": "string"})
    for name, description in (
        ("webhook-id", "Names the end of the job, whatever the attempt."),
        ("webhook-timestamp", "Unix time of the attempt, in seconds."),
        ("webhook-signature", "As Standard Webhooks 1.0 has it: v1, and base64."),
    )
)

_OPERATIONS: Final = (
    _Operation(
        method="post",
        path="/jobs",
        name="createJobs",
        summary="Order translations of one video, a job for each language.",
        parameters=(_IDEMPOTENCY_KEY,),
        body=messages.CreateRequest,
        is_told=True,
        answers={202: ("The jobs were made.", messages.CreateAnswer)},
        problems=(400, 401, 409, 410, 413, 503),
    ),
    _Operation(
        method="get",
        path="/jobs",
        name="listJobs",
        summary="List the caller's jobs, oldest first.",
        parameters=(_LIMIT, _AFTER),
        answers={200: ("A page.", messages.JobPage)},
        problems=(400, 401),
    ),
    _Operation(
        method="delete",
        path="/jobs/{job_id}",
        name="cancelJob",
        summary="Cancel a job; one that is final already stays as it is.",
        parameters=(_JOB_ID,),
        answers={200: ("The present status.", messages.Status)},
        problems=(401, 404, 410),
    ),
    _Operation(
        method="get",
        path="/status/{job_id}",
        name="readStatus",
        summary="Read one job; `result` says pending until it is final.",
        parameters=(_JOB_ID, _WAIT, _IF_NONE_MATCH),
        answers={
            200: ("The present status.", messages.Status),
            304: ("The caller has it already.", None),
        },
        problems=(400, 401, 404, 410),
    ),
    _Operation(
        method="get",
        path="/status",
        name="readDefaultStatus",
        summary="Read the default job, or the jobs of `ids`.",
        parameters=(_IDS, _WAIT, _IF_NONE_MATCH),
        answers={
            200: ("The present status, or a bulk answer.", (messages.Status, messages.BulkAnswer)),
            304: ("The caller has it already.", None),
        },
        problems=(400, 401, 404, 410, 413),
    ),
    _Operation(
        method="post",
        path="/status",
        name="readStatuses",
        summary="Read what is newer than the cursors, of up to 1,000 jobs.",
        body=messages.BulkRequest,
        answers={200: ("What is newer.", messages.BulkAnswer)},
        problems=(400, 401, 413),
    ),
    _Operation(
        method="get",
        path="/status/{job_id}/stream",
        name="streamStatus",
        summary="Follow one job as server-sent events, each with a status document as its data.",
        parameters=(_JOB_ID, _MODE, _LAST_EVENT_ID),
        answers={
            200: ("Events until the final one.", "text/event-stream"),
            204: ("The caller has the final event already.", None),
        },
        problems=(400, 401, 404, 410),
    ),
    _Operation(
        method="post",
        path="/create_job",
        name="createJob",
        summary="Make one job under the plain contract.",
        body=messages.PlainCreateRequest,
        is_told=True,
        body_required=False,
        answers={200: ("The job was made.", messages.PlainCreateAnswer)},
        problems=(400, 401, 409, 410, 413, 503),
    ),
    _Operation(
        method="get",
        path="/events",
        name="openChannel",
        summary="Open the job-event channel (WebSocket); /asyncapi.json describes what it carries.",
        answers={101: ("The channel is open.", None)},
        problems=(400, 401, 403, 429, 503),
    ),
    _Operation(
        method="get",
        path="/healthz",
        name="readHealth",
        summary="Tell whether the server takes requests.",
        answers={200: ("It does.", messages.Health)},
        problems=(503,),
        open=True,
    ),
    _Operation(
        method="get",
        path="/metrics",
        name="readMetrics",
        summary="Read the counters of the server, as Prometheus text.",
        answers={200: ("The counters.", "text/plain")},
        problems=(401,),
    ),
    _Operation(
        method="get",
        path="/openapi.json",
        name="readOpenapi",
        summary="Read this description.",
        answers={200: ("This description.", "application/json")},
        open=True,
    ),
    _Operation(
        method="get",
        path="/asyncapi.json",
        name="readAsyncapi",
        summary="Read the description of the channel.",
        answers={200: ("The description of the channel.", "application/json")},
        open=True,
    ),
)

# Of the channel: each message, and for a question of one side the answers that it may get.
_FROM_CLIENT: Final[dict[type[msgspec.Struct], tuple[type[msgspec.Struct], ...]]] = {
    messages.Hello: (messages.Welcome,),
    messages.Subscribe: (messages.Synced, messages.ErrorMessage),
    messages.Unsubscribe: (),
    messages.Auth: (messages.Authed, messages.ErrorMessage),
}
_FROM_SERVER: Final[dict[type[msgspec.Struct], tuple[type[msgspec.Struct], ...]]] = {
    messages.Events: (),
    messages.Ping: (messages.Pong,),
    messages.Drain: (),
    messages.ErrorMessage: (),
}


def openapi() -> dict[str, Any]:
    """Return the description of REST (docs/protocol.md section 4) as an OpenAPI 3.1 document."""
    models: list[type[msgspec.Struct]] = [messages.Problem]
    for operation in _OPERATIONS:
        models += [model for _, body in operation.answers.values() for model in _models(body)]
        models += _models(operation.body)
    schemas, components = msgspec.json.schema_components(models, ref_template=_SCHEMAS)
    schema_of = dict(zip(models, schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for operation in _OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method] = _described(operation, schema_of)
    return {
        "openapi": "3.1.0",
        "info": _info("Orders of video translations, and how far each of them is."),
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "header": {"type": "apiKey", "in": "header", "name": "X-Api-Key"},
            },
        },
        # The empty one: a server without keys lets everyone in.
        "security": [{"bearer": []}, {"header": []}, {}],
    }


def asyncapi() -> dict[str, Any]:
    """Return the description of the channel (docs/protocol.md section 3) as AsyncAPI 3.0."""
    models = sorted(
        {*_FROM_CLIENT, *_FROM_SERVER}.union(*_FROM_CLIENT.values(), *_FROM_SERVER.values()),
        key=_tag,
    )
    schemas, components = msgspec.json.schema_components(models, ref_template=_SCHEMAS)
    described = {
        _tag(model): {
            "name": _tag(model),
            "title": model.__name__,
            "summary": _first_line(model),
            "contentType": "application/json",
            "payload": schema,
        }
        for model, schema in zip(models, schemas, strict=True)
    }
    return {
        "asyncapi": "3.0.0",
        "info": _info("The job-event channel: states of jobs, pushed as they change."),
        "defaultContentType": "application/json",
        "channels": {
            "events": {
                "address": "/events",
                "description": f"A WebSocket with subprotocol {messages.SUBPROTOCOL}.",
                "messages": {
                    tag: {"$ref": f"#/components/messages/{tag}"} for tag in sorted(described)
                },
                "bindings": {"ws": {"method": "GET", "bindingVersion": "0.1.0"}},
            }
        },
        "operations": {
            **{_name("receive", model): _exchange("receive", model) for model in _FROM_CLIENT},
            **{_name("send", model): _exchange("send", model) for model in _FROM_SERVER},
        },
        "components": {"messages": described, "schemas": components},
    }


def routes() -> list[web.RouteDef]:
    """Return the routes of the two documents."""
    return [
        web.get("/openapi.json", _page(openapi)),
        web.get("/asyncapi.json", _page(asyncapi)),
    ]


def _page(describe: Callable[[], dict[str, Any]]) -> Any:
    async def page(_request: web.Request) -> web.Response:
        headers = {"Cache-Control": "no-cache"}
        body = _text(describe)
        return web.Response(body=body, content_type="application/json", headers=headers)

    return page


@cache
def _text(describe: Callable[[], dict[str, Any]]) -> bytes:
    """Return a document as JSON; made when it is first asked for, since most servers never are."""
    return msgspec.json.format(msgspec.json.encode(describe()))


def _info(description: str) -> dict[str, Any]:
    return {
        "title": _TITLE,
        "version": metadata.version(_DISTRIBUTION),
        "description": description,
    }


def _models(body: Any) -> tuple[type[msgspec.Struct], ...]:
    """Return the models among which a body is one."""
    if body is None or isinstance(body, str):
        return ()
    return body if isinstance(body, tuple) else (body,)


def _described(operation: _Operation, schema_of: dict[Any, Any]) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "responses": {
            **{
                str(status): _answer(text, body, schema_of)
                for status, (text, body) in operation.answers.items()
            },
            **{
                str(status): {
                    "description": HTTPStatus(status).phrase,
                    "content": {_PROBLEM: {"schema": schema_of[messages.Problem]}},
                }
                for status in operation.problems
            },
        },
    }
    if operation.parameters:
        described["parameters"] = [_parameter(one) for one in operation.parameters]
    if operation.body is not None:
        described["requestBody"] = {
            "required": operation.body_required,
            "content": {"application/json": {"schema": schema_of[operation.body]}},
        }
    if operation.is_told:
        told = _told(f"{operation.name}Ended", schema_of)
        described["callbacks"] = {"ended": {"{$request.body#/callback_url}": {"post": told}}}
    if operation.open:
        described["security"] = []
    return described


def _told(name: str, schema_of: dict[Any, Any]) -> dict[str, Any]:
    """Return what is posted to a `callback_url` (docs/protocol.md section 7)."""
    return {
        "operationId": name,
        "summary": "Tell how a job has ended, until that is acknowledged.",
        "parameters": [_parameter(one) for one in _SIGNED],
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": schema_of[messages.Status]}},
        },
        "responses": {"204": {"description": "It was heard; any other 2xx says so, too."}},
        "security": [],
    }


def _answer(text: str, body: Any, schema_of: dict[Any, Any]) -> dict[str, Any]:
    if body is None:
        return {"description": text}
    if isinstance(body, str):
        return {"description": text, "content": {body: {}}}
    schemas = [schema_of[model] for model in _models(body)]
    schema = schemas[0] if len(schemas) == 1 else {"anyOf": schemas}
    return {"description": text, "content": {"application/json": {"schema": schema}}}


def _parameter(parameter: _Parameter) -> dict[str, Any]:
    return {
        "name": parameter.name,
        "in": parameter.place,
        "description": parameter.description,
        "required": parameter.place == "path",
        "schema": parameter.schema,
    }


def _exchange(action: str, model: type[msgspec.Struct]) -> dict[str, Any]:
    answers = (_FROM_CLIENT if action == "receive" else _FROM_SERVER)[model]
    exchange: dict[str, Any] = {
        "action": action,
        "channel": {"$ref": "#/channels/events"},
        "summary": _first_line(model),
        "messages": [{"$ref": f"#/channels/events/messages/{_tag(model)}"}],
    }
    if answers:
        exchange["reply"] = {
            "channel": {"$ref": "#/channels/events"},
            "messages": [
                {"$ref": f"#/channels/events/messages/{_tag(answer)}"} for answer in answers
            ],
        }
    return exchange


def _name(action: str, model: type[msgspec.Struct]) -> str:
    return f"{action}{_tag(model).capitalize()}"


def _tag(model: type[msgspec.Struct]) -> str:
    return str(model.__struct_config__.tag)


def _first_line(model: type[msgspec.Struct]) -> str:
    return (model.__doc__ or "").strip().splitlines()[0]
