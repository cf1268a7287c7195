"""The terms on which a client may stay on the channel."""

from typing import NamedTuple

__all__ = ["ChannelOptions"]


class ChannelOptions(NamedTuple):
    """The terms on which connections live."""

    ping: float = 5.0
    """Seconds of silence after which the server pings."""
    grace: float = 5.0
    """Seconds that the answer to a ping may take."""
    hello: float = 10.0
    """Seconds for a client to introduce itself."""
    patience: float = 15.0
    """Seconds that an outbox may stand still."""
    max_subscriptions: int = 200_000
    """Jobs that one connection may subscribe."""
    origins: frozenset[str] = frozenset()
    """Origins that browsers may come from, beside the server's own."""
