"""The simulation in short: it finds nothing in the product, and it does find what is put there."""

import re
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest

from tests.promises import PROMISES
from tests.sim import corpus, workers
from tests.sim.__main__ import main
from tests.sim.broken import BrokenPromise
from tests.sim.knobs import KNOBS
from tests.sim.mutants import MUTANTS, Mutant
from tests.sim.play import collect, play
from tests.sim.schedule import Gust, Schedule, Visit, draw, from_line, to_line
from tests.sim.shrink import shrink
from tests.sim.world import World

SEEDS = 320
CHUNK = 80


def failures_of(schedules: list[Schedule]) -> list[str]:
    """Run schedules, and say of each that fails how to see it again."""
    return [
        f"{failure.promise}: {failure.text}\npython -m tests.sim --replay '{to_line(schedule)}'"
        for schedule, failure in workers.play_all(schedules)
    ]


@pytest.mark.parametrize("first", range(0, SEEDS, CHUNK))
def test_schedules(first: int) -> None:
    """Whatever faults come, S, L, R and E hold; `python -m tests.sim` runs as many as one likes."""
    assert failures_of([draw(seed) for seed in range(first, first + CHUNK)]) == []


def test_corpus() -> None:
    """What once failed does not fail again."""
    assert failures_of([entry.schedule for entry in corpus.read()]) == []


def test_every_fault_is_drawn() -> None:
    """No fault of the table is forgotten by the drawing."""
    drawn = {kind for seed in range(2000) for kind in draw(seed).kinds}
    assert drawn == set(KNOBS)


def test_a_schedule_survives_being_written_down() -> None:
    """A line of the corpus is the schedule, whatever a seed will stand for by then."""
    for seed in range(200):
        schedule = draw(seed)
        assert from_line(to_line(schedule)) == schedule
    with pytest.raises(ValueError, match="earthquake"):
        from_line('{"seed":1,"gusts":[{"kind":"earthquake","at":1,"lasts":1}]}')


def test_two_processes_do_the_same() -> None:
    """A seed means the same to the last byte, however objects hash."""
    assert workers.unequal_seeds(range(100, 104)) == []


@pytest.mark.parametrize(
    "name",
    [
        "ignores holes",
        "never subscribes again",
        "takes another job's progress",
        "takes another job's result",
    ],
)
def test_mutants_are_found(name: str) -> None:
    """A bug in the product is seen by its promise; `--mutants` does it with all of them."""
    mutant = MUTANTS[name]
    with mutant.applied() as reached:
        failures = (play(draw(seed)) for seed in range(100))
        found = any(failure and failure.promise in mutant.breaks for failure in failures)
        collect()
        assert reached()
    assert found


@pytest.mark.parametrize("mutant", ["leaks tasks", "leaks channels", None])
def test_a_leak_shows_behind_another_broken_promise(
    mutant: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever breaks first: the client is closed all the same, and what is left of it noted."""

    def break_first(world: World) -> None:
        raise BrokenPromise("S1", f"twice, after {world.now():.0f} s")

    monkeypatch.setattr(World, "_everybody_is_told", break_first)
    with MUTANTS[mutant].applied() if mutant else nullcontext():
        failures = [play(draw(seed)) for seed in range(12)]
        collect()
    broken = [failure for failure in failures if failure and failure.promise == "S1"]
    assert len(broken) > 5
    assert any(failure.leaks for failure in broken) is (mutant is not None)


def test_every_promise_has_a_mutant() -> None:
    """Of each judge something shows that it judges: a bug that it must be the first to see."""
    assert {promise for mutant in MUTANTS.values() for promise in mutant.breaks} == {*PROMISES}


def test_what_is_found_by_another_promise_is_not_found(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bug that shows in another way than it should proves nothing of the judge it is for."""
    keeps = replace(MUTANTS["keeps jobs for ever"], breaks=("E5",))
    monkeypatch.setattr("tests.sim.workers.prepare", lambda: None)
    monkeypatch.setattr("tests.sim.__main__.FOUND_WITHIN", 1)
    monkeypatch.setattr("tests.sim.workers.MUTANTS", {"keeps": keeps})
    monkeypatch.setattr("tests.sim.__main__.MUTANTS", {"keeps": keeps})
    assert main(["--mutants", "--jobs", "1"]) == 1
    told = capsys.readouterr().out
    assert re.search(
        r"^keeps .* NOT FOUND by E5, reached \d+ times; R2: jobs are kept", told, re.MULTILINE
    )
    assert "no mutant was found by S1, S2, " in told


def test_mutants_still_mean_something() -> None:
    """Each of them names something that exists, and changes it."""
    assert len(MUTANTS) >= 25
    for mutant in MUTANTS.values():
        with mutant.applied():
            pass


def test_a_mutant_without_its_place_is_loud() -> None:
    """A bug that can no longer be put in, or is none any more, does not count as found."""
    gone = Mutant("vtrans_hybrid.link:Link.levitate", lambda original: original)
    with pytest.raises(AttributeError, match="levitate"), gone.applied():
        pass
    same = Mutant("vtrans_hybrid.link:_ANSWER_TIMEOUT", lambda original: original)
    with pytest.raises(ValueError, match="changes nothing"), same.applied():
        pass


def test_shrinking() -> None:
    """What does not matter goes, what does stays."""
    stall = Gust(kind="stall", at=1.234, lasts=4)
    schedule = Schedule(
        seed=1,
        delays=(1.5, 2.5),
        visits=(Visit(mode="all"), Visit(jobs=(1,), at=2.0)),
        gusts=(Gust(kind="reset", at=1, lasts=1), stall, Gust(kind="slow", at=2, lasts=2)),
        is_shuffled=True,
    )
    least = shrink(schedule, lambda each: "stall" in each.kinds and len(each.visits) == 2)
    assert [gust.kind for gust in least.gusts] == ["stall"]
    assert len(least.visits) == 2
    assert len(least.delays) == 1
    assert not least.is_shuffled


DEAF = """{"seed":1,"delays":[4.0],"gusts":[{"kind":"slice","at":0.2,"lasts":1.0},
{"kind":"dumb","at":1.0,"lasts":15.0}],"is_shuffled":true}"""


def test_the_command_line_replays_and_shrinks(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What fails is one command away from what happened in it, and from the least that fails."""
    monkeypatch.setattr("tests.sim.__main__.prepare", lambda: None)
    assert main(["--replay", DEAF]) == 0
    assert re.search(r"visitor 0 sees \w+ .* running push", capsys.readouterr().out)
    assert main(["--shrink", DEAF]) == 1
    assert capsys.readouterr().out == "it does not fail\n"
    with MUTANTS["has no watchdog"].applied():
        assert main(["--replay", DEAF]) == 1
        assert "L2 is broken" in capsys.readouterr().out

        assert main(["--shrink", DEAF]) == 0
        comment, line = capsys.readouterr().out.splitlines()
        assert comment.startswith("# L2")
        least = from_line(line)
        assert [gust.kind for gust in least.gusts] == ["dumb"]
        assert not least.is_shuffled


def test_the_command_line_runs_seeds(capsys: pytest.CaptureFixture[str]) -> None:
    """Each failure is printed with the one command that shows it again, and counted."""
    assert main(["--seeds", "3", "--jobs", "2"]) == 0
    assert capsys.readouterr().out.startswith("3 schedules and ")
    with MUTANTS["keeps jobs for ever"].applied():
        assert main(["--seeds", "1", "--jobs", "2"]) == 1
    told = capsys.readouterr().out
    assert "R2 is broken" in told
    assert "python -m tests.sim --replay 0\n" in told


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("--replay foo", "'foo' is neither a seed"),
        ('--replay {"seed":1,"gusts":[{"kind":"rain","at":0,"lasts":1}]}', "no faults called rain"),
        ("--shrink []", "'[]' is neither a seed"),
        ("--jobs 0", "'0' is no number of processes"),
        ("--seeds -5", "'-5' names no seeds"),
        ("--seeds 7:7", "'7:7' names no seeds"),
        ("--check-determinism 5:", "'5:' names no seeds"),
    ],
)
def test_the_command_line_says_what_is_wrong(
    line: str, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """What makes no sense is refused with a sentence, before anything runs."""
    with pytest.raises(SystemExit) as left:
        main(line.split())
    assert left.value.code == 2
    assert sentence in capsys.readouterr().err


def test_the_corpus_says_what_it_showed(tmp_path: Path) -> None:
    """A schedule without a comment is refused: nobody would know what it is for."""
    path = tmp_path / "corpus.txt"
    path.write_text('# it hung\n{"seed":1}\n\n{"seed":2}\n')
    with pytest.raises(ValueError, match="line 4"):
        corpus.read(path)
