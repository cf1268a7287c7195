"""What it means that the server does not know a job: each row of the table in absence.py."""

import math

import pytest

from vtrans_hybrid.absence import Absences, unknown_job
from vtrans_hybrid.dialect import Capabilities
from vtrans_hybrid.errors import JobLost, JobNotFound
from vtrans_hybrid.merge import Record
from vtrans_hybrid.models import JobStatus, State

NOT_FOUND = unknown_job("job-1", "not_found")


def record(epoch: str | None = None) -> Record:
    """Make a record, which was seen if it has an epoch."""
    made = Record("job-1")
    if epoch is not None:
        made.status = JobStatus(job_id="job-1", state=State.RUNNING, version=3, epoch=epoch)
    return made


@pytest.mark.parametrize("code", ["gone", "not_found"])
@pytest.mark.parametrize("epoch", [None, "E1"])
def test_a_tombstone_ends_at_once(code: str, epoch: str | None) -> None:
    """A deleted job is not waited for, whether it was seen or not."""
    error = JobNotFound("gone", status=410, code=code)

    assert Absences(Capabilities()).judge(record(epoch), error, "E1", 0.0) is error


def test_a_job_never_seen_ends_at_once() -> None:
    """A job that nobody has heard of is not waited for."""
    assert Absences(Capabilities()).judge(record(), NOT_FOUND, "E1", 0.0) is NOT_FOUND


def test_a_newer_history_ends_at_once() -> None:
    """A server with a newer history has lost the job."""
    verdict = Absences(Capabilities()).judge(record("E1"), NOT_FOUND, "E2", 0.0)

    assert isinstance(verdict, JobLost)
    assert verdict.job_id == "job-1"
    assert verdict.__cause__ is NOT_FOUND
    assert "submit it again" in str(verdict)


def test_where_no_job_is_lost_one_that_is_unknown_was_deleted() -> None:
    """After the short while of its backend the job is not there; nobody has lost it."""
    absences = Absences(
        Capabilities(may_lose_jobs=False, unknown_grace=20.0, unknown_interval=10.0)
    )

    assert absences.judge(record(""), NOT_FOUND, "", 100.0) is None
    assert absences.judge(record(""), NOT_FOUND, "", 119.9) is None
    assert absences.judge(record(""), NOT_FOUND, "", 120.0) is NOT_FOUND


def test_when_a_job_was_ordered() -> None:
    """What this client ordered just now is remembered for as long as it may be unknown."""
    absences = Absences(Capabilities())
    absences.ordered(["a"], 100.0)
    absences.ordered(["b"], 105.0)

    assert [absences.ordered_at(job, 105.0) for job in "abc"] == [100.0, 105.0, -math.inf]
    assert [absences.ordered_at(job, 110.0) for job in "ab"] == [-math.inf, 105.0]


def test_a_job_that_has_ended_is_not_new() -> None:
    """It may still be unknown to a replica, but nobody waits for what is known to be there."""
    absences = Absences(Capabilities())
    absences.ordered(["job-1"], 100.0)
    absences.ended("job-1")

    assert absences.ordered_at("job-1", 100.0) == -math.inf
    assert absences.judge(record(), NOT_FOUND, "", 101.0) is None
    absences.ordered(["job-1"], 102.0)
    assert absences.ordered_at("job-1", 102.0) == 102.0, "ordered again, under the same name"


@pytest.mark.parametrize("epoch", ["", "E0", "E1"])
def test_a_job_that_was_seen_has_ten_seconds(epoch: str) -> None:
    """In the same history, an older one or none, a job that was seen may be late."""
    absences = Absences(Capabilities())

    assert absences.judge(record("E1"), NOT_FOUND, epoch, 100.0) is None
    assert absences.judge(record("E1"), NOT_FOUND, epoch, 109.9) is None
    assert isinstance(absences.judge(record("E1"), NOT_FOUND, epoch, 110.0), JobLost)


def test_a_job_of_a_server_without_epochs_has_ten_seconds() -> None:
    """Without versions there is no newer history, only time."""
    absences = Absences(Capabilities())

    assert absences.judge(record(""), NOT_FOUND, "E1", 100.0) is None
    assert isinstance(absences.judge(record(""), NOT_FOUND, "", 110.0), JobLost)


def test_an_ordered_job_has_ten_seconds() -> None:
    """A job that was just ordered may be unknown to another replica for a while."""
    absences = Absences(Capabilities())
    absences.ordered(["job-1"], 100.0)

    assert absences.judge(record(), NOT_FOUND, "E1", 101.0) is None
    assert absences.judge(record(), NOT_FOUND, "E1", 110.5) is None
    assert isinstance(absences.judge(record(), NOT_FOUND, "E1", 111.0), JobLost)


def test_an_order_of_long_ago_does_not_count() -> None:
    """After ten seconds an ordered job is like any other."""
    absences = Absences(Capabilities())
    absences.ordered(["job-1"], 100.0)

    assert absences.judge(record(), NOT_FOUND, "E1", 110.0) is NOT_FOUND


def test_a_later_order_counts() -> None:
    """A job ordered twice has its ten seconds from the second time on."""
    absences = Absences(Capabilities())
    absences.ordered(["job-1"], 100.0)
    absences.ordered(["job-2"], 105.0)
    absences.ordered(["job-1"], 109.0)

    assert absences.judge(record(), NOT_FOUND, "E1", 118.0) is None
    assert len(absences._ordered) == 1


def test_being_known_in_between_starts_anew() -> None:
    """Two replicas of which one is behind do not add up to a loss."""
    absences = Absences(Capabilities())

    for now in range(0, 60, 6):
        assert absences.judge(record("E1"), NOT_FOUND, "E1", float(now)) is None
        absences.present("job-1")


def test_nothing_is_kept() -> None:
    """Neither orders nor absences fill the memory."""
    absences = Absences(Capabilities())
    absences.ordered([f"job-{number}" for number in range(100)], 0.0)
    absences.judge(record("E1"), NOT_FOUND, "E1", 0.0)

    absences.present("job-1")
    absences.ordered([], 20.0)

    assert not absences._since
    assert not absences._ordered


def test_sentences() -> None:
    """The sentence says whether the job was deleted or is unknown."""
    assert "deleted" in str(unknown_job("job-1", "gone"))
    assert unknown_job("job-1", "gone").status == 410
    assert "does not know job job-1" in str(NOT_FOUND)
    assert NOT_FOUND.status == 404
