"""What one reader of the channel still has to get: a cursor for each job, and which jobs are dirty.

Nothing is queued but the names of jobs. When the connection can take another frame, the outbox asks
what is newer than the cursor (docs/protocol.md section 1.3), so a slow reader costs no memory and
misses nothing but versions that were overtaken. No I/O, no time.
"""

from collections.abc import Callable, KeysView
from typing import Final, NamedTuple

from simulator.histories import Newer
from simulator.messages import Mode, Synced

__all__ = ["MAX_EVENTS", "MAX_EVENTS_BYTES", "Outbox"]

MAX_EVENTS: Final = 64  # events in one frame
MAX_EVENTS_BYTES: Final = 32_768  # about which size a frame of events is full

AskNewer = Callable[[str, int, Mode], list[Newer]]


class _Sync(NamedTuple):
    """Stands behind the jobs of a subscribe, and becomes its answer once they are out."""

    id: int
    errors: tuple[tuple[str, str], ...]


class Outbox:
    """Cursors and dirty jobs of one connection.

    Args:
        newer: returns the events of a job above a version, in a mode.
        on_final: called with each job whose final event was taken; it is unsubscribed then.
    """

    __slots__ = (
        "_cursors",
        "_dirty",
        "_held",
        "_in_order",
        "_newer",
        "_on_final",
        "_round",
        "is_muted",
        "syncs",
    )

    def __init__(self, newer: AskNewer, on_final: Callable[[str], None]) -> None:
        self.is_muted = False
        """Whether events are held back while everything else goes on."""
        self.syncs = 0
        """How many subscribes wait for their answer."""
        self._newer = newer
        self._on_final = on_final
        self._cursors: dict[str, int] = {}
        self._in_order: set[str] = set()  # jobs in mode `all`
        self._dirty: dict[str | _Sync, None] = {}
        self._round: list[str | _Sync] = []  # what was dirty when this round began, last one first
        self._held: dict[str, None] = {}

    def __len__(self) -> int:
        return len(self._cursors)

    @property
    def jobs(self) -> list[str]:
        """The jobs that are subscribed."""
        return list(self._cursors)

    def would_hold(self, job_ids: KeysView[str]) -> int:
        """Return how many jobs would be subscribed with these; some of them may be so already."""
        return len(self._cursors) + sum(job_id not in self._cursors for job_id in job_ids)

    def subscribe(self, job_id: str, version: int, mode: Mode) -> None:
        """Begin behind a version of a job, or begin anew there."""
        self._cursors[job_id] = version
        if mode == "all":
            self._in_order.add(job_id)
        else:
            self._in_order.discard(job_id)
        self._dirty[job_id] = None

    def unsubscribe(self, job_id: str) -> bool:
        """End that; return whether the job was subscribed."""
        self._in_order.discard(job_id)
        return self._cursors.pop(job_id, None) is not None

    def sync(self, request: int, errors: dict[str, str]) -> None:
        """Answer a subscribe once the jobs marked so far are brought to their heads."""
        self.syncs += 1
        self._dirty[_Sync(request, tuple(errors.items()))] = None

    def mark(self, job_id: str) -> None:
        """Note that a job has something newer."""
        if job_id in self._cursors:
            self._dirty[job_id] = None

    def unmute(self) -> None:
        """Let go of the events that were held back."""
        self.is_muted = False
        self._dirty.update(self._held)
        self._held.clear()

    def take(self) -> list[Newer] | Synced | None:
        """Return what the next frame should carry, and move the cursors behind it; None if nothing.

        What is taken counts as sent. Versions of one job ascend.
        """
        events: list[Newer] = []
        size = 0
        while self._round or self._begin_round():
            key = self._round[-1]
            if isinstance(key, _Sync):
                if events:
                    break
                self._round.pop()
                self.syncs -= 1
                return Synced(id=key.id, errors=dict(key.errors))
            for event in self._events_of(key):
                if len(events) == MAX_EVENTS or size >= MAX_EVENTS_BYTES:
                    return events  # the job stays first in the round, and goes on from its cursor
                events.append(event)
                size += len(event.encoded)
                self._sent(key, event)
            self._round.pop()
        return events or None

    def _begin_round(self) -> bool:
        self._round = list(reversed(self._dirty))
        self._dirty = {}
        return bool(self._round)

    def _events_of(self, job_id: str) -> list[Newer]:
        cursor = self._cursors.get(job_id)
        if cursor is None:
            return []
        if self.is_muted:
            self._held[job_id] = None
            return []
        return self._newer(job_id, cursor, "all" if job_id in self._in_order else "latest")

    def _sent(self, job_id: str, event: Newer) -> None:
        self._cursors[job_id] = event.entry.version
        if event.entry.is_final:
            self.unsubscribe(job_id)
            self._on_final(job_id)
