"""The clock of a simulator: monotonic time, and the wall time by which jobs run."""

import math
from collections.abc import Callable

__all__ = ["Clock"]


class Clock:
    """Monotonic time, and the wall time that belongs to it.

    Both are read once, so a wall clock of the system that is set back moves nothing. Faults may set
    the wall time of this one, and let it go faster or slower; monotonic time they leave alone.

    Args:
        now: returns monotonic time in seconds.
        wall_offset: Unix time minus monotonic time, in seconds.
    """

    __slots__ = ("_machine_offset", "_offset", "_since", "_speed", "now", "skew")

    def __init__(self, now: Callable[[], float], wall_offset: float) -> None:
        self.now = now
        """Return monotonic time in seconds."""
        self.skew = 0.0
        """Seconds by which the times in documents are ahead of the wall time."""
        self._machine_offset = self._offset = wall_offset
        self._since = 0.0  # monotonic; when the present speed began
        self._speed = 1.0

    def wall(self) -> float:
        """Return Unix time in seconds."""
        if self._speed == 1.0:
            return self.now() + self._offset
        return self._since + self._offset + (self.now() - self._since) * self._speed

    def machine_wall(self, at: float) -> float:
        """Return the Unix time in seconds of a monotonic time, as it is where no fault moves it."""
        return at + self._machine_offset

    def until(self, wall: float) -> float:
        """Return the monotonic seconds until a wall time has come; below 0 if it is over."""
        left = wall - self.wall()
        if left <= 0 or self._speed:
            return left / (self._speed or 1.0)
        return math.inf

    def jump(self, seconds: float) -> None:
        """Set the wall time forward, or back."""
        self._offset += seconds

    def run(self, speed: float) -> None:
        """Let the wall time go so many times faster than monotonic time; 0 stops it."""
        if speed == self._speed:
            return
        wall, now = self.wall(), self.now()
        self._offset, self._since, self._speed = wall - now, now, speed
