"""The face of a webhook receiver for web applications of aiohttp."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from aiohttp import web
from aiohttp.web import RouteDef

from vtrans_hybrid.deliveries import BODY_TIMEOUT, MAX_BODY
from vtrans_hybrid.signatures import Headers

__all__ = ["RouteDef", "route"]


def route(
    path: str, take: Callable[[str, Headers, bytes], tuple[int, Mapping[str, str], bytes]]
) -> RouteDef:
    """Return a route that answers every method by what `take` says.

    Args:
        path: Of the route.
        take: Takes method, headers and body, and returns status, headers and body.
    """

    async def answer(request: web.Request) -> web.Response:
        try:
            async with asyncio.timeout(BODY_TIMEOUT):
                body = await _read(request)
        except TimeoutError:
            return web.Response(status=408)
        except (ConnectionError, web.RequestPayloadError):
            # Half a body, or garbage: whoever sends that has no claim to an answer, and must not
            # fill the log with tracebacks, as aiohttp's way with either would let him.
            request.protocol.force_close()
            return web.Response(status=400)
        status, headers, said = take(request.method, request.headers, body)
        return web.Response(status=status, headers=headers, body=said)

    return web.route("*", path, answer)


async def _read(request: web.Request) -> bytes:
    """Return the body, or the beginning of one that is too long by our own measure."""
    body = bytearray()
    while len(body) <= MAX_BODY and (chunk := await request.content.readany()):
        body += chunk
    return bytes(body)
