"""The pytest fixtures, used as a user's test suite uses them."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import aiohttp
import pytest

from simulator import Simulator
from simulator.testing import START, Network, VirtualLoop, current_network

pytest_plugins = ["simulator.testing.plugin"]

drawn: dict[int, list[bytes]] = {}


@pytest.fixture(params=[1, 2, 1])
def virtual_seed(request: pytest.FixtureRequest) -> int:
    """Run each test of this module under these seeds."""
    return int(request.param)


@pytest.fixture
def anyio_backend(virtual_backend: tuple[str, dict[str, Any]]) -> tuple[str, dict[str, Any]]:
    """Run the tests of this module on virtual time."""
    return virtual_backend


@pytest.fixture
async def prepared() -> AsyncIterator[float]:
    """Let a minute pass before and after the test, on its loop."""
    await asyncio.sleep(60)
    yield asyncio.get_running_loop().time()
    await asyncio.sleep(60)


@pytest.fixture
def checked(virtual_network: Network) -> Iterator[None]:
    """Check after the test that its clock was virtual to the end."""
    real = time.perf_counter()
    yield
    assert time.perf_counter() - real < 60


async def test_a_test_runs_on_its_own_network(virtual_network: Network) -> None:
    """The loop of the test is virtual, new, and carries the fixture's network."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    assert loop.time() == START
    assert current_network() is virtual_network


async def test_async_fixtures_share_the_loop(checked: None, prepared: float) -> None:
    """An async fixture and its test live on one clock."""
    assert prepared == START + 60
    await asyncio.sleep(3_600)
    assert asyncio.get_running_loop().time() == START + 3_660
    assert time.monotonic() == START + 3_660


async def test_a_simulator_is_at_hand(virtual_simulator: Simulator) -> None:
    """A job of ten minutes is ordered and completed by virtual time."""
    async with aiohttp.ClientSession(virtual_simulator.url) as session:
        order = {"video_url": "https://example.com/talk.mp4", "language": "Spanish", "delay": 600}
        async with session.post("/jobs", json=order) as answer:
            (job,) = (await answer.json())["jobs"]
        states = []
        for _ in range(2):
            async with session.get(f"/status/{job['job_id']}") as answer:
                states.append((await answer.json())["state"])
            await asyncio.sleep(601)
    assert states == ["pending", "completed"]


async def test_the_seed_decides(virtual_seed: int, virtual_network: Network) -> None:
    """Randomness follows from the seed of the test."""
    values = [os.urandom(8), str(virtual_network.delay(None)).encode()]
    assert drawn.setdefault(virtual_seed, values) == values
    assert sum(value == values for value in drawn.values()) == 1
