"""The faults of jobs: what becomes of an order, and of a version that is due. Pure."""

from typing import Final

import msgspec

from simulator.faults import (
    Delay,
    ErrorProbability,
    Eta,
    Fault,
    PartialLanguages,
    RegressProgress,
    ResurrectAfterFinal,
    StuckAt,
    UnknownState,
)
from simulator.jobs import JobSpec, Step
from simulator.messages import Status
from simulator.orders import timestamp
from simulator.plan import Applies, Facts, FaultPlan

__all__ = ["applies_to", "befallen", "overruled", "risen"]

_ETA_FACTORS: Final = {"wrong": 10.0, "short": 0.1}
_LONGEST: Final = 1e308  # s


def overruled(made: list[JobSpec], plan: FaultPlan, now: float) -> list[JobSpec]:
    """Return the specifications of the jobs of an order as the plan wants them, and how many.

    Args:
        made: what the order itself says.
        plan: asked for `order` faults.
        now: monotonic seconds.
    """
    if not plan.asks("order"):
        return made
    if len(made) > 1:
        fault = plan.decide("order", _facts(made[0]), now, applies=_is(PartialLanguages))
        if isinstance(fault, PartialLanguages):
            made = made[: max(round(fault.fraction * len(made)), 1)]
    return [_overruled(spec, plan, now) for spec in made]


def _overruled(spec: JobSpec, plan: FaultPlan, now: float) -> JobSpec:
    delay = plan.decide("order", _facts(spec), now, applies=_is(Delay))
    if isinstance(delay, Delay):
        # A script has its own times, and would hide what was asked for.
        spec = msgspec.structs.replace(spec, delay=delay.time, script=())
    error = plan.decide("order", _facts(spec), now, applies=_is(ErrorProbability))
    if isinstance(error, ErrorProbability):
        spec = msgspec.structs.replace(spec, error_probability=error.chance)
    return spec


def applies_to(step: Step, *, is_first_end: bool) -> Applies:
    """Return what tells of a fault whether it could befall a version.

    Args:
        step: what the version would say.
        is_first_end: whether the job ends with it, and never did before.
    """

    def applies(_rule: int, fault: Fault) -> bool:
        match fault:
            case StuckAt(progress=progress):
                return (1.0 if step.is_final else step.progress or 0.0) > progress
            case RegressProgress():
                return not step.is_final and bool(step.progress)
            case Eta() | UnknownState():
                return not step.is_final
            case ResurrectAfterFinal():
                return is_first_end
        return True

    return applies


def befallen(status: Status, fault: Fault | None) -> Status:
    """Return what a version says under a fault; unchanged if the fault says nothing of it."""
    match fault:
        case UnknownState(word=word):
            return msgspec.structs.replace(status, state=word, result=word)
        case RegressProgress(by=by):
            progress = round(max((status.progress or 0.0) - by, 0.0), 4)
            return msgspec.structs.replace(status, progress=progress)
        case Eta(kind=kind):
            eta = _estimated(status.estimated_time_remaining, kind)
            return msgspec.structs.replace(status, estimated_time_remaining=eta)
    return status


def risen(status: Status, at: float) -> Status:
    """Return the version after a final one in which its job runs again.

    Args:
        status: the final version.
        at: Unix time in seconds.
    """
    return msgspec.structs.replace(
        status,
        state="running",
        result="running",
        version=status.version + 1,
        error=None,
        result_url=None,
        updated_at=timestamp(at),
    )


def _estimated(eta: float | None, kind: str) -> float | None:
    match kind:
        case "missing":
            return None
        case "negative":
            return -1.0
        case "inf":
            return _LONGEST
    return None if eta is None else round(eta * _ETA_FACTORS[kind], 3)


def _facts(spec: JobSpec) -> Facts:
    return Facts(job=spec.job_id, key=spec.owner, direction="in")


def _is(kind: type[Fault]) -> Applies:
    return lambda _rule, fault: isinstance(fault, kind)
