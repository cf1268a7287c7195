"""The ASGI face of a webhook receiver, without any framework; ASGI 3.0, HTTP alone."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any, cast

import anyio

from vtrans_hybrid.deliveries import BODY_TIMEOUT, MAX_BODY
from vtrans_hybrid.signatures import Headers

__all__ = ["Receive", "Scope", "Send", "serve"]

# Any: the members of a message have whatever type its kind gives them, and frameworks say so, too.
Scope = Mapping[str, Any]
Receive = Callable[[], Awaitable[Mapping[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


async def serve(
    take: Callable[[str, Headers, bytes], tuple[int, Mapping[str, str], bytes]],
    scope: Scope,
    receive: Receive,
    send: Send,
) -> None:
    """Answer one request.

    Args:
        take: Takes method, headers and body, and returns status, headers and body.
        scope: What ASGI says of the connection.
        receive: Waits for the next message.
        send: Sends one.

    Raises:
        ValueError: The connection is no HTTP request; by this an ASGI server knows that startup,
            shutdown and WebSockets are of no concern here.
    """
    if scope["type"] != "http":
        raise ValueError(f"a webhook receiver serves http alone, not {scope['type']}")
    body: bytes | None = None
    with anyio.move_on_after(BODY_TIMEOUT) as patience:
        body = await _read(receive)
    if patience.cancelled_caught:
        await _answer(send, 408, {}, b"")
    if body is None:
        return
    headers = cast("Iterable[tuple[bytes, bytes]]", scope["headers"])
    await _answer(send, *take(scope["method"], headers, body))


async def _read(receive: Receive) -> bytes | None:
    """Return the body, or the beginning of one that is too long; None if the peer leaves."""
    body = bytearray()
    while len(body) <= MAX_BODY:
        message = await receive()
        if message["type"] != "http.request":
            return None
        body += message.get("body", b"")
        if not message.get("more_body", False):
            break
    return bytes(body)


async def _answer(send: Send, status: int, headers: Mapping[str, str], body: bytes) -> None:
    fields = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    fields.append((b"content-length", str(len(body)).encode()))
    with suppress(OSError):  # ASGI 2.4: the peer has left
        await send({"type": "http.response.start", "status": status, "headers": fields})
        await send({"type": "http.response.body", "body": body})
