"""The log in memory."""

import asyncio
import itertools
from random import Random

import pytest

from simulator.epochs import new_epoch
from simulator.histories import KEEP_FINALS, Entry
from simulator.jobs import JobSpec
from simulator.log import Conflict, MemoryLog
from tests.simulator.backend import ManualTime, append, status, versions_of


def new_log(time: ManualTime | None = None) -> MemoryLog:
    """Return an empty log."""
    return MemoryLog((time or ManualTime()).clock, Random(1))


# -- histories that begin anew --------------------------------------------------------------------


async def test_reborn_log_is_newer_whatever_the_clock_says() -> None:
    """A history that goes on under a new epoch has its jobs, and sorts after the old one."""
    time = ManualTime(1e9)
    log = new_log(time)
    await append(log, "a", "pending", "running", "completed")
    await append(log, "b", "pending")
    time.now = 1e6

    young = log.reborn(Random(1), keeps=lambda job_id: job_id == "a")

    assert young.epoch > log.epoch
    assert list(young.statuses()) == ["a"]
    assert versions_of(await young.history("a")) == [1, 2, 3]
    assert {entry.status.epoch for entry in await young.history("a")} == {young.epoch}
    assert await young.head() == 3


async def test_truncated_history_has_its_first_version_and_the_newest() -> None:
    """What lies between is forgotten, for tails too; what comes afterwards is kept."""
    log = new_log()
    await append(log, "a", *["running"] * 9)
    log.truncate(2)
    await append(log, "a", "running")

    assert versions_of(await log.history("a")) == [1, 8, 9, 10]
    assert versions_of(await anext(log.tail(0))) == [1, 8, 9, 10]


def test_epochs_sort_by_their_age() -> None:
    """A newer epoch is greater as a string, and two of the same moment differ."""
    random = Random(1)
    epochs = [new_epoch(wall, random) for wall in (0.0, 1.0, 1e9, 1e9 + 0.001, 2e9)]

    assert epochs == sorted(epochs)
    assert {len(epoch) for epoch in epochs} == {26}
    assert new_epoch(1e9, random) != new_epoch(1e9, random)


# -- the log --------------------------------------------------------------------------------------


async def test_append_compares_and_sets() -> None:
    """Only the next version of a job is taken; a conflict tells the newest one."""
    log = new_log()

    first = await log.append(0, status(version=1), JobSpec(job_id="job-1"))

    assert isinstance(first, Entry)
    assert (first.position, first.spec) == (1, JobSpec(job_id="job-1"))
    assert await log.append(0, status(version=1)) == Conflict(1)
    assert await log.append(2, status(version=3)) == Conflict(1)
    assert await log.head() == 1


async def test_nothing_follows_a_final() -> None:
    """After its final version a job takes no other."""
    log = new_log()
    await append(log, "job-1", "pending", "completed")

    assert await log.append(2, status(version=3)) == Conflict(2)


async def test_version_must_be_the_next() -> None:
    """A status whose version does not follow what is expected is the caller's mistake."""
    with pytest.raises(ValueError, match="Version 3 does not follow 0"):
        await new_log().append(0, status(version=3))


async def test_reads_of_the_log() -> None:
    """The newest version and the history of a job can be read, and the newest of all jobs."""
    log = new_log()
    await append(log, "job-1", "pending", "running")
    await append(log, "job-2", "pending")

    latest = await log.latest("job-1")
    assert latest is not None
    assert latest.version == 2
    assert await log.latest("job-9") is None
    assert versions_of(await log.history("job-1", 1)) == [2]
    assert await log.head() == 3
    assert {job_id: one.version for job_id, one in log.statuses().items()} == {
        "job-1": 2,
        "job-2": 1,
    }


async def test_log_expires_by_itself() -> None:
    """An append clears away what is too old."""
    time = ManualTime()
    log = new_log(time)
    await append(log, "job-1", "completed")

    time.now = 2 * KEEP_FINALS + 1
    await append(log, "job-2", "pending")

    assert list(log.statuses()) == ["job-2"]


async def test_tail_replays_and_goes_on() -> None:
    """A tail yields what is behind its position in the order of the log, then what comes."""
    log = new_log()
    await append(log, "a", "pending", "running")
    await append(log, "b", "pending")
    tail = log.tail(1)

    assert [(one.job_id, one.version) for one in await anext(tail)] == [("a", 2), ("b", 1)]

    waiting = asyncio.ensure_future(anext(tail))
    await asyncio.sleep(0)
    await append(log, "b", "running")
    assert [(one.job_id, one.version) for one in await waiting] == [("b", 2)]


async def test_tail_that_lags_far_behind_misses_no_state() -> None:
    """Beyond the recent entries a tail gets what is still kept, in order, with every head."""
    log = new_log()
    for number in range(300):
        await append(log, f"job-{number}", "pending", *["running"] * 20)
    got = list(await anext(log.tail(0)))

    positions = [one.position for one in got]
    assert positions == sorted(positions)
    assert {one.job_id: one.version for one in got} == dict.fromkeys(
        (f"job-{number}" for number in range(300)), 21
    )
    assert all(
        one.version < two.version
        for one, two in itertools.pairwise(sorted(got, key=lambda one: (one.job_id, one.version)))
        if one.job_id == two.job_id
    )


async def test_tails_end_with_the_log() -> None:
    """Closing the log ends its tails, those that wait as well."""
    log = new_log()
    waiting = asyncio.ensure_future(anext(log.tail(0), None))
    await asyncio.sleep(0)

    await log.aclose()

    assert await waiting is None
    assert [batch async for batch in log.tail(0)] == []
