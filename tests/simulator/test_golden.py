"""The server's side of the golden messages: both what it reads and what it writes."""

import json
import re
from http import HTTPStatus
from pathlib import Path
from typing import Any

import msgspec
import pytest

from simulator import messages

GOLDEN = Path(__file__).parent.parent / "golden"
PROTOCOL = GOLDEN.parent.parent / "docs" / "protocol.md"

# Which model stands for a file: the longest prefix of its name wins.
WRITTEN: dict[str, Any] = {
    "bulk-answer": messages.BulkAnswer,
    "channel": messages.ServerMessage,
    "create-answer": messages.CreateAnswer,
    "list-answer": messages.JobPage,
    "plain": messages.Status,
    "plain-create-answer": messages.PlainCreateAnswer,
    "problem": messages.Problem,
    "status": messages.Status,
}
READ: dict[str, Any] = {
    "bulk-request": messages.BulkRequest,
    "create-request": messages.CreateRequest,
}
FROM_CLIENT = ("hello", "subscribe", "unsubscribe", "pong", "auth")


def golden(name: str) -> bytes:
    """Return the bytes of one golden message."""
    return (GOLDEN / f"{name}.json").read_bytes()


def names() -> list[str]:
    """Return the names of all golden messages."""
    return sorted(path.stem for path in GOLDEN.glob("*.json"))


def is_from_client(name: str) -> bool:
    """Tell whether a client writes this message."""
    return name.startswith(tuple(READ)) or (
        name.startswith("channel-") and json.loads(golden(name))["type"] in FROM_CLIENT
    )


def model_of(name: str) -> Any:
    """Return the model that stands for a message that the server writes."""
    return WRITTEN[max((prefix for prefix in WRITTEN if name.startswith(prefix)), key=len)]


@pytest.mark.parametrize("name", [name for name in names() if not is_from_client(name)])
def test_server_writes(name: str) -> None:
    """The server's model of each message that it writes has exactly the fields of the file."""
    value = msgspec.json.decode(golden(name), type=model_of(name), strict=True)

    assert json.loads(messages.encode(value)) == json.loads(golden(name))


@pytest.mark.parametrize("name", [name for name in names() if is_from_client(name)])
def test_server_reads_every_field(name: str) -> None:
    """No field of a message that a client writes is lost when the server reads it."""
    raw = golden(name)
    if name.startswith("channel-"):
        value: Any = messages.decode_client(raw)
    else:
        model = next(READ[prefix] for prefix in READ if name.startswith(prefix))
        value = msgspec.json.decode(raw, type=model)

    # A default may be left out by the encoder, so the fields are compared on the value itself.
    fields = msgspec.to_builtins(value) | {"mode": getattr(value, "mode", None)}
    for field, expected in json.loads(raw).items():
        assert fields[field] == expected


def test_values_of_a_subscribe() -> None:
    """A subscribe is read as the cursors that it stands for, and an absent epoch as None."""
    assert messages.decode_client(golden("channel-subscribe-all")) == messages.Subscribe(
        id=8, epoch="01JD0000000000000000000000", mode="all", jobs={"job-1": 2}
    )
    first = messages.decode_client(golden("channel-subscribe-first"))
    assert first == messages.Subscribe(id=1, epoch=None, mode="latest", jobs={"job-1": 0})


def test_values_of_a_bulk_read() -> None:
    """A bulk read without wait or epoch is read as one that is answered at once, from zero."""
    assert msgspec.json.decode(
        golden("bulk-request-first"), type=messages.BulkRequest
    ) == messages.BulkRequest(jobs={"job-1": 0}, epoch=None, mode="latest", wait=None)


def test_spliced_frame_equals_the_encoded_message() -> None:
    """Events that were encoded before make the same frame as the message encoded as a whole."""
    frame = msgspec.json.decode(golden("channel-events-final"), type=messages.ServerMessage)
    assert isinstance(frame, messages.Events)
    ended, other = frame.events
    plain = msgspec.structs.replace(ended, final=False)

    spliced = messages.events_frame(
        [messages.flagged(messages.encode(plain), "final"), messages.encode(other)]
    )

    assert json.loads(spliced) == json.loads(golden("channel-events-final"))


def test_one_problem_for_each_code() -> None:
    """Each problem code has its golden document, and ProblemError makes that very document."""
    seen = {}
    for name in names():
        if name.startswith("problem-"):
            document = json.loads(golden(name))
            seen[document["code"]] = document
            keywords = {key: document.get(key) for key in ("retry_after", "job_id")}
            error = messages.ProblemError(document["code"], document["detail"], **keywords)
            # The title is the phrase of the status, which newer versions of Python reword.
            title = HTTPStatus(document["status"]).phrase
            assert json.loads(messages.encode(error.problem)) == document | {"title": title}
    assert set(seen) == set(messages.PROBLEM_STATUS)


def test_every_message_has_a_file() -> None:
    """No type of message of the channel is without a golden file."""
    kinds = {json.loads(golden(name))["type"] for name in names() if name.startswith("channel-")}
    models = (*messages.ServerMessage.__args__, *messages.ClientMessage.__args__)

    assert kinds == {model.__struct_config__.tag for model in models}


def test_examples_of_the_page_are_messages() -> None:
    """Every JSON line in docs/protocol.md is a message that the server's models understand."""
    blocks = re.findall(r"```json\n(.*?)```", PROTOCOL.read_text(), re.DOTALL)
    examples = [example for block in blocks for example in values_in(block)]

    assert len(examples) > 15
    for example in examples:
        models = [messages.ServerMessage, messages.ClientMessage, *WRITTEN.values(), *READ.values()]
        assert any(understands(model, example) for model in models), example


def values_in(block: str) -> list[Any]:
    """Return the JSON values that follow one another in a block of an example."""
    decoder, values, position = json.JSONDecoder(), [], 0
    while position < len(block):
        value, position = decoder.raw_decode(block, position)
        values.append(value)
        while position < len(block) and block[position].isspace():
            position += 1
    return values


def understands(model: Any, example: Any) -> bool:
    """Tell whether the model reads the example and knows each of its fields."""
    try:
        value = msgspec.convert(example, type=model)
    except msgspec.ValidationError:
        return False
    known = set(value.__struct_fields__) | {"type"}
    return set(example) <= known
