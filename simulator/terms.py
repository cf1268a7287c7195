"""The terms on which a client may stay on the channel, and the numbers of how that goes."""

import re
from typing import Final, NamedTuple

__all__ = ["ChannelOptions", "ChannelStats", "PATIENCE", "check_origin_text"]

_ORIGIN: Final = re.compile(r"null|file://|[a-z][a-z0-9+.-]*://[^\s/?#@*A-Z]+")

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
    """Origins whose pages may ask, here and of REST, beside the server's own: each as browsers send
    it, such as `https://app.example`."""

    def check(self) -> None:
        """Refuse what cannot be.

        Raises:
            TypeError: `origins` is a single one.
            ValueError: one of them is no origin; the text says which one.
        """
        if isinstance(self.origins, str):
            raise TypeError("origins is a set of origins: write {origin} for a single one.")
        for origin in self.origins:
            check_origin_text(origin)


def check_origin_text(text: str) -> None:
    """Refuse what no browser sends as the Origin of a page (RFC 6454, section 6.2).

    Raises:
        ValueError: it is none; the text says how one is written.
    """
    if not _ORIGIN.fullmatch(text):
        raise ValueError(
            f"{text!r} is no origin: write scheme and host as browsers do, in lower case and with "
            "nothing behind them, such as https://app.example or http://localhost:3000."
        )


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
