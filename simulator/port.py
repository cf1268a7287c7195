"""The port of a server: who may connect, and the connections that there are."""

import asyncio
from collections.abc import Awaitable, Callable
from itertools import count
from random import Random
from typing import Final

from simulator.faults import Down, Swizzle
from simulator.link import Link
from simulator.plan import Facts, FaultPlan, Strike

__all__ = ["Port"]

_BACKLOG: Final = 4096  # connections that may wait to be accepted when a crowd comes back
_FROZEN: Final = "frozen"

Factory = Callable[[], asyncio.BaseProtocol]


class Port:
    """Listen, and let the plan strike at the connections.

    Args:
        host: the address to listen on.
        number: the port; 0 takes a free one, which is kept from then on.
        plan: asked for `listener` and `link` faults.
    """

    def __init__(self, host: str, number: int, plan: FaultPlan) -> None:
        self.number = number
        self._host = host
        self._plan = plan
        self._numbers = count(1)
        self._links: dict[int, Link] = {}
        self._factory: Factory | None = None
        self._server: asyncio.Server | None = None
        self._is_frozen = False

    @property
    def links(self) -> list[Link]:
        """The connections that there are, the oldest first."""
        return list(self._links.values())

    @property
    def is_listening(self) -> bool:
        """Whether connections are accepted."""
        return self._server is not None

    @property
    def is_settled(self) -> bool:
        """Whether it is open or closed as the plan wants it, so that `tend` has nothing to do."""
        return self._is_wanted() == self.is_listening

    async def serve(self, factory: Factory) -> None:
        """Listen, unless a fault has it closed, and serve connections with these protocols.

        Raises:
            OSError: the address cannot be had.
        """
        self._factory = factory
        await self.tend()

    async def tend(self) -> None:
        """Open or close, as the plan wants it.

        Raises:
            OSError: the address cannot be had.
        """
        if not self._is_wanted():
            self._stop_listening()
        elif not self.is_listening:
            loop = asyncio.get_running_loop()
            self._server = await loop.create_server(
                self._connect, self._host, self.number, backlog=_BACKLOG, reuse_address=True
            )
            self.number = self._server.sockets[0].getsockname()[1]

    def stop(self) -> None:
        """Take no new connections; open ones live on."""
        self._factory = None
        self._stop_listening()

    def check_faults(self) -> None:
        """Ask the plan anew for every connection; `tend` has to follow if the port is concerned."""
        for link in self.links:
            link.check_faults()
        if any(isinstance(strike.fault, Down) for strike in self._strikes()):
            self.reset()

    def reset(self) -> None:
        """Reset all connections."""
        for link in self.links:
            link.reset()

    def drop(self, fraction: float, random: Random) -> None:
        """Reset a part of the connections.

        Args:
            fraction: from 0 to 1.
            random: which ones.
        """
        links = self.links
        for link in random.sample(links, round(fraction * len(links))):
            link.reset()

    def freeze(self, *, is_frozen: bool) -> None:
        """Let nothing pass on any connection, new ones too, or let all of it pass."""
        self._is_frozen = is_frozen
        for link in self.links:
            link.clog(_FROZEN, is_clogged=is_frozen)

    async def swizzle(
        self, fault: Swizzle, random: Random, pause: Callable[[float], Awaitable[bool]]
    ) -> None:
        """Stall connections one by one, and let them go in another order.

        Args:
            fault: how many, and how fast.
            random: which ones, and in which orders.
            pause: waits some seconds; its result tells whether to make an end at once.
        """
        links = self.links
        links = random.sample(links, min(fault.connections, len(links)))
        others = random.sample(links, len(links))
        if others == links:
            others.reverse()
        reason = f"swizzle {random.random()}"
        for is_clogged, order in ((True, links), (False, others)):
            is_leaving = False
            for link in order:
                is_leaving = is_leaving or await pause(fault.interval)
                link.clog(reason, is_clogged=is_clogged)

    def _connect(self) -> Link:
        assert self._factory is not None
        number = next(self._numbers)
        link = Link(number, self._factory(), plan=self._plan, on_over=self._forget)
        self._links[number] = link
        if self._is_frozen:
            link.clog(_FROZEN, is_clogged=True)
        return link

    def _forget(self, link: Link) -> None:
        self._links.pop(link.number, None)
        self._plan.forget("link", link.number)

    def _is_wanted(self) -> bool:
        return self._factory is not None and not self._strikes()

    def _strikes(self) -> list[Strike]:
        """Return the faults that have the port closed now."""
        now = asyncio.get_running_loop().time()
        return self._plan.standing("listener", Facts(), now)

    def _stop_listening(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
