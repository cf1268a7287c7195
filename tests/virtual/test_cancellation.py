"""Leaving at any moment, by cancellation, `break` or close: at once, and with nothing left.

That nothing is left is judged at the end of each scene. The moments are instants of virtual time,
drawn at random and dense where much happens: the first dial, a reconnect, a drain.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from random import Random
from typing import Any

import pytest

from simulator import Simulator
from simulator.faults import HttpStatus
from simulator.testing import Network
from tests.promises import l5_at_once
from tests.virtual.scene import Scene, close, nothing_left, now, open_scene
from vtrans_hybrid import AsyncClient, ClientClosed, JobStatus

Use = Callable[[AsyncClient, str], Awaitable[object]]


async def read_all(client: AsyncClient, job_id: str) -> None:
    """Read a watch to its end."""
    async for _ in client.watch(job_id, mode="all"):
        pass


USES: dict[str, Use] = {
    "watch": read_all,
    "wait": lambda client, job_id: client.wait(job_id),
    "default job": lambda client, _: client.wait(),
    "status": lambda client, job_id: client.status(job_id),
    "statuses": lambda client, job_id: client.statuses([job_id, "x" * 9]),
    "submit": lambda client, _: client.submit("https://example.com/v", language="French"),
    "cancel": lambda client, job_id: client.cancel(job_id),
}


async def stir(sim: Simulator, network: Network) -> None:
    """Let the client dial, sync, lose its channel, poll, reconnect and move."""
    await asyncio.sleep(1)
    with network.refuse():
        network.reset()
        await asyncio.sleep(4)
    await asyncio.sleep(3)
    await sim.drain(deadline=2, spread=1)


def moments(seed: int) -> Iterator[float]:
    """Yield instants in seconds: some within the first dial, some within the trouble after it."""
    random = Random(seed)
    for _ in range(6):
        yield random.uniform(0, 0.15)
    for _ in range(6):
        yield random.uniform(0.15, 12)


@pytest.mark.parametrize("name", USES)
@pytest.mark.parametrize("virtual_seed", range(2))
async def test_cancelling_at_any_moment(virtual_seed: int, name: str, network: Network) -> None:
    """The task ends at once, the job is followed no more, and the client goes on to work."""
    async with Simulator(seed=0, delay=600) as sim:
        for moment in moments(virtual_seed):
            [job] = await sim.create(delay=600)
            async with nothing_left(network, settle=1):
                stirring = asyncio.create_task(stir(sim, network))
                client = AsyncClient(sim.url)
                task = asyncio.ensure_future(USES[name](client, job.job_id))
                await asyncio.sleep(moment)
                began = now()
                task.cancel()
                await asyncio.wait([task])
                l5_at_once(now() - began)
                del task
                await stirring
                await asyncio.sleep(0)  # a watch that nobody holds is forgotten in the next pass
                assert client.stats().watched_jobs == 0
                await close(client)


@pytest.mark.parametrize("virtual_seed", range(6))
async def test_closing_at_any_moment(virtual_seed: int, network: Network) -> None:
    """Whoever waits gets `ClientClosed` at once; what has its answer already keeps it."""
    async with Simulator(seed=0, delay=600) as sim:
        for moment in moments(100 + virtual_seed):
            job, other = await sim.create(delay=600), await sim.create(delay=600)
            async with nothing_left(network, settle=1):
                stirring = asyncio.create_task(stir(sim, network))
                client = AsyncClient(sim.url)
                watching = [
                    asyncio.ensure_future(USES[name](client, job[0].job_id))
                    for name in ("watch", "wait", "default job")
                ]
                asking = [
                    asyncio.ensure_future(USES[name](client, other[0].job_id))
                    for name in ("status", "statuses", "submit", "cancel")
                ]
                await asyncio.sleep(moment)
                await close(client)
                async with asyncio.timeout(0.01):
                    ends = await asyncio.gather(*watching, return_exceptions=True)
                    await asyncio.gather(*asking, return_exceptions=True)
                assert [type(end) for end in ends] == [ClientClosed] * 3
                stirring.cancel()
                await asyncio.gather(stirring, return_exceptions=True)
                network.heal()


TROUBLES: dict[str, Callable[[Scene], object]] = {
    "refused": lambda scene: scene.network.refuse(),
    "black hole": lambda scene: scene.network.blackhole(),
    "silence": lambda scene: scene.network.stall(),
    "half-open, to the client": lambda scene: scene.network.half_open("to_client"),
    "half-open, to the server": lambda scene: scene.network.half_open("to_server"),
    "slow": lambda scene: scene.network.latency(2, 5),
}


@pytest.mark.parametrize("has_dropped", [True, False], ids=["after a drop", "live"])
@pytest.mark.parametrize("name", TROUBLES)
@pytest.mark.parametrize("virtual_seed", range(2))
async def test_closing_with_a_dead_peer(virtual_seed: int, name: str, has_dropped: bool) -> None:
    """With a peer that answers nothing any more, closing is as quick as ever; so is leaving."""
    random = Random(virtual_seed)
    async with open_scene() as scene:
        job_ids = await scene.order(200, delay=600)
        watching = asyncio.create_task(read_all(scene.client, job_ids[0]))
        await scene.live()
        TROUBLES[name](scene)
        if has_dropped:
            scene.network.reset()
        scene.watch(*job_ids)
        await asyncio.sleep(random.uniform(0, 30))
        began = now()
        watching.cancel()
        await asyncio.wait([watching])
        l5_at_once(now() - began)


async def test_closing_between_two_attempts_of_a_request() -> None:
    """A call that waits to repeat its request is ended by the end of the client."""
    async with open_scene() as scene:
        scene.sim.faults.add(HttpStatus(status=503, retry_after=30))
        asking = asyncio.create_task(scene.client.status("job-1"))
        await asyncio.sleep(5)
        await close(scene.client)
        async with asyncio.timeout(0.01):
            with pytest.raises(ClientClosed):
                await asking


async def test_break_out_of_the_loop() -> None:
    """After `break` the job is followed no more, the task goes on, and the client works."""
    async with open_scene() as scene:
        [job_id] = await scene.order(delay=60)
        async for status in scene.client.watch(job_id, mode="all"):
            if status.version == 3:
                break
        await asyncio.sleep(0)
        assert scene.client.stats().watched_jobs == 0
        await asyncio.sleep(2)
        assert scene.sim.connections[0].jobs == []
        assert (await scene.client.wait(job_id)).ok


async def test_an_exception_in_the_body_of_the_loop() -> None:
    """It reaches the caller as it is, and the job is followed no more."""
    async with open_scene() as scene:
        [job_id] = await scene.order(delay=60)

        async def fail() -> None:
            async with scene.client.watch(job_id) as watch:
                async for _ in watch:
                    raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await fail()
        assert scene.client.stats().watched_jobs == 0


async def test_one_update_at_a_time_with_a_timeout_each() -> None:
    """A read of one update that is cancelled loses none: the next read has it."""
    async with open_scene() as scene:
        [job_id] = await scene.order(delay=60)
        seen: list[JobStatus] = []
        watch = scene.client.watch(job_id, mode="all")
        while not seen or not seen[-1].is_final:
            try:
                async with asyncio.timeout(0.7):
                    seen.append(await anext(watch))
            except TimeoutError:
                continue
        assert [status.version for status in seen] == list(range(1, seen[-1].version + 1))


async def test_closing_a_watch() -> None:
    """Iteration ends without an error, in whichever task it goes on."""
    async with open_scene() as scene:
        [job_id] = await scene.order(delay=60)
        watch = scene.client.watch(job_id)
        seen: list[JobStatus] = []

        async def read() -> None:
            seen.extend([status async for status in watch])

        reading = asyncio.create_task(read())
        await asyncio.sleep(10)
        await watch.aclose()
        async with asyncio.timeout(0.01):
            await reading
        assert seen
        assert scene.client.stats().watched_jobs == 0


async def test_closing_twice_and_using_a_closed_client() -> None:
    """The second close does nothing; everything else says that the client is closed, and only so.

    That holds for what was under way, too.
    """
    async with open_scene() as scene:
        [job_id] = await scene.order(delay=60)
        client = scene.client
        viewer = scene.watch(job_id)
        await asyncio.sleep(1)
        reading = asyncio.create_task(client.status(job_id))
        await asyncio.sleep(0.001)
        await asyncio.gather(client.aclose(), client.aclose())
        await client.aclose()
        uses: list[Any] = [
            *(use(client, job_id) for use in USES.values()),
            client.__aenter__(),
            viewer.end(within=0.1),
            reading,
        ]
        for use in uses:
            with pytest.raises(ClientClosed, match=r"^the client is closed$"):
                await use
        for job in (None, job_id):
            with pytest.raises(ClientClosed, match=r"^the client is closed$"):
                client.on_update(print, job)
