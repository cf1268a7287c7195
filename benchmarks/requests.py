"""What a job costs in requests, and how late its end is learned (G5).

Everything runs on virtual time: the real client, the real simulator and a network in memory. A job
of five minutes takes milliseconds, and the numbers depend on no clock of this machine. Requests are
all that the client makes beside its orders, the dials of the channel included.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import NamedTuple, Self

from aiohttp import web

from benchmarks.report import Row, at_most
from benchmarks.rounds import Options
from simulator import Simulator
from simulator.testing import Network, current_network, run
from vtrans_hybrid import AsyncClient, PollPolicy

__all__ = ["classic", "rows"]

_MEDIAN, _SIGMA = 300.0, 0.5
_OUTAGE_EVERY, _OUTAGE = 300.0, 30.0


class _Cost(NamedTuple):
    """What a job cost on average."""

    requests: float
    late: float
    """Seconds from its end to the application's code."""


def _classic_row(lives: str, cost: _Cost) -> Row:
    measured = f"{cost.requests:.2f} requests a job, {cost.late:.2f} s late"
    return Row(f"classic backoff 1 s x2, cap 30 ({lives})", measured, ratio=1.0)


def _long_lives(jobs: int) -> Iterable[float]:
    rand = random.Random(5)
    return (rand.lognormvariate(0.0, _SIGMA) * _MEDIAN for _ in range(jobs))


def _short_lives(jobs: int) -> Iterable[float]:
    rand = random.Random(6)
    return (rand.uniform(15, 45) for _ in range(jobs))


def classic(lives: Iterable[float]) -> _Cost:
    """Return what the usual poller costs: 1 s, doubled each time, capped at 30 s, half random."""
    rand = random.Random(7)
    jobs, requests, late = 0, 0, 0.0
    for life in lives:
        jobs += 1
        now, interval = 0.0, 1.0
        requests += 1
        while now < life:
            now += interval * (0.5 + rand.random() / 2)
            interval = min(30.0, interval * 2)
            requests += 1
        late += now - life
    return _Cost(requests / jobs, late / jobs)


# A native backend.


async def _follow(sim: Simulator, client: AsyncClient, jobs: int, *, every: float) -> _Cost:
    """Order jobs one after the other, follow each, and return what they cost."""
    lateness: list[float] = []

    async def follow(job_id: str) -> None:
        status = await client.wait(job_id)
        assert status.updated_at is not None, "the simulator says when"
        lateness.append(time.time() - status.updated_at.timestamp())

    async with asyncio.TaskGroup() as tasks:
        for life in _long_lives(jobs):
            [job] = await sim.create(delay=life)
            tasks.create_task(follow(job.job_id))
            await asyncio.sleep(every)
    stats = client.stats()
    return _Cost((stats.requests + stats.dials) / jobs, sum(lateness) / jobs)


async def _push(jobs: int) -> _Cost:
    async with Simulator() as sim, AsyncClient(sim.url) as client:
        return await _follow(sim, client, jobs, every=0.0)


async def _polls(jobs: int) -> _Cost:
    async with Simulator() as sim, AsyncClient(sim.url, transport="poll") as client:
        return await _follow(sim, client, jobs, every=0.0)


async def _drops(jobs: int) -> _Cost:
    async with Simulator() as sim, AsyncClient(sim.url) as client:
        faults = asyncio.create_task(_outages(current_network()))
        try:
            return await _follow(sim, client, jobs, every=3600.0 / jobs)
        finally:
            faults.cancel()


async def _outages(network: Network) -> None:
    while True:
        await asyncio.sleep(_OUTAGE_EVERY - _OUTAGE)
        with network.refuse():
            network.reset()
            await asyncio.sleep(_OUTAGE)


# A backend that can do nothing but tell the status of one job.


async def _eta(jobs: int) -> _Cost:
    return await _follow_plain(list(_long_lives(jobs)), noise=0.3)


async def _plain(jobs: int) -> _Cost:
    return await _follow_plain(list(_short_lives(jobs)), noise=0.0)


async def _follow_plain(lives: list[float], *, noise: float) -> _Cost:
    lateness: list[float] = []
    backend = _PlainBackend(lives, noise)

    async def follow(client: AsyncClient, job: int) -> None:
        await client.wait(str(job))
        lateness.append(backend.age() - lives[job])

    # As a client that has but one job: the budget of requests is not what is measured here.
    policy = PollPolicy(max_rate=1000.0)
    async with (
        backend,
        AsyncClient(backend.url, poll=policy) as client,
        asyncio.TaskGroup() as tasks,
    ):
        for job in range(len(lives)):
            tasks.create_task(follow(client, job))
    return _Cost(backend.requests / len(lives), sum(lateness) / len(lives))


class _PlainBackend:
    """`GET /status/{job}` with an estimate, and nothing else.

    Args:
        lives: Seconds that each job takes from the start of the server on.
        noise: Standard deviation of the estimate, as a share of it; 0 tells the truth.
    """

    def __init__(self, lives: list[float], noise: float) -> None:
        self.requests = 0
        self.url = ""
        self._lives = lives
        self._noise = noise
        self._rand = random.Random(8)
        self._began = 0.0

    def age(self) -> float:
        """Return how many seconds the server runs."""
        return asyncio.get_running_loop().time() - self._began

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.add_routes([web.get("/status/{job}", self._status)])
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 8080).start()
        self.url = "http://127.0.0.1:8080"
        self._began = asyncio.get_running_loop().time()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    async def _status(self, request: web.Request) -> web.Response:
        self.requests += 1
        left = self._lives[int(request.match_info["job"])] - self.age()
        if left <= 0:
            return web.json_response({"result": "completed"})
        eta = left * max(0.0, self._rand.gauss(1.0, self._noise))
        return web.json_response({"result": "pending", "estimated_time_remaining": eta})


# The table.


class _Case(NamedTuple):
    """One line of the table."""

    name: str
    goal: str
    scenario: Callable[[int], Awaitable[_Cost]]
    most_requests: float
    most_late: float | None
    jobs: int = 200
    latency: tuple[float, float] = (0.0005, 0.02)
    """Seconds that a piece of data travels one way."""


# A result that turns with the surroundings stands twice, with the kind ones and the unkind ones.
_CASES = (
    _Case("push", "G5", _push, 2.2, 0.25),
    _Case("push, 12 outages an hour, 200 jobs", "G5", _drops, 2.2, None),
    _Case("push, 12 outages an hour, 50 jobs", "G5", _drops, 2.2, None, jobs=50),
    _Case("bulk polls alone", "G5", _polls, 4.0, 0.55),
    _Case("single reads, ETA 30 % off", "G5", _eta, 14.0, 0.65),
    _Case("plain, truthful ETA, 0.5-20 ms away", "G5b", _plain, 5.0, 0.1),
    _Case("plain, truthful ETA, 5-30 ms away", "G5b", _plain, 5.0, 0.1, latency=(0.005, 0.03)),
)


def rows(options: Options) -> list[Row]:  # noqa: ARG001  # virtual time is quick anyway
    """Run every scenario, each with a loop of its own."""
    slow, fast = classic(_long_lives(200)), classic(_short_lives(200))
    return [
        *(_row(case, fast if case.goal == "G5b" else slow) for case in _CASES),
        _classic_row("300 s, sigma 0.5", slow),
        _classic_row("15-45 s", fast),
    ]


def _row(case: _Case, yardstick: _Cost) -> Row:
    network = Network(1, latency=case.latency)
    cost = run(partial(case.scenario, case.jobs), seed=1, network=network)
    limits = [at_most(cost.requests, case.most_requests, " requests")]
    if case.most_late is not None:
        limits.append(at_most(cost.late, case.most_late, " s late"))
    return Row(
        name=f"requests, {case.name}",
        measured=f"{cost.requests:.2f} requests a job, {cost.late:.3f} s late",
        limits=limits,
        ratio=cost.requests / yardstick.requests,
        goal=case.goal,
    )
