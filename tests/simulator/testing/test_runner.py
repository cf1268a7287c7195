"""A virtual loop that runs one function after another."""

import asyncio
import contextvars
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial

import anyio
import pytest

from simulator.testing import (
    WALL_CLOCK_START,
    DeadlockError,
    LimitError,
    Network,
    VirtualRunner,
    current_network,
    run,
)

VARIABLE: contextvars.ContextVar[str] = contextvars.ContextVar("VARIABLE")


async def current_task() -> object:
    """Return the task that this runs in."""
    return asyncio.current_task()


def test_the_clock_stands_between_two_runs() -> None:
    """Virtual time passes only while something runs, for every task at once."""
    ticks: list[float] = []

    async def tick() -> None:
        while True:
            await asyncio.sleep(10)
            ticks.append(asyncio.get_running_loop().time())

    async def begin() -> "asyncio.Task[None]":
        return asyncio.create_task(tick())

    with VirtualRunner() as runner:
        ticking = runner.run(begin)
        assert runner.elapsed == 0
        assert ticks == []
        runner.run(partial(asyncio.sleep, 25))
        assert runner.elapsed == 25
        assert len(ticks) == 2
    assert ticking.cancelled()


def test_running_inside_of_a_running_loop_is_refused() -> None:
    """Who is async already is told to await, on a virtual loop and on a real one."""

    async def again(runner: VirtualRunner) -> None:
        with pytest.raises(RuntimeError, match="running here already, on virtual time: await"):
            runner.run(current_task)

    async def inside() -> None:
        with pytest.raises(RuntimeError, match="running here already, in real time: await"):
            run(current_task)

    with VirtualRunner() as runner:
        runner.run(partial(again, runner))
    asyncio.run(inside())


def test_the_wall_clock_and_the_network_are_its_own() -> None:
    """While it is open the process tells virtual time, and afterwards its own again."""
    network = Network(seed=3)

    async def network_inside() -> Network:
        return current_network()

    with VirtualRunner(network, seed=3) as runner:
        assert runner.network is runner.run(network_inside) is network
        assert time.time() < WALL_CLOCK_START + 86_400
    assert time.time() > WALL_CLOCK_START + 86_400


def test_a_coroutine_is_refused() -> None:
    """`run` takes the function, as `simulator.testing.run` does, and says so."""
    with VirtualRunner() as runner, pytest.raises(TypeError, match=r"run\(main\)"):
        runner.run(current_task())  # type: ignore[arg-type]


def test_a_held_context_is_left_in_the_task_that_entered_it() -> None:
    """What demands one task, such as a cancel scope, has it, and can go on after a failure."""
    tasks: list[object] = []

    @asynccontextmanager
    async def scope() -> AsyncIterator[str]:
        async with anyio.create_task_group() as group:
            tasks.append(await current_task())
            VARIABLE.set("set by the context")
            yield "value"
            tasks.append(await current_task())
            group.cancel_scope.cancel()

    async def read() -> str:
        return VARIABLE.get()

    with VirtualRunner() as runner:
        with suppress(ZeroDivisionError), runner.hold(scope()) as value:
            assert value == "value"
            assert runner.run(read) == "set by the context"
            raise ZeroDivisionError
        assert len(tasks) == 2
        assert tasks[0] is tasks[1]


def test_a_context_that_can_not_be_entered_raises_what_it_raised() -> None:
    """An exception on the way in is the caller's; so is one on the way out."""

    @asynccontextmanager
    async def fails(*, early: bool) -> AsyncIterator[None]:
        if early:
            raise LookupError("on the way in")
        yield
        raise LookupError("on the way out")

    with VirtualRunner() as runner:
        with pytest.raises(LookupError, match="in"), runner.hold(fails(early=True)):
            raise AssertionError("it was not entered")
        with pytest.raises(LookupError, match="out"), runner.hold(fails(early=False)):
            pass


def test_a_limit_or_a_deadlock_does_not_keep_it_from_ending_in_order() -> None:
    """What was begun before a test that can not go on is still left, and says so."""
    left: list[str] = []

    @asynccontextmanager
    async def server(name: str) -> AsyncIterator[None]:
        yield
        await asyncio.sleep(1)
        left.append(name)

    async def hang() -> None:
        await asyncio.Event().wait()

    with VirtualRunner(time_limit=100) as runner, runner.hold(server("one")):
        with runner.hold(server("two")), pytest.raises(DeadlockError, match="hang"):
            runner.run(hang)
        with pytest.raises(LimitError):
            runner.run(partial(asyncio.sleep, 1_000))
    assert left == ["two", "one"]
