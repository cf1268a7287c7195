"""Faults of REST, seen by aiohttp's client."""

import asyncio
import json
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp
import pytest

from simulator import Simulator
from simulator.faults import (
    AuthExpire,
    BulkPartial,
    Garbage,
    GzipBomb,
    Hang,
    HttpStatus,
    Latency,
    Overload,
    Redirect,
    SlowBody,
    Split,
    Stale,
    TruncateBody,
)
from tests.simulator.backend import Talk
from tests.virtual.faults.views import Peer, ask, new_job, now, read, seconds_of


async def test_status(sim: Simulator, http: aiohttp.ClientSession) -> None:
    """Any status, with a Retry-After in seconds, as a date, or as nonsense, and any body."""
    sim.faults.add(HttpStatus(status=429, retry_after=2.5), count=1)
    sim.faults.add(HttpStatus(retry_after=90, as_date=True), count=1)
    sim.faults.add(HttpStatus(status=500, retry_after="soon", body="oops"))
    heads = []
    for _ in range(3):
        async with http.get("/healthz") as answer:
            heads.append((answer.status, answer.headers["Retry-After"], answer.headers["Date"]))
            text = await answer.text()

    assert [head[0] for head in heads] == [429, 503, 500]
    assert (heads[0][1], heads[2][1], text) == ("3", "soon", "oops")
    wait = parsedate_to_datetime(heads[1][1]) - parsedate_to_datetime(heads[1][2])
    assert 90 <= wait.total_seconds() <= 92


async def test_hang(sim: Simulator) -> None:
    """Silence instead of an answer, or in the middle of it, and then a reset, or never."""
    sim.faults.add(Hang(seconds=5), count=1)
    sim.faults.add(Hang(seconds=5, at="mid_body"), count=1)
    sim.faults.add(Hang())
    heard = []
    for ending in ("rst", "rst", "none"):
        peer, began = await Peer.dial(sim), now()
        peer.ask()
        heard.append(await peer.hear(4))
        assert await peer.end() == ending
        assert now() - began == pytest.approx(5 if ending == "rst" else 64, abs=0.1)
        await peer.leave()
    head, _, body = heard[1].partition(b"\r\n\r\n")
    assert (heard[0], head[:15], body[:9], heard[2]) == (b"", b"HTTP/1.1 200 OK", b'{"status"', b"")


async def test_truncate_body(sim: Simulator) -> None:
    """The whole length is announced, a part arrives, and the connection ends in order."""
    sim.faults.add(TruncateBody(fraction=0.5))
    peer = await Peer.dial(sim)
    peer.ask()
    head, _, body = (await peer.hear(1)).partition(b"\r\n\r\n")
    [length] = [int(line[15:]) for line in head.split(b"\r\n") if line.startswith(b"Content-Len")]
    assert len(body) == length // 2
    assert await peer.end() == "fin"
    await peer.leave()


async def test_slow_body(sim: Simulator, http: aiohttp.ClientSession) -> None:
    """The body is good, and takes as long as its bytes."""
    job_id = await new_job(http)
    sim.faults.add(SlowBody(bytes_per_second=20))
    began = now()
    async with http.get(f"/status/{job_id}") as answer:
        assert now() - began < 1
        body = await answer.read()
    assert json.loads(body)["job_id"] == job_id
    assert now() - began == pytest.approx(len(body) / 20, abs=0.5)


def nan(text: bytes) -> bool:
    """Tell whether JSON holds a number that it does not have."""
    return b"NaN" in text


GARBAGE: dict[Any, Any] = {
    "json": json.JSONDecodeError,
    "utf8": UnicodeDecodeError,
    "nan": nan,
    "deep": RecursionError,
    "huge_int": ValueError,
    "html": json.JSONDecodeError,
    "empty": json.JSONDecodeError,
    "wrong_type": lambda text: isinstance(json.loads(text), list),
}


@pytest.mark.parametrize("kind", GARBAGE)
async def test_garbage(sim: Simulator, http: aiohttp.ClientSession, kind: Any) -> None:
    """The answer is 200, and no status document."""
    sim.faults.add(Garbage(kind=kind))
    async with http.get("/status") as answer:
        assert answer.status == 200
        body = await answer.read()
    if isinstance(GARBAGE[kind], type):
        with pytest.raises(GARBAGE[kind]):
            json.loads(body)
    else:
        assert GARBAGE[kind](body)


async def test_gzip_bomb(sim: Simulator, http: aiohttp.ClientSession) -> None:
    """A small answer unpacks to a large one."""
    sim.faults.add(GzipBomb(megabytes=4))
    async with http.get("/status") as answer:
        assert answer.content_length is not None
        assert answer.content_length < 10_000
        assert len(await answer.read()) == 4_000_000


async def test_redirect(sim: Simulator, http: aiohttp.ClientSession) -> None:
    """The caller is sent elsewhere."""
    sim.faults.add(Redirect(url="http://evil.example/", status=307))
    async with http.get("/status", allow_redirects=False) as answer:
        assert (answer.status, answer.headers["Location"]) == (307, "http://evil.example/")


async def test_latency(sim: Simulator, http: aiohttp.ClientSession) -> None:
    """The answer is good, and late."""
    sim.faults.add(Latency(seconds=3, jitter=2), match={"path": "/healthz"})
    assert 3 <= await seconds_of(http) <= 5.1
    assert await seconds_of(http, "/openapi.json") < 1


async def test_auth_expire(sim: Simulator, http: aiohttp.ClientSession) -> None:
    """The key is good for nothing any more, and only that key."""
    sim.faults.add(AuthExpire(), match={"key": "one"})
    answers = [await ask(http, "/healthz", headers={"X-Api-Key": key}) for key in ("one", "two")]
    assert [status for status, _ in answers] == [401, 200]
    assert answers[0][1]["code"] == "unauthorized"


async def test_overload(sim: Simulator, http: aiohttp.ClientSession) -> None:
    """As many requests as the rate are served, the others are told to come later."""
    sim.faults.add(Overload(rps=2, retry_after=4))
    at_once = [(await ask(http, "/healthz"))[0] for _ in range(4)]
    assert at_once == [200, 200, 429, 429]
    served, began = [], now()
    for _ in range(40):
        async with http.get("/healthz") as answer:
            served.append(answer.status == 200)
            assert served[-1] or answer.headers["Retry-After"] == "4"
        await asyncio.sleep(0.25)
    assert sum(served) == pytest.approx(2 * (now() - began), abs=2)
    assert len(sim.faults.log) == served.count(False) + 2


async def test_bulk_partial(sim: Simulator, http: aiohttp.ClientSession) -> None:
    """A bulk answer lacks some of the jobs, and does not say so."""
    jobs = [status.job_id for status in await sim.create(languages=["x"] * 50)]
    sim.faults.add(BulkPartial(fraction=0.5))
    status, answer = await ask(http, "/status", "POST", json={"jobs": dict.fromkeys(jobs, 0)})
    assert status == 200
    assert len(answer["events"]) == 25
    assert not answer.get("errors")
    assert (await read(http, jobs[0]))["job_id"] == jobs[0], "single reads are spared"


async def test_stale(sim: Simulator, http: aiohttp.ClientSession) -> None:
    """A read is so many versions behind, with the tag of the old one, and in bulk as well."""
    job_id = await new_job(http)
    await asyncio.sleep(10.5)
    version = (await read(http, job_id))["version"]
    sim.faults.add(Stale(versions_back=3))
    old = await read(http, job_id)
    _, bulk = await ask(http, "/status", "POST", json={"jobs": {job_id: 0}, "mode": "all"})
    assert old["version"] == version - 3
    assert [event["version"] for event in bulk["events"]] == list(range(1, version - 2))
    assert (await read(http, await new_job(http)))["version"] == 1


async def test_split(sim: Simulator, http: aiohttp.ClientSession) -> None:
    """The channel says what is, REST says what was."""
    job_id = await new_job(http, delay=100)
    sim.faults.add(Split(behind=30))
    await asyncio.sleep(50)
    async with Talk.open(sim.channel_url) as talk:
        await talk.greet()
        await talk.subscribe({job_id: 0})
        [event] = talk.told()
    assert event["progress"] - (await read(http, job_id))["progress"] == pytest.approx(0.3, abs=0.1)
