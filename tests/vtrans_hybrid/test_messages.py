"""The messages of the channel: the client's side of the golden ones, and whatever is none."""

import json
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.vtrans_hybrid.samples import GARBAGE, golden, names
from vtrans_hybrid.errors import ProtocolError
from vtrans_hybrid.messages import (
    ChannelError,
    Drain,
    Events,
    Hello,
    Ignored,
    Ping,
    Pong,
    Subscribe,
    Synced,
    Unsubscribe,
    Welcome,
    decode_message,
    encode_message,
)

EPOCH = "01JD0000000000000000000000"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("channel-hello", Hello(agent="vtrans-hybrid/1.0")),
        ("channel-pong", Pong(3)),
        ("channel-subscribe-all", Subscribe(id=8, epoch=EPOCH, mode="all", jobs={"job-1": 2})),
        ("channel-subscribe-first", Subscribe(id=1, mode="latest", jobs={"job-1": 0})),
        (
            "channel-subscribe-latest",
            Subscribe(id=7, epoch=EPOCH, mode="latest", jobs={"job-1": 2, "job-2": 0}),
        ),
        ("channel-unsubscribe", Unsubscribe(["job-1"])),
    ],
)
def test_channel_messages_are_written(
    name: str, message: Hello | Pong | Subscribe | Unsubscribe
) -> None:
    """Each message of the client is the JSON value of its golden file."""
    assert json.loads(encode_message(message)) == json.loads(golden(name))


CHANNEL = {
    "welcome": Welcome,
    "events": Events,
    "synced": Synced,
    "ping": Ping,
    "drain": Drain,
    "error": ChannelError,
    "authed": Ignored,
}


def covers(value: Any, document: Any) -> bool:
    """Tell whether a value has every member of a document that it has a field for."""
    if isinstance(document, dict):
        return all(
            covers(value[name], member) for name, member in document.items() if name in value
        )
    if isinstance(document, list):
        return len(value) == len(document) and all(map(covers, value, document))
    return bool(value == document)


def is_read(name: str) -> bool:
    """Tell whether a message of the channel comes from the server."""
    return json.loads(golden(name))["type"] in CHANNEL


@pytest.mark.parametrize("name", list(filter(is_read, names("channel-"))))
def test_channel_messages_are_read(name: str) -> None:
    """Each message of the server becomes the value that it stands for."""
    document = json.loads(golden(name))

    message = decode_message(golden(name))

    assert type(message) is CHANNEL[document["type"]]
    if not isinstance(message, Ignored):
        built = msgspec.to_builtins(message)
        assert built["type"] == document["type"]
        times = ("created_at", "updated_at")
        for event in document.get("events", []):
            for key in times:
                event.pop(key, None)
        for event in built.get("events", []):
            for key in times:
                event.pop(key, None)
        assert covers(built, document)


def test_marks_are_read() -> None:
    """The marks of an event are told apart."""
    gap, gone = (
        decode_message(golden("channel-events-gap")),
        decode_message(golden("channel-events-gone")),
    )

    assert isinstance(gap, Events)
    assert isinstance(gone, Events)
    assert (gap.events[0].gap, gap.events[0].gone) == (True, False)
    assert (gone.events[0].gap, gone.events[0].gone) == (False, True)


@pytest.mark.parametrize(
    "frame",
    [*GARBAGE, b'{"epoch":"E","events":[]}'],
    ids=lambda frame: frame[:30].decode("latin-1"),
)
def test_garbage_is_a_protocol_error(frame: bytes) -> None:
    """A frame that is no message is a ProtocolError."""
    with pytest.raises(ProtocolError):
        decode_message(frame)


@pytest.mark.parametrize(
    "frame",
    [
        b'{"type":"events","events":5}',
        b'{"type":"events","events":[{"job_id":"a"}]}',
        b'{"type":"welcome"}',
        b'{"type":"welcome","epoch":"E","ping":"5"}',
        b'{"type":"synced"}',
        b'{"type":"synced","id":1,"errors":[]}',
        b'{"type":"ping","n":1e999}',
        b'{"type":5}',
        b'{"n":3}',
        b'{"type":"ping","n":' + b"[" * 100_000,
        b'{"type":"events","events":[{"job_id":"a","state":"x","progress":1e999}]}',
    ],
)
def test_known_messages_with_wrong_content(frame: bytes) -> None:
    """A message of a known type must have its content; that is no message of a newer protocol."""
    with pytest.raises(ProtocolError):
        decode_message(frame)


@pytest.mark.parametrize("frame", [b'{"type":"news"}', b'{"type":"authed","id":9,"x":[1,{}]}'])
def test_unknown_messages_are_ignored(frame: bytes) -> None:
    """A type that a newer server knows is a sign of life, nothing more."""
    assert isinstance(decode_message(frame), Ignored)


def test_unknown_fields_are_ignored() -> None:
    """A field that a newer server adds does no harm."""
    message = decode_message(b'{"type":"ping","n":3,"news":[1,2,{"a":null}]}')

    assert message == Ping(3)


@pytest.mark.parametrize(
    ("retry_after", "hold"), [(None, 0.0), (5.0, 5.0), (-5.0, 0.0), (1e300, 3600.0)]
)
def test_a_channel_holds_within_bounds(retry_after: float | None, hold: float) -> None:
    """The channel's own retry_after has the bounds of the header."""
    assert ChannelError(code="rate_limited", retry_after=retry_after).hold == hold


@given(st.binary(max_size=300) | st.text(max_size=300).map(str.encode))
def test_no_bytes_raise_anything_else(frame: bytes) -> None:
    """Whatever comes, it is read or it is an error of ours."""
    with suppress(ProtocolError):
        decode_message(frame)
