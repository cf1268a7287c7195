"""Webhooks in HeyGen's words: endpoints, events, and the history of these."""

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime
from itertools import pairwise
from typing import Any

import aiohttp
import pytest

from simulator import Simulator
from simulator.endpoints import MAX_ENDPOINTS
from simulator.heygen import HeyGenOptions
from tests.virtual.receiver import Receiver

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
ENDPOINTS = "/v3/webhooks/endpoints"
VIDEO = "https://example.com/talk.mp4"


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """Run somebody who acknowledges whatever comes."""
    async with Receiver.open() as running:
        yield running


@pytest.fixture
async def sim(receiver: Receiver) -> AsyncIterator[Simulator]:
    """Run a simulator whose translations take 20 s, as many at once as you like."""
    async with Simulator(delay=20, seed=1, heygen=HeyGenOptions(concurrency=0)) as running:
        yield running


class Account:
    """Somebody with a key.

    Args:
        http: asks on his behalf.
    """

    def __init__(self, http: aiohttp.ClientSession) -> None:
        self.http = http

    async def ask(self, method: str, path: str, **options: Any) -> tuple[int, Any]:
        """Return the status and the JSON of an answer."""
        async with self.http.request(method, path, **options) as answer:
            return answer.status, await answer.json()

    async def data(self, method: str, path: str, **options: Any) -> Any:
        """Return the data of an answer that is none but good."""
        status, document = await self.ask(method, path, **options)
        assert status == 200, document
        return document["data"]

    async def order(self, *languages: str, video: str = VIDEO, **fields: Any) -> list[str]:
        """Order translations and return their ids."""
        body = {
            "video": {"type": "url", "url": video},
            "output_languages": languages or ["French"],
            **fields,
        }
        made = await self.data("POST", "/v3/video-translations", json=body)
        return list(made["video_translation_ids"])

    async def register(self, url: str, **fields: Any) -> Any:
        """Register an endpoint."""
        return await self.data("POST", ENDPOINTS, json={"url": url, **fields})

    async def refused(self, method: str, path: str, **options: Any) -> tuple[int, str, Any]:
        """Return the status, the code and the param of a refusal."""
        status, document = await self.ask(method, path, **options)
        error = document["error"]
        return status, error["code"], error.get("param")


@pytest.fixture
async def me(sim: Simulator) -> AsyncIterator[Account]:
    """Return somebody with a key."""
    async with aiohttp.ClientSession(sim.url, headers={"X-Api-Key": "mine"}) as http:
        yield Account(http)


# -- events ---------------------------------------------------------------------------------------


async def test_an_endpoint_is_told(sim: Simulator, me: Account, receiver: Receiver) -> None:
    """Success and failure of every translation are posted there, signed with its secret."""
    endpoint = await me.register(receiver.url)
    [good] = await me.order("Spanish", callback_id="order-7")
    [bad] = await me.order("German", video=f"{VIDEO}?sim-failure=audio")
    events = {
        one.document["event_data"]["video_translate_id"]: one for one in await receiver.wait(2)
    }
    success, failure = events[good].document, events[bad].document
    url = success["event_data"].pop("url")
    assert success == {
        "event_type": "video_translate.success",
        "event_data": {
            "video_translate_id": good,
            "callback_id": "order-7",
            "output_language": "Spanish",
        },
    }
    async with me.http.get(url.removeprefix(sim.url)) as answer:
        assert (answer.status, answer.content_type) == (200, "video/mp4")
    shown = await me.data("GET", f"/v3/video-translations/{bad}")
    assert failure == {
        "event_type": "video_translate.fail",
        "event_data": {
            "video_translate_id": bad,
            "output_language": "German",
            "message": shown["failure_message"],
        },
    }
    assert all(one.is_signed(endpoint["secret"]) for one in receiver.got)
    assert {"Heygen-Timestamp", "Heygen-Event-Id", "Heygen-Signature"} <= events[
        good
    ].headers.keys()


@pytest.mark.parametrize("secret", [None, SECRET])
async def test_a_callback_url_is_told(receiver: Receiver, secret: str | None) -> None:
    """Who is named in an order is told of it alone; signed if there is a secret to share."""
    async with (
        Simulator(delay=1, webhook_secret=secret) as sim,
        aiohttp.ClientSession(sim.url, headers={"X-Api-Key": "mine"}) as http,
    ):
        me = Account(http)
        ids = await me.order("Spanish", "French", callback_url=receiver.url)
        await me.order("Spanish")
        await asyncio.sleep(100)
    told = [one.document["event_data"]["video_translate_id"] for one in receiver.got]
    assert sorted(told) == sorted(ids)
    assert all(("Heygen-Signature" in one.headers) == bool(secret) for one in receiver.got)
    assert secret is None or all(one.is_signed(secret) for one in receiver.got)


async def test_a_deleted_translation_is_no_event(me: Account, receiver: Receiver) -> None:
    """HeyGen cancels nothing: what was deleted before its end has none."""
    await me.register(receiver.url)
    [job_id] = await me.order(callback_url=receiver.url)
    await me.data("DELETE", f"/v3/video-translations/{job_id}")
    await asyncio.sleep(100)
    assert receiver.got == []
    assert await me.data("GET", "/v3/webhooks/events") == []


async def test_native_jobs_are_no_events(sim: Simulator, me: Account, receiver: Receiver) -> None:
    """An endpoint hears of what was ordered in HeyGen's words."""
    await me.register(receiver.url)
    await sim.create(delay=1)
    await asyncio.sleep(100)
    assert receiver.got == []


async def test_a_restart_repeats_with_the_same_id(
    sim: Simulator, me: Account, receiver: Receiver
) -> None:
    """Endpoints, secrets and what is left to deliver outlive it; the history comes from the log."""
    endpoint = await me.register(receiver.url)
    receiver.answer = lambda _: 500
    await me.order()
    await receiver.wait(1)
    before = await me.data("GET", "/v3/webhooks/events")
    receiver.answer = lambda _: 200
    await sim.restart(down_for=5)
    first, second = await receiver.wait(2)
    assert first.event_id == second.event_id == before[0]["event_id"]
    assert second.is_signed(endpoint["secret"])
    after = await me.data("GET", "/v3/webhooks/events")
    assert [line["event_id"] for line in after] == [first.event_id]
    assert after[0]["created_at"] == before[0]["created_at"]


# -- endpoints ------------------------------------------------------------------------------------


async def test_the_life_of_an_endpoint(me: Account, receiver: Receiver) -> None:
    """It is registered, shown, changed and removed; its secret is shown when it is new."""
    made = await me.register(receiver.url, events=["video_translate.fail", "avatar_video.success"])
    secret = made.pop("secret")
    assert made.keys() == {"endpoint_id", "url", "events", "status", "created_at"}
    assert (made["status"], made["url"]) == ("enabled", receiver.url)
    assert datetime.fromisoformat(made["created_at"]).tzinfo is not None
    assert await me.data("GET", ENDPOINTS) == [made]
    path = f"{ENDPOINTS}/{made['endpoint_id']}"
    changed = await me.data("PATCH", path, json={"events": ["video_translate.success"]})
    assert changed == made | {"events": ["video_translate.success"]}
    moved = await me.data("PATCH", path, json={"url": receiver.url + "?moved", "unknown": 1})
    assert moved == changed | {"url": receiver.url + "?moved"}
    rotated = await me.data("POST", f"{path}/rotate-secret")
    assert rotated.keys() == {"endpoint_id", "secret"}
    assert rotated["secret"] != secret
    await me.order()
    [told] = await receiver.wait(1)
    assert (told.path, told.is_signed(rotated["secret"])) == ("/hook?moved", True)
    assert not told.is_signed(secret)
    assert await me.data("DELETE", path) == {}
    for method in ("PATCH", "DELETE"):
        assert (await me.refused(method, path, json={}))[:2] == (404, "not_found")
    assert (await me.refused("POST", f"{path}/rotate-secret"))[:2] == (404, "not_found")
    assert await me.data("GET", ENDPOINTS) == []


async def test_a_removed_endpoint_is_told_no_more(me: Account, receiver: Receiver) -> None:
    """Not even what was tried before."""
    receiver.answer = lambda _: 500
    made = await me.register(receiver.url)
    await me.order()
    await receiver.wait(2)
    await me.data("DELETE", f"{ENDPOINTS}/{made['endpoint_id']}")
    await asyncio.sleep(1000)
    assert len(receiver.got) == 2


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "url"),
        ({"url": 7}, "url"),
        ({"url": "nonsense"}, "url"),
        ({"url": "http://10.0.0.1/"}, "url"),
        ({"url": "http://me:secret@example.com/"}, "url"),
        ({"url": "http://127.0.0.1:9001/"}, "url"),  # where nobody is
        ({"url": "http://127.0.0.1:9000/", "events": ["video_translate.maybe"]}, "events"),
        ({"url": "http://127.0.0.1:9000/", "events": "all"}, "events"),
    ],
)
async def test_endpoints_that_are_none(me: Account, body: Any, param: str) -> None:
    """What is no URL, leads where none may lead, or is no event is refused."""
    refused = await me.refused("POST", ENDPOINTS, json=body)
    assert refused == (400, "invalid_parameter", param)
    assert await me.data("GET", ENDPOINTS) == []


@pytest.mark.parametrize("status", [301, 404, 405, 500])
async def test_a_url_is_probed(me: Account, receiver: Receiver, status: int) -> None:
    """Before it is registered it has to answer OPTIONS with a 2xx, and no other answer will do."""
    made = await me.register(receiver.url)
    assert receiver.probes == 1
    receiver.probe_status = status
    refused = (400, "invalid_parameter", "url")
    assert await me.refused("POST", ENDPOINTS, json={"url": receiver.url}) == refused
    path = f"{ENDPOINTS}/{made['endpoint_id']}"
    assert await me.refused("PATCH", path, json={"url": receiver.url}) == refused
    assert receiver.probes == 3


async def test_an_order_names_nobody_inside(me: Account) -> None:
    """A callback_url of HeyGen's dialect is checked as that of others."""
    body = {
        "video": {"type": "url", "url": VIDEO},
        "output_languages": ["French"],
        "callback_url": "http://169.254.169.254/",
    }
    refused = await me.refused("POST", "/v3/video-translations", json=body)
    assert refused == (400, "invalid_parameter", "callback_url")


async def test_pages_of_endpoints(me: Account, receiver: Receiver) -> None:
    """Ten at once if nobody asks for more, and a token for the next ones, up to a hundred."""
    made = [(await me.register(receiver.url))["endpoint_id"] for _ in range(MAX_ENDPOINTS)]
    refused = await me.refused("POST", ENDPOINTS, json={"url": receiver.url})
    assert refused == (429, "resource_limit_reached", None)
    found: list[str] = []
    params = {"limit": "40"}
    while True:
        _, answer = await me.ask("GET", ENDPOINTS, params=params)
        found += [line["endpoint_id"] for line in answer["data"]]
        if not answer["has_more"]:
            break
        params["token"] = answer["next_token"]
    assert found == made
    assert "next_token" not in answer
    assert len(await me.data("GET", ENDPOINTS)) == 10
    for params in ({"limit": "0"}, {"limit": "101"}, {"limit": "x"}, {"token": "x"}):
        assert (await me.refused("GET", ENDPOINTS, params=params))[0] == 400


async def test_endpoints_of_others(receiver: Receiver) -> None:
    """Another key neither sees them nor what they are told."""
    async with (
        Simulator(api_keys=["mine", "yours"], delay=1) as sim,
        aiohttp.ClientSession(sim.url, headers={"X-Api-Key": "mine"}) as http,
        aiohttp.ClientSession(sim.url, headers={"Authorization": "Bearer yours"}) as other,
    ):
        me, you = Account(http), Account(other)
        path = f"{ENDPOINTS}/{(await me.register(receiver.url))['endpoint_id']}"
        assert await you.data("GET", ENDPOINTS) == []
        for method in ("PATCH", "DELETE"):
            assert (await you.refused(method, path, json={}))[:2] == (404, "not_found")
        await you.order()
        [mine] = await me.order()
        await asyncio.sleep(100)
        [told] = receiver.got
        assert told.document["event_data"]["video_translate_id"] == mine
        assert len(await you.data("GET", "/v3/webhooks/events")) == 1


# -- history --------------------------------------------------------------------------------------


async def test_types_of_events(me: Account) -> None:
    """There are the two that happen here."""
    types = await me.data("GET", "/v3/webhooks/event-types")
    assert [line["event_type"] for line in types] == [
        "video_translate.success",
        "video_translate.fail",
    ]
    assert all(line["description"] for line in types)


async def test_history_of_events(me: Account, receiver: Receiver) -> None:
    """It has every event, delivered or not, the newest first, in pages and by kinds."""
    receiver.answer = lambda _: 500
    [bad] = await me.order("German", video=f"{VIDEO}?sim-failure=audio&sim-delay=1")
    ids = [(await me.order("French", video=f"{VIDEO}?sim-delay={at}"))[0] for at in range(2, 14)]
    await me.register(receiver.url)
    await asyncio.sleep(20)
    path = "/v3/webhooks/events"
    lines: list[Any] = []
    params = {"limit": "5"}
    while True:
        _, answer = await me.ask("GET", path, params=params)
        lines += answer["data"]
        if not answer["has_more"]:
            break
        params["token"] = answer["next_token"]
    told = [line["event_data"]["video_translate_id"] for line in lines]
    assert told == [*reversed(ids), bad]
    assert all(later["created_at"] > earlier["created_at"] for later, earlier in pairwise(lines))
    assert lines[0].keys() == {"event_id", "event_type", "event_data", "created_at"}
    assert {line["event_id"] for line in lines} == {one.event_id for one in receiver.got}
    assert len(await me.data("GET", path)) == 10
    [failure] = await me.data("GET", path, params={"event_type": "video_translate.fail"})
    assert failure["event_data"]["video_translate_id"] == bad
    [one] = await me.data("GET", path, params={"entity_id": ids[0]})
    assert one["event_data"]["video_translate_id"] == ids[0]
    refused = await me.refused("GET", path, params={"event_type": "nonsense"})
    assert refused == (400, "invalid_parameter", "event_type")


async def test_a_key_is_asked_for(sim: Simulator) -> None:
    """Without one nobody registers anything."""
    async with aiohttp.ClientSession(sim.url) as http:
        for method, path in (
            ("POST", ENDPOINTS),
            ("GET", ENDPOINTS),
            ("GET", "/v3/webhooks/events"),
        ):
            async with http.request(method, path, json={}) as answer:
                assert answer.status == 401
