"""Lose the channel three times and miss nothing: `python examples/survive_drops.py [URL]`.

The server is a simulator, which cuts its channels when it is asked to.
"""

import asyncio
import os
import sys

import aiohttp

from vtrans_hybrid import AsyncClient

DEFAULT = os.environ.get("VTRANS_BASE_URL", "http://127.0.0.1:8080")
URL = sys.argv[1] if len(sys.argv) > 1 else DEFAULT


async def cut() -> None:
    """Reset every channel of the simulator."""
    async with aiohttp.ClientSession() as session:
        await session.post(f"{URL}/_control/drop", json={"how": "reset"})


async def main() -> None:
    """Print each version of a job as it comes: every one, once, in order."""
    versions: list[int] = []
    async with AsyncClient(URL) as client:
        job = await client.submit("https://example.com/talk.mp4", language="Spanish")
        async for status in client.watch(job, mode="all"):
            versions.append(status.version)
            if status.version in (3, 5, 7):
                await cut()
                print(f"cut after version {status.version}")
        stats = client.stats()
    print("versions:", *versions)
    print(f"{status.state} after {stats.drops} drops, {stats.dials} dials, {stats.polls} polls")


asyncio.run(main())
