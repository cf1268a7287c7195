"""A reader that is slow: bounded, coalesced, counted, and nobody else's business."""

import asyncio
from typing import Any

import pytest

from simulator import Pace, Simulator
from simulator.testing import Network
from tests.promises import s3_final_once_and_last
from tests.simulator.backend import Talk, make
from tests.virtual.scene import now, open_scene
from vtrans_hybrid import JobStatus


def counted(seen: list[JobStatus]) -> int:
    """Return how many versions a reader was told of, those that it skipped too."""
    return sum(1 + (status.skipped or 0) for status in seen)


@pytest.mark.parametrize("transport", ["auto", "poll"])
@pytest.mark.parametrize("mode", ["latest", "all"])
async def test_what_was_not_read_in_time_is_counted(mode: Any, transport: Any) -> None:
    """What a slow reader sees and what it skipped add up to the final version."""
    async with open_scene({"transport": transport}) as scene:
        job_ids = await scene.order(5, delay=30)
        slow = [scene.watch(job_id, mode=mode, pause=4) for job_id in job_ids]
        quick = scene.watch(*job_ids, mode="all")
        await quick.end(within=60)
        for viewer in slow:
            await viewer.end(within=120)
            final = viewer.seen[-1]
            assert final.is_final
            assert counted(viewer.seen) == final.version
            if mode == "all":
                assert len(viewer.seen) == final.version, "a few statuses fit the buffer"
            else:
                assert len(viewer.seen) < 12


@pytest.mark.parametrize("mode", ["latest", "all"])
async def test_a_reader_that_stands_still(mode: Any) -> None:
    """The buffer is bounded; progress goes first, the changes of state and the final never."""
    pace = Pace(updates=2000, min_interval=0.25)
    async with open_scene(pace=pace) as scene:
        [job_id] = await scene.order(delay=600)
        quick = scene.watch(job_id, mode="all")
        watch = scene.client.watch(job_id, mode=mode)
        seen = [await anext(watch)]
        await quick.end(within=601)
        inbox = watch._inbox.unread
        assert len(inbox) == (1 if mode == "latest" else 256)
        seen += [status async for status in watch]
        assert quick.seen[-1].version > 1900
        assert counted(seen) == counted(quick.seen) == quick.seen[-1].version
        s3_final_once_and_last(seen, ended=[job_id])
        if mode == "all":
            assert [status.state for status in seen[:2]] == ["pending", "running"]
            assert [status.version for status in seen[-200:]] == [
                status.version for status in quick.seen[-200:]
            ]


async def test_a_thousand_versions_at_once_are_no_reason_to_skip() -> None:
    """What an outage held back comes in one answer; a reader that is not slow gets all of it."""
    async with open_scene({"transport": "poll"}, pace=Pace(updates=50)) as scene:
        job_ids = await scene.order(40, delay=60)
        quick = scene.watch(*job_ids, mode="all")
        slow = scene.watch(*job_ids, mode="all", pause=0.01)
        await asyncio.sleep(5)
        with scene.network.stall():
            await asyncio.sleep(45)
        await quick.end(within=45)
        await slow.end(within=45)
        assert len(quick.seen) == sum(scene.sim.jobs[job_id].version for job_id in job_ids)
        assert counted(slow.seen) == len(quick.seen) > len(slow.seen)


async def test_slow_readers_hold_up_nobody() -> None:
    """Forty readers that never read cost a quick one nothing, and the channel lives."""
    async with open_scene() as scene:
        job_ids = await scene.order(20, delay="20:30")
        idle = [scene.client.watch_all(job_ids, mode="all") for _ in range(40)]
        for watch in idle:
            await anext(watch)
        quick = scene.watch(*job_ids, mode="all", is_late=True)
        await quick.end(within=31)
        assert scene.client.stats().drops == 0
        for watch in idle:
            await watch.aclose()


async def test_a_reader_that_blocks_the_loop() -> None:
    """A body that blocks for longer than the channel's patience is no reason to leave it."""
    async with open_scene() as scene:
        [job_id] = await scene.order(delay=60)
        viewer = scene.watch(job_id, mode="all")
        await asyncio.sleep(10)
        loop: Any = asyncio.get_running_loop()
        for seconds in (3, 12, 30):
            # What a body does that computes for so long: the clock goes on, the loop does not.
            loop._now += seconds
            await asyncio.sleep(1)
        await viewer.end(within=61)
        assert viewer.versions == list(range(1, viewer.versions[-1] + 1))


async def test_a_little_more_is_no_reason_to_wait_twice_as_long(network: Network) -> None:
    """A reader that took something after a while, and then nothing, has 10 s from there."""
    async with Simulator(seed=0) as sim:
        jobs = [await make(sim, title="x" * 400, delay=60) for _ in range(40)]
        await asyncio.sleep(61)  # so that there is much to say
        async with Talk.open(sim.channel_url) as slow:
            await slow.greet()
            network.half_open("to_client")
            await slow.say("subscribe", id=1, mode="all", jobs=dict.fromkeys(jobs, 0))
            await asyncio.sleep(1)
            network.heal()
            await asyncio.sleep(0.03)  # some of it is let through
            network.half_open("to_client")
            took_at = now()
            while sim.connections:
                await slow.say("pong", n=1)
                await asyncio.sleep(0.1)
            assert 10 <= now() - took_at <= 11.5
            network.heal()
