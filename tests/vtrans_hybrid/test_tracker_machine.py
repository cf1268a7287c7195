"""A state machine over the core: any order of anything, and the invariants of the protocol hold.

The machine plays the server, the network, the application and the clock. Long healthy stretches are
among its rules, for a hole in the cover shows only when nothing else stirs things up.
"""

import math
import random
from functools import partial

import msgspec
from hypothesis import HealthCheck, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from tests import promises
from tests.vtrans_hybrid.model_server import Socket
from tests.vtrans_hybrid.world import Probe, World
from vtrans_hybrid.errors import (
    ConnectFailed,
    ConnectionLost,
    JobLost,
    JobNotFound,
    ProtocolError,
    QuotaExceeded,
    RateLimited,
    RequestTimeout,
    ServerError,
    Unavailable,
    VtransError,
)
from vtrans_hybrid.link import Phase
from vtrans_hybrid.messages import ChannelError, Events
from vtrans_hybrid.models import State

JOBS = [f"job-{number}" for number in range(6)]

jobs = st.sampled_from(JOBS)
some_jobs = st.lists(jobs, min_size=1, max_size=4, unique=True)
finals = st.sampled_from([State.COMPLETED, State.ERROR, State.CANCELED])
etas = st.sampled_from([None, None, 0.0, 5.0, 20.0, 300.0])
stretches = st.sampled_from([2.0, 10.0, 40.0, 130.0])
moments = st.sampled_from([0.01, 0.3, 1.0, 1.5, 3.0, 12.0])
faults = st.sampled_from(["", "", "", "twice", "swap", "drop"])
closes = st.sampled_from([None, 1000, 1001, 1006, 1012, 4000, 4001, 4029])
refusals = st.sampled_from(
    [
        ConnectFailed("no connection"),
        Unavailable("full", status=503, retry_after=7.0),
        RateLimited("too many", status=429),
        ConnectionLost("reset"),
    ]
)
failures = st.sampled_from(
    [
        RequestTimeout("slow"),
        Unavailable("down", status=503, retry_after=3.0),
        RateLimited("too many", status=429, retry_after=5.0),
        ProtocolError("HTML"),
        ConnectFailed("no connection"),
        QuotaExceeded("nothing left", status=402),
    ]
)


def a_socket(*, is_live: bool) -> object:
    """Return the precondition that somebody is at the other end of a connection."""
    return precondition(lambda machine: machine.sockets(is_live=is_live))


class TrackerMachine(RuleBasedStateMachine):
    """Push and polls together."""

    uses_push = True

    @initialize(
        seed=st.integers(0, 2**16),
        start=st.sampled_from([0.0, 1000.0, 3_000_000.0]),
        wants_all=st.booleans(),
        is_connected=st.booleans(),
    )
    def begin(self, seed: int, start: float, wants_all: bool, is_connected: bool) -> None:
        """Start with some jobs at the server and one watcher of most of them."""
        self.world = World(seed=seed, start=start, uses_push=self.uses_push)
        self.chance = random.Random(seed)
        self.losses = 0
        self.no_polls: list[tuple[float, float]] = []
        self.no_dials: list[tuple[float, float]] = []
        for job_id in JOBS[:5]:
            self.world.server.write(job_id)
        self.attach(JOBS[:4], wants_all, None)
        if is_connected:
            self.stretch("healthy", 2.0, 0.5)

    # The application.

    @rule(jobs=some_jobs, wants_all=st.booleans(), timeout=st.none() | st.floats(0.5, 200))
    def attach(self, jobs: list[str], wants_all: bool, timeout: float | None) -> None:
        """Let a watcher come."""
        deadline = math.inf if timeout is None else self.world.now + timeout
        self.world.attach(*jobs, wants_all=wants_all, deadline=deadline)

    def watchers(self) -> list[Probe]:
        """Return those who still wait."""
        return [p for p in self.world.probes if not p.is_finished and not p.is_detached]

    @precondition(lambda self: self.watchers())
    @rule(data=st.data())
    def detach(self, data: st.DataObject) -> None:
        """Let a watcher leave."""
        self.world.detach(data.draw(st.sampled_from(self.watchers())))

    @rule(pause=moments, wants_all=st.booleans())
    def come_and_go(self, pause: float, wants_all: bool) -> None:
        """Let everybody leave, and after a while let somebody come for the same jobs."""
        for probe in self.watchers():
            self.world.detach(probe)
        self.world.run(pause)
        self.attach(JOBS[:4], wants_all, None)

    @rule(job=jobs)
    def order(self, job: str) -> None:
        """Order a job."""
        if job not in self.world.server.jobs:
            self.world.tracker.created([self.world.write(job)], self.world.now)

    @rule(jobs=some_jobs)
    def announce(self, jobs: list[str]) -> None:
        """Let somebody say of jobs, truly or not, that they have news."""
        self.world.tracker.announced(jobs, self.world.now)
        self.world.act()

    # The server.

    @rule(job=jobs, count=st.integers(1, 12), eta=etas)
    def progress(self, job: str, count: int, eta: float | None) -> None:
        """Let a job go on."""
        if job in self.world.server.jobs and not self.world.server.is_final(job):
            for _ in range(count):
                self.world.write(job, eta=eta)

    @rule(job=jobs, state=finals)
    def end(self, job: str, state: State) -> None:
        """Let a job end, and let old news arrive just after that."""
        if job in self.world.server.jobs and not self.world.server.is_final(job):
            self.world.write(job, state)
            if self.chance.random() < 0.5 and self.sockets(is_live=True):
                self.flow()
                self.replay()

    @rule(
        survivors=st.none() | st.lists(jobs, unique=True),
        is_told=st.booleans(),
        recovers=st.booleans(),
    )
    def restart(self, survivors: list[str] | None, is_told: bool, recovers: bool) -> None:
        """Restart the server, with its state (None) or without; clients may or may not notice."""
        self.world.server.restart(survivors)
        for socket in tuple(self.world.sockets.values()):
            socket.is_dead = True
            if is_told:
                self.world.lose(socket, ConnectionLost("reset", code=1006))
        if recovers:
            self.stretch("healthy", 10.0, 4.0)
            self.replay()

    # The channel.

    def sockets(self, *, is_live: bool) -> list[Socket]:
        """Return the sockets at whose other end there is somebody."""
        return [s for s in self.world.sockets.values() if s.is_live == is_live and not s.is_dead]

    @a_socket(is_live=False)  # type: ignore[operator]
    @rule()
    def accept(self) -> None:
        """Welcome every dial."""
        for socket in self.sockets(is_live=False):
            self.world.welcome(socket)

    @a_socket(is_live=False)  # type: ignore[operator]
    @rule(error=refusals)
    def refuse(self, error: VtransError) -> None:
        """Refuse every dial."""
        for socket in self.sockets(is_live=False):
            if isinstance(error, ServerError) and error.retry_after:
                self.no_dials.append((self.world.now, self.world.now + error.retry_after))
            self.world.lose(socket, error)

    @a_socket(is_live=True)  # type: ignore[operator]
    @rule()
    def serve(self) -> None:
        """Let the server read what clients have sent."""
        for socket in self.sockets(is_live=True):
            self.world.serve(socket)

    @a_socket(is_live=True)  # type: ignore[operator]
    @rule(count=st.integers(1, 5), fault=faults)
    def deliver(self, count: int, fault: str) -> None:
        """Deliver some of what the server has sent, perhaps twice, out of order, or not at all."""
        for socket in self.sockets(is_live=True):
            for _ in range(count):
                if socket.outbox and socket.generation in self.world.sockets:
                    self.deliver_one(socket, fault)

    def deliver_one(self, socket: Socket, fault: str) -> None:
        """Deliver the next message of a connection."""
        first = socket.outbox[:2]
        if fault == "swap" and len([m for m in first if isinstance(m, Events)]) == 2:
            socket.outbox[:2] = reversed(first)
        message = socket.outbox.pop(0)
        if fault == "drop" and isinstance(message, Events):
            self.losses += 1
            return
        self.world.receive(socket.generation, message)
        if fault == "twice" and isinstance(message, Events):
            self.world.receive(socket.generation, message)

    @a_socket(is_live=True)  # type: ignore[operator]
    @rule(job=jobs, faults=st.lists(faults, min_size=3, max_size=12))
    def stream(self, job: str, faults: list[str]) -> None:
        """Let a job go on step by step, with a fault here and there."""
        for fault in faults:
            self.progress(job, 1, None)
            for socket in self.sockets(is_live=True):
                if len(socket.outbox) > (fault == "swap"):
                    self.deliver_one(socket, fault)

    @precondition(lambda self: self.world.sockets)
    @rule()
    def flow(self) -> None:
        """Let everything that is under way on the channel arrive."""
        for socket in self.sockets(is_live=False):
            self.world.welcome(socket)
        for _ in range(3):
            self.serve()
            self.deliver(100, "")

    @precondition(lambda self: self.world.sockets)
    @rule(code=closes)
    def cut(self, code: int | None) -> None:
        """Cut every connection."""
        for socket in tuple(self.world.sockets.values()):
            self.world.lose(socket, ConnectionLost("cut", code=code))

    @a_socket(is_live=True)  # type: ignore[operator]
    @rule()
    def garble(self) -> None:
        """Replace the next frame of each connection with nonsense."""
        for socket in self.sockets(is_live=True):
            if socket.outbox:
                self.losses += isinstance(socket.outbox.pop(0), Events)
                error = ProtocolError("nonsense")
                self.world.tracker.push_garbled(socket.generation, error, self.world.now)
                if self.world.tracker.link.phase is Phase.OFF:  # three times on one connection
                    self.no_dials.append((self.world.now, self.world.now + 299.0))
                self.world.act()

    @a_socket(is_live=True)  # type: ignore[operator]
    @rule(
        spread=st.floats(0, 20),
        deadline=st.floats(0, 30),
        times=st.integers(1, 3),
        pause=moments,
        answers=st.booleans(),
        flows=st.booleans(),
    )
    def drain(
        self, spread: float, deadline: float, times: int, pause: float, answers: bool, flows: bool
    ) -> None:
        """Let the server announce that it leaves, and its successor too, if that says a word."""
        for _ in range(times):
            for socket in self.sockets(is_live=True):
                self.world.drain(socket, spread=spread, deadline=deadline)
            self.world.run(pause)
            for socket in self.sockets(is_live=False) if answers else ():
                self.world.welcome(socket)
            if flows:
                self.flow()

    @a_socket(is_live=True)  # type: ignore[operator]
    @rule(retry_after=st.none() | st.floats(0, 10), names_batch=st.booleans())
    def rebuff(self, retry_after: float | None, names_batch: bool) -> None:
        """Refuse what a client has sent: the next subscribe, or nothing in particular."""
        for socket in self.sockets(is_live=True):
            batch = None
            if names_batch and socket.inbox:
                batch = getattr(socket.inbox.pop(0), "id", None)
            if retry_after:
                self.no_polls.append((self.world.now, self.world.now + retry_after))
                self.no_dials.append((self.world.now, self.world.now + retry_after))
            error = ChannelError(code="rate_limited", id=batch, retry_after=retry_after)
            self.world.receive(socket.generation, error)

    # What is old or wrong changes nothing.

    @precondition(lambda self: self.world.heard)
    @rule(generation=st.integers(1, 4))
    def speak_when_dead(self, generation: int) -> None:
        """Let frames arrive on a connection that is gone."""
        if generation not in self.world.sockets:
            before = len(self.world.log)
            for message in self.world.heard:
                self.world.receive(generation, message, is_new=False)
            assert len(self.world.log) == before

    @a_socket(is_live=True)  # type: ignore[operator]
    @rule()
    def replay(self) -> None:
        """Let everything that was received arrive again, and go on after a final status."""
        world = self.world
        old = []
        for status in (status for message in world.heard for status in message.events):
            record = world.records.get(status.job_id)
            if record is None or record.status is None:
                continue
            if status.position <= record.status.position:
                old.append(status)
            if record.is_final:
                old.append(msgspec.structs.replace(record.status, version=99, state=State.RUNNING))
        before = sum(len(probe.seen) for probe in world.probes)
        for socket in self.sockets(is_live=True):
            world.receive(socket.generation, Events(old), is_new=False)
        assert sum(len(probe.seen) for probe in world.probes) == before
        for status in old:
            record = world.records[status.job_id]
            assert record.status is not None
            assert world.server.had(record.status) is not None

    # Polls.

    @precondition(lambda self: self.world.polls)
    @rule()
    def answer(self) -> None:
        """Answer every poll by what the server knows now."""
        for poll in tuple(self.world.polls.values()):
            self.world.report(poll, self.world.server.read(poll.read))

    @precondition(lambda self: self.world.polls)
    @rule(wait=moments, writes=st.integers(0, 3))
    def answer_late(self, wait: float, writes: int) -> None:
        """Let polls be answered by what the server knew before it went on."""
        answers = [(p, self.world.server.read(p.read)) for p in self.world.polls.values()]
        for _ in range(writes):
            self.progress(self.chance.choice(JOBS), 1, None)
        self.world.run(wait)
        if self.chance.random() < 0.5:
            self.world.detach_all()
        for poll, answer in answers:
            self.world.report(poll, answer)

    @precondition(lambda self: self.world.polls)
    @rule(error=failures)
    def fail(self, error: VtransError) -> None:
        """Let every poll fail."""
        # A server that was never heard of ends watches, which a test of its own pins.
        self.world.tracker._news.has_heard = True
        for poll in tuple(self.world.polls.values()):
            if isinstance(error, ServerError) and error.retry_after:
                self.no_polls.append((self.world.now, self.world.now + error.retry_after))
            self.world.report(poll, error)

    # Time.

    @rule(seconds=moments | stretches)
    def wait(self, seconds: float) -> None:
        """Let time pass while nothing comes from the network."""
        self.world.run(seconds)

    @rule(seconds=st.floats(1, 30))
    def stall(self, seconds: float) -> None:
        """Let our own process stand still, then go on."""
        self.world.now += seconds
        self.world.wake()

    @rule(
        weather=st.sampled_from(["healthy", "healthy", "muted", "closed", "flapping", "cut"]),
        seconds=stretches,
        pause=st.sampled_from([0.5, 4.0, 20.0]),
    )
    def stretch(self, weather: str, seconds: float, pause: float) -> None:
        """Let the network do its work for a while, such as it is, and jobs go on."""
        world = self.world
        self.heal(weather)
        held = max([world.now, *(until for _, until in self.no_polls + self.no_dials)])
        end = world.now + seconds
        while world.now < end:
            world.run(min(pause, end - world.now))
            eta = self.chance.choice([None, 5.0, 20.0])
            self.progress(self.chance.choice(JOBS), 1, eta)
            if weather == "cut":
                self.cut(1006)
        if weather == "healthy" and seconds > 100 and world.now > held + 70:
            self.check_resumed()
        world.is_automatic = False
        world.forget_pending()
        if weather == "muted":
            self.cut(1006)

    def check_resumed(self) -> None:
        """Check that after a minute without a fault push covers every job that exists."""
        world = self.world
        world.run(3.0)
        for record in world.records.values():
            if record.watchers and self.uses_push and record.job_id in world.server.jobs:
                assert world.tracker.link.covers(record.synced), f"{record.job_id} is still polled"

    def heal(self, weather: str = "healthy") -> None:
        """Let the network do its work from now on."""
        world = self.world
        world.is_automatic = True
        world.mutes = weather == "muted"
        world.accept = lambda socket: ConnectFailed("no") if weather == "closed" else None
        world.lifetime = 0.1 if weather == "flapping" else None
        world.heartbeat()
        for poll in tuple(world.polls.values()):
            world.later(partial(world.decide_poll, poll))
        for socket in tuple(world.sockets.values()):
            if socket.is_dead:
                world.lose(socket, ConnectionLost("reset"))
            elif socket.is_live:
                socket.is_muted = world.mutes
                world.serve(socket)
                world.deliver(socket)
            else:
                world.decide_dial(socket)

    # What holds at any time.

    @invariant()
    def promises_hold(self) -> None:
        """Check whatever can be checked after a step."""
        if not hasattr(self, "world"):
            return
        world = self.world
        world.check()
        promises.e2_budget(world.polled_at, rate=20, burst=20)
        promises.e4_retry_after(world.polled_at, self.no_polls)
        promises.e4_retry_after(world.dialed_at, self.no_dials)
        for probe in world.probes:
            if probe.wants_all:
                promises.s5_nothing_skipped(probe.seen, is_late=True)

    def teardown(self) -> None:
        """Let everything heal and end: every watch ends, and nothing is left."""
        if not hasattr(self, "world"):
            return
        world = self.world
        self.heal()
        for job_id in JOBS:
            if job_id in world.server.jobs and not world.server.is_final(job_id):
                world.write(job_id, State.COMPLETED)
        held = max([world.now, *(until for _, until in self.no_polls + self.no_dials)])
        # What a lossy channel swallowed, or nobody announced, comes by the audit, everything else
        # within 45 s.
        is_trusting = world.tracker._news.hearsay.is_live
        limit = 130.0 if self.losses or is_trusting else 45.0
        world.run(held - world.now + limit)
        for probe in world.probes:
            if not probe.is_detached:
                self.check_ended(probe)
        world.check()
        world.run(31)
        world.check_empty()

    def check_ended(self, probe: Probe) -> None:
        """Check that a watcher knows the end of each of its jobs."""
        note(f"{probe.name}: {probe.jobs}, {probe.errors}")
        assert probe.is_finished, f"{probe.name} still waits"
        if None in probe.errors:
            return
        for job_id in probe.jobs:
            if job_id in probe.errors:
                assert isinstance(probe.errors[job_id], (JobLost, JobNotFound))
            else:
                promises.s3_final_once_and_last(probe.seen, ended=[job_id])


class PollMachine(TrackerMachine):
    """Polls alone."""

    uses_push = False


modest = settings(
    max_examples=100,
    stateful_step_count=30,
    deadline=None,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
)
TestTracker = TrackerMachine.TestCase
TestTracker.settings = modest
TestPolls = PollMachine.TestCase
TestPolls.settings = settings(modest, max_examples=40)
