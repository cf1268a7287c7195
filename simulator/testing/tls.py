"""TLS on an end of the virtual network: asyncio's own session over a memory transport."""

import asyncio
import ssl
from asyncio import sslproto
from dataclasses import dataclass

__all__ = ["Tls"]


@dataclass(slots=True, kw_only=True)
class Tls:
    """How one end of a connection speaks TLS."""

    context: ssl.SSLContext
    is_server: bool
    server_name: str | None = None
    """The name that the certificate must carry; None for a server or an unverified peer."""

    handshake_timeout: float | None = None
    """Seconds; None means asyncio's default of 60."""

    shutdown_timeout: float | None = None
    """Seconds; None means asyncio's default of 30."""

    def wrap(
        self,
        loop: asyncio.AbstractEventLoop,
        protocol: asyncio.BaseProtocol,
        waiter: "asyncio.Future[None] | None",
    ) -> sslproto.SSLProtocol:
        """Return the protocol that encrypts for `protocol`, which completes `waiter` when ready."""
        return sslproto.SSLProtocol(
            loop,
            protocol,
            self.context,
            waiter,  # type: ignore[arg-type]  # None means that nobody waits
            self.is_server,
            self.server_name,
            ssl_handshake_timeout=self.handshake_timeout,  # type: ignore[arg-type]  # any number
            ssl_shutdown_timeout=self.shutdown_timeout,
        )
