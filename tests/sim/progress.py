"""A bar on a terminal, and nothing elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Self

__all__ = ["Bar"]

_WIDTH = 30
_INTERVAL = 0.1


class Bar:
    """Shows on stderr how far something is, if that is a terminal.

    Args:
        what: What is counted.
        total: How many there are.
    """

    def __init__(self, what: str, total: int) -> None:
        self._what = what
        self._total = max(total, 1)
        self._done = 0
        self._began = time.perf_counter()
        self._shown = 0.0
        self._is_on = sys.stderr.isatty()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.clear()

    def advance(self, count: int) -> None:
        """Note that so many more are done."""
        self._done += count
        now = time.perf_counter()
        if not self._is_on or now - self._shown < _INTERVAL:
            return
        self._shown = now
        filled = _WIDTH * self._done // self._total
        bar = "█" * filled + "·" * (_WIDTH - filled)
        rate = 60 * self._done / (now - self._began)
        sys.stderr.write(
            f"\r{bar} {self._done:,} of {self._total:,} {self._what}, {rate:,.0f} a minute\033[K"
        )
        sys.stderr.flush()

    def clear(self) -> None:
        """Take the bar away."""
        if self._is_on:
            sys.stderr.write("\r\033[K")
            sys.stderr.flush()
