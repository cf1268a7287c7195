"""Tests that wait for real time most of the while, and so may wait together.

    @side_by_side
    async def test_something(calm_url: str) -> None: ...

The first of them that runs starts all that were selected in its module, each in a task of its own;
each test then waits for its own and reports it. Their arguments are fixtures of the session. A
module that uses this imports `stage`, too.
"""

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

__all__ = ["side_by_side", "stage"]

Scene = Callable[..., Awaitable[None]]
Stage = dict[str, asyncio.Task[None]]

_scenes: dict[Callable[[Stage], Awaitable[None]], Scene] = {}


def side_by_side(scene: Scene) -> Callable[[Stage], Awaitable[None]]:
    """Make a test of a function, which runs beside its likes."""

    async def test(stage: Stage) -> None:
        await stage[scene.__name__]

    test.__name__, test.__doc__, test.__module__ = scene.__name__, scene.__doc__, scene.__module__
    test.__qualname__ = scene.__qualname__
    _scenes[test] = scene
    return test


@pytest.fixture(scope="module")
async def stage(request: pytest.FixtureRequest) -> AsyncIterator[Stage]:
    """Start every selected scene of this module, and end what is left of them afterwards."""
    tests = [
        getattr(item.module, item.originalname)
        for item in request.session.items
        if isinstance(item, pytest.Function) and item.module is request.module
    ]
    scenes = [_scenes[test] for test in tests if test in _scenes]
    tasks = {scene.__name__: asyncio.create_task(_run(scene, request)) for scene in scenes}
    yield tasks
    for task in tasks.values():
        task.cancel()
    await asyncio.gather(*tasks.values(), return_exceptions=True)


async def _run(scene: Scene, request: pytest.FixtureRequest) -> None:
    await scene(
        **{name: request.getfixturevalue(name) for name in inspect.signature(scene).parameters}
    )
