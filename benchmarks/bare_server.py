"""The least that a server on aiohttp can be: `python -m benchmarks.bare_server`.

It answers one status document from memory, and pushes one frame an event without looking at it.
"""

from __future__ import annotations

import asyncio

import msgspec
from aiohttp import WSMsgType, web

from benchmarks.documents import EPOCH, job_ids, status_document

__all__ = ["main"]

_DOCUMENT = msgspec.json.encode(status_document(job_ids(1)[0], 5, 20))
_BULK = {
    count: msgspec.json.encode(
        {"epoch": EPOCH, "events": [status_document(job_id, 5, 20) for job_id in job_ids(count)]}
    )
    for count in (1, 1000)
}


async def _status(request: web.Request) -> web.Response:  # noqa: ARG001  # aiohttp's signature
    return web.Response(body=_DOCUMENT, content_type="application/json")


async def _bulk(request: web.Request) -> web.Response:
    count = (await request.read()).count(b"00000000000000000")
    return web.Response(body=_BULK[count], content_type="application/json")


async def _push(request: web.Request) -> web.WebSocketResponse:
    socket = web.WebSocketResponse(compress=False, protocols=("vtrans.v1",))
    await socket.prepare(request)
    async for message in socket:
        if message.type is WSMsgType.TEXT and message.data.startswith("send "):
            for _ in range(int(message.data[5:])):
                await socket.send_frame(_DOCUMENT, WSMsgType.TEXT)
            await socket.send_str("done")
    return socket


async def _serve() -> None:
    app = web.Application()
    app.add_routes(
        [web.get("/status/{job}", _status), web.post("/status", _bulk), web.get("/events", _push)]
    )
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    print(f"http://{host}:{port}", flush=True)
    await asyncio.Event().wait()


def main() -> None:
    """Serve until the process is ended."""
    asyncio.run(_serve())


if __name__ == "__main__":
    main()
