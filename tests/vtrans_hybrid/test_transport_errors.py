"""Every exception of aiohttp and websockets becomes one of ours."""

import socket
import ssl
from collections.abc import Iterator

import aiohttp
import pytest
import yarl
from aiohttp.client_exceptions import UnixClientConnectorError
from aiohttp.client_reqrep import ConnectionKey
from multidict import CIMultiDict, CIMultiDictProxy
from websockets import exceptions as ws
from websockets.datastructures import Headers
from websockets.frames import Close
from websockets.http11 import Response as UpgradeAnswer

from vtrans_hybrid import (
    ConnectFailed,
    ConnectionLost,
    ProtocolError,
    RequestTimeout,
    TransportError,
    Unavailable,
    VtransError,
)
from vtrans_hybrid.transport import channel_error, http_error


def family(kind: type[Exception], module: str) -> Iterator[type[Exception]]:
    """Yield a class and all its subclasses that a library defines."""
    if kind.__module__.startswith(module):
        yield kind
    for child in kind.__subclasses__():
        yield from family(child, module)


HTTP_ERRORS: dict[type[Exception], type[VtransError]] = {
    aiohttp.ClientConnectionError: ConnectionLost,
    aiohttp.ClientConnectionResetError: ConnectionLost,
    aiohttp.ClientConnectorCertificateError: ConnectFailed,
    aiohttp.ClientConnectorDNSError: ConnectFailed,
    aiohttp.ClientConnectorError: ConnectFailed,
    aiohttp.ClientConnectorSSLError: ConnectFailed,
    aiohttp.ClientError: ProtocolError,
    aiohttp.ClientHttpProxyError: ProtocolError,
    aiohttp.ClientOSError: ConnectionLost,
    aiohttp.ClientPayloadError: ConnectionLost,
    aiohttp.ClientProxyConnectionError: ConnectFailed,
    aiohttp.ClientResponseError: ProtocolError,
    aiohttp.ClientSSLError: ConnectFailed,
    aiohttp.ConnectionTimeoutError: ConnectFailed,
    aiohttp.ContentTypeError: ProtocolError,
    aiohttp.InvalidURL: ConnectFailed,
    aiohttp.InvalidUrlClientError: ConnectFailed,
    aiohttp.InvalidUrlRedirectClientError: ConnectFailed,
    aiohttp.NonHttpUrlClientError: ProtocolError,
    aiohttp.NonHttpUrlRedirectClientError: ProtocolError,
    aiohttp.RedirectClientError: ProtocolError,
    aiohttp.ServerConnectionError: ConnectionLost,
    aiohttp.ServerDisconnectedError: ConnectionLost,
    aiohttp.ServerFingerprintMismatch: ConnectionLost,
    aiohttp.ServerTimeoutError: RequestTimeout,
    aiohttp.SocketTimeoutError: RequestTimeout,
    aiohttp.TooManyRedirects: ProtocolError,
    UnixClientConnectorError: ConnectFailed,
    aiohttp.UploadAbortedError: ConnectionLost,
    aiohttp.WSServerHandshakeError: ProtocolError,
}


def http_exception(kind: type[Exception]) -> Exception:
    """Make an exception of aiohttp, whatever its constructor wants."""
    place = ConnectionKey("h.example", 80, False, True, None, None, None)
    if issubclass(kind, aiohttp.ClientResponseError):
        url = yarl.URL("http://h.example/status")
        return kind(aiohttp.RequestInfo(url, "GET", CIMultiDictProxy(CIMultiDict())), ())
    if issubclass(kind, UnixClientConnectorError):
        return kind("/run/socket", place, OSError(111, "refused"))
    if issubclass(kind, aiohttp.ClientConnectorCertificateError):
        return kind(place, ssl.SSLCertVerificationError("self-signed"))
    if issubclass(kind, aiohttp.ClientConnectorError):
        return kind(place, OSError(111, "refused"))
    if issubclass(kind, aiohttp.ServerFingerprintMismatch):
        return kind(b"a", b"b", "h.example", 443)
    return kind("what it says")


@pytest.mark.parametrize("kind", sorted(set(family(aiohttp.ClientError, "aiohttp")), key=repr))
def test_each_error_of_aiohttp_has_a_place(kind: type[Exception]) -> None:
    """Every class of the tree, a new one too, is one of ours, and none is left to chance."""
    error = http_error(http_exception(kind), 15)
    assert type(error) is HTTP_ERRORS[kind]
    assert len(str(error)) > 20


@pytest.mark.parametrize(
    ("raised", "kind"),
    [
        (TimeoutError(), RequestTimeout),
        (ConnectionResetError(104, "reset"), ConnectionLost),
        (OSError(113, "no route"), ConnectionLost),
        (ValueError("no header"), ProtocolError),
        (RuntimeError("Session is closed"), TransportError),
    ],
)
def test_each_builtin_error_of_a_request_has_a_place(
    raised: Exception, kind: type[VtransError]
) -> None:
    """What aiohttp lets through of the standard library is mapped as well."""
    assert type(http_error(raised, 15)) is kind


def test_a_timeout_says_how_long_it_was() -> None:
    """The message of a request timeout names the seconds."""
    assert "within 7.5 s" in str(http_error(TimeoutError(), 7.5))


def test_https_to_a_port_that_speaks_http_is_guessed() -> None:
    """What TLS calls a wrong version is mostly no TLS at all, on either way."""
    raised = ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] wrong version number")
    place = ConnectionKey("h.example", 80, True, True, None, None, None)
    for error in (
        http_error(aiohttp.ClientConnectorSSLError(place, raised), 15),
        channel_error(raised),
    ):
        assert isinstance(error, ConnectFailed)
        assert "is it http, not https" in str(error)


def test_a_sentence_ends_once() -> None:
    """What a cause says with a full stop at its end goes into a sentence without it."""
    place = ConnectionKey("h.example", 80, False, True, None, None, None)
    raised = aiohttp.ClientConnectorDNSError(place, socket.gaierror(-2, "It is not known."))
    assert "It is not known. Is base_url right" in str(http_error(raised, 15))


CHANNEL_ERRORS: dict[type[Exception], type[VtransError]] = {
    ws.ConcurrencyError: TransportError,
    ws.ConnectionClosed: ConnectionLost,
    ws.ConnectionClosedError: ConnectionLost,
    ws.ConnectionClosedOK: ConnectionLost,
    ws.DuplicateParameter: ProtocolError,
    ws.HeaderLineTooLong: ProtocolError,
    ws.InvalidHandshake: ProtocolError,
    ws.InvalidHeader: ProtocolError,
    ws.InvalidHeaderFormat: ProtocolError,
    ws.InvalidHeaderValue: ProtocolError,
    ws.InvalidMessage: ConnectFailed,
    ws.InvalidMethod: ProtocolError,
    ws.InvalidOrigin: ProtocolError,
    ws.InvalidParameterName: ProtocolError,
    ws.InvalidParameterValue: ProtocolError,
    ws.InvalidProtocol: ProtocolError,
    ws.InvalidProxy: ConnectFailed,
    ws.InvalidProxyMessage: ConnectFailed,
    ws.InvalidProxyStatus: ConnectFailed,
    ws.InvalidState: TransportError,
    ws.InvalidStatus: Unavailable,
    ws.InvalidURI: ProtocolError,
    ws.InvalidUpgrade: ProtocolError,
    ws.NegotiationError: ProtocolError,
    ws.PayloadTooBig: TransportError,
    ws.ProtocolError: TransportError,
    ws.ProxyError: ConnectFailed,
    ws.RequestLineTooLong: ProtocolError,
    ws.SecurityError: ProtocolError,
    ws.StatusLineTooLong: ProtocolError,
    ws.TooManyFragments: TransportError,
    ws.TooManyHeaders: ProtocolError,
    ws.WebSocketException: TransportError,
}


def channel_exception(kind: type[Exception]) -> Exception:
    """Make an exception of websockets, whatever its constructor wants."""
    if issubclass(kind, ws.ConnectionClosed):
        return kind(Close(1012, "restart"), None)
    if issubclass(kind, (ws.InvalidStatus, ws.InvalidProxyStatus)):
        return kind(UpgradeAnswer(503, "Unavailable", Headers({"Retry-After": "7"})))
    if issubclass(kind, ws.InvalidHeaderFormat):
        return kind("name", "what is wrong", "value", 0)
    if issubclass(kind, ws.InvalidOrigin):
        return kind("https://origin.example")
    takes_two = (ws.InvalidHeader, ws.InvalidURI, ws.InvalidProxy, ws.InvalidParameterValue)
    if issubclass(kind, takes_two):
        return kind("name", "value")
    if issubclass(kind, ws.PayloadTooBig):
        return kind(2**20, 2**20 - 1)
    return kind("what it says")


@pytest.mark.parametrize(
    "kind", sorted(set(family(ws.WebSocketException, "websockets.exceptions")), key=repr)
)
def test_each_error_of_websockets_has_a_place(kind: type[Exception]) -> None:
    """Every class of the tree, a new one too, is one of ours, and none is left to chance."""
    error = channel_error(channel_exception(kind))
    assert type(error) is CHANNEL_ERRORS[kind]
    assert len(str(error)) > 20


@pytest.mark.parametrize(
    ("raised", "kind"),
    [
        (ConnectionRefusedError(111, "refused"), ConnectFailed),
        (EOFError("no answer"), ConnectFailed),
        (ValueError("no header"), ProtocolError),
    ],
)
def test_each_builtin_error_of_a_dial_has_a_place(
    raised: Exception, kind: type[VtransError]
) -> None:
    """What websockets lets through of the standard library is mapped as well."""
    assert type(channel_error(raised)) is kind


def test_the_end_of_a_channel_keeps_code_and_reason() -> None:
    """Close code and reason of the peer come first, ours where there are none of it."""
    theirs = channel_error(ws.ConnectionClosedError(Close(4001, "slow"), None))
    ours = channel_error(ws.ConnectionClosedError(None, Close(1009, "too big")))
    none = channel_error(ws.ConnectionClosedError(None, None))
    assert isinstance(theirs, ConnectionLost)
    assert isinstance(ours, ConnectionLost)
    assert isinstance(none, ConnectionLost)
    assert (theirs.code, theirs.reason) == (4001, "slow")
    assert (ours.code, ours.reason) == (1009, "too big")
    assert (none.code, none.reason) == (None, "")


def test_a_refused_upgrade_keeps_status_and_retry_after() -> None:
    """What the server asks for when it refuses is not lost."""
    error = channel_error(channel_exception(ws.InvalidStatus))
    assert isinstance(error, Unavailable)
    assert (error.status, error.retry_after) == (503, 7.0)
