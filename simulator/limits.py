"""The limits that every connection is held to (docs/security.md), whatever it asks for.

aiohttp waits without end for a peer that does not read, even to close its connection, and for an
hour for one that does not ask. Whoever is told to wait here has said nothing for ten seconds, or
taken nothing for as long.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import Final

from aiohttp import web
from aiohttp.http import HttpProcessingError

from simulator.messages import MAX_FRAME, ProblemError

__all__ = ["BODY_TIMEOUT", "Lookout", "make_runner", "read_body"]

BODY_TIMEOUT: Final = 10.0
"""Seconds for the body of a request to arrive (docs/protocol.md section 4.1)."""

_IDLE: Final = 12.0  # s for the head of a request; who asks every 10 s need not redial
_LINGER: Final = 2.0  # s for a caller to end a body that nobody wants, and to see the answer
_STOP: Final = 2.0  # s for handlers to end when the server goes
_LOOKS: Final = 10  # per `patience`


def make_runner(app: web.Application) -> web.AppRunner:
    """Return what serves an application within the limits."""
    return web.AppRunner(
        app,
        handler_cancellation=True,
        access_log=None,
        logger=_http_logger,
        keepalive_timeout=_IDLE,
        lingering_time=_LINGER,
        shutdown_timeout=_STOP,
    )


async def read_body(request: web.Request, *, most: int = MAX_FRAME) -> bytes:
    """Return the body of a request.

    Args:
        request: whose body it is.
        most: bytes that it may have, unpacked.

    Raises:
        ProblemError: `too_large`, or `bad_request`: it did not come in time, or came garbled.
    """
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_TIMEOUT):
            # The length is counted as it comes, unpacked: the header may lie, or be absent.
            async for chunk in request.content.iter_any():
                body += chunk
                if len(body) > most:
                    text = f"A body may have {most:,} bytes; send it in parts."
                    raise ProblemError("too_large", text)
    except TimeoutError as error:
        detail = f"The body did not arrive within {BODY_TIMEOUT:.0f} s."
        raise ProblemError("bad_request", detail) from error
    except web.RequestPayloadError as error:
        raise ProblemError("bad_request", "The body is not encoded as its headers say.") from error
    return bytes(body)


class Lookout:
    """Cut off peers that take nothing of what waits for them.

    One look at all connections every second or so, and none while there are no connections.

    Args:
        transports: called for those that are open, but for the channel's: it looks after itself.
        patience: seconds without any progress.
    """

    def __init__(
        self, transports: Callable[[], Iterable[asyncio.Transport]], *, patience: float
    ) -> None:
        self._transports = transports
        self._limit = patience
        self._interval = patience / _LOOKS
        self._waiting: dict[asyncio.Transport, tuple[int, float]] = {}  # bytes, and since when
        self._timer: asyncio.TimerHandle | None = None

    def attend(self) -> None:
        """Look out, now that there is a request."""
        if self._timer is None:
            self._look()

    def stop(self) -> None:
        """Look no more until the next request."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None
        self._waiting = {}

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        before, self._waiting = self._waiting, {}
        is_anybody_there = False
        for transport in self._transports():
            is_anybody_there = True
            size = transport.get_write_buffer_size()
            if size == 0:
                continue
            # More waits than before where something was written meanwhile: that says nothing of the
            # peer, but to take it for a standstill would cut off whoever is served without a break.
            last, since = before.get(transport, (0, now))
            if size != last:
                since = now
            elif now - since >= self._limit:
                transport.abort()
            self._waiting[transport] = size, since
        self._timer = loop.call_later(self._interval, self._look) if is_anybody_there else None


def _is_worth_a_line(record: logging.LogRecord) -> bool:
    """Shorten what aiohttp says of bytes that are no HTTP: it quotes them, and a key in them."""
    error = record.exc_info[1] if record.exc_info else None
    if not isinstance(error, HttpProcessingError | web.RequestPayloadError):
        return True
    record.msg = "400: what came was no proper HTTP (%s)"
    record.args = (type(error).__name__,)
    record.exc_info = record.exc_text = None
    record.levelno, record.levelname = logging.INFO, "INFO"
    return _http_logger.isEnabledFor(logging.INFO)


_http_logger = logging.getLogger("simulator.http")
_http_logger.addFilter(_is_worth_a_line)
