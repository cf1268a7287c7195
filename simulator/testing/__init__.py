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
pytest, `simulator.testing.plugin` has fixtures.
"""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeVar

from simulator.testing.conditions import Fault
from simulator.testing.connection import Address, Connection, Direction, Where
from simulator.testing.determinism import WALL_CLOCK_START, determined
from simulator.testing.errors import (
    DeadlockError,
    LimitError,
    UnsupportedError,
    VirtualTimeError,
)
from simulator.testing.loop import LONGEST_RUN, START, Threads, VirtualLoop
from simulator.testing.network import Dial, Network, NetworkStats
from simulator.testing.pipe import Observer

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
        time_limit: how many seconds of virtual time it may take.
        step_limit: how many passes the loop may make; None means any number.
        shuffle: whether tasks that are ready together run in random order.
        threads: what becomes of functions that are to run in a thread: "refuse" raises, "inline"
            calls them at once (see `VirtualLoop`).

    Raises:
        DeadlockError: `main` waits for something that can not happen any more.
        LimitError: it went past a limit.
        TypeError: `main` is a coroutine, not a function.
    """
    if asyncio.iscoroutine(main):
        main.close()
        raise TypeError("run() takes the async function itself: run(main), not run(main()).")
    network = Network(seed) if network is None else network
    factory = loop_factory(
        network,
        seed=seed,
        time_limit=time_limit,
        step_limit=step_limit,
        shuffle=shuffle,
        threads=threads,
    )

    async def start() -> T:
        return await main()

    with determined(seed, network.time), asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(start())


def loop_factory(
    network: Network | None = None,
    *,
    seed: int = 0,
    time_limit: float = LONGEST_RUN,
    step_limit: int | None = None,
    shuffle: bool = False,
    threads: Threads = "refuse",
) -> Callable[[], VirtualLoop]:
    """Return what `asyncio.Runner` and anyio's pytest plugin take as their loop factory.

    It determines neither randomness nor the wall clock: see `determined`.

    Args:
        network: carries the connections; None means a new one for each loop.
        seed: of the network that is made if none is given, and of `shuffle`.
        time_limit: as for `run`.
        step_limit: as for `run`.
        shuffle: as for `run`.
        threads: as for `run`.
    """
    return partial(
        VirtualLoop,
        network,
        seed=seed,
        time_limit=time_limit,
        step_limit=step_limit,
        shuffle=shuffle,
        threads=threads,
    )


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
            "fixture anyio_backend return virtual_backend."
        )
    return loop.network
