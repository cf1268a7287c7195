"""Follow a server that has only `GET /status`: `python examples/plain_server.py [URL]`."""

import asyncio
import sys
import time

from aiohttp import web

from vtrans_hybrid import AsyncClient

URL = sys.argv[1] if len(sys.argv) > 1 else None


async def serve(seconds: float) -> str:
    """Serve one job that takes so many seconds, and return the address."""
    ends_at = time.monotonic() + seconds

    async def status(_request: web.Request) -> web.Response:
        word = "pending" if time.monotonic() < ends_at else "completed"
        return web.json_response({"result": word})

    app = web.Application()
    app.router.add_get("/status", status)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    return f"http://127.0.0.1:{runner.addresses[0][1]}"


async def main() -> None:
    """Watch its only job, by polls."""
    async with AsyncClient(URL or await serve(seconds=2)) as client:
        async for status in client.watch():
            print(f"{status.state}  by {status.source}")
        print("polls:", client.stats().polls)


asyncio.run(main())
