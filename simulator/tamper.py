"""The event faults of one connection: what of its events is dropped, doubled, mixed up or late."""

from collections.abc import Iterable, Iterator
from heapq import heappop, heappush
from itertools import count
from random import Random
from typing import Final, NamedTuple

from msgspec import structs

from simulator.faults import (
    DelayEvent,
    DropEvent,
    Duplicate,
    EventAfterFinal,
    Fault,
    FinalOnlyByPoll,
    Gap,
    GarbageFrame,
    Oversize,
    Reorder,
    ResendOld,
    SnapshotLost,
    WrongJob,
)
from simulator.histories import Newer
from simulator.messages import Status, encode, events_frame, flagged
from simulator.plan import Applies, Facts, FaultPlan

__all__ = ["Raw", "Sent", "Tamper", "framed"]

_LONGEST_ID: Final = 120  # characters of a job id that leave room for more

_GARBAGE: Final = {
    "json": b'{"type":"events","events":[{"job_id":"job-1","stat',
    "binary": b"\x00\x01\x02\xff",
    "unknown": b'{"type":"weather","sky":"blue"}',
    "wrong_type": b'{"type":"events","events":{"job-1":"completed"}}',
    "nan": b'{"type":"events","events":[{"job_id":"job-1","version":NaN}]}',
}


class Raw(NamedTuple):
    """A frame as it goes out."""

    frame: bytes
    is_binary: bool = False
    events: int = 0
    """How many are in it."""


Sent = bytes | Raw
"""An event as JSON, or a frame of its own."""


def framed(sent: Iterable[Sent], most: int) -> Iterator[Raw]:
    """Return the frames for what is to be sent, in its order.

    Args:
        sent: events, and frames of their own in between.
        most: events in one frame.
    """
    events: list[bytes] = []
    for each in sent:
        if isinstance(each, bytes):
            events.append(each)
        if events and (isinstance(each, Raw) or len(events) == most):
            yield Raw(events_frame(events), events=len(events))
            events = []
        if isinstance(each, Raw):
            yield each
    if events:
        yield Raw(events_frame(events), events=len(events))


class Tamper:
    """Let events pass, and tamper with those that the plan strikes.

    Args:
        plan: asked for an `event` fault at each event.
        connection: the number of the channel.
        random: for the order of mixed-up events.
    """

    __slots__ = (
        "_connection",
        "_fresh",
        "_gaps",
        "_last",
        "_late",
        "_mixed",
        "_order",
        "_plan",
        "_random",
        "_window",
        "key",
    )

    def __init__(self, plan: FaultPlan, connection: int, random: Random) -> None:
        self.key: str | None = None
        """The owner that the client's key stands for."""
        self._plan = plan
        self._connection = connection
        self._random = random
        self._fresh: set[str] = set()  # jobs of which nothing was sent since their subscribe
        self._last: dict[str, Status] = {}  # what was sent last, as long as there are rules
        self._gaps: dict[str, int] = {}  # jobs of which so many events more are left out
        self._late: list[tuple[float, int, bytes]] = []
        self._order = count()  # keeps events of the same time in order
        self._mixed: list[bytes] = []
        self._window: tuple[int, float] | None = None  # events to wait for, and until when

    @property
    def is_idle(self) -> bool:
        """Whether events may pass unseen."""
        return not (self._plan.asks("event") or self._gaps or self._mixed or self._fresh)

    def subscribed(self, job_id: str) -> None:
        """Note that the next event of a job is what its subscribe asked for."""
        if self._plan.asks("event"):
            self._fresh.add(job_id)

    def admit(self, events: list[Newer], now: float) -> list[Sent]:
        """Return what is to be sent now in place of these events."""
        return [sent for event in events for sent in self._admit(event, now)]

    def due_at(self) -> float | None:
        """Return when held events are due next, in monotonic seconds, or None."""
        times = [self._late[0][0]] if self._late else []
        return min(times + ([self._window[1]] if self._window else []), default=None)

    def due(self, now: float) -> list[Sent]:
        """Return the held events that are due."""
        released: list[Sent] = []
        while self._late and self._late[0][0] <= now:
            released.append(heappop(self._late)[2])
        if self._window and self._window[1] <= now:
            released += self._mix()
        return released

    def _admit(self, event: Newer, now: float) -> list[Sent]:
        job_id, encoded = event.entry.job_id, event.encoded
        if job_id in self._gaps:
            if self._gaps[job_id] and not event.entry.is_final:
                self._gaps[job_id] -= 1
                return []
            del self._gaps[job_id]
            encoded = encoded if event.gap else flagged(encoded, "gap")
        is_first, before = job_id in self._fresh, self._last.get(job_id)
        self._fresh.discard(job_id)

        facts = Facts("/events", job_id, self._connection, "out", self.key)
        applies = _applies_to(event, is_first=is_first, has_before=before is not None)
        fault = self._plan.decide("event", facts, now, applies=applies)
        self._remember(event)
        match fault:
            case None:
                return [encoded]
            case DropEvent() | SnapshotLost() | FinalOnlyByPoll():
                return []
            case DelayEvent() | Reorder():
                return self._hold(fault, encoded, now)
            case Gap() if not event.entry.is_final:
                self._gaps[job_id] = fault.n - 1
                return []
            case Gap():
                return [encoded if event.gap else flagged(encoded, "gap")]
            case ResendOld() if before is not None:
                return [encoded, _as_of(before, fault.epoch)]
        return _more(fault, event.entry.status, encoded)

    def _remember(self, event: Newer) -> None:
        if event.entry.is_final or not self._plan.asks("event"):
            self._last.pop(event.entry.job_id, None)
        else:
            self._last[event.entry.job_id] = event.entry.status

    def _hold(self, fault: DelayEvent | Reorder, encoded: bytes, now: float) -> list[Sent]:
        """Keep an event for later; return those that no longer need to wait."""
        if isinstance(fault, DelayEvent):
            heappush(self._late, (now + fault.seconds, next(self._order), encoded))
            return []
        self._window = self._window or (fault.window, now + fault.seconds)
        self._mixed.append(encoded)
        return self._mix() if len(self._mixed) >= self._window[0] else []

    def _mix(self) -> list[Sent]:
        mixed: list[Sent] = [*self._mixed]
        self._mixed, self._window = [], None
        self._random.shuffle(mixed)
        return mixed


def _applies_to(event: Newer, *, is_first: bool, has_before: bool) -> Applies:
    """Return what tells of a fault whether it could befall an event."""

    def applies(_rule: int, fault: Fault) -> bool:
        match fault:
            case SnapshotLost():
                return is_first
            case FinalOnlyByPoll() | EventAfterFinal():
                return event.entry.is_final
            case ResendOld():
                return has_before
        return True

    return applies


def _more(fault: Fault, status: Status, encoded: bytes) -> list[Sent]:
    """Return an event with what a fault puts in front of it or behind it."""
    match fault:
        case Duplicate():
            return [encoded, encoded]
        case EventAfterFinal():
            version = status.version + 1
            back = structs.replace(status, state="running", result="running", version=version)
            return [encoded, encode(back)]
        case WrongJob():
            job_id = f"{status.job_id[:_LONGEST_ID]}.wrong"
            return [encoded, encode(structs.replace(status, job_id=job_id))]
        case GarbageFrame(kind=kind):
            return [Raw(_GARBAGE[kind], is_binary=kind == "binary"), encoded]
        case Oversize(size=size):
            # Of a type that nobody knows, so that its size is all that is wrong with it.
            frame = b'{"type":"padding","text":"%b"}'
            return [Raw(frame % (b"x" * (size + 2 - len(frame)))), encoded]
    raise AssertionError(f"{fault.name!r} is no fault of an event.")


def _as_of(status: Status, epoch: str | None) -> bytes:
    return encode(status if epoch is None else structs.replace(status, epoch=epoch))
