"""Faults of the channel: its opening, its heartbeat, and the events on it."""

from typing import Annotated, Literal

from msgspec import Meta

from simulator.faults.fault import CloseCode, Direction, Fault, HttpCode, Reason, Seconds

__all__ = [
    "AcceptAndClose",
    "Close",
    "DelayEvent",
    "DropEvent",
    "Duplicate",
    "EventAfterFinal",
    "FinalOnlyByPoll",
    "Gap",
    "GarbageFrame",
    "HalfOpen",
    "HeartbeatStop",
    "Mute",
    "NoPong",
    "Oversize",
    "RefuseUpgrade",
    "Reorder",
    "ResendOld",
    "Reset",
    "SlowReader",
    "SnapshotLost",
    "WrongJob",
]


class RefuseUpgrade(Fault, frozen=True, kw_only=True):
    """Refuse to open a channel.

    Args:
        status: the HTTP status, 400 to 599.
        retry_after: the Retry-After header in seconds; None for none.
        as_date: whether it is written as the date at which they are over.
    """

    name = "refuse_upgrade"
    where = "upgrade"

    status: HttpCode = 503
    retry_after: Seconds | None = None
    as_date: bool = False


class AcceptAndClose(Fault, frozen=True, kw_only=True):
    """Open the channel and close it at once, before a word is said.

    Args:
        code: the close code.
        reason: the close reason.
    """

    name = "accept_and_close"
    where = "upgrade"

    code: CloseCode = 1000
    reason: Reason = ""


class Close(Fault, frozen=True, kw_only=True):
    """Close an open channel.

    Args:
        code: the close code.
        reason: the close reason.
        age: seconds after its opening before which a channel is left alone.
    """

    name = "close"
    where = "channel"

    code: CloseCode = 1012
    reason: Reason = ""
    age: Seconds = 0.0


class Reset(Fault, frozen=True, kw_only=True):
    """Abort the socket of an open channel (RST).

    Args:
        age: seconds after its opening before which a channel is left alone.
    """

    name = "reset"
    where = "channel"

    age: Seconds = 0.0


class Mute(Fault, frozen=True, kw_only=True):
    """Keep the channel open and answer on it, but send no events until the fault heals.

    Args:
        age: seconds after its opening before which a channel is left alone.
    """

    name = "mute"
    where = "channel"

    age: Seconds = 0.0


class HalfOpen(Fault, frozen=True, kw_only=True):
    """Keep the socket of a channel, but let nothing through until the fault heals.

    Args:
        direction: `in` for what the server receives, which then misses the client and closes;
            `out` for what it sends; None for both.
        age: seconds after its opening before which a channel is left alone.
    """

    name = "half_open"
    where = "channel"

    direction: Direction | None = None
    age: Seconds = 0.0


class NoPong(Fault, frozen=True, kw_only=True):
    """Leave the pings of the WebSocket protocol itself unanswered (RFC 6455 section 5.5.2).

    Args:
        age: seconds after its opening before which a channel is left alone.
    """

    name = "no_pong"
    where = "channel"

    age: Seconds = 0.0


class HeartbeatStop(Fault, frozen=True, kw_only=True):
    """Ping no more; the rest of the channel goes on.

    Args:
        age: seconds after its opening before which a channel is left alone.
    """

    name = "heartbeat_stop"
    where = "channel"

    age: Seconds = 0.0


class SlowReader(Fault, frozen=True, kw_only=True):
    """Read what the client sends one frame at a time, with pauses.

    Args:
        seconds: the pause after each frame.
        age: seconds after its opening before which a channel is left alone.
    """

    name = "slow_reader"
    where = "channel"

    seconds: Seconds = 1.0
    age: Seconds = 0.0


class DropEvent(Fault, frozen=True, kw_only=True):
    """Leave out an event as if it had been sent."""

    name = "drop_event"
    where = "event"


class SnapshotLost(Fault, frozen=True, kw_only=True):
    """Leave out the first event of a job after its subscribe, though `synced` says it was sent."""

    name = "snapshot_lost"
    where = "event"


class FinalOnlyByPoll(Fault, frozen=True, kw_only=True):
    """Leave out final events; only a read tells how a job has ended."""

    name = "final_only_by_poll"
    where = "event"


class Duplicate(Fault, frozen=True, kw_only=True):
    """Send an event twice."""

    name = "duplicate"
    where = "event"


class ResendOld(Fault, frozen=True, kw_only=True):
    """Send the event before once more behind an event of the same job.

    Args:
        epoch: under which it is sent again; None leaves its own.
    """

    name = "resend_old"
    where = "event"

    epoch: Annotated[str, Meta(pattern="^[0-9A-Za-z_-]{1,64}$")] | None = None


class EventAfterFinal(Fault, frozen=True, kw_only=True):
    """Send one event more behind a final one: the job runs again, in a version that no read has."""

    name = "event_after_final"
    where = "event"


class WrongJob(Fault, frozen=True, kw_only=True):
    """Send an event a second time, under the id of a job that nobody asked for."""

    name = "wrong_job"
    where = "event"


class Reorder(Fault, frozen=True, kw_only=True):
    """Hold events back until `window` of them can be sent in random order.

    Args:
        window: the number of events.
        seconds: after which they go out even if there are fewer.
    """

    name = "reorder"
    where = "event"

    window: Annotated[int, Meta(ge=2, le=1000)] = 4
    seconds: Seconds = 0.25


class DelayEvent(Fault, frozen=True, kw_only=True):
    """Send an event late; events after it overtake it.

    Args:
        seconds: the delay.
    """

    name = "delay_event"
    where = "event"

    seconds: Seconds = 1.0


class Gap(Fault, frozen=True, kw_only=True):
    """Leave out events and mark the next one of their job `gap`; a final event is only marked.

    Args:
        n: how many are left out in a row.
    """

    name = "gap"
    where = "event"

    n: Annotated[int, Meta(ge=1, le=1000)] = 1


class GarbageFrame(Fault, frozen=True, kw_only=True):
    """Send a frame that is no message in front of an event.

    Args:
        kind: `json` is broken off in the middle, `binary` a binary frame, `unknown` a message of a
            type that nobody knows, `wrong_type` JSON of another shape, `nan` an event with a number
            that JSON does not have.
    """

    name = "garbage_frame"
    where = "event"

    kind: Literal["json", "binary", "unknown", "wrong_type", "nan"] = "json"


class Oversize(Fault, frozen=True, kw_only=True):
    """Send a frame in front of an event that is larger than any client need take.

    Args:
        size: its bytes.
    """

    name = "oversize"
    where = "event"

    size: Annotated[int, Meta(ge=1, le=100_000_000)] = 2_000_000
