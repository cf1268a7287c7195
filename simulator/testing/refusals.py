"""What asyncio's loops can do and a virtual one can not, each with what to do instead."""

from collections.abc import Callable
from typing import Any, Final, NoReturn

from simulator.testing.errors import UnsupportedError

__all__ = ["Refusals"]

_PROCESSES: Final = (
    "Another process has no virtual clock, so none can be started here. Let the test put an async "
    "function in its place; or test on a real loop, against `python -m simulator --speed 100`."
)
_PIPES: Final = (
    "The other end of a pipe is in real time, so none can be read or written here. Let the test "
    "put asyncio's streams in its place, by host and port."
)
_SIGNALS: Final = (
    "Signals come in real time, so none can be waited for here. Let the test call what handles "
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
    "Real sockets and files are ready in real time, so they can not be waited for here. Use "
    "streams, create_connection() and create_server(), by host and port; replace what has sockets "
    "of its own, as drivers of databases do."
)
_SENDFILE: Final = (
    "The kernel sends no files over the virtual network. Write what they hold; aiohttp does that "
    "by itself, with threads='inline'."
)


def _refusal(sentence: str) -> Any:
    def refuse(*_: object, **__: object) -> NoReturn:
        raise UnsupportedError(sentence)

    return refuse


def _nothing(*_: object) -> bool:
    """Return False, as asyncio does where nothing was added that could be removed."""
    return False


class Refusals:
    """The methods of a loop that raise `UnsupportedError`, for a loop to inherit first."""

    subprocess_exec = _refusal(_PROCESSES)
    subprocess_shell = _refusal(_PROCESSES)
    connect_read_pipe = _refusal(_PIPES)
    connect_write_pipe = _refusal(_PIPES)
    add_signal_handler = _refusal(_SIGNALS)
    create_datagram_endpoint = _refusal(_DATAGRAMS)
    create_unix_connection = _refusal(_UNIX_SOCKETS)
    create_unix_server = _refusal(_UNIX_SOCKETS)
    add_reader = _refusal(_SOCKETS)
    add_writer = _refusal(_SOCKETS)
    connect_accepted_socket = _refusal(_SOCKETS)
    sock_accept = _refusal(_SOCKETS)
    sock_recv = _refusal(_SOCKETS)
    sock_recv_into = _refusal(_SOCKETS)
    sock_recvfrom = _refusal(_SOCKETS)
    sock_recvfrom_into = _refusal(_SOCKETS)
    sock_sendall = _refusal(_SOCKETS)
    sock_sendfile = _refusal(_SOCKETS)
    sock_sendto = _refusal(_SOCKETS)
    sendfile = _refusal(_SENDFILE)

    remove_reader: Callable[..., bool] = _nothing
    remove_signal_handler: Callable[..., bool] = _nothing
    remove_writer: Callable[..., bool] = _nothing
