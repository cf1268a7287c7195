"""The life of a job: each row of the table at the top of ledger.py."""

import math

import pytest

from vtrans_hybrid.audience import Deliver, Fail, Finish
from vtrans_hybrid.errors import JobLost, WatchTimeout
from vtrans_hybrid.ledger import Ledger
from vtrans_hybrid.merge import Record, Verdict, Watcher
from vtrans_hybrid.models import JobStatus, Source, State


def status(version: int, state: str = "running", epoch: str = "E1") -> JobStatus:
    """Make a status of job a."""
    return JobStatus(job_id="a", state=State(state), version=version, epoch=epoch)


def attach(ledger: Ledger, *jobs: str, wants_all: bool = False, at: float = math.inf) -> Watcher:
    """Let a new watcher follow jobs."""
    watcher = Watcher()
    ledger.attach(watcher, jobs, 100.0, wants_all=wants_all, deadline=at)
    return watcher


def known(ledger: Ledger, job_id: str = "a") -> Record:
    """Return the record of a job."""
    record = ledger.find(job_id)
    assert record is not None
    return record


def offer(ledger: Ledger, *statuses: JobStatus, source: Source = Source.PUSH) -> Verdict:
    """Offer statuses of job a; return what became of the last one."""
    for each in statuses:
        verdict = ledger.offer(known(ledger), each, source, 101.0)
    return verdict


def taken(ledger: Ledger) -> list[Deliver | Fail | Finish]:
    """Take the actions."""
    actions, ledger.actions = ledger.actions, []
    return actions


def test_absent_is_opened() -> None:
    """ABSENT, attach: OPEN, and nothing to tell yet."""
    ledger, watcher = Ledger(), Watcher()

    [opened] = ledger.attach(watcher, ["a"], 100.0, wants_all=False, deadline=math.inf)

    assert (opened.record.job_id, opened.is_new, opened.wants_more) == ("a", True, False)
    assert opened.record.added_at == 100.0
    assert ledger.open_jobs == 1
    assert list(ledger.watched()) == [opened.record]
    assert taken(ledger) == []


def test_open_tells_who_comes_late() -> None:
    """OPEN, attach: the present status first, with all versions before it skipped."""
    ledger = Ledger()
    attach(ledger, "a")
    offer(ledger, status(1), status(5))
    taken(ledger)

    late = attach(ledger, "a")

    [delivered] = taken(ledger)
    assert isinstance(delivered, Deliver)
    assert delivered.watchers == (late,)
    assert delivered.is_late
    assert (delivered.status.version, delivered.status.skipped) == (5, 4)
    assert ledger.open_jobs == 1


@pytest.mark.parametrize(
    ("first", "second", "wants_more"),
    [(False, True, [True]), (True, True, []), (True, False, []), (False, False, [])],
)
def test_open_may_want_more(first: bool, second: bool, wants_more: list[bool]) -> None:
    """OPEN, attach in mode all: the cover has to change if nobody wanted every version before."""
    ledger = Ledger()
    attach(ledger, "a", wants_all=first)

    opened = ledger.attach(Watcher(), ["a"], 100.0, wants_all=second, deadline=math.inf)

    assert [each.wants_more for each in opened] == wants_more
    assert known(ledger).wants_all is (first or second)


def test_open_tells_everybody() -> None:
    """OPEN, a newer status: Deliver to every watcher, in one action."""
    ledger = Ledger()
    one, other = attach(ledger, "a"), attach(ledger, "a")

    assert offer(ledger, status(1)) is Verdict.NEWER

    assert taken(ledger) == [Deliver((one, other), status(1))]


def test_open_ends() -> None:
    """OPEN, a final status: Deliver, and Finish for who waits for nothing else."""
    ledger = Ledger()
    one, both = attach(ledger, "a"), attach(ledger, "a", "b")

    offer(ledger, status(1), status(2, "completed"))

    assert taken(ledger)[1:] == [Deliver((one, both), status(2, "completed")), Finish(one)]
    assert ledger.open_jobs == 1
    assert known(ledger).watchers == ()


def test_open_fails() -> None:
    """OPEN, an error that ends it: Fail and Finish, and nothing is known for who comes next."""
    ledger = Ledger()
    one, both = attach(ledger, "a"), attach(ledger, "a", "b")
    offer(ledger, status(1))
    taken(ledger)
    error = JobLost("lost")

    ledger.fail(known(ledger), error)

    assert taken(ledger) == [Fail(one, "a", error), Fail(both, "a", error), Finish(one)]
    assert ledger.open_jobs == 1
    attach(ledger, "a")
    assert taken(ledger) == []
    assert offer(ledger, status(1)) is Verdict.NEWER


def test_open_runs_out_of_time() -> None:
    """OPEN, the deadline of its last watcher: LINGER, Fail with what was known."""
    ledger = Ledger()
    watcher, stays = attach(ledger, "a", "b", at=110.0), attach(ledger, "b")
    offer(ledger, status(1))
    ledger.offer(
        known(ledger, "b"), JobStatus(job_id="b", state=State.ERROR, version=1), Source.PUSH, 1
    )
    taken(ledger)

    assert ledger.next_deadline() == 110.0
    assert ledger.expire(109.9) == []
    assert ledger.expire(110.0) == [known(ledger)]

    [failed] = taken(ledger)
    assert isinstance(failed, Fail)
    assert (failed.watcher, failed.job_id) == (watcher, None)
    assert isinstance(failed.error, WatchTimeout)
    assert failed.error.last_status == status(1)
    assert "job a was running" in str(failed.error)
    assert ledger.open_jobs == 0
    assert stays is not watcher


@pytest.mark.parametrize(
    ("jobs", "sentence"), [(["a"], "job a was not heard of"), (["a", "b"], "2 jobs had not ended")]
)
def test_timeouts_say_what_was_waited_for(jobs: list[str], sentence: str) -> None:
    """The sentence of a timeout names the job and its state, or how many there were."""
    ledger = Ledger()
    attach(ledger, *jobs, at=110.0)

    ledger.expire(110.0)

    [failed] = taken(ledger)
    assert isinstance(failed, Fail)
    assert sentence in str(failed.error)


def test_open_is_left() -> None:
    """OPEN, last watcher leaves: LINGER; while another one stays it is OPEN."""
    ledger = Ledger()
    one, other = attach(ledger, "a"), attach(ledger, "a")

    assert ledger.detach(one) == []
    assert ledger.open_jobs == 1
    assert ledger.detach(other) == [known(ledger)]
    assert ledger.open_jobs == 0
    assert ledger.detach(other) == []
    assert taken(ledger) == []


def test_linger_is_taken_up_again() -> None:
    """LINGER, attach: OPEN, and what is known is told."""
    ledger = Ledger()
    one = attach(ledger, "a")
    offer(ledger, status(1))
    ledger.detach(one)
    taken(ledger)

    other = attach(ledger, "a")

    assert [each.watchers for each in taken(ledger) if isinstance(each, Deliver)] == [(other,)]
    assert ledger.open_jobs == 1


def test_linger_goes_on_learning() -> None:
    """LINGER, a newer status: nobody is told, and it is kept."""
    ledger = Ledger()
    ledger.detach(attach(ledger, "a"))

    assert offer(ledger, status(1)) is Verdict.NEWER
    assert taken(ledger) == []
    attach(ledger, "a")
    assert len(taken(ledger)) == 1


def test_linger_ends() -> None:
    """LINGER, its time is over: ABSENT, and nothing refers to its status any more."""
    ledger = Ledger()
    ledger.detach(attach(ledger, "a"))
    offer(ledger, status(1))
    record = known(ledger)

    ledger.remove(record)

    assert ledger.find("a") is None
    assert record.status is None


def test_only_lingering_records_go() -> None:
    """A record that somebody watches is never forgotten: that would be a bug of ours."""
    ledger = Ledger()
    attach(ledger, "a")

    with pytest.raises(AssertionError, match="without watchers"):
        ledger.remove(known(ledger))


@pytest.mark.parametrize("later", [status(2), status(3, "error"), status(1, epoch="E2")])
def test_final_absorbs(later: JobStatus) -> None:
    """FINAL, anything about it: FINAL, and nobody hears of it."""
    ledger = Ledger()
    attach(ledger, "a")
    offer(ledger, status(1, "completed"))
    taken(ledger)

    assert offer(ledger, later) is Verdict.ABSORBED
    assert taken(ledger) == []


def test_final_tells_who_comes_late() -> None:
    """FINAL, attach: the final status once, and the end."""
    ledger = Ledger()
    attach(ledger, "a")
    offer(ledger, status(1, "completed"))
    taken(ledger)

    late = attach(ledger, "a", "a")

    assert taken(ledger) == [
        Deliver((late,), status(1, "completed"), is_late=True),
        Finish(late),
    ]
    assert ledger.open_jobs == 0


def test_watching_nothing_ends_at_once() -> None:
    """A watch without a job is over before it begins."""
    ledger = Ledger()

    watcher = attach(ledger)

    assert taken(ledger) == [Finish(watcher)]


def test_counters() -> None:
    """Everything that becomes of a status is counted."""
    ledger = Ledger()
    attach(ledger, "a", wants_all=True)

    offer(ledger, status(1), status(1), status(1, "pending"), status(5))
    offer(ledger, status(2), source=Source.POLL)

    counters = ledger.counters
    assert (counters.pushes, counters.poll_updates) == (1, 1)
    assert (counters.duplicates, counters.contradictions, counters.holes) == (1, 1, 1)


def test_jobs_keep_their_order() -> None:
    """The same jobs are taken in the same order in every process, whatever the hash seed."""
    ledger = Ledger()
    jobs = [f"job-{number}" for number in range(50)]

    opened = ledger.attach(Watcher(), jobs, 100.0, wants_all=False, deadline=math.inf)

    assert [each.record.job_id for each in opened] == jobs
