"""Every path of HeyGen's face, played once: each answer keeps its schema, and none is left out."""

import asyncio
import re
from typing import Any

import jsonschema  # type: ignore[import-untyped]  # it ships no types
import pytest

from simulator import Simulator
from tests.conformance.heygen_caller import PATH, VIDEO, Caller, order
from tests.conformance.schemas import NAMES, check
from tests.virtual.receiver import Receiver

V2 = "/v2/video_translate"
HOOKS = "/v3/webhooks"
FACE = ("/v2/", "/v3/")


class Player(Caller):
    """A caller who takes down which routes were asked, and which words were told."""

    def __init__(self, sim: Simulator) -> None:
        super().__init__(sim)
        self.routes: set[tuple[str, str]] = set()
        self.words: set[str] = set()

    async def play(self, method: str, route: str, schema: str, **options: Any) -> Any:
        """Ask a route, whose braces `at` fills and behind which `query` stands."""
        filled = route.format(*options.pop("at", ())) if "{" in route else route
        path = filled + options.pop("query", "")
        status, document = await self.ask(method, path, schema, **options)
        assert status < 300, document
        self.routes.add((method, route))
        self._take_down(document)
        return document["data"]

    def _take_down(self, document: Any) -> None:
        if isinstance(document, dict):
            self.words |= {document["status"]} if "status" in document else set()
            for value in document.values():
                self._take_down(value)
        if isinstance(document, list):
            for value in document:
                self._take_down(value)


async def look(player: Player, ids: list[str], old: str, batch_id: str) -> None:
    """Ask everything that can be read."""
    for job_id in ids:
        await player.play("GET", f"{PATH}/{{}}", "translation", at=(job_id,))
    await player.play("GET", V2 + "/{}", "v2-translation", at=(old,))
    await player.play("GET", PATH, "list", query="?limit=2")
    query = f"?video_translation_ids={','.join(ids)},none&batch_ids={batch_id}"
    await player.play("GET", f"{PATH}/statuses", "statuses", query=query)
    await player.play("GET", f"{PATH}/batches/{{}}", "batch", at=(batch_id,))


async def play_endpoints(player: Player, url: str) -> None:
    """Ask everything about those who are told by webhook."""
    one = f"{HOOKS}/endpoints/{{}}"
    made = await player.play("POST", f"{HOOKS}/endpoints", "endpoint-created", json={"url": url})
    at, some = (made["endpoint_id"],), {"events": ["video_translate.fail"]}
    await player.play("POST", f"{HOOKS}/endpoints", "endpoint-created", json={"url": url} | some)
    await player.play("GET", f"{HOOKS}/endpoints", "endpoints", query="?limit=1")
    await player.play("PATCH", one, "endpoint", at=at, json=some)
    await player.play("POST", f"{one}/rotate-secret", "endpoint-rotated", at=at)
    await player.play("DELETE", one, "endpoint-deleted", at=at)
    await player.play("GET", f"{HOOKS}/event-types", "event-types")


@pytest.mark.virtual_simulator(delay=20)
async def test_every_answer_keeps_its_schema(virtual_simulator: Simulator) -> None:
    """All routes, all words and all schemas occur, and no answer has a field that it must not."""
    player = Player(virtual_simulator)
    good = order("Spanish", "French", title="Talk", enable_caption=True, callback_id="7")
    bad = order(video=f"{VIDEO}?sim-failure=audio")
    made = await player.play("POST", PATH, "created", json=good)
    failing = await player.play("POST", PATH, "created", json=bad)
    ids = [*made["video_translation_ids"], *failing["video_translation_ids"]]
    body = {"video_url": VIDEO, "output_language": "German"}
    old = (await player.play("POST", V2, "v2-created", json=body))["video_translate_id"]
    orders = [order("Italian"), order(video=f"{VIDEO}?sim-failure=refused"), bad]
    batch = await player.play(
        "POST", f"{PATH}/batches", "batch-created", json={"video_translations": orders}
    )
    for wait in (0, 5, 20):
        await asyncio.sleep(wait)
        await look(player, ids, old, batch["batch_id"])
    await player.play("PATCH", f"{PATH}/{{}}", "translation", at=(ids[0],), json={"title": "New"})
    await player.play("DELETE", f"{PATH}/{{}}", "deleted", at=(ids[0],))
    await player.play("GET", f"{PATH}/languages", "languages")
    await player.play("GET", f"{V2}/target_languages", "v2-languages")
    await player.play("GET", f"{HOOKS}/events", "events", query="?limit=2")
    await player.play("GET", f"{HOOKS}/events", "events")
    async with Receiver.open() as receiver:
        await play_endpoints(player, receiver.url)
    for path in (f"{PATH}/none", f"{V2}/none", f"{HOOKS}/endpoints/none"):
        await player.refused("GET" if path.startswith((PATH, V2)) else "DELETE", path)

    served = {
        (route.method, route.resource.canonical)
        for route in virtual_simulator.routes
        if route.resource is not None and route.resource.canonical.startswith(FACE)
    }
    named = {
        (method, re.sub(r"\{\w+\}", "{}", path)) for method, path in served if method != "HEAD"
    }
    assert player.routes == named
    assert player.checked.keys() == NAMES - {"event"}  # that is posted, and answers nobody
    assert player.words == {
        *("pending", "running", "completed", "failed"),
        *("queued", "processing", "not_found", "success", "enabled"),
    }


@pytest.mark.parametrize(
    ("name", "document"),
    [
        ("translation", {"data": {"id": "a", "status": "running", "progress": 0.5}}),
        ("translation", {"data": {"id": "a", "status": "processing"}}),
        ("translation", {"data": {"id": "a", "status": "pending", "title": None}}),
        ("translation", {"data": {"id": "a", "status": "failed"}}),
        ("list", {"data": [], "has_more": True}),
        ("statuses", {"data": [{"video_id": "a", "status": "running"}], "has_more": False}),
        ("error", {"error": {"code": "not_found", "message": "x"}, "data": None}),
        ("v2-error", {"error": {"code": "not_found", "message": "x"}}),
        ("v2-created", {"data": {"video_translate_id": "0" * 32 + "-es"}}),
    ],
)
def test_schemas_refuse_what_they_must(name: str, document: Any) -> None:
    """What is not HeyGen's, or belongs to another of its paths, does not pass."""
    with pytest.raises(jsonschema.ValidationError):
        check(name, document)
