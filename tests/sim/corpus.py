"""Schedules that once failed: run first, always, so that what was mended stays mended.

The file holds the schedules themselves and no seeds, since a seed stands for another schedule
whenever the drawing changes. A line that begins with `#` says what the schedule below it showed.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from tests.sim.schedule import Schedule, from_line

__all__ = ["CORPUS", "Entry", "read"]

CORPUS = Path(__file__).with_name("corpus.txt")


class Entry(NamedTuple):
    """One schedule of the corpus."""

    comment: str
    schedule: Schedule


def read(path: Path = CORPUS) -> list[Entry]:
    """Return the corpus.

    Raises:
        ValueError: A line is no schedule, or has no comment.
    """
    entries = []
    comment = ""
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if line.startswith("#"):
            comment = f"{comment} {line[1:].strip()}".strip()
        elif line.strip():
            if not comment:
                raise ValueError(f"line {number} of {path.name} does not say what it showed")
            entries.append(Entry(comment, from_line(line)))
            comment = ""
    return entries
