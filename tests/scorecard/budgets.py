"""Rows 12 and 13: what polling may cost, and how much comes by push."""

from __future__ import annotations

import asyncio
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from random import Random
from typing import NamedTuple

from simulator import Simulator
from simulator.faults import HttpStatus, RefuseUpgrade
from simulator.testing import Network, run
from tests.promises import e2_budget
from tests.scorecard.row import Result
from vtrans_hybrid import AsyncClient, RetryPolicy
from vtrans_hybrid.dialect import Dialect
from vtrans_hybrid.wire import Native, Plain

__all__ = ["poll_budget", "push_share"]

PROCESSES = 2
RATE = 20.0  # reads a second, the default of `PollPolicy.max_rate`
TRAVEL = 0.1  # seconds by which the ways of two requests differ at most
LEAST_SHARE = 0.995


class Traffic(NamedTuple):
    """What a server saw of one client."""

    reads: int
    is_within: bool
    """Whether no window had more reads than the budget allows."""
    refusals: int
    undercut: int
    """Reads that came before a Retry-After had passed."""


def poll_budget(is_short: bool) -> Result:
    """Count reads that should not have been sent: too many in a window, or too soon."""
    count = 8 if is_short else 200
    with ProcessPoolExecutor(PROCESSES) as pool:
        runs = list(pool.map(_run, range(count)))
    over = sum(not traffic.is_within for traffic in runs)
    undercut = sum(traffic.undercut for traffic in runs)
    measured = (
        f"exceeded in {over} of {count} runs of {sum(each.reads for each in runs):,} reads; "
        f"{undercut} of {sum(each.refusals for each in runs):,} Retry-After undercut (virtual)"
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
        sim.faults.add(RefuseUpgrade(status=503))
        client = AsyncClient(sim.url, dialect=dialect, retry=retry)
        watching = asyncio.ensure_future(_read_all(client, jobs))
        for _ in range(random.randint(1, 6)):
            await asyncio.sleep(random.uniform(1, 30))
            seconds = random.choice([1, 3, 10, 45])
            fault = HttpStatus(status=random.choice([429, 503]), retry_after=seconds)
            asked[sim.faults.add(fault, count=1)] = seconds
        await asyncio.sleep(60)
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        await client.aclose()
        return _judge(sim, asked)


async def _read_all(client: AsyncClient, jobs: list[str]) -> None:
    async for _ in client.watch_all(jobs):
        pass


def _judge(sim: Simulator, asked: dict[int, float]) -> Traffic:
    """Judge what a server saw.

    Args:
        sim: The server.
        asked: How many seconds without reads each of its faults asked for.
    """
    reads = sorted(call.at for call in sim.calls if call.path.startswith("/status"))
    refusals = [
        (each.at, asked[each.rule]) for each in sim.faults.log if each.fault == HttpStatus.name
    ]
    # A read that was on its way when the refusal came cannot have known of it.
    undercut = [
        at
        for at in reads
        if any(since + 2 * TRAVEL < at < since + seconds for since, seconds in refusals)
    ]
    try:
        e2_budget(reads, rate=RATE, burst=RATE * (1 + TRAVEL))
    except AssertionError:
        return Traffic(len(reads), False, len(refusals), len(undercut))
    return Traffic(len(reads), True, len(refusals), len(undercut))


def push_share(is_short: bool) -> Result:
    """Count what came by push while nothing was wrong."""
    hours = 1 if is_short else 24
    pushes, polls, reads = run(partial(_follow, hours))
    share = pushes / (pushes + polls)
    measured = (
        f"{share:.2%} of {pushes + polls:,} updates in {hours} h, beside {reads:,} reads (virtual)"
    )
    return Result(measured, share >= LEAST_SHARE)


async def _follow(hours: int) -> tuple[int, int, int]:
    """Follow jobs that come one after the other; return updates by push and by poll, and reads."""
    async with Simulator(seed=0, delay="lognormal:120,0.7") as sim, AsyncClient(sim.url) as client:
        client.on_update(lambda _: None)
        for _ in range(hours * 120):
            [job] = await sim.create()
            client.on_update(lambda _: None, job.job_id)
            await asyncio.sleep(30)
        stats = client.stats()
        return stats.pushes, stats.poll_updates, stats.polls
