"""Faults of the server, of its jobs and of its clock, seen through REST and the channel."""

import asyncio
from contextlib import suppress
from datetime import datetime
from itertools import pairwise
from typing import Any

import aiohttp
import pytest

from simulator import Simulator
from simulator.faults import (
    ClockJump,
    Delay,
    Drain,
    EpochBump,
    ErrorProbability,
    Eta,
    HistoryTruncate,
    PartialLanguages,
    PauseProcess,
    RegressProgress,
    Restart,
    ResurrectAfterFinal,
    Skew,
    Speed,
    StuckAt,
    UnknownState,
    Vanish,
)
from tests.simulator.backend import Talk, versions
from tests.virtual.faults.views import Peer, ask, new_job, now, read


async def history(http: aiohttp.ClientSession, job_id: str) -> list[dict[str, Any]]:
    """Return every kept version of a job."""
    _, answer = await ask(http, "/status", "POST", json={"jobs": {job_id: 0}, "mode": "all"})
    return list(answer["events"])


async def ended(http: aiohttp.ClientSession, job_id: str) -> float:
    """Wait until a job has ended, and return when it had."""
    async with asyncio.timeout(1000):
        while (await read(http, job_id))["state"] != "completed":  # noqa: ASYNC110 (a poller)
            await asyncio.sleep(0.1)
    return now()


# -- the server -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("lose_state", "left"), [("none", 10), (0.3, 7), ("all", 0)])
async def test_restart(
    sim: Simulator, http: aiohttp.ClientSession, lose_state: Any, left: int
) -> None:
    """Connections are reset, nobody gets in, then all, some or none of the jobs are there."""
    jobs = [await new_job(http) for _ in range(10)]
    await asyncio.sleep(5)
    before = await read(http, jobs[0])
    peer = await Peer.dial(sim)
    sim.faults.add(Restart(lose_state=lose_state, down_for=3))
    assert await peer.end() == "rst"
    with pytest.raises(aiohttp.ClientConnectorError):
        await ask(http, "/healthz")
    await asyncio.sleep(3.1)
    _, answer = await ask(http, "/status", "POST", json={"jobs": dict.fromkeys(jobs, 0)})
    assert (len(answer["events"]), len(answer.get("errors", {}))) == (left, 10 - left)
    assert (answer["epoch"] > before["epoch"]) == (lose_state != "none")
    assert all(event["version"] > before["version"] for event in answer["events"])


async def test_epoch_bump(sim: Simulator, http: aiohttp.ClientSession) -> None:
    """The jobs are as they were, and go on, under a newer epoch; channels hear 4000."""
    job_id = await new_job(http)
    await asyncio.sleep(5)
    before = await read(http, job_id)
    async with Talk.open(sim.channel_url) as talk:
        await talk.greet()
        sim.faults.add(EpochBump())
        assert await talk.closed() == (4000, "epoch changed")
    await asyncio.sleep(0.1)
    after = await history(http, job_id)
    assert versions(after)[: before["version"]] == list(range(1, before["version"] + 1))
    assert after[-1]["epoch"] > before["epoch"]
    await ended(http, job_id)


async def test_history_truncate(sim: Simulator, http: aiohttp.ClientSession) -> None:
    """What is between the first version and the newest is gone, and said to be."""
    job_id = await new_job(http)
    await asyncio.sleep(10)
    sim.faults.add(HistoryTruncate(keep=2))
    await asyncio.sleep(0.2)
    kept = await history(http, job_id)
    last = kept[-1]["version"]
    assert [(event["version"], event.get("gap", False)) for event in kept] == [
        (1, False),
        (last - 1, True),
        (last, False),
    ]


async def test_drain(sim: Simulator) -> None:
    """Channels are told to move, and closed at the deadline."""
    async with Talk.open(sim.channel_url) as talk:
        await talk.greet()
        sim.faults.add(Drain(spread=3, deadline=4, reason="deploy"))
        assert (await talk.hear("drain"))["spread"] == 3
        assert await talk.closed() == (1012, "deploy")


async def test_pause_process(sim: Simulator, http: aiohttp.ClientSession) -> None:
    """Nothing moves for a while, and then at once; channels survive it."""
    job_id = await new_job(http)
    async with Talk.open(sim.channel_url) as talk:
        await talk.greet()
        await talk.subscribe({job_id: 0}, mode="all")
        sim.faults.add(PauseProcess(seconds=8), after=3)
        began = now()
        peer = await Peer.dial(sim)
        await asyncio.sleep(4)
        peer.ask(f"/status/{job_id}")
        seen = len(talk.told())
        with suppress(TimeoutError):
            async with asyncio.timeout(6):
                await talk.hear("never")
        assert len(talk.told()) <= seen + 3
        assert (await peer.hear(3)).startswith(b"HTTP/1.1 200 OK")
        assert sim.calls[-1].at - began > 10
        await talk.events(until=lambda event: event.get("final"))
        assert now() - began == pytest.approx(20, abs=0.2)
        await peer.leave()


# -- its clock ------------------------------------------------------------------------------------


@pytest.mark.parametrize("seconds", [-15, 15])
async def test_clock_jump(sim: Simulator, http: aiohttp.ClientSession, seconds: float) -> None:
    """Jobs are further at once, or stand still for as long."""
    began, job_id = now(), await new_job(http)
    await asyncio.sleep(2)
    sim.faults.add(ClockJump(seconds=seconds))
    assert await ended(http, job_id) - began == pytest.approx(20 - seconds, abs=0.3)


async def test_skew(sim: Simulator, http: aiohttp.ClientSession) -> None:
    """The times in documents are wrong, and nothing else is."""
    sim.faults.add(Skew(seconds=-3600))
    async with http.get(f"/status/{await new_job(http)}") as answer:
        document = await answer.json()
        real = sim.calls[0].at
    created = datetime.fromisoformat(document["created_at"]).timestamp()
    sim.faults.heal()
    fresh = await read(http, await new_job(http))
    difference = datetime.fromisoformat(fresh["created_at"]).timestamp() - created
    assert difference == pytest.approx(3600, abs=1)
    began = real
    assert await ended(http, document["job_id"]) - began == pytest.approx(20, abs=0.2)


async def test_speed(sim: Simulator, http: aiohttp.ClientSession) -> None:
    """Jobs run slower or faster, or not at all, as long as it holds."""
    began, job_id = now(), await new_job(http)
    sim.faults.add(Speed(factor=4), for_=2)
    sim.faults.add(Speed(factor=0), after=2, for_=30)
    assert await ended(http, job_id) - began == pytest.approx(2 + 30 + 12, abs=0.3)


# -- its jobs -------------------------------------------------------------------------------------


async def test_delay(sim: Simulator, http: aiohttp.ClientSession) -> None:
    """A job takes another time than was asked for."""
    sim.faults.add(Delay(time="7"), count=1)
    began, job_id, other = now(), await new_job(http, delay=1000), await new_job(http)
    assert await ended(http, job_id) - began == pytest.approx(7, abs=0.2)
    assert await ended(http, other) - began == pytest.approx(20, abs=0.2)


async def test_error_probability(sim: Simulator, http: aiohttp.ClientSession) -> None:
    """Jobs fail though their orders do not say so; another time is no hindrance."""
    sim.faults.add(ErrorProbability(chance=1.0))
    sim.faults.add(Delay(time="3"))
    job_id = await new_job(http)
    await asyncio.sleep(3.1)
    assert (await read(http, job_id))["state"] == "error"


async def test_partial_languages(sim: Simulator, http: aiohttp.ClientSession) -> None:
    """Fewer jobs are made than were ordered."""
    sim.faults.add(PartialLanguages(fraction=0.5))
    body = {"video_url": "https://example.com/v", "languages": ["a", "b", "c", "d"]}
    status, answer = await ask(http, "/jobs", "POST", json=body)
    assert status == 202
    assert [job["language"] for job in answer["jobs"]] == ["a", "b"]


async def test_stuck_at(sim: Simulator, http: aiohttp.ClientSession) -> None:
    """A job stands still, until it heals; then it goes on from there."""
    job_id = await new_job(http)
    sim.faults.add(StuckAt(progress=0.5))
    await asyncio.sleep(100)
    document = await read(http, job_id)
    assert document["state"] == "running"
    assert 0.4 < document["progress"] <= 0.5
    sim.faults.heal()
    await asyncio.sleep(0.2)
    assert (await read(http, job_id))["state"] == "completed"


async def test_regress_progress(sim: Simulator, http: aiohttp.ClientSession) -> None:
    """Progress falls in a version, and rises again."""
    job_id = await new_job(http)
    sim.faults.add(RegressProgress(by=0.3), after=10, count=1)
    await asyncio.sleep(18)
    told = [event["progress"] for event in await history(http, job_id)]
    falls = [after - before for before, after in pairwise(told)]
    assert [fall for fall in falls if fall < 0] == [pytest.approx(0.05 - 0.3, abs=0.01)]


@pytest.mark.parametrize("kind", ["wrong", "short", "inf", "negative", "missing"])
async def test_eta(sim: Simulator, http: aiohttp.ClientSession, kind: Any) -> None:
    """The remaining time is estimated badly."""
    job_id = await new_job(http)
    sim.faults.add(Eta(kind=kind))
    await asyncio.sleep(10.5)
    document = await read(http, job_id)
    eta, real = document.get("estimated_time_remaining"), 20 * (1 - document["progress"])
    expected = {"wrong": real * 10, "short": real / 10, "inf": 1e308, "negative": -1.0}
    assert eta == (None if kind == "missing" else pytest.approx(expected[kind], rel=0.02))


async def test_unknown_state(sim: Simulator, http: aiohttp.ClientSession) -> None:
    """A state comes that nobody has heard of; the end is as ever."""
    job_id = await new_job(http)
    sim.faults.add(UnknownState(word="pondering"))
    await asyncio.sleep(20.5)
    states = {event["state"] for event in await history(http, job_id)}
    assert states == {"pending", "pondering", "completed"}


async def test_resurrect_after_final(sim: Simulator, http: aiohttp.ClientSession) -> None:
    """A job that has ended runs again, and ends once more."""
    sim.faults.add(ResurrectAfterFinal(seconds=2))
    began, job_id = now(), await new_job(http)
    first = await ended(http, job_id)
    await asyncio.sleep(2.2)
    assert (await read(http, job_id))["state"] == "running"
    again = await ended(http, job_id)
    told = await history(http, job_id)
    assert [event["state"] for event in told[-3:]] == ["completed", "running", "completed"]
    assert (first - began, again - began) == pytest.approx((20, 24), abs=0.3)
    await asyncio.sleep(100)
    assert await history(http, job_id) == told
    assert len(sim.faults.log) == 1
    async with http.get("/metrics") as answer:
        assert "vtrans_open_jobs 0" in await answer.text()


@pytest.mark.parametrize(("tombstone", "status"), [(False, 404), (True, 410)])
async def test_vanish(
    sim: Simulator, http: aiohttp.ClientSession, tombstone: bool, status: int
) -> None:
    """A job is unknown, or gone."""
    job_id = await new_job(http)
    sim.faults.add(Vanish(tombstone=tombstone))
    await asyncio.sleep(2)
    assert (await ask(http, f"/status/{job_id}"))[0] == status
