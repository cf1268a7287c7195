"""What push covers, and how the server is kept to its word: the rows of the table in push.py."""

import pytest

from vtrans_hybrid.errors import ConnectionLost, ProtocolError
from vtrans_hybrid.link import Dial, Hangup, Phase
from vtrans_hybrid.merge import Record
from vtrans_hybrid.messages import ChannelError, Drain, Subscribe, Synced, Unsubscribe, Welcome
from vtrans_hybrid.models import JobStatus, State
from vtrans_hybrid.policy import Backoff
from vtrans_hybrid.push import Push, Send

NONSENSE = ProtocolError("nonsense")


def opened(*records: Record, now: float = 100.0) -> Push:
    """Make a push channel that was just welcomed."""
    push = Push(lambda: 0.5, Backoff(), enabled=True)
    push.link.want(True, now)
    assert push.opened(1, Welcome(epoch="E1"), records, now)
    push.link.actions.clear()
    return push


def synced(*records: Record, now: float = 100.0) -> Push:
    """Make a push channel that covers these records."""
    push = opened(*records, now=now)
    for send in push.flush(now):
        assert isinstance(send.message, Subscribe)
        push.synced(1, Synced(send.message.id), now)
    push.settle(now)
    return push


def test_a_welcome_subscribes() -> None:
    """A welcome leads to a subscribe of every job named."""
    push = opened(Record("a"), Record("b"))

    assert push.flush(100.0) == [
        Send(1, Subscribe(id=1, epoch="E1", mode="latest", jobs={"a": 0, "b": 0}))
    ]
    assert push.flush(100.0) == []


def test_a_welcome_of_nobody() -> None:
    """A welcome on a connection that does not count subscribes nothing."""
    push = opened(Record("a"))

    assert not push.opened(7, Welcome(epoch="E1"), [Record("b")], 100.0)
    assert not push.opened(1, Welcome(epoch="E1"), [Record("b")], 100.0)


def test_synced_covers() -> None:
    """A job is covered when its batch is synced without an error for it, and not before."""
    good, bad = Record("a"), Record("b")
    push = opened(good, bad)
    push.flush(100.0)
    assert not push.covers(good)

    assert push.synced(1, Synced(1, {"b": "not_found"}), 100.1) == [good, bad]

    assert push.covers(good)
    assert not push.covers(bad)


def test_synced_by_somebody_else() -> None:
    """An answer on another connection than the one that was asked is no answer."""
    job = Record("a")
    push = opened(job)
    push.flush(100.0)

    assert push.synced(2, Synced(1), 100.1) == []
    assert not push.covers(job)


def test_a_lost_connection_covers_nothing() -> None:
    """When the connection ends its jobs are not covered, and nothing waits to be told."""
    job = Record("a")
    push = synced(job)
    push.follow(Record("b"))

    push.link.lost(1, ConnectionLost("cut"), 101.0)
    push.lost()

    assert not push.covers(job)
    assert push.flush(101.0) == []


def test_the_oldest_batch_has_ten_seconds() -> None:
    """A batch without an answer for ten seconds is the end, however alive the server is."""
    push = opened(*(Record(f"job-{number:04}") for number in range(3000)))
    assert len(push.flush(100.0)) == 3
    push.synced(1, Synced(2), 105.0)
    push.synced(1, Synced(3), 109.0)
    connection = push.link.find(1)
    assert connection is not None
    connection.heard_at = 109.0

    assert push.next_deadline() == 110.0
    assert push.link.advance(110.0) == [connection]


def test_each_answer_gives_ten_seconds_more() -> None:
    """A slow server that answers batch after batch is not given up."""
    push = opened(*(Record(f"job-{number:04}") for number in range(3000)))
    push.flush(100.0)
    connection = push.link.find(1)
    assert connection is not None

    for batch, now in ((1, 109.0), (2, 118.0), (3, 127.0)):
        connection.heard_at = now
        assert push.link.advance(now) == []
        push.synced(1, Synced(batch), now)

    assert push.settle(127.0) is None
    assert connection.synced_at == 127.0
    assert push.next_deadline() == 137.0, "only silence counts now"


def test_new_jobs_do_not_postpone_the_deadline() -> None:
    """Whoever goes on asking does not excuse a server that does not answer."""
    push = opened(Record("a"))
    for second in range(9):
        push.follow(Record(f"job-{second}"))
        push.flush(100.0 + second)

    assert push.next_deadline() == 110.0


def test_settling_ends_the_leaving_connection() -> None:
    """When every job had its answer on the new connection, the old one is hung up."""
    job = Record("a")
    push = synced(job)
    push.link.drain(1, Drain(spread=0.0), 101.0)
    push.link.advance(101.0)
    push.opened(2, Welcome(epoch="E1"), [job], 101.5)
    assert push.settle(101.5) is None, "its job has had no answer yet"
    assert push.covers(job), "by the old one"
    push.flush(101.5)
    push.synced(2, Synced(1), 101.6)
    push.link.actions.clear()

    # The number of a batch goes on, so that an answer is never taken for that of another one.
    push.synced(2, Synced(2), 101.6)
    leaving = push.settle(101.6)

    assert leaving is not None
    assert leaving.generation == 1
    assert push.link.actions == [Hangup(1, 1000, "replaced")]
    assert push.covers(job), "by the new one"


def test_settling_does_not_wait_for_latecomers() -> None:
    """Jobs that are added all the time do not keep the old connection for ever."""
    push = opened(Record("a"))
    push.flush(100.0)
    push.follow(Record("b"))
    push.flush(100.0)

    push.synced(1, Synced(1), 100.1)
    push.settle(100.1)

    assert push.link.primary is not None
    assert push.link.primary.synced_at == 100.1


def test_following_twice() -> None:
    """A job that is subscribed already is not subscribed again, unless that is wanted."""
    job = Record("a")
    push = synced(job)

    push.follow(job)
    assert push.flush(101.0) == []
    push.follow(job, again=True)
    assert len(push.flush(101.0)) == 1


def test_forgetting() -> None:
    """A job that nobody watches is unsubscribed, and no longer doubted."""
    job = Record("a")
    push = synced(job)
    push.doubts.raise_on("a", 2, 101.0)

    push.forget(job)

    assert push.flush(101.0) == [Send(1, Unsubscribe(["a"]))]
    assert not push.doubts


def test_forgetting_a_final_job_keeps_the_doubt() -> None:
    """Where a poll found the end, push still has to bring it: a mute channel shows by that."""
    job = Record("a")
    push = synced(job)
    job.status = JobStatus(job_id="a", state=State.COMPLETED, version=2, epoch="E1")
    push.doubts.raise_on("a", 2, 101.0)

    push.forget(job)

    assert push.doubts
    assert push.flush(101.0) == []


def test_a_refusal() -> None:
    """A refused batch is given back, and no subscribe or dial leaves before its retry_after."""
    job = Record("a")
    push = opened(job)
    push.flush(100.0)

    error = ChannelError(code="rate_limited", id=1, retry_after=5.0)
    assert push.refused(1, error, 100.1) == [job]

    push.excluded(job)
    push.follow(job)
    assert push.flush(105.0) == []
    assert push.next_deadline() == pytest.approx(105.1)
    assert len(push.flush(105.1)) == 1
    push.link.lost(1, ConnectionLost("cut"), 100.2)
    assert push.link.retry_at >= 105.1


def test_a_refusal_of_nothing_in_particular() -> None:
    """An error without a number takes back no batch, but its delay counts."""
    push = opened(Record("a"))
    push.flush(100.0)

    assert push.refused(1, ChannelError(code="rate_limited", retry_after=5.0), 100.0) == []

    push.follow(Record("b"))
    assert push.flush(104.9) == []
    assert len(push.flush(105.0)) == 1


def test_a_refusal_without_a_delay() -> None:
    """Without retry_after subscribes go on at once."""
    push = opened(Record("a"))
    push.flush(100.0)
    push.refused(1, ChannelError(code="bad_request", id=1), 100.0)

    push.follow(Record("b"))

    assert len(push.flush(100.0)) == 1


def test_a_new_connection_is_held_back_too() -> None:
    """The successor of a connection that was asked to wait does not undercut that."""
    job = Record("a")
    push = synced(job)
    push.link.drain(1, Drain(spread=0.0), 101.0)
    push.link.advance(101.0)
    push.refused(1, ChannelError(code="rate_limited", retry_after=5.0), 101.0)

    assert push.opened(2, Welcome(epoch="E1"), [job], 102.0)

    assert push.flush(105.9) == []
    assert push.next_deadline() == 106.0
    assert len(push.flush(106.0)) == 1


def test_too_many_jobs_in_a_frame() -> None:
    """A batch that was too large comes back in halves."""
    push = opened(*(Record(f"job-{number:04}") for number in range(1000)))
    push.flush(100.0)

    refused = push.refused(1, ChannelError(code="too_large", id=1), 100.0)

    assert len(refused) == 1000
    assert push.link.batch_limit == 500


def test_a_frame_without_sense_loses_what_it_brought() -> None:
    """After one such frame everything is subscribed anew, for nobody knows what was in it."""
    job = Record("a")
    push = synced(job)

    assert push.garbled(1, NONSENSE, [job], 101.0) is None

    assert [send.message for send in push.flush(101.0)] == [
        Subscribe(id=2, epoch="E1", mode="latest", jobs={"a": 0})
    ]


def test_three_frames_without_sense() -> None:
    """The third one is the end of the connection, and of push for now."""
    job = Record("a")
    push = synced(job)
    for _ in range(2):
        assert push.garbled(1, NONSENSE, [job], 101.0) is None

    assert push.garbled(1, NONSENSE, [job], 101.0) is not None
    assert push.link.phase is Phase.OFF


def test_a_frame_without_sense_from_the_leaving_connection() -> None:
    """What the old connection garbles is no reason to ask the new one again."""
    job = Record("a")
    push = synced(job)
    push.link.drain(1, Drain(spread=0.0), 101.0)
    push.link.advance(101.0)
    push.opened(2, Welcome(epoch="E1"), [], 101.5)

    push.garbled(1, NONSENSE, [job], 101.6)

    assert push.flush(101.6) == []


def test_a_liar_is_dropped() -> None:
    """Three doubts that push does not dispel end its connection."""
    push = synced(Record("a"))
    for number in range(3):
        push.doubts.raise_on(f"job-{number}", 2, 101.0)

    assert push.next_deadline() == 103.0
    assert push.drop_liar(102.9) is None
    dropped = push.drop_liar(103.0)

    assert dropped is not None
    assert push.link.phase is Phase.BACKOFF
    assert isinstance(push.link.last_error, ConnectionLost)


def test_a_new_connection_is_trusted() -> None:
    """Doubts about one connection are none about the next."""
    push = synced(Record("a"))
    for number in range(3):
        push.doubts.raise_on(f"job-{number}", 2, 101.0)
    push.link.lost(1, ConnectionLost("cut"), 101.5)
    push.lost()
    push.link.advance(103.0)
    push.opened(2, Welcome(epoch="E1"), [], 103.0)

    assert push.drop_liar(110.0) is None
    assert push.link.phase is Phase.LIVE


def test_a_successor_is_trusted() -> None:
    """Doubts about the connection that leaves are none about its successor."""
    push = synced(Record("a"))
    for number in range(3):
        push.doubts.raise_on(f"job-{number}", 2, 101.0)
    push.link.drain(1, Drain(spread=0.0), 101.0)
    push.link.advance(101.0)

    push.opened(2, Welcome(epoch="E1"), [], 102.0)

    assert push.drop_liar(110.0) is None


def test_letting_the_channel_go() -> None:
    """Without a job nothing is told and nothing doubted."""
    push = synced(Record("a"))
    push.follow(Record("b"))
    push.doubts.raise_on("a", 2, 101.0)

    push.forget_all()

    assert push.flush(101.0) == []
    assert not push.doubts


def test_a_successor_that_fails_leaves_the_old_connection_in_use() -> None:
    """The old connection's answers still count while its successor is dialed again."""
    job, late = Record("a"), Record("b")
    push = synced(job)
    push.follow(late)
    push.flush(101.0)
    push.link.drain(1, Drain(spread=0.0), 101.0)
    push.link.advance(101.0)
    assert push.link.actions[-1] == Dial(2)

    push.link.lost(2, ConnectionLost("no"), 101.5)
    push.lost()

    assert push.synced(1, Synced(2), 101.6) == [late]
    assert push.covers(late)
