"""The server goes and comes back: with everything, with nothing, or by handing over."""

import asyncio
from typing import Any

import pytest

from simulator import Simulator
from simulator.testing import determined
from tests.promises import e1_push_share, l1_final_in_time
from tests.virtual.scene import now, open_scene, until
from vtrans_hybrid import AsyncClient, JobLost, Source


@pytest.mark.parametrize("down_for", [0, 1, 5, 40])
async def test_a_restart_that_keeps_everything(down_for: float) -> None:
    """Nothing is lost, not one version, and push is back."""
    async with open_scene() as scene:
        job_ids = await scene.order(10, delay="20:90")
        viewer = scene.watch(*job_ids, mode="all")
        await asyncio.sleep(10)
        await scene.sim.restart(down_for=down_for)
        healed_at = now()
        await scene.live(within=45)
        await viewer.end(within=90)
        l1_final_in_time(viewer.ended_at, healed_at=healed_at + 90 - 10 - down_for)
        for job_id in job_ids:
            history = [status.version for status in await scene.sim.history(job_id)]
            seen = [status.version for status in viewer.seen if status.job_id == job_id]
            assert seen == history


@pytest.mark.parametrize("transport", ["auto", "push", "poll"])
@pytest.mark.parametrize("down_for", [0, 20])
async def test_a_restart_that_loses_everything(down_for: float, transport: Any) -> None:
    """Each watch ends with `JobLost`, soon after the server is back, and none hangs."""
    async with open_scene({"transport": transport}) as scene:
        [one] = await scene.order(delay=60)
        others = await scene.order(20, delay=60)
        viewer, crowd = scene.watch(one, mode="all"), scene.watch(*others)
        await asyncio.sleep(10)
        await scene.remember()
        await scene.sim.restart(lose_state="all", down_for=down_for)
        healed_at = now()
        with pytest.raises(JobLost, match="submit it again"):
            await viewer.end(within=45)
        with pytest.raises(JobLost):
            await crowd.end(within=45)
        l1_final_in_time(crowd.ended_at, healed_at=healed_at)
        assert scene.client.stats().watched_jobs == 0
        assert scene.client.stats().failures == 21
        [again] = await scene.order(delay=5)
        await scene.watch(again).end(within=30)


async def test_a_job_that_outlives_its_history() -> None:
    """A server with the same job in a new history goes on from its present, once and in order."""
    async with open_scene() as scene:
        # Two servers on one port that draw the same random numbers give the same ids.
        with determined(5, scene.network.time):
            first = Simulator(seed=1)
            await first.start()
        scene.client = AsyncClient(first.url)
        [status] = await first.create(delay=60)
        viewer = scene.watch(status.job_id, mode="all")
        await asyncio.sleep(30)
        for kept in await first.history(status.job_id):
            scene.chronicle.note(kept)
        await first.aclose()
        with determined(5, scene.network.time):
            second = Simulator(port=first.port, seed=1)
            await second.start()
        [again] = await second.create(delay=60)
        assert again.job_id == status.job_id
        assert again.epoch > status.epoch
        await viewer.end(within=70)
        for kept in await second.history(status.job_id):
            scene.chronicle.note(kept)
        assert [status.skipped for status in viewer.seen].count(None) == 1
        [restarted] = [status for status in viewer.seen if status.skipped is None]
        assert restarted.epoch == again.epoch
        assert viewer.seen[-1].version > restarted.version
        await scene.client.aclose()
        await second.aclose()


@pytest.mark.parametrize("transport", ["auto", "push"])
async def test_a_drain(transport: Any) -> None:
    """The new channel is synced before the old one goes: no poll, no version missed, no drop."""
    async with open_scene({"transport": transport}) as scene:
        job_ids = await scene.order(50, delay="20:40")
        viewer = scene.watch(*job_ids, mode="all")
        await asyncio.sleep(5)
        [old] = scene.sim.connections
        draining = asyncio.create_task(scene.sim.drain(deadline=10, spread=3))
        await until(lambda: len(scene.sim.connections) == 2, within=3.1)
        await until(lambda: old not in scene.sim.connections, within=1)
        await draining
        await viewer.end(within=40)
        stats = scene.client.stats()
        assert (stats.dials, stats.drops, stats.polls) == (2, 0, 0)
        e1_push_share(pushes=stats.pushes, polls=stats.poll_updates, share=1)


async def test_drains_in_a_row() -> None:
    """Three servers that leave one after the other change nothing for the watch."""
    async with open_scene() as scene:
        [job_id] = await scene.order(delay=60)
        viewer = scene.watch(job_id, mode="all")
        for _ in range(3):
            await asyncio.sleep(5)
            await scene.sim.drain(deadline=10, spread=8)
        await viewer.end(within=30)
        assert {status.source for status in viewer.seen} == {Source.PUSH}
        assert scene.client.stats().drops == 0


async def test_a_drain_whose_successor_is_refused() -> None:
    """The old channel serves as long as it lasts, and then polling does."""
    async with open_scene() as scene:
        [job_id] = await scene.order(delay=60)
        viewer = scene.watch(job_id, mode="all")
        await asyncio.sleep(10)
        with scene.network.refuse():
            await scene.sim.drain(deadline=10, spread=1)
            await asyncio.sleep(5)
        await viewer.end(within=50)
        assert viewer.versions == list(range(1, viewer.versions[-1] + 1))
        assert viewer.seen[-1].source == Source.PUSH


async def test_a_server_that_comes_and_goes() -> None:
    """Restarts every ten seconds lose nothing, whatever they interrupt."""
    async with open_scene() as scene:
        job_ids = await scene.order(20, delay="20:60")
        viewer = scene.watch(*job_ids, mode="all")
        for _ in range(5):
            await asyncio.sleep(8)
            await scene.sim.restart(down_for=2)
        await viewer.end(within=60)
        assert scene.client.stats().drops >= 2
