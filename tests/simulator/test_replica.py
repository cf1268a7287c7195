"""A replica on virtual time: minutes of jobs, no socket."""

import asyncio
from typing import Any

import pytest

from simulator.faults import UnknownState, Vanish
from simulator.histories import KEEP_FINALS
from simulator.messages import CreateRequest, ProblemError, ScriptStep
from simulator.plan import FaultPlan
from tests.simulator.backend import VIDEO
from tests.simulator.replicas import Ear, Finals, create, running, story

pytestmark = pytest.mark.usefixtures("virtual_time")


# -- jobs -----------------------------------------------------------------------------------------


async def test_job_lives_its_life_in_time() -> None:
    """Each version comes when it is due, and the final one after the delay that was asked for."""
    async with running() as replica:
        job_id = await create(replica, delay=600)
        ear = Ear()
        replica.subscribe(job_id, ear)

        assert story(replica, job_id) == [(1, "pending")]
        await asyncio.sleep(599.9)
        assert replica.head(job_id).status.state == "running"
        await asyncio.sleep(0.2)
        last = replica.head(job_id)

    assert last.status.state == "completed"
    versions = [version for version, _ in story(replica, job_id)]
    assert versions == list(range(1, last.version + 1))
    assert len(ear.heard) == last.version - 1
    assert len(versions) == 21


async def test_seed_repeats_lives() -> None:
    """The n-th job of every run with a seed lives the same life."""
    lives = []
    for seed in (1, 1, 2):
        async with running(seed=seed, delay="3:100", error_probability=0.5) as replica:
            jobs = [await create(replica) for _ in range(20)]
            await asyncio.sleep(101)
            lives.append([story(replica, job_id)[-1] for job_id in jobs])

    assert lives[0] == lives[1] != lives[2]


async def test_jobs_of_many_delays_share_one_timer() -> None:
    """However jobs are mixed, each ends in its time, and a job that is due sooner is not late."""
    async with running() as replica:
        slow = await create(replica, delay=1000)
        await asyncio.sleep(1.5)
        jobs = {await create(replica, delay=n): n for n in (30, 3, 300, 0)}
        began = asyncio.get_running_loop().time()
        ends: dict[str, float] = {}
        for job_id in jobs:
            replica.subscribe(job_id, Finals(replica, ends))
        await asyncio.sleep(301)

        assert {job: at - began for job, at in ends.items()} == pytest.approx(jobs, abs=0.01)
        assert replica.head(slow).status.state == "running"
        assert replica.stats().open_jobs == 1


async def test_many_jobs_take_no_task_each() -> None:
    """Thousands of jobs run in the tasks of the replica alone."""
    async with running(delay="5") as replica:
        tasks = len(asyncio.all_tasks())
        for _ in range(20):
            await replica.create(CreateRequest(video_url=VIDEO, languages=["Spanish"] * 100))
        assert len(asyncio.all_tasks()) == tasks
        await asyncio.sleep(5.1)

        stats = replica.stats()
    assert (stats.jobs, stats.open_jobs, stats.created) == (2000, 0, 2000)


async def test_script_is_played() -> None:
    """A scripted job goes through its steps, several at once too."""
    script = [
        ScriptStep(at=0, state="pending"),
        ScriptStep(at=0, state="running"),
        ScriptStep(at=5, state="stitching"),
        ScriptStep(at=5, state="completed"),
    ]
    async with running() as replica:
        job_id = await create(replica, script=script)
        await asyncio.sleep(0)
        await asyncio.sleep(4)
        assert story(replica, job_id) == [(1, "pending"), (2, "running")]
        await asyncio.sleep(1.1)

    assert story(replica, job_id)[2:] == [(3, "stitching"), (4, "completed")]


# -- orders ---------------------------------------------------------------------------------------


async def test_idempotency_key_meets_its_jobs_again() -> None:
    """Repeating an order creates nothing and returns the first versions, even after the end."""
    async with running() as replica:
        request = CreateRequest(video_url=VIDEO, languages=["Spanish", "German"])
        first = await replica.create(request, key="k")
        await asyncio.sleep(61)
        again = await replica.create(request, key="k")
        other = await replica.create(request, key="l")

        assert [one.status for one in again] == [one.status for one in first]
        assert {one.job_id for one in other}.isdisjoint(one.job_id for one in first)
        assert replica.stats().created == 4


async def test_idempotency_key_is_for_one_order() -> None:
    """The same key with another order is a conflict."""
    async with running() as replica:
        await create(replica, key="k")
        with pytest.raises(ProblemError, match="another order") as caught:
            await create(replica, key="k", delay=9)
    assert caught.value.problem.code == "conflict"


@pytest.mark.virtual_time(time_limit=3 * 86_400)
async def test_idempotency_key_of_a_removed_job_is_gone() -> None:
    """When only the tombstone is left, a repetition says so."""
    async with running() as replica:
        await create(replica, key="k")
        await asyncio.sleep(KEEP_FINALS + 61)
        with pytest.raises(ProblemError, match="removed") as caught:
            await create(replica, key="k")
    assert caught.value.problem.code == "gone"


async def test_bad_order_creates_nothing() -> None:
    """If one job of an order cannot be, none is created."""
    async with running() as replica:
        for fields in ({"delay": "soon"}, {"languages": ["German"]}):
            with pytest.raises(ProblemError):
                await create(replica, **fields)
        assert replica.stats().jobs == 0


async def test_cancel_is_the_last_version() -> None:
    """A canceled job ends there and then; its life does not go on."""
    async with running() as replica:
        job_id = await create(replica)
        await asyncio.sleep(10)
        end = await replica.cancel(job_id)
        again = await replica.cancel(job_id)
        await asyncio.sleep(100)

        assert (end.status.state, end.is_final) == ("canceled", True)
        assert again is end is replica.head(job_id)
        assert (replica.stats().open_jobs, replica.stats().conflicts) == (0, 0)
        with pytest.raises(ProblemError, match="no job 'nobody'"):
            await replica.cancel("nobody")


async def test_default_job_is_one() -> None:
    """The default job is created once, and no Idempotency-Key meets it."""
    async with running() as replica:
        first = await replica.default_job()
        await asyncio.sleep(61)
        again = await replica.default_job()
        other = await create(replica, key="default")

        assert (first.version, again.status.state) == (1, "completed")
        assert first.job_id == again.job_id != other


# -- reads ----------------------------------------------------------------------------------------


async def test_job_belongs_to_its_owner() -> None:
    """A job of another owner looks exactly like an unknown one; one of nobody is everybody's."""
    async with running() as replica:
        mine = await create(replica, owner="me")
        free = await create(replica)

        assert replica.head(mine, owner="me").job_id == mine
        assert replica.head(free, owner="you").job_id == free
        for owner in ("you", None):
            with pytest.raises(ProblemError, match=f"no job '{mine}'"):
                replica.head(mine, owner=owner)
        found = replica.collect({mine: 0, free: 0, "x": 0}, epoch=None, owner="you")
        assert [one.entry.job_id for one in found.newer] == [free]
        assert found.errors == {mine: "not_found", "x": "not_found"}
        assert [one.job_id for one in replica.listing(owner="me")] == [mine, free]


async def test_collect_returns_what_is_newer() -> None:
    """Cursors count in their epoch; in another one, or in none, everything is new."""
    async with running() as replica:
        job_id = await create(replica)
        await asyncio.sleep(10)
        head = replica.head(job_id).version

        def collected(version: int, epoch: str | None, mode: Any) -> list[int]:
            found = replica.collect({job_id: version}, epoch=epoch, mode=mode)
            return [one.entry.version for one in found.newer]

        assert collected(head, replica.epoch, "all") == []
        assert collected(head - 2, replica.epoch, "all") == [head - 1, head]
        assert collected(head - 2, replica.epoch, "latest") == [head]
        assert collected(head + 9, replica.epoch, "latest") == []
        for epoch in (None, "01OLD"):
            assert collected(head, epoch, "all") == list(range(1, head + 1))
            assert collected(head, epoch, "latest") == [head]


async def test_collect_stops_at_its_size() -> None:
    """An answer that would be too big ends early."""
    async with running() as replica:
        jobs = [await create(replica) for _ in range(10)]
        size = len(replica.head(jobs[0]).event)

        found = replica.collect(dict.fromkeys(jobs, 0), epoch=None, max_bytes=int(size * 2.5))

    assert [one.entry.job_id for one in found.newer] == jobs[:3]


async def test_wait_ends_with_the_first_news() -> None:
    """A held read is answered the moment a version comes, and leaves no subscription."""
    async with running() as replica:
        loop = asyncio.get_running_loop()
        job_id = await create(replica)
        began = loop.time()

        found = await replica.wait({job_id: 1}, epoch=replica.epoch, timeout=25)

        assert [one.entry.version for one in found.newer] == [2]
        assert loop.time() - began == pytest.approx(1.0, abs=0.01)
        assert (replica.stats().waiting, replica.stats().subscriptions) == (0, 0)


@pytest.mark.parametrize("timeout", [0.0, 0.5])
async def test_wait_gives_up_in_time(timeout: float) -> None:
    """A held read of which nothing comes is answered empty."""
    async with running() as replica:
        loop = asyncio.get_running_loop()
        job_id = await create(replica)
        began = loop.time()

        found = await replica.wait({job_id: 1}, epoch=replica.epoch, timeout=timeout)

        assert not any(found)
        assert loop.time() - began == pytest.approx(timeout, abs=0.01)


async def test_wait_is_not_held_for_an_error() -> None:
    """A read of an unknown job is answered at once."""
    async with running() as replica:
        found = await replica.wait({"nobody": 0}, epoch=None, timeout=25)
    assert found.errors == {"nobody": "not_found"}


async def test_drain_ends_all_waiting() -> None:
    """A replica that is about to leave answers held reads, and holds no new ones until it stays."""
    async with running() as replica:
        job_id = await create(replica, delay=1000)
        waiting = asyncio.ensure_future(replica.wait({job_id: 9}, epoch=replica.epoch, timeout=25))
        await asyncio.sleep(0)
        assert replica.stats().waiting == 1

        replica.drain()
        assert replica.is_draining
        assert not any(await asyncio.wait_for(waiting, 0.1))
        found = replica.wait({job_id: 9}, epoch=replica.epoch, timeout=25)
        assert not any(await asyncio.wait_for(found, 0.1))
        replica.stay()
        assert not replica.is_draining


async def test_canceled_wait_leaves_nothing() -> None:
    """A reader that goes away is forgotten."""
    async with running() as replica:
        job_id = await create(replica)
        waiting = asyncio.ensure_future(replica.wait({job_id: 1}, epoch=replica.epoch, timeout=25))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)

        assert (replica.stats().waiting, replica.stats().subscriptions) == (0, 0)


async def test_listing_is_paged() -> None:
    """Jobs are listed in the order of their creation, from behind a given one."""
    async with running() as replica:
        jobs = [await create(replica) for _ in range(5)]

        def listed(**options: Any) -> list[str]:
            return [one.job_id for one in replica.listing(**options)]

        assert listed() == jobs
        assert listed(limit=2) == jobs[:2]
        assert listed(after=jobs[1], limit=2) == jobs[2:4]
        assert listed(after=jobs[4]) == listed(after="nobody") == []


async def test_subscriptions_are_counted() -> None:
    """Subscribing twice is once; unsubscribing what is not subscribed is harmless."""
    async with running() as replica:
        job_id, ear = await create(replica), Ear()
        for _ in range(2):
            replica.subscribe(job_id, ear)
        replica.subscribe("nobody", ear)
        assert replica.stats().subscriptions == 1

        for _ in range(2):
            replica.unsubscribe(job_id, ear)
        replica.unsubscribe("nobody", ear)
        await asyncio.sleep(10)

        assert (replica.stats().subscriptions, ear.heard) == (0, [])


# -- faults of jobs -------------------------------------------------------------------------------


async def test_unknown_state_is_a_version_like_any() -> None:
    """A state nobody has heard of takes its place in the history, but never that of the end."""
    plan = FaultPlan()
    plan.add(UnknownState(word="dreaming"))
    async with running(plan=plan, delay="2") as replica:
        job_id = await create(replica)
        await asyncio.sleep(2.1)

    states = [state for _, state in story(replica, job_id)]
    assert states == ["pending", *["dreaming"] * (len(states) - 2), "completed"]
    assert replica.head(job_id).status.result == "completed"


@pytest.mark.parametrize(("tombstone", "code"), [(False, "not_found"), (True, "gone")])
async def test_vanished_job_is_unknown_or_gone(tombstone: bool, code: str) -> None:
    """A job that vanished stays so; only if a tombstone is left its subscribers hear of it."""
    plan, ear = FaultPlan(), Ear()
    async with running(plan=plan) as replica:
        job_id, other = await create(replica), await create(replica)
        await asyncio.sleep(10)
        replica.subscribe(job_id, ear)
        plan.add(Vanish(tombstone=tombstone), match={"job": job_id})
        await asyncio.sleep(100)

        with pytest.raises(ProblemError) as caught:
            replica.head(job_id)
        stats = replica.stats()
        replica.unsubscribe(job_id, ear)
        assert replica.head(other).is_final
        assert replica.stats().subscriptions == 0

    assert caught.value.problem.code == code
    assert ear.heard == [job_id] * tombstone
    assert stats.open_jobs == 0
