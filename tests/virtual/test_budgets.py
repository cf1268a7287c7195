"""What polling and dialing may cost, and the times at which a server wants to hear nothing."""

import asyncio
from email.utils import formatdate
from typing import Any

import pytest

from simulator.faults import HttpStatus
from simulator.testing import WALL_CLOCK_START, Network
from tests.promises import e2_budget, e3_dials, e4_retry_after
from tests.virtual.scene import TRAVEL, is_channel, now, open_scene
from vtrans_hybrid import AsyncClient, PollPolicy, RetryPolicy
from vtrans_hybrid.wire import Plain


@pytest.mark.parametrize("max_rate", [2, 20])
async def test_two_thousand_jobs_read_one_by_one(max_rate: float) -> None:
    """However many jobs there are, in no window are there more requests than the budget has."""
    client = {"dialect": Plain(), "transport": "poll", "poll": PollPolicy(max_rate=max_rate)}
    async with open_scene(client) as scene:
        job_ids = await scene.order(2000, delay="30:300")
        viewer = scene.watch(*job_ids)
        await asyncio.sleep(60)
        times = [call.at for call in scene.reads()]
        assert len(times) >= 60 * max_rate * 0.95, "the budget is there to be used"
        e2_budget(times, rate=max_rate, burst=max_rate * (1 + TRAVEL))
        await viewer.leave()


async def test_versions_that_a_plain_backend_never_kept() -> None:
    """Where each read brings the newest version alone, a jump is delivered, not asked for again."""
    client = {"dialect": Plain(), "transport": "poll", "poll": PollPolicy.fixed(3)}
    async with open_scene(client) as scene:
        [job_id] = await scene.order(delay=10)
        viewer = scene.watch(job_id, mode="all")
        await viewer.end(within=20)
        assert len(viewer.seen) == len(scene.reads()) <= 5
        assert sum(status.skipped or 0 for status in viewer.seen) > 0
        assert [status.gap for status in viewer.seen] == [s.skipped > 0 for s in viewer.seen]
        assert scene.client.stats().gaps_healed == 0


async def test_two_thousand_jobs_read_together() -> None:
    """Bulk reads serve them all for a few requests a minute, and no final is late for it."""
    async with open_scene({"transport": "poll"}) as scene:
        job_ids = await scene.order(2000, delay="30:60")
        viewer = scene.watch(*job_ids)
        await viewer.end(within=70)
        assert len(scene.reads()) <= 200
        assert {call.method for call in scene.reads()} == {"POST"}


@pytest.mark.parametrize("transport", ["auto", "push"])
async def test_nobody_there(transport: Any) -> None:
    """A port that refuses every dial is dialed ten times a minute at most."""
    options = {"transport": transport, "retry": RetryPolicy(max_attempts=10_000)}
    async with open_scene(options) as scene:
        [job_id] = await scene.order(delay=600)
        scene.network.refuse()
        viewer = scene.watch(job_id)
        await asyncio.sleep(300)
        e3_dials(scene.dials, window=59.5)
        assert 10 <= len(scene.dials) <= 50
        if transport == "push":
            e3_dials([dial.at for dial in scene.network.dials])
        await viewer.leave()


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("seconds", [5, 17, 100])
@pytest.mark.parametrize("is_date", [False, True], ids=["seconds", "date"])
async def test_retry_after_of_a_poll(is_date: bool, seconds: int, status: int) -> None:
    """While the server asks for none there is no read, by any watch; afterwards there is."""
    async with open_scene({"transport": "poll"}) as scene:
        job_ids = await scene.order(6, delay="200:300")
        viewers = [scene.watch(job_id) for job_id in job_ids[:5]]
        await asyncio.sleep(20)
        until = formatdate(WALL_CLOCK_START + now() + seconds, usegmt=True)
        retry_after = until if is_date else str(seconds)
        scene.sim.faults.add(HttpStatus(status=status, retry_after=retry_after), count=1)
        viewers.append(scene.watch(job_ids[5]))
        await asyncio.sleep(150)
        [refused] = [call.at for call in scene.reads() if call.status == status]
        # Both, the date and the `Date` that it is measured against, are cut to whole seconds.
        until_at = refused + seconds - (1 if is_date else 0)
        times = [call.at for call in scene.reads()]
        e4_retry_after(times, [(refused, until_at)])
        assert any(until_at <= at <= until_at + 8 for at in times)
        for viewer in viewers:
            await viewer.end(within=200)


async def test_a_retry_after_holds_for_those_who_come_later() -> None:
    """A watch that begins while the server wants quiet waits, too."""
    async with open_scene({"transport": "poll"}) as scene:
        [job_id, other] = await scene.order(2, delay=100)
        scene.sim.faults.add(HttpStatus(status=429, retry_after=30), count=1)
        first = scene.watch(job_id)
        await asyncio.sleep(10)
        late = scene.watch(other)
        await first.end(within=120)
        await late.end(within=120)
        [refused] = [call for call in scene.reads() if call.status == 429]
        e4_retry_after([call.at for call in scene.reads()], [(refused.at, refused.at + 30)])


async def test_retry_after_of_a_call() -> None:
    """A single request waits as long as the server asks before it is sent again."""
    async with open_scene() as scene:
        [job_id] = await scene.order(delay=100)
        scene.sim.faults.add(HttpStatus(status=503, retry_after=9), count=2)
        began = now()
        await scene.client.status(job_id)
        assert now() - began >= 18
        times = [call.at for call in scene.reads()]
        e4_retry_after(times, [(at, at + 9) for at in times[:2]])


async def test_errors_are_no_reason_to_ask_more_often() -> None:
    """A server that answers nothing but 500 for five minutes is asked less and less."""
    async with open_scene({"transport": "poll"}) as scene:
        job_ids = await scene.order(50, delay="20:100")
        scene.sim.faults.add(HttpStatus(status=500), for_=300)
        began = now()
        viewer = scene.watch(*job_ids)
        await asyncio.sleep(300)
        times = [call.at - began for call in scene.reads()]
        assert len([at for at in times if at < 60]) <= 30
        assert len([at for at in times if at >= 60]) <= 20
        await viewer.end(within=45)


async def test_a_crowd_comes_back_in_its_time(network: Network) -> None:
    """Sixty clients that lost their channels together dial over the time that was announced."""
    async with open_scene() as scene:
        [job_id] = await scene.order(delay=40)
        clients = [AsyncClient(scene.sim.url) for _ in range(60)]
        viewers = [scene.watch(job_id, client=client) for client in clients]
        await asyncio.sleep(20)
        before = len(network.dials)
        network.reset(where=is_channel)
        dropped_at = now()
        await asyncio.sleep(2)
        back = [dial.at - dropped_at for dial in list(network.dials)[before:]]
        assert len(back) == 60
        assert max(back) <= 0.25 + TRAVEL
        slices = [sum(at // 0.05 == index for at in back) for index in range(6)]
        assert max(slices) <= 30, f"they came together: {slices}"
        for viewer in viewers:
            await viewer.end(within=90)
        for client in clients:
            await client.aclose()
