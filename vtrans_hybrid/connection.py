"""One connection of the channel, from the side that sends: an outbox, a writer, and how it ends."""

from __future__ import annotations

import logging
from collections import deque

import anyio

from vtrans_hybrid.dialect import Sent
from vtrans_hybrid.errors import ConnectionLost
from vtrans_hybrid.transport import Channel
from vtrans_hybrid.wire import encode_message

__all__ = ["Connection"]

logger = logging.getLogger("vtrans_hybrid.client")

_OUTBOX = 1024
"""Messages that wait for a peer which does not read. The core keeps subscribes few, so only a flood
of pings without reading gets here."""


class Connection:
    """What the driver holds of a connection, from the decision to dial on.

    Args:
        generation: Its number, by which the core knows it.
    """

    def __init__(self, generation: int) -> None:
        self.generation = generation
        self.scope = anyio.CancelScope()
        """In which it lives; cancelled to hang up."""
        self.close_code = 1000
        self.close_reason = ""
        self.failure: ConnectionLost | None = None
        """Why we hung up, where that is a fault of the peer; None otherwise."""
        self._outbox: deque[Sent] = deque()
        self._has_mail = anyio.Event()

    def send(self, message: Sent) -> None:
        """Put a message into the outbox. Never waits: a peer that does not read is hung up."""
        self._outbox.append(message)
        self._has_mail.set()
        if len(self._outbox) > _OUTBOX:
            # Not for the writer to notice: it waits for the peer to read.
            self.failure = ConnectionLost("the server asks without reading our answers", code=4001)
            self.hang_up(4001, "asks without reading")

    def hang_up(self, code: int, reason: str) -> None:
        """End it, with a close code and a reason for the peer."""
        self.close_code, self.close_reason = code, reason
        self.scope.cancel()

    async def write(self, channel: Channel) -> None:
        """Send what comes into the outbox, until cancelled."""
        while True:
            await self._has_mail.wait()
            self._has_mail = anyio.Event()
            while self._outbox:
                message = self._outbox.popleft()
                logger.debug("> channel %d: %s", self.generation, type(message).__name__)
                await channel.send(encode_message(message))
