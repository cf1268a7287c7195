"""Tests that wait for real time most of the while, and so may wait together.

    @side_by_side
    async def test_something() -> None: ...

The first of them that runs starts all that were selected in its module, each in a task of its own;
each test then waits for its own and reports it. A module that uses this imports `stage`, too.
"""

import asyncio
import functools
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

__all__ = ["side_by_side", "stage"]

Scene = Callable[[], Awaitable[None]]
Stage = dict[str, asyncio.Task[None]]


def side_by_side(scene: Scene) -> Callable[[Stage], Awaitable[None]]:
    """Make a test of a function without arguments that runs beside its likes."""

    async def test(stage: Stage) -> None:
        await stage[scene.__name__]

    # Not functools.wraps: pytest would read the arguments of the function wrapped.
    functools.update_wrapper(test, scene)
    del test.__wrapped__  # type: ignore[attr-defined]
    test.scene = scene  # type: ignore[attr-defined]
    return test


@pytest.fixture(scope="module")
async def stage(request: pytest.FixtureRequest) -> AsyncIterator[Stage]:
    """Start every selected scene of this module, and end what is left of them afterwards."""
    scenes = {
        item.function.scene.__name__: item.function.scene
        for item in request.session.items
        if isinstance(item, pytest.Function)
        and item.module is request.module
        and hasattr(item.function, "scene")
    }
    tasks = {name: asyncio.ensure_future(_run(scene)) for name, scene in scenes.items()}
    yield tasks
    for task in tasks.values():
        task.cancel()
    await asyncio.gather(*tasks.values(), return_exceptions=True)


async def _run(scene: Callable[[], Any]) -> None:
    await scene()
