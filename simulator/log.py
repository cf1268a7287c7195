"""The log of events: which version of which job was appended, in one order for all jobs.

`EventLog` is the interface, `MemoryLog` the log of one process.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from random import Random
from typing import Final, NamedTuple, Protocol

from msgspec import structs

from simulator.clock import Clock
from simulator.epochs import new_epoch
from simulator.histories import Entry, Histories
from simulator.jobs import JobSpec
from simulator.messages import Status

__all__ = ["Conflict", "EventLog", "MemoryLog"]

_RECENT: Final = 4096  # entries that a tail finds without a search


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
        self,
        expected_version: int,
        status: Status,
        spec: JobSpec | None = None,
        *,
        reopens: bool = False,
    ) -> Entry | Conflict:
        """Append the version after `expected_version` of `status.job_id`.

        Args:
            expected_version: the newest version that the caller knows; 0 for none.
            status: of version `expected_version + 1`.
            spec: of the job; with version 1 only.
            reopens: whether it may follow a final version, which breaks the protocol.
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


class MemoryLog:
    """An `EventLog` in the memory of this process; several replicas in the process may share it.

    Args:
        clock: of this process.
        random: for the identity of the history.
        epoch: that identity, where it is given already.
    """

    def __init__(self, clock: Clock, random: Random, *, epoch: str | None = None) -> None:
        self._epoch = epoch or new_epoch(clock.wall(), random)
        self._clock = clock
        self._histories = Histories()
        self._recent: deque[Entry] = deque(maxlen=_RECENT)
        self._position = 0
        self._is_closed = False
        self._sleepers: dict[asyncio.Future[None], None] = {}

    @property
    def epoch(self) -> str:
        """The identity of this history."""
        return self._epoch

    async def append(
        self,
        expected_version: int,
        status: Status,
        spec: JobSpec | None = None,
        *,
        reopens: bool = False,
    ) -> Entry | Conflict:
        """Append the version after `expected_version` of `status.job_id`."""
        latest = self._present().latest(status.job_id)
        current = latest.version if latest else 0
        if current != expected_version or (latest and latest.is_final and not reopens):
            return Conflict(current)
        if status.version != expected_version + 1:
            raise ValueError(f"Version {status.version} does not follow {expected_version}.")
        self._position += 1
        now = self._clock.now()
        entry = Entry(self._position, status, spec, at=now)
        self._histories.add(entry, now)
        self._recent.append(entry)
        self._wake()
        return entry

    async def latest(self, job_id: str) -> Entry | None:
        """Return the newest version of a job, or None if it is unknown."""
        return self._present().latest(job_id)

    async def history(self, job_id: str, after_version: int = 0) -> Sequence[Entry]:
        """Return the kept versions of a job above `after_version`, ascending."""
        return self._present().since(job_id, after_version)

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

    def truncate(self, keep: int) -> None:
        """Forget all versions of every job but the first and so many of the newest."""
        self._histories.truncate(keep)
        self._recent.clear()

    def reborn(self, random: Random, *, keeps: Callable[[str], bool]) -> "MemoryLog":
        """Return a log of a newer epoch with what is kept of some jobs, version by version.

        Args:
            random: for the identity of the new history.
            keeps: tells of a job whether it is taken over.
        """
        # Within the same millisecond, or with a clock set back, it might sort before the old one.
        epoch = new_epoch(self._clock.wall(), random, after=self._epoch)
        log = MemoryLog(self._clock, random, epoch=epoch)
        for entry in self.behind(0):
            if not entry.is_gone and keeps(entry.job_id):
                log._take_over(entry)
        return log

    def statuses(self) -> dict[str, Status]:
        """Return the newest status of every job, oldest job first."""
        histories = self._present()
        latest = (histories.latest(job_id) for job_id in histories)
        return {entry.job_id: entry.status for entry in latest if entry is not None}

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
            self._sleepers[sleeper] = None
            try:
                await sleeper
            finally:
                del self._sleepers[sleeper]
        return not self._is_closed

    def _take_over(self, entry: Entry) -> None:
        """Append what another log held, under the epoch of this one."""
        self._position += 1
        status = structs.replace(entry.status, epoch=self._epoch)
        taken = Entry(self._position, status, entry.spec, at=entry.at)
        self._histories.add(taken, self._clock.now())
        self._recent.append(taken)

    def _present(self) -> Histories:
        """Return the histories without what is too old by now."""
        self._histories.expire(self._clock.now())
        return self._histories

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
