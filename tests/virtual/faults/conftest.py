"""The stage on which every fault shows itself: the real server on virtual time, seen from outside.

A test is named for its fault, and must leave at least one injection of it in the log.
"""

from collections.abc import AsyncIterator, Iterator

import aiohttp
import pytest

from simulator import Simulator
from simulator.faults import FAULTS


@pytest.fixture
async def sim() -> AsyncIterator[Simulator]:
    """Run a simulator whose jobs take 20 s and tell of their progress every second."""
    async with Simulator(delay=20, seed=1) as running:
        yield running


@pytest.fixture
async def http(sim: Simulator) -> AsyncIterator[aiohttp.ClientSession]:
    """Open a client of REST that dials for every request."""
    connector = aiohttp.TCPConnector(force_close=True)
    async with aiohttp.ClientSession(sim.url, connector=connector) as client:
        yield client


@pytest.fixture(autouse=True)
def shown(request: pytest.FixtureRequest, sim: Simulator) -> Iterator[None]:
    """Check that the fault that a test is named for was shown."""
    yield
    name = request.node.originalname.removeprefix("test_")
    assert name in FAULTS, f"no fault is called {name!r}"
    assert name in {injection.fault for injection in sim.faults.log}
