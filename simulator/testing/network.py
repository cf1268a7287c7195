"""The virtual network: who listens where, who is connected, and the faults between them.

Names and addresses: IP addresses stand for themselves, ``localhost`` is 127.0.0.1, and any other
name that a server listens at, or that `Network.name` was told, has an address of its own.

What it leaves out, and only real sockets show: the megabytes that kernels buffer on loopback, and
the limits of file descriptors and ports.
"""

import asyncio
import errno
import ipaddress
import itertools
import random
import socket
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, NamedTuple

from simulator.testing.conditions import Conditions, Cuts, Fault
from simulator.testing.connection import Address, Connection, Where
from simulator.testing.link import Link
from simulator.testing.listener import Listener, ProtocolFactory
from simulator.testing.pipe import Observer, Pipe
from simulator.testing.tls import Tls

__all__ = ["Dial", "Network", "NetworkStats"]

CAPACITY = 65_536  # bytes; small, so that a stalled peer is felt soon
DIALS_KEPT = 100_000
EPHEMERAL_PORTS = range(32_768, 61_000)  # the range that Linux hands out
SYN_RETRIES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)  # seconds; Linux, tcp_syn_retries = 6
WILDCARDS = ("0.0.0.0", "::")  # noqa: S104  # recognised here, not bound


@dataclass(slots=True)
class Dial:
    """One attempt to connect: `Network.dials` has them."""

    at: float
    """When it began, in seconds on the clock of the loop."""

    address: Address
    """What was dialled."""

    outcome: Literal["pending", "connected", "refused", "timed out", "cancelled"] = "pending"
    """What has become of it so far."""


class NetworkStats(NamedTuple):
    """What the network has carried so far."""

    dials: int
    """Attempts to connect."""
    connected: int
    """Dials that a server accepted."""
    open_connections: int
    """Connections of which at least one end is still there."""
    bytes_to_client: int
    """Received by clients."""
    bytes_to_server: int
    """Received by servers."""


class Network(Conditions):
    """An in-memory network with faults, for one `VirtualLoop`.

    Args:
        seed: of all its randomness.
        latency: (minimum, maximum) seconds that a piece of data travels; a number means that long
            each time.
        capacity: how many bytes of a connection are on their way at most, in each direction.
        observer: told of everything that arrives; None means nobody.

    Raises:
        ValueError: `latency` or `capacity` is out of its range.
    """

    def __init__(
        self,
        seed: int = 0,
        *,
        latency: tuple[float, float] | float = (0.0005, 0.02),
        capacity: int = CAPACITY,
        observer: Observer | None = None,
    ) -> None:
        if capacity < 1:
            raise ValueError(f"capacity must be at least 1 byte, not {capacity!r}.")
        super().__init__(random.Random(seed), latency)
        self.dials: deque[Dial] = deque(maxlen=DIALS_KEPT)
        """The newest 100,000 attempts to connect, oldest first."""
        self._capacity = capacity
        self._observer = observer
        self._loop: asyncio.AbstractEventLoop | None = None
        self._listeners: dict[Address, Listener] = {}
        self._links: dict[Connection, Link] = {}
        self._names = {"localhost": "127.0.0.1"}
        self._port_numbers = itertools.count()
        self._indexes = itertools.count()
        self._dial_count = 0
        self._connected_count = 0
        self._bytes_of_the_gone = [0, 0]

    @property
    def connections(self) -> tuple[Connection, ...]:
        """The open connections, oldest first; one is open until both ends have let go."""
        return tuple(self._links)

    def stats(self) -> NetworkStats:
        """Return the counters."""
        to_client, to_server = self._bytes_of_the_gone
        return NetworkStats(
            dials=self._dial_count,
            connected=self._connected_count,
            open_connections=len(self._links),
            bytes_to_client=to_client + sum(c.bytes_to_client for c in self._links),
            bytes_to_server=to_server + sum(c.bytes_to_server for c in self._links),
        )

    def reset(self, *, where: Where | None = None) -> int:
        """Reset connections now: both ends see ECONNRESET, what is on its way is lost.

        Args:
            where: which connections; None means all.

        Returns:
            How many connections were reset.
        """
        chosen = self._chosen(where)
        for link in chosen:
            link.reset()
        return len(chosen)

    def close(self, *, where: Where | None = None) -> int:
        """End connections in order now, as a proxy does that closes both of its sides.

        Both ends see the end of the stream, what is on its way is lost.

        Args:
            where: which connections; None means all.

        Returns:
            How many connections were closed.
        """
        chosen = self._chosen(where)
        for link in chosen:
            link.close()
        return len(chosen)

    def name(self, host: str, address: str | None = None) -> str:
        """Give a host name an address.

        Args:
            host: the name.
            address: its IP address; None means a new one of its own, unless it has one already.

        Returns:
            The IP address of the name.
        """
        if address is not None:
            self._names[host] = str(ipaddress.ip_address(address))
        elif host not in self._names:
            self._names[host] = str(ipaddress.IPv4Address("10.0.0.0") + len(self._names))
        return self._names[host]

    def resolve(self, host: str) -> str:
        """Return the IP address of a name or of an IP address.

        Raises:
            socket.gaierror: nobody has given the name an address.
        """
        try:
            return self._names.get(host) or _canonical(host)
        except ValueError:
            message = f"Name or service not known: {host!r} (Network.name() gives it an address)"
            raise socket.gaierror(socket.EAI_NONAME, message) from None

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Carry the connections of `loop`; a loop calls it once.

        Raises:
            RuntimeError: the network belongs to another loop that is still open.
        """
        if self._loop is not None and not self._loop.is_closed():
            raise RuntimeError(
                "A Network serves one loop at a time, and this one has an open loop."
            )
        self._loop = loop
        self._listeners.clear()
        self._links.clear()

    def time(self) -> float:
        """Return the seconds on the clock of the loop, 0 while there is none."""
        return 0.0 if self._loop is None else self._loop.time()

    def listen(
        self,
        factory: ProtocolFactory,
        hosts: Iterable[str],
        port: int,
        *,
        tls: Tls | None = None,
    ) -> Listener:
        """Prepare to listen; `Listener.start_serving` does it.

        Args:
            factory: makes a protocol for each connection.
            hosts: names or IP addresses; a new name gets an address of its own.
            port: 0 means any free one.
            tls: how connections are encrypted; None means that they are not.

        Raises:
            OSError: somebody listens there already (EADDRINUSE).
        """
        addresses = []
        for host in hosts:
            port = port or self._free_port()
            addresses.append(Address(self._address_of(host), port))
        for address in addresses:
            if self._listener_at(address) is not None:
                message = f"error while attempting to bind on address {tuple(address)}: in use"
                raise OSError(errno.EADDRINUSE, message)
        return Listener(
            self._running_loop, factory, tuple(addresses), tls=tls, register=self._register
        )

    async def dial(self, host: str, port: int) -> Link:
        """Connect to an IP address; the client's end has no protocol yet.

        Raises:
            ConnectionRefusedError: nobody listens there, or a fault refuses.
            TimeoutError: nobody answered for 127 seconds.
        """
        dial = Dial(self.time(), Address(host, port))
        self.dials.append(dial)
        self._dial_count += 1
        try:
            link = await self._dial(dial.address)
        except ConnectionRefusedError:
            dial.outcome = "refused"
            raise
        except TimeoutError:
            dial.outcome = "timed out"
            raise
        except asyncio.CancelledError:
            dial.outcome = "cancelled"
            raise
        dial.outcome = "connected"
        return link

    def _faults_changed(self) -> None:
        for link in list(self._links.values()):
            link.wake()

    def _add(self, fault: Fault) -> Fault:
        super()._add(fault)
        if isinstance(fault, Cuts):
            for link in self._links.values():
                self._schedule_cut(link, fault)
        return fault

    def _schedule_cut(self, link: Link, fault: Cuts) -> None:
        def cut() -> None:
            if fault in self.faults and fault.hits(link.connection):
                if fault.clean:
                    link.close()
                else:
                    link.reset()

        age = self.rng.uniform(fault.minimum, fault.maximum)
        remaining = age - link.connection.age
        link.call_later(remaining if remaining > 0 else age, cut)

    async def _dial(self, address: Address) -> Link:
        for wait in SYN_RETRIES:
            if self.answer(address) != "silence":
                break
            await asyncio.sleep(wait)
        else:
            raise TimeoutError(errno.ETIMEDOUT, f"Connect call timed out {tuple(address)}")
        await asyncio.sleep(self.delay(None))
        listener = self._listener_at(address)
        if listener is None or self.answer(address) != "accept":
            await asyncio.sleep(self.delay(None))
            raise ConnectionRefusedError(
                errno.ECONNREFUSED, f"Connect call failed {tuple(address)}"
            )
        link = self._open(address)
        listener.accept_soon(link)
        try:
            await asyncio.sleep(self.delay(None))
        except BaseException:
            link.abandon_end(is_server=False)
            raise
        return link

    def _open(self, server: Address) -> Link:
        client_host = "::1" if ":" in server.host else "127.0.0.1"
        connection = Connection(
            index=next(self._indexes),
            client=Address(client_host, self._free_port()),
            server=server,
            opened_at=self.time(),
            clock=self.time,
        )
        loop = self._running_loop
        to_server = Pipe(
            loop, connection, "to_server", self, capacity=self._capacity, observer=self._observer
        )
        to_client = Pipe(
            loop, connection, "to_client", self, capacity=self._capacity, observer=self._observer
        )
        link = Link(loop, connection, to_server, to_client, self._forget)
        self._links[connection] = link
        self._connected_count += 1
        for fault in self.faults:
            if isinstance(fault, Cuts):
                self._schedule_cut(link, fault)
        return link

    def _forget(self, link: Link) -> None:
        if self._links.pop(link.connection, None) is not None:
            self._bytes_of_the_gone[0] += link.connection.bytes_to_client
            self._bytes_of_the_gone[1] += link.connection.bytes_to_server

    @property
    def _running_loop(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            raise RuntimeError("This Network has no loop: pass it to run() or to VirtualLoop().")
        return self._loop

    def _chosen(self, where: Where | None) -> list[Link]:
        return [link for link in self._links.values() if where is None or where(link.connection)]

    def _register(self, listener: Listener, is_listening: bool) -> None:
        for address in listener.addresses:
            if is_listening:
                self._listeners[address] = listener
            elif self._listeners.get(address) is listener:
                del self._listeners[address]

    def _listener_at(self, address: Address) -> Listener | None:
        hosts = (address.host, *WILDCARDS)
        found = (self._listeners.get(Address(host, address.port)) for host in hosts)
        return next((listener for listener in found if listener is not None), None)

    def _address_of(self, host: str) -> str:
        try:
            return self.resolve(host)
        except socket.gaierror:
            return self.name(host)

    def _free_port(self) -> int:
        taken = {address.port for address in self._listeners}
        turns = (EPHEMERAL_PORTS[turn % len(EPHEMERAL_PORTS)] for turn in self._port_numbers)
        return next(port for port in turns if port not in taken)


@lru_cache(maxsize=64)  # asked at each dial, and of few addresses
def _canonical(address: str) -> str:
    return str(ipaddress.ip_address(address))
