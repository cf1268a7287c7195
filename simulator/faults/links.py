"""Faults of the link: what becomes of the bytes of a TCP connection, whatever they mean.

A rule for one direction alone says so in its `match`; its `path` is that of the first request on
the connection, so that `/events` chooses the channels.
"""

from typing import Annotated

from msgspec import Meta

from simulator.faults.fault import Fault, Seconds, Share

__all__ = [
    "Bandwidth",
    "Blackhole",
    "Corrupt",
    "Down",
    "DropEstablished",
    "Lag",
    "LimitData",
    "Refuse",
    "ResetPeer",
    "Slicer",
    "SlowClose",
    "Stall",
    "Swizzle",
    "Timeout",
]

Bytes = Annotated[int, Meta(ge=1, le=1_000_000_000)]


class Lag(Fault, frozen=True, kw_only=True):
    """Let every byte travel for a while; the order stays.

    Args:
        seconds: the least delay, in each direction.
        jitter: seconds, of which a random part is added to each piece.
    """

    name = "lag"
    where = "link"

    seconds: Seconds = 0.1
    jitter: Seconds = 0.0


class Bandwidth(Fault, frozen=True, kw_only=True):
    """Let bytes pass at a limited rate, in each direction for itself.

    Args:
        bytes_per_second: the rate.
    """

    name = "bandwidth"
    where = "link"

    bytes_per_second: Annotated[float, Meta(ge=1, le=1e12)] = 10_000.0


class Slicer(Fault, frozen=True, kw_only=True):
    """Cut the stream into small pieces that arrive one by one.

    Args:
        size: bytes of a piece, at most.
        pause: seconds between two pieces.
    """

    name = "slicer"
    where = "link"

    size: Bytes = 16
    pause: Seconds = 0.0


class Corrupt(Fault, frozen=True, kw_only=True):
    """Flip a random bit in what passes.

    The checksums of TCP and TLS find nearly all of that in real life. What they miss, nobody can:
    a damaged number is a number.

    Args:
        share: of the pieces that are damaged, from 0 to 1.
    """

    name = "corrupt"
    where = "link"

    share: Share = 1.0


class Stall(Fault, frozen=True, kw_only=True):
    """Let nothing pass until the fault heals; what was held back arrives then.

    Neither side is told: it is what a pulled cable looks like.
    """

    name = "stall"
    where = "link"


class Timeout(Fault, frozen=True, kw_only=True):
    """Let nothing pass, and end the connection (FIN) after a while.

    Args:
        seconds: after which it is closed; 0 leaves it as it is, like `stall`.
    """

    name = "timeout"
    where = "link"

    seconds: Seconds = 0.0


class ResetPeer(Fault, frozen=True, kw_only=True):
    """Reset the connection (RST).

    Args:
        seconds: after which it happens; meanwhile everything passes.
    """

    name = "reset_peer"
    where = "link"

    seconds: Seconds = 0.0


class LimitData(Fault, frozen=True, kw_only=True):
    """End the connection (FIN) once it has carried so many bytes.

    Args:
        bytes: that pass in one direction from when the fault begins.
    """

    name = "limit_data"
    where = "link"

    bytes: Bytes = 1000


class SlowClose(Fault, frozen=True, kw_only=True):
    """Let the end of a connection (FIN) wait, either way.

    Args:
        seconds: between the last byte and the end.
    """

    name = "slow_close"
    where = "link"

    seconds: Seconds = 1.0


class Blackhole(Fault, frozen=True, kw_only=True):
    """Accept new connections and say nothing on them until the fault heals; open ones live on."""

    name = "blackhole"
    where = "link"


class Refuse(Fault, frozen=True, kw_only=True):
    """Refuse new connections; open ones live on."""

    name = "refuse"
    where = "listener"


class Down(Fault, frozen=True, kw_only=True):
    """Refuse new connections and reset the open ones; jobs go on meanwhile."""

    name = "down"
    where = "listener"


class DropEstablished(Fault, frozen=True, kw_only=True):
    """Reset a part of the open connections, now and once.

    Args:
        fraction: how many of them, from 0 to 1.
    """

    name = "drop_established"
    where = "server"

    fraction: Share = 0.5


class Swizzle(Fault, frozen=True, kw_only=True):
    """Stall open connections one by one, and let them go one by one in another order.

    Args:
        connections: how many, at most.
        interval: seconds between two steps.
    """

    name = "swizzle"
    where = "server"

    connections: Annotated[int, Meta(ge=1, le=100_000)] = 4
    interval: Seconds = 1.0
