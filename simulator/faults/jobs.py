"""Faults of jobs: how they are ordered, and what their versions say."""

from typing import Annotated, Literal

from msgspec import Meta

from simulator.faults.fault import Fault, Seconds, Share
from simulator.jobs import parse_delay

__all__ = [
    "Delay",
    "ErrorProbability",
    "Eta",
    "PartialLanguages",
    "RegressProgress",
    "ResurrectAfterFinal",
    "StuckAt",
    "UnknownState",
    "Vanish",
]


class Delay(Fault, frozen=True, kw_only=True):
    """Let a job take another time than its order says.

    Args:
        time: as an order has it: seconds ("5"), a range ("3:10"), or a distribution.
    """

    name = "delay"
    where = "order"

    time: Annotated[str, Meta(min_length=1, max_length=100)] = "60"

    def __post_init__(self) -> None:
        parse_delay(self.time)


class ErrorProbability(Fault, frozen=True, kw_only=True):
    """Let a job end in `error` more or less often than its order says.

    Args:
        chance: from 0 to 1.
    """

    name = "error_probability"
    where = "order"

    chance: Share = 1.0


class PartialLanguages(Fault, frozen=True, kw_only=True):
    """Make fewer jobs of an order than it has languages, and say nothing of the others.

    Args:
        fraction: of the languages that get a job, from 0 to 1; the first one always does.
    """

    name = "partial_languages"
    where = "order"

    fraction: Share = 0.5


class StuckAt(Fault, frozen=True, kw_only=True):
    """Let a job stand still before it gets further than this, until the fault heals.

    Args:
        progress: from 0 to 1; the end counts as 1.
    """

    name = "stuck_at"
    where = "job"

    progress: Share = 0.99


class RegressProgress(Fault, frozen=True, kw_only=True):
    """Let a version tell less progress than the job has made.

    Args:
        by: how much less, from 0 to 1.
    """

    name = "regress_progress"
    where = "job"

    by: Share = 0.2


class Eta(Fault, frozen=True, kw_only=True):
    """Let a version that is not final estimate its remaining time badly.

    Args:
        kind: `wrong` is ten times too long, `short` ten times too short, `inf` as long as a number
            can be (1e308 s), `negative` -1 s, `missing` none at all.
    """

    name = "eta"
    where = "job"

    kind: Literal["wrong", "short", "inf", "negative", "missing"] = "wrong"


class UnknownState(Fault, frozen=True, kw_only=True):
    """Give a job that has not ended a state that nobody has heard of.

    Args:
        word: the state.
    """

    name = "unknown_state"
    where = "job"

    word: Annotated[str, Meta(min_length=1, max_length=64)] = "transmogrifying"


class ResurrectAfterFinal(Fault, frozen=True, kw_only=True):
    """Let a job that has ended run again for a while, and end once more in the same way.

    Args:
        seconds: from its end to its resurrection, and from there to its second end.
    """

    name = "resurrect_after_final"
    where = "job"

    seconds: Seconds = 1.0


class Vanish(Fault, frozen=True, kw_only=True):
    """Forget a job.

    Args:
        tombstone: whether the server admits it (`gone`); otherwise the job is unknown to it, and
            its subscribers hear nothing more.
    """

    name = "vanish"
    where = "job"

    tombstone: bool = False
