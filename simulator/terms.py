"""The terms on which a client may stay on the channel, and the numbers of how that goes."""

from typing import Final, NamedTuple

__all__ = ["ChannelOptions", "ChannelStats", "PATIENCE"]

PATIENCE: Final = 10.0
"""Seconds that a peer may take nothing of what waits for it (docs/protocol.md section 3.12)."""


class ChannelOptions(NamedTuple):
    """The terms on which connections live."""

    ping: float = 5.0
    """Seconds of silence after which the server pings."""
    grace: float = 5.0
    """Seconds that the answer to a ping may take."""
    hello: float = 10.0
    """Seconds for a client to introduce itself."""
    patience: float = PATIENCE
    """Seconds that an outbox may stand still; it is the same for the answers of REST."""
    max_subscriptions: int = 200_000
    """Jobs that one connection may subscribe."""
    origins: frozenset[str] = frozenset()
    """Origins whose pages may ask, here and of REST, beside the server's own."""


class ChannelStats(NamedTuple):
    """The numbers of a channel since its start."""

    open: int  # connections now
    opened: int  # connections ever
    frames: int  # frames sent
    events: int  # events sent
    closed: dict[int, int]  # connections closed by the server, by close code
