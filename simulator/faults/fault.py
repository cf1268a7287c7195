"""What every fault is, and the ranges of its parameters."""

from typing import Annotated, ClassVar, Final, Literal

from msgspec import Meta, Struct

__all__ = [
    "CloseCode",
    "Direction",
    "Fault",
    "HttpCode",
    "ONCE",
    "Reason",
    "STANDING",
    "Seconds",
    "Share",
    "Where",
]

Where = Literal[
    "link",
    "listener",
    "request",
    "read",
    "upgrade",
    "channel",
    "event",
    "order",
    "job",
    "delivery",
    "clock",
    "server",
]
"""The occasion at which a fault strikes: a TCP connection, the port itself, a request of REST, a
status that REST reads, an upgrade to the channel, an open channel, an event about to be sent, a job
that is ordered, a new version of a job, an attempt to deliver a webhook, the server's clock, or the
server as a whole."""

STANDING: Final[frozenset[Where]] = frozenset({"channel", "clock", "link", "listener"})
"""Where a fault is a condition: decided once, it stands until its rule goes."""

ONCE: Final[frozenset[Where]] = frozenset({"server"})
"""Where a fault is a deed: each rule does it once."""

Direction = Literal["in", "out"]
"""`in` is what the server receives, `out` what it sends."""

Seconds = Annotated[float, Meta(ge=0, le=1e9)]
Share = Annotated[float, Meta(ge=0, le=1)]
CloseCode = Annotated[int, Meta(ge=1000, le=4999)]
HttpCode = Annotated[int, Meta(ge=400, le=599)]
Reason = Annotated[str, Meta(max_length=100)]


class Fault(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the peer gets to see; each kind of fault is a subclass."""

    name: ClassVar[str]
    """By which it is asked for outside of Python."""
    where: ClassVar[Where]
    """At which occasion it strikes."""
