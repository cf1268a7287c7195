"""What asyncio's loops can do and a virtual one can not, each with what to do instead."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Final, NoReturn, TypeVar

from simulator.testing.errors import UnsupportedError

__all__ = ["refusing"]

L = TypeVar("L", bound=type[asyncio.AbstractEventLoop])

_PROCESSES: Final = (
    "Another process has no virtual clock, so none can be started. Let the test put an async "
    "function in its place; or test on a real loop, against `python -m simulator --speed 100`."
)
_PIPES: Final = (
    "The other end of a pipe is in real time, so none can be read or written. Let the test "
    "put asyncio's streams in its place, by host and port."
)
_SIGNALS: Final = (
    "Signals come in real time, so none can be waited for. Let the test call what handles "
    "them, at the virtual time at which they would come."
)
_DATAGRAMS: Final = (
    "The virtual network carries streams, and no datagrams. Let the test replace what sends them: "
    "for a resolver of its own, Network.name() gives a host its address."
)
_UNIX_SOCKETS: Final = (
    "The virtual network has no Unix sockets. Let the test listen and connect by host and port."
)
_SOCKETS: Final = (
    "Real sockets and files are ready in real time, so they can not be waited for. Use "
    "streams, create_connection() and create_server(), by host and port; replace what has sockets "
    "of its own, as drivers of databases do."
)
_SENDFILE: Final = (
    "The kernel sends no files over the virtual network. Write what they hold; aiohttp does that "
    "by itself, with threads='inline'."
)

_REFUSED: Final[Mapping[str, str]] = {
    "subprocess_exec": _PROCESSES,
    "subprocess_shell": _PROCESSES,
    "connect_read_pipe": _PIPES,
    "connect_write_pipe": _PIPES,
    "add_signal_handler": _SIGNALS,
    "create_datagram_endpoint": _DATAGRAMS,
    "create_unix_connection": _UNIX_SOCKETS,
    "create_unix_server": _UNIX_SOCKETS,
    "add_reader": _SOCKETS,
    "add_writer": _SOCKETS,
    "connect_accepted_socket": _SOCKETS,
    "sock_accept": _SOCKETS,
    "sock_recv": _SOCKETS,
    "sock_recv_into": _SOCKETS,
    "sock_recvfrom": _SOCKETS,
    "sock_recvfrom_into": _SOCKETS,
    "sock_sendall": _SOCKETS,
    "sock_sendfile": _SOCKETS,
    "sock_sendto": _SOCKETS,
    "sendfile": _SENDFILE,
}
_REMOVING: Final = ("remove_reader", "remove_signal_handler", "remove_writer")


def refusing(kind: L) -> L:
    """Let a class of loops raise `UnsupportedError` for what takes real time.

    Nothing that could be removed is ever added, so to remove it is no error, as in asyncio.
    """
    for name, sentence in _REFUSED.items():
        setattr(kind, name, _refusal(f"There is no {name}() on virtual time. {sentence}"))
    for name in _REMOVING:
        setattr(kind, name, _nothing)
    return kind


def _refusal(sentence: str) -> Callable[..., NoReturn]:
    def refuse(*_: object, **__: object) -> NoReturn:
        raise UnsupportedError(sentence)

    return refuse


def _nothing(*_: object) -> bool:
    return False
