"""Fixtures of the tests on real sockets."""

from collections.abc import Iterator

import pytest
from anyio.from_thread import start_blocking_portal

from tests.sockets.server_process import ServerProcess


@pytest.fixture(scope="session")
def calm_url() -> Iterator[str]:
    """Run one simulator, in a process of its own, for all tests that do nothing bad to it."""
    yield from _address("--delay", "1")


@pytest.fixture(scope="session")
def guarded_url() -> Iterator[str]:
    """Run a simulator that asks for the key `right`."""
    yield from _address("--delay", "1", "--api-key", "right")


def _address(*arguments: str) -> Iterator[str]:
    with (
        start_blocking_portal("asyncio") as portal,
        portal.wrap_async_context_manager(ServerProcess(*arguments)) as server,
    ):
        yield server.url
