"""Faults of the channel on real sockets, seen by another library's client."""

import asyncio
import time
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
    Fault,
    Gap,
    HalfOpen,
    Mute,
    RefuseUpgrade,
    Reorder,
    Reset,
    Vanish,
)
from tests.simulator.backend import STANDING, Talk, is_final, make, until, versions


async def test_refused_upgrade(sim: Simulator) -> None:
    """An upgrade can be refused with any status and a Retry-After, as often as is asked for."""
    sim.faults.add(RefuseUpgrade(status=429, retry_after=2.5), count=1)

    with pytest.raises(websockets.InvalidStatus) as caught:
        await websockets.connect(sim.channel_url)

    assert caught.value.response.status_code == 429
    assert caught.value.response.headers["Retry-After"] == "3"
    async with Talk.open(sim.channel_url) as talk:
        await talk.greet()


async def test_accept_and_close(sim: Simulator) -> None:
    """A channel can be opened and closed before a word is said."""
    sim.faults.add(AcceptAndClose(code=1013, reason="later"))
    async with Talk.open(sim.channel_url) as talk:
        assert await talk.closed() == (1013, "later")


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (Close(code=4000, reason="new epoch"), (4000, "new epoch")),
        (Close(code=1000, age=0.1), (1000, "")),
        (Reset(), (None, None)),
        (Reset(age=0.1), (None, None)),
    ],
)
async def test_open_channel_is_ended(
    sim: Simulator, talk: Talk, fault: Fault, expected: tuple[Any, Any]
) -> None:
    """A rule that is added while a channel is open ends it, at once or at its age."""
    sim.faults.add(fault)
    assert await talk.closed() == expected


async def test_age_spares_young_channels(sim: Simulator) -> None:
    """A rule with an age lets each channel live that long."""
    sim.faults.add(Close(age=0.2))
    for _ in range(2):
        began = time.monotonic()
        async with Talk.open(sim.channel_url) as talk:
            await talk.greet()
            await talk.closed()
        assert 0.2 <= time.monotonic() - began < 1.0


async def test_rule_that_begins_later_strikes_then(sim: Simulator, talk: Talk) -> None:
    """A rule with `after` ends an open channel when its time has come."""
    began = time.monotonic()
    sim.faults.add(Close(code=1001), after=0.2)

    assert (await talk.closed())[0] == 1001
    assert 0.2 <= time.monotonic() - began < 1.0


async def test_one_connection_can_be_chosen(sim: Simulator) -> None:
    """A rule with a connection strikes that one alone."""
    async with Talk.open(sim.channel_url) as first, Talk.open(sim.channel_url) as second:
        await first.greet()
        await second.greet()
        sim.faults.add(Close(code=4050), match={"connection": sim.connections[1].number})
        assert (await second.closed())[0] == 4050
        await first.subscribe({}, id=3)


async def test_muted_channel_answers_but_tells_nothing() -> None:
    """A muted channel says welcome, synced and ping, but no events until it heals."""
    async with asyncio.timeout(10), Simulator(delay=0.2, ping=0.1, grace=2.0) as sim:
        number = sim.faults.add(Mute())
        async with Talk.open(sim.channel_url) as talk:
            await talk.greet()
            job_id = await make(sim)
            await talk.subscribe({job_id: 0}, mode="all")
            for _ in range(5):
                await talk.hear("ping")
            assert sim.jobs[job_id].state == "completed"
            assert talk.told() == []

            sim.faults.remove(number)

            events = await talk.events(until=is_final)
    assert versions(events) == list(range(1, events[-1]["version"] + 1))


async def test_events_come_as_soon_as_the_mute_heals() -> None:
    """What was held back is sent at once, not with the next ping."""
    async with (
        asyncio.timeout(5),
        Simulator(ping=1000) as sim,
        Talk.open(sim.channel_url) as talk,
    ):
        await talk.greet()
        sim.faults.add(Mute())
        await talk.subscribe({await make(sim, script=STANDING): 0})
        sim.faults.heal()
        await talk.hear("events")


async def test_half_open_channel_is_silent_until_it_heals() -> None:
    """A half-open channel neither reads nor writes, keeps its socket, and goes on afterwards."""
    async with (
        asyncio.timeout(10),
        Simulator(delay=0.2, ping=0.1, grace=0.1) as sim,
        Talk.open(sim.channel_url) as talk,
    ):
        await talk.greet()
        job_id = await make(sim)
        await talk.subscribe({job_id: 0}, mode="all")
        sim.faults.add(HalfOpen())
        heard = len(talk.heard)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.6):
                await talk.hear()
        # What was under way when the fault began may still arrive.
        assert len(talk.heard) - heard <= 2
        assert len(sim.connections) == 1

        sim.faults.heal()

        events = await talk.events(until=is_final)
    assert versions(events) == list(range(1, events[-1]["version"] + 1))


async def test_frozen_channel_does_not_hold_up_a_leaving_server() -> None:
    """A server leaves although a channel is half-open."""
    async with asyncio.timeout(10), Simulator() as sim, Talk.open(sim.channel_url) as talk:
        await talk.greet()
        sim.faults.add(HalfOpen())
        async with asyncio.timeout(0.5):
            await sim.aclose()
        assert await talk.closed() == (None, None)


@pytest.mark.parametrize(
    ("fault", "options", "expected"),
    [
        (DropEvent(), {"match": {"nth": 2}}, [1, 3, 4]),
        (Duplicate(), {"match": {"nth": 2}}, [1, 2, 2, 3, 4]),
        (DelayEvent(seconds=0.3), {"match": {"nth": 2}}, [1, 3, 4, 2]),
        (Gap(), {"match": {"nth": 2}}, [1, 3, 4]),
        (DropEvent(), {"match": {"job": "nobody"}}, [1, 2, 3, 4]),
    ],
)
async def test_events_are_tampered_with(
    sim: Simulator, talk: Talk, fault: Fault, options: dict[str, Any], expected: list[int]
) -> None:
    """Events can be lost, doubled, late or marked, and nothing else is touched."""
    script = [{"at": n / 20, "state": "running"} for n in range(3)]
    job_id = await make(sim, script=[*script, {"at": 0.15, "state": "completed"}])
    sim.faults.add(fault, **options)

    await talk.subscribe({job_id: 0}, mode="all")
    while len(talk.told()) < len(expected):
        await talk.hear("events")

    assert versions(talk.told()) == expected
    gaps = [event["version"] for event in talk.told() if event.get("gap")]
    assert gaps == ([3] if isinstance(fault, Gap) else [])
    assert len(sim.faults.log) == ("job" not in options["match"])


async def test_events_come_in_another_order(sim: Simulator, talk: Talk) -> None:
    """Reordered events are the same events."""
    job_id = await make(sim, script=[{"at": 0, "state": "running"} for _ in range(12)])
    await until(lambda: sim.jobs[job_id].version == 12)
    sim.faults.add(Reorder(window=12))

    await talk.subscribe({job_id: 0}, mode="all")
    await talk.hear("events") if not talk.told() else None

    assert sorted(versions(talk.told())) == list(range(1, 13)) != versions(talk.told())


async def test_removed_job_says_so_to_its_subscribers(sim: Simulator, talk: Talk) -> None:
    """A job that vanishes with a tombstone is told as `gone`, which is the last event of it."""
    job_id = await make(sim)
    await talk.subscribe({job_id: 0}, mode="all")
    sim.faults.add(Vanish(tombstone=True))

    events = await talk.events(until=is_final)

    assert versions(events) == [1, 2]
    assert [event.get("gone", False) for event in events] == [False, True]
    assert sim.connections[0].jobs == []
    assert (await talk.subscribe({job_id: 2}, epoch=sim.epoch))["errors"] == {job_id: "gone"}


async def test_who_is_refused_a_job_does_not_follow_it(sim: Simulator, talk: Talk) -> None:
    """A subscribe replaces the one before; where it is refused, nothing is left."""
    job_id = await make(sim)
    await talk.subscribe({job_id: 0})
    sim.faults.add(Vanish())
    await until(lambda: sim.faults.log)
    assert sim.connections[0].jobs == [job_id], "a job that vanishes says nothing"

    assert (await talk.subscribe({job_id: 0}, id=2))["errors"] == {job_id: "not_found"}

    assert sim.connections[0].jobs == []


async def test_dropped_final_is_not_sent_again(sim: Simulator, talk: Talk) -> None:
    """A final event that was dropped is lost to the channel; a poll still has it."""
    job_id = await make(sim, script=[{"at": 0.1, "state": "completed"}])
    sim.faults.add(DropEvent())

    await talk.subscribe({job_id: 0})
    await until(lambda: sim.faults.log)
    await talk.subscribe({}, id=2)

    assert talk.told() == []
    async with aiohttp.ClientSession() as http, http.get(f"{sim.url}/status/{job_id}") as answer:
        assert (await answer.json())["state"] == "completed"
