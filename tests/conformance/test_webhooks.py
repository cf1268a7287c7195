"""What is posted to those who are told by webhook keeps its schema, as what is answered does."""

import asyncio

import jsonschema  # type: ignore[import-untyped]  # it ships no types
import pytest

from simulator import Simulator
from tests.conformance.heygen_caller import VIDEO, Caller
from tests.conformance.schemas import check
from tests.virtual.receiver import Receiver


@pytest.mark.virtual_simulator(delay=20)
async def test_every_event_keeps_its_schema(virtual_simulator: Simulator) -> None:
    """Success and failure, with all that an order may say and without, by both ways."""
    caller = Caller(virtual_simulator)
    async with Receiver.open() as receiver:
        await caller.ask(
            "POST", "/v3/webhooks/endpoints", "endpoint-created", json={"url": receiver.url}
        )
        await caller.new("Spanish", "French", callback_id="7", callback_url=receiver.url)
        await caller.new("German", video=f"{VIDEO}?sim-failure=audio")
        await asyncio.sleep(100)
    for delivered in receiver.got:
        check("event", delivered.document)
    kinds = [delivered.document["event_type"] for delivered in receiver.got]
    assert sorted(kinds) == ["video_translate.fail", *["video_translate.success"] * 4]


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("success", {}),
        ("success", {"url": "https://a.example/", "message": "x"}),
        ("success", {"url": None}),
        ("fail", {"message": "x", "url": "https://a.example/"}),
        ("maybe", {"message": "x"}),
    ],
)
def test_events_that_are_none(kind: str, data: dict[str, str]) -> None:
    """A success has a result and a failure a reason, and neither has both."""
    event = {
        "event_type": f"video_translate.{kind}",
        "event_data": {"video_translate_id": "a"} | data,
    }
    with pytest.raises(jsonschema.ValidationError):
        check("event", event)
