"""Every test of this tier runs the real client and the real server on virtual time."""

from typing import Any

import pytest

from simulator.testing import Network
from simulator.testing.plugin import virtual_backend, virtual_network, virtual_seed

__all__ = ["virtual_backend", "virtual_network", "virtual_seed"]


@pytest.fixture
def anyio_backend(virtual_backend: tuple[str, dict[str, Any]]) -> tuple[str, dict[str, Any]]:
    """Run the tests of this directory on virtual time."""
    return virtual_backend


@pytest.fixture
def network(virtual_network: Network) -> Network:
    """Return the network between client and server."""
    return virtual_network
