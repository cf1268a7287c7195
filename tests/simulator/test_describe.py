"""`/openapi.json` and `/asyncapi.json`: well-formed, complete, and true to the golden messages."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import jsonschema  # type: ignore[import-untyped]  # it ships no types
import pytest

from simulator import Simulator, messages
from simulator.describe import asyncapi, openapi

GOLDEN = Path(__file__).parent.parent / "golden"
METHODS = {"get", "put", "post", "delete", "options", "head", "patch", "trace"}

# What the specifications demand of a document, as far as ours go.
REF = {"type": "object", "required": ["$ref"], "additionalProperties": False}
REF["properties"] = {"$ref": {"type": "string", "pattern": "^#/"}}
INFO = {
    "type": "object",
    "required": ["title", "version"],
    "properties": {"title": {"type": "string"}, "version": {"type": "string"}},
}
OPENAPI = {
    "type": "object",
    "required": ["openapi", "info", "paths"],
    "properties": {
        "openapi": {"const": "3.1.0"},
        "info": INFO,
        "paths": {
            "type": "object",
            "propertyNames": {"pattern": "^/"},
            "additionalProperties": {
                "type": "object",
                "propertyNames": {"enum": sorted(METHODS)},
                "additionalProperties": {"$ref": "#/$defs/operation"},
            },
        },
        "components": {"type": "object", "required": ["schemas", "securitySchemes"]},
        "security": {"type": "array", "items": {"type": "object"}},
    },
    "additionalProperties": False,
    "$defs": {
        "content": {
            "type": "object",
            "propertyNames": {"pattern": "^[a-z]+/[a-z+-]+$"},
            "additionalProperties": {
                "type": "object",
                "properties": {"schema": {"type": "object"}},
                "additionalProperties": False,
            },
        },
        "operation": {
            "type": "object",
            "required": ["operationId", "summary", "responses"],
            "properties": {
                "operationId": {"type": "string", "pattern": "^[a-zA-Z]+$"},
                "summary": {"type": "string", "minLength": 10},
                "security": {"type": "array"},
                "callbacks": {
                    "type": "object",
                    "additionalProperties": {
                        "type": "object",
                        "propertyNames": {"pattern": r"^\{\$request\.body#/[a-z_]+\}$"},
                        "additionalProperties": {
                            "type": "object",
                            "propertyNames": {"enum": sorted(METHODS)},
                            "additionalProperties": {"$ref": "#/$defs/operation"},
                        },
                    },
                },
                "parameters": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "required": ["name", "in", "required", "schema"],
                        "properties": {
                            "name": {"type": "string"},
                            "in": {"enum": ["path", "query", "header"]},
                            "description": {"type": "string"},
                            "required": {"type": "boolean"},
                            "schema": {"type": "object"},
                        },
                        "additionalProperties": False,
                    },
                },
                "requestBody": {
                    "type": "object",
                    "required": ["content"],
                    "properties": {
                        "required": {"type": "boolean"},
                        "content": {"$ref": "#/$defs/content"},
                    },
                    "additionalProperties": False,
                },
                "responses": {
                    "type": "object",
                    "minProperties": 1,
                    "propertyNames": {"pattern": "^[1-5][0-9][0-9]$"},
                    "additionalProperties": {
                        "type": "object",
                        "required": ["description"],
                        "properties": {
                            "description": {"type": "string"},
                            "content": {"$ref": "#/$defs/content"},
                        },
                        "additionalProperties": False,
                    },
                },
            },
            "additionalProperties": False,
        },
    },
}
ASYNCAPI = {
    "type": "object",
    "required": ["asyncapi", "info"],
    "properties": {
        "asyncapi": {"const": "3.0.0"},
        "info": INFO,
        "defaultContentType": {"type": "string"},
        "channels": {
            "type": "object",
            "additionalProperties": {
                "type": "object",
                "required": ["address", "messages"],
                "properties": {
                    "address": {"type": "string"},
                    "description": {"type": "string"},
                    "messages": {"type": "object", "additionalProperties": REF},
                    "bindings": {"type": "object", "required": ["ws"]},
                },
                "additionalProperties": False,
            },
        },
        "operations": {
            "type": "object",
            "additionalProperties": {
                "type": "object",
                "required": ["action", "channel"],
                "properties": {
                    "action": {"enum": ["send", "receive"]},
                    "channel": REF,
                    "summary": {"type": "string"},
                    "messages": {"type": "array", "items": REF},
                    "reply": {
                        "type": "object",
                        "properties": {
                            "channel": REF,
                            "messages": {"type": "array", "items": REF},
                        },
                        "additionalProperties": False,
                    },
                },
                "additionalProperties": False,
            },
        },
        "components": {
            "type": "object",
            "properties": {
                "schemas": {"type": "object"},
                "messages": {
                    "type": "object",
                    "additionalProperties": {
                        "type": "object",
                        "required": ["name", "payload"],
                        "properties": {
                            "name": {"type": "string"},
                            "title": {"type": "string"},
                            "summary": {"type": "string"},
                            "contentType": {"const": "application/json"},
                            "payload": REF,
                        },
                        "additionalProperties": False,
                    },
                },
            },
            "additionalProperties": False,
        },
    },
    "additionalProperties": False,
}
BOTH = pytest.mark.parametrize("document", [openapi(), asyncapi()], ids=["openapi", "asyncapi"])


def references(value: Any) -> Iterator[str]:
    """Yield every `$ref` below a value."""
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for part in value.values():
            yield from references(part)
    elif isinstance(value, list):
        for part in value:
            yield from references(part)


def resolve(document: dict[str, Any], reference: str) -> Any:
    """Return what a local reference stands for; a KeyError if it dangles."""
    value: Any = document
    for part in reference.removeprefix("#/").split("/"):
        value = value[part]
    return value


def golden(name: str) -> Any:
    """Return the value of a golden message."""
    return json.loads((GOLDEN / f"{name}.json").read_text())


def names(prefix: str) -> list[str]:
    """Return the names of the golden messages that begin so."""
    return sorted(path.stem for path in GOLDEN.glob(f"{prefix}*.json"))


def validate(document: dict[str, Any], schema: dict[str, Any], value: Any) -> None:
    """Check a value against a schema whose references point into the document."""
    jsonschema.Draft202012Validator({**schema, "components": document["components"]}).validate(
        value
    )


def body_schema(path: str, method: str, status: int | None = None) -> dict[str, Any]:
    """Return the schema of the body of a request, or of the answer with this status."""
    operation = openapi()["paths"][path][method]
    place = operation["requestBody"] if status is None else operation["responses"][str(status)]
    (content,) = place["content"].values()
    schema: dict[str, Any] = content["schema"]
    return schema


@pytest.mark.parametrize(
    ("document", "shape"),
    [(openapi(), OPENAPI), (asyncapi(), ASYNCAPI)],
    ids=["openapi", "asyncapi"],
)
def test_document_has_the_shape_of_its_specification(
    document: dict[str, Any], shape: dict[str, Any]
) -> None:
    """Each object in the document has the fields that its specification demands, and no others."""
    jsonschema.Draft202012Validator.check_schema(shape)
    jsonschema.Draft202012Validator(shape).validate(document)


@BOTH
def test_every_reference_resolves(document: dict[str, Any]) -> None:
    """No `$ref` of the document dangles."""
    found = list(references(document))

    assert found
    for reference in found:
        assert resolve(document, reference) is not None


@BOTH
def test_every_schema_is_json_schema(document: dict[str, Any]) -> None:
    """Each component is a valid schema, is referred to, and says in a sentence what it is."""
    used = set(references(document))
    for name, schema in document["components"]["schemas"].items():
        jsonschema.Draft202012Validator.check_schema(schema)
        assert f"#/components/schemas/{name}" in used
        assert schema["description"].strip()


def test_parameters_of_the_path_are_declared() -> None:
    """Every `{name}` of a path is a required path parameter of its operations, and no other is."""
    for path, operations in openapi()["paths"].items():
        expected = {part[1:-1] for part in path.split("/") if part.startswith("{")}
        for operation in operations.values():
            declared = [one for one in operation.get("parameters", []) if one["in"] == "path"]
            assert {one["name"] for one in declared} == expected
            assert all(one["required"] for one in declared)


def test_operations_are_named_once() -> None:
    """No two operations have the same operationId."""
    found = [
        operation["operationId"]
        for operations in openapi()["paths"].values()
        for operation in operations.values()
    ]

    assert len(found) == len(set(found))


def test_problems_have_a_code() -> None:
    """Every status with a problem document is one that some problem code stands for."""
    for operations in openapi()["paths"].values():
        for operation in operations.values():
            for status, answer in operation["responses"].items():
                is_problem = "application/problem+json" in answer.get("content", {})
                assert is_problem == (int(status) in messages.PROBLEM_STATUS.values())


@pytest.mark.parametrize(
    ("prefix", "path", "method", "status"),
    [
        ("create-request", "/jobs", "post", None),
        ("create-answer", "/jobs", "post", 202),
        ("list-answer", "/jobs", "get", 200),
        ("bulk-request", "/status", "post", None),
        ("bulk-answer", "/status", "post", 200),
        ("bulk-answer", "/status", "get", 200),
        ("plain-pending", "/status", "get", 200),
        ("plain-pending", "/status/{job_id}", "get", 200),
        ("plain-canceled", "/status/{job_id}", "get", 200),
        ("status", "/jobs/{job_id}", "delete", 200),
        ("plain-create-answer", "/create_job", "post", 200),
        ("problem", "/jobs", "post", 400),
    ],
)
def test_openapi_describes_the_golden_messages(
    prefix: str, path: str, method: str, status: int | None
) -> None:
    """The schema of a body accepts its golden messages, and refuses them without a needed field."""
    schema = body_schema(path, method, status)
    assert names(prefix)

    for name in names(prefix):
        validate(openapi(), schema, golden(name))
    with pytest.raises(jsonschema.ValidationError):
        validate(openapi(), schema, {})


@pytest.mark.parametrize("name", names("channel"))
def test_asyncapi_describes_the_golden_messages(name: str) -> None:
    """The message of that type accepts its golden file, and every other message refuses it."""
    document, value = asyncapi(), golden(name)

    for tag, message in document["components"]["messages"].items():
        if tag == value["type"]:
            validate(document, message["payload"], value)
        else:
            with pytest.raises(jsonschema.ValidationError):
                validate(document, message["payload"], value)


def test_asyncapi_is_complete() -> None:
    """Every message of the protocol is described, and sent, received or replied by its side."""
    document = asyncapi()
    client = {model.__struct_config__.tag for model in messages.ClientMessage.__args__}
    server = {model.__struct_config__.tag for model in messages.ServerMessage.__args__}
    told: dict[str, set[str]] = {"receive": set(), "send": set()}
    for operation in document["operations"].values():
        other = "send" if operation["action"] == "receive" else "receive"
        told[operation["action"]] |= {one["$ref"].split("/")[-1] for one in operation["messages"]}
        replies = operation.get("reply", {}).get("messages", [])
        told[other] |= {one["$ref"].split("/")[-1] for one in replies}

    assert set(document["components"]["messages"]) == client | server
    assert told == {"receive": client, "send": server}


async def test_every_route_is_described_and_exists() -> None:
    """The routes of the server but control and HeyGen's are exactly those of the document."""
    async with Simulator() as sim:
        routes = {
            (str(route.resource.canonical), route.method.lower())
            for route in sim.routes
            if route.resource is not None
            and not route.resource.canonical.startswith(("/_control", "/v2/", "/v3/", "/files/"))
        }
    # HEAD comes with GET; it is the same operation.
    served = {(path, method) for path, method in routes if method != "head"}
    described = {
        (path, method) for path, operations in openapi()["paths"].items() for method in operations
    }

    assert served == described


@pytest.mark.parametrize("keys", [(), ("secret",)])
@pytest.mark.parametrize(
    ("path", "document"), [("/openapi.json", openapi()), ("/asyncapi.json", asyncapi())]
)
async def test_documents_are_served_to_all(
    path: str, document: dict[str, Any], keys: tuple[str, ...]
) -> None:
    """Both documents are served as JSON, without a key as well."""
    async with (
        Simulator(api_keys=keys) as sim,
        aiohttp.ClientSession(sim.url) as http,
        http.get(path) as answer,
    ):
        assert answer.status == 200
        assert answer.content_type == "application/json"
        assert await answer.json() == document


async def test_security_is_as_described() -> None:
    """Without a key exactly those operations answer that the document calls open."""
    async with Simulator(api_keys=["secret"]) as sim, aiohttp.ClientSession(sim.url) as http:
        for path, operations in openapi()["paths"].items():
            for method, operation in operations.items():
                url = path.replace("{job_id}", "job-1")
                async with http.request(method, url) as answer:
                    is_open = operation.get("security") == []
                    # The channel takes a key in its first message, too, so it asks for one later.
                    if path != "/events":
                        assert (answer.status != 401) == is_open, path
