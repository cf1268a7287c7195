"""The channel is lost, in every way: nothing is missed, and push is back soon."""

import asyncio
from typing import Any

import pytest
from aiohttp import web

from simulator import Rule
from simulator.faults import AcceptAndClose, RefuseUpgrade
from tests.promises import e1_push_share, e3_dials, e4_retry_after, e5_one_socket
from tests.virtual.portal import open_portal
from tests.virtual.scene import TRAVEL, Scene, is_channel, now, open_scene, until
from vtrans_hybrid import AsyncClient, AuthError, Source

BACK_SOON = 0.5
"""Seconds: the least spread of 0.25, a dial and a sync."""


def link_of(scene: Scene) -> str:
    """Return what the channel is doing."""
    return scene.client.stats().link


@pytest.mark.parametrize("second", range(21))
async def test_a_drop_at_every_second(second: int) -> None:
    """Whenever in a job's life the channel drops, mode all goes on without a hole."""
    async with open_scene() as scene:
        [job_id] = await scene.order(delay=20)
        viewer = scene.watch(job_id, mode="all")
        await asyncio.sleep(second)
        dropped = await scene.sim.drop()
        await viewer.end(within=22 - second)
        history = await scene.sim.history(job_id)
        assert viewer.versions == [status.version for status in history]
        assert scene.client.stats().drops == dropped == min(second, 1)
        assert scene.client.stats().polls == 0, "the channel was back before a read was due"


@pytest.mark.parametrize("after", [0.1, 0.4])
async def test_a_reset_in_the_middle_of_a_subscribe(after: float) -> None:
    """A subscribe of which half got through is sent again, and no job is left out."""
    async with open_scene() as scene:
        job_ids = await scene.order(200, delay="3:6")
        with scene.network.bandwidth(20_000, where=is_channel):
            viewer = scene.watch(*job_ids, mode="all")
            await until(lambda: scene.sim.connections, within=1)
            await asyncio.sleep(after)
            assert scene.network.reset(where=is_channel) == 1
        await viewer.end(within=20)
        stats = scene.client.stats()
        e1_push_share(pushes=stats.pushes, polls=stats.poll_updates)


@pytest.mark.parametrize("code", [1000, 1001, 1011, 1012, 4001])
async def test_a_close_that_comes_back(code: int) -> None:
    """A close that we did not ask for, a clean one too, is not the end: push is back at once."""
    async with open_scene() as scene:
        [job_id] = await scene.order(delay=30)
        viewer = scene.watch(job_id, mode="all")
        await asyncio.sleep(10)
        await scene.sim.drop(how="close", code=code)
        await until(lambda: link_of(scene) != "live", within=0.1)
        await scene.live(within=BACK_SOON)
        await viewer.end(within=21)
        stats = scene.client.stats()
        assert stats.drops == 1
        assert stats.polls == 0


async def test_a_close_that_says_stay_away() -> None:
    """After a close of 4500 polling goes on at once, and push is probed after five minutes."""
    async with open_scene() as scene:
        [job_id] = await scene.order(delay=400)
        viewer = scene.watch(job_id, mode="all")
        await asyncio.sleep(10)
        await scene.sim.drop(how="close", code=4500)
        await until(lambda: link_of(scene) == "backoff" or not scene.sim.connections, within=0.1)
        await until(lambda: scene.client.stats().polls, within=1)
        await asyncio.sleep(280)
        assert scene.client.stats().dials == 1
        assert {status.source for status in viewer.seen[-5:]} == {Source.POLL}
        await scene.live(within=20)
        await viewer.end(within=120)
        assert viewer.seen[-1].source == Source.PUSH


@pytest.mark.parametrize("kind", ["reset", "clean", "stall", "refuse"])
async def test_a_link_that_flaps(kind: str) -> None:
    """A link that goes every two seconds costs ten dials a minute at most, and loses nothing."""
    async with open_scene() as scene:
        job_ids = await scene.order(20, delay="30:90")
        viewer = scene.watch(*job_ids)
        network = scene.network
        for _ in range(20):
            if kind in ("reset", "clean"):
                (network.reset if kind == "reset" else network.close)(where=is_channel)
                await asyncio.sleep(2)
                continue
            with network.stall() if kind == "stall" else network.refuse():
                await asyncio.sleep(2)
                network.reset()
            await asyncio.sleep(2)
        await viewer.end(within=90)
        e3_dials(scene.dials, window=59.5)


async def test_many_jobs_and_a_channel_cut_every_ten_seconds() -> None:
    """Every final comes once, nine updates of ten by push, over one socket at a time."""
    async with open_scene() as scene:
        job_ids = await scene.order(300, delay="20:40")
        scene.network.cut_every(8, 12, where=is_channel)
        viewer = scene.watch(*job_ids)
        while not viewer.task.done():
            e5_one_socket(sum(map(is_channel, scene.network.connections)))
            await asyncio.sleep(0.25)
        await viewer.end(within=0.1)
        assert now() - viewer.times[0] < 42
        stats = scene.client.stats()
        assert stats.drops >= 3
        e1_push_share(pushes=stats.pushes, polls=stats.poll_updates, share=0.9)


async def test_a_server_that_accepts_and_closes() -> None:
    """It gets ten dials a minute at most, and the watch goes on by polling to its end."""
    async with open_scene() as scene:
        scene.sim.faults.add(AcceptAndClose())
        [job_id] = await scene.order(delay=200)
        viewer = scene.watch(job_id, mode="all")
        await viewer.end(within=215)
        e3_dials(scene.upgrades(), window=60 - TRAVEL)
        assert 10 <= len(scene.upgrades()) <= 31
        assert {status.source for status in viewer.seen} == {Source.POLL}
        scene.sim.faults.heal()
        [job_id] = await scene.order(delay=90)
        viewer = scene.watch(job_id)
        await viewer.end(within=91)
        assert viewer.seen[-1].source == Source.PUSH


@pytest.mark.parametrize("status", [429, 503])
async def test_a_refused_upgrade_says_when_to_come_back(status: int) -> None:
    """The Retry-After of a refused upgrade is a lower bound, while polling goes on."""
    async with open_scene() as scene:
        rule = scene.sim.faults.add(RefuseUpgrade(status=status, retry_after=40))
        [job_id] = await scene.order(delay=200)
        viewer = scene.watch(job_id)
        await asyncio.sleep(100)
        assert scene.sim.faults.struck(rule) == 3
        scene.sim.faults.heal()
        await viewer.end(within=101)
        asked = [(at, at + 40) for at in scene.upgrades()[:3]]
        e4_retry_after(scene.upgrades(), asked)
        assert viewer.seen[-1].source == Source.PUSH


@pytest.mark.parametrize("status", [401, 403, 404, 426])
async def test_an_upgrade_refused_for_good(status: int) -> None:
    """Push is off and polling goes on; after five minutes push is probed, and back."""
    async with open_scene() as scene:
        rule = scene.sim.faults.add(RefuseUpgrade(status=status))
        [job_id] = await scene.order(delay=400)
        viewer = scene.watch(job_id)
        await asyncio.sleep(290)
        assert link_of(scene) == "off"
        assert scene.sim.faults.struck(rule) == 1
        assert scene.client.stats().polls >= 5
        scene.sim.faults.heal()
        await scene.live(within=15)
        await viewer.end(within=111)
        assert viewer.seen[-1].source == Source.PUSH


async def test_a_page_of_html_instead_of_a_channel() -> None:
    """What answers the upgrade with 200 is no channel: push is off, and polling goes on."""

    def answer(request: web.Request) -> web.Response | None:
        if request.path != "/events":
            return None
        upgrades.append(now())
        return web.Response(text="<h1>Sign in</h1>", content_type="text/html")

    upgrades: list[float] = []
    async with open_scene() as scene, open_portal(lambda: scene.sim.url, answer) as url:
        scene.client = AsyncClient(url)
        [job_id] = await scene.order(delay=250)
        viewer = scene.watch(job_id, mode="all")
        await viewer.end(within=265)
        assert len(upgrades) == 1
        assert {status.source for status in viewer.seen} == {Source.POLL}
        await scene.client.aclose()


@pytest.mark.parametrize("transport", ["auto", "push", "poll"])
async def test_a_wrong_key(transport: Any) -> None:
    """A key that the server does not know ends every watch at once, by an error that says so."""
    client = {"api_key": "wrong", "transport": transport}
    async with open_scene(client, api_keys=["right"]) as scene:
        viewer = scene.watch("job-1")
        with pytest.raises(AuthError, match="API key"):
            await viewer.end(within=5)


async def test_drops_all_the_time_for_an_hour() -> None:
    """An hour of jobs with a drop every minute at random is as good as one without."""
    async with open_scene() as scene:
        scene.network.cut_every(30, 90, where=is_channel)
        for _ in range(12):
            job_ids = await scene.order(3, delay="200:300")
            await scene.watch(*job_ids, mode="all").end(within=302)
        stats = scene.client.stats()
        assert stats.drops >= 30
        e1_push_share(pushes=stats.pushes, polls=stats.poll_updates, share=0.97)


async def test_a_fault_of_one_connection_is_over_with_it() -> None:
    """The second connection is as good as if there had been no first."""
    async with open_scene() as scene:
        scene.sim.faults.add(Rule(fault="mute", match={"connection": 1}))
        [job_id] = await scene.order(delay=60)
        viewer = scene.watch(job_id, mode="all")
        await asyncio.sleep(20)
        await scene.sim.drop()
        await viewer.end(within=41)
        assert viewer.versions == list(range(1, viewer.versions[-1] + 1))
