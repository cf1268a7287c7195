"""What a row of the scorecard is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

__all__ = ["Measure", "Result", "Row", "share"]


class Result(NamedTuple):
    """What came out."""

    measured: str
    """The figure, and what it was measured on."""

    holds: bool | None
    """Whether what was promised of any machine holds; None if nothing was measured."""

    is_fast: bool = True
    """Whether this machine was as fast as the goal says. One on which others are busy may not be,
    so this alone may be missed in the short form."""

    @property
    def is_met(self) -> bool | None:
        """Whether the goal is reached; None if nothing was measured."""
        return self.holds and self.is_fast


Measure = Callable[[bool], Result]
"""Measures a row; in its short form, on less of everything, if the argument is true."""


class Row(NamedTuple):
    """One promise about the whole, as a number."""

    number: int
    what: str
    goal: str
    measure: Measure


def share(values: Sequence[float], part: float) -> float:
    """Return the value that so large a part of the values does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]
