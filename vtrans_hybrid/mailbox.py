"""What a slow reader has not read yet: bounded, newest kept, the final status never dropped.

Two kinds. `Latest` holds one status a job: what is not read coalesces into the newest. `Every`
holds each version up to a bound; over it the oldest that changed nothing but progress goes first.
Whatever is dropped is counted in the `skipped` of its successor, never silently.
"""

from __future__ import annotations

from collections import OrderedDict, deque

import msgspec

from vtrans_hybrid.models import JobStatus

__all__ = ["Every", "Latest"]


class Latest:
    """One status a job, in the order in which the jobs became unread."""

    __slots__ = ("_unread",)

    def __init__(self) -> None:
        # The first key of a plain dict is found by passing all that were taken before it, so that
        # emptying one takes the square of its size.
        self._unread: OrderedDict[str, JobStatus] = OrderedDict()

    def __len__(self) -> int:
        return len(self._unread)

    def put(self, status: JobStatus) -> None:
        """Add a status; an unread one of the same job goes."""
        before = self._unread.get(status.job_id)
        self._unread[status.job_id] = status if before is None else _after(before, status)

    def pop(self) -> JobStatus:
        """Take the oldest."""
        return self._unread.popitem(last=False)[1]


class Every:
    """Each status, up to a bound.

    Args:
        bound: How many are kept, from 2 on.
    """

    __slots__ = ("_bound", "_unread")

    def __init__(self, bound: int = 256) -> None:
        self._bound = bound
        self._unread: deque[JobStatus] = deque()

    def __len__(self) -> int:
        return len(self._unread)

    def put(self, status: JobStatus) -> None:
        """Add a status; over the bound an older one goes."""
        self._unread.append(status)
        if len(self._unread) > self._bound:
            self._drop_one()

    def pop(self) -> JobStatus:
        """Take the oldest."""
        return self._unread.popleft()

    def _drop_one(self) -> None:
        """Drop the oldest whose successor has the same state, else the oldest with a successor."""
        following: dict[str, int] = {}
        victim, heir = -1, -1
        for index in range(len(self._unread) - 1, -1, -1):
            status = self._unread[index]
            after = following.get(status.job_id)
            following[status.job_id] = index
            if after is None:
                continue
            is_progress = self._unread[after].state == status.state
            was_progress = victim >= 0 and self._unread[victim].state == self._unread[heir].state
            if is_progress or not was_progress:
                victim, heir = index, after
        if victim >= 0:
            self._unread[heir] = _after(self._unread[victim], self._unread[heir])
            del self._unread[victim]


def _after(dropped: JobStatus, status: JobStatus) -> JobStatus:
    """Return `status` as its reader sees it who never saw `dropped`."""
    skipped = None
    if dropped.skipped is not None and status.skipped is not None:
        skipped = dropped.skipped + status.skipped + 1
    return msgspec.structs.replace(status, skipped=skipped)
