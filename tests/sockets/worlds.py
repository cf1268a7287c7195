"""The same scenes in two worlds: on virtual time in memory, and in real time on real sockets.

A scene is written against `World`. What it returns is compared, so it holds nothing that depends on
how fast a machine is.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Protocol

from simulator import Simulator
from simulator.testing import Fault, Network, current_network
from tests.sockets.proxy import Proxy
from vtrans_hybrid import AsyncClient

__all__ = ["Open", "World", "open_real", "open_virtual"]

QUICK = {"delay": 2, "ping": 0.4, "grace": 0.4, "seed": 1}
"""Options of the simulator: real time is dear."""


class World(Protocol):
    """A simulator, and what may happen between it and a client."""

    sim: Simulator
    url: str
    """Where the client goes."""

    def reset(self) -> None:
        """End every connection by RST."""

    def refuse(self) -> None:
        """Refuse new connections."""

    def half_open(self) -> None:
        """Let nothing through to the client, on the connections there are and on new ones."""

    async def heal(self) -> None:
        """Let everything through again."""


Open = Callable[..., AbstractAsyncContextManager[tuple[World, AsyncClient]]]
"""Opens a world and a client in it, with options of the client, and of the simulator by `sim`."""


class VirtualWorld:
    """The network of the running virtual loop."""

    def __init__(self, sim: Simulator, network: Network) -> None:
        self.sim = sim
        self.url = sim.url
        self._network = network
        self._faults: list[Fault] = []

    def reset(self) -> None:
        """End every connection by RST."""
        self._network.reset()

    def refuse(self) -> None:
        """Refuse new connections."""
        self._faults.append(self._network.refuse())

    def half_open(self) -> None:
        """Let nothing through to the client."""
        self._faults.append(self._network.half_open("to_client"))

    async def heal(self) -> None:
        """Let everything through again."""
        while self._faults:
            self._faults.pop().heal()


class RealWorld:
    """Real sockets, with a proxy between them."""

    def __init__(self, sim: Simulator, proxy: Proxy) -> None:
        self.sim = sim
        self.url = f"http://127.0.0.1:{proxy.port}"
        self._proxy = proxy

    def reset(self) -> None:
        """End every connection by RST."""
        self._proxy.cut()

    def refuse(self) -> None:
        """Refuse new connections."""
        self._proxy.refuse()

    def half_open(self) -> None:
        """Let nothing through to the client."""
        self._proxy.half_open("to_client")

    async def heal(self) -> None:
        """Let everything through again."""
        self._proxy.heal()
        await self._proxy.accept()


@asynccontextmanager
async def open_virtual(
    sim: dict[str, Any] | None = None, **client: Any
) -> AsyncIterator[tuple[World, AsyncClient]]:
    """Open a world on virtual time."""
    async with Simulator(**QUICK | (sim or {})) as server:
        world = VirtualWorld(server, current_network())
        async with AsyncClient(world.url, **client) as user:
            yield world, user


@asynccontextmanager
async def open_real(
    sim: dict[str, Any] | None = None, **client: Any
) -> AsyncIterator[tuple[World, AsyncClient]]:
    """Open a world on real sockets."""
    async with Simulator(**QUICK | (sim or {})) as server, Proxy(server.port) as proxy:
        world = RealWorld(server, proxy)
        async with AsyncClient(world.url, **client) as user:
            yield world, user
