"""pytest fixtures for tests on virtual time.

Load them in ``conftest.py`` and let anyio's plugin run the tests of a module, or of all, on them::

    pytest_plugins = ["simulator.testing.plugin"]

    @pytest.fixture
    def anyio_backend(virtual_backend):
        return virtual_backend

    async def test_a_job_of_ten_minutes(virtual_simulator, virtual_network):
        ...  # use virtual_simulator.url with any client; break virtual_network

Each test has a loop and a network of its own. Async fixtures must be function-scoped: anyio shares
one loop among those that are alive together.
"""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from simulator import Simulator
from simulator.testing import Network, current_network, determined, loop_factory

__all__ = ["virtual_backend", "virtual_network", "virtual_seed", "virtual_simulator"]


@pytest.fixture
def virtual_seed() -> int:
    """Return the seed of a test's randomness; override it to choose another, or many."""
    return 0


@pytest.fixture
def virtual_network(virtual_seed: int) -> Iterator[Network]:
    """Make the network of a test, and determine its randomness and wall clock."""
    network = Network(virtual_seed)
    with determined(virtual_seed, network.time):
        yield network


@pytest.fixture
def virtual_backend(virtual_network: Network, virtual_seed: int) -> tuple[str, dict[str, Any]]:
    """Return what a test's `anyio_backend` fixture returns to run it on virtual time."""
    return "asyncio", {"loop_factory": loop_factory(virtual_network, seed=virtual_seed)}


@pytest.fixture
async def virtual_simulator(
    virtual_network: Network, virtual_seed: int
) -> AsyncIterator[Simulator]:
    """Run a simulator for a test whose `anyio_backend` is `virtual_backend`."""
    assert current_network() is virtual_network
    async with Simulator(seed=virtual_seed) as simulator:
        yield simulator
