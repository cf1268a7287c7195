"""Faults of the channel, seen by websockets' client."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import websockets

from simulator import Simulator
from simulator.faults import (
    AcceptAndClose,
    Close,
    DelayEvent,
    DropEvent,
    Duplicate,
    EventAfterFinal,
    Fault,
    FinalOnlyByPoll,
    Gap,
    GarbageFrame,
    HalfOpen,
    HeartbeatStop,
    Mute,
    NoPong,
    Oversize,
    RefuseUpgrade,
    Reorder,
    ResendOld,
    Reset,
    SlowReader,
    SnapshotLost,
    WrongJob,
)
from tests.simulator.backend import Talk, is_final, versions
from tests.virtual.faults.views import now, read

STEPS = [{"at": n, "state": "running", "progress": n / 10} for n in range(5)]
SCRIPT = [*STEPS, {"at": 5, "state": "completed"}]


@pytest.fixture
async def talk(sim: Simulator) -> AsyncIterator[Talk]:
    """Open a channel that has been greeted."""
    async with Talk.open(sim.channel_url) as conversation:
        await conversation.greet()
        yield conversation


async def tell(sim: Simulator, talk: Talk, fault: Fault, **options: Any) -> list[dict[str, Any]]:
    """Return the events that a channel tells of a job of six versions under a fault."""
    sim.faults.add(fault, **options)
    [job] = await sim.create(script=SCRIPT)
    await talk.subscribe({job.job_id: 0}, mode="all", epoch=sim.epoch)
    return await heard(talk, 8)


async def heard(talk: Talk, seconds: float) -> list[dict[str, Any]]:
    """Listen for a while, and return all events so far."""
    try:
        async with asyncio.timeout(seconds):
            await talk.hear("never")
    except TimeoutError:
        return talk.told()


async def refusal(sim: Simulator) -> Any:
    """Return the answer to an upgrade that is refused."""
    with pytest.raises(websockets.InvalidStatus) as caught:
        await websockets.connect(sim.channel_url)
    return caught.value.response


async def test_refuse_upgrade(sim: Simulator) -> None:
    """An upgrade is refused, with a Retry-After."""
    sim.faults.add(RefuseUpgrade(status=429, retry_after=2), match={"path": "/events"})
    answer = await refusal(sim)
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "2")


async def test_accept_and_close(sim: Simulator) -> None:
    """A channel opens, and closes before a word is said."""
    sim.faults.add(AcceptAndClose(code=1013, reason="later"))
    async with Talk.open(sim.channel_url) as talk:
        assert await talk.closed() == (1013, "later")
        assert talk.heard == []


async def test_close(sim: Simulator, talk: Talk) -> None:
    """An open channel is closed at its age."""
    began = now()
    sim.faults.add(Close(code=4050, reason="x", age=7))
    assert await talk.closed() == (4050, "x")
    assert now() - began == pytest.approx(7, abs=0.1)


async def test_reset(sim: Simulator, talk: Talk) -> None:
    """An open channel ends without a close frame."""
    sim.faults.add(Reset())
    assert await talk.closed() == (None, None)


async def test_mute(sim: Simulator, talk: Talk) -> None:
    """A channel answers and pings but has no events, until it heals."""
    assert await tell(sim, talk, Mute()) == []
    assert {message["type"] for message in talk.heard} >= {"welcome", "synced", "ping"}
    sim.faults.heal()
    assert versions(await heard(talk, 0.1)) == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("direction", ["in", "out", None])
async def test_half_open(sim: Simulator, direction: Any) -> None:
    """Nothing passes one way: the server misses the pongs, or the client hears nothing."""
    async with Talk.open(sim.channel_url, close_timeout=0.1) as talk:
        await talk.greet()
        sim.faults.add(HalfOpen(direction=direction))
        before = len(talk.heard)
        if direction == "in":
            assert await talk.closed() == (4002, "no pong")
            assert len(talk.heard) > before
        else:
            await heard(talk, 60)
            assert len(talk.heard) == before
            assert len(sim.connections) == 1
            sim.faults.heal()
            await talk.subscribe({})


async def test_no_pong(sim: Simulator, talk: Talk) -> None:
    """A ping of the WebSocket protocol is not answered until it heals."""
    sim.faults.add(NoPong())
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(await talk.socket.ping(), 3)
    await talk.subscribe({})  # the rest works
    sim.faults.heal()
    await asyncio.wait_for(await talk.socket.ping(), 1)


async def test_heartbeat_stop(sim: Simulator, talk: Talk) -> None:
    """No pings come, for minutes; the rest goes on."""
    sim.faults.add(HeartbeatStop())
    before = len(talk.heard)
    await heard(talk, 300)
    assert len(talk.heard) - before <= 1, "one was on its way"
    await talk.subscribe({})


async def test_slow_reader(sim: Simulator, talk: Talk) -> None:
    """What the client says is read one frame at a time."""
    sim.faults.add(SlowReader(seconds=2))
    began = now()
    for number in range(4):
        await talk.say("subscribe", id=number, jobs={})
    for _ in range(4):
        await talk.hear("synced")
    assert now() - began == pytest.approx(6, abs=0.2)


async def test_drop_event(sim: Simulator, talk: Talk) -> None:
    """An event is missing."""
    told = await tell(sim, talk, DropEvent(), match={"nth": 3})
    assert versions(told) == [1, 2, 4, 5, 6]


async def test_snapshot_lost(sim: Simulator, talk: Talk) -> None:
    """The first event after a subscribe is missing, though `synced` came."""
    told = await tell(sim, talk, SnapshotLost())
    assert talk.heard[1] == {"type": "synced", "id": 1}
    assert versions(told) == [2, 3, 4, 5, 6]


async def test_final_only_by_poll(sim: Simulator, talk: Talk, http: aiohttp.ClientSession) -> None:
    """The final event never comes; a read knows."""
    told = await tell(sim, talk, FinalOnlyByPoll())
    assert versions(told) == [1, 2, 3, 4, 5]
    assert (await read(http, told[0]["job_id"]))["state"] == "completed"


async def test_duplicate(sim: Simulator, talk: Talk) -> None:
    """An event comes twice."""
    told = await tell(sim, talk, Duplicate(), match={"nth": 3})
    assert versions(told) == [1, 2, 3, 3, 4, 5, 6]


@pytest.mark.parametrize("epoch", [None, "0OLD"])
async def test_resend_old(sim: Simulator, talk: Talk, epoch: str | None) -> None:
    """Behind an event comes the one before, perhaps under an older epoch."""
    told = await tell(sim, talk, ResendOld(epoch=epoch))
    assert versions(told) == [1, 2, 1, 3, 2, 4, 3, 5, 4, 6, 5]
    assert told[2]["epoch"] == (epoch or sim.epoch)
    assert told[3]["epoch"] == sim.epoch


async def test_event_after_final(sim: Simulator, talk: Talk, http: aiohttp.ClientSession) -> None:
    """Behind the final event the job runs again, which no read confirms."""
    told = await tell(sim, talk, EventAfterFinal())
    assert [(event["version"], event["state"]) for event in told[-2:]] == [
        (6, "completed"),
        (7, "running"),
    ]
    assert (await read(http, told[0]["job_id"]))["version"] == 6


async def test_wrong_job(sim: Simulator, talk: Talk) -> None:
    """Behind an event comes one of a job that was not subscribed."""
    told = await tell(sim, talk, WrongJob(), match={"nth": 2})
    assert versions(told) == [1, 2, 2, 3, 4, 5, 6]
    assert len({event["job_id"] for event in told}) == 2


async def test_reorder(sim: Simulator, talk: Talk) -> None:
    """The same events come in another order."""
    told = await tell(sim, talk, Reorder(window=6, seconds=10))
    assert sorted(versions(told)) == [1, 2, 3, 4, 5, 6] != versions(told)


async def test_delay_event(sim: Simulator, talk: Talk) -> None:
    """An event is overtaken by those after it."""
    told = await tell(sim, talk, DelayEvent(seconds=2.5), match={"nth": 2})
    assert versions(told) == [1, 3, 4, 2, 5, 6]


async def test_gap(sim: Simulator, talk: Talk) -> None:
    """Some events are missing, and the next one says so."""
    told = await tell(sim, talk, Gap(n=3), match={"nth": 2})
    assert [(event["version"], event.get("gap", False)) for event in told] == [
        (1, False),
        (5, True),
        (6, False),
    ]


@pytest.mark.parametrize("kind", ["json", "binary", "unknown", "wrong_type", "nan"])
async def test_garbage_frame(sim: Simulator, talk: Talk, kind: Any) -> None:
    """A frame comes that is no message, and then the event."""
    [job] = await sim.create(script=SCRIPT)
    sim.faults.add(GarbageFrame(kind=kind), count=1)
    await talk.say("subscribe", id=1, jobs={job.job_id: 0})
    frame = await talk.socket.recv()
    assert isinstance(frame, bytes) == (kind == "binary")
    if kind in ("json", "binary"):
        with pytest.raises(ValueError):
            json.loads(frame)
    elif kind == "unknown":
        assert json.loads(frame)["type"] == "weather"
    else:
        assert isinstance(json.loads(frame)["events"], dict) or "NaN" in str(frame)
    assert versions((await talk.hear("events"))["events"]) == [1]


async def test_oversize(sim: Simulator, talk: Talk) -> None:
    """A frame comes that is as large as was asked for, and then the event."""
    [job] = await sim.create(script=SCRIPT)
    sim.faults.add(Oversize(size=900_000), count=1)
    await talk.say("subscribe", id=1, jobs={job.job_id: 0})
    assert len(await talk.socket.recv()) == 900_000
    assert is_final((await heard(talk, 6))[-1])
