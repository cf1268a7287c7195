"""The merge of histories: each row of the table at the top of merge.py, and its properties."""

import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vtrans_hybrid.errors import ProtocolError
from vtrans_hybrid.merge import Record, Verdict, Watcher, number, offer, predict
from vtrans_hybrid.models import Failure, JobStatus, Source, State


def status(version: int, epoch: str = "E1", state: str = "running", **options: object) -> JobStatus:
    """Make a status of job-1."""
    return JobStatus(
        job_id="job-1",
        state=State(state),
        version=version,
        epoch=epoch,
        **options,  # type: ignore[arg-type]
    )


def record(*statuses: JobStatus, wants_all: bool = False) -> Record:
    """Make a record that has taken these statuses."""
    made = Record("job-1")
    for each in statuses:
        assert offer(made, each, Source.PUSH, 1.0).is_applied
    made.wants_all = wants_all
    return made


FINAL = status(3, state="completed")


@pytest.mark.parametrize(
    ("known", "offered", "verdict"),
    [
        pytest.param([FINAL], status(4), Verdict.ABSORBED, id="final, newer version"),
        pytest.param([FINAL], status(1, "E2"), Verdict.ABSORBED, id="final, newer epoch"),
        pytest.param([FINAL], FINAL, Verdict.ABSORBED, id="final, the same"),
        pytest.param([FINAL], status(0), Verdict.ABSORBED, id="final, no version"),
        pytest.param([], status(0), Verdict.STALE, id="first, no version"),
        pytest.param([], status(-1), Verdict.STALE, id="first, version below 0"),
        pytest.param([status(3)], status(0, "E2"), Verdict.STALE, id="newer epoch, no version"),
        pytest.param([status(3)], status(9, "E0"), Verdict.STALE, id="older epoch"),
        pytest.param([status(3)], status(1, "E2"), Verdict.RESTARTED, id="newer epoch"),
        pytest.param([status(3)], status(3), Verdict.REPEATED, id="same version"),
        pytest.param(
            [status(3)], status(3, state="error"), Verdict.CONTRADICTED, id="same, other content"
        ),
        pytest.param(
            [status(3, estimated_time_remaining=9.0, result_url="a?sig=1")],
            status(3, estimated_time_remaining=8.0, result_url="a?sig=2"),
            Verdict.REPEATED,
            id="same version, estimate counts down, URL signed anew",
        ),
        pytest.param([status(3)], status(2, state="error"), Verdict.REPEATED, id="lower version"),
        pytest.param([status(3)], status(4), Verdict.NEWER, id="next version"),
        pytest.param([status(3)], status(9), Verdict.NEWER, id="jump in mode latest"),
        pytest.param([], status(1), Verdict.NEWER, id="first"),
        pytest.param([], status(7), Verdict.NEWER, id="first, late, in mode latest"),
    ],
)
def test_verdicts(known: list[JobStatus], offered: JobStatus, verdict: Verdict) -> None:
    """Each row of the table: what is known, what is offered, what becomes of it."""
    merged = record(*known)
    before = merged.status

    assert offer(merged, offered, Source.POLL, 2.0) is verdict

    assert verdict.is_applied is (verdict in {Verdict.NEWER, Verdict.RESTARTED})
    if verdict.is_applied:
        assert merged.status is not None
        assert merged.status.position == offered.position
        assert merged.applied_at == 2.0
    else:
        assert merged.status is before


@pytest.mark.parametrize(
    ("known", "offered", "verdict"),
    [
        ([status(3)], status(5), Verdict.HOLE),
        ([status(3)], status(5, gap=True), Verdict.NEWER),
        ([status(3)], status(4), Verdict.NEWER),
        ([], status(2), Verdict.HOLE),
        ([], status(2, gap=True), Verdict.NEWER),
        ([status(3)], status(5, "E2"), Verdict.RESTARTED),
    ],
)
def test_holes(known: list[JobStatus], offered: JobStatus, verdict: Verdict) -> None:
    """In mode all a jump is a hole, unless the server says that it keeps no more."""
    merged = record(*known, wants_all=True)

    assert offer(merged, offered, Source.PUSH, 2.0) is verdict
    assert merged.version == (offered.version if verdict.is_applied else record(*known).version)


@pytest.mark.parametrize(("version", "has_gap"), [(4, False), (5, True)])
def test_a_gap_is_one_where_something_is_missing(version: int, has_gap: bool) -> None:
    """A source that does not know what came meanwhile by another marks in vain."""
    merged = record(status(3))

    offer(merged, status(version, gap=True), Source.POLL, 2.0)

    assert merged.status is not None
    assert merged.status.gap is has_gap


def test_a_hole_is_refused_while_it_is_mended() -> None:
    """However many statuses lie behind a hole, none is delivered before it is mended."""
    merged = record(status(1), wants_all=True)
    merged.mends = 1

    for version in range(3, 50):
        assert offer(merged, status(version), Source.PUSH, 2.0) is Verdict.HOLE
    assert offer(merged, status(2), Source.PUSH, 3.0) is Verdict.NEWER

    assert not merged.is_torn
    assert merged.status is not None
    assert merged.status.skipped == 0


def test_patience_with_holes_ends() -> None:
    """A source that was asked three times and leaves the hole is taken at its word, and counted."""
    merged = record(status(1), wants_all=True)
    for _ in range(3):
        assert offer(merged, status(4), Source.PUSH, 2.0) is Verdict.HOLE
        merged.mends += 1
        merged.holes += 1

    assert offer(merged, status(4), Source.PUSH, 3.0) is Verdict.NEWER

    assert merged.status is not None
    assert merged.status.skipped == 2
    assert (merged.mends, merged.holes) == (0, 0)


@pytest.mark.parametrize(
    ("known", "offered", "skipped"),
    [
        ([], status(1), 0),
        ([], status(5), 4),
        ([status(1)], status(2), 0),
        ([status(1)], status(5), 3),
        ([status(1)], status(5, "E2"), None),
    ],
)
def test_skipped_is_counted(
    known: list[JobStatus], offered: JobStatus, skipped: int | None
) -> None:
    """`skipped` is ours to say; None where the history began anew and nobody can know."""
    merged = record(*known)

    offer(merged, msgspec.structs.replace(offered, skipped=77), Source.POLL, 2.0)

    assert merged.status is not None
    assert merged.status.skipped == skipped
    assert merged.status.source is Source.POLL


def test_equal_strings_are_shared() -> None:
    """A hundred thousand records do not keep a copy each of the epoch and the language."""
    one, other = record(), record()
    offer(one, status(1, "E" + "1" * 5, language="Span" + "ish".lower()), Source.PUSH, 1.0)
    for version in (1, 2):
        document = msgspec.json.encode(status(version, "E11111", language="Spanish"))
        offer(other, msgspec.json.decode(document, type=JobStatus), Source.PUSH, 1.0)

    assert one.status is not None
    assert other.status is not None
    assert other.status.job_id is other.job_id
    assert other.status.epoch is one.status.epoch
    assert other.status.language is one.status.language


positions = st.tuples(st.sampled_from(["E1", "E2", "E3"]), st.integers(0, 6))


@given(st.lists(positions, max_size=12), st.randoms())
def test_it_is_a_join(places: list[tuple[str, int]], chance: object) -> None:
    """Whatever the order and however often things arrive, the record ends the same."""
    offered = [
        status(version, epoch, "completed" if version == 6 and epoch == "E3" else "running")
        for epoch, version in places
    ]
    merged, again = record(), record()
    for each in offered:
        offer(merged, each, Source.PUSH, 1.0)
    shuffled = offered * 2
    chance.shuffle(shuffled)  # type: ignore[attr-defined]
    for each in shuffled:
        offer(again, each, Source.POLL, 1.0)

    real = [each.position for each in offered if each.version > 0]
    if not real:
        assert merged.status is again.status is None
        return
    assert merged.status is not None
    assert again.status is not None
    assert merged.status.position == again.status.position == max(real)


@given(st.lists(positions, max_size=12), st.booleans())
def test_replaying_changes_nothing(places: list[tuple[str, int]], wants_all: bool) -> None:
    """What was received once and comes again is never applied."""
    merged = record(wants_all=wants_all)
    taken = []
    for epoch, version in places:
        if offer(merged, status(version, epoch), Source.PUSH, 1.0).is_applied:
            taken.append(status(version, epoch))
        for old in taken:
            assert not offer(merged, old, Source.PUSH, 2.0).is_applied


# A backend without versions.


def test_observations_get_versions() -> None:
    """What a backend without versions says is numbered 1, 2, 3 as it changes."""
    merged = record()
    first = number(merged, status(0, "", "pending"), 1.0)
    assert first is not None
    assert offer(merged, first, Source.POLL, 2.0) is Verdict.NEWER
    second = number(merged, status(0, "", "running"), 2.0)

    assert (first.version, first.epoch) == (1, "")
    assert second is not None
    assert (second.version, second.epoch) == (2, "")


@pytest.mark.parametrize(
    ("offered", "started_at", "counts"),
    [
        pytest.param(status(0, "", "completed"), 5.0, True, id="news"),
        pytest.param(status(0, "", progress=0.5), 5.0, True, id="progress"),
        pytest.param(status(0, "", "completed"), 4.9, False, id="sent before the last applied"),
        pytest.param(status(0, ""), 6.0, False, id="nothing new"),
        pytest.param(
            status(0, "", estimated_time_remaining=3.0, result_url="a?sig=2"),
            6.0,
            False,
            id="estimate counts down, URL signed anew",
        ),
        pytest.param(status(0, "", language="Spanish"), 6.0, False, id="tells the language, too"),
        pytest.param(status(0, "", "pending"), 6.0, False, id="rank falls"),
        pytest.param(status(0, "", "dubbing"), 6.0, True, id="another word of the same rank"),
        pytest.param(status(0, "", error=Failure("x")), 6.0, True, id="other failure"),
    ],
)
def test_which_observations_count(offered: JobStatus, started_at: float, counts: bool) -> None:
    """An observation counts if it is newer, says something new and does not go backwards."""
    merged = Record("job-1")
    offer(merged, status(1, "", "running"), Source.POLL, 5.0)

    assert (number(merged, offered, started_at) is not None) is counts


@given(st.lists(st.tuples(st.sampled_from(["pending", "running", "completed"]), st.integers(0, 9))))
def test_numbered_histories_ascend(said: list[tuple[str, int]]) -> None:
    """However answers overtake each other, a job without versions never goes backwards."""
    merged, ranks = Record("job-1"), []
    for now, (word, age) in enumerate(said, start=10):
        numbered = number(merged, status(0, "", word), now - age)
        if numbered is not None and offer(merged, numbered, Source.POLL, now).is_applied:
            assert merged.status is not None
            assert merged.status.version == len(ranks) + 1
            ranks.append(merged.status.state.rank)
    assert ranks == sorted(ranks)


# The predicted end.


@pytest.mark.parametrize(
    ("estimates", "end_at", "is_steady"),
    [
        ([None], math.inf, False),
        ([10.0], 10.0, False),
        ([10.0, 9.0], 10.0, True),
        ([10.0, 9.05], 10.05, True),
        ([10.0, 9.5], 10.5, False),
        ([1000.0, 1003.0], 1004.0, True),
        ([10.0, 10.0], 11.0, False),
        ([10.0, None], math.inf, False),
        ([10.0, math.inf], math.inf, False),
        ([10.0, 1e308], math.inf, False),
        ([-500.0], 0.0, False),
    ],
)
def test_predictions(estimates: list[float | None], end_at: float, is_steady: bool) -> None:
    """Two estimates that predict the same end are steady; a frozen or negative one is not."""
    merged = Record("job-1")

    for now, eta in enumerate(estimates):
        predict(merged, eta, float(now))

    assert merged.end_at == pytest.approx(end_at)
    assert merged.is_eta_steady is is_steady


def test_watchers_are_told() -> None:
    """A watcher has to say what it does with what it is told."""
    watcher = Watcher()

    for call in (
        lambda: watcher.put(status(1)),
        lambda: watcher.fail(None, ProtocolError("x")),
        watcher.finish,
    ):
        with pytest.raises(NotImplementedError):
            call()
