"""How long a change at the server takes to reach the application's code by push (G4).

Server and client are two processes of one machine and read the same monotonic clock. Events leave
one at a time, some milliseconds apart, so nothing waits behind anything else.
"""

from __future__ import annotations

import asyncio
import time
from functools import partial

import msgspec

from benchmarks.documents import job_ids
from benchmarks.floor import decode_bare, open_bare
from benchmarks.processes import Helper
from benchmarks.report import Row, at_most
from benchmarks.rounds import Options, median_of, quantile, take_turns
from vtrans_hybrid import AsyncClient, JobStatus

__all__ = ["rows"]

_INTERVAL = 0.002

_LABELS = {
    "bare": "push delay, bare recv + decode",
    "callback": "push delay, client with a callback",
    "iterator": "push delay, client with `async for`",
}


def rows(options: Options) -> list[Row]:
    """Measure the bare client, a callback and an iterator."""
    return asyncio.run(_measure(options))


async def _measure(options: Options) -> list[Row]:
    last = options.size(401, 201)
    arguments = ["--last", str(last), "--interval", str(_INTERVAL)]
    async with Helper("benchmarks.frame_server", *arguments) as server:
        url = await server.url()
        contestants = {
            "bare": partial(_bare, server, url, last),
            "callback": partial(_callback, server, url),
            "iterator": partial(_iterator, server, url),
        }
        # Short rounds, and many: a delay has more noise than a sum of work.
        delays = await take_turns(contestants, options.size(15, 3))
    typical = {name: _middle(rounds, 0.5) for name, rounds in delays.items()}
    late = {name: _middle(rounds, 0.99) for name, rounds in delays.items()}
    return [_row(name, typical, late) for name in contestants]


def _middle(rounds: list[list[float]], share: float) -> float:
    return median_of([quantile(delays, share) for delays in rounds])


def _row(name: str, typical: dict[str, float], late: dict[str, float]) -> Row:
    ratio, late_ratio = typical[name] / typical["bare"], late[name] / late["bare"]
    is_floor = name == "bare"
    return Row(
        name=_LABELS[name],
        measured=f"p50 {typical[name] * 1e6:.0f} us, p99 {late[name] * 1e6:.0f} us"
        + ("" if is_floor else f" ({late_ratio:.2f}x)"),
        limits=[] if is_floor else [at_most(ratio, 1.25, "x p50"), at_most(late_ratio, 3, "x p99")],
        ratio=ratio,
        goal="" if is_floor else "G4",
    )


async def _delays(server: Helper, arrivals: dict[int, float]) -> list[float]:
    """Return the delay of each event: `arrivals` are by version, and the first sent is 2."""
    sent = msgspec.json.decode(await server.line(), type=list[float])
    return [arrivals[version] - at for version, at in enumerate(sent, 2) if version in arrivals]


async def _bare(server: Helper, url: str, last: int) -> list[float]:
    connection = await open_bare(url, job_ids(1))
    arrivals: dict[int, float] = {}
    await connection.recv(decode=False)
    await connection.recv(decode=False)
    await server.tell("go")
    while last not in arrivals:
        for status in decode_bare(await connection.recv(decode=False)).events:
            arrivals[status.version] = time.monotonic()
    delays = await _delays(server, arrivals)
    await connection.close()
    return delays


async def _callback(server: Helper, url: str) -> list[float]:
    arrivals: dict[int, float] = {}
    heard, ended = asyncio.Event(), asyncio.Event()

    def take(status: JobStatus) -> None:
        arrivals[status.version] = time.monotonic()
        heard.set()
        if status.is_final:
            ended.set()

    async with AsyncClient(url) as client:
        client.on_update(take, job_ids(1)[0])
        await heard.wait()
        await server.tell("go")
        await ended.wait()
        return await _delays(server, arrivals)


async def _iterator(server: Helper, url: str) -> list[float]:
    arrivals: dict[int, float] = {}
    async with AsyncClient(url) as client:
        async for status in client.watch(job_ids(1)[0]):
            arrivals[status.version] = time.monotonic()
            if status.version == 1:
                await server.tell("go")
        return await _delays(server, arrivals)
