"""Tests that wait for real time most of the while, and so may wait together.

    @side_by_side
    async def test_something(calm_url: str) -> None: ...

The first of them that runs starts all that were selected in its module, each in a task of its own;
each test then waits for its own and reports it, and plays it anew if it is run again. Their
arguments are fixtures of the session. A module that uses this imports `stage`, too.

pytest-xdist must leave such a module to one worker (`--dist loadfile`): each worker that got one
of its tests would start all of them.
"""

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable

import pytest

__all__ = ["side_by_side", "stage"]

END_TIMEOUT = 20.0  # seconds
Scene = Callable[..., Awaitable[None]]


class Stage:
    """Where scenes play side by side.

    Args:
        request: What finds their arguments.
    """

    def __init__(self, request: pytest.FixtureRequest) -> None:
        self._request = request
        self._tasks: dict[Scene, asyncio.Task[None]] = {}

    def start(self, scenes: Iterable[Scene]) -> None:
        """Let scenes begin."""
        self._tasks = {scene: asyncio.create_task(self._play(scene)) for scene in scenes}

    async def see(self, scene: Scene) -> None:
        """Wait for the end of a scene; whoever comes a second time sees it from the beginning."""
        await (self._tasks.pop(scene, None) or self._play(scene))

    async def end(self) -> None:
        """End whatever still plays.

        Raises:
            TimeoutError: a scene goes on although it was cancelled.
        """
        for task in self._tasks.values():
            task.cancel()
        async with asyncio.timeout(END_TIMEOUT):
            await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def _play(self, scene: Scene) -> None:
        names = inspect.signature(scene).parameters
        await scene(**{name: self._request.getfixturevalue(name) for name in names})


Test = Callable[[Stage], Awaitable[None]]

_scenes: dict[Test, Scene] = {}


def side_by_side(scene: Scene) -> Test:
    """Make a test of a function, which runs beside its likes."""

    async def test(stage: Stage) -> None:
        await stage.see(scene)

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
    stage = Stage(request)
    stage.start(_scenes[test] for test in tests if test in _scenes)
    yield stage
    await stage.end()
