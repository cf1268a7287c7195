"""Be told by webhook, in an application of aiohttp: `python examples/webhooks_aiohttp.py [URL]`.

The program listens on PORT of this machine; HeyGen, or a simulator, has to reach it at PUBLIC_URL.
"""

import asyncio
import os
import sys

from aiohttp import web

from vtrans_hybrid import AsyncClient
from vtrans_hybrid.webhooks import WebhookReceiver

DEFAULT = os.environ.get("HEYGEN_API_BASE", "http://127.0.0.1:8080")
URL = sys.argv[1] if len(sys.argv) > 1 else DEFAULT
PORT = int(os.environ.get("PORT", "9000"))
HOOKS = os.environ.get("PUBLIC_URL", f"http://127.0.0.1:{PORT}") + "/hooks/heygen"


async def main() -> None:
    """Serve the application, and translate a video meanwhile."""
    async with AsyncClient.heygen(os.environ.get("HEYGEN_API_KEY", "any"), base_url=URL) as client:
        receiver = WebhookReceiver(client)
        app = web.Application()
        app.add_routes([receiver.route("/hooks/heygen")])
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", PORT).start()
        async with receiver.registered(HOOKS):
            job = await client.submit("https://example.com/talk.mp4", language="Spanish")
            status = await client.wait(job)
            print(f"{status.state} by {status.source}: {status.result_url}")
        await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(main())
