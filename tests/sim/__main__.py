"""Fault schedules over the real client and the real server, on virtual time: `python -m tests.sim`.

--seeds 30000              run so many schedules, the corpus first
--check-determinism 200    so many seeds do the same to the last byte in two processes
--mutants                  each bug that is put into the product on purpose is found
--replay SEED              what happens in one, line by line
--shrink SEED              the least that still fails
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence

from tests.promises import PROMISES
from tests.sim import corpus
from tests.sim.mutants import MUTANTS
from tests.sim.play import Failure, collect, play
from tests.sim.progress import Bar
from tests.sim.schedule import Schedule, draw, from_line, to_line
from tests.sim.shrink import shrink
from tests.sim.trace import Trace
from tests.sim.workers import Hunt, digests, hunt, play_all, prepare, run_seeds, unequal_seeds

__all__ = ["main"]

USUAL = 2_000
"""Schedules where no number is given."""

FOUND_WITHIN = 5_000
"""Schedules within which each mutant must be found: what takes a certain fault of HeyGen's webhooks
is met by one in a thousand."""

SHOWN = 10
"""Failures that are printed beside those of the corpus; more are counted."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line asks for; return 0 if all went well, else 1."""
    options = _parser().parse_args(arguments)
    if options.digests is not None:
        prepare()
        print("\n".join(digests(options.digests)), flush=True)
        return 0
    if options.replay is not None:
        return _replay(options.replay)
    if options.shrink is not None:
        return _shrink(options.shrink)
    if options.mutants:
        return _hunt(options.jobs)
    if options.check_determinism is not None:
        return _check_determinism(options.check_determinism)
    return _run(options.seeds, options.jobs)


def _run(seeds: range, jobs: int) -> int:
    began = time.perf_counter()
    entries = corpus.read()
    failures = play_all(entry.schedule for entry in entries)
    for schedule, failure in failures:
        _complain(schedule, failure)
    most = len(failures) + SHOWN
    with Bar("schedules", len(seeds)) as bar:
        for chunk in run_seeds(seeds, jobs):
            for schedule, failure in chunk.failures:
                failures.append((schedule, failure))
                if len(failures) <= most:
                    bar.clear()
                    _complain(schedule, failure)
            bar.advance(chunk.count)
    seconds = time.perf_counter() - began
    rate = 60 * len(seeds) / seconds
    print(
        f"{len(seeds):,} schedules and {len(entries)} of the corpus, {len(failures)} failures, "
        f"{rate:,.0f} a minute ({jobs} processes, {seconds:.1f} s)"
    )
    return 1 if failures else 0


def _complain(schedule: Schedule, failure: Failure) -> None:
    is_drawn = draw(schedule.seed) == schedule
    what = str(schedule.seed) if is_drawn else f"'{to_line(schedule)}'"
    print(f"{failure.promise} is broken: {failure.text}\n  python -m tests.sim --replay {what}")


def _hunt(jobs: int) -> int:
    began = time.perf_counter()
    print(f"{'mutant':<44}{'seeds':>7}  broke  {'how':<60}")
    missed = 0
    broken = set()
    for found in hunt(jobs, FOUND_WITHIN):
        broke, how = "-", _how_missed(found)
        if found.failure is None:
            missed += 1
        else:
            broke, how = found.failure.promise, found.failure.text.splitlines()[0][:80]
            broken.add(broke)
        print(f"{found.name:<44}{found.seeds:>7,}  {broke:<5}  {how}", flush=True)
    seconds = time.perf_counter() - began
    unproven = [promise for promise in PROMISES if promise not in broken]
    print(f"{len(MUTANTS) - missed} of {len(MUTANTS)} mutants found ({seconds:.0f} s)")
    if unproven:
        print(f"no mutant was found by {', '.join(unproven)}: nothing shows that they are judged")
    return 1 if missed or unproven else 0


def _how_missed(missed: Hunt) -> str:
    wanted = " or ".join(MUTANTS[missed.name].breaks)
    how = f"NOT FOUND by {wanted}, reached {missed.reached} times"
    if missed.other is not None:
        how += f"; {missed.other.promise}: {missed.other.text.splitlines()[0][:80]}"
    return how


def _check_determinism(seeds: range) -> int:
    unequal = unequal_seeds(seeds)
    for seed in unequal[:SHOWN]:
        print(f"seed {seed} goes differently in two processes: python -m tests.sim --replay {seed}")
    print(f"{len(seeds) - len(unequal)} of {len(seeds)} seeds are the same to the last byte")
    return 1 if unequal else 0


def _replay(schedule: Schedule) -> int:
    trace = Trace(is_on=True)
    failure = play(schedule, trace) or next((each for _, each in collect()), None)
    print(to_line(schedule))
    print("\n".join(trace.lines))
    print("all is well" if failure is None else f"{failure.promise} is broken: {failure.text}")
    return 0 if failure is None else 1


def _shrink(schedule: Schedule) -> int:
    prepare()
    [(_, failure), *_] = play_all([schedule]) or [(schedule, None)]
    if failure is None:
        print("it does not fail")
        return 1
    tried = 0

    def fails(candidate: Schedule) -> bool:
        nonlocal tried
        tried += 1
        return any(each.promise == failure.promise for _, each in play_all([candidate]))

    least = shrink(schedule, fails)
    print(f"# {failure.promise}: {failure.text}\n{to_line(least)}")
    print(f"{tried} runs; replay it with --replay '...'", file=sys.stderr)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.sim",
        description="Run fault schedules over the real client and server, on virtual time.",
    )
    parser.add_argument(
        "--seeds",
        type=_seeds,
        default=range(USUAL),
        metavar="N|A:B",
        help=f"which schedules to run, after the corpus ({USUAL:,})",
    )
    parser.add_argument("--jobs", type=_jobs, default=2, metavar="N", help="processes (2)")
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--check-determinism",
        type=_seeds,
        nargs="?",
        const=range(200),
        metavar="N|A:B",
        help="run seeds in two processes that hash differently and compare every byte (200)",
    )
    what.add_argument(
        "--mutants", action="store_true", help="put each known bug into the product and find it"
    )
    what.add_argument(
        "--replay", type=_schedule, metavar="SEED", help="show what happens; takes JSON as well"
    )
    what.add_argument(
        "--shrink",
        type=_schedule,
        metavar="SEED",
        help="find the least that still fails, as a line for the corpus; takes JSON as well",
    )
    what.add_argument("--digests", type=_seeds, help=argparse.SUPPRESS)
    return parser


def _jobs(text: str) -> int:
    jobs = int(text) if text.isdecimal() else 0
    if not jobs:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of processes from 1 on")
    return jobs


def _seeds(text: str) -> range:
    first, colon, last = text.partition(":")
    bounds = (first, last) if colon else ("0", first)
    seeds = range(*map(int, bounds)) if all(map(str.isdecimal, bounds)) else range(0)
    if not seeds:
        raise argparse.ArgumentTypeError(
            f"{text!r} names no seeds: write 500 for the first 500, or 500:600 for a hundred more"
        )
    return seeds


def _schedule(text: str) -> Schedule:
    if text.isdecimal():
        return draw(int(text))
    try:
        return from_line(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(
            f"{text!r:.80} is neither a seed (42) nor a schedule of the corpus ({error})"
        ) from error


if __name__ == "__main__":
    sys.exit(main())
