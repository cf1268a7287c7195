"""Every test of this tier runs the real client and the real server on virtual time."""

import pytest

from simulator.testing import Network, VirtualRunner


@pytest.fixture(autouse=True)
def _on_virtual_time(virtual_time: VirtualRunner) -> None:
    """Run the tests of this directory on virtual time."""


@pytest.fixture
def network(virtual_network: Network) -> Network:
    """Return the network between client and server."""
    return virtual_network
