"""The outbox of a reader: pure, so no loop and no socket."""

import itertools
from typing import Any, get_args

from hypothesis import given
from hypothesis import strategies as st

from simulator.histories import Histories, Newer
from simulator.messages import Mode, Synced
from simulator.outbox import MAX_EVENTS, MAX_EVENTS_BYTES, Outbox
from tests.simulator.backend import entry


class Board:
    """Histories, and an outbox that reads them."""

    def __init__(self) -> None:
        self.histories = Histories()
        self.finals: list[str] = []
        self.outbox = Outbox(self.histories.newer, self.finals.append)

    def happen(self, job_id: str, *states: str) -> None:
        """Give a job new versions and mark it."""
        for state in states:
            latest = self.histories.latest(job_id)
            version = latest.version + 1 if latest else 1
            self.histories.add(entry(job_id, version, state), now=0.0)
            self.outbox.mark(job_id)

    def frame(self) -> list[Newer]:
        """Take one frame of events."""
        batch = self.outbox.take()
        assert isinstance(batch, list)
        return batch

    def drain(self) -> list[tuple[str, int] | Synced]:
        """Take everything there is."""
        taken: list[tuple[str, int] | Synced] = []
        while (batch := self.outbox.take()) is not None:
            taken += [batch] if isinstance(batch, Synced) else positions(batch)
        return taken


def positions(events: list[Newer]) -> list[tuple[str, int]]:
    """Return the job and the version of each event."""
    return [(event.entry.job_id, event.entry.version) for event in events]


def test_new_subscription_gets_what_is_newer_then_synced() -> None:
    """A subscribe is answered by what is newer than its cursors, then by `synced`."""
    board = Board()
    board.happen("a", "pending", "running")
    board.happen("b", "pending")
    board.outbox.subscribe("a", 0, "all")
    board.outbox.subscribe("b", 1, "latest")
    board.outbox.sync(7, {"c": "not_found"})

    assert board.outbox.syncs == 1
    assert board.drain() == [("a", 1), ("a", 2), Synced(id=7, errors={"c": "not_found"})]
    assert board.outbox.syncs == 0


def test_mode_latest_overtakes() -> None:
    """In mode `latest` versions that nobody took give way to the newest; in `all` none does."""
    board = Board()
    board.outbox.subscribe("a", 0, "latest")
    board.outbox.subscribe("b", 0, "all")
    for job_id in ("a", "b"):
        board.happen(job_id, "pending", "running", "running")

    assert board.drain() == [("a", 3), ("b", 1), ("b", 2), ("b", 3)]


def test_subscribing_again_begins_anew() -> None:
    """The newest cursor and mode of a job are those that count."""
    board = Board()
    board.happen("a", "pending", "running", "running")
    board.outbox.subscribe("a", 0, "all")
    assert board.drain() == [("a", 1), ("a", 2), ("a", 3)]

    board.outbox.subscribe("a", 1, "latest")

    assert board.drain() == [("a", 3)]
    assert board.outbox.jobs == ["a"]


def test_final_ends_the_subscription() -> None:
    """With its final event a job is unsubscribed, and whoever needs to know is told."""
    board = Board()
    board.outbox.subscribe("a", 0, "all")
    board.happen("a", "pending", "completed")

    assert board.drain() == [("a", 1), ("a", 2)]
    assert board.finals == ["a"]
    assert len(board.outbox) == 0


def test_unsubscribed_job_is_silent() -> None:
    """What was marked before is not taken after an unsubscribe."""
    board = Board()
    board.outbox.subscribe("a", 0, "all")
    board.happen("a", "pending")

    assert board.outbox.unsubscribe("a")
    assert not board.outbox.unsubscribe("a")
    board.happen("a", "running")
    assert board.drain() == []


def test_frame_is_bounded_by_number() -> None:
    """A frame carries 64 events, and the next one goes on with the same job."""
    board = Board()
    board.happen("a", "pending", *["running"] * 50)
    board.happen("b", "pending", *["running"] * 50)
    for job_id in ("a", "b"):
        board.outbox.subscribe(job_id, 0, "all")

    first, second = board.frame(), board.frame()

    assert (len(first), len(second)) == (MAX_EVENTS, 102 - MAX_EVENTS)
    assert positions(first + second) == [
        (job_id, version) for job_id in "ab" for version in range(1, 52)
    ]
    assert board.outbox.take() is None


def test_frame_is_bounded_by_size() -> None:
    """A frame is closed with the event that makes it exceed about 32 KiB."""
    board = Board()
    for number in range(8):
        job_id = f"{number}" * 6000
        board.happen(job_id, "pending")
        board.outbox.subscribe(job_id, 0, "latest")

    first = board.frame()

    sizes = [len(event.encoded) for event in first]
    assert sum(sizes[:-1]) < MAX_EVENTS_BYTES <= sum(sizes)
    assert len(board.drain()) == 8 - len(first)


def test_muted_outbox_holds_events_alone() -> None:
    """While muted events are held back, `synced` is not; what was held comes in its newest form."""
    board = Board()
    board.outbox.is_muted = True
    board.outbox.subscribe("a", 0, "latest")
    board.outbox.sync(1, {})
    board.happen("a", "pending")

    assert board.drain() == [Synced(id=1)]
    board.happen("a", "running")
    assert board.drain() == []

    board.outbox.unmute()

    assert board.drain() == [("a", 2)]


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("happen"), st.sampled_from("abc")),
            st.tuples(st.just("take"), st.just("")),
            st.tuples(st.just("mute"), st.booleans()),
        ),
        max_size=60,
    ),
    st.sampled_from(get_args(Mode)),
)
def test_every_history_is_told_in_order(steps: list[tuple[str, Any]], mode: Mode) -> None:
    """Whatever happens when, versions ascend, in mode `all` none is missing, and heads arrive."""
    board = Board()
    taken: list[tuple[str, int] | Synced] = []
    for job_id in "abc":
        board.outbox.subscribe(job_id, 0, mode)
    for verb, argument in steps:
        match verb:
            case "happen":
                board.happen(argument, "running")
            case "take":
                batch = board.outbox.take()
                taken += positions(batch) if isinstance(batch, list) else []
            case "mute" if argument:
                board.outbox.is_muted = True
            case "mute":
                board.outbox.unmute()
    board.outbox.unmute()
    taken += board.drain()

    for job_id in "abc":
        told = [one for one in taken if not isinstance(one, Synced)]
        got = [version for one, version in told if one == job_id]
        latest = board.histories.latest(job_id)
        assert got[-1:] == ([latest.version] if latest else [])
        assert all(one < two for one, two in itertools.pairwise(got))
        if mode == "all":
            assert got == list(range(1, len(got) + 1))
