"""One connection of the channel, from its dial to its end, as the driver holds it.

What the core sends may come before the connection is there, and faster than the peer reads; it
waits in a bounded outbox.
"""

from __future__ import annotations

import logging
from collections import deque

import anyio

from vtrans_hybrid.errors import ConnectionLost, VtransError
from vtrans_hybrid.messages import Sent, encode_message
from vtrans_hybrid.transport import Channel

__all__ = ["Connection", "first_of"]

logger = logging.getLogger("vtrans_hybrid.client")

_OUTBOX = 1024
"""Messages that wait for a peer which does not read. The core keeps subscribes few, so only a flood
of pings without reading gets here."""


class Connection:
    """An outbox, and the way to leave.

    Args:
        generation: The number by which the core knows it.
    """

    def __init__(self, generation: int) -> None:
        self.generation = generation
        self.close_code = 1000
        self.close_reason = ""
        self.failure: ConnectionLost | None = None
        """Why we left, where that is the peer's fault."""
        self._outbox: deque[Sent] = deque()
        self._has_mail = anyio.Event()
        self._scope: anyio.CancelScope | None = None
        self._is_left = False

    def enter(self) -> anyio.CancelScope:
        """Return the scope that hanging up cancels, made in the task that enters it.

        Elsewhere anyio may not know on which event loop it is: where the package sniffio is
        installed, it knows that in tasks alone, and the core asks for connections when a timer
        rings.
        """
        self._scope = anyio.CancelScope()
        if self._is_left:
            self._scope.cancel()
        return self._scope

    def send(self, message: Sent) -> None:
        """Put a message into the outbox; one that overflows ends the connection."""
        self._outbox.append(message)
        self._has_mail.set()
        if len(self._outbox) > _OUTBOX:
            # Not for the writer to notice: it waits for the peer to read.
            self.failure = ConnectionLost("the server asks without reading our answers", code=4001)
            self.hang_up(4001, "asks without reading")

    def hang_up(self, code: int, reason: str) -> None:
        """Leave with a close code, now or as soon as the connection is entered."""
        self.close_code, self.close_reason = code, reason
        self._is_left = True
        if self._scope is not None:
            self._scope.cancel()

    async def write(self, channel: Channel) -> None:
        """Send what comes into the outbox, for ever."""
        while True:
            await self._has_mail.wait()
            self._has_mail = anyio.Event()
            while self._outbox:
                message = self._outbox.popleft()
                logger.debug("> channel %d: %s", self.generation, type(message).__name__)
                await channel.send(encode_message(message))


def first_of(group: BaseExceptionGroup[VtransError]) -> VtransError:
    """Return the first error of ours in a group: reader and writer may fail at once."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, VtransError), "the group was split by that type"
    return error
