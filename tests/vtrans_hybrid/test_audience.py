"""Watches: what each still waits for, and their deadlines."""

import math
import sys

import pytest

from vtrans_hybrid.audience import Audience, Finish
from vtrans_hybrid.merge import Watcher


def test_a_watch_ends_with_its_last_job() -> None:
    """A watcher is told the end once, when nothing is left to wait for."""
    audience, watcher = Audience(), Watcher()
    audience.add(watcher, ["a", "b"], math.inf)

    assert audience.ended([watcher]) == []
    assert audience.ended([watcher]) == [Finish(watcher)]
    assert audience.remove(watcher) is None


def test_a_watch_of_nothing_ends_at_once() -> None:
    """Waiting for no job is waiting for nothing."""
    audience, watcher = Audience(), Watcher()
    watch = audience.add(watcher, [], math.inf)

    assert audience.finish_if_done(watch) == [Finish(watcher)]
    assert audience.finish_if_done(watch) == []


def test_a_job_named_twice_is_one() -> None:
    """Asking twice for one job does not wait for it twice; the order stays that of the asking."""
    audience, watcher = Audience(), Watcher()
    watch = audience.add(watcher, ["b", "a", "b"], math.inf)

    assert tuple(watch.jobs) == ("b", "a")
    audience.ended([watcher])
    assert audience.ended([watcher]) == [Finish(watcher)]


def test_a_watcher_watches_once() -> None:
    """A second watch of the same watcher is misuse: it would take the place of the first."""
    audience, watcher = Audience(), Watcher()
    audience.add(watcher, ["a"], math.inf)

    with pytest.raises(ValueError, match="one watch"):
        audience.add(watcher, ["b"], math.inf)


def test_deadlines() -> None:
    """Deadlines come in order, each once, and not for a watch that is over."""
    audience = Audience()
    early, late, over, never = (Watcher() for _ in range(4))
    for watcher, deadline in ((late, 20.0), (early, 10.0), (over, 5.0), (never, math.inf)):
        audience.add(watcher, ["a"], deadline)
    audience.remove(over)

    assert audience.next_deadline() == 10.0
    assert audience.expired(9.9) == []
    assert [watch.watcher for watch in audience.expired(10.0)] == [early]
    assert audience.expired(10.0) == []
    assert [watch.watcher for watch in audience.expired(99.0)] == [late]
    assert audience.next_deadline() == math.inf


def test_deadlines_of_watches_that_are_over_are_forgotten() -> None:
    """A million short watches with an hour of timeout each leave nothing behind."""
    audience, last = Audience(), Watcher()
    audience.add(last, ["a"], 4000.0)
    seen = sys.getrefcount(last)

    for number in range(10_000):
        watcher = Watcher()
        audience.add(watcher, ["a"], 3600.0 + number)
        audience.remove(watcher)

    assert len(audience._deadlines) < 200
    assert audience.next_deadline() == 4000.0
    assert sys.getrefcount(last) == seen


@pytest.mark.parametrize("names_all", [True, False])
def test_a_watcher_follows_in_one_way(names_all: bool) -> None:
    """It names its jobs all at once or joins them one by one; another use is a bug of ours."""
    audience, watcher = Audience(), Watcher()
    if names_all:
        audience.add(watcher, ["job-1"], math.inf)
        with pytest.raises(ValueError, match="one by one"):
            audience.join(watcher, 1)
    else:
        audience.join(watcher, 1)
        with pytest.raises(ValueError, match="one watch"):
            audience.add(watcher, ["job-1"], math.inf)
