"""The benchmarks run, and print a table whose verdicts follow from its numbers."""

import asyncio
import re
import sys
from pathlib import Path

from benchmarks.report import Row, at_least, at_most, line, summary

ROOT = Path(__file__).parents[1]
TIMEOUT = 60.0


async def run_benchmarks(*arguments: str) -> tuple[int, str]:
    """Run `python -m benchmarks` and return its exit code and what it printed."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "benchmarks",
        *arguments,
        cwd=ROOT,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(TIMEOUT):
            output, _ = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.communicate()
        raise
    assert process.returncode is not None, "it has ended"
    return process.returncode, output.decode()


async def test_a_subject_prints_its_rows_and_a_summary() -> None:
    """`--quick --only requests` ends well and prints each of its goals with a verdict."""
    code, output = await run_benchmarks("--quick", "--only", "requests")
    assert code == 0, output
    judged = re.findall(r"^G5b? .*(?:ok|miss)$", output, re.MULTILINE)
    assert len(judged) == 7, output
    assert re.search(r"\d of 7 goals met", output), output


async def test_an_unknown_subject_is_a_usage_error() -> None:
    """`--only` names the subjects that there are when it is given another one."""
    code, output = await run_benchmarks("--only", "nonsense")
    assert code == 2
    assert "delay" in output


def test_a_row_is_ok_when_all_its_limits_are_met() -> None:
    """One limit that is broken makes a row a miss, whichever direction it has."""
    met = Row("a", "1", [at_most(1.0, 1.0), at_least(2.0, 1.5)])
    slow = Row("b", "2", [at_most(1.1, 1.0), at_least(2.0, 1.5)])
    few = Row("c", "3", [at_most(1.0, 1.0), at_least(1.4, 1.5)])
    assert [row.verdict for row in (met, slow, few)] == ["ok", "miss", "miss"]
    assert summary([met, slow, few]) == "1 of 3 goals met; missed: b; c"


def test_a_row_without_a_goal_has_no_verdict() -> None:
    """A number that is merely told counts neither as met nor as missed."""
    told = Row("floor", "3 us", [at_most(3.0, None)], ratio=1.0)
    assert told.verdict == ""
    assert summary([told]) == "0 of 0 goals met"
    assert line(told).endswith("1.00")
