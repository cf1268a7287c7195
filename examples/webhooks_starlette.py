"""Be told by webhook, in an application of Starlette or FastAPI.

`uvicorn --app-dir examples webhooks_starlette:app --port 9000`; HeyGen reaches it at PUBLIC_URL.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.routing import Route

from vtrans_hybrid import AsyncClient
from vtrans_hybrid.webhooks import WebhookReceiver

URL = os.environ.get("HEYGEN_API_BASE", "http://127.0.0.1:8080")
HOOKS = os.environ.get("PUBLIC_URL", "http://127.0.0.1:9000") + "/hooks/heygen"
client = AsyncClient.heygen(os.environ.get("HEYGEN_API_KEY", "any"), base_url=URL)
receiver = WebhookReceiver(client)


async def translate() -> None:
    """Order a translation, and say how it ended."""
    async with receiver.registered(HOOKS):
        job = await client.submit("https://example.com/talk.mp4", language="Spanish")
        status = await client.wait(job)
        print(f"{status.state} by {status.source}: {status.result_url}")


@asynccontextmanager
async def lifespan(_app: Starlette) -> AsyncIterator[None]:
    """Translate while the application runs."""
    async with client:
        translating = asyncio.create_task(translate())
        yield
        translating.cancel()


app = Starlette(routes=[Route("/hooks/heygen", receiver)], lifespan=lifespan)
