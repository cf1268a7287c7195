"""What the channel has been told, and whether it keeps its word."""

import math

import pytest

from vtrans_hybrid.merge import Record
from vtrans_hybrid.messages import Subscribe, Synced, Unsubscribe, Welcome, encode_message
from vtrans_hybrid.models import JobStatus, State
from vtrans_hybrid.subscriptions import Doubts, Subscriptions

WELCOME = Welcome(epoch="E1")


def record(job_id: str, version: int = 0, epoch: str = "E1", *, wants_all: bool = False) -> Record:
    """Make a record at a position."""
    made = Record(job_id, wants_all=wants_all)
    if version:
        made.status = JobStatus(job_id=job_id, state=State.RUNNING, version=version, epoch=epoch)
    return made


def records(count: int) -> list[Record]:
    """Make many records."""
    return [record(f"job-{number:05}") for number in range(count)]


def flush(
    subscriptions: Subscriptions, welcome: Welcome = WELCOME, limit: int = 1000, may: bool = True
) -> list[Subscribe | Unsubscribe]:
    """Return what is to be sent."""
    return subscriptions.flush(welcome, limit, may_subscribe=may)


def started(*jobs: Record) -> Subscriptions:
    """Return subscriptions on a new connection."""
    made = Subscriptions()
    made.start(1, jobs)
    return made


def test_a_subscribe_names_the_cursor() -> None:
    """What is known of the server's history is the cursor; of another one it is nothing."""
    jobs = [record("a", 5), record("b", 7, "E0"), record("c")]

    messages = flush(started(*jobs))

    assert messages == [Subscribe(id=1, epoch="E1", mode="latest", jobs={"a": 5, "b": 0, "c": 0})]
    assert [job.subscribed for job in jobs] == [1, 1, 1]


def test_modes_do_not_mix() -> None:
    """One frame has one mode, and nobody is forgotten."""
    jobs = [record("a"), record("b", wants_all=True), record("c"), record("d", wants_all=True)]

    messages = flush(started(*jobs))

    assert [(m.mode, list(m.jobs)) for m in messages if isinstance(m, Subscribe)] == [
        ("latest", ["a", "c"]),
        ("all", ["b", "d"]),
    ]


@pytest.mark.parametrize(
    ("welcome", "limit", "most"),
    [
        (Welcome(epoch="E1"), 1000, 1000),
        (Welcome(epoch="E1", max_jobs=7), 1000, 7),
        (Welcome(epoch="E1", max_jobs=0), 1000, 1),
        (Welcome(epoch="E1", max_jobs=-3), 1000, 1),
        (Welcome(epoch="E1"), 3, 3),
        (Welcome(epoch="E1", max_frame=500), 1000, 12),
        (Welcome(epoch="E1", max_frame=1), 1000, 1),
    ],
)
def test_batches_keep_every_limit(welcome: Welcome, limit: int, most: int) -> None:
    """A frame keeps to the server's number of jobs and bytes, and to what was learned."""
    subscriptions = started(*records(1500))

    messages = flush(subscriptions, welcome, limit)

    assert len(messages[0].jobs) == most
    for message in messages:
        assert len(message.jobs) <= most
        assert len(message.jobs) == 1 or len(encode_message(message)) <= welcome.max_frame


def test_a_window_of_batches() -> None:
    """Four batches are on their way at once; each answer lets the next one go."""
    subscriptions = started(*records(60))
    sent = []

    messages = flush(subscriptions, limit=10)
    assert len(messages) == 4
    assert flush(subscriptions, limit=10) == []
    while messages:
        message = messages.pop(0)
        assert isinstance(message, Subscribe)
        sent.append(message.id)
        assert len(subscriptions.synced(Synced(message.id))) == 10
        messages += flush(subscriptions, limit=10)

    assert sent == [1, 2, 3, 4, 5, 6]
    assert not subscriptions.has_mail
    assert subscriptions.oldest == 0


def test_the_oldest_batch_is_known() -> None:
    """The deadline of a sync is that of the batch that has waited longest."""
    subscriptions = started(*records(30))
    flush(subscriptions, limit=10)

    assert subscriptions.oldest == 1
    subscriptions.synced(Synced(2))
    assert subscriptions.oldest == 1
    subscriptions.synced(Synced(1))
    assert subscriptions.oldest == 3


def test_answers_to_nothing() -> None:
    """An answer that nobody waits for is about no job."""
    subscriptions = started(*records(3))
    flush(subscriptions)

    assert subscriptions.synced(Synced(99)) == []
    assert subscriptions.refused(99) == []
    assert subscriptions.refused(None) == []
    assert len(subscriptions.synced(Synced(1))) == 3
    assert subscriptions.synced(Synced(1)) == []


def test_caught_up() -> None:
    """It is caught up when each job of the start was answered, whatever came after."""
    subscriptions = started(*records(20))
    assert not subscriptions.is_caught_up
    flush(subscriptions, limit=10)
    subscriptions.add(record("late"))
    subscriptions.synced(Synced(1))
    assert not subscriptions.is_caught_up

    subscriptions.refused(2)

    assert subscriptions.is_caught_up
    assert started().is_caught_up


def test_caught_up_without_those_who_left() -> None:
    """A job that nobody watches any more is not waited for."""
    jobs = records(3)
    subscriptions = started(*jobs)

    for job in jobs:
        subscriptions.discard(job)
    flush(subscriptions)

    assert subscriptions.is_caught_up


def test_caught_up_with_both_modes() -> None:
    """Batches of both modes are waited for."""
    jobs = [record("a"), record("b", wants_all=True), record("c"), record("d", wants_all=True)]
    subscriptions = started(*jobs)
    flush(subscriptions)

    subscriptions.synced(Synced(1))
    assert not subscriptions.is_caught_up
    subscriptions.synced(Synced(2))
    assert subscriptions.is_caught_up


def test_a_job_is_asked_for_once() -> None:
    """However often a job is added before a flush, it is subscribed once."""
    job = record("a")
    subscriptions = started()
    for _ in range(3):
        subscriptions.add(job)

    [message] = flush(subscriptions)

    assert list(message.jobs) == ["a"]
    assert not subscriptions.is_waiting


def test_a_line_that_does_not_move_does_not_grow() -> None:
    """A job that is added again and again while nothing may leave stands in line once."""
    job = record("a")
    subscriptions = started(*records(10))
    flush(subscriptions, may=False)

    for _ in range(1000):
        subscriptions.add(job)

    assert len(subscriptions._line) == 11


def test_a_job_may_be_asked_for_again() -> None:
    """A subscribe replaces cursor and mode, so it can be sent again."""
    job = record("a")
    subscriptions = started(job)
    flush(subscriptions)
    job.wants_all = True

    subscriptions.add(job)

    [message] = flush(subscriptions)
    assert isinstance(message, Subscribe)
    assert message.mode == "all"


def test_unsubscribes() -> None:
    """A job that was subscribed and goes is unsubscribed; one that was not is not."""
    known, unknown, final = record("a"), record("b"), record("c")
    subscriptions = started(known, final)
    flush(subscriptions)
    final.status = JobStatus(job_id="c", state=State.COMPLETED, version=1, epoch="E1")

    for job in (known, unknown, final):
        subscriptions.discard(job)

    assert flush(subscriptions) == [Unsubscribe(["a"])]


def test_going_before_it_was_asked_for() -> None:
    """A job that goes while it waits is never subscribed."""
    stays, goes = record("a"), record("b")
    subscriptions = started(stays, goes)

    subscriptions.discard(goes)

    assert [m for m in flush(subscriptions) if isinstance(m, Subscribe)] == [
        Subscribe(id=1, epoch="E1", mode="latest", jobs={"a": 0})
    ]


def test_going_while_the_subscribe_is_under_way() -> None:
    """A job that goes while its subscribe is unanswered is unsubscribed all the same."""
    job = record("a")
    subscriptions = started(job)
    flush(subscriptions)

    subscriptions.discard(job)

    assert flush(subscriptions) == [Unsubscribe(["a"])]


def test_going_and_coming_back() -> None:
    """Unsubscribes leave before subscribes, so that a job that comes back is subscribed."""
    before, after = record("a"), record("a")
    subscriptions = started(before)
    flush(subscriptions)

    subscriptions.discard(before)
    subscriptions.add(after)

    assert [type(message) for message in flush(subscriptions)] == [Unsubscribe, Subscribe]


def test_unsubscribes_keep_the_limits() -> None:
    """A thousand jobs that go at once go in frames that the server takes."""
    jobs = [record("x" * 100 + f"{number:05}") for number in range(1200)]
    subscriptions = started(*jobs)
    while flush(subscriptions):
        for batch in list(subscriptions._batches):
            subscriptions.synced(Synced(batch))
    for job in jobs:
        subscriptions.discard(job)

    messages = flush(subscriptions)

    assert [job for message in messages for job in message.jobs] == [job.job_id for job in jobs]
    for message in messages:
        assert len(encode_message(message)) <= WELCOME.max_frame
        assert len(message.jobs) <= WELCOME.max_jobs


def test_holding_subscribes_back() -> None:
    """While the server wants no subscribes, unsubscribes still leave."""
    stays, goes = record("a"), record("b")
    subscriptions = started(goes)
    flush(subscriptions)
    subscriptions.add(stays)
    subscriptions.discard(goes)

    assert flush(subscriptions, may=False) == [Unsubscribe(["b"])]
    assert subscriptions.is_waiting
    assert len(flush(subscriptions)) == 1


def test_a_new_connection_knows_nothing() -> None:
    """On a new connection everything is told anew, and answers of the old one are no answers."""
    job = record("a")
    subscriptions = started(job)
    flush(subscriptions)
    subscriptions.discard(record("b"))

    subscriptions.start(2, [job])

    assert subscriptions.synced(Synced(1)) == []
    [message] = flush(subscriptions)
    assert isinstance(message, Subscribe)
    assert message.id == 2
    assert job.subscribed == 2


def test_without_a_connection_nothing_is_told() -> None:
    """After `stop` nothing waits."""
    job = record("a")
    subscriptions = started(job)

    subscriptions.stop()
    subscriptions.add(job)
    subscriptions.discard(job)

    assert not subscriptions.has_mail
    assert flush(subscriptions) == []


def test_excluded_jobs() -> None:
    """A job that the server does not push is not subscribed, and may be asked for again."""
    job = record("a")
    subscriptions = started(job)
    flush(subscriptions)
    job.synced = 1

    assert subscriptions.excluded(job)
    assert (job.subscribed, job.synced) == (0, 0)
    subscriptions.add(job)
    assert len(flush(subscriptions)) == 1
    assert not subscriptions.excluded(job)
    subscriptions.discard(job)
    assert subscriptions.excluded(job), "of a job that was given up nothing is remembered"
    subscriptions.start(2, [job])
    assert subscriptions.excluded(job)


def test_a_job_of_which_nothing_came() -> None:
    """A job whose first status went astray stays subscribed; only the first time is special."""
    job = record("a")
    subscriptions = started(job)
    flush(subscriptions)

    assert subscriptions.astray(job)
    assert (job.subscribed, job.synced) == (1, -1)
    subscriptions.add(job)
    assert len(flush(subscriptions)) == 1
    assert job.synced == 0
    assert not subscriptions.astray(job)


# Doubts.


def test_push_may_take_two_seconds() -> None:
    """News that a poll found and push brings within two seconds leaves no doubt."""
    doubts = Doubts()
    for number in range(10):
        doubts.raise_on("a", number + 1, 100.0 + number)
        assert doubts.next_deadline() == 102.0 + number
        doubts.dispel("a", number + 1)
        assert not doubts.is_liar(102.0 + number)
    assert doubts.next_deadline() == math.inf


def test_three_lies() -> None:
    """Three times push did not bring what polls found: it is a liar, and trusted anew."""
    doubts = Doubts()
    for job_id in ("a", "b", "c"):
        doubts.raise_on(job_id, 2, 100.0)

    assert not doubts.is_liar(101.9)
    assert doubts.is_liar(102.0)
    assert not doubts.is_liar(102.0)
    assert not doubts


def test_lies_add_up() -> None:
    """Lies of one job at different times count, too."""
    doubts = Doubts()

    for number in range(3):
        doubts.raise_on("a", number, 100.0 * number)
        assert doubts.is_liar(100.0 * number + 2) is (number == 2)


def test_a_later_version_dispels() -> None:
    """Push may coalesce: a later version brings the earlier one along, an earlier one does not."""
    doubts = Doubts()
    doubts.raise_on("a", 5, 100.0)

    doubts.dispel("a", 4)
    doubts.dispel("b", 9)
    assert doubts
    doubts.dispel("a", 6)
    assert not doubts


def test_a_second_doubt_does_not_excuse_the_first() -> None:
    """News after news that push does not bring: the first doubt keeps its time."""
    doubts = Doubts()
    doubts.raise_on("a", 5, 100.0)
    doubts.raise_on("a", 6, 101.5)

    assert doubts.next_deadline() == 102.0


def test_what_is_unsubscribed_is_not_doubted() -> None:
    """Push need not bring what it was told not to."""
    doubts = Doubts()
    doubts.raise_on("a", 5, 100.0)

    doubts.discard("a")
    doubts.discard("b")

    assert not doubts
