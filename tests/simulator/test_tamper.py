"""Tampering with events: pure, so no loop and no socket."""

import json
from random import Random
from typing import Any

import pytest

from simulator.faults import DelayEvent, DropEvent, Duplicate, Fault, Gap, Reorder
from simulator.histories import Newer
from simulator.plan import FaultPlan
from simulator.tamper import Tamper
from tests.simulator.backend import entry


def tamper(fault: Fault | None = None, **options: Any) -> Tamper:
    """Return the tamper of connection 1 under a plan with this fault."""
    plan = FaultPlan(1)
    if fault is not None:
        plan.add(fault, **options)
    return Tamper(plan, 1, Random(1))


def events(*versions: int, job_id: str = "a", final: int = 0) -> list[Newer]:
    """Return events of a job."""
    return [
        Newer(entry(job_id, version, "completed" if version == final else "running"), gap=False)
        for version in versions
    ]


def told(sent: list[bytes]) -> list[tuple[int, bool]]:
    """Return the version of each event, and whether it is marked `gap`."""
    return [(event["version"], event.get("gap", False)) for event in map(json.loads, sent)]


def versions(sent: list[bytes]) -> list[int]:
    """Return the version of each event."""
    return [version for version, _ in told(sent)]


def test_without_faults_events_pass() -> None:
    """Without a rule events pass as they are, and need not be looked at."""
    clean = tamper()

    assert clean.is_idle
    assert clean.admit(events(1, 2), 0.0) == [event.encoded for event in events(1, 2)]


@pytest.mark.parametrize(
    ("fault", "expected"), [(DropEvent(), [1, 3]), (Duplicate(), [1, 2, 2, 3])]
)
def test_one_event_is_struck(fault: Fault, expected: list[int]) -> None:
    """A rule for the second event drops or doubles that one alone."""
    dirty = tamper(fault, match={"nth": 2})

    assert not dirty.is_idle
    assert versions(dirty.admit(events(1, 2, 3), 0.0)) == expected


def test_rule_can_choose_the_job() -> None:
    """Events of other jobs and connections pass."""
    dirty = tamper(DropEvent(), match={"job": "b", "connection": 1, "direction": "out"})

    assert versions(dirty.admit(events(1) + events(2, job_id="b"), 0.0)) == [1]


def test_delayed_event_is_overtaken() -> None:
    """A delayed event goes out when its time has come, after younger ones."""
    dirty = tamper(DelayEvent(seconds=2.0), count=2)

    assert versions(dirty.admit(events(1, 2, 3), 10.0)) == [3]
    assert dirty.due_at() == 12.0
    assert dirty.due(11.9) == []
    assert versions(dirty.due(12.0)) == [1, 2]
    assert dirty.due_at() is None


def test_reordered_events_come_in_another_order() -> None:
    """A full window goes out at once, with the same events in another order."""
    dirty = tamper(Reorder(window=8))

    sent = versions(dirty.admit(events(*range(1, 9)), 0.0))

    assert sorted(sent) == list(range(1, 9)) != sent
    assert dirty.due_at() is None


def test_window_that_does_not_fill_goes_out_in_time() -> None:
    """Events that wait for others go out after a while, even if the fault has healed."""
    dirty = tamper(Reorder(window=8, seconds=0.25), count=3)

    assert dirty.admit(events(1, 2), 1.0) == []
    assert dirty.admit(events(3), 1.1) == []
    assert versions(dirty.admit(events(4), 1.2)) == [4]
    assert dirty.due_at() == 1.25
    assert sorted(versions(dirty.due(1.25))) == [1, 2, 3]


def test_gap_leaves_out_and_says_so() -> None:
    """One event is missing and the next of its job is marked."""
    dirty = tamper(Gap(), match={"nth": 2})

    sent = dirty.admit(events(1, 2) + events(9, job_id="b") + events(3, 4), 0.0)

    assert told(sent) == [(1, False), (9, False), (3, True), (4, False)]


def test_gap_never_loses_a_final() -> None:
    """A final event has no next one, so it is marked itself."""
    dirty = tamper(Gap())

    assert told(dirty.admit(events(1, 2, final=2), 0.0)) == [(2, True)]
