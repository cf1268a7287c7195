"""In a world without faults: everything, once, in order, by push, at next to no cost."""

import asyncio
from typing import Any

import pytest

from tests.promises import e1_push_share, e5_one_socket, s7_present_first
from tests.virtual.scene import is_channel, open_scene


@pytest.mark.parametrize("virtual_seed", range(3))
async def test_ten_minutes(virtual_seed: int) -> None:
    """A job of ten minutes is seen version by version, each within a moment, by push alone."""
    async with open_scene(seed=virtual_seed) as scene:
        [job_id] = await scene.order(delay=600)
        viewer = scene.watch(job_id, mode="all")
        await viewer.end(within=601)
        history = await scene.sim.history(job_id)
        assert viewer.versions == [status.version for status in history]
        assert len(history) > 20
        stats = scene.client.stats()
        e1_push_share(pushes=stats.pushes, polls=stats.poll_updates)
        assert stats.polls == 0, "push brought news every 30 s, so nothing had to be read"
        assert stats.dials == 1


async def test_a_long_job_without_news_is_read_now_and_then() -> None:
    """Of a job that is silent for an hour, an audit a minute or two asks, and push has the news."""
    steps = [
        {"at": 0, "state": "pending"},
        {"at": 1, "state": "running"},
        {"at": 3600, "state": "completed"},
    ]
    async with open_scene() as scene:
        [job_id] = await scene.order(script=steps)
        viewer = scene.watch(job_id)
        await viewer.end(within=3601)
        stats = scene.client.stats()
        e1_push_share(pushes=stats.pushes, polls=stats.poll_updates)
        assert 3600 / 121 <= stats.polls <= 3600 / 60


async def test_one_socket_serves_every_watch() -> None:
    """However many watches there are, they share one channel, and few HTTP connections."""
    async with open_scene(delay="20:40") as scene:
        viewers = [scene.watch(*await scene.order(5), mode="all") for _ in range(20)]
        await scene.live()
        while any(not viewer.task.done() for viewer in viewers):
            e5_one_socket(sum(map(is_channel, scene.network.connections)))
            await asyncio.sleep(1)
        for viewer in viewers:
            await viewer.end(within=0.1)
        stats = scene.client.stats()
        assert stats.dials == 1
        e1_push_share(pushes=stats.pushes, polls=stats.poll_updates)


@pytest.mark.parametrize("mode", ["latest", "all"])
async def test_a_late_watcher_sees_the_present_first(mode: Any) -> None:
    """Who comes when others watch already gets the present status at once, without a request."""
    async with open_scene() as scene:
        [job_id] = await scene.order(delay=60)
        first = scene.watch(job_id, mode="all")
        await asyncio.sleep(30)
        present = first.seen[-1]
        requests = scene.client.stats().requests
        late = scene.watch(job_id, mode=mode, is_late=True)
        await asyncio.sleep(0.001)
        s7_present_first(late.seen, present)
        assert scene.client.stats().requests == requests
        await first.end(within=31)
        await late.end(within=0.1)
        assert late.seen[-1] == first.seen[-1]


@pytest.mark.parametrize("transport", ["auto", "push", "poll"])
async def test_who_comes_after_the_end_gets_the_final(transport: Any) -> None:
    """A job that ended before anybody watched yields its final status, once, and nothing hangs."""
    async with open_scene({"transport": transport}) as scene:
        [job_id] = await scene.order(delay=1)
        await asyncio.sleep(60)
        seen = await scene.watch(job_id).end(within=5)
        assert [status.state for status in seen] == ["completed"]
        again = await scene.watch(job_id).end(within=5)
        assert again[-1].position == seen[-1].position


async def test_one_of_two_watchers_leaves() -> None:
    """The one that stays sees everything to the end; the job is followed until both are gone."""
    async with open_scene() as scene:
        [job_id] = await scene.order(delay=60)
        stays, leaves = scene.watch(job_id, mode="all"), scene.watch(job_id)
        await asyncio.sleep(20)
        await leaves.leave()
        seen_by_then = len(leaves.seen)
        assert scene.client.stats().watched_jobs == 1
        await stays.end(within=41)
        assert len(leaves.seen) == seen_by_then
        assert stays.versions == list(range(1, stays.versions[-1] + 1))


async def test_nobody_watches_any_more() -> None:
    """When the last watcher is gone the job is unsubscribed, and the idle channel closes."""
    async with open_scene() as scene:
        [job_id] = await scene.order(delay=600)
        viewer = scene.watch(job_id)
        await asyncio.sleep(20)
        [connection] = scene.sim.connections
        assert connection.jobs == [job_id]
        await viewer.leave()
        await asyncio.sleep(2)
        assert scene.client.stats().watched_jobs == 0
        assert connection.jobs == []
        await asyncio.sleep(20)
        assert scene.sim.connections == []
        assert scene.client.stats().drops == 0


@pytest.mark.parametrize("mode", ["latest", "all"])
async def test_every_transport_tells_the_same(mode: Any) -> None:
    """Push alone, polls alone and both together give the same finals, and in mode all the same."""
    told: dict[str, list[list[Any]]] = {}
    for transport in ("auto", "push", "poll"):
        async with open_scene(
            {"transport": transport}, delay="5:30", error_probability=0.3
        ) as scene:
            job_ids = await scene.order(20)
            viewers = [scene.watch(job_id, mode=mode) for job_id in job_ids]
            histories = [await viewer.end(within=60) for viewer in viewers]
            if mode == "latest":
                histories = [seen[-1:] for seen in histories]
            told[transport] = [
                [(status.version, status.state, status.error) for status in seen]
                for seen in histories
            ]
    assert told["auto"] == told["push"] == told["poll"]
    assert {seen[-1][1] for seen in told["auto"]} == {"completed", "error"}
