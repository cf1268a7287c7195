"""A busy run of the whole stack, whose trace tests compare between processes.

``python -m tests.simulator.testing.scenario SEED`` prints a digest of every byte that arrived, and
when.
"""

import asyncio
import hashlib
import random
import sys
import time
import uuid
from collections.abc import Awaitable, Callable

import aiohttp
import anyio
import websockets
from aiohttp import web

from simulator.testing import Connection, Network, current_network, run

__all__ = ["digest", "serve"]

PORT = 8080
URL = f"127.0.0.1:{PORT}"


async def serve(app: web.Application, use: Callable[[], Awaitable[None]]) -> None:
    """Serve `app` at port 8080 of the virtual network while `use` runs."""
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", PORT).start()
        await use()
    finally:
        await runner.cleanup()


def digest(seed: int) -> str:
    """Run the scenario and return a digest of its trace."""
    trace = hashlib.sha256()

    def observe(at: float, connection: Connection, direction: str, data: bytes) -> None:
        trace.update(f"{at!r} {connection.index} {direction} ".encode())
        trace.update(data)

    async def main() -> None:
        app = web.Application()
        app.router.add_get("/status", _status)
        app.router.add_get("/events", _echo)
        await serve(app, _use)

    run(main, seed=seed, network=Network(seed, observer=observe), shuffle=True)
    return trace.hexdigest()


async def _status(request: web.Request) -> web.Response:
    await asyncio.sleep(random.random())
    return web.json_response({"id": str(uuid.uuid4()), "at": time.time()})


async def _echo(request: web.Request) -> web.WebSocketResponse:
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    async for message in socket:
        await socket.send_str(message.data)
    return socket


async def _use() -> None:
    network = current_network()
    network.slice(0.2)
    network.cut_every(20, 60)
    with anyio.move_on_after(300):
        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(_poll)
                group.start_soon(_listen_with_websockets)
                group.start_soon(_listen_with_aiohttp)


async def _poll() -> None:
    async with aiohttp.ClientSession() as session:
        while True:
            try:
                async with session.get(f"http://{URL}/status") as answer:
                    await answer.read()
            except (aiohttp.ClientError, OSError):
                await asyncio.sleep(random.uniform(1, 5))
            await asyncio.sleep(10)


async def _listen_with_websockets() -> None:
    while True:
        try:
            async with websockets.connect(f"ws://{URL}/events") as socket:
                while True:
                    await socket.send("over websockets")
                    await socket.recv()
                    await asyncio.sleep(random.uniform(0, 10))
        except (websockets.WebSocketException, OSError):
            await asyncio.sleep(random.uniform(1, 5))


async def _listen_with_aiohttp() -> None:
    async with aiohttp.ClientSession() as session:
        while True:
            try:
                async with session.ws_connect(f"ws://{URL}/events", heartbeat=7) as socket:
                    while True:
                        await socket.send_str("over aiohttp")
                        await socket.receive_str()
                        await asyncio.sleep(random.uniform(0, 10))
            except (aiohttp.ClientError, OSError, TypeError):
                await asyncio.sleep(random.uniform(1, 5))


if __name__ == "__main__":
    sys.stdout.write(f"{digest(int(sys.argv[1]))}\n")
