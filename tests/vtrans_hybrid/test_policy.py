"""How long to wait, how often to try, how much to ask."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.promises import e2_budget
from vtrans_hybrid.policy import (
    Backoff,
    Pacing,
    PollPolicy,
    RetryBudget,
    RetryPolicy,
    TokenBucket,
)

MIDDLE = 0.5
"""The random number that makes plus-minus jitter vanish."""


@pytest.mark.parametrize(
    ("attempt", "rand", "delay"),
    [
        (1, 0.0, 0.25),
        (1, 1.0, 0.5),
        (2, 1.0, 1.0),
        (3, 1.0, 2.0),
        (7, 1.0, 30.0),
        (10**6, 1.0, 30.0),
        (10**6, 0.0, 15.0),
    ],
)
def test_backoff(attempt: int, rand: float, delay: float) -> None:
    """The delay doubles up to its cap, and half of it is random; none overflows."""
    assert Backoff().delay(attempt, rand) == delay


@pytest.mark.parametrize(
    "options",
    [
        {"initial": 0},
        {"initial": -1},
        {"initial": math.nan},
        {"initial": math.inf},
        {"cap": 0},
        {"factor": 0.5},
        {"factor": math.nan},
    ],
)
def test_backoff_refuses(options: dict[str, float]) -> None:
    """A delay that makes no sense is misuse."""
    with pytest.raises(ValueError, match=next(iter(options))):
        Backoff(**options)


@pytest.mark.parametrize(
    "options",
    [
        {"max_attempts": 0},
        {"max_attempts": 1.5},
        {"request_timeout": 0},
        {"request_timeout": math.inf},
    ],
)
def test_retry_policy_refuses(options: dict[str, float]) -> None:
    """A retry policy that makes no sense is misuse."""
    with pytest.raises(ValueError, match=next(iter(options))):
        RetryPolicy(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"min_interval": 0}, "min_interval"),
        ({"min_interval": -1}, "min_interval"),
        ({"max_interval": math.nan}, "max_interval"),
        ({"min_interval": 5, "max_interval": 4}, "below"),
        ({"initial_interval": -1}, "initial_interval"),
        ({"max_wait_time": 0}, "max_wait_time"),
        ({"max_rate": 0}, "max_rate"),
        ({"backoff_factor": 0.9}, "backoff_factor"),
        ({"first_interval": -1}, "first_interval"),
        ({"early_interval": 0}, "early_interval"),
        ({"cohort_interval": 0}, "cohort_interval"),
        ({"stuck_after": -1}, "stuck_after"),
        ({"jitter": 1.1}, "jitter"),
        ({"jitter": -0.1}, "jitter"),
    ],
)
def test_poll_policy_refuses(options: dict[str, float], word: str) -> None:
    """A poll policy that makes no sense is misuse, and the message names the argument."""
    with pytest.raises(ValueError, match=word):
        PollPolicy(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize("value", ["1", None, True])
def test_seconds_are_numbers(value: object) -> None:
    """What is no number is no interval."""
    with pytest.raises(TypeError, match="number of seconds"):
        PollPolicy(min_interval=value)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("policy", "pacing", "interval"),
    [
        # adaptive: an estimate that proved steady is trusted, and read right behind
        (PollPolicy(), Pacing(3, 10, 12.0, is_eta_steady=True), 12.05),
        (PollPolicy(), Pacing(3, 10, 12.0), 6.0),
        (PollPolicy(), Pacing(3, 10, 100.0, is_eta_steady=True), 30.0),
        (PollPolicy(), Pacing(3, 10, 0.1), 1.0),
        # many jobs share one request, so it may come often
        (PollPolicy(), Pacing(3, 10, 40.0, cohort=20), 1.0),
        (PollPolicy(), Pacing(3, 10, 1.0, cohort=20), 1.0),
        (PollPolicy(), Pacing(3, 100, None, cohort=20), 1.0),
        # overdue: a tenth of the delay
        (PollPolicy(), Pacing(3, 10, -50.0), 5.0),
        (PollPolicy(), Pacing(3, 10, 0.0), 1.0),
        (PollPolicy(), Pacing(3, 10, -1000.0), 15.0),
        # nothing known: at first the initial interval, then 5 % of what has passed
        (PollPolicy(), Pacing(1, 0, None), 1.0),
        (PollPolicy(initial_interval=5.0), Pacing(1, 0, None), 5.0),
        (PollPolicy(), Pacing(2, 10, None), 2.0),
        (PollPolicy(), Pacing(9, 100, None), 5.0),
        (PollPolicy(), Pacing(9, 10_000, None), 15.0),
        (PollPolicy(), Pacing(9, 100, math.inf), 5.0),
        # eta: half of it, and no tricks
        (PollPolicy.eta(), Pacing(3, 10, 12.0, is_eta_steady=True, cohort=50), 6.0),
        (PollPolicy.eta(), Pacing(9, 100, None), 1.0),
        # fixed
        (PollPolicy.fixed(7), Pacing(9, 100, 1.0), 7.0),
        # exponential
        (PollPolicy.exponential(), Pacing(1, 0, 5.0), 1.0),
        (PollPolicy.exponential(), Pacing(4, 0, 5.0), 8.0),
        (PollPolicy.exponential(), Pacing(10**6, 0, 5.0), 30.0),
        (PollPolicy.exponential(initial_interval=60), Pacing(1, 0, None), 30.0),
        # patient: from 5 s on half as much again, up to 30 s in three minutes, then up to 60 s
        (PollPolicy.patient(), Pacing(0, 0, None), 5.0),
        (PollPolicy.patient(), Pacing(1, 5, None), 7.5),
        (PollPolicy.patient(), Pacing(3, 24, None), 16.875),
        (PollPolicy.patient(), Pacing(9, 179, None), 30.0),
        (PollPolicy.patient(), Pacing(9, 180, None), 60.0),
        # many are read as soon as the next read of all of them comes
        (PollPolicy.patient(), Pacing(9, 180, None, cohort=20), 5.0),
    ],
)
def test_intervals(policy: PollPolicy, pacing: Pacing, interval: float) -> None:
    """The interval follows what is known of the job, by the policy chosen."""
    assert policy.interval(pacing, MIDDLE) == pytest.approx(interval)


@given(
    reads=st.integers(0, 10**6),
    elapsed=st.floats(0, 1e9),
    eta=st.none() | st.floats(-1e9, 1e9) | st.just(math.inf),
    steady=st.booleans(),
    cohort=st.integers(1, 10**6),
    rand=st.floats(0, 1),
)
def test_intervals_stay_in_their_bounds(
    reads: int, elapsed: float, eta: float | None, steady: bool, cohort: int, rand: float
) -> None:
    """Whatever a server says of the end, the interval keeps its bounds and a small margin."""
    for policy in (
        PollPolicy.adaptive(),
        PollPolicy.eta(),
        PollPolicy.fixed(3.0),
        PollPolicy.exponential(),
        PollPolicy.patient(),
    ):
        interval = policy.interval(Pacing(reads, elapsed, eta, steady, cohort), rand)
        assert policy.min_interval <= interval <= policy.max_interval + 0.05


def test_jitter() -> None:
    """Jitter is plus or minus its share."""
    policy = PollPolicy(progression=PollPolicy.fixed(10).progression, min_interval=1, jitter=0.05)
    spread = PollPolicy.eta(max_interval=100)

    assert spread.interval(Pacing(3, 0, 20.0), 0.0) == pytest.approx(9.5)
    assert spread.interval(Pacing(3, 0, 20.0), 1.0) == pytest.approx(10.5)
    assert policy.interval(Pacing(3, 0, 20.0), 0.0) == 1.0


def test_bucket_spends_what_it_has() -> None:
    """A full bucket gives its burst at once, then one token an interval."""
    bucket = TokenBucket(rate=2.0, burst=3.0, now=10.0)

    assert [bucket.take(10.0) for _ in range(4)] == [True, True, True, False]
    assert bucket.ready_at() == pytest.approx(10.5)
    assert not bucket.take(10.4)
    assert bucket.take(10.5)
    assert not bucket.take(10.5)


def test_bucket_saves_no_more_than_its_burst() -> None:
    """A long rest saves a burst, not more."""
    bucket = TokenBucket(rate=2.0, burst=3.0, now=0.0)

    assert sum(bucket.take(1000.0) for _ in range(10)) == 3


@given(
    start=st.floats(0, 1e7),
    rate=st.floats(0.01, 1000),
    burst=st.floats(1, 100),
    waits=st.lists(st.floats(0, 3), max_size=30),
)
def test_bucket_is_ready_when_it_says(
    start: float, rate: float, burst: float, waits: list[float]
) -> None:
    """At the time that `ready_at` names a token is there, so a shell that sleeps gets on."""
    bucket = TokenBucket(rate, burst, start)
    now, spent = start, []
    for wait in waits:
        now += wait
        while bucket.take(now):
            spent.append(now)
        at = bucket.ready_at()
        assert at > now, "a shell that wakes at once and finds nothing would spin"
        now = at
        assert bucket.take(now)
        spent.append(now)
    e2_budget([at - start for at in spent], rate=rate, burst=burst)


def test_retry_budget_stops_retries() -> None:
    """After five failures on the whole nothing is retried, and answers earn it back slowly."""
    budget = RetryBudget()
    for _ in range(4):
        budget.failed(100.0)
        assert budget.may_retry
    budget.failed(100.0)
    assert not budget.may_retry

    budget.succeeded()
    assert budget.may_retry
    for _ in range(1000):
        budget.succeeded()
    for _ in range(5):
        budget.failed(100.0)
    assert not budget.may_retry


def test_retry_budget_forgets_an_outage() -> None:
    """Time earns retries as well, for a client that lives on push makes few requests."""
    budget = RetryBudget()
    for _ in range(10):
        budget.failed(100.0)
    budget.failed(130.0)
    assert budget.may_retry
