"""The catalogue of faults that the simulator can show.

A fault is named for what the peer sees. Its fields are its parameters, named alike in
Python and in the control API. `simulator.plan` decides who gets which one.

`where` is the occasion at which a fault strikes: a `request` of REST, an `upgrade` to the channel,
a `channel` that is open, an `event` about to be sent, a new version of a `job`, or the `server`.
"""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Final, Literal

from msgspec import Meta, Struct

__all__ = [
    "AcceptAndClose",
    "Close",
    "DelayEvent",
    "Drain",
    "DropEvent",
    "Duplicate",
    "FAULTS",
    "Fault",
    "Gap",
    "Garbage",
    "HalfOpen",
    "Hang",
    "HttpStatus",
    "Latency",
    "Mute",
    "RefuseUpgrade",
    "Reorder",
    "Reset",
    "Restart",
    "UnknownState",
    "Vanish",
    "Where",
]

Where = Literal["request", "upgrade", "channel", "event", "job", "server"]
Seconds = Annotated[float, Meta(ge=0, le=1e9)]
CloseCode = Annotated[int, Meta(ge=1000, le=4999)]
HttpCode = Annotated[int, Meta(ge=400, le=599)]


class Fault(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the peer gets to see; each kind of fault is a subclass."""

    name: ClassVar[str]
    where: ClassVar[Where]


# -- faults of REST ---------------------------------------------------------------------------


class HttpStatus(Fault, frozen=True, kw_only=True):
    """Answer with this status instead of doing what was asked.

    Args:
        status: the HTTP status, 400 to 599.
        retry_after: the Retry-After header: seconds, or any text such as a date; None for none.
        body: the body of the answer; None for a problem document.
    """

    name = "status"
    where = "request"

    status: HttpCode = 503
    retry_after: Seconds | str | None = None
    body: str | None = None


class Hang(Fault, frozen=True, kw_only=True):
    """Take the request and stay silent.

    Args:
        seconds: after which the connection is reset without an answer; None for never.
    """

    name = "hang"
    where = "request"

    seconds: Seconds | None = None


class Garbage(Fault, frozen=True, kw_only=True):
    """Answer 200 with a body that is no answer.

    Args:
        kind: `json` is broken off in the middle, `html` a page of a proxy, `nan` JSON with a number
            that JSON does not have, `empty` nothing at all, `wrong_type` JSON of another shape.
    """

    name = "garbage"
    where = "request"

    kind: Literal["json", "html", "nan", "empty", "wrong_type"] = "json"


class Latency(Fault, frozen=True, kw_only=True):
    """Answer correctly, but late.

    Args:
        seconds: the least delay.
        jitter: seconds, of which a random part is added.
    """

    name = "latency"
    where = "request"

    seconds: Seconds = 1.0
    jitter: Seconds = 0.0


# -- faults of the channel --------------------------------------------------------------------


class RefuseUpgrade(Fault, frozen=True, kw_only=True):
    """Refuse to open a channel.

    Args:
        status: the HTTP status, 400 to 599.
        retry_after: the Retry-After header in seconds; None for none.
    """

    name = "refuse_upgrade"
    where = "upgrade"

    status: HttpCode = 503
    retry_after: Seconds | None = None


class AcceptAndClose(Fault, frozen=True, kw_only=True):
    """Open the channel and close it at once, before a word is said.

    Args:
        code: the close code.
        reason: the close reason.
    """

    name = "accept_and_close"
    where = "upgrade"

    code: CloseCode = 1000
    reason: Annotated[str, Meta(max_length=100)] = ""


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
    reason: Annotated[str, Meta(max_length=100)] = ""
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
    """Keep the socket, but neither read from it nor write to it until the fault heals.

    Args:
        age: seconds after its opening before which a channel is left alone.
    """

    name = "half_open"
    where = "channel"

    age: Seconds = 0.0


class DropEvent(Fault, frozen=True, kw_only=True):
    """Leave out an event as if it had been sent."""

    name = "drop_event"
    where = "event"


class Duplicate(Fault, frozen=True, kw_only=True):
    """Send an event twice."""

    name = "duplicate"
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
    """Leave out an event and mark the next one of its job `gap`; a final event is only marked."""

    name = "gap"
    where = "event"


# -- faults of jobs ---------------------------------------------------------------------------


class UnknownState(Fault, frozen=True, kw_only=True):
    """Give a job that has not ended a state that nobody has heard of.

    Args:
        word: the state.
    """

    name = "unknown_state"
    where = "job"

    word: Annotated[str, Meta(min_length=1, max_length=64)] = "transmogrifying"


class Vanish(Fault, frozen=True, kw_only=True):
    """Forget a job.

    Args:
        tombstone: whether the server admits it (`gone`); otherwise the job is unknown to it, and
            its subscribers hear nothing more.
    """

    name = "vanish"
    where = "job"

    tombstone: bool = False


# -- faults of the server ---------------------------------------------------------------------


class Restart(Fault, frozen=True, kw_only=True):
    """Reset all connections, stay away and come back.

    Args:
        lose_state: `all` comes back with a new epoch and no job, `none` with everything.
        down_for: seconds in which connections are refused.
    """

    name = "restart"
    where = "server"

    lose_state: Literal["none", "all"] = "none"
    down_for: Seconds = 0.0


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
    reason: Annotated[str, Meta(max_length=100)] = "drain"


FAULTS: Final[Mapping[str, type[Fault]]] = {
    kind.name: kind
    for kind in (
        AcceptAndClose,
        Close,
        DelayEvent,
        Drain,
        DropEvent,
        Duplicate,
        Gap,
        Garbage,
        HalfOpen,
        Hang,
        HttpStatus,
        Latency,
        Mute,
        RefuseUpgrade,
        Reorder,
        Reset,
        Restart,
        UnknownState,
        Vanish,
    )
}
