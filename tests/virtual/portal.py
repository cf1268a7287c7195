"""A proxy of HTTP in front of a simulator that answers some requests by itself."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import aiohttp
from aiohttp import web

__all__ = ["open_portal"]

Answer = Callable[[web.Request], web.Response | None]
"""Returns the proxy's own answer; None passes the request on."""


@asynccontextmanager
async def open_portal(target: Callable[[], str], answer: Answer) -> AsyncIterator[str]:
    """Yield the address of a proxy that passes requests of REST on to whatever `target` says."""

    async def handle(request: web.Request) -> web.Response:
        own = answer(request)
        if own is not None:
            return own
        body = await request.read()
        url = target() + request.path_qs
        async with session.request(request.method, url, data=body) as real:
            return web.Response(
                status=real.status, body=await real.read(), content_type=real.content_type
            )

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    async with aiohttp.ClientSession() as session:
        try:
            yield f"http://127.0.0.1:{runner.addresses[0][1]}"
        finally:
            await runner.cleanup()
