"""Follow 200 jobs over one WebSocket: `python examples/bulk.py [URL]`."""

import asyncio
import os
import sys
from collections import Counter

from vtrans_hybrid import AsyncClient

DEFAULT = os.environ.get("VTRANS_BASE_URL", "http://127.0.0.1:8080")
URL = sys.argv[1] if len(sys.argv) > 1 else DEFAULT
LANGUAGES = [f"language {number}" for number in range(100)]


async def main() -> None:
    """Take each result as it comes, and count what it cost."""
    async with AsyncClient(URL) as client:
        jobs = []
        for number in range(2):
            video = f"https://example.com/talk-{number}.mp4"
            jobs += await client.submit_all(video, languages=LANGUAGES)

        ended: Counter[str] = Counter()
        async for status in client.as_completed(jobs, timeout=300):
            ended[status.state] += 1
            if ended.total() % 50 == 0:
                print(f"{ended.total():3} of {len(jobs)} have ended")

        stats = client.stats()
        print("states:", ", ".join(f"{count} {state}" for state, count in ended.items()))
        print(f"cost: {stats.requests} requests, {stats.dials} WebSocket, {stats.pushes} pushes")


asyncio.run(main())
