"""The fixtures that the tests of the simulator share."""

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest

from simulator import Simulator
from tests.simulator.backend import Talk
from tests.simulator.rest_client import session


@pytest.fixture
async def sim() -> AsyncIterator[Simulator]:
    """Run a simulator of fast jobs on a free port."""
    async with asyncio.timeout(20), Simulator(delay=0.3, seed=1) as running:
        yield running


@pytest.fixture
async def talk(sim: Simulator) -> AsyncIterator[Talk]:
    """Open a channel that has been greeted."""
    async with Talk.open(sim.channel_url) as conversation:
        await conversation.greet()
        yield conversation


@pytest.fixture
async def http(sim: Simulator) -> AsyncIterator[aiohttp.ClientSession]:
    """Open a client of REST."""
    async with session(sim) as client:
        yield client
