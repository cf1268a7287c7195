"""Very many jobs in one process."""

import asyncio
import json
import os
import sys

import pytest

from tests.sockets.server_process import ROOT, ServerProcess
from vtrans_hybrid import AsyncClient

JOBS = 100_000
MOST_BYTES = 60_000_000

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


async def order(url: str, count: int) -> list[str]:
    """Order jobs, one hundred a request, and return their ids."""
    languages = [f"language {number}" for number in range(100)]
    video = "https://example.com/talk.mp4"
    async with AsyncClient(url, transport="poll") as client:
        ordered = [
            await client.submit_all(video, languages=languages)
            for _ in range(count // len(languages))
        ]
    return [job.job_id for jobs in ordered for job in jobs]


async def footprint(url: str, how: str, job_ids: list[str]) -> dict[str, float]:
    """Return what it costs a fresh process to watch these jobs."""
    program = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks.memory_probe", url, how),
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    output, _ = await program.communicate(json.dumps(job_ids).encode() + b"\n")
    assert program.returncode == 0
    cost: dict[str, float] = json.loads(output)
    return cost


async def test_a_hundred_thousand_jobs_in_one_process() -> None:
    """By the bulk iterator they cost 60 MB over a client with one job; no way costs a task each."""
    async with ServerProcess("--delay", "86400") as server:
        job_ids = await order(server.url, JOBS)
        crowd, some = await asyncio.gather(
            footprint(server.url, "bulk", job_ids),
            footprint(server.url, "callback", job_ids[:2000]),
        )
    assert crowd["resident"] <= MOST_BYTES
    assert crowd["tasks"] <= 10
    assert some["tasks"] <= 10, "a task a callback"
