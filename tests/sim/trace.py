"""What happened in a run, line by line: for people who look into one, and to compare two."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable

from simulator.testing import Connection, Direction

__all__ = ["Trace"]

_LONGEST = 400
"""Characters of one line that a person gets to see."""


class Trace:
    """Takes notes, if anybody wants them: most runs are never looked at.

    Args:
        is_on: Whether to take any.
    """

    def __init__(self, *, is_on: bool) -> None:
        self.lines: list[str] = []
        self.is_on = is_on
        self.clock: Callable[[], float] = float
        self._bytes = hashlib.blake2b(digest_size=16)

    @property
    def digest(self) -> str:
        """What two runs have in common that did the same to the last byte on the wire."""
        whole = self._bytes.copy()
        whole.update("\n".join(self.lines).encode())
        return whole.hexdigest()

    def note(self, *parts: object) -> None:
        """Take a note."""
        if self.is_on:
            text = " ".join(map(_said, parts))
            self.lines.append(f"{self.clock():12.6f}  {text}")

    def carried(self, at: float, connection: Connection, direction: Direction, data: bytes) -> None:
        """Take down what arrived on the network; it is compared, but not shown."""
        self._bytes.update(f"{at} {connection.index} {direction} ".encode() + data)


def _said(part: object) -> str:
    if isinstance(part, bytes):
        text = part.decode(errors="replace")
        return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}... ({len(text)})"
    if isinstance(part, asyncio.CancelledError):
        return "cancelled"  # what it says of who did it names an address
    if isinstance(part, BaseException):
        return f"{type(part).__name__}: {part}"
    return "" if part is None else str(part)
