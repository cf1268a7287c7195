"""What is broken without saying so: silence, lies, and events that go astray."""

import asyncio
from typing import Any, Literal

import pytest

from simulator import Match
from simulator.faults import (
    DelayEvent,
    DropEvent,
    Duplicate,
    Fault,
    Gap,
    HalfOpen,
    Mute,
    Reorder,
    ResendOld,
)
from tests.promises import l1_final_in_time, l2_silence_noticed
from tests.virtual.scene import Scene, is_channel, now, open_scene, until
from vtrans_hybrid import Source


async def noticed(scene: Scene) -> float:
    """Wait until the client has given the channel up, and return when it did."""
    drops = scene.client.stats().drops
    return await until(lambda: scene.client.stats().drops > drops, within=60)


@pytest.mark.parametrize("count", [1, 1500])
@pytest.mark.parametrize("direction", ["to_client", "to_server"])
async def test_a_half_open_link(direction: Literal["to_client", "to_server"], count: int) -> None:
    """It is noticed in time, with a large subscribe on its way too, and finals come after it."""
    async with open_scene() as scene:
        [job_id] = await scene.order(delay=60)
        viewer = scene.watch(job_id)
        others = await scene.order(count, delay="600")
        await asyncio.sleep(10)
        since = now()
        with scene.network.half_open(direction, where=is_channel):
            crowd = scene.watch(*others)
            l2_silence_noticed(await noticed(scene), silent_since=since)
            await asyncio.sleep(15)
        await viewer.end(within=40)
        l1_final_in_time(viewer.ended_at, healed_at=viewer.times[0] + 60, limit=1)
        assert {status.job_id for status in crowd.seen} == set(others)
        await crowd.leave()


async def test_a_half_open_link_to_everything() -> None:
    """With reads dead as well, the final comes soon after the link is whole again."""
    async with open_scene() as scene:
        job_ids = await scene.order(5, delay="10:20")
        viewer = scene.watch(*job_ids, mode="all")
        await asyncio.sleep(5)
        since = now()
        with scene.network.half_open("to_client"):
            l2_silence_noticed(await noticed(scene), silent_since=since)
            await asyncio.sleep(60)
        healed_at = now()
        await viewer.end(within=45)
        l1_final_in_time(viewer.ended_at, healed_at=healed_at)


async def test_a_server_that_stops_reading_and_writing() -> None:
    """A channel whose server hangs is given up, and reads that still work bring the final."""
    async with open_scene() as scene:
        [job_id] = await scene.order(delay=40)
        viewer = scene.watch(job_id)
        await asyncio.sleep(10)
        since = now()
        scene.sim.faults.add(HalfOpen(), match=Match(connection=1))
        l2_silence_noticed(await noticed(scene), silent_since=since)
        await viewer.end(within=31)


async def test_a_server_that_is_frozen_for_half_a_minute() -> None:
    """It is noticed in time, and finals that were due meanwhile come right after it."""
    async with open_scene() as scene:
        job_ids = await scene.order(20, delay="10:25")
        viewer = scene.watch(*job_ids)
        await asyncio.sleep(5)
        since = now()
        with scene.network.stall(), scene.network.blackhole():
            l2_silence_noticed(await noticed(scene), silent_since=since)
            await asyncio.sleep(since + 30 - now())
        await viewer.end(within=45)
        l1_final_in_time(viewer.ended_at, healed_at=since + 30, limit=10)


@pytest.mark.parametrize("virtual_seed", range(5))
async def test_an_outage_of_ten_minutes(virtual_seed: int) -> None:
    """After the whole network was away for long, the final comes within the promised time."""
    async with open_scene(seed=virtual_seed) as scene:
        job_ids = await scene.order(5, delay="30:300")
        viewer = scene.watch(*job_ids, mode="all")
        await asyncio.sleep(5)
        with scene.network.refuse():
            scene.network.reset()
            await asyncio.sleep(600)
        healed_at = now()
        await viewer.end(within=60)
        l1_final_in_time(viewer.ended_at, healed_at=healed_at)


@pytest.mark.parametrize("mode", ["latest", "all"])
async def test_a_muted_channel(mode: Any) -> None:
    """A channel that is open and answers, but brings nothing, does not keep the final away."""
    async with open_scene() as scene:
        [job_id] = await scene.order(delay=30)
        viewer = scene.watch(job_id, mode=mode)
        await asyncio.sleep(5)
        scene.sim.faults.add(Mute())
        await viewer.end(within=32)
        assert viewer.seen[-1].source == Source.POLL
        assert scene.client.stats().drops == 0, "one job is no proof that the channel lies"


async def test_a_channel_that_lies_is_replaced() -> None:
    """When polls have found three times what push did not bring, the connection goes."""
    async with open_scene() as scene:
        job_ids = await scene.order(6, delay="20:40")
        [late] = await scene.order(delay=120)
        viewer = scene.watch(*job_ids, late, mode="all")
        await asyncio.sleep(5)
        scene.sim.faults.add(Mute(), match=Match(connection=1))
        await until(lambda: scene.client.stats().drops, within=45)
        await viewer.end(within=120)
        assert scene.client.stats().dials == 2
        assert viewer.seen[-1].source == Source.PUSH


async def test_the_final_event_is_never_sent() -> None:
    """A final that push lost is found by the read behind the predicted end."""
    async with open_scene() as scene:
        job_ids = await scene.order(5, delay="20:40")
        viewer = scene.watch(*job_ids)
        await asyncio.sleep(15)
        scene.sim.faults.add(DropEvent())
        await viewer.end(within=36)
        finals = [status for status in viewer.seen if status.is_final]
        assert {status.source for status in finals} == {Source.POLL}


async def test_an_event_that_is_lost_leaves_no_hole() -> None:
    """In mode all the hole that a lost event leaves is noticed at the next, and closed."""
    async with open_scene() as scene:
        scene.sim.faults.add(DropEvent(), probability=0.3, seed=5)
        job_ids = await scene.order(5, delay="20:40")
        viewer = scene.watch(*job_ids, mode="all")
        await viewer.end(within=48)
        for job_id in job_ids:
            history = [status.version for status in await scene.sim.history(job_id)]
            seen = [status.version for status in viewer.seen if status.job_id == job_id]
            assert seen == history
        assert scene.client.stats().gaps_healed >= 5


FAULTS = {
    "duplicate": Duplicate(),
    "reorder": Reorder(window=4, seconds=3),
    "delay": DelayEvent(seconds=4),
    "gap": Gap(),
    "drop": DropEvent(),
}


@pytest.mark.parametrize("mode", ["latest", "all"])
@pytest.mark.parametrize("name", FAULTS)
async def test_events_that_go_astray(name: str, mode: Any) -> None:
    """Doubled, mixed up, late, lost or left out: each watcher still sees a history in order."""
    fault: Fault = FAULTS[name]
    async with open_scene() as scene:
        rule = scene.sim.faults.add(fault, probability=0.5, seed=name)
        job_ids = await scene.order(5, delay="20:30")
        viewers = [scene.watch(job_id, mode=mode) for job_id in job_ids]
        for viewer in viewers:
            await viewer.end(within=45)
        assert scene.sim.faults.struck(rule) >= 10
        if mode == "all" and name == "gap":
            assert any(status.gap and status.skipped for v in viewers for status in v.seen)
        if name == "duplicate":
            assert scene.client.stats().duplicates >= 10


@pytest.mark.parametrize("epoch", ["0" * 26, "Z" * 26])
@pytest.mark.parametrize("transport", ["auto", "push"])
async def test_events_of_a_history_that_never_was(transport: Any, epoch: str) -> None:
    """A damaged epoch costs the connection, before or after whichever it sorts, and no update."""
    async with open_scene({"transport": transport}) as scene:
        rule = scene.sim.faults.add(ResendOld(epoch=epoch), probability=0.2, count=3, seed=1)
        job_ids = await scene.order(3, delay="20:30")
        viewer = scene.watch(*job_ids, mode="all")
        await viewer.end(within=36)
        struck = scene.sim.faults.struck(rule)
        assert struck == 3
        assert 1 <= scene.client.stats().drops <= struck
        assert {status.epoch for status in viewer.seen} == {scene.sim.epoch}


@pytest.mark.parametrize("virtual_seed", range(3))
async def test_a_slow_and_crumbling_network(virtual_seed: int) -> None:
    """Pieces of frames that come late and in any size change nothing but the time."""
    async with open_scene(seed=virtual_seed) as scene:
        scene.network.latency(0.05, 1.0)
        scene.network.slice()
        job_ids = await scene.order(10, delay="20:30")
        viewer = scene.watch(*job_ids, mode="all")
        await viewer.end(within=50)
