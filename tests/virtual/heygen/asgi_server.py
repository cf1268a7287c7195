"""The least of an ASGI server, on top of aiohttp's: startup, HTTP, shutdown."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

__all__ = ["Application", "open_asgi_server"]

Application = Callable[..., Awaitable[None]]


@asynccontextmanager
async def open_asgi_server(app: Application, port: int) -> AsyncIterator[None]:
    """Serve an ASGI application; like others, listen only once it has started up."""
    state: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    said: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    life = asyncio.create_task(app({"type": "lifespan"}, state.get, said.put))
    await state.put({"type": "lifespan.startup"})
    assert (await said.get())["type"] == "lifespan.startup.complete"
    await asyncio.sleep(1)  # what the application has begun by now finds nobody listening

    async def answer(request: web.Request) -> web.Response:
        return await _answer(app, request)

    server = web.Application()
    server.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(server, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield
    finally:
        await state.put({"type": "lifespan.shutdown"})
        assert (await said.get())["type"] == "lifespan.shutdown.complete"
        await life
        await runner.cleanup()


async def _answer(app: Application, request: web.Request) -> web.Response:
    body = await request.read()
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": request.method,
        "path": request.path,
        "headers": [(name.lower(), value) for name, value in request.raw_headers],
    }
    await app(scope, receive, send)
    start, *rest = sent
    headers = [(name.decode(), value.decode()) for name, value in start["headers"]]
    content = b"".join(part.get("body", b"") for part in rest)
    return web.Response(status=start["status"], headers=dict(headers), body=content)
