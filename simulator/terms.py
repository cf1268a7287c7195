"""The terms on which a client may stay on the channel, and the numbers of how that goes."""

from typing import Final, NamedTuple

__all__ = ["ChannelOptions", "ChannelStats", "PATIENCE"]

PATIENCE: Final = 10.0
"""Seconds that a peer may take nothing of what waits for it (docs/protocol.md section 3.12)."""


class ChannelOptions(NamedTuple):
    """The terms on which connections of the channel live."""

    ping: float = 5.0
    """Seconds of silence after which the server pings."""
    grace: float = 5.0
    """Seconds that the answer to a ping may take."""
    hello: float = 10.0
    """Seconds for a client to introduce itself, before it is closed."""
    patience: float = PATIENCE
    """Seconds for which a client may take nothing of what is sent, before it is closed; it is the
    same for the answers of REST."""
    max_subscriptions: int = 200_000
    """Jobs that one connection may subscribe."""
    origins: frozenset[str] = frozenset()
    """Origins whose pages may ask, here and of REST, beside the server's own."""


class ChannelStats(NamedTuple):
    """The numbers of a channel since its start."""

    open: int
    """Connections now."""
    opened: int
    """Connections ever."""
    frames: int
    """Frames sent."""
    events: int
    """Events sent."""
    closed: dict[int, int]
    """Connections closed by the server, by close code."""
