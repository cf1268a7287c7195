"""Order one translation and follow it to its end: `python examples/quickstart.py [URL]`."""

import asyncio
import os
import sys

from vtrans_hybrid import AsyncClient

DEFAULT = os.environ.get("VTRANS_BASE_URL", "http://127.0.0.1:8080")
URL = sys.argv[1] if len(sys.argv) > 1 else DEFAULT


async def main() -> None:
    """Print every update, then where the result is."""
    async with AsyncClient(URL) as client:
        job = await client.submit("https://example.com/talk.mp4", language="Spanish")
        async for status in client.watch(job):
            print(f"{status.state:<9} {status.progress or 0:4.0%}  by {status.source}")
        print("result:", status.result_url)


asyncio.run(main())
