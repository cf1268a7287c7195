"""The core as a whole: what news and errors do, by the table in news.py, and its promises."""

import itertools
import logging
import math
import random
import time
from itertools import pairwise

import msgspec
import pytest

from tests import promises
from tests.vtrans_hybrid.world import Probe, World
from vtrans_hybrid.dialect import (
    Answer,
    Capabilities,
    Read,
)
from vtrans_hybrid.errors import (
    AuthError,
    ClientClosed,
    ConnectFailed,
    ConnectionLost,
    InvalidRequest,
    JobLost,
    JobNotFound,
    ProtocolError,
    QuotaExceeded,
    RateLimited,
    RequestTimeout,
    Unavailable,
    Unsupported,
    VtransError,
    WatchTimeout,
)
from vtrans_hybrid.link import Dial, Hangup, Phase
from vtrans_hybrid.merge import Watcher
from vtrans_hybrid.messages import (
    ChannelError,
    Drain,
    Events,
    Ignored,
    Ping,
    Pong,
    Subscribe,
    Synced,
    Welcome,
)
from vtrans_hybrid.models import JobStatus, State
from vtrans_hybrid.policy import PollPolicy, RetryPolicy
from vtrans_hybrid.push import Send
from vtrans_hybrid.schedule import Poll
from vtrans_hybrid.tracker import Tracker
from vtrans_hybrid.wire import Native, Plain, job_error


def alive(
    *jobs: str, wants_all: bool = False, eta: float | None = None, **options: object
) -> World:
    """Make a world whose network works, in which jobs are watched."""
    world = World(**options)  # type: ignore[arg-type]
    world.is_automatic = True
    world.heartbeat()
    for job_id in jobs:
        world.server.write(job_id, eta=eta)
    world.attach(*jobs, wants_all=wants_all)
    world.run(1)
    return world


def polling(*jobs: str, **options: object) -> World:
    """Make a world without push in which one poll is in flight for the jobs that are watched."""
    world = World(uses_push=False, **options)  # type: ignore[arg-type]
    world.attach(*jobs)
    world.run(0.1)
    return world


def fail(world: World, error: VtransError) -> Probe:
    """Let the poll in flight fail; return the first watcher."""
    [poll] = world.polls.values()
    world.report(poll, error)
    return world.probes[0]


def end(world: World, *jobs: str) -> None:
    """Let jobs end."""
    for job_id in jobs:
        world.write(job_id, State.COMPLETED)


# The rows of the table.


def test_news_by_push() -> None:
    """A newer status by push: Deliver, and Finish when it is final."""
    world = alive("a")
    world.write("a")
    end(world, "a")

    [probe] = world.probes
    assert probe.versions("a") == [1, 2, 3]
    assert {status.source for status in probe.seen} == {"push"}
    assert probe.is_finished
    assert world.tracker.counters.pushes == 3
    world.check()


def test_news_by_poll() -> None:
    """A newer status by poll: the same."""
    world = alive("a", uses_push=False)
    world.write("a")
    world.run(40)
    end(world, "a")
    world.run(40)

    [probe] = world.probes
    assert probe.versions("a") == [1, 2, 3]
    assert {status.source for status in probe.seen} == {"poll"}
    assert probe.is_finished
    assert world.tracker.counters.poll_updates == 3
    assert world.tracker.counters.polls == len(world.polled_at)


def test_news_by_poll_though_push_covers_is_a_doubt() -> None:
    """Push that does not bring what polls find is dropped and dialed anew."""
    world = alive("a", "b", "c", eta=0.0)
    world.mutes = True
    for socket in world.sockets.values():
        socket.is_muted = True
    for job_id in "abc":
        world.write(job_id, eta=0.0)

    world.run(15)

    assert len(world.dialed_at) == 2
    assert world.tracker.link.phase is Phase.LIVE
    assert all(world.probes[0].versions(job_id) == [1, 2] for job_id in "abc")


def test_push_that_is_only_slower_is_no_liar() -> None:
    """News that a poll brings first and push within two seconds is no doubt at all."""
    jobs = [f"job-{number}" for number in range(6)]
    world = alive(*jobs, eta=0.0)
    [socket] = world.sockets.values()
    socket.is_muted = True
    for job_id in jobs:
        world.write(job_id, eta=0.0)
    while world.tracker.counters.poll_updates == 0:
        world.run(0.1)

    socket.is_muted = False
    socket.pump(world.server)
    world.deliver(socket)
    world.run(30)

    assert world.tracker.counters.poll_updates == 6
    assert len(world.dialed_at) == 1


def test_polls_of_jobs_that_push_does_not_cover_prove_nothing() -> None:
    """Where the channel has said that it does not know a job, news by poll is no doubt."""
    world = World(poll=PollPolicy.fixed(1.0))
    world.attach("a")
    [socket] = world.sockets.values()
    world.welcome(socket)
    world.serve(socket)
    world.deliver(socket)

    for _ in range(5):
        world.server.write("a")
        while not world.polls:
            world.run(0.1)
            world.receive(socket.generation, Ping(1))
        [poll] = world.polls.values()
        world.report(poll, world.server.read(poll.read))

    assert world.tracker.counters.poll_updates == 5
    assert not world.tracker._push.doubts
    assert list(world.sockets) == [socket.generation]


def test_a_mute_channel_does_not_hide_the_end() -> None:
    """A channel that is open, answers and brings nothing: the audit finds the end."""
    world = alive("a")
    world.mutes = True
    for socket in world.sockets.values():
        socket.is_muted = True
    end(world, "a")

    world.run(120)

    assert world.probes[0].is_finished
    assert world.probes[0].seen[-1].source == "poll"


def test_a_tombstone() -> None:
    """A tombstone: JobNotFound, by push and by poll."""
    gone = JobStatus(job_id="a", state=State.CANCELED, version=9, epoch="E001", gone=True)
    by_push, by_poll = alive("a"), polling("a")

    by_push.receive(1, Events([gone]))
    [poll] = by_poll.polls.values()
    by_poll.report(poll, Answer(statuses=[gone], epoch="E001"))

    for world in (by_push, by_poll):
        assert isinstance(world.probes[0].errors["a"], JobNotFound)
        assert world.probes[0].is_finished
        world.check()


def test_a_tombstone_of_an_older_history() -> None:
    """What an older history says of a job's death is as old as the rest of it."""
    world = alive("a")

    gone = JobStatus(job_id="a", state=State.CANCELED, version=9, epoch="E000", gone=True)
    world.receive(1, Events([gone]))

    assert not world.probes[0].errors


def test_a_tombstone_that_nobody_waits_for() -> None:
    """A tombstone of a job that has ended changes nothing."""
    world = alive("a")
    end(world, "a")

    gone = JobStatus(job_id="a", state=State.CANCELED, version=9, epoch="E001", gone=True)
    world.receive(1, Events([gone]))
    late = world.attach("a")

    assert late.versions("a") == [2]
    assert world.tracker.counters.failures == 0


def test_not_found_and_never_seen() -> None:
    """A poll says "not found" of a job that nobody has seen: JobNotFound at once."""
    world = polling("a")
    error = job_error("a", "not_found")
    [poll] = world.polls.values()

    world.report(poll, Answer(errors={"a": error}, epoch="E001"))

    assert world.probes[0].errors == {"a": error}


def test_not_found_though_just_ordered() -> None:
    """A job that we just ordered may be unknown for ten seconds."""
    world = World(uses_push=False)
    world.is_automatic = True
    world.tracker.created([JobStatus(job_id="a", state=State.PENDING)], world.now)
    probe = world.attach("a")
    world.run(5)
    assert not probe.errors

    world.write("a")
    world.run(2)

    assert probe.versions("a") == [1]


def test_a_server_that_lost_its_state() -> None:
    """A newer history without the job: JobLost as soon as the server is heard of again."""
    world = alive("a", "b")
    world.server.restart(["b"])
    for socket in tuple(world.sockets.values()):
        world.lose(socket, ConnectionLost("reset"))

    world.run(4)

    [probe] = world.probes
    assert isinstance(probe.errors["a"], JobLost)
    assert [status.position for status in probe.seen if status.job_id == "b"] == [
        ("E001", 1),
        ("E002", 1),
    ]
    assert probe.seen[-1].skipped is None
    world.check()


def unknown_in(*epochs: str) -> World:
    """Return a world with an answer that does not know "a"; these epochs it and the next name."""
    world = alive("a", uses_push=False, poll=PollPolicy.fixed(3.0))
    named = list(epochs)
    world.answer = lambda _: Answer(
        errors={"a": job_error("a", "not_found")}, epoch=named.pop(0) if named else "E001"
    )
    while len(named) == len(epochs):
        world.run(0.1)
    assert not world.probes[0].errors, "nobody else has named such a history yet"
    return world


def test_a_newer_history_that_is_named_twice() -> None:
    """Reads alone show a loss by the second answer, a second later."""
    world = unknown_in("E002", "E002")

    world.run(1.1)

    assert isinstance(world.probes[0].errors["a"], JobLost)


def test_a_damaged_epoch_makes_no_loss() -> None:
    """A job that a replica does not know yet is not lost because one answer names a newer epoch."""
    world = unknown_in("E901", "E001", "E041")
    world.run(3.1)
    world.answer = lambda _: None

    world.run(20)

    assert not world.probes[0].errors


def test_a_newer_history_that_a_welcome_named() -> None:
    """The first answer shows a loss if a channel has named the same history before."""
    world = alive("a")
    world.server.restart([])
    for socket in tuple(world.sockets.values()):
        world.lose(socket, ConnectionLost("reset"))
    answers: list[Poll] = []
    world.answer = lambda poll: answers.append(poll)

    world.run(4)

    assert isinstance(world.probes[0].errors["a"], JobLost)
    assert len(answers) == 1


def test_a_server_that_lost_its_state_without_versions() -> None:
    """A plain server has no histories to compare: ten seconds of "not found" are a loss."""
    world = World(Plain.capabilities)
    world.is_automatic = True
    world.answer = lambda _: Answer(statuses=[JobStatus(job_id="a", state=State.RUNNING)])
    probe = world.attach("a")
    world.run(3)
    lost_at = world.now
    world.answer = lambda _: job_error("a", "not_found")

    world.run(40)

    assert isinstance(probe.errors["a"], JobLost)
    assert 9 <= probe.finished_at - lost_at <= 25


def test_two_replicas_of_which_one_is_behind() -> None:
    """A replica that does not know a job now and then does not make it a lost one."""
    world = alive("a", uses_push=False, poll=PollPolicy.fixed(3.0))
    polls = iter(range(10**6))
    world.answer = lambda _: (
        Answer(errors={"a": job_error("a", "not_found")}, epoch="E001")
        if next(polls) % 2
        else Answer(epoch="E001")
    )

    world.run(100)

    assert not world.probes[0].errors


def test_401_ends_everything() -> None:
    """401 on any poll: AuthError for every job at once, for the key is wrong for all of them."""
    world = polling("a")
    other = world.attach("b", "c")
    error = AuthError("key", status=401)

    probe = fail(world, error)

    assert probe.errors == {"a": error}
    assert other.errors == {"b": error, "c": error}
    assert probe.is_finished
    assert other.is_finished
    world.check()


@pytest.mark.parametrize(
    "error",
    [AuthError("key", status=403), InvalidRequest("no", status=400), Unsupported("no", status=404)],
)
def test_a_fatal_refusal_ends_its_jobs(error: VtransError) -> None:
    """A poll fails, and trying again is no use: that error, for the jobs of that poll."""
    world = polling("a")
    other = world.attach("b")

    probe = fail(world, error)

    assert probe.errors == {"a": error}
    assert not other.errors
    world.check()


def test_a_server_that_was_well_may_reject_a_poll() -> None:
    """A 400 from a server that has answered is asked again, and believed the fifth time."""
    world = World(uses_push=False)
    world.is_automatic = True
    probe = world.attach("a")
    world.write("a")
    world.run(10)
    assert probe.seen
    error = InvalidRequest("no", status=400)
    rejected = itertools.count(1)
    world.answer = lambda _: error if next(rejected) < 5 else None
    world.run(60)
    assert not probe.errors
    assert next(rejected) > 6

    rejected = itertools.count(1)
    world.answer = lambda _: error if next(rejected) else None
    world.run(60)

    assert probe.errors == {"a": error}
    assert next(rejected) == 6


@pytest.mark.parametrize(
    "error",
    [
        ConnectFailed("no"),
        RequestTimeout("slow"),
        ProtocolError("HTML"),
        QuotaExceeded("none", status=402),
    ],
)
def test_a_server_that_never_was(error: VtransError) -> None:
    """Five failures of a server that nobody ever heard of: a wrong address or key, probably."""
    world = World(uses_push=False)
    world.is_automatic = True
    world.answer = lambda _: error

    probe = world.attach("a")
    world.run(60)

    assert probe.errors == {"a": error}
    assert len(world.polled_at) == 5


@pytest.mark.parametrize(
    ("error", "times"),
    [
        (ConnectFailed("no"), 7),
        (InvalidRequest("no", status=302), 4),
        (QuotaExceeded("none", status=402), 7),
    ],
)
def test_a_server_that_has_accepted_an_order(error: VtransError, times: int) -> None:
    """Whoever took an order is the server that was meant, though no read was answered yet."""
    world = World(uses_push=False)
    world.is_automatic = True
    world.tracker.created([JobStatus(job_id="a", state=State.PENDING)], world.now)
    failed = itertools.count(1)
    world.answer = lambda _: error if next(failed) <= times else None
    world.write("a")

    probe = world.attach("a")
    world.run(60)

    assert not probe.errors
    assert probe.seen


@pytest.mark.parametrize(
    "error", [ConnectFailed("no"), ProtocolError("HTML"), QuotaExceeded("none", status=402)]
)
def test_an_outage_is_sat_out(error: VtransError) -> None:
    """A server that was heard of once is waited for, however long, and found soon."""
    world = alive("a", uses_push=False)
    world.answer = lambda _: error
    world.run(600)
    assert not world.probes[0].errors
    end(world, "a")
    healed_at = world.now

    world.answer = lambda _: None
    world.run(60)

    promises.l1_final_in_time(world.probes[0].finished_at, healed_at=healed_at)


def test_a_rejection_behind_an_outage() -> None:
    """Only rejections in a row end a job: however long nobody answered, one of them does not."""
    world = alive("a", uses_push=False)
    world.answer = lambda _: ConnectFailed("no")
    world.run(600)
    errors = iter([InvalidRequest("no such thing", status=400)])
    world.answer = lambda _: next(errors, None)

    world.run(60)

    assert next(errors, None) is None
    assert not world.probes[0].errors


def test_an_account_without_credit_is_warned_of_once_an_episode(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """What was ordered goes on; but only somebody who is told can see to it that reads do."""
    world = alive("a", "b", uses_push=False)
    for episode in (1, 2):
        world.answer = lambda _: QuotaExceeded("nothing is left", status=402)
        world.run(300)
        warned = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
        assert len(warned) == episode
        assert "nothing is left" in warned[-1]
        world.answer = lambda _: None
        world.run(60)

    assert not world.probes[0].errors
    world.check()


def test_the_log_says_once_an_outage_that_polls_have_taken_over(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """An audit while push is there is none of it, and neither is the second poll of an outage."""
    caplog.set_level(logging.INFO)
    world = alive("a")
    world.run(200)
    assert world.polled_at
    assert caplog.messages == ["channel 1 is open"]
    for outage in (1, 2):
        world.accept = lambda _: Unavailable("down", status=503)
        world.lose(world.live, ConnectionLost("cut"))
        world.run(60)
        world.accept = lambda _: None
        world.run(60)
        assert caplog.messages.count("polls follow the jobs while push is away") == outage

    assert len(world.polled_at) > 3
    assert caplog.messages[-1].startswith("channel")
    world.check()


def test_an_answer_ends_an_outage() -> None:
    """After an answer the next failure is the first one again, and is waited out as that."""
    world = alive("a", uses_push=False, poll=PollPolicy.fixed(3.0))
    world.answer = lambda _: ConnectFailed("no")
    world.run(40)
    world.answer = lambda _: None
    world.run(10)
    failed: list[float] = []

    def fail_once(_: Poll) -> VtransError | None:
        failed.append(world.now)
        return ConnectFailed("no") if len(failed) == 1 else None

    world.answer = fail_once
    world.run(10)

    assert failed[1] - failed[0] < 0.6


def test_polls_learn_the_newest_history() -> None:
    """A history is known once there is a status of it; what is only announced may be damaged."""
    world = polling("a")
    world.server.write("a")
    for known, answer in (
        ("", Answer(epoch="E999")),
        ("", world.server.read(Read(jobs={"a": 0}))),
        ("E001", Answer(epoch="E999")),
        ("E001", Answer()),
    ):
        [poll] = world.polls.values()
        assert poll.read.epoch == known
        world.report(poll, answer)
        world.run(10)


def test_an_overloaded_server_is_there() -> None:
    """A server that answers 503 exists: it is waited for from the start."""
    world = World(uses_push=False)
    world.is_automatic = True
    world.answer = lambda _: Unavailable("down", status=503)

    probe = world.attach("a")
    world.run(300)

    assert not probe.errors
    assert len(world.polled_at) < 40


def test_an_empty_answer_proves_nothing() -> None:
    """An answer that says nothing of anything is no sign of a server that speaks our language."""
    world = polling("a")
    [poll] = world.polls.values()

    world.report(poll, Answer())

    assert not world.tracker.has_heard
    world.check()


def test_an_answer_that_was_cut() -> None:
    """`poll_after` 0 means that there is more: it is read at once, as long as it brings news."""
    world = alive("a", wants_all=True, uses_push=False, poll=PollPolicy.fixed(30.0))
    for _ in range(5):
        world.write("a")

    def cut(poll: Poll) -> Answer:
        answer = world.server.read(poll.read)
        return Answer(statuses=answer.statuses[:1], epoch=answer.epoch, poll_after=0.0)

    world.answer = cut
    world.run(32)

    assert world.probes[0].versions("a") == [1, 2, 3, 4, 5, 6]
    assert len(world.polled_at) <= 9


def test_errors_of_one_job_that_pass() -> None:
    """An error of one job among many that passes: that job again after a backoff."""
    world = alive("a", "b", uses_push=False, poll=PollPolicy.fixed(3.0))
    world.answer = lambda poll: Answer(
        errors={"a": job_error("a", "unavailable")} if "a" in poll.read.jobs else {},
        epoch="E001",
    )
    world.run(10)
    assert not world.probes[0].errors
    world.answer = lambda _: Answer(errors={"a": job_error("a", "broken")}, epoch="E001")

    world.run(10)

    assert world.probes[0].errors["a"].code == "broken"  # type: ignore[attr-defined]
    assert "b" not in world.probes[0].errors


# Messages of the channel.


def test_pings_are_answered() -> None:
    """Each ping gets its pong on its own connection, and its spread counts."""
    world = alive("a")

    world.receive(1, Ping(7, spread=9.0))

    assert world.log[-1] == Send(1, Pong(7))
    assert world.tracker.link.spread == 9.0
    world.receive(1, Ping(8))
    assert world.tracker.link.spread == 9.0


def test_any_frame_is_life() -> None:
    """Any frame counts as a sign of life, known or not."""
    world = World()
    world.server.write("a")
    world.attach("a")
    world.welcome(world.sockets[1])
    world.serve(world.sockets[1])
    world.deliver(world.sockets[1])

    for message in (Ignored(), Events([]), Ping(1), ChannelError(code="x"), Synced(99)) * 3:
        world.run(9)
        world.receive(1, message)

    assert list(world.sockets) == [1]


def test_silence_is_death() -> None:
    """A half-open connection is noticed within ping and grace, and push goes on elsewhere."""
    world = alive("a")
    silent_since = world.now
    world.sockets[1].is_dead = True
    world.is_silent = True

    while 1 in world.sockets:
        world.run(0.1)

    promises.l2_silence_noticed(world.now, silent_since=silent_since)
    assert "nothing received" in str(world.tracker.link.last_error)


def test_an_older_welcome_is_refused() -> None:
    """A replica that is behind is left, for its answers would all be old."""
    world = alive("a")
    world.server.restart(["a"])
    for socket in tuple(world.sockets.values()):
        world.lose(socket, ConnectionLost("reset"))
    world.run(2)
    world.is_automatic = False
    [socket] = world.sockets.values()
    world.lose(socket, ConnectionLost("reset"))
    world.run(1)
    [socket] = world.sockets.values()

    world.welcome(socket, epoch="E001")

    assert not world.sockets
    assert world.tracker.link.phase is Phase.BACKOFF
    world.check()


def test_a_newer_welcome_is_followed() -> None:
    """A server with a newer history is subscribed from the beginning of it."""
    world = alive("a")
    world.is_automatic = False
    world.lose(world.sockets[1], ConnectionLost("reset"))
    world.run(1)
    [socket] = world.sockets.values()

    world.welcome(socket, epoch="E009")

    [message] = [each for each in socket.inbox if isinstance(each, Subscribe)]
    assert (message.epoch, message.jobs) == ("E009", {"a": 0})


def test_an_epoch_that_nothing_bears_out_is_forgotten() -> None:
    """A welcome whose epoch was damaged does not make the true one look old ever after."""
    world = alive("a")
    world.is_automatic = False
    world.lose(world.sockets[1], ConnectionLost("reset"))
    world.run(1)
    [socket] = world.sockets.values()
    world.welcome(socket, epoch="E999")
    world.lose(socket, ConnectionLost("reset"))
    world.run(5)
    [socket] = world.sockets.values()
    world.write("a")

    world.welcome(socket)
    world.serve(socket)
    world.deliver(socket)

    assert world.probes[0].versions("a") == [1, 2]


@pytest.mark.parametrize("epoch", ["E000", "E999"])
@pytest.mark.parametrize("uses_polls", [True, False])
def test_an_event_of_another_history_ends_the_connection(epoch: str, uses_polls: bool) -> None:
    """Of a frame with such an event nothing counts from there on, and all of it comes anew."""
    world = alive("a", "b", uses_polls=uses_polls)
    world.is_automatic = False
    good, true, behind = (world.server.write(job_id) for job_id in ("a", "b", "a"))
    damaged = msgspec.structs.replace(true, epoch=epoch)

    world.receive(1, Events([good, damaged, behind]))

    assert Hangup(1, 4000, "the channel mixes two histories") in world.log
    assert not world.sockets
    assert (world.probes[0].versions("a"), world.probes[0].versions("b")) == ([1, 2], [1])
    world.check()
    world.is_automatic = True
    world.run(5)
    assert (world.probes[0].versions("a"), world.probes[0].versions("b")) == ([1, 2, 3], [1, 2])
    world.check()


def test_a_damaged_welcome_ends_with_its_first_event() -> None:
    """A channel that welcomes in another history than its events are of is left at once."""
    world = alive("a", uses_polls=False)
    world.is_automatic = False
    world.lose(world.sockets[1], ConnectionLost("reset"))
    world.run(1)
    [socket] = world.sockets.values()
    world.write("a")

    world.welcome(socket, epoch="E999")
    world.serve(socket)
    world.deliver(socket)

    assert not world.sockets
    assert world.probes[0].versions("a") == [1]
    world.is_automatic = True
    world.run(10)
    assert world.probes[0].versions("a") == [1, 2]


def test_dead_generations_change_nothing() -> None:
    """Frames of a connection that is gone lead to nothing, not even to a pong."""
    world = alive("a")
    world.lose(world.sockets[1], ConnectionLost("reset"))
    before = len(world.log)

    for message in (
        Events([world.server.write("a")]),
        Ping(1),
        Synced(1),
        Drain(),
        Welcome(epoch="E1"),
        ChannelError(code="x", retry_after=100.0),
    ):
        world.tracker.received(1, message, world.now)
    world.tracker.push_garbled(1, ProtocolError("x"), world.now)

    assert world.tracker.actions() == []
    assert len(world.log) == before
    assert world.probes[0].versions("a") == [1]


@pytest.mark.parametrize("poll_id", [0, 99])
def test_polls_that_were_never_started(poll_id: int) -> None:
    """The result of a poll that is over, or never was, changes nothing."""
    world = alive("a")

    world.tracker.polled(poll_id, Answer(statuses=[world.server.write("a")]), world.now)

    assert world.tracker.actions() == []


# Retry-After.


@pytest.mark.parametrize(
    "error",
    [
        RateLimited("many", status=429, retry_after=30.0),
        Unavailable("down", status=503, retry_after=30.0),
    ],
)
def test_retry_after_on_polls(error: VtransError) -> None:
    """No poll of any job leaves before the time that the server asked for."""
    world = polling("a")
    world.is_automatic = True
    asked_at = world.now
    fail(world, error)
    world.answer = lambda _: None
    world.server.write("b")
    world.attach("b")

    world.run(29)
    assert len(world.polled_at) == 1
    world.run(3)

    promises.e4_retry_after(world.polled_at[1:], [(asked_at, asked_at + 30)])
    assert len(world.polled_at) > 1


def test_retry_after_on_the_upgrade() -> None:
    """No dial leaves before the time that the server asked for, whoever comes and goes."""
    world = World()
    world.attach("a")
    world.lose(world.sockets[1], Unavailable("full", status=503, retry_after=40.0))
    for _ in range(6):
        world.run(6)
        world.detach_all()
        world.attach("a")

    world.run(3.9)
    assert len(world.dialed_at) == 1
    world.run(0.2)
    assert len(world.dialed_at) == 2


# Time.


def test_deadlines_fire_in_every_state() -> None:
    """The total timeout is kept while dialing, polling, waiting and after a drop."""
    for prepare in (World, lambda: World(uses_push=False), lambda: alive("a")):
        world = prepare()
        probe = world.attach("a", deadline=world.now + 3.3)
        world.run(3.2)
        assert not probe.is_finished
        world.run(0.2)
        assert isinstance(probe.errors[None], WatchTimeout)
        assert probe.is_finished
        world.check()


@pytest.mark.parametrize("options", [{"uses_push": False}, {"uses_polls": False}, {}], ids=str)
def test_a_timeout_tells_the_last_trouble(options: dict[str, bool]) -> None:
    """Whoever was not heard of because nobody answered is told so; trouble that passed is not."""
    world = World(**options)
    world.is_automatic = True
    world.server.write("a")
    world.accept = lambda _: Unavailable("the server is full", status=503)
    world.answer = lambda _: Unavailable("the server is full", status=503)
    unheard = world.attach("a", deadline=world.now + 0.5)
    world.run(0.5)
    world.accept = world.answer = lambda _: None
    world.heartbeat()
    world.run(20)
    heard = world.attach("a", deadline=world.now + 0.5)
    world.run(0.5)

    assert unheard.errors[None].__notes__ == ["the last trouble was: the server is full"]
    assert not hasattr(heard.errors[None], "__notes__")


def test_a_timeout_tells_no_trouble_of_other_jobs() -> None:
    """That a read of one job is refused is nothing to a watch of another."""
    world = World(uses_push=False)
    world.attach("a")
    other = world.attach("b", deadline=world.now + 1)
    world.run(0.1)
    for poll in tuple(world.polls.values()):
        world.report(poll, Unavailable("not now", status=503, job_id="a"))
    world.run(1)

    assert not hasattr(other.errors[None], "__notes__")


def test_a_deadline_that_has_passed() -> None:
    """A timeout that is over at the start fires at once."""
    world = World()

    probe = world.attach("a", deadline=world.now - 1)
    world.run(0)
    world.wake()

    assert isinstance(probe.errors[None], WatchTimeout)


@pytest.mark.parametrize("late", [5.0, 60.0, 86_400.0])
def test_our_own_stall_costs_nothing(late: float) -> None:
    """A process that stood still finds its connection alive, if its frames are there."""
    world = alive("a")
    world.is_automatic = False
    world.forget_pending()

    world.now += late
    world.wake()
    assert list(world.sockets) == [1]
    world.receive(1, Ping(1))
    world.run(8)

    assert list(world.sockets) == [1]
    world.check()


def test_an_idle_link_is_kept_for_a_while() -> None:
    """The channel is kept for fifteen seconds without a job, then hung up."""
    world = alive("a")
    end(world, "a")

    world.run(14.9)
    assert world.sockets
    world.run(0.2)
    assert not world.sockets
    world.check_empty()
    assert len(world.dialed_at) == 1


def test_an_idle_link_is_taken_up_again() -> None:
    """A job that comes in time finds the channel open."""
    world = alive("a")
    end(world, "a")
    world.run(14)
    world.server.write("b")

    world.attach("b")
    world.run(30)

    assert len(world.dialed_at) == 1
    assert world.polled_at == []


def test_a_job_at_the_last_moment() -> None:
    """A job that comes just when the channel is about to go keeps it."""
    world = alive("a")
    end(world, "a")
    world.run(14.5)
    world.tracker.attach(Probe("late", ["a"]), ["a"], world.now + 0.5)
    world.now += 0.6

    world.tracker.advance(world.now)

    assert world.tracker.link.phase is Phase.LIVE


def test_nothing_is_left() -> None:
    """When every job has ended, no record, socket, poll or timer is left."""
    world = alive("a", "b", "c")
    world.attach("a", deadline=world.now + 500)
    world.attach("unknown")
    world.tracker.created([JobStatus(job_id="d", state=State.PENDING)], world.now)
    end(world, "a", "b", "c")

    world.run(200)

    world.check_empty()
    assert world.tracker.next_deadline() == math.inf
    world.tracker.created([], world.now)
    assert not world.tracker._news.absences._ordered


def test_close() -> None:
    """After close nothing is open, every watch has its error, and what still comes is nothing."""
    world = alive("a", "b")
    world.is_automatic = False
    world.lose(world.sockets[1], ConnectionLost("reset"))
    world.run(3)
    poll_ids = list(world.polls)
    error = ClientClosed("closed")

    for action in world.tracker.close(error):
        world._carry_out(action)

    assert world.probes[0].errors == {None: error}, "a watch ends as a whole"
    assert not world.tracker.open_jobs
    assert not world.sockets
    assert world.tracker.next_deadline() == math.inf
    for poll_id in poll_ids:
        world.tracker.polled(poll_id, Answer(), world.now)
    world.tracker.detach(world.probes[0], world.now)
    world.tracker.push_lost(2, error, world.now)
    world.tracker.advance(world.now + 1000)
    assert world.tracker.actions() == []


# A backend of another kind.


def test_a_backend_that_turns_out_to_be_plain() -> None:
    """Once the backend is known to be simpler, jobs are read one by one and no one dials."""
    world = World()
    world.attach("a", "b")
    world.run(2.5)
    [poll] = world.polls.values()
    assert len(poll.records) == 2

    world.tracker.adapt(Plain.capabilities, world.now)
    world.report(poll, Answer())
    world.run(3)

    assert not world.sockets
    assert sorted(list(poll.read.jobs) for poll in world.polls.values()) == [["a"], ["b"]]
    assert len(world.dialed_at) == 1
    world.check()


def test_a_backend_that_turns_out_to_have_no_channel_for_push_alone() -> None:
    """Without polls that is the end of every watch."""
    world = World(uses_polls=False)
    probe = world.attach("a")

    world.tracker.adapt(Plain.capabilities, world.now)
    world.act()

    assert isinstance(probe.errors["a"], Unsupported)
    assert not world.sockets


def plain_world(script: list[tuple[float, str, float | None]]) -> World:
    """Make a world of a plain server whose one job follows a script of (at, word, its end)."""
    world = World(Plain.capabilities)
    world.is_automatic = True
    start = world.now

    def answer(_: Poll) -> Answer:
        word, ends_at = "pending", None
        for at, next_word, next_end in script:
            if world.now - start >= at:
                word, ends_at = next_word, next_end
        eta = None if ends_at is None else max(0.0, ends_at - (world.now - start))
        status = JobStatus(job_id="a", state=State(word), estimated_time_remaining=eta)
        return Answer(statuses=[status])

    world.answer = answer
    return world


def test_without_versions_they_are_made() -> None:
    """What changes gets the next version; an estimate that counts down changes nothing."""
    world = plain_world([(0, "pending", 30.0), (10, "running", 30.0), (30, "completed", None)])
    probe = world.attach("a")

    world.run(60)

    assert [(status.version, status.state) for status in probe.seen] == [
        (1, "pending"),
        (2, "running"),
        (3, "completed"),
    ]
    assert probe.is_finished
    promises.s5_nothing_skipped(probe.seen)


def test_a_truthful_estimate_is_met() -> None:
    """A plain server with a truthful estimate: few requests, and the end is known at once."""
    for length in (15.0, 22.0, 31.0, 45.0):
        world = plain_world([(0, "running", length), (length, "completed", None)])
        probe = world.attach("a")
        started_at = world.now

        world.run(80)

        assert probe.finished_at - started_at - length <= 0.1, f"a job of {length} s was late"
        assert len(world.polled_at) <= 5, f"{len(world.polled_at)} requests"


def test_a_noisy_estimate_is_not_trusted() -> None:
    """Estimates that disagree are not taken for a promise, though each of them is news."""
    world = World(Plain.capabilities)
    world.is_automatic = True
    noise = random.Random(3)

    def answer(_: Poll) -> Answer:
        status = JobStatus(
            job_id="a",
            state=State.RUNNING,
            progress=noise.random(),
            estimated_time_remaining=20.0 * (0.5 + noise.random()),
        )
        return Answer(statuses=[status])

    world.answer = answer
    world.attach("a")
    world.run(120)

    gaps = [after - before for before, after in pairwise(world.polled_at)]
    assert max(gaps) < 17, "half of an estimate, never the whole"


# The promises, whatever the transport.


@pytest.mark.parametrize("wants_all", [True, False])
def test_all_transports_tell_the_same(wants_all: bool) -> None:
    """Push, polls and both lead to the same finals, and in mode all to the same sequence."""
    seen = []
    for options in ({"uses_polls": False}, {"uses_push": False}, {}):
        world = alive("a", "b", wants_all=wants_all, poll=PollPolicy.fixed(0.5), **options)
        for step in range(20):
            world.write("ab"[step % 2])
            world.run(0.7)
        end(world, "a", "b")
        world.run(3)
        world.check()
        [probe] = world.probes
        assert probe.is_finished
        seen.append({job_id: probe.versions(job_id) for job_id in "ab"})

    if wants_all:
        assert seen[0] == seen[1] == seen[2] == {"a": list(range(1, 13)), "b": list(range(1, 13))}
    assert {versions["a"][-1] for versions in seen} == {12}


def test_push_brings_nearly_everything() -> None:
    """In fault-free time updates come by push, and polls cost next to nothing."""
    jobs = [f"job-{number}" for number in range(50)]
    world = alive(*jobs)
    chance = random.Random(5)
    for _ in range(600):
        world.write(chance.choice(jobs), eta=chance.choice([None, 500.0]))
        world.run(0.5)
    end(world, *jobs)

    counters = world.tracker.counters
    promises.e1_push_share(pushes=counters.pushes, polls=counters.poll_updates)
    assert counters.polls < 60
    assert world.dialed_at == [1000.0]


def test_a_restart_of_the_network_loses_nothing() -> None:
    """The connection is cut again and again: every version arrives once, most by push."""
    world = alive("a", wants_all=True)
    for step in range(100):
        world.write("a")
        world.run(1.0)
        if step % 10 == 9:
            for socket in tuple(world.sockets.values()):
                world.lose(socket, ConnectionLost("cut", code=1006))
    end(world, "a")
    world.run(3)

    [probe] = world.probes
    assert probe.versions("a") == list(range(1, 103))
    promises.s5_nothing_skipped(probe.seen)
    counters = world.tracker.counters
    promises.e1_push_share(pushes=counters.pushes, polls=counters.poll_updates, share=0.9)
    promises.e3_dials(world.dialed_at)


@pytest.mark.parametrize("lifetime", [0.0, 1.0, 5.5])
def test_a_flapping_server(lifetime: float) -> None:
    """A server that accepts and closes: ten dials a minute, and the watch goes on by polling."""
    world = alive("a")
    world.lifetime = lifetime
    for socket in tuple(world.sockets.values()):
        world.lose(socket, ConnectionLost("cut"))
    for _ in range(60):
        world.write("a", eta=5.0)
        world.run(5)

    promises.e3_dials(world.dialed_at)
    assert world.tracker.link.phase is not Phase.OFF
    assert world.now - 10 < 1301
    assert len(world.probes[0].seen) >= 20
    world.check()


def test_a_clean_close_is_not_the_end() -> None:
    """1000 means that the connection ended, not that the job did."""
    world = alive("a")
    world.lose(world.sockets[1], ConnectionLost("bye", code=1000))
    world.run(3)

    assert not world.probes[0].is_finished
    end(world, "a")
    world.run(1)
    assert world.probes[0].is_finished


def test_a_late_watcher() -> None:
    """A second watcher gets the present status at once, and has a cursor of its own."""
    world = alive("a")
    for _ in range(4):
        world.write("a")

    late = world.attach("a", wants_all=True)
    promises.s7_present_first(late.seen, world.server.jobs["a"][-1])
    world.run(1)
    world.write("a")

    assert late.versions("a") == [5, 6]
    assert world.probes[0].versions("a") == [1, 2, 3, 4, 5, 6]
    assert late.seen[0].skipped == 4


def test_a_watcher_of_every_version_comes_later() -> None:
    """When somebody wants every version, what follows is no longer coalesced."""
    world = alive("a")
    world.attach("a", wants_all=True)
    world.run(1)
    world.is_automatic = False
    for _ in range(5):
        world.server.write("a")
    world.sockets[1].pump(world.server)

    world.deliver(world.sockets[1])

    assert world.probes[1].versions("a") == [1, 2, 3, 4, 5, 6]
    assert world.polled_at == []


def test_other_operations_bring_news() -> None:
    """A status that came with the answer to another operation counts, if it has a version."""
    world = alive("a")
    status = world.server.write("a", State.CANCELED)

    world.tracker.observed([msgspec.structs.replace(status, version=0)], world.now)
    world.tracker.observed([JobStatus(job_id="unknown", state=State.ERROR, version=1)], world.now)
    world.act()
    assert not world.probes[0].is_finished
    world.tracker.observed([status], world.now)
    world.act()

    assert world.probes[0].is_finished


def test_a_lone_status_announces_no_history() -> None:
    """What another operation brought of another epoch is not merged: the job is read at once."""
    world = alive("a")
    status = world.server.write("a", State.CANCELED)

    world.tracker.observed([msgspec.structs.replace(status, epoch="E999")], world.now)
    world.act()
    assert world.probes[0].versions("a") == [1]
    world.run(0.1)

    assert world.probes[0].is_finished
    assert world.probes[0].seen[-1].position == status.position


def test_leaving_is_silent() -> None:
    """A watcher that leaves gets nothing more, and leaving twice is harmless."""
    world = alive("a", "b")
    [probe] = world.probes
    world.detach(probe)
    world.tracker.detach(probe, world.now)
    world.write("a")
    end(world, "b")
    world.run(5)

    assert probe.versions("a") == [1]
    assert not probe.is_finished
    assert world.tracker.open_jobs == 0


def test_a_watcher_attaches_once() -> None:
    """A second attach of the same watcher is misuse."""
    world = alive("a")

    with pytest.raises(ValueError, match="one watch"):
        world.tracker.attach(world.probes[0], ["b"], world.now)


def test_the_same_input_leads_to_the_same_output() -> None:
    """Two cores with the same seed that are told the same do the same, action by action."""

    def history() -> list[str]:
        world = alive(*[f"job-{number}" for number in range(30)], seed=9)
        chance = random.Random(4)
        for _ in range(100):
            world.write(f"job-{chance.randrange(30)}")
            world.run(chance.random() * 3)
            if chance.random() < 0.1:
                for socket in tuple(world.sockets.values()):
                    world.lose(socket, ConnectionLost("cut"))
        return [repr(a) for a in world.log if isinstance(a, (Dial, Send, Hangup))] + [
            f"{a.read}" for a in world.log if isinstance(a, Poll)
        ]

    assert history() == history()


# Size.


def test_a_hundred_thousand_jobs() -> None:
    """Attaching, syncing, pushing, dropping and leaving with 100,000 jobs is a matter of moments.

    The bounds are ten times what an idle machine of 2024 takes, so that only a wrong order of
    growth fails.
    """
    count, chance = 100_000, random.Random(1)
    jobs = [f"job-{number:06}" for number in range(count)]
    tracker = Tracker(
        Native.capabilities, chance.random, 0.0, poll=PollPolicy(), retry=RetryPolicy()
    )
    watcher, spent = Watcher(), {}

    def measure(what: str, began: float) -> None:
        spent[what] = time.process_time() - began

    def push(job_ids: list[str], version: int, now: float) -> None:
        statuses = [
            JobStatus(job_id=job_id, state=State.RUNNING, version=version, epoch="E1")
            for job_id in job_ids
        ]
        tracker.received(1, Events(statuses), now)

    began = time.process_time()
    tracker.attach(watcher, jobs, 0.0)
    tracker.actions()
    measure("attach", began)

    began = time.process_time()
    tracker.received(1, Welcome(epoch="E1"), 0.5)
    batches = tracker.actions()
    while batches:
        batch = batches.pop(0)
        assert isinstance(batch, Send)
        assert isinstance(batch.message, Subscribe)
        push([*batch.message.jobs], 1, 0.5)
        tracker.actions()
        tracker.received(1, Synced(batch.message.id), 0.5)
        batches += tracker.actions()
    measure("sync", began)

    began = time.process_time()
    for start in range(0, count, 64):
        push(jobs[start : start + 64], 2, 1.0)
        tracker.actions()
        tracker.next_deadline()
    measure("push", began)

    began = time.process_time()
    tracker.push_lost(1, ConnectionLost("cut"), 2.0)
    tracker.actions()
    measure("drop", began)

    began = time.process_time()
    now, polls = 2.0, 0
    while now < 10.0:
        now = tracker.next_deadline()
        tracker.advance(now)
        for action in tracker.actions():
            if isinstance(action, Poll):
                polls += 1
                tracker.polled(action.poll_id, Answer(epoch="E1"), now)
            elif isinstance(action, Dial):
                tracker.push_lost(action.generation, ConnectFailed("no"), now)
    measure("polls", began)

    began = time.process_time()
    tracker.detach(watcher, now)
    tracker.advance(now + 1.5)
    measure("leave", began)

    assert tracker.counters.pushes == 2 * count
    assert 100 <= polls <= 200
    assert not tracker._ledger._records
    limits = {"attach": 3, "sync": 3, "push": 6, "drop": 2, "polls": 10, "leave": 3}
    assert all(spent[what] < limit for what, limit in limits.items()), spent


def test_capabilities_without_a_channel() -> None:
    """A backend without a channel is never dialed."""
    world = World(Capabilities(max_bulk=10))

    world.attach("a")
    world.run(10)

    assert world.dialed_at == []
    assert world.tracker.link.phase is Phase.IDLE
