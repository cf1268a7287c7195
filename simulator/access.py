"""Who a request comes from, as far as its headers and its socket can tell (docs/security.md)."""

import hmac
import ipaddress
import re
from typing import Final
from urllib.parse import urlsplit

from aiohttp import web

from simulator.keys import key_digest
from simulator.messages import ProblemError

__all__ = ["check_control", "check_origin", "shown_key", "without_secrets"]

# What a proxy adds. Behind one on this machine, the whole world calls from loopback.
_PROXY_HEADERS: Final = ("Forwarded", "Via", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-IP")

# Where callers put a key by mistake; it does not count there, and must not be kept either.
_SECRET: Final = re.compile(
    r"(?i)(^|[?&])([^=&]*(?:auth|key|password|secret|signature|token)[^=&]*)=[^&]*"
)


def shown_key(request: web.Request) -> str | None:
    """Return the key that a request shows (docs/protocol.md section 4.1); None if it shows none."""
    scheme, _, bearer = request.headers.get("Authorization", "").partition(" ")
    key = bearer if scheme.lower() == "bearer" else request.headers.get("X-Api-Key", "")
    return key.strip() or None


def check_origin(request: web.Request, allowed: frozenset[str]) -> None:
    """Refuse pages of foreign sites, for a browser lets any page reach loopback.

    A name of the page's own that leads to loopback makes it no page of ours: whoever owns a name
    can let it lead anywhere (DNS rebinding).

    Args:
        request: without an Origin it comes from no page, or is one of a page's own site.
        allowed: origins beside the server's own.

    Raises:
        ProblemError: `forbidden`.
    """
    origin = request.headers.get("Origin")
    if origin is None or origin in allowed:
        return
    is_own = urlsplit(origin).netloc == request.host
    if not is_own or (_comes_from_here(request) and not _is_local(request.host)):
        raise ProblemError("forbidden", "Pages of this origin may not ask here.")


def check_control(request: web.Request, digest: str | None) -> None:
    """Refuse everybody but who may control the server.

    Args:
        request: to the control API.
        digest: of the key that controls it; None lets programs on this machine do so.

    Raises:
        ProblemError: `unauthorized` or `forbidden`.
    """
    check_origin(request, frozenset())
    if digest is not None:
        if not hmac.compare_digest(key_digest(shown_key(request) or "none"), digest):
            raise ProblemError("unauthorized", "The control API asks for its own key.")
        return
    if not _comes_from_here(request) or any(name in request.headers for name in _PROXY_HEADERS):
        raise ProblemError(
            "forbidden", "Without a control key the control API answers on loopback only."
        )
    if not _is_local(request.host):
        raise ProblemError("forbidden", "Call the control API by its address, or as localhost.")


def without_secrets(path: str) -> str:
    """Return a path with its query, but without the values of what may be a key."""
    return _SECRET.sub(r"\1\2=***", path) if "=" in path else path


def _comes_from_here(request: web.Request) -> bool:
    return request.remote is not None and _is_loopback(request.remote)


def _is_local(host: str) -> bool:
    """Tell whether a Host can lead nowhere but to loopback."""
    name = host.rpartition(":")[0] if re.search(r":[0-9]+$", host) else host
    name = name.removeprefix("[").removesuffix("]").lower()
    return name == "localhost" or name.endswith(".localhost") or _is_loopback(name)


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address.partition("%")[0]).is_loopback
    except ValueError:
        return False
