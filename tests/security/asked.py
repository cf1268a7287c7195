"""What a client asks of a hostile server: operations of each dialect, and calls."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final

from tests.security import corpus
from vtrans_hybrid import AsyncClient
from vtrans_hybrid.client import AsyncHeyGenClient
from vtrans_hybrid.dialect import (
    AddEndpoint,
    Cancel,
    Delete,
    Dialect,
    EventHistory,
    Languages,
    ListEndpoints,
    ListJobs,
    Operation,
    Read,
    ReadDefault,
    RemoveEndpoint,
    Submit,
)
from vtrans_hybrid.heygen import HeyGen, HeyGenLegacy
from vtrans_hybrid.wire import Native, Plain

__all__ = ["CALLS", "DIALECTS", "HEYGEN_CALLS", "LEGACY_CALLS"]

_OPERATIONS: Final[list[Operation]] = [
    Submit(video="https://example.com/v", languages=("Spanish",), key="k"),
    Read(jobs={corpus.JOB: 0}),
    Read(jobs={corpus.JOB: 3}, epoch="E", wants_all=True),
    ReadDefault(),
    Cancel(job_id=corpus.JOB),
]

_LEGACY_OPERATIONS: Final[list[Operation]] = [
    Submit(video="https://example.com/v", languages=("Spanish",), key="k"),
    Submit(video="https://example.com/v", languages=("Spanish", "German"), key="k"),
    Read(jobs={corpus.JOB: 0}),
    Languages(),
]

_HEYGEN_OPERATIONS: Final[list[Operation]] = [
    *_LEGACY_OPERATIONS,
    Read(jobs={corpus.JOB: 0, "job-2": 1, "job-3": 0}),
    Delete(job_id=corpus.JOB),
    ListJobs(limit=10),
    AddEndpoint(url="https://example.com/hook"),
    ListEndpoints(),
    RemoveEndpoint(endpoint_id="e"),
    EventHistory(),
]

DIALECTS: Final[list[tuple[Dialect, list[Operation]]]] = [
    (Native(), _OPERATIONS),
    (Plain(), _OPERATIONS),
    (HeyGen(), _HEYGEN_OPERATIONS),
    (HeyGenLegacy(), _LEGACY_OPERATIONS),
]
"""What is spoken, and what is asked in it."""

Call = Callable[[AsyncClient], Awaitable[object]]


async def _all_of(pages: AsyncIterator[object]) -> None:
    async for _ in pages:
        pass


CALLS: Final[list[Call]] = [
    lambda client: client.status(corpus.JOB),
    lambda client: client.status(),
    lambda client: client.statuses([corpus.JOB, "job-2"]),
    lambda client: client.submit("https://example.com/v", language="Spanish"),
    lambda client: client.cancel(corpus.JOB),
    lambda client: client.wait(corpus.JOB, timeout=0.3),
]

HeyGenCall = Callable[[AsyncHeyGenClient], Awaitable[object]]

LEGACY_CALLS: Final[list[HeyGenCall]] = [
    lambda client: client.status(corpus.JOB),
    lambda client: client.submit("https://example.com/v", language="Spanish"),
    lambda client: client.submit_all("https://example.com/v", languages=["Spanish", "German"]),
    lambda client: client.languages(),
    lambda client: client.wait(corpus.JOB, timeout=0.3),
]

HEYGEN_CALLS: Final[list[HeyGenCall]] = [
    *LEGACY_CALLS,
    lambda client: client.statuses([f"job-{number}" for number in range(30)]),
    lambda client: client.delete(corpus.JOB),
    lambda client: _all_of(client.list_jobs()),
    lambda client: client.refresh_url(corpus.JOB),
    lambda client: client.endpoints().add("https://example.com/hook"),
    lambda client: client.endpoints().known(),
    lambda client: client.endpoints().remove("e"),
    lambda client: client.endpoints().recent_jobs(),
]
