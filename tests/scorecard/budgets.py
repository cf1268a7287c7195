"""Rows 12 and 13: what polling and dialing may cost, and how much comes by push."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from random import Random
from typing import Any, NamedTuple

from simulator import Simulator
from simulator.faults import HttpStatus, RefuseUpgrade
from simulator.testing import Network, run
from tests.promises import e2_budget
from tests.scorecard.row import Result
from vtrans_hybrid import AsyncClient, JobStatus, RetryPolicy, Stats
from vtrans_hybrid.dialect import Dialect
from vtrans_hybrid.wire import Native, Plain

__all__ = ["poll_budget", "push_share"]

PROCESSES = 2
RATE = 20.0  # reads a second, the default of `PollPolicy.max_rate`
TRAVEL = 0.1  # seconds by which the ways of two requests differ at most
LEAST_SHARE = 0.995
SILENCE = 60.0  # seconds without news after which a job that push covers is read, at the least


class Traffic(NamedTuple):
    """What a server saw of one client."""

    reads: int
    dials: int
    is_within: bool
    """Whether no window had more reads than the budget allows."""
    refusals: int
    """Of reads and of dials, with a Retry-After in seconds or as a date."""
    undercut: int
    """Reads and dials that came before one had passed."""


def poll_budget(is_short: bool) -> Result:
    """Count reads and dials that should not have been sent: too many in a window, or too soon."""
    count = 8 if is_short else 200
    with ProcessPoolExecutor(PROCESSES) as pool:
        runs = list(pool.map(_run, range(count)))
    over = sum(not traffic.is_within for traffic in runs)
    undercut = sum(traffic.undercut for traffic in runs)
    measured = (
        f"exceeded in {over} of {count} runs of {sum(each.reads for each in runs):,} reads and "
        f"{sum(each.dials for each in runs):,} dials; {undercut} of "
        f"{sum(each.refusals for each in runs):,} Retry-After undercut, in seconds and as dates, "
        "of reads and of dials (virtual)"
    )
    return Result(measured, over == undercut == 0)


def _run(seed: int) -> Traffic:
    return run(partial(_poll, seed), seed=seed, network=Network(seed))


async def _poll(seed: int) -> Traffic:
    """Follow up to 300 jobs without a channel, through refusals that say when to come back."""
    random = Random(seed)
    dialect: Dialect = random.choice([Native(), Plain()])
    retry = RetryPolicy(max_attempts=10_000)
    asked: dict[int, float] = {}
    async with Simulator(seed=seed) as sim:
        jobs = [
            status.job_id
            for _ in range(random.choice([1, 30, 300]))
            for status in await sim.create(delay="30:120")
        ]
        closed = sim.faults.add(RefuseUpgrade(status=503))
        client = AsyncClient(sim.url, dialect=dialect, retry=retry)
        watching = asyncio.ensure_future(_read_all(client, jobs))
        for _ in range(random.randint(1, 6)):
            await asyncio.sleep(random.uniform(1, 30))
            fault = HttpStatus(status=random.choice([429, 503]), **_draw_wait(random))
            asked[sim.faults.add(fault, count=1)] = fault.retry_after
            sim.faults.remove(closed)
            refusal = RefuseUpgrade(status=random.choice([429, 503]), **_draw_wait(random))
            closed = sim.faults.add(refusal)
            asked[closed] = refusal.retry_after
        await asyncio.sleep(60)
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        await client.aclose()
        assert len(sim.calls) != sim.calls.maxlen, "the server has forgotten some"
        return _judge(sim, asked)


def _draw_wait(random: Random) -> dict[str, Any]:
    """Return a Retry-After, in seconds or as a date (RFC 9110 section 10.2.3)."""
    return {"retry_after": random.choice([1.0, 3.0, 10.0, 45.0]), "as_date": random.random() < 0.5}


async def _read_all(client: AsyncClient, jobs: list[str]) -> None:
    async for _ in client.watch_all(jobs):
        pass


def _judge(sim: Simulator, asked: dict[int, float]) -> Traffic:
    """Judge what a server saw.

    Args:
        sim: The server.
        asked: How many seconds without reads, or without dials, each of its faults asked for.
    """
    refusals = [each for each in sim.faults.log if each.rule in asked]
    undercut = 0
    times = {}
    for path in ("/status", "/events"):
        times[path] = sorted(call.at for call in sim.calls if call.path.startswith(path))
        spans = [
            (each.at, each.at + asked[each.rule])
            for each in refusals
            if (each.facts.path or "").startswith(path)
        ]
        undercut += _undercut(times[path], spans)
    reads = times["/status"]
    is_within = True
    try:
        e2_budget(reads, rate=RATE, burst=RATE * (1 + TRAVEL))
    except AssertionError:
        is_within = False
    return Traffic(len(reads), len(times["/events"]), is_within, len(refusals), undercut)


def _undercut(times: Iterable[float], spans: list[tuple[float, float]]) -> int:
    """Count what came in a time in which nothing should.

    What was on its way when the refusal came cannot have known of it.
    """
    return sum(any(since + 2 * TRAVEL < at < until for since, until in spans) for at in times)


def push_share(is_short: bool) -> Result:
    """Count what came by push while nothing was wrong, and what was read all the same."""
    hours = 1 if is_short else 24
    stats, audits = run(partial(_follow, hours))
    updates = stats.pushes + stats.poll_updates
    share = stats.pushes / updates
    measured = (
        f"{share:.2%} of {updates:,} updates in {hours} h, beside {stats.polls:,} reads, where "
        f"silent jobs needed {audits:,} (virtual)"
    )
    return Result(measured, share >= LEAST_SHARE and stats.polls <= audits)


async def _follow(hours: int) -> tuple[Stats, int]:
    """Follow jobs that come one after the other.

    Returns:
        What the client has done, and how often a job was silent for so long that it is read.
    """
    heard: dict[str, float] = {}
    audits = 0
    loop = asyncio.get_running_loop()

    def hear(status: JobStatus) -> None:
        nonlocal audits
        audits += int((loop.time() - heard.get(status.job_id, loop.time())) / SILENCE)
        heard[status.job_id] = loop.time()

    async with Simulator(seed=0, delay="lognormal:120,0.7") as sim, AsyncClient(sim.url) as client:
        client.on_update(hear)
        for _ in range(hours * 120):
            [job] = await sim.create()
            client.on_update(lambda _: None, job.job_id)
            await asyncio.sleep(30)
        return client.stats(), audits
