"""What is known about one connection of the virtual network."""

import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

__all__ = ["Address", "Connection", "Direction", "VirtualSocket", "Where"]

Direction = Literal["to_client", "to_server"]
"""Which of the two byte streams of a connection, named by where its bytes go."""

FIRST_BYTES = 2_048


class Address(NamedTuple):
    """Where an end of a connection is: what `getsockname()` would say."""

    host: str
    """An IP address."""
    port: int
    """Its port."""


class VirtualSocket:
    """What `get_extra_info("socket")` returns: addresses, and options that change nothing.

    asyncio's own has no more than that, either: it is not for sending or receiving. anyio reads the
    addresses, aiohttp sets options.

    Args:
        near: where this end is.
        far: where the other end is.
    """

    type = socket.SOCK_STREAM
    proto = socket.IPPROTO_TCP

    def __init__(self, near: Address, far: Address) -> None:
        self.family = socket.AF_INET6 if ":" in near.host else socket.AF_INET
        self._near = near
        self._far = far

    def getsockname(self) -> tuple[str, int]:
        """Return where this end is."""
        return self._near.host, self._near.port

    def getpeername(self) -> tuple[str, int]:
        """Return where the other end is."""
        return self._far.host, self._far.port

    def fileno(self) -> int:
        """Return -1, for there is no file behind it."""
        return -1

    def getsockopt(self, *_option: object) -> int:
        """Return 0 for every option."""
        return 0

    def setsockopt(self, *_option: object) -> None:
        """Do nothing: there is no kernel that could send at once or keep alive."""


@dataclass(eq=False, slots=True, kw_only=True)
class Connection:
    """Facts about one connection, for choosing it and for assertions about it.

    It stays readable after the connection is gone. Faults choose connections by a predicate over it
    (`Where`), for example ``lambda connection: connection.is_upgrade and connection.age > 5``.
    """

    index: int
    """Which connection of its network this is, counted from 0 in the order of opening."""

    client: Address
    """Where its client is."""

    server: Address
    """Where its server is."""

    opened_at: float
    """When the server accepted it, in seconds on the clock of the loop."""

    clock: Callable[[], float] = field(repr=False)
    """The clock that `age` is read from, in seconds."""

    first_bytes: bytes = field(default=b"", repr=False)
    """The beginning of what the client wrote, at most 2,048 bytes. Under TLS it is ciphertext."""

    bytes_to_client: int = 0
    """How many bytes the client has received."""

    bytes_to_server: int = 0
    """How many bytes the server has received."""

    @property
    def age(self) -> float:
        """Seconds since the server accepted the connection."""
        return self.clock() - self.opened_at

    @property
    def is_upgrade(self) -> bool:
        """Whether the first request on it asked for a WebSocket (RFC 6455 section 4.1)."""
        head = self.first_bytes.partition(b"\r\n\r\n")[0].lower()
        return b"\r\nupgrade: websocket" in head

    def note_sent(self, direction: Direction, data: bytes | memoryview) -> None:
        """Remember the beginning of what the client writes."""
        room = FIRST_BYTES - len(self.first_bytes)
        if direction == "to_server" and room > 0:
            self.first_bytes += bytes(data[:room])

    def note_received(self, direction: Direction, size: int) -> None:
        """Count `size` bytes as received by the end that `direction` names."""
        if direction == "to_server":
            self.bytes_to_server += size
        else:
            self.bytes_to_client += size


Where = Callable[[Connection], bool]
"""Chooses the connections that a fault hits."""
