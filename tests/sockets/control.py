"""The control API of a simulator in another process, as far as the tests need it."""

from typing import Any

import aiohttp

from tests.sockets.server_process import ServerProcess

__all__ = ["add_fault", "calls_of", "drop_channels", "heal", "opened_channels"]


async def add_fault(server: ServerProcess, fault: str, **parameters: object) -> None:
    """Show a fault on every occasion from now on."""
    await _ask(server, "POST", "faults", {"fault": fault, "parameters": parameters})


async def heal(server: ServerProcess) -> None:
    """End all faults."""
    await _ask(server, "POST", "heal", {})


async def drop_channels(server: ServerProcess, code: int) -> int:
    """Close all channels with this code and return how many there were."""
    answer = await _ask(server, "POST", "drop", {"how": "close", "code": code})
    return int(answer["dropped"])


async def opened_channels(server: ServerProcess) -> int:
    """Return how many channels were ever opened."""
    return int((await _ask(server, "GET", "stats", None))["channel"]["opened"])


async def calls_of(server: ServerProcess, path: str) -> list[float]:
    """Return when the latest requests of a path came, by the monotonic clock of the server."""
    calls = (await _ask(server, "GET", "calls", None))["calls"]
    return [call["at"] for call in calls if call["path"] == path]


async def _ask(server: ServerProcess, method: str, path: str, body: object) -> dict[str, Any]:
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, f"{server.url}/_control/{path}", json=body) as answer,
    ):
        document: dict[str, Any] = await answer.json()
        assert answer.status < 300, document
        return document
