"""When to read which job: the wheel, the line, the budget, and what follows a failure."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.promises import e2_budget
from vtrans_hybrid.dialect import Capabilities, Read
from vtrans_hybrid.errors import (
    ConnectFailed,
    InvalidRequest,
    JobNotFound,
    ProtocolError,
    QuotaExceeded,
    RateLimited,
    Unavailable,
    VtransError,
)
from vtrans_hybrid.merge import Record, Watcher
from vtrans_hybrid.models import JobStatus, State
from vtrans_hybrid.policy import Backoff, PollPolicy
from vtrans_hybrid.schedule import Outage, Poll, Schedule

BULK = Capabilities(max_bulk=1000)
SINGLE = Capabilities()


def make(
    capabilities: Capabilities = BULK,
    *,
    rand: float = 0.5,
    now: float = 100.0,
    max_in_flight: int = 10,
    policy: PollPolicy = PollPolicy(),
) -> Schedule:
    """Make a schedule whose random number is always the same."""
    return Schedule(policy, capabilities, lambda: rand, max_in_flight=max_in_flight, now=now)


def record(
    job_id: str = "a", *, version: int = 0, epoch: str = "E1", every: bool = False
) -> Record:
    """Make a record that somebody watches."""
    made = Record(job_id, watchers=(Watcher(),), wants_all=every, added_at=100.0)
    if version:
        made.status = JobStatus(job_id=job_id, state=State.RUNNING, version=version, epoch=epoch)
    return made


def queued(schedule: Schedule, *records: Record, now: float = 100.0) -> None:
    """Put records in line."""
    for each in records:
        each.poll_at = now
        schedule.queue(each)


def started(
    schedule: Schedule, now: float = 100.0, epoch: str = "E1", open_jobs: int = 100
) -> list[Poll]:
    """Start as many polls as may start."""
    polls = []
    while poll := schedule.start(epoch, now, open_jobs):
        polls.append(poll)
    return polls


# The wheel.


def test_a_slot_comes_up_at_its_time() -> None:
    """A read comes up not before its time, and at most a slot later."""
    schedule, job = make(), record()
    schedule.arm(job, 101.005)

    assert schedule.advance(101.0) == []
    at = schedule.next_deadline()
    assert 101.005 <= at <= 101.03
    assert schedule.advance(at) == [job]
    assert schedule.advance(200.0) == []
    assert schedule.next_deadline() == math.inf


def test_later_costs_nothing() -> None:
    """A read that is moved later stays in its slot, and is put off when that comes up."""
    schedule, job = make(), record()
    schedule.arm(job, 101.0)
    for at in (102.0, 103.0, 150.0):
        schedule.arm(job, at)

    assert len(schedule._ticks) == 1
    assert schedule.advance(149.0) == []
    assert schedule.advance(150.1) == [job]


def test_sooner_takes_another_slot() -> None:
    """A read that is moved sooner comes up sooner, and only once."""
    schedule, job = make(), record()
    schedule.arm(job, 150.0)
    schedule.arm(job, 101.0)

    assert schedule.advance(101.1) == [job]
    assert schedule.advance(200.0) == []


def test_hasten_never_delays() -> None:
    """`hasten` moves a read sooner, never later."""
    schedule, job = make(), record()
    schedule.hasten(job, 110.0)
    schedule.hasten(job, 105.0)
    schedule.hasten(job, 120.0)

    assert job.poll_at == 105.0
    assert schedule.advance(105.1) == [job]


def test_back_into_an_old_slot() -> None:
    """A record that returns to a slot where it once stood comes up there once."""
    schedule, job = make(), record()
    schedule.arm(job, 110.0)
    schedule.arm(job, 105.0)
    assert schedule.advance(105.1) == [job]
    schedule.arm(job, 110.0)

    assert schedule.advance(110.1) == [job]


def test_never_is_no_slot() -> None:
    """A read at no time takes no slot."""
    schedule, job = make(), record()
    schedule.arm(job, math.inf)

    assert schedule.next_deadline() == math.inf


@pytest.mark.parametrize("now", [0.0, 0.06, 100.0, 3_000_000.06, 12_345_678.9])
def test_the_present_is_over_at_once(now: float) -> None:
    """What is armed for the present after `advance` comes up later: the shell does not spin."""
    schedule, job = make(now=now), record()
    for _ in range(5):
        schedule.advance(now)
        schedule.arm(job, now)
        assert schedule.next_deadline() > now
        now = schedule.next_deadline()
        assert schedule.advance(now) == [job]


@given(st.lists(st.tuples(st.integers(0, 5), st.floats(0, 30), st.floats(0, 2)), max_size=60))
def test_every_read_comes_up(moves: list[tuple[int, float, float]]) -> None:
    """However often reads are moved, each comes up once, in time, and none is forgotten."""
    schedule, now = make(now=0.0), 0.0
    jobs = [record(f"job-{number}") for number in range(6)]
    for index, delay, wait in moves:
        schedule.arm(jobs[index], now + delay)
        now += wait
        for due in schedule.advance(now):
            assert due.poll_at <= now + 0.03
            due.poll_at = math.inf
        for job in jobs:
            assert job.poll_at > now - 0.05, "it should have come up"
    left = [job for job in jobs if job.poll_at < math.inf]
    assert sorted(due.job_id for due in schedule.advance(now + 60)) == [j.job_id for j in left]


# What the next read is.


@pytest.mark.parametrize(
    ("applied_at", "end_at", "now", "rand", "at"),
    [
        pytest.param(100.0, math.inf, 100.0, 0.0, 160.0, id="60 s after its last news"),
        pytest.param(100.0, math.inf, 100.0, 1.0, 220.0, id="120 s after its last news"),
        pytest.param(100.0, math.inf, 130.0, 1.0, 220.0, id="not counted from the present"),
        pytest.param(100.0, math.inf, 200.0, 0.0, 260.0, id="after an audit, from the present"),
        pytest.param(-math.inf, math.inf, 200.0, 1.0, 320.0, id="without news, from the present"),
        pytest.param(100.0, 110.0, 100.0, 0.5, 115.0, id="5 s after its predicted end"),
        pytest.param(100.0, 900.0, 100.0, 0.0, 160.0, id="a far end is no reason to wait"),
        pytest.param(100.0, 105.0, 104.0, 0.5, 110.0, id="not yet overdue"),
        pytest.param(100.0, 100.0, 105.0, 0.5, 110.0, id="overdue by 5 s, 5 s more"),
        pytest.param(100.0, 100.0, 110.0, 0.5, 120.0, id="overdue by 10 s, 10 s more"),
    ],
)
def test_audits(applied_at: float, end_at: float, now: float, rand: float, at: float) -> None:
    """When a covered job is read: rows one and two of the table."""
    job = record()
    job.applied_at, job.end_at = applied_at, end_at

    assert make(rand=rand).plan_covered(job, now) == pytest.approx(at)


@pytest.mark.parametrize(
    ("applied_at", "end_at", "now", "is_due"),
    [
        (100.0, math.inf, 159.9, False),
        (100.0, math.inf, 160.0, True),
        (100.0, 120.0, 124.9, False),
        (100.0, 120.0, 125.0, True),
    ],
)
def test_which_audits_are_due(applied_at: float, end_at: float, now: float, is_due: bool) -> None:
    """A slot that comes up means a read only if push was silent for long, or the end has passed."""
    job = record()
    job.applied_at, job.end_at = applied_at, end_at

    assert make().is_audit_due(job, now) is is_due


@pytest.mark.parametrize(
    ("capabilities", "open_jobs", "poll_after", "at"),
    [
        (BULK, 1, None, 110.0),
        (BULK, 1, 15.0, 115.0),
        (BULK, 1, 3.0, 110.0),
        (BULK, 1, 1e300, 130.0),
        (BULK, 1, math.inf, 110.0),
        (SINGLE, 5000, None, 110.0),
    ],
)
def test_uncovered_reads(
    capabilities: Capabilities, open_jobs: int, poll_after: float | None, at: float
) -> None:
    """An uncovered job follows the policy; what the server asks for is a lower bound, in bounds."""
    job = record()
    job.end_at = 120.0

    assert make(capabilities).plan_uncovered(job, open_jobs, poll_after, 100.0) == at


def test_a_cohort_reads_together() -> None:
    """Many jobs meet at the same moments, so that one request serves a thousand."""
    schedule, chance = make(rand=0.25), random.Random(1)

    times = {
        round(schedule.plan_uncovered(record(), 1000, None, 100.0 + chance.random()) % 0.25, 6)
        for _ in range(50)
    }

    assert times == {0.0625}


@pytest.mark.parametrize(
    ("ordered_at", "open_jobs", "at"),
    [(-math.inf, 1, -math.inf), (100.0, 1, 105.0), (100.0, 19, 105.0), (98.0, 5000, 103.0)],
)
def test_the_first_read_follows_the_order(ordered_at: float, open_jobs: int, at: float) -> None:
    """A patient policy does not ask right behind an order, and others do."""
    assert make(policy=PollPolicy.patient()).first_at(ordered_at, open_jobs) == at
    assert make().first_at(ordered_at, open_jobs) == ordered_at


def test_a_patient_cohort_has_one_beat() -> None:
    """From the first read on, whoever joins is read with the others, 31 s after they were."""
    schedule = make(policy=PollPolicy.patient())
    assert schedule.first_at(100.0, 200) == 105.0
    assert schedule.first_at(101.0, 200) == 136.0
    queued(schedule, record("a"), record("b"), now=105.0)
    [poll] = started(schedule, now=105.02)
    schedule.finish(poll.poll_id)

    assert [
        schedule.plan_uncovered(record(), 200, None, now) for now in (105.3, 110.0, 130.9, 132.0)
    ] == [136.0, 136.0, 136.0, 167.0]
    assert schedule.plan_uncovered(record(), 19, None, 132.0) == 137.0
    queued(schedule, record("a"), record("b"), now=140.0)
    started(schedule, now=140.0)
    assert schedule.plan_uncovered(record(), 200, None, 141.0) == 171.0, "late, so the beat is"


def test_a_beat_begins_anew_after_a_pause() -> None:
    """When there were no jobs for a while, the first ones do not wait for an old beat."""
    schedule = make(policy=PollPolicy.patient())
    assert schedule.first_at(100.0, 200) == 105.0

    assert schedule.first_at(300.0, 200) == 305.0


def test_stretching() -> None:
    """While announcements come, jobs of which something is known are read in 60 to 120 s."""
    schedule = make(policy=PollPolicy.fixed(10.0, jitter=0.0))
    schedule.is_stretched = True

    assert schedule.plan_uncovered(record(), 1, None, 100.0) == 110.0
    assert schedule.plan_uncovered(record(version=1), 1, None, 100.0) == 190.0


def test_who_may_be_stuck() -> None:
    """A job that is open for an hour, where the policy says so."""
    assert make(policy=PollPolicy.patient()).is_stuck(record(), 3700.0)
    assert not make(policy=PollPolicy.patient()).is_stuck(record(), 3699.0)
    assert not make().is_stuck(record(), 1e9)


# The line.


@pytest.mark.parametrize(("open_jobs", "sizes"), [(19, [1, 1, 1]), (20, [3])])
def test_reads_of_many_may_pay_only_for_many(open_jobs: int, sizes: list[int]) -> None:
    """Where a read of many leaves much open, few jobs are read one by one."""
    schedule = make(Capabilities(max_bulk=100, bulk_from=20))
    queued(schedule, record("a"), record("b"), record("c"))

    polls = started(schedule, open_jobs=open_jobs)
    assert [len(poll.records) for poll in polls] == sizes


def test_a_bulk_read() -> None:
    """What is due goes in one request, with the cursors of the newest history."""
    schedule = make()
    jobs = [record("a", version=5), record("b", version=7, epoch="E0"), record("c")]
    queued(schedule, *jobs)

    [poll] = started(schedule)

    assert poll.read == Read(jobs={"a": 5, "b": 0, "c": 0}, epoch="E1", wants_all=False)
    assert poll.records == tuple(jobs)
    assert poll.started_at == 100.0
    assert {job.in_flight for job in jobs} == {poll.poll_id}


@pytest.mark.parametrize(
    ("capabilities", "sizes"),
    [
        (SINGLE, [1] * 10),
        (Capabilities(max_bulk=4), [4, 4, 2]),
        (Capabilities(max_bulk=100, max_body=66), [3, 3, 3, 1]),
        (Capabilities(max_bulk=100, max_body=1), [1] * 10),
    ],
)
def test_requests_keep_both_limits(capabilities: Capabilities, sizes: list[int]) -> None:
    """A request keeps to the backend's number of jobs and bytes, and takes them in order."""
    schedule = make(capabilities, max_in_flight=100)
    jobs = [record(f"job-{number:02}") for number in range(10)]
    queued(schedule, *jobs)

    polls = started(schedule)

    assert [len(poll.records) for poll in polls] == sizes
    assert [job for poll in polls for job in poll.records] == jobs


def test_adapting_to_a_simpler_backend() -> None:
    """Once the backend turns out to be simpler, jobs are read one by one."""
    schedule = make(max_in_flight=100)
    queued(schedule, record("a"), record("b"))

    schedule.adapt(SINGLE)

    assert [len(poll.records) for poll in started(schedule)] == [1, 1]


def test_modes_do_not_mix() -> None:
    """One request has one mode, and nobody loses the place in line."""
    schedule = make()
    queued(schedule, record("a"), record("b", every=True), record("c"), record("d", every=True))

    polls = started(schedule)

    assert [(poll.read.wants_all, list(poll.read.jobs)) for poll in polls] == [
        (False, ["a", "c"]),
        (True, ["b", "d"]),
    ]


def test_one_poll_in_flight_for_a_job() -> None:
    """A job that stands in line twice is read once, and not while a poll for it is under way."""
    schedule, job = make(), record()
    queued(schedule, job, job)
    [poll] = started(schedule)
    assert poll.records == (job,)
    queued(schedule, job)

    assert started(schedule) == []
    assert schedule.finish(poll.poll_id) is poll
    assert job.in_flight == 0
    queued(schedule, job)
    assert len(started(schedule)) == 1


def test_the_end_of_a_poll_counts_once() -> None:
    """A poll that is over, or was never started, cannot end."""
    schedule = make()
    queued(schedule, record())
    [poll] = started(schedule)
    schedule.finish(poll.poll_id)

    assert schedule.finish(poll.poll_id) is None
    assert schedule.finish(99) is None


def test_who_no_longer_needs_it_leaves_the_line() -> None:
    """A job whose read was put off, or that nobody watches any more, is not read."""
    schedule = make()
    put_off, left = record("a"), record("b")
    queued(schedule, put_off, left)
    schedule.arm(put_off, 150.0)
    left.watchers = ()

    assert started(schedule) == []
    assert schedule.next_deadline() > 149.0


def test_polls_in_flight_are_bounded() -> None:
    """No more than `max_in_flight` polls are under way, and the end of one lets the next go."""
    schedule = make(SINGLE, max_in_flight=3)
    queued(schedule, *[record(f"job-{number}") for number in range(5)])

    polls = started(schedule)
    assert len(polls) == 3
    assert schedule.next_deadline() == math.inf, "no timer helps: the end of a poll does"
    schedule.finish(polls[0].poll_id)
    assert len(started(schedule)) == 1


def test_the_budget_of_polls() -> None:
    """Whatever the number of jobs, no window has more polls than `max_rate` allows."""
    schedule = make(SINGLE, max_in_flight=10**6, policy=PollPolicy(max_rate=5.0))
    queued(schedule, *[record(f"job-{number}") for number in range(100)])
    now, times = 100.0, []
    while len(times) < 100:
        times += [now for _ in started(schedule, now)]
        assert schedule.next_deadline() > now
        now = min(schedule.next_deadline(), now + 100)

    e2_budget(times, rate=5.0, burst=5.0)
    assert times[-1] == pytest.approx(119.0)


def test_the_gate() -> None:
    """While the gate is closed nothing starts, and the shell wakes when it opens."""
    schedule = make()
    queued(schedule, record())
    schedule.hold(110.0)
    schedule.hold(105.0)

    assert started(schedule, 109.9) == []
    assert schedule.next_deadline() == 110.0
    assert len(started(schedule, 110.0)) == 1


def test_clear() -> None:
    """After `clear` nothing is planned and nothing is under way."""
    schedule = make()
    queued(schedule, record("a"), record("b"))
    schedule.arm(record("c"), 120.0)
    [poll] = started(schedule)

    schedule.clear()

    assert schedule.next_deadline() == math.inf
    assert schedule.finish(poll.poll_id) is None


# Failures.


@pytest.mark.parametrize(
    ("error", "until"),
    [
        (ConnectFailed("no"), 103.0),
        (RateLimited("many", status=429), 103.0),
        (RateLimited("many", status=429, retry_after=7.0), 107.0),
        (RateLimited("many", status=429, retry_after=1.0), 103.0),
        (Unavailable("down", status=503, retry_after=7.0), 107.0),
        (QuotaExceeded("none", status=402), 103.0),
        (InvalidRequest("no", status=400, retry_after=7.0), 107.0),
        (Unavailable("down", status=500), None),
        (ProtocolError("HTML"), None),
        (JobNotFound("no", status=404), None),
    ],
)
def test_which_errors_hold_everything(error: VtransError, until: float | None) -> None:
    """An error about the server holds all polls; one about a job holds that job alone."""
    schedule = make()
    queued(schedule, record())

    schedule.hold_after(error, 3.0, 100.0)

    if until is None:
        assert len(started(schedule)) == 1
    else:
        assert started(schedule, until - 0.01) == []
        assert schedule.next_deadline() == until


def test_an_outage_backs_off() -> None:
    """Failures in a row wait longer and longer, 5 s at most in the first minute."""
    outage, now, delays = Outage(Backoff()), 100.0, []
    for _ in range(7):
        delays.append(outage.delay(ConnectFailed("no"), 1.0, now))
        now += delays[-1]

    assert delays == [0.5, 1.0, 2.0, 4.0, 5.0, 5.0, 5.0]
    assert outage.failures == 7
    assert outage.delay(ConnectFailed("no"), 1.0, 200.0) == 30.0


def test_failures_together_are_one() -> None:
    """Ten polls that fail at once have met one failure, not ten."""
    outage = Outage(Backoff())
    for _ in range(10):
        assert outage.delay(ConnectFailed("no"), 1.0, 100.0) == 0.5

    assert outage.failures == 1


def test_an_answer_ends_an_outage() -> None:
    """After an answer the next failure is the first one."""
    outage = Outage(Backoff())
    for now in range(10):
        outage.delay(ConnectFailed("no"), 1.0, float(now))

    outage.end()

    assert outage.failures == 0
    assert outage.delay(ConnectFailed("no"), 1.0, 500.0) == 0.5


@pytest.mark.parametrize(
    ("spread", "least", "most"), [(0.25, 0.25, 0.5), (10, 9, 11), (30, 27, 30)]
)
def test_an_outage_of_many_stays_spread(spread: float, least: float, most: float) -> None:
    """Polls that fail wait about as long as they are spread, as long as a delay is at most."""
    shortest = Outage(Backoff()).delay(ConnectFailed("no"), 0.0, 100.0, spread)
    longest = Outage(Backoff()).delay(ConnectFailed("no"), 1.0, 100.0, spread)

    assert shortest == pytest.approx(least)
    assert longest == pytest.approx(most)


def test_an_outage_obeys_retry_after() -> None:
    """A delay that the server asks for is the least, however short the outage."""
    outage = Outage(Backoff())

    assert outage.delay(Unavailable("x", status=503, retry_after=20.0), 1.0, 100.0) == 20.0
