"""The golden messages in HeyGen's words: what the server reads and writes, and its schemas."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from simulator.envelope import STATUS
from simulator.heygen import answers, bodies
from tests.conformance.schemas import check

GOLDEN = Path(__file__).parent.parent / "golden" / "heygen"
MESSAGES = {path.stem: path.read_bytes() for path in sorted(GOLDEN.glob("*.json"))}

REQUESTS: dict[str, Any] = {
    "batch-request": bodies.Batch,
    "create-request": bodies.Order,
    "retitle-request": bodies.Retitle,
    "v2-create-request": bodies.OrderV2,
    "webhook-endpoint-change-request": bodies.EndpointChange,
    "webhook-endpoint-request": bodies.NewEndpoint,
}
SCHEMAS = {
    "batch-answer": "batch-created",
    "batch-page": "batch",
    "create-answer": "created",
    "delete-answer": "deleted",
    "error": "error",
    "languages-answer": "languages",
    "list-answer": "list",
    "statuses-answer": "statuses",
    "translation": "translation",
    "v2-create-answer": "v2-created",
    "v2-error": "v2-error",
    "v2-languages-answer": "v2-languages",
    "v2-translation": "v2-translation",
    "webhook-endpoint-changed": "endpoint",
    "webhook-endpoint-created": "endpoint-created",
    "webhook-endpoints-answer": "endpoints",
    "webhook-event-fail": "event",
    "webhook-event-success": "event",
    "webhook-event-types-answer": "event-types",
    "webhook-events-answer": "events",
    "webhook-removed-answer": "endpoint-deleted",
    "webhook-secret-answer": "endpoint-rotated",
}
DATA: dict[str, Any] = {
    "batch-page": answers.BatchPage,
    "list-answer": list[answers.Translation],
    "statuses-answer": list[answers.StatusItem],
    "translation": answers.Translation,
    "v2-translation": answers.TranslationV2,
    "webhook-endpoint-changed": answers.Endpoint,
    "webhook-endpoint-created": answers.Endpoint,
    "webhook-endpoints-answer": list[answers.Endpoint],
    "webhook-events-answer": list[answers.Event],
}
"""The models of what an answer has as its data."""


def said_of(name: str, table: dict[str, Any]) -> Any:
    """Return what a table says of a message by the longest prefix of its name, or None."""
    prefix = max((prefix for prefix in table if name.startswith(prefix)), key=len, default="")
    return table.get(prefix)


@pytest.mark.parametrize("name", MESSAGES)
def test_every_message_is_a_request_or_an_answer(name: str) -> None:
    """No golden message is forgotten here."""
    assert (said_of(name, REQUESTS) is None) is not (said_of(name, SCHEMAS) is None)


@pytest.mark.parametrize("name", [name for name in MESSAGES if said_of(name, REQUESTS)])
def test_requests_are_read_whole(name: str) -> None:
    """No field of a request is lost when the server reads it."""
    read = bodies.decoded(MESSAGES[name], said_of(name, REQUESTS))
    defaults = {"translate_audio_only": False}  # left out when it is written again

    written = json.loads(msgspec.json.encode(read))
    expected = json.loads(MESSAGES[name])

    assert {**{key: defaults[key] for key in defaults if key in expected}, **written} == expected


@pytest.mark.parametrize("name", [name for name in MESSAGES if said_of(name, SCHEMAS)])
def test_answers_fit_their_schemas(name: str) -> None:
    """What was written by hand keeps the rules that the server is held to."""
    document = json.loads(MESSAGES[name])
    if name == "translation-error-inside":
        check("error", {"error": document.pop("error")})

    check(said_of(name, SCHEMAS), document)


@pytest.mark.parametrize("name", [name for name in MESSAGES if said_of(name, DATA)])
def test_answers_are_written_as_they_stand(name: str) -> None:
    """The server's models have exactly the fields of the files."""
    data = json.loads(MESSAGES[name])["data"]

    written = msgspec.json.encode(msgspec.convert(data, said_of(name, DATA)))

    assert json.loads(written) == data


def test_each_code_has_its_message() -> None:
    """Every code that clients must tell apart is there."""
    codes = {
        json.loads(text)["error"]["code"]
        for name, text in MESSAGES.items()
        if name.startswith("error-")
    }

    rare = {"forbidden", "gone", "method_not_allowed", "resource_limit_reached"}
    assert codes == STATUS.keys() - rare
