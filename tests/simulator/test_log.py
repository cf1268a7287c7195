"""The log in memory, and what is kept of histories."""

import asyncio
import itertools
import json
from random import Random

import pytest

from simulator.epochs import new_epoch
from simulator.jobs import JobSpec
from simulator.log import (
    HISTORY_WINDOW,
    KEEP_FINALS,
    Conflict,
    Entry,
    Histories,
    MemoryLog,
)
from simulator.messages import Mode
from tests.simulator.backend import ManualTime, append, entry, status


def new_log(time: ManualTime | None = None) -> MemoryLog:
    """Return an empty log."""
    return MemoryLog((time or ManualTime()).clock, Random(1))


def versions(entries: list[Entry]) -> list[int]:
    """Return the versions of these entries."""
    return [one.version for one in entries]


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
    assert versions(list(await young.history("a"))) == [1, 2, 3]
    assert {entry.status.epoch for entry in await young.history("a")} == {young.epoch}
    assert await young.head() == 3


async def test_truncated_history_has_its_first_version_and_the_newest() -> None:
    """What lies between is forgotten, for tails too; what comes afterwards is kept."""
    log = new_log()
    await append(log, "a", *["running"] * 9)
    log.truncate(2)
    await append(log, "a", "running")

    assert versions(list(await log.history("a"))) == [1, 8, 9, 10]
    assert versions(list(await anext(log.tail(0)))) == [1, 8, 9, 10]


# -- epochs and entries ---------------------------------------------------------------------------


def test_epochs_sort_by_their_age() -> None:
    """A newer epoch is greater as a string, and two of the same moment differ."""
    random = Random(1)
    epochs = [new_epoch(wall, random) for wall in (0.0, 1.0, 1e9, 1e9 + 0.001, 2e9)]

    assert epochs == sorted(epochs)
    assert {len(epoch) for epoch in epochs} == {26}
    assert new_epoch(1e9, random) != new_epoch(1e9, random)


def test_entry_is_encoded_once() -> None:
    """All readers get the same bytes."""
    one = entry()

    assert one.event is one.event
    assert one.event is one.document


def test_marks_of_an_event() -> None:
    """A final event says so, a tombstone too; the document of the job itself carries no marks."""
    last = entry(version=3, state="completed")
    stone = last.tombstone()

    assert json.loads(last.event) == json.loads(last.document) | {"final": True}
    assert json.loads(stone.event)["gone"] is True
    assert (stone.version, stone.is_final, stone.is_gone) == (3, True, True)
    assert "final" not in json.loads(last.document)


# -- what is kept ---------------------------------------------------------------------------------


def test_history_is_a_window() -> None:
    """Of a long history the newest versions are kept, and all changes of state."""
    histories = Histories()
    states = ["pending"] + ["running"] * 198 + ["completed"]
    for version, state in enumerate(states, 1):
        histories.add(entry(version=version, state=state), now=0.0)

    kept = versions(list(histories.since("job-1", 0)))

    assert len(kept) == HISTORY_WINDOW
    assert kept[:2] == [1, 2]
    assert kept[2:] == list(range(200 - 61, 201))


def test_window_of_nothing_but_changes() -> None:
    """A job that only changes its state loses the oldest ones but the first."""
    histories = Histories(window=4)
    for version in range(1, 9):
        histories.add(entry(version=version, state=f"state-{version}"), now=0.0)

    assert versions(list(histories.since("job-1", 0))) == [1, 6, 7, 8]


def test_progress_of_all_jobs_is_bounded() -> None:
    """Beyond the bound the oldest progress goes, whose-ever it is; never a head or a change."""
    histories = Histories(max_progress=3)
    for job_id in ("a", "b"):
        for version, state in enumerate(["pending", "running", "running", "running"], 1):
            histories.add(entry(job_id, version, state), now=0.0)
    histories.add(entry("b", 5), now=0.0)

    assert versions(list(histories.since("a", 0))) == [1, 2, 4]
    assert versions(list(histories.since("b", 0))) == [1, 2, 3, 4, 5]

    for version in (6, 7):
        histories.add(entry("b", version), now=0.0)

    assert versions(list(histories.since("a", 0))) == [1, 2, 4]
    assert versions(list(histories.since("b", 0))) == [1, 2, 5, 6, 7]


def test_bound_spares_changes_of_state() -> None:
    """A version that changed the state is kept although its turn to go has come."""
    histories = Histories(max_progress=1)
    states = ["pending", "running", "stitching", "stitching", "stitching", "stitching"]
    for version, state in enumerate(states, 1):
        histories.add(entry(version=version, state=state), now=0.0)

    assert versions(list(histories.since("job-1", 0))) == [1, 2, 3, 6]


def test_older_version_is_not_taken() -> None:
    """What is known already, or older, changes nothing."""
    histories = Histories()
    assert histories.add(entry(version=2), now=0.0)

    assert not histories.add(entry(version=2, state="other"), now=0.0)
    assert not histories.add(entry(version=1), now=0.0)
    assert versions(list(histories.since("job-1", 0))) == [2]


@pytest.mark.parametrize(
    ("after", "mode", "expected"),
    [
        (0, "latest", [(9, False)]),
        (8, "latest", [(9, False)]),
        (9, "latest", []),
        (10, "latest", []),
        (0, "all", [(1, False), (2, False), (7, True), (8, False), (9, False)]),
        (1, "all", [(2, False), (7, True), (8, False), (9, False)]),
        (4, "all", [(7, True), (8, False), (9, False)]),
        (6, "all", [(7, False), (8, False), (9, False)]),
        (9, "all", []),
        (10, "all", []),
    ],
)
def test_newer_is_whatever_is_above_the_cursor(
    after: int, mode: Mode, expected: list[tuple[int, bool]]
) -> None:
    """`latest` yields the head, `all` every kept version; a hole before one is marked `gap`."""
    histories = Histories(window=5)
    for version in range(1, 10):
        state = "pending" if version == 1 else "running"
        histories.add(entry(version=version, state=state), now=0.0)

    newer = histories.newer("job-1", after, mode)

    assert [(one.entry.version, one.gap) for one in newer] == expected
    assert [json.loads(one.encoded).get("gap", False) for one in newer] == [
        gap for _, gap in expected
    ]


def test_what_became_of_a_tombstone_is_not_counted_any_more() -> None:
    """A server that runs for days remembers the progress of jobs that are kept, and of no other."""
    histories = Histories()
    for hour in range(72):
        job_id = f"job-{hour}"
        for version in range(1, 5):
            status = "running" if version < 4 else "completed"
            histories.add(entry(job_id=job_id, version=version, state=status), now=3600.0 * hour)
        histories.expire(3600.0 * hour)
    assert len(histories) == 48
    assert len(histories._progress) == 24


def test_nothing_is_newer_of_an_unknown_job() -> None:
    """An unknown job has no events."""
    assert Histories().newer("job-9", 0, "all") == []


def test_final_becomes_a_tombstone_and_then_nothing() -> None:
    """A final is kept for a day, its tombstone for another one."""
    histories = Histories()
    assert histories.next_expiry() is None
    histories.add(entry(version=1, state="completed"), now=100.0)

    assert histories.next_expiry() == 100.0 + KEEP_FINALS
    assert histories.expire(99.0 + KEEP_FINALS) == []
    assert [one.is_gone for one in histories.since("job-1", 0)] == [False]

    assert histories.expire(100.0 + KEEP_FINALS) == []
    assert [one.is_gone for one in histories.since("job-1", 0)] == [True]
    assert histories.newer("job-1", 1, "all") == []

    assert histories.expire(100.0 + 2 * KEEP_FINALS) == ["job-1"]
    assert histories.latest("job-1") is None
    assert len(histories) == 0


@pytest.mark.parametrize("mode", ["latest", "all"])
def test_tombstone_of_an_open_job_is_news(mode: Mode) -> None:
    """A reader who has the newest version of a job hears that it was removed before its end."""
    histories = Histories()
    histories.add(entry(version=1, state="running"), now=0.0)
    histories.bury("job-1", 0.0)

    (event,) = histories.newer("job-1", 1, mode)

    assert (event.entry.version, event.entry.is_gone, event.gap) == (2, True, False)
    assert histories.newer("job-1", 2, mode) == []


def test_dropped_job_is_not_buried() -> None:
    """A job that is forgotten leaves no tombstone, not even when its time comes."""
    histories = Histories()
    histories.add(entry(version=1, state="completed"), now=0.0)
    histories.drop("job-1")

    assert histories.bury("job-1", 0.0) is None
    assert histories.expire(KEEP_FINALS) == []
    assert list(histories) == []


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
    assert versions(list(await log.history("job-1", 1))) == [2]
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
