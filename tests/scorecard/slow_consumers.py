"""Row 10: what consumers that do not read cost a server, and the others."""

from __future__ import annotations

import asyncio
import json
import math
import tracemalloc
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from functools import partial
from typing import NamedTuple

import websockets

from simulator import Pace, Simulator
from simulator.testing import WALL_CLOCK_START, current_network, run
from tests.scorecard.row import Result, share
from vtrans_hybrid import AsyncClient

__all__ = ["do_not_read"]

JOBS = 300
FIRST = 60
"""The version up to which updates are what the client finds, and not what happens."""
MOST_MEMORY = 2**20
LONGEST_STAY = 15.0  # seconds
LOOK = 0.05  # s between two looks of ours
SAME = 1.05
"""How many times as late an update to others may be for their p99 to count as unchanged."""


class Outcome(NamedTuple):
    """What a server and a client that reads had of it."""

    memory: int
    """Bytes that the server held while the others did not read."""
    stay: float
    """Seconds from the last byte that one of them took to its end, at most."""
    delays: list[float]
    """Seconds from each change of a job to the callback of a client that reads."""


def do_not_read(is_short: bool) -> Result:
    """Compare a server that has such consumers with one that has none."""
    count = 4 if is_short else 50
    alone = run(partial(_serve, 0))
    idle = run(partial(_serve, count))
    memory = (idle.memory - alone.memory) / count
    before, after = share(alone.delays, 0.99), share(idle.delays, 0.99)
    measured = (
        f"{memory / 1024:.0f} KiB each of {count}, gone {idle.stay:.1f} s after their last byte, "
        f"others' p99 {1000 * before:.1f} -> {1000 * after:.1f} ms (virtual)"
    )
    is_gone = idle.stay <= LONGEST_STAY + LOOK
    return Result(measured, memory <= MOST_MEMORY and is_gone and after <= SAME * before)


async def _serve(count: int) -> Outcome:
    delays: list[float] = []
    pace = Pace(updates=200, min_interval=0.25)
    async with AsyncExitStack() as stack:
        sim = await stack.enter_async_context(Simulator(seed=1, pace=pace))
        jobs = [job.job_id for _ in range(JOBS) for job in await sim.create(delay=90)]
        await asyncio.sleep(15)  # so that there is much to say to those who come now
        tracemalloc.start()
        consumers = [await stack.enter_async_context(_open(sim)) for _ in range(count)]
        client = await stack.enter_async_context(AsyncClient(sim.url))
        consuming = [
            asyncio.ensure_future(_consume(channel, jobs, reads_for=index % 10))
            for index, channel in enumerate(consumers)
        ]
        staying = asyncio.ensure_future(_stay(sim, count))
        following = asyncio.ensure_future(_follow(client, jobs, delays.append))
        await asyncio.sleep(14)
        memory = _held_by_server()
        tracemalloc.stop()
        await following
        for task in (staying, *consuming):
            task.cancel()
        stay, *_ = await asyncio.gather(staying, *consuming, return_exceptions=True)
        return Outcome(memory, stay if isinstance(stay, float) else math.inf, delays)


def _open(sim: Simulator) -> websockets.connect:
    return websockets.connect(
        sim.channel_url,
        subprotocols=[websockets.Subprotocol("vtrans.v1")],
        compression=None,
        ping_interval=None,
        close_timeout=0.1,
    )


async def _follow(client: AsyncClient, jobs: list[str], note: Callable[[float], object]) -> None:
    loop = asyncio.get_running_loop()
    async for status in client.watch_all(jobs):
        assert status.updated_at is not None
        if status.is_final or status.version > FIRST:
            note(WALL_CLOCK_START + loop.time() - status.updated_at.timestamp())


async def _consume(channel: websockets.ClientConnection, jobs: list[str], reads_for: float) -> None:
    """Subscribe everything, read slowly for some seconds, and then only say that we are there."""
    loop = asyncio.get_running_loop()
    await channel.send(json.dumps({"type": "hello"}))
    subscribe = {"type": "subscribe", "id": 1, "mode": "all", "jobs": dict.fromkeys(jobs, 0)}
    await channel.send(json.dumps(subscribe))
    until = loop.time() + reads_for
    with suppress(websockets.ConnectionClosed):
        while True:
            await channel.send(json.dumps({"type": "pong", "n": 1}))
            with suppress(TimeoutError):
                async with asyncio.timeout(1):
                    while loop.time() < until:
                        await channel.recv()
                        await asyncio.sleep(0.25)  # so that there is always more to come
                    await asyncio.sleep(1)


async def _stay(sim: Simulator, count: int) -> float:
    """Return how long a consumer was there after it had taken its last byte, at most."""
    loop = asyncio.get_running_loop()
    network = current_network()
    numbers = [connection.number for connection in sim.connections[:count]]
    # Both are counted from the first that was opened, and these were opened one after the other.
    ways = [connection for connection in network.connections if connection.is_upgrade][:count]
    taken = dict.fromkeys(numbers, (0, 0.0))
    stays = []
    while taken:
        present = {connection.number for connection in sim.connections}
        for number, way in zip(numbers, ways, strict=True):
            before, at = taken.get(number, (0, 0.0))
            if number in taken and number not in present:
                del taken[number]
                stays.append(loop.time() - at)
            elif way.bytes_to_client != before and number in taken:
                taken[number] = way.bytes_to_client, loop.time()
        await asyncio.sleep(0.05)
    return max(stays, default=0.0)


def _held_by_server() -> int:
    """Return how many bytes were allocated in the code of the server and are still held."""
    code = ("*/simulator/*", "*/aiohttp/*")
    filters = [tracemalloc.Filter(True, pattern) for pattern in code]
    snapshot = tracemalloc.take_snapshot().filter_traces(filters)
    return sum(statistic.size for statistic in snapshot.statistics("filename"))
