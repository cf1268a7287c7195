"""A job's life as a pure function of its specification.

A specification holds everything, the seed too, so any replica computes the same life at any time.
`Life` gives step v without the steps before it: an open job costs a few numbers, not a list.
"""

import math
import re
from collections.abc import Callable
from itertools import pairwise
from random import Random
from typing import Final, Literal, NamedTuple

from msgspec import Struct

__all__ = [
    "Delay",
    "Dialect",
    "FINAL_STATES",
    "Failure",
    "HeyGenOrder",
    "JobSpec",
    "Life",
    "Pace",
    "ScriptedStep",
    "Step",
    "parse_delay",
    "timeline",
]

FINAL_STATES: Final = frozenset({"completed", "error", "canceled"})

_LONGEST: Final = 30 * 24 * 3600.0  # s; a longer life is a slip of the pen
_FAILURES: Final = (
    ("source_unreadable", "The video could not be downloaded; is its URL public?"),
    ("audio_missing", "The video has no audio track that could be translated."),
    ("language_unsupported", "This voice cannot speak the language that was asked for."),
)


Dialect = Literal["native", "heygen"]


class Failure(Struct, frozen=True, gc=False):
    """Why a job ended in `error`."""

    code: str
    message: str


class HeyGenOrder(Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """What an order in HeyGen's words said beside all that others say, too."""

    input_language: str | None = None
    audio_only: bool = False
    captions: bool = False


class ScriptedStep(Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """One step of a life that somebody wrote down."""

    at: float
    """Seconds after the creation."""
    state: str
    progress: float | None = None
    estimated_time_remaining: float | None = None
    error: Failure | None = None
    result_url: str | None = None


class JobSpec(Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """Everything that a job's life depends on, and whose it is. Version 1 of a job carries it."""

    job_id: str
    video_url: str = ""
    language: str | None = None
    title: str | None = None
    delay: str = "5"
    """As `parse_delay` takes it."""
    error_probability: float = 0.0
    failure: Failure | None = None
    """Why it ends in `error`, if it does; None leaves that to chance."""
    script: tuple[ScriptedStep, ...] = ()
    seed: str = ""
    speed: float = 1.0
    created_at: float = 0.0
    """Unix time in seconds."""
    owner: str | None = None
    """A digest of the API key that the job belongs to; None for everybody."""
    request: str | None = None
    """A digest of the order, by which a repeated Idempotency-Key is recognised."""
    callback_url: str | None = None
    """Who is to be told of the job by HTTP POST; None for nobody."""
    callback_id: str | None = None
    """What the caller wants to read in such a callback."""
    dialect: Dialect = "native"
    """In which words it was ordered, and callbacks about it are written."""
    heygen: HeyGenOrder | None = None
    """What only HeyGen's words say."""

    def __repr__(self) -> str:
        # The addresses may be signed, and then they are secrets.
        return f"<JobSpec {self.job_id}: {self.language}, delay {self.delay}>"


class Step(NamedTuple):
    """What one version of a job says, and when it is due."""

    version: int
    offset: float
    """Seconds after the creation."""
    state: str
    progress: float | None
    eta: float | None
    """Seconds to the end."""
    error: Failure | None = None
    result_url: str | None = None

    @property
    def is_final(self) -> bool:
        """Whether the job ends with this version."""
        return self.state in FINAL_STATES


class Pace(NamedTuple):
    """How often a running job tells of its progress."""

    updates: int = 20
    """How often over its whole life."""
    min_interval: float = 0.25
    """Seconds between two of them, at least."""


_DEFAULT_PACE: Final = Pace()

Delay = Callable[[Random], float]
"""Draw how long a job takes, in seconds."""


def parse_delay(text: str) -> Delay:
    """Understand how long jobs take.

    Args:
        text: a number of seconds ("5"), a range ("3:10"), or a distribution with its parameters:
            "uniform:3,10", "normal:60,10", "lognormal:300,0.5" (median and sigma),
            "exponential:5" (mean). What is drawn is cut off at 0 and at 30 days.

    Raises:
        ValueError: the text is none of these; the message says what is wrong.
    """
    kind, parameters = _split(text.strip())
    if kind not in _DISTRIBUTIONS:
        raise ValueError(
            f"{text!r} is no delay: write a number of seconds (5), a range (3:10), or one of "
            "uniform:3,10  normal:60,10  lognormal:300,0.5  exponential:5."
        )
    count, draw = _DISTRIBUTIONS[kind]
    if len(parameters) != count:
        raise ValueError(f"{text!r}: {kind} takes {count} number(s), not {len(parameters)}.")
    numbers = [_number(text, parameter) for parameter in parameters]
    if kind == "uniform" and numbers[0] > numbers[1]:
        raise ValueError(f"{text!r}: the lower end of the range comes first.")
    return lambda random: min(max(draw(random, *numbers), 0.0), _LONGEST)


class Life:
    """The life of one job.

    Versions are dense: 1 `pending` at 0, 2 `running` soon after, then progress, then the end.

    Args:
        spec: of the job.
        pace: how often it tells of its progress.

    Raises:
        ValueError: the specification makes no life; the text says why.
    """

    __slots__ = ("_failure", "_progressing", "_running_at", "_spec", "ends_at", "last")

    def __init__(self, spec: JobSpec, pace: Pace = _DEFAULT_PACE) -> None:
        self._spec = spec
        self._failure: Failure | None = None
        self._running_at = 0.0
        self._progressing = 0
        if spec.script:
            _check_script(spec.script)
            self.last = len(spec.script)
            self.ends_at = spec.script[-1].at / spec.speed
            return
        random = Random(spec.seed)
        self.ends_at = parse_delay(spec.delay)(random) / spec.speed
        if random.random() < spec.error_probability:
            self._failure = spec.failure or Failure(*random.choice(_FAILURES))
        self._running_at = min(0.1 * self.ends_at, 1.0)
        interval = max(self.ends_at / max(pace.updates, 1), pace.min_interval)
        running_for = self.ends_at - self._running_at
        # The end itself is no progress update, so one that would coincide with it is left out.
        self._progressing = max(math.floor(running_for / interval + 1e-6) - 1, 0)
        self.last = 3 + self._progressing

    def due(self, version: int) -> float | None:
        """Return when a version comes, in seconds after the creation; None if it never does."""
        if not 1 <= version <= self.last:
            return None
        if self._spec.script:
            return self._spec.script[version - 1].at / self._spec.speed
        if version == self.last:
            return self.ends_at
        if version == 1:
            return 0.0
        share = (version - 2) / (self._progressing + 1)
        return self._running_at + share * (self.ends_at - self._running_at)

    def step(self, version: int) -> Step:
        """Return what a version says.

        Raises:
            ValueError: the life has no such version.
        """
        offset = self.due(version)
        if offset is None:
            raise ValueError(f"This life has the versions 1 to {self.last}, not {version}.")
        if self._spec.script:
            return self._scripted(version, offset)
        eta = round(self.ends_at - offset, 3)
        if version == 1:
            return Step(1, 0.0, "pending", 0.0, eta)
        if version < self.last:
            progress = round(offset / self.ends_at, 4) if version > 2 else 0.0
            return Step(version, offset, "running", progress, eta)
        if self._failure is not None:
            return Step(version, offset, "error", None, None, error=self._failure)
        return Step(version, offset, "completed", 1.0, 0.0, result_url=_result_url(self._spec))

    def _scripted(self, version: int, offset: float) -> Step:
        line = self._spec.script[version - 1]
        error, result_url = line.error, line.result_url
        if line.state == "error" and error is None:
            error = Failure("scripted", "The script of this job says so.")
        if line.state == "completed" and result_url is None:
            result_url = _result_url(self._spec)
        eta = line.estimated_time_remaining
        return Step(version, offset, line.state, line.progress, eta, error, result_url)


def timeline(spec: JobSpec, pace: Pace = _DEFAULT_PACE) -> tuple[Step, ...]:
    """Return every step of a job's life, in the order of its versions."""
    life = Life(spec, pace)
    return tuple(life.step(version) for version in range(1, life.last + 1))


_DISTRIBUTIONS: Final[dict[str, tuple[int, Callable[..., float]]]] = {
    "constant": (1, lambda _random, seconds: seconds),
    "uniform": (2, lambda random, low, high: random.uniform(low, high)),
    "normal": (2, lambda random, mean, deviation: random.gauss(mean, deviation)),
    "lognormal": (
        2,
        lambda random, median, sigma: random.lognormvariate(math.log(max(median, 1e-9)), sigma),
    ),
    "exponential": (1, lambda random, mean: random.expovariate(1 / mean) if mean else 0.0),
}


def _split(text: str) -> tuple[str, list[str]]:
    """Return the name of the distribution and its parameters."""
    head, colon, tail = text.partition(":")
    if re.fullmatch(r"[a-z]+", head):
        return head, tail.split(",") if colon else []
    return ("uniform", [head, tail]) if colon else ("constant", [head])


def _number(text: str, parameter: str) -> float:
    try:
        number = float(parameter)
    except ValueError:
        raise ValueError(f"{text!r} is no delay: {parameter!r} is no number of seconds.") from None
    if not 0 <= number <= _LONGEST:  # false for NaN as well
        raise ValueError(f"{text!r}: {parameter} is not between 0 and {_LONGEST:.0f} s (30 days).")
    return number


def _check_script(script: tuple[ScriptedStep, ...]) -> None:
    if any(later.at < earlier.at for earlier, later in pairwise(script)):
        raise ValueError("The steps of a script must be in the order of their times.")
    if any(line.state in FINAL_STATES for line in script[:-1]):
        raise ValueError("Only the last step of a script may be final.")
    if script[-1].at > _LONGEST:
        raise ValueError(f"A script may take {_LONGEST:.0f} s (30 days), not {script[-1].at:g} s.")


def _result_url(spec: JobSpec) -> str:
    return f"https://videos.example/{spec.job_id}.mp4"
