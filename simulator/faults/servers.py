"""Faults of the server as a whole, and of its clock."""

from typing import Annotated, Literal

from msgspec import Meta

from simulator.faults.fault import Fault, Reason, Seconds, Share

__all__ = [
    "ClockJump",
    "Drain",
    "EpochBump",
    "HistoryTruncate",
    "PauseProcess",
    "Restart",
    "Skew",
    "Speed",
]

Shift = Annotated[float, Meta(ge=-1e9, le=1e9)]


class Restart(Fault, frozen=True, kw_only=True):
    """Reset all connections, stay away and come back.

    Args:
        lose_state: `all` comes back with a new epoch and no job, `none` with everything; a number
            from 0 to 1 is the part of the jobs that is lost, and the rest gets a new epoch.
        down_for: seconds in which connections are refused.
    """

    name = "restart"
    where = "server"

    lose_state: Literal["none", "all"] | Share = "none"
    down_for: Seconds = 0.0


class EpochBump(Fault, frozen=True, kw_only=True):
    """Begin a new epoch with all jobs as they are; channels are closed with 4000."""

    name = "epoch_bump"
    where = "server"


class HistoryTruncate(Fault, frozen=True, kw_only=True):
    """Forget the older versions of every job.

    Args:
        keep: how many of the newest are kept.
    """

    name = "history_truncate"
    where = "server"

    keep: Annotated[int, Meta(ge=1, le=64)] = 1


class Drain(Fault, frozen=True, kw_only=True):
    """Announce to all channels that they will be closed, and close them.

    Args:
        spread: seconds over which the clients are asked to move; None for as long as the number
            of connections asks for.
        deadline: seconds until the channels are closed with 1012.
        reason: what the announcement says.
    """

    name = "drain"
    where = "server"

    spread: Seconds | None = None
    deadline: Seconds = 10.0
    reason: Reason = "drain"


class PauseProcess(Fault, frozen=True, kw_only=True):
    """Freeze the server as SIGSTOP does, and let it go on as after SIGCONT.

    The process lives on, for its own tests run in it: no byte comes in or goes out, jobs stand
    still, and at the end everything that was due meanwhile happens at once.

    Args:
        seconds: how long.
    """

    name = "pause_process"
    where = "server"

    seconds: Seconds = 5.0


class ClockJump(Fault, frozen=True, kw_only=True):
    """Set the clock by which jobs run, forward or back, and leave it so.

    Args:
        seconds: forward, so that jobs are that much further at once; below 0 back, so that they
            stand still for as long.
    """

    name = "clock_jump"
    where = "server"

    seconds: Shift = 60.0


class Skew(Fault, frozen=True, kw_only=True):
    """Write wrong times into the documents of new versions; nothing else follows them.

    Args:
        seconds: by which they are ahead; below 0 behind.
    """

    name = "skew"
    where = "clock"

    seconds: Shift = 3600.0


class Speed(Fault, frozen=True, kw_only=True):
    """Run jobs faster or slower than they say, until the fault heals.

    Args:
        factor: how many times faster; 0 stands still.
    """

    name = "speed"
    where = "clock"

    factor: Annotated[float, Meta(ge=0, le=1e6)] = 2.0
