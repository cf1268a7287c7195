"""Rows 1, 2, 3 and 8: seeded fault schedules over the whole stack, by `python -m tests.sim`."""

from __future__ import annotations

import os
import time
from itertools import islice

from tests.scorecard.row import Result
from tests.sim.mutants import MUTANTS
from tests.sim.play import Failure
from tests.sim.workers import hunt, run_seeds, unequal_seeds

__all__ = ["leaks", "mutants", "replay", "schedules"]

PROCESSES = 2
GOAL = 30_000  # schedules a minute
FOUND_WITHIN = 2_000
LEAST_MUTANTS = 25


def schedules(is_short: bool) -> Result:
    """Run schedules, and see how fast that goes and what it breaks."""
    count = 500 if is_short else 30_000
    began = time.perf_counter()
    failures = _failures(count)
    rate = 60 * count / (time.perf_counter() - began)
    measured = f"{rate:,.0f} a minute, {len(failures)} violations in {count:,}"
    if failures:
        measured += f"; {failures[0].promise}: {failures[0].text}"
    return Result(measured, not failures, rate >= GOAL)


def replay(is_short: bool) -> Result:
    """Run seeds in two processes that hash differently, and compare every byte."""
    seeds = range(10 if is_short else 200)
    equal = len(seeds) - len(unequal_seeds(seeds))
    return Result(f"{equal} of {len(seeds)}", equal == len(seeds))


def mutants(is_short: bool) -> Result:
    """Put each known bug into the product, and look for it."""
    wanted = 3 if is_short else len(MUTANTS)
    hunts = list(islice(hunt(PROCESSES, FOUND_WITHIN), wanted))
    found = [each for each in hunts if each.failure is not None]
    most = max((each.seeds for each in found), default=0)
    measured = f"{len(found)} of {wanted} found, the last after {most:,} seeds"
    if is_short:
        measured += f" ({len(MUTANTS)} in all)"
    return Result(measured, len(found) == wanted and len(MUTANTS) >= LEAST_MUTANTS)


def leaks(is_short: bool) -> Result:
    """Count the schedules after which something of the client is left."""
    count = 200 if is_short else 10_000
    left = [failure for failure in _failures(count, first=1_000_000) if failure.promise[0] == "R"]
    return Result(f"{len(left)} in {count:,} schedules", not left)


def _failures(count: int, first: int = 0) -> list[Failure]:
    jobs = min(PROCESSES, os.cpu_count() or 1)
    chunks = run_seeds(range(first, first + count), jobs)
    return [failure for chunk in chunks for _, failure in chunk.failures]
