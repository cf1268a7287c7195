"""How open jobs stay covered: each row of the table in cover.py, and the races behind them."""

from collections import Counter

import pytest

from tests import promises
from tests.vtrans_hybrid.model_server import Socket
from tests.vtrans_hybrid.world import World
from vtrans_hybrid.dialect import Answer
from vtrans_hybrid.errors import (
    ConnectFailed,
    ConnectionLost,
    JobLost,
    JobNotFound,
    ProtocolError,
    RequestTimeout,
    Unsupported,
)
from vtrans_hybrid.link import Phase
from vtrans_hybrid.messages import ChannelError, Events, Ping, Subscribe, Synced, Unsubscribe
from vtrans_hybrid.models import State
from vtrans_hybrid.schedule import Poll

HERD = 10_000  # clients
SAMPLE = 20  # clients that one stands for


def connected(*jobs: str, wants_all: bool = False, **options: object) -> World:
    """Make a world in which jobs exist, are watched and are covered by push."""
    world = World(**options)  # type: ignore[arg-type]
    for job_id in jobs:
        world.server.write(job_id)
    world.attach(*jobs, wants_all=wants_all)
    flow(world)
    return world


def flow(world: World) -> None:
    """Let everything that is under way on the channel arrive."""
    for _ in range(5):
        for socket in tuple(world.sockets.values()):
            if not socket.is_live:
                world.welcome(socket)
            world.serve(socket)
            world.deliver(socket)


def flow_of(world: World, socket: Socket) -> None:
    """Let everything that is under way on one connection arrive."""
    world.serve(socket)
    world.deliver(socket)


def socket_of(world: World) -> Socket:
    """Return the only open socket."""
    [socket] = world.sockets.values()
    return socket


def withhold(world: World, job_id: str, state: State) -> None:
    """Let a job change, and the channel take the event for sent that nobody got."""
    socket = socket_of(world)
    mode, _ = socket.cursors[job_id]
    socket.cursors[job_id] = mode, world.server.write(job_id, state).version


def covered(world: World, job_id: str) -> bool:
    """Tell whether push covers a job."""
    return world.tracker.link.covers(world.records[job_id].synced)


def sent(world: World, kind: type[Subscribe] | type[Unsubscribe]) -> list[object]:
    """Return what clients have sent and the server not read yet."""
    return [m for s in world.sockets.values() for m in s.inbox if isinstance(m, kind)]


def test_attach_while_live_subscribes() -> None:
    """ABSENT, attach, live: Subscribe at once, and a read only if that leads to nothing."""
    world = connected("a")
    world.server.write("b")

    world.attach("b")

    assert [m.jobs for m in sent(world, Subscribe) if isinstance(m, Subscribe)] == [{"b": 0}]
    flow(world)
    world.run(8)
    assert world.polled_at == []
    world.check()


@pytest.mark.parametrize(
    ("options", "wait"),
    [({}, 2.0), ({"uses_push": False}, 0.0)],
)
def test_attach_while_push_is_near_waits(options: dict[str, object], wait: float) -> None:
    """ABSENT, attach: push gets two seconds, where there is one; else the read is due at once."""
    world = World(**options)  # type: ignore[arg-type]
    world.server.write("a")

    world.attach("a")
    world.run(5)

    assert world.polled_at[0] == pytest.approx(1000 + wait, abs=0.05)


def test_attach_while_push_is_far_reads_at_once() -> None:
    """ABSENT, attach, push in backoff or off: a read at once."""
    world = connected("a")
    world.lose(socket_of(world), ConnectionLost("policy", code=4503))
    assert world.tracker.link.phase is Phase.OFF
    world.server.write("b")

    world.attach("b")
    world.run(0.1)

    assert [list(poll.read.jobs) for poll in world.polls.values()] == [["b"]]


def test_a_dial_refused_for_good_reads_at_once() -> None:
    """The first dial shows that there is no channel: what waited for it is read at once."""
    world = World()
    world.server.write("a")
    world.attach("a")

    world.lose(socket_of(world), Unsupported("no channel", status=404))
    world.run(0.1)

    assert len(world.polled_at) == 1


def test_a_slow_sync_of_many_jobs_costs_no_read() -> None:
    """While push is answering batch after batch, the jobs further back are not polled."""
    jobs = [f"job-{number:05}" for number in range(8000)]
    world = World()
    for job_id in jobs:
        world.server.write(job_id)
    world.attach(*jobs)
    socket = socket_of(world)
    world.welcome(socket)

    for _ in range(8):
        world.run(1.0)
        later, socket.inbox[:] = socket.inbox[1:], socket.inbox[:1]
        world.serve(socket)
        socket.inbox += later
        world.deliver(socket)

    assert covered(world, jobs[-1])
    assert world.polled_at == []


def test_synced_makes_the_read_an_audit() -> None:
    """Synced, without error: the read two seconds ahead becomes one in 60 to 120 s."""
    world = connected("a")

    assert covered(world, "a")
    assert 1060 <= world.records["a"].poll_at <= 1120
    world.check()


def test_synced_with_an_error_reads_at_once() -> None:
    """Synced, with an error: REST decides; here it knows the job, and push gets it then."""
    world = World()
    world.attach("a")
    socket = socket_of(world)
    world.welcome(socket)
    world.serve(socket)
    world.deliver(socket)
    assert not covered(world, "a")
    world.server.write("a")

    world.run(0.1)
    [poll] = world.polls.values()
    world.report(poll, world.server.read(poll.read))
    flow(world)

    assert covered(world, "a")
    assert world.probes[0].versions("a") == [1]
    world.check()


def test_synced_with_nothing_known_reads_at_once() -> None:
    """A first status that went astray leaves no job to the audits, which are a minute away."""
    world = World()
    world.server.write("a")
    world.attach("a")
    socket = socket_of(world)
    world.welcome(socket)
    world.serve(socket)
    socket.outbox[:] = [each for each in socket.outbox if not isinstance(each, Events)]
    world.deliver(socket)
    assert not covered(world, "a")

    world.run(0.1)
    [poll] = world.polls.values()
    world.report(poll, world.server.read(poll.read))
    flow(world)

    assert covered(world, "a")
    assert world.probes[0].versions("a") == [1]
    world.check()


def test_a_job_of_which_nothing_arrived_is_unsubscribed() -> None:
    """The server has subscribed a job whose first status went astray: who leaves says so."""
    world = World()
    world.server.write("a")
    probe = world.attach("a")
    socket = socket_of(world)
    world.welcome(socket)
    world.serve(socket)
    socket.outbox[:] = [each for each in socket.outbox if not isinstance(each, Events)]
    world.deliver(socket)

    world.detach(probe)
    world.run(1.5)

    assert sent(world, Unsubscribe) == [Unsubscribe(["a"])]


def test_synced_of_a_job_that_was_forgotten_concerns_nobody() -> None:
    """A batch may outlive its jobs; what it says of one is not held against its successor."""
    world = World()
    world.server.write("a")
    probe = world.attach("a")
    socket = socket_of(world)
    world.welcome(socket)
    world.detach(probe)
    world.run(1.5)
    assert "a" not in world.records

    world.attach("a")
    flow(world)

    assert covered(world, "a")
    world.check()


def test_a_channel_that_goes_on_refusing_is_not_asked_in_a_loop() -> None:
    """Where REST knows a job and the channel does not, both are asked at the pace of polling."""
    world = World()
    world.server.write("a")
    world.attach("a")
    world.is_automatic = True
    pump = Socket.serve

    def forgetful(socket: Socket, server: object) -> None:
        jobs, world.server.jobs = world.server.jobs, {}
        pump(socket, world.server)
        world.server.jobs = jobs

    Socket.serve = forgetful  # type: ignore[method-assign, assignment]
    try:
        world.heartbeat()
        world.decide_dial(socket_of(world))
        world.run(60)
    finally:
        Socket.serve = pump  # type: ignore[method-assign]

    assert world.probes[0].versions("a") == [1]
    assert 5 <= len(world.polled_at) <= 40
    assert not covered(world, "a")
    world.run(40)
    assert covered(world, "a")


def test_a_refused_batch_lives_by_polling() -> None:
    """A batch is refused: its jobs are read, not before retry_after, and subscribed after that."""
    world = World()
    world.server.write("a")
    world.attach("a")
    socket = socket_of(world)
    world.welcome(socket)
    socket.inbox.clear()

    world.receive(1, ChannelError(code="rate_limited", id=1, retry_after=3.0))
    world.receive(1, Events([]))
    world.run(2.9)
    assert world.polled_at == []
    world.run(0.2)
    [poll] = world.polls.values()
    world.report(poll, world.server.read(poll.read))
    flow(world)

    assert covered(world, "a")


def test_a_refused_upgrade_of_a_covered_job_uncovers_it() -> None:
    """A job whose second subscribe is refused may not be pushed any more: it is not covered."""
    world = connected("a")
    world.attach("a", wants_all=True)
    [subscribe] = sent(world, Subscribe)
    assert isinstance(subscribe, Subscribe)

    world.receive(1, ChannelError(code="internal", id=subscribe.id))

    assert not covered(world, "a")
    world.check_cover()


def test_a_drop_gives_push_two_seconds() -> None:
    """Live connection lost: jobs are read after two seconds and a share of the spread."""
    world = connected("a", "b")

    world.lose(socket_of(world), ConnectionLost("cut", code=1006))

    world.check()
    world.run(1.99)
    assert world.polled_at == []
    world.run(0.5)
    assert len(world.polled_at) == 1
    assert [list(poll.read.jobs) for poll in world.polls.values()] == [["a", "b"]]


@pytest.mark.parametrize("is_back", [True, False])
def test_who_returns_need_not_ask(is_back: bool) -> None:
    """Live connection lost, with a wide spread: the first read comes behind the return."""
    for seed in range(30):
        world = connected("a", seed=seed)
        world.tracker.link.announced(20.0)
        world.lose(socket_of(world), ConnectionLost("cut", code=1006))
        lost_at = world.now
        while not world.sockets:
            world.run(0.1)
        assert world.polled_at == []
        if is_back:
            flow(world)
            world.heartbeat()
        world.run(lost_at + 32.1 - world.now)
        assert len(world.polled_at) == (0 if is_back else 1)


def test_a_herd_asks_half_as_fast_as_it_returns() -> None:
    """Ten thousand lost their server, which stays away: a thousand a second ask, no more."""
    dialed: Counter[int] = Counter()
    polled: Counter[int] = Counter()
    for seed in range(HERD // SAMPLE):
        world = connected("a", seed=seed)
        world.tracker.link.announced(HERD / 2000)
        world.is_automatic = True
        world.accept = world.answer = lambda _: ConnectFailed("nobody is there")
        lost_at = world.now
        world.dialed_at.clear()
        world.lose(socket_of(world), ConnectionLost("cut", code=1006))
        world.run(40)
        dialed.update(int(at - lost_at) for at in world.dialed_at)
        polled.update(int(at - lost_at) for at in world.polled_at)

    assert sum(polled.values()) >= 2 * HERD // SAMPLE
    # 2,000 and 1,000, and what chance adds to so small a sample.
    assert max(dialed.values()) * SAMPLE <= 2_600
    assert max(polled.values()) * SAMPLE <= 1_400


def test_a_drop_for_good_reads_at_once() -> None:
    """Live connection lost, and push is off: only the spread is waited for."""
    world = connected("a")

    world.lose(socket_of(world), ConnectionLost("bye", code=4505))
    world.run(0.3)

    assert len(world.polled_at) == 1


def test_a_drop_that_is_back_in_time_costs_no_read() -> None:
    """Most connections are back within two seconds: nobody polls then."""
    world = connected("a")
    world.lose(socket_of(world), ConnectionLost("cut", code=1006))
    world.write("a")

    world.run(0.3)
    flow(world)
    world.run(8)

    assert world.polled_at == []
    assert world.probes[0].versions("a") == [1, 2]
    assert covered(world, "a")


def test_a_dial_that_fails_uncovers_nobody() -> None:
    """The pace of polling is that of the policy, however often a dial fails meanwhile."""
    world = World()
    world.server.write("a", eta=200.0)
    world.is_automatic = True
    world.accept = lambda _: ConnectFailed("no")

    world.attach("a")
    world.run(60)

    assert len(world.dialed_at) >= 10
    assert len(world.polled_at) <= 4


def test_a_hole_is_mended_by_push() -> None:
    """Hole in the versions: subscribe again from the known version; nothing is skipped."""
    world = connected("a", wants_all=True)
    socket = socket_of(world)
    world.write("a")
    socket.outbox.clear()  # an event is lost on the way
    for _ in range(10):
        world.write("a")
        world.deliver(socket)
    assert world.probes[0].versions("a") == [1]
    assert not covered(world, "a")
    assert [m.jobs for m in sent(world, Subscribe) if isinstance(m, Subscribe)] == [{"a": 1}]

    flow(world)

    # The model server keeps eight versions: those that it does not keep are marked by it.
    assert world.probes[0].versions("a") == [1, 5, 6, 7, 8, 9, 10, 11, 12]
    promises.s5_nothing_skipped(world.probes[0].seen)
    assert covered(world, "a")


def test_a_hole_is_mended_by_a_read() -> None:
    """Hole in the versions: a read at once, for push may be what is broken."""
    world = connected("a", wants_all=True)
    socket = socket_of(world)
    world.write("a")
    socket.outbox.clear()
    world.write("a")
    world.deliver(socket)

    world.run(0.1)
    [poll] = world.polls.values()
    assert poll.read.wants_all
    world.report(poll, world.server.read(poll.read))

    assert world.probes[0].versions("a") == [1, 2, 3]
    assert world.tracker.counters.holes == 1


def test_a_hole_while_a_poll_is_in_flight() -> None:
    """A hole that shows while a poll is under way: that poll mends it, or the next one does."""
    world = connected("a", wants_all=True)
    world.write("a", eta=0.0)
    world.deliver(socket_of(world))
    socket_of(world).is_muted = True
    world.tracker.link.primary.patience = 1e9  # type: ignore[union-attr]
    world.run(6)
    [poll] = world.polls.values()
    socket_of(world).is_muted = False
    stale = world.server.read(poll.read)

    world.server.write("a")
    world.write("a")
    socket_of(world).outbox[:] = [Events([world.server.jobs["a"][-1]])]
    world.deliver(socket_of(world))
    world.check()
    world.report(poll, stale)
    world.check()
    world.run(1)
    [again] = world.polls.values()
    world.report(again, world.server.read(again.read))

    assert world.probes[0].versions("a") == [1, 2, 3, 4]


def test_a_source_that_keeps_its_hole() -> None:
    """An answer with the same hole: again, with backoff; after three the versions are skipped."""
    world = World(uses_push=False)
    world.server.write("a")
    probe = world.attach("a", wants_all=True)
    world.is_automatic = True

    def holed(poll: Poll) -> Answer:
        answer = world.server.read(poll.read)
        return Answer(statuses=[s for s in answer.statuses if s.version != 2], epoch=answer.epoch)

    world.answer = holed
    world.run(1)
    world.write("a")
    world.write("a")
    world.run(10)

    assert probe.versions("a") == [1, 3]
    assert probe.seen[1].skipped == 1
    promises.s5_skipped_is_counted(probe.seen)


def leave_out(world: World, version: int) -> int:
    """Let the server read what came and answer without a version; return how often it was asked."""
    asked = len(sent(world, Subscribe))
    socket = socket_of(world)
    world.serve(socket)
    for message in socket.outbox:
        if isinstance(message, Events):
            message.events[:] = [s for s in message.events if s.version != version]
    world.deliver(socket)
    return asked


def torn(**options: object) -> World:
    """Make a world in which push brought version 3 of a job of which version 1 is known."""
    world = connected("a", wants_all=True, **options)
    world.write("a")
    socket_of(world).outbox.clear()
    world.write("a")
    world.deliver(socket_of(world))
    assert world.probes[0].versions("a") == [1]
    return world


def test_a_channel_that_keeps_its_hole() -> None:
    """Without polls it is the channel that is asked again, with backoff; after three it counts."""
    world = torn(uses_polls=False)
    began, asked = world.now, leave_out(world, 2)
    while world.probes[0].versions("a") == [1]:
        assert asked < 10
        world.run(0.1)
        world.receive(1, Events([]))  # a sign of life
        asked += leave_out(world, 2)

    assert world.probes[0].versions("a") == [1, 3]
    assert asked == 4
    assert world.now - began > 1.5
    promises.s5_skipped_is_counted(world.probes[0].seen)


def test_a_read_that_hangs_decides_about_a_hole() -> None:
    """However often the channel leaves a version out, a read that is under way may bring it."""
    world = torn()
    world.run(0.1)
    [poll] = world.polls.values()

    asked = 0
    for _ in range(5):
        asked += leave_out(world, 2)
        world.write("a")
        world.run(0.1)
        world.check()
    assert world.probes[0].versions("a") == [1]
    assert asked == 1, "the channel was asked once, when the hole was seen"
    world.report(poll, world.server.read(poll.read))
    flow(world)

    assert world.probes[0].versions("a") == list(range(1, 9))
    assert covered(world, "a")


@pytest.mark.parametrize("failure", [None, RequestTimeout("slow")])
def test_a_read_without_news_decides_nothing(failure: RequestTimeout | None) -> None:
    """A read that fails, or knows less than push, is no word for it that a version is lost."""
    world = torn()
    reads, asked = 0, 0
    while world.now < 1040:
        asked += leave_out(world, 2)
        world.receive(1, Events([]))
        for poll in tuple(world.polls.values()):
            reads += 1
            world.report(poll, failure or Answer(epoch=world.server.epoch))
        world.run(0.1)
        world.check()

    assert world.probes[0].versions("a") == [1]
    assert reads <= asked <= reads + 1, "the channel is asked at the pace of the reads"
    assert 5 <= reads <= 25, "and that is the pace of a job that push does not cover"
    for _ in range(60):
        flow(world)
        world.receive(1, Events([]))
        world.run(0.1)
        for poll in tuple(world.polls.values()):
            world.report(poll, failure or Answer(epoch=world.server.epoch))
    assert world.probes[0].versions("a") == [1, 2, 3], "the channel mends it alone"
    assert covered(world, "a")


def test_statuses_behind_a_hole_hasten_nothing() -> None:
    """A job that goes on while a hole is mended costs no more reads than one that does not."""
    world = torn()
    for _ in range(5):
        world.write("a")
        leave_out(world, 2)
        world.run(0.1)
        for poll in tuple(world.polls.values()):
            world.report(poll, Answer(epoch=world.server.epoch))

    assert len(world.polled_at) <= 2
    assert world.probes[0].versions("a") == [1]


def test_what_was_left_out_while_subscribing_is_asked_for() -> None:
    """A status refused before `synced` comes with the next subscribe, though the hole is mended."""
    world = World()
    for _ in range(3):
        world.server.write("a")
    world.attach("a", wants_all=True)
    socket = socket_of(world)
    world.welcome(socket)
    world.serve(socket)
    one, two, three = world.server.jobs["a"]
    socket.outbox[:-1] = [Events([one, three, two])]
    world.deliver(socket)
    assert world.probes[0].versions("a") == [1, 2]
    assert not covered(world, "a"), "version 3 is nowhere on its way"

    world.run(0.1)
    [poll] = world.polls.values()
    world.report(poll, Answer(epoch=world.server.epoch))
    flow(world)

    assert world.probes[0].versions("a") == [1, 2, 3]
    assert covered(world, "a")


def test_the_last_watcher_leaves() -> None:
    """Last watcher leaves: Unsubscribe a second later, and nothing is kept."""
    world = connected("a")

    world.detach(world.probes[0])
    world.run(0.9)
    assert sent(world, Unsubscribe) == []
    assert "a" in world.records
    world.run(0.2)

    assert sent(world, Unsubscribe) == [Unsubscribe(["a"])]
    assert not world.records


def test_somebody_comes_back() -> None:
    """A job that is taken up again within a second stays subscribed, and tells what it knows."""
    world = connected("a")
    world.detach(world.probes[0])
    world.run(0.5)

    probe = world.attach("a")
    world.run(8)

    assert probe.versions("a") == [1]
    assert sent(world, Subscribe) == sent(world, Unsubscribe) == []
    assert covered(world, "a")
    world.check()


def test_somebody_comes_back_after_a_reconnect() -> None:
    """A lingering job is not subscribed on a new connection, so it is when somebody comes."""
    world = connected("a", "b")
    other = world.attach("b")
    world.detach(world.probes[0])
    world.lose(socket_of(world), ConnectionLost("cut"))
    world.run(0.3)
    flow(world)
    assert covered(world, "b")

    world.attach("a")

    assert not covered(world, "a")
    world.check_cover()
    flow(world)
    assert covered(world, "a")
    assert other.versions("b") == [1]


def test_somebody_comes_back_during_a_drain() -> None:
    """A lingering job that only the leaving connection covers is subscribed on the new one."""
    world = connected("a", "b")
    world.attach("b")
    world.detach(world.probes[0])
    world.drain(socket_of(world), spread=0.0)
    world.run(0.1)
    [old, new] = world.sockets.values()
    world.welcome(new)
    world.attach("a")
    assert covered(world, "a"), "by the old connection"

    flow(world)

    assert list(world.sockets) == [new.generation]
    assert covered(world, "a"), "by the new connection"
    assert old.generation not in world.sockets
    world.check()


def test_somebody_comes_back_while_the_poll_is_in_flight() -> None:
    """Watchers leave and come back during a poll: there is one poll, and its answer counts."""
    world = World(uses_push=False)
    world.server.write("a")
    world.attach("a")
    world.run(0.1)
    [poll] = world.polls.values()

    for _ in range(5):
        world.detach_all()
        world.run(3)
        world.check()
        assert "a" in world.records, "a record with a poll in flight stays"
        probe = world.attach("a")
        world.check()
    assert list(world.polls.values()) == [poll]
    world.report(poll, world.server.read(poll.read))

    assert probe.versions("a") == [1]
    world.check()


def test_a_job_that_failed_is_asked_for_afresh() -> None:
    """After its error a job starts from nothing, and a poll still in flight stays the only one."""
    world = World(uses_push=False)
    world.attach("a")
    world.run(0.1)
    [poll] = world.polls.values()
    world.report(poll, world.server.read(poll.read))
    assert isinstance(world.probes[0].errors["a"], JobNotFound)
    world.server.write("a")

    probe = world.attach("a")
    world.run(0.1)
    [poll] = world.polls.values()
    world.report(poll, world.server.read(poll.read))

    assert probe.versions("a") == [1]


def test_a_job_that_failed_is_subscribed_afresh() -> None:
    """A job that ended with an error is unsubscribed, and subscribed for whoever asks again."""
    world = connected("a")
    tombstone = world.server.write("a", State.CANCELED)
    gone = type(tombstone)(
        job_id="a", state=State.CANCELED, version=2, epoch=tombstone.epoch, gone=True
    )
    world.receive(1, Events([gone]))
    assert isinstance(world.probes[0].errors["a"], JobNotFound)

    world.attach("a")

    assert [type(m).__name__ for m in socket_of(world).inbox] == ["Unsubscribe", "Subscribe"]


def test_a_job_that_went_while_nobody_watched() -> None:
    """Whoever comes back within the moment that a record is kept is not told of what was."""
    world = connected("a")
    tombstone = world.server.write("a")
    world.tracker.detach(world.probes[0], world.now)
    gone = type(tombstone)(
        job_id="a", state=State.RUNNING, version=2, epoch=tombstone.epoch, gone=True
    )
    world.receive(1, Events([gone]))

    late = world.attach("a")

    assert not late.versions("a"), "a running job that is no more would be waited for"
    assert [type(m).__name__ for m in socket_of(world).inbox] == ["Unsubscribe", "Subscribe"]
    assert world.tracker.counters.failures == 0


# Drains.


def test_a_drain_is_seamless() -> None:
    """Make before break: no update is lost, doubled or polled for, and one connection is left."""
    world = connected("a", wants_all=True)
    world.is_automatic = True
    world.heartbeat()
    world.drain(socket_of(world), spread=2.0)

    for _ in range(30):
        world.write("a")
        world.run(0.1)

    assert world.probes[0].versions("a") == list(range(1, 32))
    assert world.polled_at == []
    assert len(world.sockets) == 1
    world.check()


def test_a_second_drain() -> None:
    """The successor drains before it is synced: the oldest connection goes, its jobs are read."""
    world = connected("a")
    world.drain(socket_of(world), spread=0.0)
    world.run(0.1)
    [_, second] = world.sockets.values()
    world.welcome(second)
    assert covered(world, "a")

    world.drain(second, spread=0.0)
    world.run(0.1)

    world.check()
    assert len(world.sockets) == 2
    assert not covered(world, "a")
    assert world.records["a"].poll_at < world.now + 4


def draining(*, uses_polls: bool = True) -> tuple[World, Socket, Socket]:
    """Let a server go while a subscribe is under way, and its successor say nothing yet."""
    world = connected("a", uses_polls=uses_polls)
    world.server.write("b")
    world.attach("b")
    world.drain(socket_of(world), spread=0.0, deadline=60.0)
    world.run(0.1)
    old, new = world.sockets.values()
    return world, old, new


@pytest.mark.parametrize("uses_polls", [True, False])
def test_what_the_old_connection_answers_does_not_excuse_the_new_one(uses_polls: bool) -> None:
    """A successor that never says welcome is given up in time, whatever its predecessor says."""
    world, old, new = draining(uses_polls=uses_polls)

    flow_of(world, old)
    world.check()
    world.run(10.1)

    assert new.generation not in world.sockets


def test_what_the_old_connection_owes_is_asked_of_the_new_one() -> None:
    """Once the successor is there, its predecessor may stay until that has brought everything."""
    world, old, new = draining()
    world.welcome(new)

    for _ in range(15):
        for socket in (old, new):
            world.receive(socket.generation, Ping(1))
        world.run(1.0)
        new.inbox.clear()
        world.receive(new.generation, Synced(0))  # it is busy, and says so

    assert old.generation in world.sockets


def test_the_liar_goes_and_not_its_successor() -> None:
    """Doubts are about who was told of the jobs; a dial that nobody has answered yet is no liar."""
    world, old, new = draining()
    doubts = world.tracker._push.doubts
    for job_id in "cdefgh":
        doubts.raise_on(job_id, 9, world.now)

    world.run(3.0)

    assert old.generation not in world.sockets
    assert new.generation in world.sockets


def test_push_alone_keeps_what_the_old_connection_brings() -> None:
    """Without polls, a successor that is refused for good ends no watch of what is still there."""
    world, old, new = draining(uses_polls=False)
    flow_of(world, old)

    world.server.write("late")
    late = world.attach("late")
    world.lose(new, Unsupported("the proxy loads its routes", status=404))
    assert not world.probes[0].errors
    assert isinstance(late.errors["late"], Unsupported), "nobody will ever bring it"
    world.lose(old, ConnectionLost("restart", code=1012))

    assert isinstance(world.probes[0].errors["a"], Unsupported)


def test_the_old_connection_ends_first() -> None:
    """The server closes the old connection before the new one is synced: jobs are read soon."""
    world = connected("a")
    world.drain(socket_of(world), spread=0.0)
    world.run(0.1)
    [old, new] = world.sockets.values()

    world.lose(old, ConnectionLost("restart", code=1012))

    world.check()
    assert world.records["a"].poll_at < world.now + 4
    world.welcome(new)
    flow(world)
    assert covered(world, "a")


def test_a_successor_that_refuses_a_job() -> None:
    """A job that the new connection does not take is read when the old one goes."""
    world = connected("a", "b")
    world.drain(socket_of(world), spread=0.0)
    world.run(0.1)
    [_, new] = world.sockets.values()
    del world.server.jobs["b"]
    world.welcome(new)
    world.serve(new)
    world.deliver(new)

    assert list(world.sockets) == [new.generation]
    assert covered(world, "a")
    assert not covered(world, "b")
    world.check_cover()
    world.run(0.1)
    assert [list(poll.read.jobs) for poll in world.polls.values()] == [["b"]]


# Without polls.


def test_push_alone_subscribes_excluded_jobs_again() -> None:
    """Without polls a job that the channel did not know is asked for again every second."""
    world = World(uses_polls=False)
    world.tracker.created([world.server.write("a")], world.now)
    [status] = world.server.jobs.pop("a")
    probe = world.attach("a")
    flow(world)
    assert not covered(world, "a")
    world.server.jobs["a"] = [status]

    world.run(1.1)
    flow(world)

    assert covered(world, "a")
    assert probe.versions("a") == [1]
    world.check()


def test_push_alone_retries_a_refused_batch() -> None:
    """Without polls a refused subscribe is sent again after its retry_after, each time."""
    world = World(uses_polls=False)
    world.server.write("a")
    world.attach("a")
    socket = socket_of(world)
    world.welcome(socket)
    socket.inbox.clear()

    world.receive(1, ChannelError(code="rate_limited", id=1, retry_after=3.0))
    world.run(2.9)
    assert socket.inbox == []
    world.run(0.3)
    [again] = socket.inbox
    assert isinstance(again, Subscribe)

    socket.inbox.clear()
    world.receive(1, ChannelError(code="rate_limited", id=again.id, retry_after=3.0))
    world.run(3.2)
    flow(world)

    assert covered(world, "a")


@pytest.mark.parametrize(("eta", "within"), [(3.0, 10.0), (None, 125.0)])
def test_push_alone_asks_again_where_it_is_silent(eta: float | None, within: float) -> None:
    """Without polls what the channel has withheld is found by a subscribe once more."""
    world = connected("a", uses_polls=False)
    world.is_automatic = True
    world.heartbeat()
    world.write("a", eta=eta)
    withhold(world, "a", State.COMPLETED)

    world.run(within)

    assert world.probes[0].versions("a") == [1, 2, 3]
    assert world.probes[0].is_finished


def test_push_alone_leaves_a_channel_in_peace_that_brings_news() -> None:
    """Without polls, too, only silence makes a job worth asking for."""
    world = connected("a", uses_polls=False)
    world.is_automatic = True
    world.heartbeat()
    subscriptions = world.tracker._push._subscriptions

    for _ in range(20):
        world.write("a")
        world.run(20.0)
    assert subscriptions._serial == 1, "that of the beginning"

    world.run(125.0)
    assert subscriptions._serial in (2, 3)


@pytest.mark.parametrize(("kept", "within"), [([], 11.0), (["b"], 0.3)])
def test_push_alone_loses_jobs(kept: list[str], within: float) -> None:
    """Without polls the channel's word counts: at once if a status bears its new history out."""
    world = connected("a", "b", uses_polls=False)
    world.server.restart(kept)
    world.lose(socket_of(world), ConnectionLost("cut"))
    world.is_automatic = True
    lost_at = world.now

    world.run(within)

    [probe] = world.probes
    assert isinstance(probe.errors["a"], JobLost)
    assert probe.errors.keys() == {"a", "b"} - set(kept)
    assert (world.now - lost_at < 1) is bool(kept)


@pytest.mark.parametrize("was_heard", [True, False])
def test_push_alone_ends_where_push_is_off(was_heard: bool) -> None:
    """Without polls a channel that is refused for good ends every watch, now and later."""
    world = connected("a", uses_polls=False) if was_heard else World(uses_polls=False)
    if not was_heard:
        world.attach("a")
    error = Unsupported("no channel", status=404)

    world.lose(socket_of(world), error)

    assert world.probes[0].errors == {"a": error}
    later = world.attach("a")
    assert later.errors == {"a": error}
    assert later.is_finished


def test_push_alone_gives_up_on_a_server_that_never_was() -> None:
    """Without polls `max_attempts` dials that fail are enough, if nobody ever answered."""
    world = World(uses_polls=False)
    world.is_automatic = True
    world.accept = lambda _: ConnectFailed("no")
    probe = world.attach("a")

    world.run(30)

    assert isinstance(probe.errors["a"], ConnectFailed)
    assert probe.finished_at == pytest.approx(world.dialed_at[4] + world.latency)


def test_push_alone_sits_out_an_outage() -> None:
    """Without polls a server that was there is waited for."""
    world = connected("a", uses_polls=False)
    world.is_automatic = True
    world.accept = lambda _: ConnectFailed("no")
    world.lose(socket_of(world), ConnectionLost("cut"))

    world.run(120)
    assert not world.probes[0].errors
    world.accept = lambda _: None
    world.heartbeat()
    world.run(60)

    assert covered(world, "a")


def test_push_alone_needs_a_channel() -> None:
    """Without polls a backend without a channel is an error at once, not a hang."""
    world = World(uses_push=False, uses_polls=False)

    probe = world.attach("a")

    assert isinstance(probe.errors["a"], Unsupported)


# What a server may do wrong.


def test_one_garbled_frame_loses_nothing() -> None:
    """A frame that made no sense may have held the end: it is asked for again."""
    world = connected("a")
    world.write("a", State.COMPLETED)
    socket = socket_of(world)
    socket.outbox.clear()
    socket.cursors["a"] = ("latest", 2)

    world.tracker.push_garbled(1, ProtocolError("nonsense"), world.now)
    world.act()
    flow(world)

    assert world.probes[0].is_finished
    assert world.probes[0].versions("a") == [1, 2]


def test_nothing_counts_before_the_welcome() -> None:
    """A server that speaks before its welcome does not lift the deadline of the dial."""
    world = World()
    world.server.write("a")
    world.attach("a")
    for message in (
        ChannelError(code="rate_limited"),
        Events([world.server.jobs["a"][0]]),
    ):
        world.receive(1, message)

    world.run(10.1)

    assert world.probes[0].seen == []
    assert 1 not in world.sockets, "no welcome within ten seconds"
