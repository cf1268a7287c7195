"""HTTP and WebSocket: the only file that knows aiohttp and websockets.

What they raise leaves this file as an error of ours, with the original as its cause; see
`http_error` and `channel_error`. What is set here against their defaults, and why:

* Redirects are not followed: the API key would go to whatever host the answer names.
* Answers are asked for without compression and read up to a limit, so that a small answer cannot
  fill the memory. Frames are not compressed: it costs 32 KiB a connection.
* Proxies of the environment are used for both channels or for none (`trust_env`).
* websockets' keepalive is off: it goes blind while a write waits, and the core has its own watch
  on what is received. So is its ten-second wait for a dead peer at close.
* One session with one connection pool serves the whole life of a client, without cookies.
"""

from __future__ import annotations

import logging
import os
import re
import socket
import ssl
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import SplitResult, urlsplit

import aiohttp
import anyio
import websockets
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import (
    ConnectionClosed,
    InvalidHandshake,
    InvalidMessage,
    InvalidProxy,
    InvalidStatus,
    ProxyError,
    WebSocketException,
)
from websockets.typing import Subprotocol

from vtrans_hybrid.dialect import Capabilities, Request, Response
from vtrans_hybrid.errors import (
    ClientClosed,
    ConnectFailed,
    ConnectionLost,
    ProtocolError,
    RequestTimeout,
    TransportError,
    VtransError,
)
from vtrans_hybrid.refusal import refusal

__all__ = [
    "AGENT",
    "Channel",
    "NetworkOptions",
    "Transport",
    "channel_error",
    "check_api_key",
    "check_base_url",
    "http_error",
]

AGENT = "vtrans-hybrid/0.1"

_MAX_FRAME = 2**20
"""Bytes of the largest frame; docs/protocol.md section 3 allows the server a quarter of that."""

_MAX_UNREAD = 2**20
"""Bytes that may wait for the server to read them. We wait ourselves before there are as many; only
the answers to pings of the WebSocket protocol, which websockets sends unasked, get here."""

_IDLE = 10.0
"""Seconds for which an HTTP connection is kept for the next request. The simulator closes them
after 12 s; a request must not meet a close on its way."""

_CLOSE_TIMEOUT = 0.08
"""Seconds for a close handshake. A peer that does not answer sooner is cut off."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkOptions:
    """How to reach the server.

    Attributes:
        allow_insecure: Whether to send the API key over plain http to a host that is not this
            machine; where not, such an address is a `ValueError`.
        trust_env: Whether to use the proxies that the environment names (HTTP_PROXY and so on).
        ca_file: File with certificates to trust instead of the system's; None trusts these. One
            without any is a `ValueError` when a client is made with it.
        max_connections: How many HTTP connections may be open at once.

    Raises:
        ValueError: `max_connections` is below 1.
    """

    allow_insecure: bool = False
    trust_env: bool = False
    ca_file: str | None = None
    max_connections: int = 20

    def __post_init__(self) -> None:
        if self.max_connections < 1:
            raise ValueError(f"max_connections must be at least 1, not {self.max_connections}")


def check_base_url(base_url: str, *, has_key: bool, allow_insecure: bool) -> str:
    """Return the address of a server without a slash at its end.

    Raises:
        ValueError: It is no http or https address, or would send a key in clear text.
    """
    parts = _split(base_url)
    if parts is None or parts.scheme not in ("http", "https") or not parts.hostname:
        shown = _without_secrets(base_url)
        raise ValueError(f"base_url must look like https://host[:port][/path], not {shown!r}")
    if "?" in base_url or "#" in base_url or parts.username or parts.password:
        raise ValueError("base_url must not carry a query, a fragment or a password")
    if has_key and parts.scheme == "http" and not (allow_insecure or _is_loopback(parts.hostname)):
        raise ValueError(
            f"the API key would travel to {parts.hostname} in clear text: use https, or pass "
            "NetworkOptions(allow_insecure=True), or --allow-insecure on the command line, if you "
            "know that network"
        )
    return parts.scheme + base_url[len(parts.scheme) :].rstrip("/")


def check_api_key(key: str | None) -> str | None:
    """Return a key that can be sent in a header; None for none.

    Raises:
        TypeError: It is no text.
        ValueError: It has characters that no key has.
    """
    if key is None or key == "":
        return None
    if not isinstance(key, str):
        raise TypeError(f"the API key is text, not {type(key).__name__}")
    if not key.isascii() or not key.isprintable() or " " in key:
        raise ValueError(
            "the API key has characters that no key has: is there a space or a line break in it, "
            'or a word such as "Bearer" before it?'
        )
    return key


def _without_secrets(url: object) -> object:
    """Return an address without the parts in which people put keys: password, query, fragment."""
    if not isinstance(url, str):
        return url
    return re.sub(r"[?#].*", "?***", re.sub(r"(?s)^(.*//)?.*@", r"\1***@", url), flags=re.DOTALL)


def _split(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises for a port that is no number
    except (ValueError, AttributeError, TypeError):
        return None
    if not isinstance(url, str):
        return None
    if any(character.isspace() or ord(character) < 32 for character in url):
        return None
    return parts


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _context(ca_file: str) -> ssl.SSLContext:
    """Return a context that trusts the certificates of a file.

    Raises:
        ValueError: There are none.
    """
    try:
        return ssl.create_default_context(cafile=ca_file)
    except OSError as error:  # an SSLError is one, too
        why = error.strerror or error
        raise ValueError(f"ca_file {ca_file!r} holds no certificates: {why}") from error


class Transport:
    """Carries requests and opens channels.

    Args:
        base_url: Address as `check_base_url` returns it.
        api_key: The key; None sends nothing.
        options: How to reach the server.
        request_timeout: Seconds that one request may take.
        capabilities: Of the backend, which say in which header the key travels.
    """

    def __init__(
        self,
        base_url: str,
        api_key: str | None,
        options: NetworkOptions,
        request_timeout: float,
        capabilities: Capabilities = Capabilities(),
    ) -> None:
        self.base_url = base_url
        self._options = options
        self._timeout = request_timeout
        self._headers = {"accept-encoding": "identity", "user-agent": AGENT}
        self._key_header = capabilities.key_header
        if api_key is not None:
            self._headers[self._key_header] = _Secret(capabilities.key_prefix + api_key)
        self._ssl: ssl.SSLContext | None = None
        if options.ca_file is not None:
            self._ssl = _context(options.ca_file)
        self._session: aiohttp.ClientSession | None = None
        self._requests: set[anyio.CancelScope] = set()
        self._is_closed = False

    async def request(self, request: Request) -> Response:
        """Carry out one HTTP request.

        Raises:
            TransportError: No whole answer came.
            ProtocolError: The answer is no HTTP, or too large.
        """
        session = self._open_session()
        scope = anyio.CancelScope()
        self._requests.add(scope)
        try:
            with scope:
                return await self._exchange(session, request)
        except (aiohttp.ClientError, OSError, RuntimeError, ValueError) as error:
            if self._is_closed:
                raise ClientClosed from error
            raise http_error(error, self._timeout) from _without_request(error)
        finally:
            self._requests.remove(scope)
        raise ClientClosed

    async def open_channel(self, capabilities: Capabilities) -> Channel:
        """Open the push channel of a backend.

        Raises:
            TransportError: No connection came about.
            ServerError: The server refused the upgrade.
            ProtocolError: The server speaks another protocol.
        """
        assert capabilities.push_path is not None, "only a backend with a channel is dialed"
        try:
            connection = await _Connect(
                "ws" + self.base_url.removeprefix("http") + capabilities.push_path,
                subprotocols=_subprotocols(capabilities),
                additional_headers=self._channel_headers(),
                user_agent_header=AGENT,
                compression=None,
                open_timeout=None,  # the core's deadline cancels us
                ping_interval=None,
                close_timeout=_CLOSE_TIMEOUT,
                max_size=_MAX_FRAME,
                create_connection=_Connection,
                proxy=True if self._options.trust_env else None,
                logger=_quiet,
                ssl=self._tls(),
            )
        except (OSError, WebSocketException, EOFError, ValueError) as error:
            raise channel_error(error) from error
        channel = Channel(connection)
        if capabilities.subprotocol not in (None, connection.subprotocol):
            await channel.aclose(1002, "no common subprotocol")
            raise ProtocolError(
                f"the server opened a WebSocket, but does not speak {capabilities.subprotocol}"
            )
        return channel

    async def aclose(self) -> None:
        """End what is under way and close the connection pool."""
        self._is_closed = True
        for scope in self._requests:
            scope.cancel()
        if self._session is not None:
            await self._session.close()

    def _open_session(self) -> aiohttp.ClientSession:
        if self._is_closed:
            raise ClientClosed
        if self._session is None:
            # Where ssl=True, aiohttp verifies against the system's certificates.
            connector = aiohttp.TCPConnector(
                limit=self._options.max_connections,
                keepalive_timeout=_IDLE,
                ssl=self._ssl or True,
            )
            self._session = aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                headers=self._headers,
                timeout=aiohttp.ClientTimeout(total=self._timeout),
                trust_env=self._options.trust_env,
            )
        return self._session

    async def _exchange(self, session: aiohttp.ClientSession, request: Request) -> Response:
        async with session.request(
            request.method,
            self.base_url + request.path,
            headers=request.headers,
            data=request.body,
            allow_redirects=False,
        ) as answer:
            body = await _read_body(answer, request.max_answer)
            headers = {name.lower(): value for name, value in answer.headers.items()}
            return Response(status=answer.status, headers=headers, body=body)

    def _channel_headers(self) -> dict[str, str]:
        return {k: v for k, v in self._headers.items() if k == self._key_header}

    def _tls(self) -> ssl.SSLContext | bool | None:
        """Return what websockets wants: nothing for ws, a context or True for wss."""
        return (self._ssl or True) if self.base_url.startswith("https:") else None


class Channel:
    """One open WebSocket: frames in, frames out."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection

    async def receive(self) -> bytes:
        """Return the next frame.

        Raises:
            ConnectionLost: The connection ended, cleanly or not.
        """
        try:
            return await self._connection.recv(decode=False)
        except ConnectionClosed as error:
            raise channel_error(error) from error

    async def send(self, frame: bytes) -> None:
        """Send a text frame; waits while the peer does not read.

        Raises:
            ConnectionLost: The connection ended.
        """
        try:
            await self._connection.send(frame, text=True)
        except ConnectionClosed as error:
            raise channel_error(error) from error

    async def aclose(self, code: int = 1000, reason: str = "") -> None:
        """Close within a tenth of a second, whether or not the peer is there."""
        with anyio.CancelScope(shield=True):
            try:
                with anyio.move_on_after(_CLOSE_TIMEOUT):
                    await self._connection.close(code, _short(reason))
            finally:
                # Whatever comes of it: in a task that is cancelled, a timeout of asyncio within it
                # may end as a cancellation that no scope knows (early CPython 3.11).
                self._connection.transport.abort()


class _Connection(ClientConnection):
    """websockets' connection, which leaves a server that pings and reads nothing."""

    def data_received(self, data: bytes) -> None:
        """Take bytes; the answers to the pings among them are written at once."""
        super().data_received(data)
        if self.transport.get_write_buffer_size() > _MAX_UNREAD:
            self.transport.abort()


class _Connect(connect):
    """websockets' connect, without redirects."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        """Take a redirect for the refusal that it is to us."""
        return exc


class _Secret(str):
    """A text that is sent, but not shown: exceptions of aiohttp hold the headers of a request."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"


def _short(reason: str) -> str:
    """Return what fits a close frame: 123 bytes, RFC 6455 section 5.5."""
    return reason.encode(errors="replace")[:123].decode(errors="ignore")


# The debug log of websockets prints headers, and with them the key.
_quiet = logging.getLogger("vtrans_hybrid.websockets")
_quiet.setLevel(logging.INFO)


def _subprotocols(capabilities: Capabilities) -> list[Subprotocol] | None:
    return None if capabilities.subprotocol is None else [Subprotocol(capabilities.subprotocol)]


async def _read_body(answer: aiohttp.ClientResponse, limit: int) -> bytes:
    body = bytearray()
    async for chunk in answer.content.iter_chunked(65536):
        body += chunk
        if len(body) > limit:
            raise ProtocolError(f"the server's answer is longer than {limit} bytes")
    return bytes(body)


def http_error(error: Exception, timeout: float) -> VtransError:
    """Return our error for one that a request of aiohttp raised.

    Args:
        error: What was raised.
        timeout: The time limit of the request in seconds, for the message.
    """
    if isinstance(error, VtransError):
        return error
    said = _said(error)
    # Order matters: aiohttp's connection errors are OSErrors, its timeouts are TimeoutErrors, and
    # since Python 3.10 the latter are OSErrors too.
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return ConnectFailed(_no_connection(said))
    if isinstance(error, TimeoutError):
        return RequestTimeout(f"the server did not answer within {timeout:g} s")
    if isinstance(error, aiohttp.ClientConnectorError):
        cause = error.os_error
        if isinstance(cause, (ConnectionError, socket.gaierror)):
            number = cause.errno or 0  # below zero are those of name resolution
            why = os.strerror(number) if number > 0 else cause.strerror
            said = f"{error.host}:{error.port}, {why}"
        return ConnectFailed(_no_connection(said))
    if isinstance(error, aiohttp.ClientPayloadError):
        return ConnectionLost(f"the server's answer broke off: {said}")
    if isinstance(error, (aiohttp.ClientConnectionError, aiohttp.UploadAbortedError, OSError)):
        return ConnectionLost(f"the connection broke during a request: {said}")
    if isinstance(error, aiohttp.InvalidURL):
        return ConnectFailed(f"the address cannot be used: {said}")
    if isinstance(error, aiohttp.ClientError):
        return ProtocolError(f"the server does not speak proper HTTP: {said}")
    if isinstance(error, ValueError):
        return ProtocolError(f"the server's answer cannot be read: {said}")
    return TransportError(f"the request could not be carried out: {said}")


def _without_request(error: Exception) -> Exception:
    """Return an error without the request that it is about, whose headers hold the API key."""
    if isinstance(error, aiohttp.ClientResponseError):
        return RuntimeError(f"{type(error).__name__}: {error}").with_traceback(error.__traceback__)
    return error


def _no_connection(said: str) -> str:
    why = said.rstrip(".")
    return f"no connection to the server: {why}. Is base_url right, and is the server running?"


def channel_error(error: Exception) -> VtransError:
    """Return our error for one that websockets raised."""
    said = _said(error)
    if isinstance(error, ConnectionClosed):
        close = error.rcvd or error.sent
        code = None if close is None else close.code
        reason = "" if close is None else close.reason
        told = f"close code {code}" if code is not None else "no close frame"
        return ConnectionLost(
            f"the channel ended ({told}{': ' + reason if reason else ''})",
            code=code,
            reason=reason,
        )
    if isinstance(error, InvalidStatus):
        headers = {name.lower(): value for name, value in error.response.headers.raw_items()}
        return refusal(
            Response(status=error.response.status_code, headers=headers, body=b""),
            message="the WebSocket upgrade was refused",
        )
    if isinstance(error, InvalidProxy):
        return ConnectFailed(f"the proxy of the environment cannot be used: {error.msg}")
    if isinstance(error, (ProxyError, InvalidMessage, OSError, EOFError)):
        return ConnectFailed(f"no connection to the channel: {said}")
    if isinstance(error, (InvalidHandshake, websockets.InvalidURI, ValueError)):
        return ProtocolError(f"the server does not open a proper WebSocket: {said}")
    return TransportError(f"the channel failed: {said}")


def _said(error: Exception) -> str:
    said = (str(error) or type(error).__name__)[:300]
    if "WRONG_VERSION_NUMBER" in said:
        said += " (is it http, not https, that is spoken there?)"
    return said
