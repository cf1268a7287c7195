"""The log of events: who appended which version of which job, and what of it is still kept.

`EventLog` is the interface, `MemoryLog` the log of one process. `Histories` is the retention rule
that a log in memory and every replica's own view share (docs/protocol.md section 2.4).
"""

import asyncio
from bisect import bisect_right
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from random import Random
from typing import Final, NamedTuple, Protocol

from simulator.jobs import FINAL_STATES, JobSpec
from simulator.messages import Status, encode, flagged

__all__ = [
    "HISTORY_WINDOW",
    "KEEP_FINALS",
    "Conflict",
    "Entry",
    "EventLog",
    "Histories",
    "MemoryLog",
    "new_epoch",
]

HISTORY_WINDOW: Final = 64  # versions kept of each job
KEEP_FINALS: Final = 24 * 3600.0  # s that a final is kept, and after that its tombstone

# Progress of all jobs together that a view keeps, about 100 MB. Changes of state do not count.
_MAX_PROGRESS: Final = 250_000
_RECENT: Final = 4096  # entries that a tail finds without a search
_CROCKFORD: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


class Entry:
    """One version of one job as it stands in the log. Immutable; its JSON is made once.

    Args:
        position: in the log, ascending over all jobs.
        status: the whole state of the job.
        spec: of the job; only version 1 carries it.
        is_gone: whether this is what is left of a job that was removed.
    """

    __slots__ = ("_document", "_event", "is_gone", "position", "spec", "status")

    def __init__(
        self, position: int, status: Status, spec: JobSpec | None = None, *, is_gone: bool = False
    ) -> None:
        self.position = position
        self.status = status
        self.spec = spec
        self.is_gone = is_gone
        self._document: bytes | None = None
        self._event: bytes | None = None

    def __repr__(self) -> str:
        status = self.status
        return f"<Entry {self.position}: {status.job_id} v{status.version} {status.state}>"

    @property
    def job_id(self) -> str:
        """The job."""
        return self.status.job_id

    @property
    def version(self) -> int:
        """The version of the job."""
        return self.status.version

    @property
    def is_final(self) -> bool:
        """Whether the job ended with this version."""
        return self.is_gone or self.status.state in FINAL_STATES

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
        """Return what is left of this version once its content is removed."""
        status = self.status
        rest = Status(
            job_id=status.job_id,
            state=status.state,
            result=status.result,
            version=status.version,
            epoch=status.epoch,
            created_at=status.created_at,
            updated_at=status.updated_at,
        )
        return Entry(self.position, rest, is_gone=True)


class Conflict(NamedTuple):
    """The version that was to be appended is not the next one of its job."""

    current: int
    """The newest version of the job; 0 if there is none."""


class EventLog(Protocol):
    """An ordered log of job versions, shared by replicas."""

    @property
    def epoch(self) -> str:
        """The identity of this history; it changes only if the history is lost."""

    async def append(
        self, expected_version: int, status: Status, spec: JobSpec | None = None
    ) -> Entry | Conflict:
        """Append the version after `expected_version` of `status.job_id`.

        Args:
            expected_version: the newest version that the caller knows; 0 for none.
            status: of version `expected_version + 1`.
            spec: of the job; with version 1 only.
        """

    async def latest(self, job_id: str) -> Entry | None:
        """Return the newest version of a job, or None if it is unknown."""

    async def history(self, job_id: str, after_version: int = 0) -> Sequence[Entry]:
        """Return the kept versions of a job above `after_version`, ascending."""

    def tail(self, after_position: int) -> AsyncIterator[Sequence[Entry]]:
        """Iterate over everything behind a position, in batches, without end.

        Each job's versions ascend. Versions that are no longer kept are left out.
        """

    async def head(self) -> int:
        """Return the position of the newest entry; 0 if there is none."""

    async def aclose(self) -> None:
        """Let go of whatever the log holds; its tails end."""


def new_epoch(wall: float, random: Random) -> str:
    """Return an identity for a new history (a ULID), that sorts after all earlier ones.

    Args:
        wall: Unix time in seconds.
        random: makes two of the same millisecond differ.
    """
    number = (int(wall * 1000) << 80) | random.getrandbits(80)
    return "".join(_CROCKFORD[(number >> shift) & 31] for shift in range(125, -1, -5))


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
        return dropped

    def _forget(self, job_id: str, version: int) -> None:
        """Give up one progress version, unless it is the newest of its job."""
        kept = self._kept.get(job_id, [])
        index = bisect_right(kept, version, key=_version_of) - 1
        if 0 <= index < len(kept) - 1 and kept[index].version == version:
            if _is_change_of_state(kept, index):
                return
            del kept[index]


class MemoryLog:
    """An `EventLog` in the memory of this process; several replicas in the process may share it.

    Args:
        clock: monotonic time in seconds.
        wall: Unix time in seconds at which this history begins.
        random: for its identity.
    """

    def __init__(self, *, clock: Callable[[], float], wall: float, random: Random) -> None:
        self._epoch = new_epoch(wall, random)
        self._clock = clock
        self._histories = Histories()
        self._recent: deque[Entry] = deque(maxlen=_RECENT)
        self._position = 0
        self._is_closed = False
        self._sleepers: set[asyncio.Future[None]] = set()

    @property
    def epoch(self) -> str:
        """The identity of this history."""
        return self._epoch

    async def append(
        self, expected_version: int, status: Status, spec: JobSpec | None = None
    ) -> Entry | Conflict:
        """Append the version after `expected_version` of `status.job_id`."""
        latest = self._histories.latest(status.job_id)
        current = latest.version if latest else 0
        if current != expected_version or (latest and latest.is_final):
            return Conflict(current)
        if status.version != expected_version + 1:
            raise ValueError(f"Version {status.version} does not follow {expected_version}.")
        self._position += 1
        entry = Entry(self._position, status, spec)
        now = self._clock()
        self._histories.expire(now)
        self._histories.add(entry, now)
        self._recent.append(entry)
        self._wake()
        return entry

    async def latest(self, job_id: str) -> Entry | None:
        """Return the newest version of a job, or None if it is unknown."""
        return self._histories.latest(job_id)

    async def history(self, job_id: str, after_version: int = 0) -> Sequence[Entry]:
        """Return the kept versions of a job above `after_version`, ascending."""
        return self._histories.since(job_id, after_version)

    def tail(self, after_position: int) -> AsyncIterator[Sequence[Entry]]:
        """Iterate over everything behind a position, in batches, without end."""
        return _Tail(self, after_position)

    async def head(self) -> int:
        """Return the position of the newest entry; 0 if there is none."""
        return self._position

    async def aclose(self) -> None:
        """End all tails."""
        self._is_closed = True
        self._wake()

    def behind(self, position: int) -> list[Entry]:
        """Return what is kept behind a position, in the order of the log."""
        if self._recent and self._recent[0].position <= position + 1:
            count = self._position - position
            return [self._recent[index] for index in range(-count, 0)]
        found = [
            entry
            for job_id in self._histories
            for entry in self._histories.since(job_id, 0)
            if entry.position > position
        ]
        return sorted(found, key=lambda entry: entry.position)

    async def changed(self) -> bool:
        """Wait for the next append; return False if the log was closed instead."""
        if not self._is_closed:
            sleeper = asyncio.get_running_loop().create_future()
            self._sleepers.add(sleeper)
            try:
                await sleeper
            finally:
                self._sleepers.discard(sleeper)
        return not self._is_closed

    def _wake(self) -> None:
        for sleeper in self._sleepers:
            if not sleeper.done():
                sleeper.set_result(None)


class _Tail:
    """An iterator over a `MemoryLog`; it holds a position and nothing else."""

    def __init__(self, log: MemoryLog, position: int) -> None:
        self._log = log
        self._position = position

    def __aiter__(self) -> "_Tail":
        return self

    async def __anext__(self) -> Sequence[Entry]:
        while True:
            batch = self._log.behind(self._position)
            if batch:
                self._position = batch[-1].position
                return batch
            if not await self._log.changed():
                raise StopAsyncIteration


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
