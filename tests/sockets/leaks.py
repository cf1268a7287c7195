"""What is left behind in this process: tasks, sockets and timers."""

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

__all__ = ["BRIEF", "nothing_left"]

BRIEF = 0.2
"""Seconds that closing and cancelling may take. The promise is half of it; machines are busy."""


@asynccontextmanager
async def nothing_left() -> AsyncIterator[None]:
    """Check that what is done inside leaves no task, socket or timer (promise R1)."""
    gc.collect()
    before = _things()
    yield
    gc.collect()  # what was never awaited or retrieved complains here
    deadline = asyncio.get_running_loop().time() + BRIEF
    left = _things() - before
    while left and asyncio.get_running_loop().time() < deadline:
        await asyncio.sleep(0.01)
        left = _things() - before
    assert not left, "\n".join(sorted(left))


def _things() -> set[str]:
    loop = cast("Any", asyncio.get_running_loop())
    present = asyncio.current_task()
    tasks = {repr(task) for task in asyncio.all_tasks() if task is not present}
    timers = {repr(timer) for timer in loop._scheduled if not timer.cancelled()}
    return tasks | {timer for timer in timers if "vtrans_hybrid" in timer} | _sockets()


def _sockets() -> set[str]:
    sockets = set()
    for link in Path("/proc/self/fd").iterdir():
        try:
            target = str(link.readlink())
        except FileNotFoundError:
            continue  # the one that lists the directory
        if target.startswith("socket:"):
            sockets.add(target)
    return sockets
