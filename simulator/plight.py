"""What a connection of the channel suffers from now on, as its standing faults have it. Pure."""

from collections.abc import Iterable
from typing import Final, NamedTuple

from simulator.faults import (
    Close,
    Direction,
    Fault,
    HalfOpen,
    HeartbeatStop,
    Mute,
    NoPong,
    Reset,
    SlowReader,
)
from simulator.plan import Strike

__all__ = ["Plight", "UNHARMED"]


class Plight(NamedTuple):
    """The sum of the faults under which a connection stands."""

    held: frozenset[Direction] = frozenset()
    """Ways in which nothing passes."""
    is_muted: bool = False
    """Whether events are held back."""
    pings: bool = True
    """Whether the server pings, and misses the client when it does not answer."""
    answers_pings: bool = True
    """Whether it answers the pings of the WebSocket protocol itself."""
    pause: float = 0.0
    """Seconds after each frame that is read."""
    end: Close | Reset | None = None
    """How the connection ends now."""
    changes_at: float | None = None
    """When one of the faults begins because the connection has reached its age, in monotonic
    seconds; None if none will."""

    @staticmethod
    def of(strikes: Iterable[Strike], *, opened_at: float, now: float) -> "Plight":
        """Return what these faults come to.

        Args:
            strikes: under which the connection stands.
            opened_at: when it was opened, in monotonic seconds.
            now: the present, likewise.
        """
        plight = UNHARMED
        for strike in strikes:
            ripe_at = opened_at + getattr(strike.fault, "age", 0.0)
            if now >= ripe_at:
                plight = plight._with(strike.fault)
            elif plight.changes_at is None or ripe_at < plight.changes_at:
                plight = plight._replace(changes_at=ripe_at)
        return plight

    def _with(self, fault: Fault) -> "Plight":
        match fault:
            case HalfOpen():
                # A server whose pings do not get out cannot miss the answers.
                pings = self.pings and fault.direction == "in"
                return self._replace(held=self.held | _held_by(fault), pings=pings)
            case Mute():
                return self._replace(is_muted=True)
            case HeartbeatStop():
                return self._replace(pings=False)
            case NoPong():
                return self._replace(answers_pings=False)
            case SlowReader(seconds=seconds):
                return self._replace(pause=max(self.pause, seconds))
            case Close() | Reset():
                return self._replace(end=self.end or fault)
        raise AssertionError(f"{fault.name!r} is no fault of an open channel.")


UNHARMED: Final = Plight()
"""The plight of a connection without faults."""


def _held_by(fault: HalfOpen) -> frozenset[Direction]:
    ways: tuple[Direction, ...] = ("in", "out")
    return frozenset(way for way in ways if fault.direction in (None, way))
