"""Random schedules for the pure core, as fast as they can be: one job, its server and its network.

A schedule follows from its seed. For a while anything happens: dials are refused, events get lost,
come twice or in the wrong order, reads fail or answer late with what was true when they were asked,
connections end or fall silent, the server comes back with another history. Then the network heals,
the job ends, and the watcher must hear of it in time.

The machine of hypothesis beside the core's tests looks deeper, at many jobs and at the inner state;
this driver looks at one job and at what a watcher sees, a million times.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime
from operator import attrgetter
from typing import Any

from vtrans_hybrid.audience import Deliver, Fail, Finish
from vtrans_hybrid.dialect import Answer, Read
from vtrans_hybrid.errors import ConnectFailed, ConnectionLost, Unavailable, VtransError
from vtrans_hybrid.link import Dial, Hangup
from vtrans_hybrid.merge import Watcher
from vtrans_hybrid.messages import Events, Ping, Subscribe, Synced, Welcome
from vtrans_hybrid.models import JobStatus, State
from vtrans_hybrid.policy import PollPolicy, RetryPolicy
from vtrans_hybrid.push import Send
from vtrans_hybrid.schedule import Poll
from vtrans_hybrid.tracker import Tracker
from vtrans_hybrid.wire import Native

__all__ = ["Broken", "play"]

JOB = "job-1"
FINAL = 6
EPOCHS = ("E1", "E2")
LATENCY = 0.02
LIMIT = 45.0  # seconds from the last fault to the final status (promise L1)
STEPS_TO_HEAL = 200

POLICY, RETRY = PollPolicy(), RetryPolicy(max_attempts=10_000)


def _status(epoch: str, version: int) -> JobStatus:
    states = {1: State.PENDING, FINAL: State.COMPLETED}
    return JobStatus(
        job_id=JOB,
        state=states.get(version, State.RUNNING),
        version=version,
        epoch=epoch,
        progress=version / FINAL,
        estimated_time_remaining=float(10 * (FINAL - version)) or None,
        language=f"Spanish of {epoch}",
        result_url=f"https://results.example/{epoch}" if version == FINAL else None,
        updated_at=datetime(2026, 1, 1, 0, version, tzinfo=UTC),
    )


_told = attrgetter(
    "job_id",
    "state",
    "progress",
    "estimated_time_remaining",
    "language",
    "error",
    "result_url",
    "created_at",
    "updated_at",
)
"""All that a server says in a status, but for its position."""

STATUSES = {epoch: [_status(epoch, version) for version in range(1, FINAL + 1)] for epoch in EPOCHS}
TOLD = {epoch: [_told(status) for status in statuses] for epoch, statuses in STATUSES.items()}
WELCOMES = {epoch: Welcome(epoch=epoch) for epoch in EPOCHS}
LOST = ConnectionLost("the connection was lost", code=1006)
REFUSED = ConnectFailed("nobody is there")
BUSY = Unavailable("not now", status=503, retry_after=3.0)
PING = Ping(1)


_PRIME = 2**31 - 1


def _chances(seed: int) -> Callable[[], float]:
    """Return a source of numbers in [0, 1): the "minimal standard" of Park and Miller.

    A schedule draws ten of them, for which the 624 words of `random.Random` are long to seed.
    """
    state = (seed + 1) * 2_654_435_761 % _PRIME or 1

    def chance() -> float:
        nonlocal state
        state = state * 48_271 % _PRIME
        return state / _PRIME

    return chance


class Broken(AssertionError):
    """A promise was broken."""


class Play(Watcher):
    """One schedule: the watcher, the server and the network in one.

    Args:
        seed: What everything follows from.
    """

    __slots__ = (
        "channel",
        "cursor",
        "ended_at",
        "epoch",
        "generation",
        "has_channel",
        "head",
        "is_answered",
        "is_silent",
        "last",
        "late",
        "now",
        "random",
        "reads",
        "tracker",
        "wants_all",
    )

    def __init__(self, seed: int) -> None:
        self.random = random = _chances(seed)
        self.wants_all = random() < 0.5
        chance = random()
        self.has_channel = chance < 0.7
        """Whether the channel works in the end; if not, reads have to do."""
        self.now = 1000.0
        self.epoch = EPOCHS[0]
        self.head = 1
        self.last: JobStatus | None = None
        self.ended_at = math.inf
        self.generation = 0  # of the connection that was dialed; 0 for none
        self.channel = False  # whether it has been welcomed
        self.is_silent = False  # whether its server is gone, though the client does not know
        self.cursor: int | None = None  # what the channel has sent; None if nothing is subscribed
        self.is_answered = False  # whether the core has heard something while it was drained
        self.reads: list[tuple[Poll, Answer]] = []  # in flight, and what was true when they arrived
        self.late: list[tuple[int, JobStatus]] = []  # events held back
        self.tracker = Tracker(
            Native.capabilities,
            random,
            self.now,
            poll=POLICY,
            retry=RETRY,
            uses_push=chance < 0.85,
            uses_polls=chance > 0.15,
        )
        self.tracker.attach(self, [JOB], self.now, wants_all=self.wants_all)
        self.act()

    # The watcher.

    def put(self, status: JobStatus) -> None:
        """Check S1 to S5 for one more status."""
        last, self.last = self.last, status
        epoch, version = status.epoch, status.version
        if _told(status) != TOLD[epoch][version - 1]:
            raise Broken(f"S4: the server never had {status}")
        skipped: int | None = version - 1
        if last is not None:
            if last.epoch > epoch or (last.epoch == epoch and last.version >= version):
                raise Broken(f"S1, S2: {status} came after {last}")
            if last.state is State.COMPLETED:
                raise Broken(f"S3: {status} came after the final status")
            skipped = version - 1 - last.version if last.epoch == epoch else None
        if status.skipped != skipped:
            raise Broken(f"S5: {status} came after {last}")
        if skipped and self.wants_all and not status.gap:
            raise Broken(f"S5: {skipped} versions before {status} are missing without need")

    def fail(self, job_id: str | None, error: VtransError) -> None:
        """Nothing that happens here is a reason to fail."""
        raise Broken(f"the watch of {job_id} failed: {error!r}")

    def finish(self) -> None:
        """Check S3: the end comes behind the final status, once."""
        if self.last is None or not self.last.is_final or self.ended_at < math.inf:
            raise Broken(f"S3: it ended after {self.last}")
        self.ended_at = self.now

    # The shell.

    def act(self) -> None:
        """Carry out what the core wants."""
        self.is_answered = True
        while self.is_answered:
            self.is_answered = False
            for action in self.tracker.actions():
                if type(action) is Deliver:  # the most of them
                    self.put(action.status)
                else:
                    _CARRY_OUT[type(action)](self, action)

    def _dial(self, action: Dial) -> None:
        self.generation, self.channel, self.is_silent = action.generation, False, False
        self.cursor = None

    def _hang_up(self, action: Hangup) -> None:
        if action.generation == self.generation:
            self.generation = 0

    def _poll(self, action: Poll) -> None:
        self.reads.append((action, self._read(action.read)))

    # The server.

    def _newer(self, cursor: int, wants_all: bool) -> list[JobStatus]:
        statuses = STATUSES[self.epoch]
        return statuses[cursor if wants_all else max(cursor, self.head - 1) : self.head]

    def _read(self, read: Read) -> Answer:
        cursor = read.jobs[JOB] if read.epoch == self.epoch else 0
        return Answer(statuses=self._newer(cursor, read.wants_all), epoch=self.epoch)

    def _serve(self, send: Send) -> None:
        message = send.message
        if send.generation != self.generation or self.is_silent or type(message) is not Subscribe:
            return
        self.cursor = message.jobs[JOB] if message.epoch == self.epoch else 0
        self.pump()
        self.tracker.received(self.generation, Synced(message.id), self.now)
        self.is_answered = True

    def pump(self) -> None:
        """Push whatever is newer than what was sent."""
        if self.cursor is None or self.cursor >= self.head or self.is_silent:
            return
        newer = self._newer(self.cursor, self.wants_all)
        self.cursor = self.head
        if self.generation and self.channel:
            self.tracker.received(self.generation, Events(newer), self.now)

    # What happens.

    def step(self) -> None:
        """Let one thing happen, whatever it is."""
        chance = self.random()
        self.now += chance
        if self.generation and not self.channel:
            self._answer_dial(refused=chance < 0.3)
        elif chance < 0.35 and self.head < FINAL:
            self.head += 1
            self._send_event()
        elif chance < 0.6 and self.reads:
            self._answer_read()
        elif chance < 0.7 and self.generation:
            self._lose()
        elif chance < 0.75:
            self.is_silent = True
        elif chance < 0.8 and self.late:
            generation, status = self.late.pop()
            self.tracker.received(generation, Events([status]), self.now)
        elif chance < 0.82:
            self._forget()
        elif chance < 0.9 and self.generation and not self.is_silent:
            self.tracker.received(self.generation, PING, self.now)
        else:
            self.now = max(self.now, min(self.tracker.next_deadline(), self.now + 20))
            self.tracker.advance(self.now)
        self.act()

    def _answer_dial(self, *, refused: bool) -> None:
        if refused:
            self._lose()
        else:
            self.channel = True
            self.tracker.received(self.generation, WELCOMES[self.epoch], self.now)

    def _send_event(self) -> None:
        chance = self.random()
        if chance < 0.6:
            self.pump()
        if self.cursor is None or self.is_silent or not self.channel:
            return
        status = STATUSES[self.epoch][self.head - 1]
        if chance < 0.2:  # once more
            self.tracker.received(self.generation, Events([status]), self.now)
        elif chance > 0.7:  # later, behind others
            self.cursor = self.head
            self.late.append((self.generation, status))
        elif chance > 0.6:  # never
            self.cursor = self.head

    def _answer_read(self) -> None:
        chance = self.random()
        poll, answer = self.reads.pop(int(chance * len(self.reads)))
        result = answer if chance < 0.7 else BUSY if chance < 0.8 else REFUSED
        self.tracker.polled(poll.poll_id, result, self.now)

    def _lose(self) -> None:
        generation, self.generation, self.cursor = self.generation, 0, None
        self.tracker.push_lost(generation, LOST if self.channel else REFUSED, self.now)

    def _forget(self) -> None:
        """Let the server come back with another history, in which the job begins again."""
        if self.epoch == EPOCHS[0] and self.head < FINAL:
            self.epoch, self.head = EPOCHS[1], 1
            self.late.clear()
            if self.generation:
                self._lose()

    # The end.

    def heal(self) -> None:
        """Let the job end and everything work, and check L1."""
        self.late.clear()
        self.head = FINAL
        healed_at = self.now
        if self.has_channel:
            self.pump()
        elif self.generation:
            self._lose()
        for _ in range(STEPS_TO_HEAL):
            self.act()
            if self.ended_at < math.inf:
                break
            self._work()
        if self.ended_at - healed_at > LIMIT:
            raise Broken(f"L1: the end came {self.ended_at - healed_at:.1f} s after the last fault")

    def _work(self) -> None:
        if self.reads:
            poll, answer = self.reads.pop(0)
            self.now += LATENCY
            self.tracker.polled(poll.poll_id, answer, self.now)
        elif self.generation and not self.channel:
            self.now += LATENCY
            self._answer_dial(refused=not self.has_channel)
        else:
            self.now = max(self.now, self.tracker.next_deadline())
            if self.now == math.inf:
                raise Broken("L6: the job is open, and nothing is planned for it")
            self.tracker.advance(self.now)


_CARRY_OUT: dict[type, Callable[[Play, Any], None]] = {
    Dial: Play._dial,
    Fail: lambda scene, action: scene.fail(action.job_id, action.error),
    Finish: lambda scene, _: scene.finish(),
    Hangup: Play._hang_up,
    Poll: Play._poll,
    Send: Play._serve,
}


def play(seed: int) -> None:
    """Play one schedule.

    Raises:
        Broken: a promise was broken.
    """
    scene = Play(seed)
    for _ in range(1 + seed % 7):
        scene.step()
    scene.heal()
