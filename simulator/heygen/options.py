"""How HeyGen's face is set up."""

from typing import Literal, NamedTuple

__all__ = ["HeyGenOptions", "LegacyV2"]

LegacyV2 = Literal["on", "deprecated", "retired"]
"""`deprecated` answers with a header Sunset, `retired` answers 410."""


class HeyGenOptions(NamedTuple):
    """What HeyGen's API is like at the simulator: the account, its limits, what is old."""

    concurrency: int = 10
    """Orders of a key are refused while so many of its translations are open; 0 for no limit.
    HeyGen's is 10 for those who pay as they go."""
    quota: int | None = None
    """How many translations a key may order at all; None for no limit."""
    url_lifetime: float = 7 * 24 * 3600.0
    """Seconds after which the address of a result answers 403, at least 1, for it says so in whole
    seconds; HeyGen's of v2 live for 7 days."""
    legacy_v2: LegacyV2 = "on"
    """What has become of the paths of v2: they are there, say by a header Sunset that they are
    about to go, or are gone (410)."""
    strict: bool = True
    """Whether answers hold nothing but what HeyGen's do; otherwise `progress` and
    `estimated_time_remaining` are there as well."""

    def check(self) -> None:
        """Refuse what cannot be.

        Raises:
            ValueError: a value is out of its range; the text says which one.
        """
        if self.concurrency < 0:
            raise ValueError(f"concurrency is 0 or more, not {self.concurrency}.")
        if self.quota is not None and self.quota < 0:
            raise ValueError(f"quota is 0 or more, or None, not {self.quota}.")
        if not 1 <= self.url_lifetime <= 1e9:
            raise ValueError(f"url_lifetime is from 1 to 1e9, not {self.url_lifetime}.")
        if self.legacy_v2 not in ("on", "deprecated", "retired"):
            raise ValueError(f"legacy_v2 is on, deprecated or retired, not {self.legacy_v2!r}.")
