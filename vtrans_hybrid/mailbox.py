"""What a slow reader has not read yet: bounded, newest kept, the final status never dropped.

Two kinds. `Latest` holds one status a job: what is not read coalesces into the newest. `Every`
holds each version up to a bound; over it the oldest that changed nothing but progress goes first.
Whatever is dropped is counted in the `skipped` of its successor, never silently.

The bound is for readers that are slow. After an outage one answer may bring a thousand versions at
once, and a reader that takes them as soon as it runs is to get them all. So `put` drops nothing; it
says when `trim` is wanted, and whoever puts calls that once the reader has had its turn.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Sequence

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

    def put(self, status: JobStatus) -> bool:
        """Add a status; an unread one of the same job goes. There is never anything to trim."""
        before = self._unread.get(status.job_id)
        self._unread[status.job_id] = status if before is None else _after(before, status)
        return False

    def trim(self) -> None:
        """Do nothing: one status a job is all that is ever kept."""

    def pop(self) -> JobStatus:
        """Take the oldest."""
        return self._unread.popitem(last=False)[1]


class Every:
    """Each status, up to a bound.

    Args:
        bound: How many are kept, from 2 on; of many jobs, two each if that is more.
    """

    __slots__ = ("_bound", "_jobs", "_unread")

    def __init__(self, bound: int = 256) -> None:
        self._bound = bound
        self._jobs: dict[str, int] = {}
        self._unread: deque[JobStatus] = deque()

    def __len__(self) -> int:
        return len(self._unread)

    def put(self, status: JobStatus) -> bool:
        """Add a status; return whether there are more now than the bound allows."""
        self._unread.append(status)
        self._jobs[status.job_id] = self._jobs.get(status.job_id, 0) + 1
        return len(self._unread) > max(self._bound, 2 * len(self._jobs))

    def trim(self) -> None:
        """Drop older statuses until the bound is kept."""
        if len(self._unread) > max(self._bound, 2 * len(self._jobs)):
            # To drop one takes as long as to drop many: with many jobs, make room for a while.
            self._drop(len(self._unread) - max(self._bound, 3 * len(self._jobs) // 2))

    def pop(self) -> JobStatus:
        """Take the oldest."""
        status = self._unread.popleft()
        self._leave(status)
        return status

    def _drop(self, count: int) -> None:
        """Drop the oldest whose successors have the same state, then the oldest with successors."""
        unread = list(self._unread)
        heirs = _heirs(unread)
        with_heir = [index for index, heir in enumerate(heirs) if heir is not None]
        with_heir.sort(key=lambda index: unread[index].state != unread[heirs[index] or 0].state)
        victims = set(with_heir[:count])
        for index in sorted(victims):
            heir = heirs[index] or 0
            unread[heir] = _after(unread[index], unread[heir])
            self._leave(unread[index])
        self._unread = deque(each for index, each in enumerate(unread) if index not in victims)

    def _leave(self, status: JobStatus) -> None:
        left = self._jobs[status.job_id] - 1
        if left:
            self._jobs[status.job_id] = left
        else:
            del self._jobs[status.job_id]


def _heirs(statuses: Sequence[JobStatus]) -> list[int | None]:
    """Return for each status the index of the next one of the same job; None where it has none."""
    heirs: list[int | None] = []
    following: dict[str, int] = {}
    for index in range(len(statuses) - 1, -1, -1):
        heirs.append(following.get(statuses[index].job_id))
        following[statuses[index].job_id] = index
    return heirs[::-1]


def _after(dropped: JobStatus, status: JobStatus) -> JobStatus:
    """Return `status` as its reader sees it who never saw `dropped`."""
    skipped = None
    if dropped.skipped is not None and status.skipped is not None:
        skipped = dropped.skipped + status.skipped + 1
    return msgspec.structs.replace(status, skipped=skipped)
