"""Faults of HeyGen's face, seen through its paths."""

import asyncio
from typing import Any

import aiohttp
import pytest

from simulator import Simulator
from simulator.faults import (
    AliasWords,
    ErrorInside,
    LateUrl,
    NotFoundAtFirst,
    OutOfCredit,
    RegressState,
)
from tests.virtual.faults.views import ask

PATH = "/v3/video-translations"
KEY = {"X-Api-Key": "any"}


async def order(http: aiohttp.ClientSession) -> tuple[int, Any]:
    """Order one translation; return the status and the answer."""
    video = {"type": "url", "url": "https://example.com/v"}
    body = {"video": video, "output_languages": ["Spanish"]}
    return await ask(http, PATH, "POST", json=body, headers=KEY)


async def new(http: aiohttp.ClientSession) -> str:
    """Order one translation and return its id."""
    _, made = await order(http)
    return str(made["data"]["video_translation_ids"][0])


async def one(http: aiohttp.ClientSession, job_id: str) -> dict[str, Any]:
    """Return what the face says of one translation."""
    status, told = await ask(http, f"{PATH}/{job_id}", headers=KEY)
    assert status == 200, told
    return dict(told["data"])


async def bulk(http: aiohttp.ClientSession, job_id: str) -> str:
    """Return the status of a translation as the bulk read tells it."""
    _, told = await ask(http, f"{PATH}/statuses?video_translation_ids={job_id}", headers=KEY)
    return str(told["data"][0]["status"])


async def test_not_found_at_first(sim: Simulator, http: aiohttp.ClientSession) -> None:
    """For some seconds after the order there is no such translation, in no read."""
    sim.faults.add(NotFoundAtFirst(seconds=3))
    job_id = await new(http)
    status, told = await ask(http, f"{PATH}/{job_id}", headers=KEY)
    _, listed = await ask(http, PATH, headers=KEY)

    assert (status, told["error"]["code"]) == (404, "not_found")
    assert (await bulk(http, job_id), listed["data"]) == ("not_found", [])
    await asyncio.sleep(3)
    assert (await one(http, job_id))["status"] == "running"


async def test_late_url(sim: Simulator, http: aiohttp.ClientSession) -> None:
    """It is completed at its end, and has an URL only later."""
    number = sim.faults.add(LateUrl(seconds=10))
    job_id = await new(http)
    await asyncio.sleep(21)
    assert await bulk(http, job_id) == "completed"
    early = await one(http, job_id)
    await asyncio.sleep(10)
    late = await one(http, job_id)

    assert sim.faults.struck(number) == 1
    assert (early["status"], late["status"]) == ("completed", "completed")
    assert ("video_url" in early, "video_url" in late) == (False, True)


@pytest.mark.parametrize(
    ("style", "words"),
    [
        ("guides", ["processing", "succeeded"]),
        ("v2", ["running", "success"]),
        ("bulk", ["processing", "completed"]),
        ("upper", ["RUNNING", "COMPLETED"]),
    ],
)
async def test_alias_words(
    sim: Simulator, http: aiohttp.ClientSession, style: Any, words: list[str]
) -> None:
    """The status is told in words that belong elsewhere, one by one and in bulk."""
    sim.faults.add(AliasWords(style=style))
    job_id = await new(http)
    told = []
    for wait in (5, 20):
        await asyncio.sleep(wait)
        told.append((await one(http, job_id))["status"])
        assert await bulk(http, job_id) == told[-1]

    assert told == words


async def test_regress_state(sim: Simulator, http: aiohttp.ClientSession) -> None:
    """A translation that runs, or has ended, is pending once more, and has no URL then."""
    job_id = await new(http)
    await asyncio.sleep(5)
    sim.faults.add(RegressState(), count=1)
    back = [(await one(http, job_id))["status"] for _ in range(2)]
    await asyncio.sleep(20)
    sim.faults.add(RegressState(state="running"), count=1)
    again = [await one(http, job_id) for _ in range(2)]

    assert back == ["pending", "running"]
    assert [told["status"] for told in again] == ["running", "completed"]
    assert ["video_url" in told for told in again] == [False, True]


async def test_error_inside(sim: Simulator, http: aiohttp.ClientSession) -> None:
    """An answer of 200 has an error beside its data, in v3 and in v2; a bulk read has none."""
    job_id = await new(http)
    number = sim.faults.add(ErrorInside(code="internal_error"))
    answers = [
        await ask(http, f"{path}/{job_id}", headers=KEY) for path in (PATH, "/v2/video_translate")
    ]

    for status, told in answers:
        assert (status, told["error"]["code"]) == (200, "internal_error")
        assert told["data"]["status"] == "pending"
    assert await bulk(http, job_id) == "queued"
    assert sim.faults.struck(number) == 2


@pytest.mark.parametrize(
    ("code", "status"), [("insufficient_credit", 402), ("quota_exceeded", 429)]
)
async def test_out_of_credit(
    sim: Simulator, http: aiohttp.ClientSession, code: Any, status: int
) -> None:
    """Orders are refused for good, and everything else goes on."""
    job_id = await new(http)
    sim.faults.add(OutOfCredit(code=code))
    refused, told = await order(http)

    assert (refused, told["error"]["code"]) == (status, code)
    assert (await one(http, job_id))["status"] == "pending"
    assert len(sim.jobs) == 1
