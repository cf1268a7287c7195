"""Many schedules, over several processes."""

from __future__ import annotations

import gc
import logging
import multiprocessing
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeVar

from tests.sim.mutants import MUTANTS
from tests.sim.play import Failure, collect, play
from tests.sim.schedule import Schedule, draw
from tests.sim.trace import Trace

__all__ = ["Chunk", "Hunt", "digests", "hunt", "play_all", "prepare", "run_seeds", "unequal_seeds"]

CHUNK = 32
"""Schedules between two collections of the memory."""

T = TypeVar("T")
R = TypeVar("R")


class Chunk(NamedTuple):
    """How a few schedules went."""

    count: int
    failures: list[tuple[Schedule, Failure]]


class Hunt(NamedTuple):
    """How a mutant was found, if it was."""

    name: str
    seeds: int
    """How many schedules it took."""
    failure: Failure | None
    """How it broke what it must break; None if it did not."""
    reached: int
    """How often its code was run."""
    other: Failure | None
    """What it broke before that which proves nothing; None if nothing."""


def prepare() -> None:
    """Make this process fit for many runs: quiet, and with nothing old to look at again."""
    for name in ("vtrans_hybrid", "simulator"):
        logging.getLogger(name).setLevel(logging.ERROR)
    play(draw(0))  # imports what is imported late
    collect()
    gc.freeze()
    gc.disable()  # `collect` does it, when a loop is not in the midst of something


def play_all(schedules: Iterable[Schedule]) -> list[tuple[Schedule, Failure]]:
    """Run schedules one after the other; return those that failed, and how."""
    failures = []
    for schedule in schedules:
        failure = play(schedule)
        if failure is not None:
            failures.append((schedule, failure))
    return failures + collect()


def run_seeds(seeds: range, jobs: int) -> Iterator[Chunk]:
    """Run the schedules of seeds; yield how they went, a few at a time, in the order of seeds."""
    chunks = [seeds[start : start + CHUNK] for start in range(0, len(seeds), CHUNK)]
    with _spread(_run_chunk, chunks, jobs) as results:
        yield from results


def hunt(jobs: int, most: int) -> Iterator[Hunt]:
    """Look for each mutant in the first schedules; yield how it went, in the order of the table.

    Args:
        jobs: How many processes take part.
        most: Schedules after which a mutant counts as not found.
    """
    with _spread(_hunt_one, [(name, most) for name in MUTANTS], jobs) as results:
        yield from results


def digests(seeds: range) -> list[str]:
    """Return what must be the same in every process, for each seed."""
    found = []
    for seed in seeds:
        trace = Trace(is_on=True)
        play(draw(seed), trace)
        found.append(f"{seed} {trace.digest}")
        collect()
    return found


def unequal_seeds(seeds: range, hash_seeds: tuple[int, int] = (1, 2)) -> list[int]:
    """Run seeds in two processes that hash differently; return those that went differently."""
    command = [sys.executable, "-m", "tests.sim", "--digests", f"{seeds.start}:{seeds.stop}"]
    processes = [
        subprocess.Popen(
            command,
            env={**os.environ, "PYTHONHASHSEED": str(hash_seed)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for hash_seed in hash_seeds
    ]
    ones, others = (process.communicate()[0].splitlines() for process in processes)
    if len(ones) != len(seeds) or len(others) != len(seeds):
        raise RuntimeError("a process that was to run the seeds has died; its words are above")
    return [int(one.split()[0]) for one, other in zip(ones, others, strict=True) if one != other]


def _run_chunk(seeds: range) -> Chunk:
    return Chunk(len(seeds), play_all(map(draw, seeds)))


def _hunt_one(order: tuple[str, int]) -> Hunt:
    name, most = order
    mutant = MUTANTS[name]
    other = None
    with mutant.applied() as reached:
        for start in range(0, most, CHUNK):
            for seed, failure in _failures(range(start, min(start + CHUNK, most))):
                if failure.promise in mutant.breaks:
                    collect()
                    return Hunt(name, seed + 1, failure, reached(), other)
                other = other or failure
        return Hunt(name, most, None, reached(), other)


def _failures(seeds: range) -> Iterator[tuple[int, Failure]]:
    for seed in seeds:
        failure = play(draw(seed))
        if failure is not None:
            yield seed, failure
    for schedule, failure in collect():
        yield schedule.seed, failure


@contextmanager
def _spread(function: Callable[[T], R], items: list[T], jobs: int) -> Iterator[Iterable[R]]:
    """Apply a function to items in so many processes; with one, in this one."""
    if jobs == 1:
        prepare()
        yield map(function, items)
        return
    context: Any = multiprocessing.get_context("fork")
    with context.Pool(jobs, initializer=prepare) as pool:
        yield pool.imap(function, items)
