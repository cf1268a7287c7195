"""The promises as numbers, measured now: `python -m tests.scorecard`.

--short     on less of everything, in about a minute
--row N     this row alone; may be given several times

Each row is measured in a process of its own, so that none inherits the memory or the patience of
another. The exit code is 1 if a goal was missed; in the short form what a goal says about the speed
of the machine may be missed, for others may be busy on it, and nothing else.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import textwrap
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from tests.scorecard.row import Result, Row
from tests.scorecard.rows import ROWS

__all__ = ["main"]

MEASURED = 96  # columns
PROCESSES = 2
"""Rows that are measured at once in the short form; in full, each has the machine to itself."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure rows and print them; return 0 if no goal was missed, else 1."""
    options = _parser().parse_args(arguments)
    if options.measure is not None:
        print(json.dumps(ROWS[options.measure - 1].measure(options.short)))
        return 0
    rows = [row for row in ROWS if not options.row or row.number in options.row]
    began = time.perf_counter()
    print(_heading(), flush=True)
    missed = 0
    measure = partial(_measure, is_short=options.short)
    with ThreadPoolExecutor(PROCESSES if options.short else 1) as pool:
        for row, result in zip(rows, pool.map(measure, rows), strict=True):
            print(_line(row, result), flush=True)
            missed += (result.holds if options.short else result.is_met) is False
    print(_summary(len(rows), missed, time.perf_counter() - began, is_short=options.short))
    return 1 if missed else 0


def _measure(row: Row, *, is_short: bool) -> Result:
    """Measure a row in a process of its own; one that fails has missed its goal."""
    command = [sys.executable, "-m", "tests.scorecard", "--measure", str(row.number)]
    done = subprocess.run(
        [*command, "--short"] if is_short else command, capture_output=True, text=True, check=False
    )
    if done.returncode:
        last = (done.stderr.strip() or "no word").splitlines()[-1]
        return Result(f"it failed: {last}", False)
    return Result(*json.loads(done.stdout.splitlines()[-1]))


def _heading() -> str:
    return f"{'':>3}  {'':4}  {'what':<34}  {'goal':<40}  measured"


def _line(row: Row, result: Result) -> str:
    verdict = {True: "ok", False: "MISS", None: "-"}[result.is_met]
    if result.holds and not result.is_fast:
        verdict = "slow"
    first, *more = textwrap.wrap(result.measured, MEASURED) or [""]
    goal, *rest = textwrap.wrap(row.goal, 40)
    lines = [f"{row.number:>3}  {verdict:4}  {row.what:<34}  {goal:<40}  {first}"]
    for index in range(max(len(more), len(rest))):
        goal = rest[index] if index < len(rest) else ""
        lines.append(f"{'':47}{goal:<40}  {more[index] if index < len(more) else ''}".rstrip())
    return "\n".join(lines)


def _summary(count: int, missed: int, seconds: float, *, is_short: bool) -> str:
    form = ", in short form: less of everything than the goals are for" if is_short else ""
    return f"{count} rows in {seconds:.0f} s, {missed} missed{form}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.scorecard", description="Measure the promises, and print a table."
    )
    parser.add_argument("--short", action="store_true", help="measure less, in about a minute")
    parser.add_argument(
        "--row",
        type=int,
        action="append",
        choices=[row.number for row in ROWS],
        metavar="N",
        help=f"this row alone, 1 to {len(ROWS)}; may be given several times",
    )
    parser.add_argument("--measure", type=int, help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    sys.exit(main())
