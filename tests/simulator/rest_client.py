"""A caller of REST: what the tests of its paths ask with, and the jobs that they ask about."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import aiohttp

from simulator import Simulator

T = TypeVar("T")

VIDEO = "https://example.com/talk.mp4"
# A job that is `running` in its second version, and stays so until somebody cancels it.
STANDING = [
    {"at": 0, "state": "pending"},
    {"at": 0, "state": "running", "progress": 0.5, "estimated_time_remaining": 8.0},
    {"at": 100_000, "state": "completed"},
]
ENDED = [{"at": 0, "state": "running"}, {"at": 0, "state": "completed"}]
FAILED = [{"at": 0, "state": "error", "error": {"code": "no_audio", "message": "No audio."}}]


def session(sim: Simulator, key: str | None = None) -> aiohttp.ClientSession:
    """Return a client whose paths begin at the simulator."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    timeout = aiohttp.ClientTimeout(total=20)
    return aiohttp.ClientSession(sim.url, headers=headers, timeout=timeout)


async def ask(
    http: aiohttp.ClientSession, method: str, path: str, **options: Any
) -> tuple[int, Any]:
    """Return the status and the JSON of an answer; None if it has no body."""
    async with http.request(method, path, **options) as answer:
        body = await answer.read()
        return answer.status, json.loads(body) if body else None


async def make(
    http: aiohttp.ClientSession, script: list[dict[str, Any]] | None = None, **order: Any
) -> str:
    """Create a job, wait until the steps at 0 of its script have happened, and return its id."""
    order = {"video_url": VIDEO, "language": "Spanish"} | order
    if script is not None:
        order["script"] = script
    status, answer = await ask(http, "POST", "/jobs", json=order)
    assert status == 202, answer
    job_id = str(answer["jobs"][0]["job_id"])
    versions = sum(step["at"] == 0 for step in script or [])
    await reach(http, job_id, versions)
    return job_id


async def reach(http: aiohttp.ClientSession, job_id: str, version: int) -> dict[str, Any]:
    """Long-poll until the job has this version, and return its status document."""
    tag = '"none"'
    while True:
        headers = {"If-None-Match": tag}
        async with http.get(f"/status/{job_id}?wait=10", headers=headers) as answer:
            document: dict[str, Any] = await answer.json()
            tag = answer.headers["ETag"]
            if document["version"] >= version:
                return document


async def held_reads(http: aiohttp.ClientSession) -> int:
    """Return how many reads are held back now."""
    async with http.get("/metrics") as answer:
        return int(metric(await answer.text(), "vtrans_waiting_reads"))


async def until_held(http: aiohttp.ClientSession, count: int) -> None:
    """Return once that many reads are held back."""
    await eventually(lambda: held_reads(http), lambda held: held == count)


async def eventually(ask_again: Callable[[], Awaitable[T]], is_right: Callable[[T], bool]) -> T:
    """Ask until the answer is right, and return it; give up after 5 s."""
    async with asyncio.timeout(5):
        while True:
            answer = await ask_again()
            if is_right(answer):
                return answer
            await asyncio.sleep(0.005)


def metric(text: str, name: str) -> float:
    """Return the value of a metric."""
    lines = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    return float(lines[name])
