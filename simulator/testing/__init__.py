"""Run real clients and servers on virtual time, in memory, with a faulty network between them.

A job of ten minutes takes milliseconds, no port is opened, and a run with the same seed is the same
run, byte for byte::

    from simulator.testing import Network, run

    async def main() -> None:
        ...  # start a server, connect to it, sleep for an hour

    network = Network(seed=7, latency=(0.01, 0.2))
    run(main, network=network)

aiohttp, websockets, anyio and asyncio's streams run unmodified. `Network` injects faults: latency,
bandwidth, resets, half-open connections, stalls, refused and unanswered dials, corruption. Under
pytest there are fixtures, which are there as soon as this is installed (docs/testing.md).
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from simulator.testing.clock import LONGEST_RUN, START
from simulator.testing.conditions import Fault
from simulator.testing.connection import Address, Connection, Direction, Where
from simulator.testing.determinism import WALL_CLOCK_START, determined
from simulator.testing.errors import (
    DeadlockError,
    LimitError,
    UnsupportedError,
    VirtualTimeError,
)
from simulator.testing.loop import Threads, VirtualLoop
from simulator.testing.network import Dial, Network, NetworkStats
from simulator.testing.pipe import Observer
from simulator.testing.runner import VirtualRunner, loop_factory

__all__ = [
    "Address",
    "Connection",
    "DeadlockError",
    "Dial",
    "Direction",
    "Fault",
    "LimitError",
    "Network",
    "NetworkStats",
    "Observer",
    "START",
    "Threads",
    "UnsupportedError",
    "VirtualLoop",
    "VirtualRunner",
    "VirtualTimeError",
    "WALL_CLOCK_START",
    "Where",
    "current_network",
    "determined",
    "loop_factory",
    "run",
]

T = TypeVar("T")


def run(
    main: Callable[[], Awaitable[T]],
    *,
    seed: int = 0,
    network: Network | None = None,
    time_limit: float = LONGEST_RUN,
    step_limit: int | None = None,
    shuffle: bool = False,
    threads: Threads = "refuse",
) -> T:
    """Run an async function on virtual time and return what it returns.

    Args:
        main: the async function, called without arguments (`functools.partial` binds some).
        seed: of all randomness inside the run.
        network: carries the connections; None means a new `Network` with `seed`.
        time_limit: how many seconds of virtual time it may take, at most 8,000,000.
        step_limit: how many passes the loop may make; None means any number.
        shuffle: whether tasks that are ready together run in random order.
        threads: what becomes of functions that are to run in a thread: "refuse" raises, "inline"
            calls them at once (see `VirtualLoop`).

    Raises:
        DeadlockError: `main` waits for something that can not happen any more.
        LimitError: it went past a limit.
        RuntimeError: a loop is running already.
        TypeError: `main` is a coroutine, not a function.
    """
    runner = VirtualRunner(
        network,
        seed=seed,
        time_limit=time_limit,
        step_limit=step_limit,
        shuffle=shuffle,
        threads=threads,
    )
    with runner:
        return runner.run(main)


def current_network() -> Network:
    """Return the network of the running loop.

    Raises:
        TypeError: the running loop is not a `VirtualLoop`.
        RuntimeError: no loop is running.
    """
    loop = asyncio.get_running_loop()
    if not isinstance(loop, VirtualLoop):
        raise TypeError(
            "The running loop is not a VirtualLoop: start it with run(), or under pytest let the "
            "test use the fixture virtual_time."
        )
    return loop.network
