"""What virtual time shows is what real sockets show: the same scenes have the same outcome.

Each scene is played in both worlds and is held to one row of `OUTCOMES`. On real sockets they play
side by side, for they wait most of the while.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial

import pytest

from simulator.faults import Close, HttpStatus
from simulator.testing import run
from tests.sockets.worlds import Open, open_real, open_virtual
from vtrans_hybrid import AsyncClient, Job, JobStatus, VtransError

Outcome = tuple[object, ...]
Scene = Callable[[Open], Awaitable[Outcome]]

VIDEO = "https://example.com/talk.mp4"
LIMIT = 20.0  # seconds


async def order(client: AsyncClient) -> Job:
    """Order a translation."""
    return await client.submit(VIDEO, language="Spanish")


async def follow(client: AsyncClient, job: Job) -> list[JobStatus]:
    """Return every status of a job."""
    return [status async for status in client.watch(job, mode="all", timeout=LIMIT)]


async def seconds(condition: Callable[[], bool]) -> float:
    """Wait for a condition, and return how long it took."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    async with asyncio.timeout(LIMIT):
        while not condition():  # noqa: ASYNC110 (a counter has no event)
            await asyncio.sleep(0.01)
    return loop.time() - began


def told(statuses: list[JobStatus]) -> Outcome:
    """Return the states in order, and whether every version from the first came once, in order."""
    states = list(dict.fromkeys(str(status.state) for status in statuses))
    versions = [status.version for status in statuses]
    return states, versions == list(range(1, versions[-1] + 1))


async def completed(open_world: Open) -> Outcome:
    """Nothing happens."""
    async with open_world() as (_, client):
        statuses = await follow(client, await order(client))
        stats = client.stats()
        return *told(statuses), stats.drops, stats.dials, stats.poll_updates


async def failed(open_world: Open) -> Outcome:
    """The job ends in `error`."""
    async with open_world(sim={"error_probability": 1}) as (_, client):
        job = await order(client)
        statuses = await follow(client, job)
        with pytest.raises(VtransError) as caught:
            await client.result(job)
        return *told(statuses), type(caught.value).__name__


async def dropped(open_world: Open) -> Outcome:
    """Every connection is reset, and may be made again at once."""
    async with open_world() as (world, client):
        following = asyncio.create_task(follow(client, await order(client)))
        await seconds(lambda: client.stats().link == "live")
        world.reset()
        await seconds(lambda: client.stats().drops == 1)
        back = await seconds(lambda: client.stats().link == "live")
        statuses = await following
        stats = client.stats()
        return *told(statuses), stats.drops, stats.dials, back < 1, str(statuses[-1].source)


async def refused(open_world: Open) -> Outcome:
    """After a reset nobody is there until the job has ended."""
    async with open_world(sim={"delay": 1.5}) as (world, client):
        following = asyncio.create_task(follow(client, await order(client)))
        await seconds(lambda: client.stats().link == "live")
        world.refuse()
        world.reset()
        await asyncio.sleep(2)
        was_done = following.done()
        await world.heal()
        statuses = await following
        return *told(statuses), was_done, client.stats().drops


async def told_to_wait(open_world: Open) -> Outcome:
    """A read is answered 503, with two seconds in Retry-After."""
    async with open_world(transport="poll") as (world, client):
        job = await order(client)
        world.sim.faults.add(HttpStatus(status=503, retry_after=2), count=1)
        statuses = await follow(client, job)
        calls = [call for call in world.sim.calls if call.path.startswith("/status")]
        [refusal] = [call for call in calls if call.status == 503]
        later = [call.at - refusal.at for call in calls if call.at > refusal.at]
        stats = client.stats()
        return told(statuses)[0][-1:], min(later) >= 2, min(later) < 3, stats.dials, stats.pushes


async def half_open(open_world: Open) -> Outcome:
    """The connection lives, but nothing comes through to the client any more."""
    async with open_world(sim={"delay": 4}) as (world, client):
        following = asyncio.create_task(follow(client, await order(client)))
        await seconds(lambda: client.stats().link == "live")
        world.half_open()
        noticed = await seconds(lambda: client.stats().drops == 1)
        await world.heal()
        statuses = await following
        return *told(statuses), noticed <= 0.4 + 0.4 + 1, client.stats().drops


async def forgotten(open_world: Open) -> Outcome:
    """The server comes back with a new history, and without the job."""
    async with open_world(sim={"delay": 60}) as (world, client):
        job = await order(client)
        following = asyncio.create_task(follow(client, job))
        await seconds(lambda: client.stats().link == "live")
        await world.sim.restart(lose_state="all")
        with pytest.raises(VtransError) as caught:
            await following
        return type(caught.value).__name__, caught.value.job_id == job.job_id


async def restarted(open_world: Open) -> Outcome:
    """The server comes back after half a second, with everything."""
    async with open_world() as (world, client):
        following = asyncio.create_task(follow(client, await order(client)))
        await seconds(lambda: client.stats().link == "live")
        await world.sim.restart(down_for=0.5)
        statuses = await following
        return *told(statuses), client.stats().drops


async def sent_away(open_world: Open) -> Outcome:
    """The channel is closed for good: the client polls, and does not dial again."""
    async with open_world() as (world, client):
        world.sim.faults.add(Close(code=4500, age=0.2))
        statuses = await follow(client, await order(client))
        stats = client.stats()
        return told(statuses)[0][-1], stats.dials, stats.drops, str(statuses[-1].source)


LIFE = ["pending", "running", "completed"]
OUTCOMES: dict[Scene, Outcome] = {
    completed: (LIFE, True, 0, 1, 0),
    failed: (["pending", "running", "error"], True, "JobFailed"),
    dropped: (LIFE, True, 1, 2, True, "push"),
    refused: (LIFE, True, False, 1),
    told_to_wait: (["completed"], True, True, 0, 0),
    half_open: (LIFE, True, True, 1),
    forgotten: ("JobLost", True),
    restarted: (LIFE, True, 1),
    sent_away: ("completed", 1, 1, "poll"),
}

Played = dict[Scene, "asyncio.Task[Outcome]"]


@pytest.fixture(scope="module")
async def played() -> AsyncIterator[Played]:
    """Let every scene play on real sockets."""
    tasks = {scene: asyncio.ensure_future(scene(open_real)) for scene in OUTCOMES}
    yield tasks
    for task in tasks.values():
        task.cancel()
    await asyncio.gather(*tasks.values(), return_exceptions=True)


@pytest.mark.parametrize("scene", OUTCOMES, ids=lambda scene: scene.__name__)
@pytest.mark.parametrize("seed", range(3))
def test_on_virtual_time(scene: Scene, seed: int) -> None:
    """In memory, a scene has the outcome of its row, whatever the seed."""
    assert run(partial(scene, open_virtual), seed=seed, time_limit=600) == OUTCOMES[scene]


@pytest.mark.parametrize("scene", OUTCOMES, ids=lambda scene: scene.__name__)
async def test_on_real_sockets(scene: Scene, played: Played) -> None:
    """On real sockets it has the same; one that fails is played anew if it is run again."""
    playing = played.pop(scene, None) or asyncio.ensure_future(scene(open_real))
    assert await playing == OUTCOMES[scene]
