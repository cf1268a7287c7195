"""The values that applications see."""

import pickle

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vtrans_hybrid.models import Job, JobStatus, Position, State, check_job_id, state_of


@pytest.mark.parametrize(
    ("state", "rank", "is_final"),
    [
        (State.PENDING, 0, False),
        (State.RUNNING, 1, False),
        (State.COMPLETED, 2, True),
        (State.ERROR, 2, True),
        (State.CANCELED, 2, True),
        (State("transcoding"), 1, False),
        (State("COMPLETED"), 1, False),
        (State(""), 1, False),
    ],
)
def test_states(state: State, rank: int, is_final: bool) -> None:
    """Known states have their place; a word that a server invents is data and never final."""
    assert state.rank == rank
    assert state.is_final is is_final


@pytest.mark.parametrize(
    ("word", "state"),
    [
        ("completed", "completed"),
        (" Success ", "completed"),
        ("SUCCEEDED", "completed"),
        ("done", "completed"),
        ("failed", "error"),
        ("failure", "error"),
        ("cancelled", "canceled"),
        ("queued", "pending"),
        ("waiting", "pending"),
        ("processing", "running"),
        ("in_progress", "running"),
        ("dubbing", "dubbing"),
    ],
)
def test_words_of_other_backends(word: str, state: str) -> None:
    """Other backends' words mean our states; a word that nobody knows stays what it is."""
    assert state_of(word) == state


def test_invented_states_are_like_strings() -> None:
    """An invented word compares, hashes, prints and pickles like one of ours, and is not kept."""
    word = State("transcoding")

    assert word == "transcoding"
    assert str(word) == "transcoding"
    assert {word: 1}["transcoding"] == 1
    assert "transcoding" in repr(word)
    assert pickle.loads(pickle.dumps(word)) == word
    assert len(State) == 5


def test_a_state_is_a_word() -> None:
    """What is no string is no state."""
    with pytest.raises(ValueError, match="5 is not a valid State"):
        State(5)


def test_status_is_decoded_from_the_wire() -> None:
    """A status document becomes a JobStatus in one step, unknown fields ignored."""
    document = b'{"job_id":"a","state":"x","result":"x","version":2,"epoch":"E","title":"T"}'

    status = msgspec.json.decode(document, type=JobStatus)

    assert status.position == Position("E", 2)
    assert status.state == "x"
    assert not status.is_final
    assert not status.ok


@pytest.mark.parametrize(
    ("state", "is_final", "ok"),
    [("completed", True, True), ("error", True, False), ("canceled", True, False)],
)
def test_final_statuses(state: str, is_final: bool, ok: bool) -> None:
    """Only a completed job is ok."""
    status = JobStatus(job_id="a", state=State(state))

    assert (status.is_final, status.ok) == (is_final, ok)


def test_positions_ascend() -> None:
    """Within an epoch versions order positions; a newer epoch comes after any version."""
    assert Position("E1", 2) < Position("E1", 10) < Position("E2", 1)


def test_a_job_prints_as_its_id() -> None:
    """A job can be put into a text as it is."""
    assert str(Job(job_id="job-1")) == "job-1"


def test_a_job_is_its_id() -> None:
    """Jobs are equal, and one in a set, if their id is the same, whatever else is known of them."""
    status = JobStatus(job_id="job-1", state=State.PENDING, raw={"id": "job-1"})
    ordered = Job(job_id="job-1", language="Spanish", status=status)

    assert ordered == Job(job_id="job-1")
    assert {ordered, Job(job_id="job-1"), Job(job_id="job-2")} == {ordered, Job(job_id="job-2")}
    assert ordered != Job(job_id="job-2", language="Spanish", status=status)
    assert ordered != "job-1"


@pytest.mark.parametrize("job_id", ["a", "0", "job-1", "A.b_c:d-e", "x" * 128])
def test_job_ids(job_id: str) -> None:
    """A proper id is returned as it is."""
    assert check_job_id(job_id) == job_id


@pytest.mark.parametrize(
    "job_id",
    ["", "-a", ".a", "a/b", "../a", "a b", "a\r\nb", "a\n", "ä", "a?b", "a#b", "a%2f", "x" * 129],
)
def test_bad_job_ids(job_id: str) -> None:
    """What could lead a path astray is refused, and the message says what is allowed."""
    with pytest.raises(ValueError, match="letters, digits"):
        check_job_id(job_id)


def test_a_job_id_is_a_string() -> None:
    """Another type is misuse."""
    with pytest.raises(TypeError, match="not int"):
        check_job_id(5)  # type: ignore[arg-type]


@given(st.text(max_size=200))
def test_no_id_leaves_its_segment(job_id: str) -> None:
    """Whatever passes the check is one segment of a path, and needs no quoting."""
    try:
        check_job_id(job_id)
    except ValueError:
        return
    assert job_id.isascii()
    assert job_id not in {".", ".."}
    assert not set(job_id) & set("/\\?#% \r\n\t")
