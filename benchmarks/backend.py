"""What the simulator costs as a server (G6, G7, G8), against bare aiohttp doing the least of it.

Both run as processes of their own, and what counts is the processor time that they use.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial

import msgspec
from websockets.asyncio.client import ClientConnection

from benchmarks.floor import decode_bare, open_bare
from benchmarks.orders import order
from benchmarks.processes import Helper, cpu_seconds, resident_bytes
from benchmarks.report import Row, at_least, at_most
from benchmarks.rounds import Options, median_of, take_turns

__all__ = ["rows"]

_AT_ONCE = 32  # requests in a pipeline


def rows(options: Options) -> list[Row]:
    """Measure pushing, reading and holding connections."""
    return asyncio.run(_measure(options))


async def _measure(options: Options) -> list[Row]:
    async with (
        Helper("simulator", "--port", "0", "--no-control", "--ping", "600") as simulator,
        Helper("benchmarks.bare_server") as bare,
    ):
        servers = {
            "simulator": (simulator, await simulator.url()),
            "bare": (bare, await bare.url()),
        }
        return [
            await _connections_row(servers, options.size(300, 100)),
            await _rest_row(servers, options),
            await _bulk_row(*servers["simulator"], options),
            *await _push_rows(servers, options),
        ]


_Servers = dict[str, tuple[Helper, str]]


async def _cpu_of(server: Helper, work: Callable[[], Awaitable[object]]) -> float:
    """Return the processor seconds that a server spends on some work."""
    before = cpu_seconds(server.pid)
    await work()
    return cpu_seconds(server.pid) - before


# Pushing.


async def _push_rows(servers: _Servers, options: Options) -> list[Row]:
    jobs = options.size(2000, 1000)
    simulator, url = servers["simulator"]
    floor = await _floor_of_push(*servers["bare"], options)
    rounds = options.size(3, 1)
    varied, equal = ("2:3", "2.5") if options.is_quick else ("4:6", "5")
    apart = [await _push_cost(simulator, url, jobs, varied, 1) for _ in range(rounds)]
    together = [await _push_cost(simulator, url, 100, equal, 40) for _ in range(rounds)]
    return [
        Row("bare aiohttp, a frame pushed", f"{floor:.1f} us CPU an event", ratio=1.0),
        _push_row("server, an event made and pushed", apart, floor, None),
        _push_row("server, an event pushed to 40 clients, coalesced", together, floor, 0.5),
    ]


def _push_row(name: str, costs: list[float], floor: float, most: float | None) -> Row:
    cost = median_of(costs)
    return Row(
        name=name,
        measured=f"{cost:.2f} us CPU an event",
        limits=[at_most(cost, most, " us")],
        ratio=cost / floor,
        goal="" if most is None else "G7",
    )


async def _floor_of_push(server: Helper, url: str, options: Options) -> float:
    events = options.size(50_000, 10_000)
    connection = await open_bare(url, ())

    async def receive() -> None:
        await connection.send(f"send {events}")
        while await connection.recv(decode=False) != b"done":
            pass

    costs = [await _cpu_of(server, receive) / events * 1e6 for _ in range(options.rounds)]
    await connection.close()
    return median_of(costs)


async def _push_cost(server: Helper, url: str, jobs: int, delay: str, clients: int) -> float:
    """Return the microseconds of processor time for each event that reached a client."""
    watched = await order(url, jobs, delay=delay)
    async with AsyncExitStack() as stack:
        connections = [await open_bare(url, watched) for _ in range(clients)]
        for connection in connections:
            stack.push_async_callback(connection.close)
        events: list[int] = []

        async def receive() -> None:
            events.extend(await asyncio.gather(*(_drain(each, jobs) for each in connections)))

        cost = await _cpu_of(server, receive)
    return cost / sum(events) * 1e6


async def _drain(connection: ClientConnection, jobs: int) -> int:
    """Read until every job has ended; return how many events came."""
    events = ended = 0
    while ended < jobs:
        batch = decode_bare(await connection.recv(decode=False)).events
        events += len(batch)
        ended += sum(event.final for event in batch)
    return events


# Reading.


async def _rest_row(servers: _Servers, options: Options) -> Row:
    [job] = await order(servers["simulator"][1], 1, delay=100_000)
    reads = options.size(6000, 1500)

    async def cost(name: str) -> float:
        server, url = servers[name]
        request = f"GET /status/{job} HTTP/1.1\r\nHost: a\r\n\r\n".encode()
        return await _cpu_of(server, partial(_pipeline, url, request, reads))

    costs = await take_turns({name: partial(cost, name) for name in servers}, options.rounds)
    rate = {name: reads / max(0.001, median_of(each)) for name, each in costs.items()}
    ratio = rate["simulator"] / rate["bare"]
    return Row(
        name="server, GET /status/{job}",
        measured=f"{rate['simulator']:,.0f} req/s of CPU, bare aiohttp {rate['bare']:,.0f}",
        limits=[at_least(ratio, 0.9, "x bare")],
        ratio=ratio,
        goal="G8",
    )


async def _bulk_row(server: Helper, url: str, options: Options) -> Row:
    jobs = await order(url, 1000, delay=100_000)
    body = msgspec.json.encode({"jobs": dict.fromkeys(jobs, 0)})
    head = f"POST /status HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n\r\n"
    reads = options.size(100, 20)
    work = partial(_pipeline, url, head.encode() + body, reads)
    costs = [await _cpu_of(server, work) for _ in range(options.rounds)]
    rate = reads * len(jobs) / max(0.001, median_of(costs))
    return Row(
        name="server, bulk read of 1,000",
        measured=f"{rate / 1e6:.2f} M statuses/s of CPU",
        limits=[at_least(rate / 1e6, 1.0, " M/s")],
        goal="G8",
    )


async def _pipeline(url: str, request: bytes, times: int) -> None:
    """Send a request so many times on one connection, several ahead of their answers."""
    host, port = url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    sent = answered = 0
    while answered < times:
        ahead = min(_AT_ONCE, times - sent)
        writer.write(request * ahead)
        sent += ahead
        for _ in range(ahead):
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            assert head.startswith(b"http/1.1 200"), head
            length = int(head.partition(b"content-length:")[2].split(b"\r\n")[0])
            await reader.readexactly(length)
            answered += 1
    writer.close()
    await writer.wait_closed()


# Holding connections.


async def _connections_row(servers: _Servers, count: int) -> Row:
    memory, cpu = {}, {}
    for name, (server, url) in servers.items():
        warm = await open_bare(url, ())
        before, cpu_before = resident_bytes(server.pid), cpu_seconds(server.pid)
        connections = [await open_bare(url, ()) for _ in range(count)]
        await asyncio.sleep(0.2)
        memory[name] = (resident_bytes(server.pid) - before) / count / 1024
        cpu[name] = (cpu_seconds(server.pid) - cpu_before) / count * 1e6
        await asyncio.gather(*(each.close() for each in [warm, *connections]))
    ratio = memory["bare"] / max(0.1, memory["simulator"])
    return Row(
        name="server, idle connections",
        measured=f"{memory['simulator']:.1f} KiB and {cpu['simulator']:.0f} us each, "
        f"bare aiohttp {memory['bare']:.1f} and {cpu['bare']:.0f}",
        limits=[at_least(ratio, 3, "x bare")],
        ratio=ratio,
        goal="G6",
    )
