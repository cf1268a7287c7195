"""A world for the core to live in: a model of the server, of the network, and of time.

Nothing here does I/O or waits. `World` carries out the actions of a `Tracker` against a `Server`.
With `is_automatic`, the network does its work after `latency` seconds; without, a test decides what
happens to each dial, frame and poll.
"""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Callable, Iterable, Mapping

from tests import promises
from tests.vtrans_hybrid.model_server import Server, Socket
from vtrans_hybrid.audience import Deliver, Fail, Finish
from vtrans_hybrid.dialect import (
    Answer,
    Capabilities,
)
from vtrans_hybrid.errors import ConnectionLost, VtransError
from vtrans_hybrid.link import Dial, Hangup
from vtrans_hybrid.merge import Record, Watcher
from vtrans_hybrid.messages import Drain, Events, Ping, Received, Subscribe, Unsubscribe, Welcome
from vtrans_hybrid.models import JobStatus, State
from vtrans_hybrid.policy import PollPolicy, RetryPolicy
from vtrans_hybrid.push import Send
from vtrans_hybrid.schedule import Poll
from vtrans_hybrid.tracker import Tracker
from vtrans_hybrid.wire import Native


class Probe(Watcher):
    """A watcher that writes down what it is told."""

    def __init__(self, name: str, jobs: Iterable[str], *, wants_all: bool = False) -> None:
        self.name = name
        self.jobs = list(jobs)
        self.wants_all = wants_all
        self.seen: list[JobStatus] = []
        self.errors: dict[str | None, VtransError] = {}
        self.is_finished = False
        self.is_detached = False
        self.finished_at = math.inf

    def put(self, status: JobStatus) -> None:
        """Take a status."""
        assert not self.is_finished, f"{self.name} got {status} after the end"
        assert not self.is_detached, f"{self.name} got {status} after it had left"
        assert status.job_id not in self.errors, f"{self.name} got {status} after its error"
        self.seen.append(status)

    def fail(self, job_id: str | None, error: VtransError) -> None:
        """Take an error."""
        assert not self.is_finished, f"{self.name} got {error} after the end"
        assert not self.is_detached, f"{self.name} got {error} after it had left"
        assert job_id not in self.errors, f"{self.name} got a second error of {job_id}"
        self.errors[job_id] = error
        if job_id is None:
            self.is_finished = True

    def finish(self) -> None:
        """Take the end."""
        assert not self.is_finished, f"{self.name} ended twice"
        assert not self.is_detached, f"{self.name} ended after it had left"
        self.is_finished = True

    def versions(self, job_id: str) -> list[int]:
        """Return the versions seen of a job."""
        return [status.version for status in self.seen if status.job_id == job_id]


class World:
    """Carries out the actions of a tracker.

    Args:
        capabilities: What the backend can do.
        seed: Of the tracker's random numbers.
        start: Monotonic time at the start.
        options: Further arguments of the tracker.
    """

    def __init__(
        self,
        capabilities: Capabilities = Native.capabilities,
        *,
        seed: int = 1,
        start: float = 1000.0,
        **options: object,
    ) -> None:
        options = {"poll": PollPolicy(), "retry": RetryPolicy(), **options}
        self.now = start
        self.rand = random.Random(seed).random
        self.tracker = Tracker(capabilities, self.rand, start, **options)  # type: ignore[arg-type]
        self.server = Server()
        self.sockets: dict[int, Socket] = {}
        self.polls: dict[int, Poll] = {}
        self.dialed_at: list[float] = []
        self.polled_at: list[float] = []
        self.probes: list[Probe] = []
        self.heard: list[Events] = []
        self.log: list[object] = []
        self.is_automatic = False
        self.latency = 0.01
        self.accept: Callable[[Socket], VtransError | None] = lambda socket: None
        self.answer: Callable[[Poll], Answer | VtransError | None] = lambda poll: None
        self.is_silent = False
        self.mutes = False
        self.lifetime: float | None = None
        """Seconds after which the server cuts each connection; None leaves it open."""
        self._pending: list[tuple[float, int, Callable[[], None]]] = []
        self._serial = 0

    # What the application does.

    def attach(
        self,
        *job_ids: str,
        wants_all: bool = False,
        deadline: float = math.inf,
        name: str | None = None,
    ) -> Probe:
        """Let a new watcher follow jobs."""
        probe = Probe(name or f"watcher {len(self.probes)}", job_ids, wants_all=wants_all)
        self.probes.append(probe)
        self.tracker.attach(probe, job_ids, self.now, wants_all=wants_all, deadline=deadline)
        self.act()
        return probe

    def detach(self, probe: Probe) -> None:
        """Let a watcher leave."""
        self.tracker.detach(probe, self.now)
        self.act()
        probe.is_detached = True

    def detach_all(self) -> None:
        """Let everybody leave who still waits."""
        for probe in self.probes:
            if not probe.is_finished and not probe.is_detached:
                self.detach(probe)

    # What the network does.

    def act(self) -> None:
        """Carry out what the tracker wants."""
        while actions := self.tracker.actions():
            for action in actions:
                self.log.append(action)
                self._carry_out(action)

    def _carry_out(self, action: object) -> None:
        match action:
            case Dial():
                self.dialed_at.append(self.now)
                socket = self.sockets[action.generation] = Socket(action.generation)
                self._automatically(lambda: self.decide_dial(socket))
            case Hangup():
                assert action.generation in self.sockets, "what is hung up was dialed before"
                del self.sockets[action.generation]
            case Send():
                assert action.generation in self.sockets, "nothing is sent on a dead connection"
                socket = self.sockets[action.generation]
                if isinstance(action.message, (Subscribe, Unsubscribe)):
                    socket.inbox.append(action.message)
                self._automatically(lambda: self.serve(socket))
            case Poll():
                self.polled_at.append(self.now)
                self.polls[action.poll_id] = action
                self._automatically(lambda: self.decide_poll(action))
            case _:
                self._tell(action)

    def _tell(self, action: object) -> None:
        match action:
            case Deliver():
                for watcher in action.watchers:
                    assert isinstance(watcher, Probe)
                    watcher.put(action.status)
            case Fail():
                assert isinstance(action.watcher, Probe)
                action.watcher.fail(action.job_id, action.error)
            case Finish():
                assert isinstance(action.watcher, Probe)
                action.watcher.finish()
                action.watcher.finished_at = self.now
            case _:
                raise AssertionError(f"an unknown action: {action}")

    def _automatically(self, do: Callable[[], None]) -> None:
        if self.is_automatic:
            self.later(do)

    def later(self, do: Callable[[], None], delay: float | None = None) -> None:
        """Do something after a delay in seconds; None is the latency."""
        self._serial += 1
        at = self.now + (self.latency if delay is None else delay)
        heapq.heappush(self._pending, (at, self._serial, do))

    def welcome(self, socket: Socket, epoch: str | None = None) -> None:
        """Answer a dial."""
        socket.is_live = True
        socket.is_muted = self.mutes
        message = Welcome(epoch=epoch or self.server.epoch, spread=self.server.spread)
        self.receive(socket.generation, message)
        if self.lifetime is not None:
            self.later(lambda: self.lose(socket, ConnectionLost("cut", code=1006)), self.lifetime)

    def receive(self, generation: int, message: Received, *, is_new: bool = True) -> None:
        """Let the tracker receive a message."""
        if isinstance(message, Events) and is_new:
            self.heard.append(message)
        self.tracker.received(generation, message, self.now)
        self.act()

    def decide_dial(self, socket: Socket) -> None:
        """Accept a dial or refuse it, as the test wants."""
        if socket.generation not in self.sockets or self.is_silent:
            return
        error = self.accept(socket)
        if error is None:
            self.welcome(socket)
        else:
            self.lose(socket, error)

    def lose(self, socket: Socket, error: VtransError) -> None:
        """Let the tracker lose a connection."""
        if self.sockets.pop(socket.generation, None) is None:
            return
        self.tracker.push_lost(socket.generation, error, self.now)
        self.act()

    def decide_poll(self, poll: Poll) -> None:
        """Answer a poll, as the test wants."""
        if poll.poll_id not in self.polls:
            return
        if self.is_silent:
            self.later(lambda: self.decide_poll(poll), 0.5)
            return
        self.report(poll, self.answer(poll) or self.server.read(poll.read))

    def report(self, poll: Poll, result: Answer | VtransError) -> None:
        """Let the tracker have the result of a poll."""
        del self.polls[poll.poll_id]
        self.tracker.polled(poll.poll_id, result, self.now)
        self.act()

    def serve(self, socket: Socket) -> None:
        """Let the server read what came, and with an automatic network deliver what it says."""
        socket.serve(self.server)
        if self.is_automatic:
            self.deliver(socket)

    def deliver(self, socket: Socket) -> None:
        """Deliver everything in the outbox."""
        while socket.outbox and socket.generation in self.sockets and not self.is_silent:
            self.receive(socket.generation, socket.outbox.pop(0))

    def write(self, job_id: str, state: State | None = None, eta: float | None = None) -> JobStatus:
        """Let a job change, and with an automatic network push that."""
        status = self.server.write(job_id, state, eta)
        for socket in tuple(self.sockets.values()):
            if socket.is_live and not socket.is_dead:
                socket.pump(self.server)
                if self.is_automatic:
                    self.deliver(socket)
        return status

    # Time.

    def forget_pending(self) -> None:
        """Let nothing happen of itself that was under way."""
        self._pending.clear()

    def run(self, seconds: float) -> None:
        """Let time pass, with everything that is due in it."""
        end = self.now + seconds
        idle = 0
        while True:
            due = self.tracker.next_deadline()
            happens_at = self._pending[0][0] if self._pending else math.inf
            at = max(self.now, min(due, happens_at))
            if at > end:
                break
            idle = idle + 1 if at == self.now else 0
            assert idle < 1000, f"at {self.now} s the core asks for the present again and again"
            self.now = at
            if happens_at <= at:
                heapq.heappop(self._pending)[2]()
            else:
                self.wake()
        self.now = end

    def wake(self) -> None:
        """Let the timer of the shell fire."""
        self.tracker.advance(self.now)
        self.act()
        due = self.tracker.next_deadline()
        assert due > self.now, f"the timer would fire again at once: {due} at {self.now}"

    def heartbeat(self, interval: float = 2.5) -> None:
        """Let the server ping every live connection from now on."""

        def beat() -> None:
            for socket in tuple(self.sockets.values()):
                if socket.is_live and not socket.is_dead and not self.is_silent:
                    self.receive(socket.generation, Ping(1))
            self.later(beat, interval)

        beat()

    def drain(self, socket: Socket, *, spread: float = 1.0, deadline: float = 20.0) -> None:
        """Let the server announce that it leaves."""
        socket.is_draining = True
        self.receive(socket.generation, Drain(spread=spread, deadline=deadline))

    # What must always hold.

    @property
    def records(self) -> Mapping[str, Record]:
        """The records of the tracker."""
        return self.tracker._ledger._records

    @property
    def live(self) -> Socket:
        """The newest live socket."""
        return [socket for socket in self.sockets.values() if socket.is_live][-1]

    def check(self) -> None:
        """Check every invariant that needs no end."""
        for probe in self.probes:
            promises.s1_at_most_once(probe.seen)
            promises.s2_ascending(probe.seen)
            promises.s3_final_once_and_last(probe.seen)
            promises.s4_real(probe.seen, self.server.had)
            promises.s5_skipped_is_counted(probe.seen)
        promises.e3_dials(self.dialed_at)
        promises.e5_one_socket(
            len(self.sockets), draining=int(self.tracker.link.leaving is not None)
        )
        self.check_sockets()
        self.check_polls()
        self.check_cover()

    def check_sockets(self) -> None:
        """Check that the link knows exactly the sockets that are open."""
        link = self.tracker.link
        known = {c.generation for c in (link.primary, link.leaving) if c is not None}
        assert known == set(self.sockets), f"open: {set(self.sockets)}, known: {known}"
        is_dialed = link.primary is not None and not link.primary.is_live
        assert not is_dialed or link.primary.deadline < math.inf, "a dial that may last for ever"

    def check_polls(self) -> None:
        """Check that at most one poll is in flight for each job, and that the records agree."""
        in_flight: dict[str, int] = {}
        for poll in self.polls.values():
            for job_id in poll.read.jobs:
                assert job_id not in in_flight, f"two polls are in flight for {job_id}"
                in_flight[job_id] = poll.poll_id
        for job_id, record in self.records.items():
            assert record.in_flight == in_flight.get(job_id, 0), f"{job_id} is mistaken"

    def check_cover(self) -> None:
        """Check that each open job is covered: by a synced connection, or by a read to come."""
        schedule, link = self.tracker._schedule, self.tracker.link
        subscriptions = self.tracker._push._subscriptions
        followed = {id(r) for r in subscriptions.waiting}
        followed |= {id(r) for batch in subscriptions._batches.values() for r in batch}
        line = {id(record) for record in (*schedule.line._together, *schedule.line._alone)}
        longest = 130 if schedule.is_stretched else 100
        open_jobs = 0
        for job_id, record in self.records.items():
            if not record.watchers:
                continue
            open_jobs += 1
            in_wheel = record.tick and record in schedule._slots.get(record.tick, ())
            has_read = record.in_flight or id(record) in line or in_wheel
            covered = link.covers(record.synced)
            assert not (covered and record.is_torn), f"{job_id} has a hole that nobody mends"
            if self.tracker._cover.uses_polls:
                assert has_read, f"{job_id} has no read ahead"
                assert covered or record.in_flight or record.poll_at < self.now + longest, (
                    f"{job_id} is uncovered, and its read is {record.poll_at - self.now:.0f} s away"
                )
            else:
                will_dial = link.primary is None or link.primary.welcome is None
                assert has_read or will_dial or id(record) in followed, (
                    f"nothing will ever be heard of {job_id}"
                )
            if covered and record.synced == subscriptions.generation:
                socket = self.sockets[record.synced]
                knows = job_id in socket.cursors or self.server.is_final(job_id)
                assert knows or socket.is_dead or socket.inbox, f"{job_id} is not subscribed"
        assert self.tracker.open_jobs == open_jobs, "open jobs are miscounted"

    def check_empty(self) -> None:
        """Check that nothing is kept: no record, socket, poll, watch or deadline."""
        tracker = self.tracker
        assert not self.records
        assert not self.sockets
        assert not self.polls
        assert not tracker._ledger._audience._watches
        assert not tracker._ledger._audience._deadlines
        assert not tracker._news.absences._since
        assert not tracker._schedule.line
        assert not tracker._schedule.line._singled_out
        assert not tracker._news.hearsay._withheld_since
        assert not tracker._news.hearsay._unconfirmed_since
        assert not tracker._push.doubts
        assert not tracker._push._subscriptions.waiting
        assert tracker.open_jobs == 0
        assert tracker.next_deadline() == math.inf or all(
            not [r for r in slot if r.tick == tick]
            for tick, slot in tracker._schedule._slots.items()
        )
