"""Lives of jobs: pure, so no loop and no socket."""

import itertools
import statistics
from random import Random
from typing import Any

import pytest

from simulator.jobs import Failure, JobSpec, Life, Pace, ScriptedStep, parse_delay, timeline

DELAYS = ["0", "0.3", "1", "5", "60", "3:10", "lognormal:300,0.5", "exponential:5", "normal:9,3"]


def spec(**fields: Any) -> JobSpec:
    """Return a specification with these fields."""
    return JobSpec(**({"job_id": "job-1", "seed": "s"} | fields))


@pytest.mark.parametrize("delay", DELAYS)
@pytest.mark.parametrize("seed", ["a", "b", "c"])
def test_versions_are_dense_and_in_time(delay: str, seed: str) -> None:
    """Versions count 1, 2, 3 ... and none is due before the one before it."""
    steps = timeline(spec(delay=delay, seed=seed))

    assert [step.version for step in steps] == list(range(1, len(steps) + 1))
    assert all(one.offset <= two.offset for one, two in itertools.pairwise(steps))


@pytest.mark.parametrize("delay", DELAYS)
def test_life_goes_from_pending_over_running_to_one_end(delay: str) -> None:
    """A life has one pending step at 0, then running ones, and its last step alone is final."""
    first, *middle, last = timeline(spec(delay=delay))

    assert (first.state, first.offset) == ("pending", 0.0)
    assert {step.state for step in middle} == {"running"}
    assert [step.is_final for step in (first, *middle, last)] == [False] * (len(middle) + 1) + [
        True
    ]
    assert (last.state, last.progress, last.eta) == ("completed", 1.0, 0.0)
    assert last.result_url == "https://videos.example/job-1.mp4"


@pytest.mark.parametrize("delay", ["2", "5", "60", "3600"])
def test_progress_is_told_often_but_not_too_often(delay: str) -> None:
    """Progress rises in steps that are never closer than the pace allows, about 20 of them."""
    running = [step for step in timeline(spec(delay=delay)) if step.state == "running"]

    gaps = [two.offset - one.offset for one, two in itertools.pairwise(running)]
    assert min(gaps) >= 0.25 - 1e-9
    assert len(running) <= 21
    assert len(running) >= min(18, float(delay) / 0.25 / 2)
    progress = [step.progress or 0.0 for step in running]
    assert progress == sorted(progress)


def test_pace_sets_the_number_of_updates() -> None:
    """Fewer updates can be asked for, down to none."""
    assert len(timeline(spec(delay="60"), Pace(updates=5))) == 6
    assert len(timeline(spec(delay="60"), Pace(updates=0))) == 3
    assert len(timeline(spec(delay="60"), Pace(updates=600, min_interval=0.1))) == 592


def test_eta_is_truthful() -> None:
    """At every step the estimate is the time that is really left."""
    steps = timeline(spec(delay="3:10"))

    assert all(
        step.eta == pytest.approx(steps[-1].offset - step.offset, abs=1e-3) for step in steps
    )


def test_life_follows_from_its_specification() -> None:
    """The same specification gives the same life, another seed another one."""
    assert timeline(spec(delay="3:10")) == timeline(spec(delay="3:10"))
    assert timeline(spec(delay="3:10")) != timeline(spec(delay="3:10", seed="t"))


def test_single_steps_agree_with_the_whole() -> None:
    """A step asked for by its version is the step of the timeline, and due when it says."""
    life = Life(spec(delay="3:10"))

    for step in timeline(spec(delay="3:10")):
        assert life.step(step.version) == step
        assert life.due(step.version) == step.offset
    assert life.due(life.last + 1) is None
    assert life.due(0) is None
    with pytest.raises(ValueError, match="versions 1 to"):
        life.step(life.last + 1)


def test_speed_shortens_a_life() -> None:
    """A job at ten times the speed lives a tenth as long, and its estimates say so."""
    fast, slow = Life(spec(delay="60", speed=10.0)), Life(spec(delay="60"))

    assert fast.ends_at == slow.ends_at / 10
    assert fast.step(1).eta == 6.0


def test_error_probability_is_kept() -> None:
    """About the given part of many lives ends in an error that says why."""
    ends = [timeline(spec(error_probability=0.3, seed=str(n)))[-1] for n in range(1000)]

    errors = [end for end in ends if end.state == "error"]
    assert 250 < len(errors) < 350
    assert all(end.error is not None and end.error.message for end in errors)
    assert {end.state for end in ends} == {"error", "completed"}


def test_script_is_followed() -> None:
    """A scripted life has just the steps of its script, at their times."""
    script = (
        ScriptedStep(at=0, state="pending"),
        ScriptedStep(at=1, state="running", progress=0.5, estimated_time_remaining=7.0),
        ScriptedStep(at=3, state="error", error=Failure("no_audio", "No audio.")),
    )
    steps = timeline(spec(script=script, speed=2.0))

    assert [(step.offset, step.state) for step in steps] == [
        (0, "pending"),
        (0.5, "running"),
        (1.5, "error"),
    ]
    assert (steps[1].progress, steps[1].eta) == (0.5, 7.0)
    assert steps[2].error == Failure("no_audio", "No audio.")


def test_script_ends_are_filled_in() -> None:
    """A scripted end without an error or a URL gets one."""
    [failed] = timeline(spec(script=(ScriptedStep(at=0, state="error"),)))
    [done] = timeline(spec(script=(ScriptedStep(at=0, state="completed"),)))

    assert failed.error is not None
    assert done.result_url == "https://videos.example/job-1.mp4"


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ([(1.0, "pending"), (0.0, "running")], "in the order of their times"),
        ([(0.0, "completed"), (1.0, "running")], "Only the last step"),
    ],
)
def test_impossible_script_is_refused(steps: list[tuple[float, str]], message: str) -> None:
    """A script that goes back in time, or on after its end, is refused with the reason."""
    script = tuple(ScriptedStep(at=at, state=state) for at, state in steps)
    with pytest.raises(ValueError, match=message):
        Life(spec(script=script))


@pytest.mark.parametrize(
    ("text", "median", "tolerance"),
    [
        ("5", 5.0, 1e-9),
        (" 2.5 ", 2.5, 1e-9),
        ("3:10", 6.5, 0.5),
        ("uniform:3,10", 6.5, 0.5),
        ("normal:60,10", 60.0, 2.0),
        ("lognormal:300,0.5", 300.0, 30.0),
        ("exponential:5", 3.47, 0.5),
        ("exponential:0", 0.0, 1e-9),
    ],
)
def test_delay_is_drawn_as_it_says(text: str, median: float, tolerance: float) -> None:
    """The median of many draws is that of the distribution."""
    draw = parse_delay(text)
    random = Random(1)

    drawn = [draw(random) for _ in range(2000)]

    assert statistics.median(drawn) == pytest.approx(median, abs=tolerance)
    assert min(drawn) >= 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is no number of seconds"),
        ("soon", "write a number of seconds"),
        ("nan", "write a number of seconds"),
        ("3:", "is no number of seconds"),
        ("10:3", "lower end"),
        ("-1", "not between 0 and"),
        ("1e99", "not between 0 and"),
        ("normal:1", "takes 2 number"),
        ("exponential", "takes 1 number"),
        ("uniform:a,b", "'a' is no number"),
        ("lognormal:300,nan", "not between 0 and"),
    ],
)
def test_bad_delay_is_refused_with_what_to_write(text: str, message: str) -> None:
    """A text that is no delay is refused, and the error quotes it and says what is wrong."""
    with pytest.raises(ValueError, match=message) as caught:
        parse_delay(text)
    assert repr(text) in str(caught.value)
