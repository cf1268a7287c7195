"""What a stranger sees of a server: through REST, the channel, or a bare socket."""

import asyncio
from contextlib import suppress
from typing import Any

import aiohttp

from simulator import Simulator

__all__ = ["Peer", "ask", "new_job", "now", "read", "seconds_of"]


def now() -> float:
    """Return the virtual time in seconds."""
    return asyncio.get_running_loop().time()


async def new_job(http: aiohttp.ClientSession, **order: Any) -> str:
    """Order one job over REST and return its id."""
    body = {"video_url": "https://example.com/v", "language": "Spanish"} | order
    async with http.post("/jobs", json=body) as answer:
        made = await answer.json()
    return str(made["jobs"][0]["job_id"])


async def ask(
    http: aiohttp.ClientSession, path: str, method: str = "GET", **options: Any
) -> tuple[int, Any]:
    """Return the status and the JSON of an answer; redirects are not followed."""
    async with http.request(method, path, allow_redirects=False, **options) as answer:
        return answer.status, await answer.json(content_type=None)


async def read(http: aiohttp.ClientSession, job_id: str) -> dict[str, Any]:
    """Return the status document of a job."""
    status, document = await ask(http, f"/status/{job_id}")
    assert status == 200, document
    return dict(document)


async def seconds_of(http: aiohttp.ClientSession, path: str = "/healthz") -> float:
    """Return how long an answer takes, connecting included."""
    began = now()
    await ask(http, path)
    return now() - began


class Peer:
    """A bare socket: what is sent and received, byte by byte."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def dial(cls, sim: Simulator) -> "Peer":
        """Connect, and say nothing."""
        return cls(*await asyncio.open_connection("127.0.0.1", sim.port))

    def ask(self, path: str = "/healthz", *, keep: bool = True) -> None:
        """Send a request."""
        rest = "" if keep else "Connection: close\r\n"
        self.writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n{rest}\r\n".encode())

    async def hear(self, seconds: float) -> bytes:
        """Return what arrives within this time, and stop at the end of the stream."""
        heard = b""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while piece := await self.reader.read(65_536):
                    heard += piece
        return heard

    async def end(self, within: float = 60.0) -> str:
        """Wait for the end, for so many seconds, and return how it came: `fin`, `rst` or `none`."""
        try:
            async with asyncio.timeout(within):
                while await self.reader.read(65_536):
                    pass
        except ConnectionResetError:
            return "rst"
        except TimeoutError:
            return "none"
        return "fin"

    async def leave(self) -> None:
        """Close."""
        self.writer.close()
        with suppress(ConnectionError):
            await self.writer.wait_closed()
