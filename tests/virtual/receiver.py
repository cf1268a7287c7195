"""Somebody who is told by webhook: a server of aiohttp beside the simulator, in the same world."""

import asyncio
import base64
import hashlib
import hmac
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import msgspec
from aiohttp import web
from multidict import CIMultiDictProxy

__all__ = ["Delivered", "Receiver"]


class Delivered(NamedTuple):
    """One request that came."""

    at: float
    """Virtual time in seconds."""
    path: str
    headers: CIMultiDictProxy[str]
    body: bytes

    @property
    def document(self) -> Any:
        """What the body says."""
        return msgspec.json.decode(self.body)

    def is_signed(self, secret: str) -> bool:
        """Tell whether it is signed, by the book of Standard Webhooks or of HeyGen."""
        headers = self.headers
        if "Heygen-Signature" in headers:
            digest = hmac.new(secret.encode(), self.body, hashlib.sha256)
            return headers["Heygen-Signature"] == digest.hexdigest()
        signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + self.body
        key = base64.b64decode(secret.removeprefix("whsec_"))
        digest = hmac.new(key, signed, hashlib.sha256)
        return headers["webhook-signature"] == f"v1,{base64.b64encode(digest.digest()).decode()}"

    @property
    def event_id(self) -> str:
        """By which repetitions are known."""
        return self.headers.get("webhook-id") or self.headers["Heygen-Event-Id"]


class Receiver:
    """Take down what comes, and answer as told.

    Args:
        host: where it listens.
        answer: returns the status for a request, or how many seconds to say nothing; by default
            all is well.
    """

    def __init__(self, host: str, answer: Callable[[int], int | float]) -> None:
        self.url = f"http://{host}/"
        """Where it wants to be told, once it listens."""
        self.answer = answer
        self.probes = 0
        self.probe_status = 200
        self.got: list[Delivered] = []
        self._changed = asyncio.Event()

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        host: str = "127.0.0.1",
        port: int = 9000,
        *,
        answer: Callable[[int], int | float] = lambda _: 200,
    ) -> AsyncIterator["Receiver"]:
        """Listen while the context is open."""
        receiver = cls(host, answer)
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", receiver._respond)
        runner = web.AppRunner(app, access_log=None, handler_cancellation=True)
        await runner.setup()
        try:
            await web.TCPSite(runner, host, port).start()
            receiver.url = f"http://{host}:{runner.addresses[0][1]}/hook"
            yield receiver
        finally:
            await runner.cleanup()

    async def wait(self, count: int, *, within: float = 1000.0) -> list[Delivered]:
        """Wait until so many requests have come, and return them."""
        async with asyncio.timeout(within):
            while len(self.got) < count:
                self._changed.clear()
                await self._changed.wait()
        return self.got

    async def _respond(self, request: web.Request) -> web.Response:
        if request.method == "OPTIONS":
            self.probes += 1
            return web.Response(status=self.probe_status)
        body = await request.read()
        at = asyncio.get_running_loop().time()
        self.got.append(Delivered(at, request.path_qs, request.headers, body))
        self._changed.set()
        answer = self.answer(len(self.got))
        if isinstance(answer, float):
            await asyncio.sleep(answer)
            answer = 200
        headers = {"Location": "/elsewhere"} if 300 <= answer < 400 else {}
        return web.Response(status=answer, headers=headers)
