"""Hearsay, announced or said by half, counts once a read of the job alone has settled it."""

import math
from collections.abc import Callable
from itertools import pairwise

import pytest

from tests.vtrans_hybrid.world import World
from vtrans_hybrid.dialect import Answer, Capabilities
from vtrans_hybrid.errors import AuthError, JobNotFound, Unavailable, VtransError
from vtrans_hybrid.models import JobStatus, State
from vtrans_hybrid.policy import PollPolicy
from vtrans_hybrid.schedule import Poll

BULK = Capabilities(max_bulk=100, bulk_from=2)
SLOW = PollPolicy.fixed(20.0, jitter=0.0)


def polling(*jobs: str, **options: object) -> World:
    """Make a world without a channel in which jobs run, and have been read once."""
    world = World(BULK, poll=SLOW, **options)  # type: ignore[arg-type]
    world.is_automatic = True
    for job_id in jobs:
        world.server.write(job_id)
        world.server.write(job_id)
    world.attach(*jobs)
    world.run(1.0)
    return world


def announce(world: World, *jobs: str) -> None:
    """Let somebody say that jobs have news."""
    world.tracker.announced(jobs, world.now)
    world.act()


def reads(world: World) -> list[list[str]]:
    """Return which jobs each poll so far was about."""
    return [list(action.read.jobs) for action in world.log if isinstance(action, Poll)]


def sources(world: World) -> list[str]:
    """Return the sources of what the first watcher saw."""
    return [str(status.source) for status in world.probes[0].seen]


def by_half(world: World, *, until: float = 0.0) -> Callable[[Poll], Answer | None]:
    """Make an answer that leaves what a bulk read says of ends, and misses, to a read alone.

    Args:
        world: Where it answers.
        until: Before this time a read alone lacks the result of an end, too.
    """

    def answer(poll: Poll) -> Answer:
        whole = world.server.read(poll.read)
        is_bulk = len(poll.read.jobs) > 1
        ends = {s.job_id for s in whole.statuses if s.is_final}
        hearsay = ends | whole.errors.keys() if is_bulk else set()
        if world.now < until:
            hearsay |= ends
        return Answer(statuses=whole.statuses, errors=whole.errors, hearsay=hearsay)

    return answer


# Announcements.


def test_an_announced_job_is_read_alone_at_once() -> None:
    """An announcement leads to one read of that job alone, and its update says so."""
    world = polling("a", "b", "c")
    world.write("b", State.COMPLETED)
    announce(world, "b")
    world.run(0.1)

    assert reads(world) == [["a", "b", "c"], ["b"]]
    assert sources(world) == ["poll", "poll", "poll", "webhook"]
    assert world.tracker.counters.webhook_updates == 1
    world.check()


def test_an_announcement_twice_is_one_read() -> None:
    """Announced again before its read began, a job is read once."""
    world = polling("a", "b")
    announce(world, "a", "a")
    announce(world, "a")
    world.run(0.1)

    assert reads(world) == [["a", "b"], ["a"]]


def test_what_nobody_watches_is_ignored() -> None:
    """An announced job that is unknown, has ended or was left is not read."""
    world = polling("a", "b", "c")
    world.write("a", State.ERROR)
    world.run(30.0)
    world.detach_all()
    before = len(reads(world))
    announce(world, "a", "b", "never-heard-of")
    world.run(5.0)

    assert len(reads(world)) == before
    world.check_empty()


def test_what_was_announced_before_it_was_watched_is_read_at_once() -> None:
    """A job may end, and that be known, before somebody gets round to watching it; once."""
    order = [JobStatus(job_id="late", state=State.PENDING)]
    world = World(BULK, poll=PollPolicy.patient(), uses_push=False)
    world.is_automatic = True
    world.server.write("late")
    world.write("late", State.COMPLETED)
    world.tracker.created(order, world.now)
    announce(world, "late", "other")
    world.attach("late")
    world.run(0.1)
    assert sources(world) == ["webhook"]

    world.run(10.0)
    world.tracker.created(order, world.now)
    world.attach("late")
    world.run(0.1)
    assert reads(world) == [["late"]], "what was announced then is old by now"


def test_who_comes_back_to_a_job_that_has_ended_does_not_wait() -> None:
    """Its order was just now, but its end is known; so no webhook is missed for it, either."""
    world = World(BULK, poll=PollPolicy.patient(), uses_push=False)
    world.is_automatic = True
    world.server.write("a")
    world.tracker.created([JobStatus(job_id="a", state=State.PENDING)], world.now)
    world.attach("a")
    world.write("a", State.COMPLETED)
    announce(world, "a")
    world.run(3.0)  # long enough to forget it

    before = len(reads(world))
    world.attach("a")
    world.run(0.1)
    assert len(reads(world)) == before + 1


def test_only_so_many_are_remembered() -> None:
    """Announcements of jobs that nobody ever watches do not pile up."""
    world = polling()
    announce(world, *(f"job-{number}" for number in range(1001)))
    hearsay = world.tracker._news.hearsay

    assert not hearsay.recall("job-0")
    assert hearsay.recall("job-1")
    assert hearsay.recall("job-1000")
    assert not hearsay.recall("job-1000")


def test_a_read_under_way_is_followed_by_another() -> None:
    """The read in flight may be older than the announcement, so it does not stand for it."""
    world = polling("a", "b")
    world.is_automatic = False
    world.run(20.0)
    [poll] = world.polls.values()
    stale = world.server.read(poll.read)
    world.write("a", State.COMPLETED)
    announce(world, "a")
    world.run(1.0)
    assert len(world.polls) == 1, "one read of a job at a time"
    world.report(poll, stale)
    world.run(0.1)

    assert reads(world)[-1] == ["a"]
    world.is_automatic = True
    world.decide_poll(next(iter(world.polls.values())))
    assert sources(world)[-1] == "webhook"
    world.check()


def test_a_failed_confirmation_is_left_to_the_next_read() -> None:
    """An announcement outlives the failure of the read that it led to."""
    world = polling("a", "b")
    world.write("a", State.COMPLETED)
    answers: list[Answer | VtransError] = [Unavailable("down", status=503)]
    world.answer = lambda poll: answers.pop() if answers else None
    announce(world, "a")
    world.run(3.0)

    assert reads(world) == [["a", "b"], ["a"], ["a"]]
    assert sources(world)[-1] == "webhook"


def test_what_answers_reads_may_lag_behind_what_announces() -> None:
    """A read that does not show what was announced is made again, after one second, then two."""
    world = polling("a", "b")
    stale = world.server.read(next(a for a in world.log if isinstance(a, Poll)).read)
    world.write("a", State.COMPLETED)
    before, begun = len(world.polled_at), world.now
    world.answer = lambda poll: stale if world.now < begun + 7.0 else None
    announce(world, "a")
    world.run(10.0)

    assert reads(world)[before:] == [["a"]] * 5
    gaps = [at - begun for at in world.polled_at[before:]]
    assert gaps == pytest.approx([0, 1, 2, 4, 8], abs=0.4)
    assert sources(world)[-1] == "webhook"
    assert world.tracker._news.hearsay.is_live


def test_what_no_read_shows_is_looked_for_for_a_minute() -> None:
    """Then the job is read as any other; and a further announcement begins anew."""
    world = polling("a")
    announce(world, "a")
    world.run(61.0)
    begun = len(world.polled_at)
    assert begun == 1 + 8
    world.run(600.0)
    gaps = [b - a for a, b in pairwise(world.polled_at[begun - 1 :])]
    assert min(gaps) >= 60
    announce(world, "a")
    world.run(1.5)

    assert world.polled_at[-1] - world.polled_at[-2] == pytest.approx(1.0, abs=0.1)
    world.detach_all()
    world.run(2.0)
    world.check_empty()


def test_without_polls_the_channel_is_asked() -> None:
    """A client that must not poll subscribes once more, and hears of what went astray."""
    world = World(uses_polls=False)
    world.is_automatic = True
    world.heartbeat()
    world.server.write("a")
    world.attach("a")
    world.run(1.0)
    [socket] = world.sockets.values()
    socket.cursors["a"] = "latest", world.server.write("a", State.COMPLETED).version
    announce(world, "a")
    world.run(1.0)

    assert reads(world) == []
    assert sources(world) == ["push", "push"]
    assert world.probes[0].is_finished


def test_a_revoked_key_forgets_what_was_announced() -> None:
    """When every job fails, nothing is left to confirm."""
    world = polling("a", "b")
    world.answer = lambda poll: AuthError("revoked", status=401)
    announce(world, "a")
    world.run(5.0)

    assert world.probes[0].is_finished
    world.check_empty()


# Announcements that prove to come.


def test_polling_is_stretched_while_announcements_come() -> None:
    """Sixty to a hundred and twenty seconds instead of twenty, and never stopped."""
    world = polling("a", "b")
    announce(world, "somebody-elses")
    world.run(21.0)
    before = len(world.polled_at)
    world.run(600.0)

    gaps = [b - a for a, b in pairwise(world.polled_at[before:])]
    assert max(gaps) <= 121
    assert 5 <= len(world.polled_at) - before <= 20
    world.check()


def test_a_new_job_is_read_at_its_usual_pace_first() -> None:
    """Stretching is for jobs of which something is known."""
    world = polling()
    announce(world)
    world.server.write("late")
    world.attach("late")
    world.run(0.1)

    assert reads(world) == [["late"]]


def test_an_end_that_nobody_announces_ends_the_stretch() -> None:
    """Thirty seconds after a read found an end in silence every job is read, and usually again."""
    world = polling("a", "b")
    announce(world)
    world.write("a", State.COMPLETED)
    world.run(20.0)
    assert world.probes[0].seen[-1].job_id == "a"
    before = len(reads(world))
    world.run(29.0)
    assert len(reads(world)) == before
    world.run(1.5)

    assert reads(world)[before:] == [["b"]]
    world.run(21.0)
    assert reads(world)[before:] == [["b"], ["b"]]
    world.check()


def test_a_late_announcement_is_good_enough() -> None:
    """A webhook may be slower than a read."""
    world = polling("a", "b")
    announce(world)
    world.write("a", State.COMPLETED)
    world.run(25.0)
    announce(world, "a")
    before = len(reads(world))
    world.run(40.0)

    assert len(reads(world)) == before
    assert world.tracker._news.hearsay.is_live


def test_an_announcement_during_the_read_that_finds_the_end_counts() -> None:
    """What was announced while it was read has been announced."""
    world = polling("a", "b")
    announce(world)
    world.is_automatic = False
    world.run(20.0)
    world.write("a", State.COMPLETED)
    announce(world, "a")
    world.is_automatic = True
    [poll] = world.polls.values()
    world.decide_poll(poll)
    world.run(60.0)

    assert world.tracker._news.hearsay.is_live


def test_who_asks_for_an_old_end_learns_nothing_about_announcements() -> None:
    """A job that had ended before anybody looked was announced then, if at all."""
    world = polling("a", "b")
    world.write("a", State.COMPLETED)
    announce(world, "a")
    world.run(5.0)
    again = world.attach("a")
    world.run(40.0)

    assert again.is_finished
    assert world.tracker._news.hearsay.is_live


def test_the_end_of_a_new_order_is_to_be_announced() -> None:
    """A job that was ordered just now had not ended before, however soon a read finds its end."""
    world = polling("a", "b")
    announce(world)
    done = world.server.write("quick", State.COMPLETED)
    world.tracker.created([done], world.now)
    world.attach("quick")
    world.run(40.0)

    assert not world.tracker._news.hearsay.is_live


def test_the_next_announcement_stretches_again() -> None:
    """Announcements that were missing and come again count again."""
    world = polling("a", "b", "c")
    announce(world)
    world.write("a", State.COMPLETED)
    world.run(55.0)
    assert not world.tracker._news.hearsay.is_live
    announce(world, "b")

    assert world.tracker._news.hearsay.is_live


# Half an answer.


def test_an_end_in_a_bulk_answer_is_read_alone() -> None:
    """The end that the application sees is the one that the read alone shows, once."""
    world = polling("a", "b", "c")
    world.answer = by_half(world)
    world.write("a", State.COMPLETED)
    world.run(20.1)

    assert reads(world)[1:] == [["a", "b", "c"], ["a"]]
    assert [s.is_final for s in world.probes[0].seen] == [False, False, False, True]
    assert sources(world)[-1] == "poll"
    world.check()


def test_an_unknown_job_in_a_bulk_answer_is_read_alone() -> None:
    """Only the read alone says that a job is not there."""
    world = polling("a", "b")
    world.answer = by_half(world)
    world.attach("x", "y", name="hopeful")
    world.run(0.1)

    assert reads(world)[1:] == [["x", "y"], ["x"], ["y"]]
    assert isinstance(world.probes[1].errors["x"], JobNotFound)


def test_an_end_without_result_is_asked_for_again() -> None:
    """The result is looked for after one second, then as often as doubles the time, in full."""
    world = polling("a")
    world.write("a", State.COMPLETED)
    begun = world.now + 19.0
    world.answer = by_half(world, until=begun + 10.0)
    world.run(40.0)

    [*_, last] = world.probes[0].seen
    assert last.is_final
    gaps = [at - world.polled_at[1] for at in world.polled_at[1:]]
    assert gaps == pytest.approx([0, 1, 2, 4, 8, 16], rel=0.05)
    world.check()


def test_an_end_whose_result_never_comes_is_taken_as_it_is() -> None:
    """After a minute the end is delivered without a result, and nothing is asked any more."""
    world = polling("a")
    world.write("a", State.COMPLETED)
    world.answer = by_half(world, until=math.inf)
    world.run(78.0)
    assert not world.probes[0].is_finished
    world.run(2.0)

    assert world.probes[0].is_finished
    assert world.polled_at[-1] - world.polled_at[1] == pytest.approx(60.0, abs=0.5)
    world.run(5.0)
    world.check_empty()


def test_who_leaves_meanwhile_leaves_nothing_behind() -> None:
    """A job that nobody watches any more is not asked for its result."""
    world = polling("a")
    world.write("a", State.COMPLETED)
    world.answer = by_half(world, until=math.inf)
    world.run(25.0)
    world.detach_all()
    world.run(5.0)

    world.check_empty()


def test_an_announced_end_without_result_stays_announced() -> None:
    """However many reads it takes, the update owes itself to the webhook."""
    world = polling("a", "b")
    world.write("a", State.COMPLETED)
    world.answer = by_half(world, until=world.now + 3.0)
    announce(world, "a")
    world.run(6.0)

    assert sources(world)[-1] == "webhook"


def test_an_announcement_does_not_wait_for_the_next_look_for_a_result() -> None:
    """What is announced while a read without result is under way is read again at once."""
    world = polling("a")
    world.write("a", State.COMPLETED)
    world.answer = by_half(world, until=math.inf)
    world.run(30.0)
    world.is_automatic = False
    world.run(15.0)
    [poll] = world.polls.values()
    announce(world, "a")
    world.report(poll, by_half(world, until=math.inf)(poll))
    world.run(0.1)

    [poll] = world.polls.values()
    world.report(poll, world.server.read(poll.read))
    assert sources(world)[-1] == "webhook"
    assert world.probes[0].is_finished
