"""A web application with an address at which webhooks are left."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from vtrans_hybrid.webhooks import WebhookReceiver

__all__ = ["HOOKS", "open_doorstep"]

HOOKS = "/hooks/heygen"


@asynccontextmanager
async def open_doorstep(receiver: WebhookReceiver) -> AsyncIterator[str]:
    """Serve a receiver as a route of aiohttp, and yield the address for webhooks."""
    app = web.Application(client_max_size=1)  # the receiver has a limit of its own
    app.add_routes([receiver.route(HOOKS)])
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}{HOOKS}"
    finally:
        await runner.cleanup()
