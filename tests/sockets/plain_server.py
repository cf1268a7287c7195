"""The least that a status server can be: one word a job, by polling alone."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Self

from aiohttp import web

from tests.vtrans_hybrid.network import web_server

__all__ = ["PlainServer"]


class PlainServer:
    """Jobs that take a while and then have ended.

    Args:
        seconds: How long each job takes.
        end: What is said of it then.
        tells_eta: Whether the truth about the remaining time is told.
    """

    def __init__(self, seconds: float, *, end: str = "completed", tells_eta: bool = True) -> None:
        self.url = ""
        self.reads: list[float] = []
        """When a status was read, monotonic seconds."""
        self.ends: dict[str, float] = {"": time.monotonic() + seconds}
        """When each job ends; the one without a name is there from the start."""
        self._seconds = seconds
        self._end = end
        self._tells_eta = tells_eta

    @asynccontextmanager
    async def with_one_job(self) -> AsyncIterator[Self]:
        """Serve nothing but `GET /status`."""
        async with web_server(("GET", "/status", self._read)) as self.url:
            yield self

    @asynccontextmanager
    async def with_jobs(self) -> AsyncIterator[Self]:
        """Serve nothing but `POST /create_job` and `GET /status/{id}`."""
        async with web_server(
            ("POST", "/create_job", self._create),
            ("GET", "/status/{job}", self._read),
        ) as self.url:
            yield self

    async def _create(self, request: web.Request) -> web.Response:
        job_id = f"job-{len(self.ends)}"
        self.ends[job_id] = time.monotonic() + self._seconds
        return web.json_response({"job_id": job_id})

    async def _read(self, request: web.Request) -> web.Response:
        self.reads.append(time.monotonic())
        end_at = self.ends.get(request.match_info.get("job", ""))
        if end_at is None:
            raise web.HTTPNotFound(text='{"error": "no such job"}', content_type="application/json")
        left = end_at - time.monotonic()
        answer: dict[str, object] = {"result": "pending" if left > 0 else self._end}
        if self._tells_eta and left > 0:
            answer["estimated_time_remaining"] = left
        return web.json_response(answer)
