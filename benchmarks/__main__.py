"""Print the table of benchmarks: `python -m benchmarks`."""

from __future__ import annotations

import argparse
import platform
import sys
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version

from benchmarks import backend, delay, memory, reads, requests, throughput
from benchmarks.processes import pin
from benchmarks.report import Row, heading, line, summary
from benchmarks.rounds import Options

__all__ = ["main"]

_SUBJECTS: dict[str, Callable[[Options], list[Row]]] = {
    "delay": delay.rows,
    "throughput": throughput.rows,
    "memory": memory.rows,
    "requests": requests.rows,
    "reads": reads.rows,
    "backend": backend.rows,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; return 0, whether or not the goals are met.

    Args:
        arguments: Those of the command line; None takes them from there.
    """
    options = _parser().parse_args(arguments)
    pin(0)
    libraries = (f"{name} {version(name)}" for name in ("websockets", "aiohttp", "msgspec"))
    print(f"Python {platform.python_version()}, {', '.join(libraries)}, {platform.system()}\n")
    print(heading(), flush=True)
    done: list[Row] = []
    began = time.perf_counter()
    for name in options.only or _SUBJECTS:
        for row in _SUBJECTS[name](Options(options.quick)):
            done.append(row)
            print(line(row), flush=True)
    print(f"\n{summary(done)} ({time.perf_counter() - began:.0f} s)")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="What the client and the simulator cost, against the least it can cost.",
    )
    parser.add_argument("--quick", action="store_true", help="a rough run of less than a minute")
    parser.add_argument(
        "--only",
        action="append",
        choices=sorted(_SUBJECTS),
        metavar="NAME",
        help=f"one subject; may be repeated: {', '.join(_SUBJECTS)}",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
