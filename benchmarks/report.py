"""Rows of the table, and how they are judged and printed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

__all__ = ["Limit", "Row", "at_least", "at_most", "heading", "line", "summary"]


@dataclass(frozen=True, slots=True)
class Limit:
    """One number and the bound that it should keep.

    Attributes:
        value: What was measured.
        bound: The goal; None where there is none, and the number is only told.
        is_least: Whether the goal is a lower bound.
        unit: What follows the bound when it is printed.
    """

    value: float
    bound: float | None
    is_least: bool
    unit: str = ""

    @property
    def is_met(self) -> bool:
        """Whether the number keeps its bound; one without a bound does."""
        if self.bound is None:
            return True
        return self.value >= self.bound if self.is_least else self.value <= self.bound

    @property
    def text(self) -> str:
        """The goal as a person reads it."""
        if self.bound is None:
            return "-"
        return f"{'>=' if self.is_least else '<='} {self.bound:g}{self.unit}"


def at_least(value: float, bound: float | None, unit: str = "") -> Limit:
    """Return a limit that a number must reach."""
    return Limit(value, bound, is_least=True, unit=unit)


def at_most(value: float, bound: float | None, unit: str = "") -> Limit:
    """Return a limit that a number must not exceed."""
    return Limit(value, bound, is_least=False, unit=unit)


class Row(NamedTuple):
    """One line of the table."""

    name: str
    """What was measured."""

    measured: str
    """The numbers, with their units."""

    limits: Sequence[Limit] = ()
    """What the goal asks for; nothing where there is none."""

    ratio: float | None = None
    """Against the yardstick of the same run; None where there is no yardstick."""

    goal: str = ""
    """Number of the goal, such as G1."""

    @property
    def verdict(self) -> str:
        """Say `ok` or `miss`, and nothing where no goal is set."""
        if all(limit.bound is None for limit in self.limits):
            return ""
        return "ok" if all(limit.is_met for limit in self.limits) else "miss"


_WIDTHS = (3, 50, 35, 76, 5, 4)


def heading() -> str:
    """Return the first two lines of the table."""
    titles = ("", "what", "goal", "measured", "ratio", "")
    return _columns(titles) + "\n" + _columns(tuple("-" * width for width in _WIDTHS))


def line(row: Row) -> str:
    """Return one line of the table."""
    goal = ", ".join(limit.text for limit in row.limits if limit.bound is not None) or "-"
    ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
    return _columns((row.goal, row.name, goal, row.measured, ratio, row.verdict))


def summary(rows: Iterable[Row]) -> str:
    """Return how many goals are met and which are missed."""
    judged = [row for row in rows if row.verdict]
    missed = [row.name for row in judged if row.verdict == "miss"]
    text = f"{len(judged) - len(missed)} of {len(judged)} goals met"
    return text + (f"; missed: {'; '.join(missed)}" if missed else "")


def _columns(cells: Sequence[str]) -> str:
    padded = (cell.ljust(width) for cell, width in zip(cells, _WIDTHS, strict=True))
    return "  ".join(padded).rstrip()
