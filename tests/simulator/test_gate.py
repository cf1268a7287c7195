"""What every request passes: faults, keys, problem documents, calls."""

import asyncio
import json
import time
from typing import Any

import aiohttp
import pytest

from simulator import Simulator
from simulator.faults import Fault, Garbage, Hang, HttpStatus, Latency
from simulator.keys import owner_of
from tests.simulator.backend import Talk, until

CANARY = "canary-5f3a"


async def get(sim: Simulator, path: str, **options: Any) -> tuple[int, dict[str, str], bytes]:
    """Return status, headers and body of one answer, over a connection of its own."""
    async with aiohttp.ClientSession(sim.url) as http, http.get(path, **options) as answer:
        return answer.status, dict(answer.headers), await answer.read()


# -- faults ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "status", "retry_after", "code"),
    [
        (HttpStatus(), 503, None, "unavailable"),
        (HttpStatus(status=429, retry_after=1.5), 429, "2", "rate_limited"),
        (HttpStatus(status=500, retry_after="soon"), 500, "soon", "internal"),
        (HttpStatus(status=418), 418, None, "fault"),
        (HttpStatus(status=599), 599, None, "fault"),
    ],
)
async def test_status_instead_of_an_answer(
    sim: Simulator, fault: HttpStatus, status: int, retry_after: str | None, code: str
) -> None:
    """A request can be answered with any status, as a problem document, with any Retry-After."""
    sim.faults.add(fault)

    answered, headers, body = await get(sim, "/healthz")

    assert (answered, headers.get("Retry-After")) == (status, retry_after)
    assert headers["Content-Type"].startswith("application/problem+json")
    assert (json.loads(body)["status"], json.loads(body)["code"]) == (status, code)


async def test_status_with_a_body_of_its_own(sim: Simulator) -> None:
    """The body of a refusal can be what a proxy would say."""
    sim.faults.add(HttpStatus(status=502, body="<h1>Bad gateway</h1>", retry_after=3))

    status, headers, body = await get(sim, "/healthz")

    assert (status, headers["Retry-After"], body) == (502, "3", b"<h1>Bad gateway</h1>")


@pytest.mark.parametrize("kind", ["json", "html", "nan", "empty", "wrong_type"])
async def test_garbage_instead_of_an_answer(sim: Simulator, kind: Any) -> None:
    """Garbage is a 200 whose body cannot be understood as an answer."""
    sim.faults.add(Garbage(kind=kind))

    status, _, body = await get(sim, "/healthz")

    assert status == 200
    match kind:
        case "nan":
            assert b"NaN" in body
        case "wrong_type":
            assert not isinstance(json.loads(body), dict)
        case _:
            with pytest.raises(ValueError):
                json.loads(body)


async def test_late_answer_is_right(sim: Simulator) -> None:
    """Latency delays an answer and changes nothing in it."""
    sim.faults.add(Latency(seconds=0.2, jitter=0.1))
    began = time.monotonic()

    status, _, body = await get(sim, "/healthz")

    assert 0.2 <= time.monotonic() - began < 0.8
    assert (status, json.loads(body)["status"]) == (200, "ok")


async def test_hanging_request_ends_without_an_answer(sim: Simulator) -> None:
    """After its time a hanging request loses its connection."""
    sim.faults.add(Hang(seconds=0.1))
    with pytest.raises(aiohttp.ClientError):
        await get(sim, "/healthz")


async def test_caller_who_leaves_a_hanging_request_is_noticed(sim: Simulator) -> None:
    """Nothing is left of a request that hung until its caller lost patience; it counts as 499."""
    sim.faults.add(Hang())
    before = asyncio.all_tasks()
    with pytest.raises(TimeoutError):
        await get(sim, "/healthz", timeout=aiohttp.ClientTimeout(total=0.1))

    await until(lambda: sim.calls and asyncio.all_tasks() <= before)
    assert [call.status for call in sim.calls] == [499]


async def test_hanging_request_does_not_hold_up_a_leaving_server() -> None:
    """Closing the server ends what hangs."""
    async with Simulator() as sim:
        sim.faults.add(Hang())
        hanging = asyncio.ensure_future(get(sim, "/healthz"))
        await until(lambda: sim.faults.log)
        async with asyncio.timeout(0.5):
            await sim.aclose()
        with pytest.raises(aiohttp.ClientError):
            await hanging


@pytest.mark.parametrize(
    ("path", "is_struck"),
    [("/healthz", True), ("/status/x", True), ("/_control/stats", False), ("/events", False)],
)
async def test_control_and_channel_are_spared(sim: Simulator, path: str, is_struck: bool) -> None:
    """Faults of requests strike REST alone, for somebody has to be able to heal them."""
    fault: Fault = HttpStatus(status=507)
    sim.faults.add(fault)
    assert ((await get(sim, path))[0] == 507) == is_struck


# -- keys -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"Authorization": f"Bearer {CANARY}"}, 404),
        ({"Authorization": f"bearer  {CANARY}"}, 404),
        ({"X-Api-Key": CANARY}, 404),
        ({"X-Api-Key": f"{CANARY}x"}, 401),
        ({"Authorization": f"Basic {CANARY}"}, 401),
        ({"Authorization": "Bearer"}, 401),
    ],
)
async def test_key_is_asked_for(headers: dict[str, str], status: int) -> None:
    """With keys configured every request needs one of them, in one of two headers."""
    async with Simulator(api_keys=["other", CANARY]) as sim:
        answered, shown, body = await get(sim, "/status/nobody", headers=headers)

    assert answered == status
    assert (shown.get("WWW-Authenticate") == "Bearer") == (status == 401)
    assert CANARY.encode() not in body


async def test_key_in_the_query_is_no_key() -> None:
    """A key in a URL would end up in logs, so it does not count."""
    async with Simulator(api_keys=[CANARY]) as sim:
        assert (await get(sim, f"/jobs?api_key={CANARY}&token={CANARY}"))[0] == 401


@pytest.mark.parametrize("path", ["/healthz", "/openapi.json", "/asyncapi.json"])
async def test_some_pages_are_open(path: str) -> None:
    """Health and descriptions need no key."""
    async with Simulator(api_keys=[CANARY]) as sim:
        assert (await get(sim, path))[0] == 200


async def test_key_appears_nowhere(caplog: pytest.LogCaptureFixture) -> None:
    """Neither logs nor the list of calls nor the jobs hold a key."""
    caplog.set_level("DEBUG", logger="simulator")
    async with Simulator(api_keys=[CANARY]) as sim:
        for key in (CANARY, f"{CANARY}-wrong"):
            await get(sim, "/status", headers={"X-Api-Key": key})
            async with Talk.open(sim.channel_url) as talk:
                await talk.say("hello", token=key)
                await talk.say("auth", id=1, token=key)
                await talk.hear("authed") if key == CANARY else await talk.closed()
        text = f"{caplog.text} {sim.calls} {sim.jobs} {sim.stats()} {vars(sim)}"
        versions = [sim.replica.head(job_id, owner=owner_of(CANARY)).spec for job_id in sim.jobs]
    assert len(sim.calls) == 4
    assert "< Auth" in text
    assert CANARY not in text
    assert CANARY not in str(versions)


def test_empty_key_is_a_mistake() -> None:
    """A key that is empty would let everybody in."""
    with pytest.raises(ValueError, match="must not be empty"):
        Simulator(api_keys=["good", " "])


# -- problem documents and calls ------------------------------------------------------------------


async def test_failure_of_the_server_is_a_problem(
    sim: Simulator, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An error nobody foresaw is a 500 that tells the caller nothing, and the log everything."""

    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("the secret reason")

    monkeypatch.setattr(sim.replica, "listing", fail)

    status, _, body = await get(sim, "/jobs")

    assert (status, json.loads(body)["code"]) == (500, "internal")
    assert b"secret" not in body
    assert "the secret reason" in caplog.text


async def test_calls_are_listed(sim: Simulator) -> None:
    """Every request is taken down with its query, its status and its times."""
    await get(sim, "/healthz?x=1")
    await get(sim, "/nowhere")

    first, second = sim.calls
    assert (first.method, first.path, first.status) == ("GET", "/healthz?x=1", 200)
    assert (second.path, second.status) == ("/nowhere", 404)
    assert first.at <= second.at
    assert 0 <= first.seconds < 1
    assert sim.stats().answered == 2
