"""How long to wait, how often to try, how much to ask: pure values and small pure accounts.

Two kinds of waiting are kept apart. *Pacing* (`PollPolicy`) is the interval between reads of a job
that simply runs; it follows information, above all `estimated_time_remaining`. *Backoff*
(`RetryPolicy`) is the delay after an error; it knows nothing and grows. No function here reads a
clock or draws a random number: both come in as arguments.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

__all__ = [
    "Backoff",
    "COHORT",
    "Pacing",
    "PollPolicy",
    "Progression",
    "RetryBudget",
    "RetryPolicy",
    "TokenBucket",
    "bounded",
]


COHORT = 20
"""From this many open jobs on, they are a cohort: where there are bulk reads, they share them."""

_EARLY = 180.0
"""Seconds for which `PollPolicy.early_interval` holds."""


def _check_seconds(name: str, value: float, *, allow_zero: bool = False) -> None:
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise TypeError(f"{name} is a number of seconds, not {type(value).__name__}")
    if not math.isfinite(value) or value < 0 or (value == 0 and not allow_zero):
        least = "zero or more" if allow_zero else "more than zero"
        raise ValueError(f"{name} must be {least} seconds and finite, not {value}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """Delay after the n-th failure in a row: exponential, capped, with half of it random.

    Attributes:
        initial: Delay after the first failure, in seconds, before jitter.
        factor: What each further failure multiplies the delay with.
        cap: The longest delay in seconds.

    Raises:
        ValueError: A number is out of its range; the message says which.
    """

    # The precedents: gRPC starts at 1 s with factor 1.6, websockets at 3 s with 1.618, botocore
    # doubles from 1 s. A socket that a proxy cut is back at once, so we start lower.
    initial: float = 0.5
    factor: float = 2.0
    cap: float = 30.0

    def __post_init__(self) -> None:
        _check_seconds("initial", self.initial)
        _check_seconds("cap", self.cap)
        if not (math.isfinite(self.factor) and self.factor >= 1):
            raise ValueError(f"factor must be at least 1 and finite, not {self.factor}")

    def delay(self, attempt: int, rand: float) -> float:
        """Return the seconds to wait after failure number `attempt`.

        Args:
            attempt: How many failures in a row there were, 1-based.
            rand: A random number in [0, 1).
        """
        try:
            plain = self.initial * self.factor ** (attempt - 1)
        except OverflowError:
            plain = self.cap
        return min(self.cap, plain) * (0.5 + rand / 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """What to do about failed requests.

    Attributes:
        max_attempts: Tries of one request, the first included; 1 means no retry. A watch gives up
            after that many failures only while the server has never answered at all: a wrong
            address is an error to report, an outage is one to sit out.
        backoff: Delay between tries and between attempts to reconnect.
        request_timeout: Seconds that one request may take, connecting included.
        total_timeout: Seconds that a call (`submit`, `status`, `statuses`, `cancel`) may take with
            all its tries, unless it is given a timeout of its own. Where the next try, put off by a
            Retry-After for instance, would begin later, the error is raised at once. None sets no
            limit. Watches have their own timeout instead.

    Raises:
        ValueError: A number is out of its range; the message says which.
    """

    max_attempts: int = 5
    backoff: Backoff = Backoff()
    request_timeout: float = 15.0
    total_timeout: float | None = 60.0

    def __post_init__(self) -> None:
        if not isinstance(self.max_attempts, int) or self.max_attempts < 1:
            raise ValueError(
                f"max_attempts must be a whole number from 1 on, not {self.max_attempts}"
            )
        if not isinstance(self.backoff, Backoff):
            raise TypeError(f"backoff is a Backoff, not {type(self.backoff).__name__}")
        _check_seconds("request_timeout", self.request_timeout)
        if self.total_timeout is not None:
            _check_seconds("total_timeout", self.total_timeout)


class Progression(Enum):
    """How the interval between two reads of a running job comes about."""

    ADAPTIVE = "adaptive"
    ETA = "eta"
    FIXED = "fixed"
    EXPONENTIAL = "exponential"


class Pacing(NamedTuple):
    """What is known of a running job when its next read is planned. All times in seconds."""

    reads: int
    """How many reads this job has had."""

    elapsed: float
    """Since the job was first seen."""

    eta: float | None
    """Until the job ends, by its newest status; None where unknown."""

    is_eta_steady: bool = False
    """Whether the last two statuses predicted the same end."""

    cohort: int = 1
    """How many jobs are read together: one bulk request serves them all."""


_MAY_BE_NONE = (
    "initial_interval",
    "early_interval",
    "cohort_interval",
    "stuck_after",
    "max_wait_time",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PollPolicy:
    """How often to read the status of a running job while no push channel covers it.

    The constructors `adaptive`, `eta`, `fixed`, `exponential` and `patient` name the usual choices;
    their arguments are the fields of the same names.

    Attributes:
        progression: How the interval comes about; each constructor stands for one way.
        min_interval: The shortest interval in seconds.
        max_interval: The longest interval in seconds, however late the job is expected to end.
        initial_interval: Seconds before the second read of a job about which nothing is known;
            None means `min_interval`.
        backoff_factor: What each read multiplies the interval with, in `exponential` only.
        first_interval: Seconds between an order of this client and the first read of its job. A job
            that was not ordered just now is read at once.
        early_interval: The longest interval in the first three minutes of a job; None means
            `max_interval`.
        cohort_interval: Where there are bulk reads, and from 20 open jobs on: seconds from one read
            of all of them to the next, whatever is known of each. None reads each as is best for
            it, as far as they can share requests.
        stuck_after: Seconds after which a job that has not ended is noted in the log, once, as
            perhaps stuck. It is followed all the same. None notes nothing.
        jitter: Share of each interval that is random, 0 to 1: 0.05 is plus or minus 5 %.
        max_rate: Requests per second that polling may cost in all, whatever the number of jobs.
        max_wait_time: Seconds after which a watch without a timeout of its own gives up; None
            waits for ever.

    Raises:
        ValueError: A number is out of its range; the message says which.
    """

    progression: Progression = Progression.ADAPTIVE
    min_interval: float = 1.0
    max_interval: float = 30.0
    initial_interval: float | None = None
    backoff_factor: float = 2.0
    first_interval: float = 0.0
    early_interval: float | None = None
    cohort_interval: float | None = None
    stuck_after: float | None = None
    jitter: float = 0.05
    max_rate: float = 20.0
    max_wait_time: float | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.progression, Progression):
            raise TypeError(
                "progression is a Progression: use PollPolicy.adaptive, .eta, .fixed, .exponential"
            )
        _check_seconds("min_interval", self.min_interval)
        _check_seconds("max_interval", self.max_interval)
        _check_seconds("first_interval", self.first_interval, allow_zero=True)
        for name in _MAY_BE_NONE:
            if (seconds := getattr(self, name)) is not None:
                _check_seconds(name, seconds)
        if not (math.isfinite(self.max_rate) and self.max_rate > 0):
            raise ValueError(f"max_rate must be more than zero a second, not {self.max_rate}")
        if self.max_interval < self.min_interval:
            raise ValueError(
                f"max_interval ({self.max_interval}) is below min_interval ({self.min_interval})"
            )
        if not (math.isfinite(self.backoff_factor) and self.backoff_factor >= 1):
            raise ValueError(
                f"backoff_factor must be at least 1 and finite, not {self.backoff_factor}"
            )
        if not 0 <= self.jitter <= 1:
            raise ValueError(f"jitter is a share from 0 to 1, not {self.jitter}")

    @classmethod
    def adaptive(
        cls,
        *,
        min_interval: float = 1.0,
        max_interval: float = 30.0,
        max_wait_time: float | None = None,
        max_rate: float = 20.0,
    ) -> PollPolicy:
        """Follow whatever is known: a live estimate, else the time gone by. The default.

        It reads right behind the end that two estimates agree on, else after half of what is left
        by the newest; where there are none, the interval grows with the age of the job.
        """
        return cls(
            min_interval=min_interval,
            max_interval=max_interval,
            max_wait_time=max_wait_time,
            max_rate=max_rate,
        )

    @classmethod
    def eta(
        cls,
        *,
        min_interval: float = 1.0,
        max_interval: float = 30.0,
        max_wait_time: float | None = None,
        max_rate: float = 20.0,
    ) -> PollPolicy:
        """Wait half of `estimated_time_remaining`, between the two bounds."""
        return cls(
            progression=Progression.ETA,
            min_interval=min_interval,
            max_interval=max_interval,
            max_wait_time=max_wait_time,
            max_rate=max_rate,
        )

    @classmethod
    def fixed(
        cls,
        interval: float,
        *,
        jitter: float = 0.05,
        max_wait_time: float | None = None,
        max_rate: float = 20.0,
    ) -> PollPolicy:
        """Wait `interval` seconds every time, more or less by `jitter`."""
        return cls(
            progression=Progression.FIXED,
            min_interval=interval,
            max_interval=interval,
            jitter=jitter,
            max_wait_time=max_wait_time,
            max_rate=max_rate,
        )

    @classmethod
    def exponential(
        cls,
        *,
        initial_interval: float = 1.0,
        backoff_factor: float = 2.0,
        max_interval: float = 30.0,
        jitter: float = 0.25,
        max_wait_time: float | None = None,
        max_rate: float = 20.0,
    ) -> PollPolicy:
        """Multiply the interval by `backoff_factor` each time, up to `max_interval`."""
        return cls(
            progression=Progression.EXPONENTIAL,
            min_interval=min(initial_interval, max_interval),
            initial_interval=initial_interval,
            backoff_factor=backoff_factor,
            max_interval=max_interval,
            jitter=jitter,
            max_wait_time=max_wait_time,
            max_rate=max_rate,
        )

    @classmethod
    def patient(
        cls,
        *,
        initial_interval: float = 5.0,
        backoff_factor: float = 1.5,
        early_interval: float = 30.0,
        max_interval: float = 60.0,
        cohort_interval: float = 31.0,
        stuck_after: float | None = 3600.0,
        max_wait_time: float | None = None,
        max_rate: float = 5.0,
    ) -> PollPolicy:
        """Ask a server seldom that does not tell how far its jobs are; what HeyGen is asked with.

        The first read is `initial_interval` after the order, and each interval is `backoff_factor`
        times the one before, up to `early_interval` in the first three minutes and `max_interval`
        after them: such jobs take five to fifteen minutes as a rule. Many are read together, at a
        little more than half a minute's distance, so that no minute sees three such reads.
        """
        return cls(
            progression=Progression.EXPONENTIAL,
            min_interval=min(initial_interval, max_interval),
            initial_interval=initial_interval,
            first_interval=initial_interval,
            backoff_factor=backoff_factor,
            early_interval=early_interval,
            max_interval=max_interval,
            cohort_interval=cohort_interval,
            stuck_after=stuck_after,
            max_wait_time=max_wait_time,
            max_rate=max_rate,
        )

    def interval(self, pacing: Pacing, rand: float) -> float:
        """Return the seconds until the next read.

        Args:
            pacing: What is known of the job.
            rand: A random number in [0, 1).
        """
        plain, exact = self._plain_interval(pacing)
        if exact:
            return plain
        longest = self.max_interval
        if self.early_interval is not None and pacing.elapsed < _EARLY:
            longest = min(longest, self.early_interval)
        spread = plain * (1 + self.jitter * (2 * rand - 1))
        return min(longest, max(self.min_interval, spread))

    def _plain_interval(self, pacing: Pacing) -> tuple[float, bool]:
        """Return the interval before jitter, and whether jitter would spoil it."""
        first = self.initial_interval or self.min_interval
        if self.cohort_interval is not None and pacing.cohort >= COHORT:
            return self.min_interval, True  # the schedule rounds it up to the next common read
        if self.progression is Progression.FIXED:
            return self.min_interval, False
        if self.progression is Progression.EXPONENTIAL:
            # Where the first read follows the order by an interval, that was the first of them.
            passed = pacing.reads if self.first_interval else max(0, pacing.reads - 1)
            try:
                return first * self.backoff_factor**passed, False
            except OverflowError:
                return self.max_interval, False
        eta = pacing.eta
        if eta is None or not math.isfinite(eta):
            return self._uninformed_interval(pacing, first), False
        if eta <= 0:
            # Overdue: the end may come at any moment, yet an estimate that is wrong once is
            # likely to be wrong by much, so the interval grows with the delay.
            return min(15.0, max(1.0, -0.1 * eta)), False
        if self._trusts_end(pacing) and self.min_interval <= eta <= self.max_interval:
            return eta + _END_MARGIN, True
        if self.progression is Progression.ADAPTIVE and pacing.cohort >= COHORT:
            return min(_COHORT_INTERVAL, eta / 2), False
        return eta / 2, False

    def _trusts_end(self, pacing: Pacing) -> bool:
        return self.progression is Progression.ADAPTIVE and pacing.is_eta_steady

    def _uninformed_interval(self, pacing: Pacing, first: float) -> float:
        if pacing.reads <= 1 or self.progression is Progression.ETA:
            return first
        if pacing.cohort >= COHORT:
            return _COHORT_INTERVAL
        # A job that has run for long will run for long: 5 % of what has passed.
        return min(15.0, max(2.0, 0.05 * pacing.elapsed))


# Two predictions of the end that agree are worth a read right behind it; the margin in seconds
# covers the way of the request.
_END_MARGIN = 0.05

# One bulk request a tick (in seconds) costs each job of a cohort next to nothing.
_COHORT_INTERVAL = 1.0


class TokenBucket:
    """Account of what may be spent: `rate` tokens a second, at most `burst` saved up.

    Args:
        rate: Tokens that come in per second.
        burst: The most that can be saved.
        now: Monotonic time of the start, in seconds; the bucket starts full.
    """

    __slots__ = ("_at", "_burst", "_rate", "_tokens")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self._rate = rate
        self._burst = burst
        self._tokens = burst
        self._at = now

    def take(self, now: float) -> bool:
        """Spend one token; return whether there was one."""
        self._tokens = min(self._burst, self._tokens + (now - self._at) * self._rate)
        self._at = now
        # Sums of floats fall short of one by their last bits. A shell that wakes exactly at
        # `ready_at` must not find the bucket a hair too empty, and the next `ready_at` less than
        # the resolution of its clock away: it would wake again and again without time passing.
        if self._tokens < 1 - _HAIR:
            return False
        self._tokens = max(0.0, self._tokens - 1)
        return True

    def ready_at(self) -> float:
        """Return the monotonic time at which one token will be there."""
        return self._at + max(0.0, 1 - self._tokens) / self._rate


_HAIR = 1e-6
"""Share of a token that may be missing."""


class RetryBudget:
    """Stop retrying when most requests fail, so that retries do not keep a server down.

    The account of gRPC's proposal A6: a failure costs a token, a success earns a tenth of one, and
    at half of what it holds, or below, nothing is retried. Time earns a little as well, since a
    client that lives on push makes few requests: an outage must not be held against it for hours.

    Args:
        max_attempts: Tries of one request. The account holds twice as many tokens, and at least ten
            as in gRPC's example, so that one request can have them all while others go well.
    """

    __slots__ = ("_at", "_full", "_tokens")

    EARNED = 0.1
    """Tokens for a success."""

    EARNED_BY_TIME = 0.25
    """Tokens for each second."""

    def __init__(self, max_attempts: int = 5) -> None:
        self._full = max(10.0, 2.0 * max_attempts)
        self._tokens = self._full
        self._at = -math.inf

    @property
    def may_retry(self) -> bool:
        """Whether a failed request may be sent again."""
        return self._tokens > self._full / 2

    def failed(self, now: float) -> None:
        """Note a failure that was worth a retry, at a monotonic time in seconds."""
        earned = (now - self._at) * self.EARNED_BY_TIME
        self._tokens = max(0.0, min(self._full, self._tokens + earned) - 1)
        self._at = now

    def succeeded(self) -> None:
        """Note an answer."""
        self._tokens = min(self._full, self._tokens + self.EARNED)


def bounded(seconds: float) -> float:
    """Return a delay in seconds that a server asks for, as far as we are willing to obey."""
    return min(max(seconds, 0.0), _LONGEST_RETRY_AFTER)


_LONGEST_RETRY_AFTER = 3600.0
