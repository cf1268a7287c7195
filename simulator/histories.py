"""The histories of jobs: their versions, what of them is kept, and which are news to a reader.

A log in memory and every replica's own view share the rule of what is kept (docs/protocol.md
section 2.4).
"""

from bisect import bisect_right
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from simulator.jobs import FINAL_STATES, JobSpec
from simulator.messages import Mode, Status, encode, flagged

__all__ = ["Entry", "HISTORY_WINDOW", "Histories", "KEEP_FINALS", "Newer", "newer_than"]

HISTORY_WINDOW: Final = 64  # versions kept of each job
KEEP_FINALS: Final = 24 * 3600.0  # s that a final is kept, and after that its tombstone

# Progress of all jobs together that a view keeps, about 250 MB. Changes of state do not count.
_MAX_PROGRESS: Final = 250_000


class Entry:
    """One version of one job as it stands in the log. Immutable; its JSON is made once.

    Args:
        position: in the log, ascending over all jobs.
        status: the whole state of the job.
        spec: of the job; only version 1 carries it.
        at: when it was appended, in monotonic seconds of this process.
        is_gone: whether this is what is left of a job that was removed.
    """

    __slots__ = (
        "_document",
        "_event",
        "at",
        "is_final",
        "is_gone",
        "job_id",
        "position",
        "spec",
        "status",
        "version",
    )

    def __init__(
        self,
        position: int,
        status: Status,
        spec: JobSpec | None = None,
        *,
        at: float = 0.0,
        is_gone: bool = False,
    ) -> None:
        self.position = position
        self.at = at
        self.status = status
        self.spec = spec
        self.job_id = status.job_id
        self.version = status.version
        self.is_gone = is_gone
        self.is_final = is_gone or status.state in FINAL_STATES
        """Whether the job ended with this version."""
        self._document: bytes | None = None
        self._event: bytes | None = None

    def __repr__(self) -> str:
        return f"<Entry {self.position}: {self.job_id} v{self.version} {self.status.state}>"

    @property
    def document(self) -> bytes:
        """The status document as JSON."""
        if self._document is None:
            self._document = encode(self.status)
        return self._document

    @property
    def event(self) -> bytes:
        """The event as JSON: the status document, marked `final` and `gone` where it is."""
        if self._event is None:
            event = flagged(self.document, "final") if self.is_final else self.document
            self._event = flagged(event, "gone") if self.is_gone else event
        return self._event

    def tombstone(self) -> "Entry":
        """Return what is left of the job once its content is removed.

        A job that had not ended gets a version more, so that its readers hear of it
        (docs/protocol.md section 2.3).
        """
        status = self.status
        rest = Status(
            job_id=status.job_id,
            state=status.state,
            result=status.result,
            version=status.version + (not self.is_final),
            epoch=status.epoch,
            created_at=status.created_at,
            updated_at=status.updated_at,
        )
        return Entry(self.position, rest, at=self.at, is_gone=True)


class Newer(NamedTuple):
    """One event for one reader."""

    entry: Entry
    gap: bool
    """Whether versions between the reader's last and this one are no longer kept."""

    @property
    def encoded(self) -> bytes:
        """The event as JSON, shared by all readers: the status document and its marks."""
        return flagged(self.entry.event, "gap") if self.gap else self.entry.event


def newer_than(kept: Sequence[Entry], version: int, mode: Mode) -> list[Newer]:
    """Return the events above a version; the one rule (docs/protocol.md section 1.3).

    Args:
        kept: the versions of one job, ascending.
        version: the last one that the reader has; 0 for none.
        mode: `latest` for the newest version alone, `all` for every one, ascending.
    """
    # A tombstone has the version of the final it replaces: who had that has everything.
    if not kept or kept[-1].version <= version:
        return []
    if mode == "latest":
        return [Newer(kept[-1], gap=False)]
    found = []
    for entry in kept[bisect_right(kept, version, key=_version_of) :]:
        found.append(Newer(entry, gap=entry.version != version + 1))
        version = entry.version
    return found


class Histories:
    """What is kept of each job: a window of versions, then the final alone, then a tombstone.

    Progress is given up before changes of state, the oldest first.

    Args:
        window: versions kept of each job.
        max_progress: progress versions kept of all jobs together.
    """

    def __init__(self, window: int = HISTORY_WINDOW, max_progress: int = _MAX_PROGRESS) -> None:
        self._window = window
        self._max_progress = max_progress
        self._kept: dict[str, list[Entry]] = {}
        self._progress: deque[tuple[str, int]] = deque()
        self._ended: deque[tuple[float, str]] = deque()
        self._buried: deque[tuple[float, str]] = deque()

    def __len__(self) -> int:
        return len(self._kept)

    def __iter__(self) -> Iterator[str]:
        return iter(self._kept)

    def add(self, entry: Entry, now: float) -> bool:
        """Take up a version; return False if it, or a newer one, is known already."""
        kept = self._kept.get(entry.job_id)
        if kept is None:
            kept = self._kept[entry.job_id] = []
        elif entry.version <= kept[-1].version:
            return False
        kept.append(entry)
        if len(kept) > self._window:
            del kept[_least_needed(kept)]
        if entry.is_final:
            self._ended.append((now + KEEP_FINALS, entry.job_id))
        elif entry.version > 2:
            self._progress.append((entry.job_id, entry.version))
            if len(self._progress) > self._max_progress:
                self._forget(*self._progress.popleft())
        return True

    def latest(self, job_id: str) -> Entry | None:
        """Return the newest version of a job, a tombstone too, or None if it is unknown."""
        kept = self._kept.get(job_id)
        return kept[-1] if kept else None

    def since(self, job_id: str, version: int) -> Sequence[Entry]:
        """Return the kept versions of a job above `version`, ascending."""
        kept = self._kept.get(job_id, ())
        return kept[bisect_right(kept, version, key=_version_of) :]

    def newer(self, job_id: str, version: int, mode: Mode) -> list[Newer]:
        """Return the events of one job above a version; the one rule (docs/protocol.md 1.3).

        Args:
            job_id: of the job.
            version: the last one that the reader has; 0 for none.
            mode: `latest` for the newest version alone, `all` for every kept one, ascending.
        """
        return newer_than(self._kept.get(job_id, ()), version, mode)

    def truncate(self, keep: int) -> None:
        """Forget all versions of every job but the first, which has the order, and the newest.

        Args:
            keep: how many of the newest are kept.
        """
        for kept in self._kept.values():
            del kept[1:-keep]

    def bury(self, job_id: str, now: float) -> Entry | None:
        """Leave a tombstone of a job and return it; None if the job is unknown."""
        kept = self._kept.get(job_id)
        if not kept:
            return None
        stone = kept[-1].tombstone()
        self._kept[job_id] = [stone]
        self._buried.append((now + KEEP_FINALS, job_id))
        return stone

    def drop(self, job_id: str) -> None:
        """Forget a job altogether."""
        self._kept.pop(job_id, None)

    def next_expiry(self) -> float | None:
        """Return when `expire` next has something to do, in monotonic seconds, or None."""
        heads = [times[0][0] for times in (self._ended, self._buried) if times]
        return min(heads, default=None)

    def expire(self, now: float) -> list[str]:
        """Bury finals and drop tombstones whose time has come; return the jobs dropped."""
        while self._ended and self._ended[0][0] <= now:
            at, job_id = self._ended.popleft()
            latest = self.latest(job_id)
            if latest is not None and not latest.is_gone:
                self.bury(job_id, at)
        dropped = []
        while self._buried and self._buried[0][0] <= now:
            _, job_id = self._buried.popleft()
            self.drop(job_id)
            dropped.append(job_id)
        while self._progress and self._is_forgotten(*self._progress[0]):
            self._progress.popleft()
        return dropped

    def _is_forgotten(self, job_id: str, version: int) -> bool:
        """Tell whether nothing is kept of a job at this version or before."""
        kept = self._kept.get(job_id)
        return not kept or kept[0].version > version

    def _forget(self, job_id: str, version: int) -> None:
        """Give up one progress version, unless it is the newest of its job."""
        kept = self._kept.get(job_id, [])
        index = bisect_right(kept, version, key=_version_of) - 1
        if 0 <= index < len(kept) - 1 and kept[index].version == version:
            if _is_change_of_state(kept, index):
                return
            del kept[index]


def _version_of(entry: Entry) -> int:
    return entry.version


def _is_change_of_state(kept: list[Entry], index: int) -> bool:
    return index == 0 or kept[index].status.state != kept[index - 1].status.state


def _least_needed(kept: list[Entry]) -> int:
    """Return the index of the oldest progress version, else of the oldest version but the first."""
    for index in range(1, len(kept) - 1):
        if not _is_change_of_state(kept, index):
            return index
    return 1
