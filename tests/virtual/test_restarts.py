"""The server goes and comes back: with everything, with nothing, or by handing over."""

import asyncio
from typing import Any

import pytest
from aiohttp import web

from simulator import Simulator
from simulator.testing import determined
from tests.promises import e1_push_share, l1_final_in_time
from tests.virtual.portal import open_portal
from tests.virtual.scene import Scene, now, open_scene, until
from vtrans_hybrid import AsyncClient, JobLost, PollPolicy, Source


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


async def like_the_last(scene: Scene, port: int = 0) -> Simulator:
    """Start a server that has a history of its own and gives the same ids as the one before."""
    with determined(5, scene.network.time):  # it draws the same random numbers
        simulator = Simulator(port=port, seed=1)
        await simulator.start()
    return simulator


async def test_a_job_that_outlives_its_history() -> None:
    """A server with the same job in a new history goes on from its present, once and in order."""
    async with open_scene() as scene:
        first = await like_the_last(scene)
        scene.client = AsyncClient(first.url)
        [status] = await first.create(delay=60)
        viewer = scene.watch(status.job_id, mode="all")
        await asyncio.sleep(30)
        await scene.remember(first)
        await first.aclose()
        second = await like_the_last(scene, first.port)
        [again] = await second.create(delay=60)
        assert again.job_id == status.job_id
        assert again.epoch > status.epoch
        await viewer.end(within=70)
        await scene.remember(second)
        [restarted] = [status for status in viewer.seen if status.skipped is None]
        assert restarted.epoch == again.epoch
        assert viewer.seen[-1].version > restarted.version
        await scene.client.aclose()
        await second.aclose()


async def test_two_servers_with_different_histories() -> None:
    """Reads that meet now one, now the other, show the newer history alone once it was seen."""
    async with open_scene() as scene:
        servers = [await like_the_last(scene)]
        [status] = await servers[0].create(delay=300)
        await asyncio.sleep(30)
        servers.append(await like_the_last(scene))
        [again] = await servers[1].create(delay=60)
        assert again.job_id == status.job_id
        asked: list[int] = []

        def choose() -> str:
            asked.append(len(asked) % 2)
            return servers[asked[-1]].url

        async with open_portal(choose, refuse_channel) as url:
            scene.client = AsyncClient(url, poll=PollPolicy.fixed(3))
            viewer = scene.watch(status.job_id, mode="all")
            await viewer.end(within=120)
            assert viewer.seen[0].epoch == status.epoch
            assert {status.epoch for status in viewer.seen[1:]} == {status.epoch, again.epoch}
            assert viewer.seen[-1].epoch == again.epoch
            assert asked.count(0) >= 3
            await scene.client.aclose()
        for server in servers:
            await scene.remember(server)
            await server.aclose()


def refuse_channel(request: web.Request) -> web.Response | None:
    """Have no channel."""
    return web.Response(status=404) if request.path == "/events" else None


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
