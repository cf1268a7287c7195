"""Replicas for tests that need no server around them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random
from typing import Any

from simulator.log import MemoryLog
from simulator.messages import CreateRequest
from simulator.orders import Orders
from simulator.plan import FaultPlan
from simulator.replica import Replica
from tests.simulator.backend import VIDEO, dice, loop_clock


class Ear:
    """A subscriber that writes down what it hears."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def notify(self, job_id: str) -> None:
        """Write it down."""
        self.heard.append(job_id)


class Finals:
    """A subscriber that writes down when jobs end."""

    def __init__(self, replica: Replica, ends: dict[str, float]) -> None:
        self.replica = replica
        self.ends = ends

    def notify(self, job_id: str) -> None:
        """Write it down."""
        if self.replica.head(job_id).is_final:
            self.ends[job_id] = asyncio.get_running_loop().time()


@asynccontextmanager
async def running(
    log: MemoryLog | None = None, plan: FaultPlan | None = None, seed: int = 1, **orders: Any
) -> AsyncIterator[Replica]:
    """Run a replica, by default over a log of its own, with jobs of one minute."""
    replica = Replica(
        log or MemoryLog(loop_clock(), Random(seed)),
        plan=plan or FaultPlan(),
        clock=loop_clock(),
        orders=Orders(**({"delay": "60"} | orders)),
        dice=dice(seed),
    )
    await replica.start()
    try:
        yield replica
    finally:
        await replica.aclose()


async def create(replica: Replica, **fields: Any) -> str:
    """Create one job and return its id."""
    options = {name: fields.pop(name) for name in ("owner", "key") if name in fields}
    request = CreateRequest(**({"video_url": VIDEO, "language": "Spanish"} | fields))
    [entry] = await replica.create(request, **options)
    return entry.job_id


def story(replica: Replica, job_id: str) -> list[tuple[int, str]]:
    """Return the versions and states of a job that are kept."""
    newer = replica.newer(job_id, 0, "all")
    return [(one.entry.version, one.entry.status.state) for one in newer]
