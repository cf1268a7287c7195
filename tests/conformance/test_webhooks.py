"""The paths of HeyGen's webhooks, played once: each answer and each event keeps its schema."""

import asyncio
import json

import pytest

from simulator import Simulator
from tests.conformance.heygen_caller import VIDEO, Caller
from tests.conformance.schemas import NAMES, check
from tests.virtual.receiver import Receiver

ENDPOINTS = "/v3/webhooks/endpoints"


@pytest.mark.virtual_simulator(delay=20)
async def test_every_answer_keeps_its_schema(virtual_simulator: Simulator) -> None:
    """All routes and schemas occur, and neither an answer nor an event has a field too many."""
    caller = Caller(virtual_simulator)
    async with Receiver.open() as receiver:
        wanted = {"url": receiver.url}
        ids = []
        for body in (wanted, wanted | {"events": ["video_translate.fail"]}):
            _, made = await caller.ask("POST", ENDPOINTS, "webhook-endpoint-created", json=body)
            ids.append(made["data"]["endpoint_id"])
        one = f"{ENDPOINTS}/{ids[0]}"
        await caller.ask("PATCH", one, "webhook-endpoint", json={"events": None})
        await caller.ask("GET", f"{ENDPOINTS}?limit=1", "webhook-endpoints")
        await caller.ask("GET", ENDPOINTS, "webhook-endpoints")
        await caller.ask("POST", f"{one}/rotate-secret", "webhook-secret")
        await caller.ask("GET", "/v3/webhooks/event-types", "webhook-event-types")
        await caller.ask("GET", "/v3/webhooks/events", "webhook-events")
        await caller.new("Spanish", "French", callback_id="7", callback_url=receiver.url)
        await caller.new("German", video=f"{VIDEO}?sim-failure=audio")
        await asyncio.sleep(100)
        for query in ("?limit=1", "?event_type=video_translate.fail", ""):
            await caller.ask("GET", f"/v3/webhooks/events{query}", "webhook-events")
        for delivered in receiver.got:
            check("webhook-event", json.loads(delivered.body))
        await caller.ask("DELETE", one, "webhook-removed")
        assert (await caller.refused("DELETE", one))[:2] == (404, "not_found")

    assert len(receiver.got) == 2 * 2 + 2
    played = {name for name in caller.checked if name.startswith("webhook")} | {"webhook-event"}
    assert played == {name for name in NAMES if name.startswith("webhook")}
