"""When a connection is pinged and when it is given up (docs/protocol.md section 3.7). Pure."""

from typing import Final, Literal

__all__ = ["Heartbeat"]

_SECOND_LOOK: Final = 0.25  # s


class Heartbeat:
    """The signs of life of one connection. All times are monotonic seconds.

    The server pings after `ping` seconds in which it sent nothing, so that the client knows that it
    lives; and as well after `ping` seconds in which it heard nothing, so that a client that only
    listens is found out when it is gone, however much is sent to it.

    Args:
        ping: seconds of silence before a ping.
        grace: seconds that the answer may take.
        now: the present.
        phase: from 0 to 1; the first ping comes after that part of `ping`.
    """

    __slots__ = (
        "_first_at",
        "_grace",
        "_heard_at",
        "_is_suspect",
        "_ping",
        "_pinged_at",
        "_sent_at",
        "next_at",
    )

    def __init__(self, ping: float, grace: float, *, now: float, phase: float) -> None:
        self._ping = ping
        self._grace = grace
        self._heard_at = self._sent_at = now
        self._pinged_at = float("-inf")
        self._first_at: float | None = now + ping * phase
        self._is_suspect = False
        self.next_at = self._next(now)
        """When `beat` wants to be called."""

    def heard(self, now: float) -> None:
        """Note that something was received."""
        self._heard_at = now

    def sent(self, now: float) -> None:
        """Note that something was sent."""
        self._sent_at = now

    def beat(self, now: float) -> Literal["ping", "dead"] | None:
        """Return what is to be done now."""
        if self._is_overdue(now):
            if self._is_suspect:
                return "dead"
            # A process that was stopped wakes up with its timers first: it must read what has
            # come meanwhile before it may judge.
            self._is_suspect = True
            self.next_at = now + min(_SECOND_LOOK, self._grace)
            return None
        self._is_suspect = False
        is_due = now >= self._due_at()
        if is_due:
            self._first_at = None
            self._pinged_at = self._sent_at = now
        self.next_at = self._next(now)
        return "ping" if is_due else None

    def _is_overdue(self, now: float) -> bool:
        return self._pinged_at > self._heard_at and now >= self._pinged_at + self._grace

    def _due_at(self) -> float:
        """Return when the next ping is due, if nothing happens until then."""
        if self._first_at is not None:
            return self._first_at
        return min(self._sent_at, max(self._heard_at, self._pinged_at)) + self._ping

    def _next(self, now: float) -> float:
        next_at = self._due_at()
        if self._pinged_at > self._heard_at:
            next_at = min(next_at, self._pinged_at + self._grace)
        return max(next_at, now)
