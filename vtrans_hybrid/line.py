"""The line of due reads, and who shares a request with whom.

Most jobs are read together, as many as one request may name. A job that was *singled out* is read
alone, because only that settles what was heard of it (see hearsay.py). The two wait in lanes of
their own and take turns, so that neither a crowd of ends nor a crowd of jobs holds up the other.
"""

from __future__ import annotations

import math
from collections import deque
from typing import NamedTuple

from vtrans_hybrid.dialect import JOB_OVERHEAD
from vtrans_hybrid.merge import Record
from vtrans_hybrid.models import Source

__all__ = ["Batch", "Line"]


class Batch(NamedTuple):
    """Jobs that one request is to read."""

    records: list[Record]
    source: Source
    """What led to the read: the source of the updates that come of it."""


class Line:
    """Keeps the records whose read is due, in order.

    Args:
        slack: Seconds by which a read may come before its time.
    """

    def __init__(self, slack: float) -> None:
        self._slack = slack
        self._together: deque[Record] = deque()
        self._alone: deque[Record] = deque()
        self._singled_out: dict[str, Source] = {}
        self._is_turn_of_loners = True

    def __bool__(self) -> bool:
        return bool(self._together or self._alone)

    def join(self, record: Record) -> None:
        """Put a due read in line."""
        is_alone = record.job_id in self._singled_out
        (self._alone if is_alone else self._together).append(record)

    def single_out(self, job_id: str, source: Source) -> None:
        """Let the next read of a job that begins be of that job alone, and for this reason."""
        if self._singled_out.get(job_id) is not Source.WEBHOOK:
            self._singled_out[job_id] = source

    def singled_out(self, job_id: str) -> Source | None:
        """Return why the next read of a job is to be of it alone; None if it is not."""
        return self._singled_out.get(job_id)

    def pardon(self, job_id: str) -> None:
        """Undo `single_out`."""
        self._singled_out.pop(job_id, None)

    def trim(self, now: float) -> None:
        """Let those at the head leave that are not due any more; push may have come first."""
        for lane in (self._alone, self._together):
            while lane and not self._is_due(lane[0], now):
                lane.popleft()

    def next_batch(self, most: int, room: int, now: float) -> Batch:
        """Take from a trimmed line that is not empty what one request may name.

        Args:
            most: How many jobs that is.
            room: How many bytes of job ids and versions.
            now: Monotonic seconds.
        """
        if self._together and not (self._alone and self._is_turn_of_loners):
            batch = self._take_together(most, room, now)
            if batch:
                self._is_turn_of_loners = True
                return Batch(batch, Source.POLL)
        self._is_turn_of_loners = False
        loner = self._alone.popleft()
        loner.poll_at = math.inf
        return Batch([loner], self._singled_out.pop(loner.job_id, Source.POLL))

    def clear(self) -> None:
        """Forget everybody."""
        self._together.clear()
        self._alone.clear()
        self._singled_out.clear()

    def _is_due(self, record: Record, now: float) -> bool:
        """Whether a record in line still needs its read."""
        is_due = record.poll_at <= now + self._slack
        return is_due and bool(record.watchers) and not record.in_flight

    def _take_together(self, most: int, room: int, now: float) -> list[Record]:
        """Take what one request may name: one mode, within both limits; none if all are loners."""
        batch: list[Record] = []
        others: list[Record] = []
        while self._together and len(batch) < most:
            record = self._together.popleft()
            cost = len(record.job_id) + JOB_OVERHEAD
            if not self._is_due(record, now):
                continue
            if record.job_id in self._singled_out:  # since it came here
                self._alone.append(record)
                continue
            if batch and (cost > room or record.wants_all != batch[0].wants_all):
                others.append(record)
                if cost > room:
                    break
                continue
            # No longer due from here on, so a record that stands in line twice is read once.
            record.poll_at = math.inf
            batch.append(record)
            room -= cost
        self._together.extendleft(reversed(others))
        return batch
