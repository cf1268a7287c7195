"""What HeyGen's face remembers, and that it forgets."""

import pytest

from simulator.envelope import Refused
from simulator.heygen import notebook
from simulator.heygen.notebook import Notebook
from tests.simulator.backend import ManualTime

DAY = 24 * 3600.0


def test_repeated_orders_are_forgotten_after_a_day() -> None:
    """A key brings its answer for a day, and conflicts with another order; then it is new."""
    time = ManualTime()
    book = Notebook(time)
    book.keep("owner", "key", b"digest", 200, b"body")
    time.now = DAY - 1
    assert book.replay("owner", "key", b"digest") == (b"digest", 200, b"body", DAY)
    assert book.replay("other", "key", b"digest") is None
    with pytest.raises(Refused, match="another order"):
        book.replay("owner", "key", b"other")
    time.now = DAY
    assert book.replay("owner", "key", b"other") is None


def test_batches_are_forgotten_after_two_days() -> None:
    """A batch belongs to its owner, or to everybody, for as long as its jobs may be known."""
    time = ManualTime()
    book = Notebook(time)
    for batch_id, owner in (("one", "owner"), ("two", None)):
        book.add_batch(batch_id, ["job"], owner=owner, title=None, created_at=0)
    time.now = 2 * DAY - 1
    found = [book.batch(batch_id, "other") is not None for batch_id in ("one", "two", "three")]
    assert found == [False, True, False]
    time.now = 2 * DAY
    assert book.batch("one", "owner") is None


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest answers and batches go where there are too many."""
    monkeypatch.setattr(notebook, "_MOST", 3)
    book = Notebook(ManualTime())
    for number in range(5):
        book.keep(None, str(number), b"", 200, b"")
        book.add_batch(str(number), [], owner=None, title=None, created_at=0)
    names = [str(number) for number in range(5)]
    assert [book.replay(None, name, b"") is None for name in names] == [True] * 2 + [False] * 3
    assert [book.batch(name, None) is None for name in names] == [True] * 2 + [False] * 3


def test_remarks_go_with_their_jobs() -> None:
    """Once there are many, those on jobs that are not known any more are forgotten."""
    book = Notebook(ManualTime())
    for number in range(1000):
        book.tidy(lambda job_id: False)
        book.retitle(f"job-{number}", "New")
    book.delete("job-5")
    book.tidy(lambda job_id: job_id in ("job-5", "job-7"))
    assert [book.title(f"job-{number}") for number in (5, 6, 7)] == ["New", None, "New"]
    assert book.is_deleted("job-5")


def test_open_translations_are_counted_until_they_end() -> None:
    """Each owner has his own, and one that has ended is not asked for again."""
    book = Notebook(ManualTime())
    book.watch("owner", ["a", "b"])
    assert book.open("owner", lambda job_id: job_id == "b") == ["b"]
    assert book.open("owner", lambda job_id: True) == ["b"]
    assert book.open("other", lambda job_id: True) == []


def test_owners_who_do_not_come_back_are_forgotten() -> None:
    """Of those whose jobs are not known any more nothing is kept, however many there were."""
    book = Notebook(ManualTime())
    for number in range(3000):
        book.watch(f"owner-{number}", [f"job-{number}"])
        book.open(f"nobody-{number}", lambda job_id: True)
        book.tidy(lambda job_id: job_id == "job-7")
    assert len(book._open) < 1000
    assert book.open("owner-7", lambda job_id: True) == ["job-7"]
