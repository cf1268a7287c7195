"""What an order becomes: a specification for each job, and a status for each step of its life.

Everything here is a pure function of its arguments; the randomness comes in with `Dice`.
"""

import hashlib
from datetime import UTC, datetime
from functools import lru_cache
from random import Random
from typing import Final, NamedTuple

import msgspec

from simulator.jobs import JobSpec, Life, Pace, ScriptedStep, Step
from simulator.messages import CreateRequest, JobError, ProblemError, Status, encode

__all__ = ["Dice", "Orders", "canceled", "life_of", "specs", "status_of", "timestamp"]

_CANCELED: Final = JobError(code="canceled", message="The job was canceled.")


class Orders(NamedTuple):
    """What a job is like where its order does not say."""

    delay: str = "5"
    """How long it takes, as `jobs.parse_delay` understands it."""
    error_probability: float = 0.0
    speed: float = 1.0
    """How many times faster than it says a job runs."""
    pace: Pace = Pace()
    video_url: str = "https://videos.example/talk.mp4"
    """Of the default job."""


class Dice(NamedTuple):
    """The randomness of orders."""

    ids: Random
    """For job ids. Two servers must not share it, or they give the same id to different jobs."""
    lives: Random
    """For durations and failures: seeded, it makes the n-th job of every run live the same life."""


def specs(
    request: CreateRequest,
    orders: Orders,
    dice: Dice,
    *,
    epoch: str,
    created_at: float,
    owner: str | None = None,
    key: str | None = None,
) -> list[JobSpec]:
    """Return the specification of each job of an order, in the order of its languages.

    With an Idempotency-Key the job ids follow from it, so that a repetition meets its own jobs.

    Args:
        request: the order.
        orders: what it leaves open.
        dice: for ids and seeds.
        epoch: in which the jobs are created.
        created_at: Unix time in seconds.
        owner: whose jobs they are.
        key: the Idempotency-Key, if there is one.

    Raises:
        ProblemError: `bad_request`, both or none of `language` and `languages` are given.
    """
    digest = None if key is None else _digest(encode(request))
    delay = orders.delay if request.delay is None else str(request.delay)
    probability = request.error_probability
    made = []
    for index, language in enumerate(_languages(request)):
        spec = JobSpec(
            job_id=_job_id(dice.ids, epoch, owner, key, index),
            video_url=request.video_url,
            language=language,
            title=request.title,
            delay=delay,
            error_probability=orders.error_probability if probability is None else probability,
            script=_script(request),
            seed=f"{dice.lives.getrandbits(64):016x}",
            speed=orders.speed,
            created_at=created_at,
            owner=owner,
            request=digest,
            callback_url=request.callback_url,
        )
        made.append(spec)
    return made


def life_of(spec: JobSpec, pace: Pace) -> Life:
    """Return the life of a job.

    Raises:
        ProblemError: `bad_request`, its delay or script makes no life.
    """
    try:
        return Life(spec, pace)
    except ValueError as error:
        field = "script" if spec.script else "delay"
        raise ProblemError("bad_request", f"{field}: {error}") from error


def status_of(
    step: Step, spec: JobSpec, epoch: str, created_at: str | None = None, *, skew: float = 0.0
) -> Status:
    """Return the status document of one step of a life.

    Args:
        step: of the life.
        spec: of the job.
        epoch: in which the version counts.
        created_at: as an earlier version of the job has it; None makes it from the specification.
        skew: seconds by which the times in the document are ahead.
    """
    error = (
        None if step.error is None else JobError(code=step.error.code, message=step.error.message)
    )
    return Status(
        job_id=spec.job_id,
        state=step.state,
        result=step.state,
        version=step.version,
        epoch=epoch,
        progress=step.progress,
        estimated_time_remaining=step.eta,
        language=spec.language,
        title=spec.title,
        error=error,
        result_url=step.result_url,
        created_at=created_at or timestamp(spec.created_at + skew),
        updated_at=timestamp(spec.created_at + step.offset + skew),
    )


def canceled(status: Status, at: float) -> Status:
    """Return the version after `status` that ends its job as `canceled`.

    Args:
        status: the newest version of the job.
        at: Unix time in seconds.
    """
    return msgspec.structs.replace(
        status,
        state="canceled",
        result="canceled",
        version=status.version + 1,
        estimated_time_remaining=None,
        error=_CANCELED,
        updated_at=timestamp(at),
    )


def timestamp(at: float) -> str:
    """Return Unix time as RFC 3339 in UTC, to the millisecond."""
    seconds, millis = divmod(round(at * 1e6) // 1000, 1000)
    return f"{_second(seconds)}.{millis:03}Z"


@lru_cache(maxsize=64)  # what a busy server writes in one second begins alike
def _second(at: int) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat()[:-6]


def _languages(request: CreateRequest) -> list[str]:
    if request.languages is None and request.language is not None:
        return [request.language]
    if request.languages is not None and request.language is None:
        return request.languages
    raise ProblemError("bad_request", "Send either `language` or `languages`.")


def _job_id(ids: Random, epoch: str, owner: str | None, key: str | None, index: int) -> str:
    if key is None:
        return f"{ids.getrandbits(96):024x}"
    return _digest(f"{epoch}\n{owner}\n{key}\n{index}".encode())[:24]


def _script(request: CreateRequest) -> tuple[ScriptedStep, ...]:
    steps = msgspec.to_builtins(request.script or [])
    return msgspec.convert(steps, tuple[ScriptedStep, ...])


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()
