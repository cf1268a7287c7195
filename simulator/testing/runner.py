"""Run one async function after another on the same virtual loop.

`run` is one function on a loop of its own; a `VirtualRunner` is for what has to begin before the
test does and to end after it, such as the fixtures of pytest. While nothing runs, the clock stands.
"""

import asyncio
import contextvars
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, ExitStack, contextmanager
from functools import partial
from types import TracebackType
from typing import Any, Self, TypeVar

from simulator.testing.clock import LONGEST_RUN, START
from simulator.testing.determinism import determined
from simulator.testing.loop import Threads, VirtualLoop
from simulator.testing.network import Network

__all__ = ["VirtualRunner", "loop_factory"]

T = TypeVar("T")


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


class VirtualRunner:
    """A virtual loop that runs one thing after another; use it as a context manager.

    While it is open, the randomness and the wall clock of the process are those of the loop (see
    `determined`). Closing it cancels the tasks that are left.

    Args:
        network: carries the connections; None means a new `Network` with `seed`.
        seed: of all randomness inside.
        time_limit: how many seconds of virtual time may pass, at most 8,000,000.
        step_limit: how many passes the loop may make; None means any number.
        shuffle: whether tasks that are ready together run in random order.
        threads: what becomes of functions that are to run in a thread (see `VirtualLoop`).
    """

    def __init__(
        self,
        network: Network | None = None,
        *,
        seed: int = 0,
        time_limit: float = LONGEST_RUN,
        step_limit: int | None = None,
        shuffle: bool = False,
        threads: Threads = "refuse",
    ) -> None:
        self.network = Network(seed) if network is None else network
        """What carries the connections, and where faults are made."""
        self._seed = seed
        self._runner = asyncio.Runner(
            loop_factory=loop_factory(
                self.network,
                seed=seed,
                time_limit=time_limit,
                step_limit=step_limit,
                shuffle=shuffle,
                threads=threads,
            )
        )
        self._open = ExitStack()
        # One for all that runs, so that a fixture can set what its test reads.
        self._context = contextvars.copy_context()

    def __enter__(self) -> Self:
        _check_no_loop_runs()
        with ExitStack() as stack:
            stack.enter_context(determined(self._seed, self.network.time))
            stack.enter_context(self._runner)
            self._open = stack.pop_all()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._open.close()

    @property
    def elapsed(self) -> float:
        """How many seconds of virtual time have passed since it was opened."""
        return self._runner.get_loop().time() - START

    def run(self, main: Callable[[], Awaitable[T]]) -> T:
        """Run an async function and return what it returns; other tasks run meanwhile.

        Args:
            main: the async function, called without arguments (`functools.partial` binds some).

        Raises:
            DeadlockError: `main` waits for something that can not happen any more.
            LimitError: it went past a limit.
            RuntimeError: a loop is running already.
            TypeError: `main` is a coroutine, not a function.
        """
        if asyncio.iscoroutine(main):
            main.close()
            raise TypeError("run() takes the async function itself: run(main), not run(main()).")
        _check_no_loop_runs()

        async def start() -> T:
            return await main()

        return self._runner.run(start(), context=self._context)

    @contextmanager
    def hold(self, manager: AbstractAsyncContextManager[T]) -> Iterator[T]:
        """Enter an async context manager now and leave it at the end of the `with` block.

        Both happen in one task, as task groups and cancel scopes demand. An exception that ends the
        block is not shown to `manager`.

        Args:
            manager: what to enter and to leave, such as a `Simulator`.

        Yields:
            What entering it returned.
        """
        loop = self._runner.get_loop()
        entered: asyncio.Future[T] = loop.create_future()
        is_over = asyncio.Event()

        async def stay() -> None:
            async with manager as value:
                entered.set_result(value)
                await is_over.wait()

        async def enter() -> asyncio.Task[None]:
            staying = asyncio.create_task(stay(), context=self._context)
            either: tuple[asyncio.Future[Any], ...] = (staying, entered)
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if not entered.done():
                await staying
                raise RuntimeError(f"{manager!r} was left before it was entered.")
            return staying

        async def leave() -> None:
            is_over.set()
            await staying

        staying = self.run(enter)
        try:
            yield entered.result()
        finally:
            self.run(leave)


def _check_no_loop_runs() -> None:
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return
    kind = "on virtual time" if isinstance(loop, VirtualLoop) else "in real time"
    raise RuntimeError(
        f"A loop is running here already, {kind}: await the function instead of running it. Only "
        "what is not async, such as a test without `async`, calls run()."
    )
