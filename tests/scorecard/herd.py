"""Row 11: ten thousand clients lose a server at once, and it comes back."""

from __future__ import annotations

import asyncio
import gc
from collections import Counter
from collections.abc import Iterable
from functools import partial
from typing import Any, NamedTuple

from simulator import Simulator
from simulator.testing import Connection, Network, current_network, run
from tests.scorecard.row import Result
from vtrans_hybrid import AsyncClient

__all__ = ["judged", "restart"]

MOST_DIALS = 2_500  # a second
MOST_POLLS = 1_000  # a second
DOWN = 2.0  # seconds
RETURNING = 30.0
"""Seconds from the loss in which every client is back, and has subscribed."""


class Storm(NamedTuple):
    """What came after the loss, at which seconds of the loop. All of it was seen on the network."""

    dials: list[float]
    """Attempts to connect for a channel, whether there was a server or not."""
    polls: list[float]
    """The same for requests: without a server, a poll is no more than that."""
    upgrades: list[float]
    """That arrived at the server."""
    reads: list[float]
    """The same."""
    back: int
    """Clients whose channel is open, and their job subscribed."""
    seconds: float
    """From the loss until all were back, or there was no more time."""

    @property
    def most_dials(self) -> int:
        """Of the fullest second, wherever one looks."""
        return max(_fullest(self.dials), _fullest(self.upgrades))

    @property
    def most_polls(self) -> int:
        """The same."""
        return max(_fullest(self.polls), _fullest(self.reads))


def restart(is_short: bool) -> Result:
    """Count the dials and polls of the fullest second, and who is back."""
    count = 200 if is_short else 10_000
    gc.disable()  # so many objects are looked at again and again, and none of them is garbage
    return judged(count)


def judged(count: int) -> Result:
    """Let so many clients lose their server."""
    wire = _Wire()
    storm = run(partial(_lose_and_return, count, wire), network=Network(observer=wire.arrived))
    measured = (
        f"{storm.most_dials:,} dials/s, {storm.most_polls:,} polls/s, "
        f"{_fullest(storm.dials + storm.polls):,} connections/s for both; {len(storm.upgrades):,} "
        f"upgrades and {len(storm.reads):,} reads arrived; {storm.back:,} of {count:,} back after "
        f"{storm.seconds:.1f} s, {DOWN:.0f} s of them without a server (virtual)"
    )
    is_calm = storm.most_dials <= MOST_DIALS and storm.most_polls <= MOST_POLLS
    return Result(measured, is_calm and storm.back == count and storm.seconds <= RETURNING)


class _Wire:
    """Notes what clients do on the network, from a moment on."""

    def __init__(self) -> None:
        self.upgrades: list[float] = []
        self.reads: list[float] = []
        self._requested: list[float] = []
        self._is_on = False

    def begin(self) -> None:
        """Begin to note."""
        loop: Any = asyncio.get_running_loop()
        connect = loop.sock_connect

        def connect_noted(*arguments: Any) -> Any:
            # Only aiohttp, which carries requests, connects sockets of its own.
            self._requested.append(loop.time())
            return connect(*arguments)

        loop.sock_connect = connect_noted
        current_network().dials.clear()
        self._is_on = True

    def arrived(self, at: float, _: Connection, direction: str, data: bytes) -> None:
        """Note a request that arrives; none of them is so long that it comes in two pieces."""
        if not self._is_on or direction != "to_server":
            return
        if data.startswith(b"GET /events"):
            self.upgrades.append(at)
        elif data.startswith((b"POST /status", b"GET /status")):
            self.reads.append(at)

    def dials(self) -> tuple[list[float], list[float]]:
        """Return when clients have connected since: for channels, and for requests."""
        dials = current_network().dials
        assert len(dials) != dials.maxlen, "the network has forgotten some"
        polls = Counter(self._requested)
        channels = Counter(dial.at for dial in dials) - polls
        return list(channels.elements()), list(polls.elements())


async def _lose_and_return(count: int, wire: _Wire) -> Storm:
    loop = asyncio.get_running_loop()
    async with Simulator(seed=1) as sim:
        jobs = [job.job_id for job in await sim.create(languages=["x"] * 100, delay=3600)]
        clients = [AsyncClient(sim.url) for _ in range(count)]
        for number, client in enumerate(clients):
            client.on_update(lambda _: None, jobs[number % len(jobs)])
            if number % 20 == 0:
                await asyncio.sleep(0.01)  # they came one after the other, at 2,000 a second
        while _back(sim) < count:  # noqa: ASYNC110 (virtual time passes for nothing)
            await asyncio.sleep(1)
        await asyncio.sleep(6)  # the spread is announced with each ping
        wire.begin()
        lost_at = loop.time()
        await sim.restart(down_for=DOWN)
        while _back(sim) < count and loop.time() < lost_at + RETURNING:  # noqa: ASYNC110
            await asyncio.sleep(0.1)
        seconds = loop.time() - lost_at
        await asyncio.sleep(1)  # whoever is still on the way is counted, too
        dials, polls = wire.dials()
        storm = Storm(dials, polls, wire.upgrades, wire.reads, _back(sim), seconds)
        await asyncio.gather(*(client.aclose() for client in clients))
        return storm


def _back(sim: Simulator) -> int:
    return sum(bool(connection.jobs) for connection in sim.connections)


def _fullest(times: Iterable[float]) -> int:
    """Return how many of these times lie in the second that has most of them."""
    ordered = sorted(times)
    most = first = 0
    for last, at in enumerate(ordered):
        while ordered[first] <= at - 1:
            first += 1
        most = max(most, last - first + 1)
    return most
