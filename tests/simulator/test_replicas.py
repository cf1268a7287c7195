"""Replicas that follow or share a log, on virtual time."""

import asyncio
import itertools
from random import Random

import pytest

from simulator.faults import Vanish
from simulator.histories import KEEP_FINALS
from simulator.log import MemoryLog
from simulator.messages import ProblemError
from simulator.plan import FaultPlan
from tests.simulator.backend import loop_clock
from tests.simulator.replicas import create, running, story

pytestmark = pytest.mark.usefixtures("virtual_time")


async def test_successor_goes_on_from_the_log() -> None:
    """A replica that starts over a log knows its jobs and catches up with what was due."""
    log = MemoryLog(loop_clock(), Random(1))
    async with running(log) as first:
        job_id = await create(first, key="k", owner="me")
        await asyncio.sleep(10)
        before = first.head(job_id, owner="me").version
    await asyncio.sleep(20)
    async with running(log) as second:
        await asyncio.sleep(0.01)
        after = second.head(job_id, owner="me").version
        await asyncio.sleep(31)
        end = second.head(job_id, owner="me")
        assert await create(second, key="k", owner="me") == job_id

    assert before + 5 < after < end.version
    assert end.status.state == "completed"
    assert [version for version, _ in story(second, job_id)] == list(range(1, end.version + 1))


async def test_replicas_share_a_log() -> None:
    """What one replica appends the other one knows, and no version is appended twice."""
    log = MemoryLog(loop_clock(), Random(1))
    async with running(log, seed=1) as one, running(log, seed=2) as two:
        job_id = await create(one)
        await asyncio.sleep(0.01)
        assert two.head(job_id).version == 1
        await asyncio.sleep(61)

        assert story(one, job_id) == story(two, job_id)
        versions = [version for version, _ in story(two, job_id)]
        assert versions == list(range(1, len(versions) + 1))
        assert two.stats().appended == 0


async def test_replica_takes_over_from_a_dead_one() -> None:
    """Jobs of a replica that died go on, a moment late."""
    log = MemoryLog(loop_clock(), Random(1))
    async with running(log, seed=2) as two:
        async with running(log, seed=1) as one:
            job_id = await create(one)
            await asyncio.sleep(10)
        await asyncio.sleep(52)

        assert two.head(job_id).status.state == "completed"
        assert two.stats().appended > 5


async def test_cancel_wins_or_loses_against_another_replica() -> None:
    """Two replicas that end a job at once agree on one end."""
    log = MemoryLog(loop_clock(), Random(1))
    async with running(log, seed=1) as one, running(log, seed=2) as two:
        job_id = await create(one)
        await asyncio.sleep(5)
        first, second = await asyncio.gather(one.cancel(job_id), two.cancel(job_id))

    assert first is second
    assert one.stats().conflicts + two.stats().conflicts == 1


@pytest.mark.virtual_time(time_limit=3 * 86_400)
async def test_finals_are_kept_for_a_day_and_then_gone() -> None:
    """A final becomes `gone` after a day and unknown after two."""
    async with running() as replica:
        job_id = await create(replica)
        await asyncio.sleep(60 + KEEP_FINALS - 1)
        assert replica.head(job_id).is_final
        await asyncio.sleep(2)
        with pytest.raises(ProblemError) as gone:
            replica.head(job_id)
        assert replica.collect({job_id: 0}, epoch=None).errors == {job_id: "gone"}
        assert replica.listing() == []
        await asyncio.sleep(KEEP_FINALS)
        with pytest.raises(ProblemError) as unknown:
            replica.head(job_id)
        assert replica.stats().jobs == 0

    assert (gone.value.problem.code, unknown.value.problem.code) == ("gone", "not_found")


async def test_vanished_job_does_not_come_back() -> None:
    """A replica that forgot a job does not learn of it again from the others."""
    log, plan = MemoryLog(loop_clock(), Random(1)), FaultPlan()
    async with running(log, plan, seed=1) as one, running(log, seed=2) as two:
        job_id = await create(one)
        await asyncio.sleep(10)
        plan.add(Vanish())
        await asyncio.sleep(60)

        assert two.head(job_id).is_final
        assert one.collect({job_id: 0}, epoch=None).errors == {job_id: "not_found"}
        assert one.stats().jobs == 0


async def test_versions_are_dense_whatever_happens() -> None:
    """Under many jobs, cancels and two replicas every history counts 1, 2, 3 ..."""
    log = MemoryLog(loop_clock(), Random(1))
    async with running(log, seed=1, delay="3:30") as one, running(log, seed=2) as two:
        jobs = [await create(one) for _ in range(50)]
        for number, job_id in enumerate(jobs):
            await asyncio.sleep(0.3)
            if number % 3 == 0:
                await (one if number % 2 else two).cancel(job_id)
        await asyncio.sleep(40)

        for job_id in jobs:
            told = story(two, job_id)
            assert [version for version, _ in told] == list(range(1, len(told) + 1))
            assert story(one, job_id) == told
            assert two.head(job_id).is_final
    assert all(
        (first.created_at or "") <= (second.created_at or "")
        for first, second in itertools.pairwise(log.statuses().values())
    )
