"""The line of due reads: who is read together, who alone, and in which order."""

from vtrans_hybrid.line import Line
from vtrans_hybrid.merge import Record, Watcher
from vtrans_hybrid.models import Source

NOW = 100.0


def line_of(*names: str) -> Line:
    """Make a line of due records; those in capitals are to be read alone."""
    line = Line(0.02)
    for name in names:
        if name.isupper():
            line.single_out(name, Source.WEBHOOK)
        line.join(Record(name, watchers=(Watcher(),), poll_at=NOW))
    return line


def batches(line: Line, most: int = 2) -> list[str]:
    """Take the line to its end; return the names in each batch."""
    taken = []
    line.trim(NOW)
    while line:
        records, _ = line.next_batch(most, 60_000, NOW)
        for record in records:
            record.in_flight = 1
        taken.append("".join(record.job_id for record in records))
        line.trim(NOW)
    return taken


def test_lanes_take_turns() -> None:
    """Neither a crowd of ends nor a crowd of jobs holds up the other."""
    assert batches(line_of(*"ABCDabcdef")) == ["A", "ab", "B", "cd", "C", "ef", "D"]


def test_who_is_singled_out_while_waiting_is_read_alone() -> None:
    """The place in line was taken before it was heard that a read alone is needed."""
    line = line_of(*"abcd")
    line.single_out("b", Source.WEBHOOK)

    assert batches(line) == ["ac", "b", "d"]


def test_when_all_are_singled_out_while_waiting() -> None:
    """Nobody is read together then."""
    line = line_of(*"ab")
    line.single_out("a", Source.POLL)
    line.single_out("b", Source.POLL)

    assert batches(line) == ["a", "b"]


def test_a_read_alone_knows_its_reason_once() -> None:
    """A webhook is the better reason, and the reason goes with the read."""
    line = line_of("A")
    line.single_out("A", Source.POLL)
    assert line.singled_out("A") is Source.WEBHOOK
    line.trim(NOW)

    [record], source = line.next_batch(10, 60_000, NOW)
    assert (record.job_id, source) == ("A", Source.WEBHOOK)
    assert line.singled_out("A") is None


def test_a_pardon_brings_a_job_back_among_the_others() -> None:
    """What nobody wants to know any more needs no read of its own."""
    line = Line(0.02)
    line.single_out("a", Source.POLL)
    line.pardon("a")
    line.pardon("never-there")
    for name in "ab":
        line.join(Record(name, watchers=(Watcher(),), poll_at=NOW))

    assert batches(line) == ["ab"]


def test_who_is_not_due_any_more_leaves() -> None:
    """Push may have come first, the last watcher may have left, or a read may be under way."""
    line = line_of(*"Aabc")
    for record, change in zip(
        [*line._alone, *line._together],
        [{"poll_at": 200.0}, {"watchers": ()}, {"in_flight": 7}],
        strict=False,
    ):
        for name, value in change.items():
            setattr(record, name, value)

    assert batches(line) == ["c"]


def test_clear() -> None:
    """A line that was cleared is empty, and nobody is singled out."""
    line = line_of(*"Aab")
    line.clear()

    assert not line
    assert line.singled_out("A") is None
