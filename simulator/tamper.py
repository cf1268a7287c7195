"""The event faults of one connection: what of its events is dropped, doubled, mixed up or late."""

from heapq import heappop, heappush
from itertools import count
from random import Random

from simulator.faults import DelayEvent, DropEvent, Duplicate, Gap, Reorder
from simulator.log import Newer
from simulator.messages import flagged
from simulator.plan import Facts, FaultPlan

__all__ = ["Tamper"]


class Tamper:
    """Let events pass, and tamper with those that the plan strikes.

    Args:
        plan: asked for an `event` fault at each event.
        connection: the number of the channel.
        random: for the order of mixed-up events.
    """

    __slots__ = ("_connection", "_gaps", "_late", "_mixed", "_order", "_plan", "_random", "_window")

    def __init__(self, plan: FaultPlan, connection: int, random: Random) -> None:
        self._plan = plan
        self._connection = connection
        self._random = random
        self._gaps: set[str] = set()  # jobs whose next event is to be marked
        self._late: list[tuple[float, int, bytes]] = []
        self._order = count()  # keeps events of the same time in order
        self._mixed: list[bytes] = []
        self._window: tuple[int, float] | None = None  # events to wait for, and until when

    @property
    def is_idle(self) -> bool:
        """Whether events may pass unseen."""
        return not (self._plan.asks("event") or self._gaps or self._mixed)

    def admit(self, events: list[Newer], now: float) -> list[bytes]:
        """Return what is to be sent now in place of these events."""
        return [sent for event in events for sent in self._admit(event, now)]

    def due_at(self) -> float | None:
        """Return when held events are due next, in monotonic seconds, or None."""
        times = [self._late[0][0]] if self._late else []
        return min(times + ([self._window[1]] if self._window else []), default=None)

    def due(self, now: float) -> list[bytes]:
        """Return the held events that are due."""
        released = []
        while self._late and self._late[0][0] <= now:
            released.append(heappop(self._late)[2])
        if self._window and self._window[1] <= now:
            released += self._mix()
        return released

    def _admit(self, event: Newer, now: float) -> list[bytes]:
        job_id = event.entry.job_id
        encoded = event.encoded
        if job_id in self._gaps:
            self._gaps.discard(job_id)
            encoded = encoded if event.gap else flagged(encoded, "gap")
        facts = Facts(path="/events", job=job_id, connection=self._connection, direction="out")
        match self._plan.decide("event", facts, now):
            case DropEvent():
                return []
            case Duplicate():
                return [encoded, encoded]
            case DelayEvent(seconds=seconds):
                heappush(self._late, (now + seconds, next(self._order), encoded))
                return []
            case Gap() if event.entry.is_final:
                return [encoded if event.gap else flagged(encoded, "gap")]
            case Gap():
                self._gaps.add(job_id)
                return []
            case Reorder(window=window, seconds=seconds):
                self._window = self._window or (window, now + seconds)
                self._mixed.append(encoded)
                return self._mix() if len(self._mixed) >= self._window[0] else []
        return [encoded]

    def _mix(self) -> list[bytes]:
        mixed, self._mixed, self._window = self._mixed, [], None
        self._random.shuffle(mixed)
        return mixed
