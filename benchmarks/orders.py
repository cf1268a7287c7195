"""Orders many jobs at a simulator that runs as a process of its own."""

from __future__ import annotations

import aiohttp

__all__ = ["order"]

_AT_ONCE = 100  # docs/protocol.md section 4.2: languages in one order


async def order(url: str, jobs: int, *, delay: float | str) -> list[str]:
    """Order jobs and return their ids.

    Args:
        url: Address of the simulator.
        jobs: How many.
        delay: Seconds that each takes, or a range of them such as `4:6`.
    """
    job_ids: list[str] = []
    async with aiohttp.ClientSession() as session:
        while len(job_ids) < jobs:
            count = min(_AT_ONCE, jobs - len(job_ids))
            body = {
                "video_url": "https://videos.example/talk.mp4",
                "languages": ["Spanish"] * count,
                "delay": delay,
            }
            async with session.post(f"{url}/jobs", json=body) as answer:
                answer.raise_for_status()
                job_ids += [job["job_id"] for job in (await answer.json())["jobs"]]
    return job_ids
