"""The histories of jobs, and what of them is kept."""

import json

import pytest

from simulator.histories import HISTORY_WINDOW, KEEP_FINALS, Histories
from simulator.messages import Mode
from tests.simulator.backend import entry, versions_of

# -- entries --------------------------------------------------------------------------------------


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

    kept = versions_of(histories.since("job-1", 0))

    assert len(kept) == HISTORY_WINDOW
    assert kept[:2] == [1, 2]
    assert kept[2:] == list(range(200 - 61, 201))


def test_window_of_nothing_but_changes() -> None:
    """A job that only changes its state loses the oldest ones but the first."""
    histories = Histories(window=4)
    for version in range(1, 9):
        histories.add(entry(version=version, state=f"state-{version}"), now=0.0)

    assert versions_of(histories.since("job-1", 0)) == [1, 6, 7, 8]


def test_progress_of_all_jobs_is_bounded() -> None:
    """Beyond the bound the oldest progress goes, whose-ever it is; never a head or a change."""
    histories = Histories(max_progress=3)
    for job_id in ("a", "b"):
        for version, state in enumerate(["pending", "running", "running", "running"], 1):
            histories.add(entry(job_id, version, state), now=0.0)
    histories.add(entry("b", 5), now=0.0)

    assert versions_of(histories.since("a", 0)) == [1, 2, 4]
    assert versions_of(histories.since("b", 0)) == [1, 2, 3, 4, 5]

    for version in (6, 7):
        histories.add(entry("b", version), now=0.0)

    assert versions_of(histories.since("a", 0)) == [1, 2, 4]
    assert versions_of(histories.since("b", 0)) == [1, 2, 5, 6, 7]


def test_bound_spares_changes_of_state() -> None:
    """A version that changed the state is kept although its turn to go has come."""
    histories = Histories(max_progress=1)
    states = ["pending", "running", "stitching", "stitching", "stitching", "stitching"]
    for version, state in enumerate(states, 1):
        histories.add(entry(version=version, state=state), now=0.0)

    assert versions_of(histories.since("job-1", 0)) == [1, 2, 3, 6]


def test_older_version_is_not_taken() -> None:
    """What is known already, or older, changes nothing."""
    histories = Histories()
    assert histories.add(entry(version=2), now=0.0)

    assert not histories.add(entry(version=2, state="other"), now=0.0)
    assert not histories.add(entry(version=1), now=0.0)
    assert versions_of(histories.since("job-1", 0)) == [2]


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
