"""Be called back, for every job or for one: `python examples/callbacks.py [URL]`."""

import asyncio
import os
import sys

from vtrans_hybrid import AsyncClient, JobStatus

DEFAULT = os.environ.get("VTRANS_BASE_URL", "http://127.0.0.1:8080")
URL = sys.argv[1] if len(sys.argv) > 1 else DEFAULT
VIDEO = "https://example.com/talk.mp4"


async def publish(status: JobStatus) -> None:
    """Be slow: that delays nobody else, and the next call gets the newest status."""
    await asyncio.sleep(0.3)
    print(f"{status.language} is {status.state} at {status.progress or 0:.0%}")


async def main() -> None:
    """Follow two jobs, with a callback that fails beside the slow one."""
    async with AsyncClient(URL, on_error=report) as client:

        @client.on_update()
        def count(status: JobStatus) -> None:
            if status.state == "pending":
                raise ValueError(f"{status.language} is only pending")

        jobs = await client.submit_all(VIDEO, languages=["Spanish", "German"])
        await asyncio.gather(*(client.wait(job, on_update=publish) for job in jobs))


def report(error: Exception, _status: JobStatus | None) -> None:
    """Hear of a callback that failed; nothing else is stopped by it."""
    print("a callback failed:", error)


asyncio.run(main())
