"""An asyncio loop on virtual time.

Timers cost nothing: when nothing is ready, the clock jumps to the next timer. A sleep of ten
minutes takes microseconds, and every run with the same seed is the same run.

Threads are refused: what finishes "later" in a thread has no place on a virtual clock.
"""

import asyncio
import socket
import ssl as ssl_module
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from contextvars import Context
from functools import partial
from typing import Any, Literal, TypeVar, TypeVarTuple, Unpack

from simulator.testing.clock import LONGEST_RUN, ClockLoop
from simulator.testing.errors import UnsupportedError
from simulator.testing.link import Link
from simulator.testing.listener import Listener, ProtocolFactory
from simulator.testing.network import Network
from simulator.testing.refusals import refusing
from simulator.testing.tls import Tls

__all__ = ["Threads", "VirtualLoop"]

T = TypeVar("T")
Ts = TypeVarTuple("Ts")
P = TypeVar("P", bound=asyncio.BaseProtocol)

Threads = Literal["inline", "refuse"]
"""What becomes of functions that are to run in a thread of an executor."""

AddressInfo = (
    tuple[Literal[socket.AddressFamily.AF_INET], socket.SocketKind, int, str, tuple[str, int]]
    | tuple[
        Literal[socket.AddressFamily.AF_INET6],
        socket.SocketKind,
        int,
        str,
        tuple[str, int, int, int] | tuple[int, bytes],
    ]
)


@refusing
class VirtualLoop(ClockLoop):
    """An asyncio loop whose clock jumps and whose network is in memory.

    Real clients and servers run on it unmodified: aiohttp, websockets, anyio, asyncio's streams,
    and TLS. Threads, subprocesses, signals, datagrams, Unix sockets and real sockets do not: who
    asks for them gets an `UnsupportedError`, which says what to do instead.

    Args:
        network: carries the connections; None means a new `Network` with `seed`.
        seed: of the network that is made if none is given, and of `shuffle`.
        time_limit: how many seconds of virtual time may pass, at most 8,000,000.
        step_limit: how many passes the loop may make; None means any number.
        shuffle: whether tasks that are ready together run in random order. asyncio promises no
            order, and code that depends on one breaks here first.
        threads: what becomes of functions that are to run in a thread of an executor: "refuse"
            raises, "inline" calls them at once while the clock stands. aiohttp compresses long
            WebSocket messages, and reads files, in that way.
    """

    def __init__(
        self,
        network: Network | None = None,
        *,
        seed: int = 0,
        time_limit: float = LONGEST_RUN,
        step_limit: int | None = None,
        shuffle: bool = False,
        threads: Threads = "refuse",
    ) -> None:
        self.network = Network(seed) if network is None else network
        """What carries the connections, and where faults are made."""
        self.network.attach(self)  # first: a loop that is open already would have to be closed
        super().__init__(seed=seed, time_limit=time_limit, step_limit=step_limit, shuffle=shuffle)
        self._threads = threads
        self._dialled: weakref.WeakKeyDictionary[socket.socket, Link] = weakref.WeakKeyDictionary()

    def run_in_executor(
        self,
        executor: Executor | None,  # noqa: ARG002  # asyncio's signature
        func: Callable[[Unpack[Ts]], T],
        *args: *Ts,
    ) -> asyncio.Future[T]:
        """Refuse, or call `func` at once if `threads` is "inline".

        Raises:
            UnsupportedError: `threads` is "refuse".
        """
        if self._threads == "refuse":
            raise UnsupportedError(
                f"{_name_of(func)} was to run in a thread, which can not be put on a virtual "
                "clock. If it is quick and waits for nothing, threads='inline' calls it directly: "
                "an option of run(), and of @pytest.mark.virtual_time."
            )
        future: asyncio.Future[T] = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as exc:
            future.set_exception(exc)
        return future

    async def getaddrinfo(
        self,
        host: bytes | str | None,
        port: bytes | str | int | None,
        *,
        family: int = 0,
        type: int = 0,  # noqa: A002, ARG002  # asyncio's signature
        proto: int = 0,  # noqa: ARG002  # asyncio's signature
        flags: int = 0,
    ) -> list[AddressInfo]:
        """Return the one address that `host` has on the virtual network.

        Raises:
            socket.gaierror: nobody has given the name an address, or one of another family.
        """
        if isinstance(host, bytes):
            host = host.decode()
        if not host:
            host = "0.0.0.0" if flags & socket.AI_PASSIVE else "127.0.0.1"  # noqa: S104  # as libc
        address = self.network.resolve(host)
        found = socket.AF_INET6 if ":" in address else socket.AF_INET
        if family not in (0, found):
            raise socket.gaierror(socket.EAI_FAMILY, f"{host!r} has no address of this family")
        stream, tcp, number = socket.SOCK_STREAM, socket.IPPROTO_TCP, int(port or 0)
        if found is socket.AF_INET6:
            return [(found, stream, tcp, "", (address, number, 0, 0))]
        return [(socket.AF_INET, stream, tcp, "", (address, number))]

    async def getnameinfo(
        self,
        sockaddr: tuple[str, int] | tuple[str, int, int, int],
        flags: int = 0,  # noqa: ARG002  # asyncio's signature
    ) -> tuple[str, str]:
        """Return the address itself, as for a host without a reverse name."""
        return sockaddr[0], str(sockaddr[1])

    async def sock_connect(self, sock: socket.socket, address: Any) -> None:
        """Connect on the virtual network; `sock` stands for the connection from then on.

        The real socket stays unconnected: `create_connection(sock=sock)` takes the connection up.

        Raises:
            OSError: refused, timed out, or an unknown name.
        """
        host, port = address[:2]
        link = await self.network.dial(self.network.resolve(host), port)
        self._dialled[sock] = link
        # A client that gives up closes the socket without ever making a transport of it.
        weakref.finalize(sock, link.abandon_unopened_client).atexit = False

    async def create_connection(
        self,
        protocol_factory: Callable[[], P],
        host: str | None = None,
        port: int | None = None,
        *,
        ssl: ssl_module.SSLContext | bool | None = None,
        sock: socket.socket | None = None,
        server_hostname: str | None = None,
        ssl_handshake_timeout: float | None = None,
        ssl_shutdown_timeout: float | None = None,
        **_options: Any,
    ) -> tuple[asyncio.Transport, P]:
        """Connect to a server of the virtual network.

        Args:
            protocol_factory: makes the client's protocol.
            host: a name or an IP address.
            port: the port.
            ssl: how to encrypt; True means as for a public server.
            sock: what `sock_connect` has connected, instead of host and port.
            server_hostname: the name that the certificate must carry; None means `host`.
            ssl_handshake_timeout: seconds; None means asyncio's default.
            ssl_shutdown_timeout: seconds; None means asyncio's default.
            _options: what else asyncio takes; it makes no difference here.

        Returns:
            The transport and the protocol, whose `connection_made` has run.

        Raises:
            OSError: refused, timed out, or an unknown name.
        """
        if ssl and server_hostname is None and not host:
            raise ValueError("You must set server_hostname when using ssl without a host")
        link = await self._link_to(host, port, sock)
        try:
            protocol = protocol_factory()
        except BaseException:
            link.abandon_end(is_server=False)
            raise
        waiter: asyncio.Future[None] = self.create_future()
        if not ssl:
            transport = link.open_end(protocol, is_server=False, sock=sock)
            self.call_soon(_set_unless_done, waiter)
            await self._wait_or_abort(waiter, transport)
            return transport, protocol
        tls = Tls(
            context=ssl_module.create_default_context() if ssl is True else ssl,
            is_server=False,
            server_name=host if server_hostname is None else server_hostname,
            handshake_timeout=ssl_handshake_timeout,
            shutdown_timeout=ssl_shutdown_timeout,
        )
        wrapped = tls.wrap(self, protocol, waiter)
        transport = link.open_end(wrapped, is_server=False, sock=sock)
        await self._wait_or_abort(waiter, transport)
        return wrapped._app_transport, protocol

    async def create_server(  # type: ignore[override]  # one signature for asyncio's six
        self,
        protocol_factory: ProtocolFactory,
        host: str | Sequence[str] | None = None,
        port: int | None = None,
        *,
        sock: socket.socket | None = None,
        ssl: ssl_module.SSLContext | None = None,
        ssl_handshake_timeout: float | None = None,
        ssl_shutdown_timeout: float | None = None,
        start_serving: bool = True,
        **_options: Any,
    ) -> Listener:
        """Listen on the virtual network.

        Args:
            protocol_factory: makes a protocol for each connection.
            host: one or more names or IP addresses; None or "" means all. A new name gets an
                address of its own.
            port: None or 0 means any free one.
            sock: not supported.
            ssl: how to encrypt; None means not at all.
            ssl_handshake_timeout: seconds; None means asyncio's default.
            ssl_shutdown_timeout: seconds; None means asyncio's default.
            start_serving: whether to accept connections at once.
            _options: what else asyncio takes; it makes no difference here.

        Raises:
            OSError: somebody listens there already.
            UnsupportedError: `sock` was given.
        """
        if sock is not None:
            raise UnsupportedError("A real socket can not listen here: pass host and port instead.")
        hosts = [host] if isinstance(host, str) else list(host or ())
        tls = None
        if ssl is not None:
            tls = Tls(
                context=ssl,
                is_server=True,
                handshake_timeout=ssl_handshake_timeout,
                shutdown_timeout=ssl_shutdown_timeout,
            )
        everywhere = "0.0.0.0"  # noqa: S104  # on the virtual network
        listener = self.network.listen(
            protocol_factory, [name or everywhere for name in hosts or [""]], port or 0, tls=tls
        )
        if start_serving:
            await listener.start_serving()
        return listener

    async def _link_to(
        self, host: str | None, port: int | None, sock: socket.socket | None
    ) -> Link:
        if sock is None:
            if port is None:
                raise ValueError("create_connection() needs a host and a port, or a socket.")
            return await self.network.dial(self.network.resolve(host or "127.0.0.1"), port)
        link = self._dialled.pop(sock, None)
        if link is None:
            raise UnsupportedError(
                "This socket was not connected by sock_connect() of the virtual loop; real "
                "connections do not work on virtual time."
            )
        return link

    async def _wait_or_abort(
        self, waiter: "asyncio.Future[None]", transport: asyncio.Transport
    ) -> None:
        try:
            await waiter
        except BaseException:
            transport.abort()
            raise


def _name_of(func: Any) -> str:
    """Return the name of a function, also of one that `asyncio.to_thread` has wrapped."""
    while isinstance(func, partial):
        is_wrapped = isinstance(getattr(func.func, "__self__", None), Context)
        func = func.args[0] if is_wrapped else func.func
    return getattr(func, "__qualname__", None) or repr(func)


def _set_unless_done(waiter: "asyncio.Future[None]") -> None:
    if not waiter.done():
        waiter.set_result(None)
