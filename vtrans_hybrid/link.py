"""The life of the push channel: when to dial, when a connection is dead, when to give push up.

Theory
======

There is at most one *primary* connection, and during a drain one more, the *leaving* one, which
stays in use until its successor has synced every job. Each dial has a generation number; whatever
arrives from a generation that is neither of the two changes nothing. Phases of the primary:

    phase        event                                    next phase
    -----        -----                                    ----------
    IDLE         a job to follow                          DIALING (BACKOFF if it may not dial yet)
    DIALING      welcome                                  LIVE
    DIALING      lost, or no welcome within 10 s          BACKOFF
    DIALING      refused for good (401, 403, 404, 200..)  OFF
    LIVE         lost with a code that comes back         BACKOFF
    LIVE         lost with a code that switches off       OFF
    LIVE         nothing received for ping + grace        BACKOFF
    LIVE         no progress of a sync for 10 s           BACKOFF
    LIVE         three frames that make no sense          OFF
    LIVE         drain                                    LIVE until a uniform delay, then DIALING
                                                          anew with the old connection leaving
    BACKOFF      its time has come                        DIALING
    OFF          5 minutes later                          DIALING (a probe)
    DIALING,LIVE no job to follow                         IDLE
    BACKOFF,OFF  no job to follow                         the same: a delay outlives the interest

Rules: a close that we did not ask for is never the end of anything. Failures in a row are forgotten
only after five seconds live and synced, so that a server which accepts and closes meets a growing
delay. At most ten dials start in any minute. A Retry-After is a lower bound. The first return
after a loss is spread over what the server last announced, for it knows how many of us there are;
where that fails, the next attempts are about as far apart, so that all of us stay spread. The reads
that take the place of push are spread twice as far, since a read costs more than a connection.
What a server announces is believed within bounds: a number that makes no sense must neither keep
us away for ever nor make us miss a dead peer.

This file has no clock and does no I/O: `now` is monotonic seconds, `rand()` is in [0, 1).
"""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum

from msgspec import Struct

from vtrans_hybrid.errors import (
    AuthError,
    ConnectionLost,
    InvalidRequest,
    ProtocolError,
    ServerError,
    Unsupported,
    VtransError,
)
from vtrans_hybrid.messages import Drain, Welcome
from vtrans_hybrid.policy import Backoff

__all__ = ["Connection", "Dial", "Hangup", "LONGEST_SPREAD", "Link", "Phase", "comes_back"]

logger = logging.getLogger("vtrans_hybrid.tracker")

_ANSWER_TIMEOUT = 10.0
"""Seconds for TCP, TLS, the upgrade and the welcome together, and for progress of a sync."""

_STABLE_AFTER = 5.0
"""Seconds live and synced after which earlier failures are forgotten."""

_PROBE_INTERVAL = 300.0
"""Seconds before a channel that was refused for good is tried again."""

_DIALS_PER_MINUTE = 10
_NONSENSE = 3
_MINUTE = 60.0

LONGEST_SPREAD = 30.0
"""Seconds over which a return is spread at most: the longest interval between two polls."""

_LEAST_SPREAD = 0.25
_LONGEST_SILENCE = 120.0
_PING, _GRACE = 5.0, 5.0
"""Defaults of docs/protocol.md section 6, in seconds, for a server that announces nonsense."""

_FIRST_MINUTE_CAP = 5.0
"""Longest delay in seconds within the first minute of an outage: most outages are short."""

_STALL = 1.0
"""A wake-up this late (seconds) means that our own process stood still, not the peer."""


class Phase(Enum):
    """What the channel is doing."""

    IDLE = "idle"
    DIALING = "dialing"
    LIVE = "live"
    BACKOFF = "backoff"
    OFF = "off"


class Dial(Struct, frozen=True, gc=False):
    """Action: open a connection and send hello on it."""

    generation: int


class Hangup(Struct, frozen=True, gc=False):
    """Action: close a connection; nothing that still arrives from it counts."""

    generation: int
    code: int
    reason: str


@dataclass(slots=True, kw_only=True)
class Connection:
    """One connection, from its dial on. Times are monotonic seconds."""

    generation: int
    dialed_at: float
    answer_by: float
    welcome: Welcome | None = None
    patience: float = math.inf
    """Seconds without a frame after which it is dead; before the welcome `answer_by` counts."""
    heard_at: float = 0.0
    synced_at: float = math.inf
    close_by: float = math.inf
    nonsense: int = 0

    @property
    def is_live(self) -> bool:
        """Whether the server has welcomed us."""
        return self.welcome is not None

    @property
    def deadline(self) -> float:
        """When this connection must be judged."""
        return min(self.answer_by, self.heard_at + self.patience, self.close_by)


@dataclass(slots=True)
class Link:
    """Decides when to dial and when to hang up.

    Args:
        rand: Source of random numbers in [0, 1).
        backoff: Delay between attempts.
        enabled: Whether the backend has a channel and the application wants it.
    """

    rand: Callable[[], float]
    backoff: Backoff
    enabled: bool = True
    phase: Phase = Phase.IDLE
    primary: Connection | None = None
    leaving: Connection | None = None
    retry_at: float = math.inf
    renew_at: float = math.inf
    attempt: int = 0
    spread: float = 1.0  # seconds for returns; this much until the server has spoken
    read_spread: float = _LEAST_SPREAD  # seconds for the first reads after a loss, and failing ones
    drops: int = 0
    batch_limit: int = 1000
    last_error: VtransError | None = None
    is_wanted: bool = False
    away_since: float = math.inf
    """When push was lost, or first failed to come; infinite while nothing is known to be wrong."""
    actions: list[Dial | Hangup] = field(default_factory=list)
    _generation: int = 0
    _outage_at: float = math.inf
    _not_before: float = -math.inf
    _dials: deque[float] = field(default_factory=lambda: deque(maxlen=_DIALS_PER_MINUTE))

    @property
    def dials(self) -> int:
        """How many connections have been attempted so far."""
        return self._generation

    def find(self, generation: int) -> Connection | None:
        """Return the connection of a generation; None if it is neither in use nor leaving."""
        primary, leaving = self.primary, self.leaving
        if primary is not None and primary.generation == generation:
            return primary
        if leaving is not None and leaving.generation == generation:
            return leaving
        return None

    def covers(self, generation: int) -> bool:
        """Whether a job synced on this generation is covered by push now."""
        connection = self.find(generation)
        return connection is not None and connection.is_live

    def deadline(self) -> float:
        """Return when `advance` must be called next; infinite for never."""
        at = self.renew_at
        if self.is_wanted and self.retry_at < at:
            at = self.retry_at
        if self.primary is not None:
            at = min(at, self.primary.deadline)
        if self.leaving is not None:
            at = min(at, self.leaving.deadline)
        return at

    def want(self, is_wanted: bool, now: float) -> None:
        """Say whether there is a job to follow."""
        if is_wanted == self.is_wanted or not self.enabled:
            return
        self.is_wanted = is_wanted
        if not is_wanted:
            self._forgive(self.primary, now)
            self._hang_up_all("no job is watched any more")
            self.away_since = math.inf
            if self.phase in (Phase.LIVE, Phase.DIALING):
                self.phase = Phase.IDLE
        elif self.phase is Phase.IDLE or now >= self.retry_at:
            self._dial(now)

    def hold(self, until: float) -> None:
        """Start no dial before `until`: the server asks for it."""
        self._not_before = max(self._not_before, until)

    def announced(self, spread: float) -> None:
        """Note over how many seconds the server wants its clients' return to be spread."""
        self.spread = min(LONGEST_SPREAD, max(_LEAST_SPREAD, spread))
        # Who is told the least is one of so few that all of them may ask as fast as they return.
        is_crowd = self.spread > _LEAST_SPREAD
        self.read_spread = min(LONGEST_SPREAD, 2 * self.spread) if is_crowd else self.spread

    def opened(self, generation: int, welcome: Welcome, now: float) -> bool:
        """Take the server's welcome; return whether the connection counts."""
        connection = self.primary
        if connection is None or connection.generation != generation or connection.is_live:
            return False
        connection.welcome = welcome
        connection.heard_at = now
        connection.answer_by = math.inf
        if self.leaving is not None:
            self.leaving.answer_by = math.inf  # what it owes is asked of its successor
        silence = welcome.ping + welcome.grace
        connection.patience = silence if 0 < silence <= _LONGEST_SILENCE else _PING + _GRACE
        self.announced(welcome.spread)
        self.phase = Phase.LIVE
        if self.away_since < math.inf:
            away = now - self.away_since
            logger.info("channel %d is open, after %.2f s without push", generation, away)
        else:
            logger.info("channel %d is open", generation)
        self.away_since = math.inf
        return True

    def expect_sync(self, generation: int, now: float | None) -> None:
        """Give the server ten seconds from now to make progress with what was subscribed.

        Args:
            generation: Where it was; while a successor is dialed, that is the leaving one still.
            now: Monotonic seconds; None when nothing subscribed waits for the server.
        """
        connection = self.find(generation)
        if connection is not None:
            connection.answer_by = math.inf if now is None else now + _ANSWER_TIMEOUT

    def synced(self, now: float) -> Connection | None:
        """Note that the primary has brought every job to its head.

        Returns:
            The leaving connection, if that ended it.
        """
        assert self.primary is not None, "only a live connection can be synced"
        self.primary.synced_at = min(self.primary.synced_at, now)
        leaving, self.leaving = self.leaving, None
        if leaving is not None:
            self._hang_up(leaving, 1000, "replaced")
        return leaving

    def drain(self, generation: int, message: Drain, now: float) -> None:
        """Prepare to move: dial anew within the spread, and keep the old connection until then."""
        primary = self.primary
        if primary is None or primary.generation != generation:
            return
        deadline = max(0.0, message.deadline)
        spread = min(max(0.0, message.spread), deadline, LONGEST_SPREAD)
        primary.close_by = min(primary.close_by, now + deadline + _ANSWER_TIMEOUT)
        self.renew_at = min(self.renew_at, now + self.rand() * spread)

    def lost(self, generation: int, error: VtransError, now: float) -> Connection | None:
        """Note the end of a connection; return it if it was one that counts."""
        connection = self.find(generation)
        if connection is None:
            return None
        if connection is self.leaving:
            self.leaving = None
            logger.info("channel %d ended after its drain: %s", generation, error)
            if self.phase is not Phase.LIVE:
                self.away_since = min(self.away_since, now)
            return connection
        self.primary = None
        self.renew_at = math.inf
        self.last_error = error
        if self.leaving is None:
            self.away_since = min(self.away_since, now)
        self._forgive(connection, now)
        if self.attempt == 0:
            self._outage_at = now
        self.attempt += 1
        if connection.is_live:
            self.drops += 1
        if getattr(error, "code", None) == 1009:
            self.batch_limit = max(1, self.batch_limit // 2)
        self.hold(now + (getattr(error, "retry_after", None) or 0.0))
        if comes_back(error):
            self._back_off(now)
        else:
            self.phase = Phase.OFF
            self.retry_at = max(now + _PROBE_INTERVAL, self._not_before)
        how = _ENDINGS[connection.is_live, isinstance(error, ServerError)]
        wait = self.retry_at - now
        logger.info(
            "channel %d %s: %s; the next attempt is in %.2f s", generation, how, error, wait
        )
        return connection

    def nonsense(self, generation: int, error: ProtocolError, now: float) -> Connection | None:
        """Note a frame that made no sense; return the connection if that was one too many.

        One may be an accident. Three on one connection are a peer of another protocol.
        """
        connection = self.find(generation)
        if connection is None:
            return None
        connection.heard_at = now
        connection.nonsense += 1
        if connection.nonsense < _NONSENSE:
            return None
        return self.drop(generation, 4500, error, now)

    def drop(self, generation: int, code: int, error: VtransError, now: float) -> Connection | None:
        """Give up a connection ourselves; return it if it was one that counts."""
        connection = self.find(generation)
        if connection is not None:
            self._hang_up(connection, code, str(error))
        return self.lost(generation, error, now)

    def advance(self, now: float) -> list[Connection]:
        """Do what is due; return the connections that ended."""
        dead = [c for c in (self.leaving, self.primary) if c is not None and c.deadline <= now]
        ended: list[Connection] = []
        for connection in dead:
            if now - connection.deadline > _STALL:
                # Frames may wait in our own buffers: let the reader run before we judge.
                self._postpone(connection, now)
                continue
            self.drop(connection.generation, 4002, self._death(connection, now), now)
            ended.append(connection)
        if now >= self.renew_at:
            ended += self._renew(now)
        if self.is_wanted and now >= self.retry_at:
            self._dial(now)
        return ended

    def close(self) -> None:
        """Hang up everything for good."""
        self.enabled = False
        self.is_wanted = False
        self._hang_up_all("the client is closed")
        self.phase = Phase.IDLE

    # Private methods.

    def _dial(self, now: float) -> None:
        allowed_at = self._not_before
        if len(self._dials) == _DIALS_PER_MINUTE:
            allowed_at = max(allowed_at, self._dials[0] + _MINUTE)
        if now < allowed_at:
            self.phase = Phase.BACKOFF
            self.retry_at = allowed_at
            return
        self._dials.append(now)
        self._generation += 1
        self.retry_at = math.inf
        self.phase = Phase.DIALING
        self.primary = Connection(
            generation=self._generation, dialed_at=now, answer_by=now + _ANSWER_TIMEOUT
        )
        self.actions.append(Dial(self._generation))

    def _renew(self, now: float) -> list[Connection]:
        """Dial a successor of the primary; return the older connection that has to go for it."""
        older = [] if self.leaving is None else [self.leaving]
        self.leaving, self.primary = self.primary, None
        self.renew_at = math.inf
        self._forgive(self.leaving, now)
        for connection in older:
            self._hang_up(connection, 1000, "replaced")
        self._dial(now)
        return older

    def _forgive(self, connection: Connection | None, now: float) -> None:
        """Forget earlier failures if this connection has been good for long enough."""
        if connection is not None and now - connection.synced_at >= _STABLE_AFTER:
            self.attempt = 0

    def _back_off(self, now: float) -> None:
        if self.attempt == 1:
            delay = self.spread * self.rand()
        else:
            rand = self.rand()
            delay = self.backoff.delay(self.attempt - 1, rand)
            if now - self._outage_at < _MINUTE:
                delay = min(delay, _FIRST_MINUTE_CAP)
            delay = max(delay, self.spread * (0.9 + 0.2 * rand))
        self.phase = Phase.BACKOFF
        self.retry_at = max(now + delay, self._not_before)

    def _death(self, connection: Connection, now: float) -> VtransError:
        if now >= connection.close_by:
            return ConnectionLost("the server drained, and nothing took its place", code=1012)
        if not connection.is_live:
            return ConnectionLost(f"no welcome within {_ANSWER_TIMEOUT:.0f} s")
        if now >= connection.heard_at + connection.patience:
            return ConnectionLost(f"nothing received for {now - connection.heard_at:.1f} s")
        return ConnectionLost(f"no progress of the sync within {_ANSWER_TIMEOUT:.0f} s")

    def _postpone(self, connection: Connection, now: float) -> None:
        if connection.heard_at + connection.patience <= now:
            connection.heard_at = now - connection.patience + _STALL
        if connection.answer_by <= now:
            connection.answer_by = now + _STALL
        if connection.close_by <= now:
            connection.close_by = now + _STALL

    def _hang_up(self, connection: Connection, code: int, reason: str) -> None:
        self.actions.append(Hangup(connection.generation, code, reason))

    def _hang_up_all(self, reason: str) -> None:
        for connection in (self.leaving, self.primary):
            if connection is not None:
                self._hang_up(connection, 1000, reason)
        self.primary = self.leaving = None
        self.renew_at = math.inf


_ENDINGS = {
    (True, False): "lost",
    (True, True): "lost",
    (False, False): "was not reached",
    (False, True): "was refused",
}
"""How a connection ended, by whether it was live, and whether a server has refused it."""

# docs/protocol.md section 3.11: 4000-4499 come back, 4500-4999 stay away. Of the codes of RFC 6455
# section 7.4.1 these speak of a peer that will not understand us next time either: 1002 protocol
# error, 1003 unacceptable data, 1007 invalid payload, 1010 missing extension.
_CODES_OFF = frozenset({1002, 1003, 1007, 1010})


def comes_back(error: VtransError) -> bool:
    """Whether a lost or refused channel is worth dialing again by backoff."""
    if isinstance(error, ConnectionLost):
        code = error.code or 1006
        return code not in _CODES_OFF and not 4500 <= code <= 4999
    if isinstance(error, (AuthError, InvalidRequest, Unsupported)):
        return False
    if isinstance(error, ServerError):
        return error.retryable
    return not isinstance(error, ProtocolError)
