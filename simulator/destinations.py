"""Where webhooks may go (docs/security.md): which URLs are taken, and which addresses dialed.

A URL is checked as soon as somebody names it, as far as its text shows where it leads. Where a name
leads is only known when it is dialed, and may change from one dial to the next (DNS rebinding): so
each connection asks again, of the address itself, between its lookup and its first packet.
"""

import errno
import ipaddress
import socket
from collections.abc import Iterable
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

__all__ = ["Destinations", "is_loopback"]

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def _networks(*texts: str) -> tuple[_Network, ...]:
    return tuple(map(ipaddress.ip_network, texts))


# The registries of IANA as they are, for `is_global` knows them as they were when Python was made.
# An IPv6 address may also carry an IPv4 one inside, which a gateway on the way takes out: by NAT64,
# 6to4, Teredo, or as IPv4-compatible. So only what is surely unicast and public is public.
_PUBLIC_V6: Final = ipaddress.IPv6Network("2000::/3")
_RESERVED: Final = _networks(
    "192.0.0.0/24",  # protocols of the IETF (RFC 6890)
    "192.88.99.0/24",  # relays of 6to4 (RFC 7526)
    "2001::/23",  # protocols of the IETF (RFC 2928), Teredo among them
    "2001:db8::/32",  # documentation (RFC 3849)
    "2002::/16",  # 6to4 (RFC 3056)
    "3fff::/20",  # documentation (RFC 9637)
)
# What an organisation numbers its own machines with, and nothing else that is not public.
_PRIVATE: Final = _networks(
    "10.0.0.0/8",  # RFC 1918
    "172.16.0.0/12",
    "192.168.0.0/16",
    "fc00::/7",  # RFC 4193
)
# Where clouds tell a machine its keys; they do so at link-local addresses as well.
_METADATA: Final = _networks("fd00:ec2::/32", "fd20:ce::254/128", "168.63.129.16/32")


class Destinations(NamedTuple):
    """Who may be told by webhook."""

    allows_loopback: bool = True
    """Whether programs on this machine may."""
    allows_private: bool = False
    """Whether machines of private networks (RFC 1918, RFC 4193) may, and this machine, too.

    Nothing else that is not public ever may: no link-local address, where clouds keep their keys,
    no multicast, and none that a gateway translates."""

    @classmethod
    def of(cls, host: str, *, allows_private: bool = False) -> "Destinations":
        """Return whom a server may tell.

        Args:
            host: to which the server is bound; on loopback all of its callers are on this machine,
                and may well name themselves.
            allows_private: as above.
        """
        return cls(is_loopback(host) or host.lower() == "localhost", allows_private)

    def check(self, url: str) -> None:
        """Check what its text shows of a URL.

        Raises:
            ValueError: no webhook may go there; the text says why, and does not repeat it.
        """
        if any(character <= " " or character == "\x7f" for character in url):
            raise ValueError("A URL has neither spaces nor control characters.")
        try:
            parts = urlsplit(url)
            host, port = (parts.hostname or "").rstrip("."), parts.port
        except ValueError:
            raise ValueError("The host or the port of this URL is none.") from None
        if parts.scheme not in ("http", "https") or not host:
            raise ValueError("A webhook goes to an http or https URL with a host.")
        if "@" in parts.netloc:
            raise ValueError("The URL of a webhook holds no user and no password.")
        if port == 0:
            raise ValueError("There is no port 0.")
        if host == "localhost" or host.endswith(".localhost"):
            host = "127.0.0.1"  # RFC 6761 section 6.3
        address = _address(host)
        if address is not None and not self.admits(address):
            raise ValueError("No webhook goes to this address.")

    def admits(self, address: _Address) -> bool:
        """Tell whether an address may be dialed."""
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        if address.is_loopback:
            return self.allows_loopback or self.allows_private
        if _is_in(address, _METADATA):
            return False
        if _is_in(address, _PRIVATE):
            return self.allows_private
        if address.is_multicast or (address.version == 6 and address not in _PUBLIC_V6):
            return False
        return address.is_global and not _is_in(address, _RESERVED)

    def open_socket(self, found: tuple[Any, Any, int, str, tuple[Any, ...]]) -> socket.socket:
        """Return a socket to dial an address with, as aiohttp's connector wants it.

        Args:
            found: what `getaddrinfo` says of the address.

        Raises:
            PermissionError: no webhook may go there.
        """
        family, kind, protocol, _, where = found
        address = _address(str(where[0]))
        if address is None or not self.admits(address):
            raise PermissionError(errno.EACCES, "no webhook goes to this address")
        return socket.socket(family, kind, protocol)


def is_loopback(host: str) -> bool:
    """Tell whether an address is one of this machine alone; a name is none."""
    address = _address(host)
    return address is not None and address.is_loopback


def _is_in(address: _Address, networks: Iterable[_Network]) -> bool:
    return any(address in network for network in networks)


def _address(host: str) -> _Address | None:
    """Return the address that a text is, with or without a zone; None if it is none."""
    try:
        return ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None
