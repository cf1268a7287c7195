"""What docs/from-a-poller.md promises, row by row, with the code that stands in it.

The server is of the kind that a poller polls: `GET /status/{job_id}` and nothing else. Time is
virtual, so intervals are exact and minutes cost nothing.
"""

import asyncio
import re
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

import vtrans_hybrid
from vtrans_hybrid import (
    AsyncClient,
    JobFailed,
    JobStatus,
    PollPolicy,
    RetryPolicy,
    Unavailable,
    WatchTimeout,
)

pytestmark = pytest.mark.usefixtures("virtual_time")

PAGE = (Path(__file__).parents[1] / "docs" / "from-a-poller.md").read_text(encoding="utf-8")
TICK = 0.1  # seconds by which a read may come late: timers in steps, and the way


def table() -> dict[str, tuple[str, str]]:
    """Return what stands in the first two columns, as code, by the name in the first."""
    rows = re.findall(r"^\| `([^`]+)` \| `([^`]+)` \| \S.* \|$", PAGE, re.MULTILINE)
    return {there.strip('"').partition("=")[0]: (there, here) for there, here in rows}


ROWS = table()


def there(name: str) -> float:
    """Return the value that a row gives the poller's parameter."""
    return float(ROWS[name][0].partition("=")[2])


def here(name: str, **names: object) -> Any:
    """Evaluate what a row says instead; `names` are those that it leaves to the reader."""
    return eval(ROWS[name][1], vars(vtrans_hybrid) | names)


class PlainServer:
    """Says `pending` until its jobs end, and notes when it was asked.

    Attributes:
        ends_at: seconds of its own life after which every job has ended; None for never.
        word: what it says then.
        eta: `estimated_time_remaining`, "true" for what is right; None for none.
        refuses: how many requests are answered 503 before the first good answer.
        takes: seconds that each answer takes.
    """

    url = "http://127.0.0.1:8080"

    def __init__(self) -> None:
        self.ends_at: float | None = None
        self.word = "completed"
        self.eta: float | str | None = None
        self.refuses = 0.0
        self.takes = 0.0
        self.requests: list[float] = []
        self.reads: list[float] = []
        self.at_once = 0
        self.most_at_once = 0
        self._began_at = now()

    @property
    def intervals(self) -> list[float]:
        """Seconds between one read and the next."""
        return [later - earlier for earlier, later in pairwise(self.reads)]

    async def answer(self, request: web.Request) -> web.Response:
        """Answer any request."""
        self.requests.append(now())
        if self.refuses > 0:
            self.refuses -= 1
            return web.Response(status=503)
        if request.method != "GET" or not request.path.startswith("/status"):
            return web.Response(status=405)
        self.reads.append(now())
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await asyncio.sleep(self.takes)
        self.at_once -= 1
        return web.json_response(self._status())

    def _status(self) -> dict[str, Any]:
        age = now() - self._began_at
        if self.ends_at is not None and age >= self.ends_at:
            return {"result": self.word}
        if self.eta == "true":
            assert self.ends_at is not None
            return {"result": "pending", "estimated_time_remaining": self.ends_at - age}
        return {"result": "pending", "estimated_time_remaining": self.eta}


def now() -> float:
    """Return the virtual time in seconds."""
    return asyncio.get_running_loop().time()


@pytest.fixture
async def server() -> AsyncIterator[PlainServer]:
    """Run a plain server."""
    server = PlainServer()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 8080).start()
    yield server
    await runner.cleanup()


@pytest.fixture
async def client(server: PlainServer) -> AsyncIterator[AsyncClient]:
    """Open a client as it is by default."""
    async with AsyncClient(server.url) as client:
        yield client


async def polled_by(policy: PollPolicy, server: PlainServer, seconds: float) -> list[float]:
    """Let a client watch a job for a while; return the intervals between its reads."""
    async with AsyncClient(server.url, poll=policy) as client:
        with pytest.raises(WatchTimeout):
            await client.wait("job-1", timeout=seconds)
    return server.intervals


def are_near(intervals: list[float], expected: list[float], share: float) -> bool:
    """Tell whether each interval is the one expected, give or take a share of it."""
    pairs = zip(intervals, expected, strict=False)
    return len(intervals) >= len(expected) and all(
        abs(interval - plain) <= share * plain + TICK for interval, plain in pairs
    )


@pytest.mark.parametrize("name", ROWS)
def test_each_row_has_a_test(name: str) -> None:
    """There is a test named after each row of the tables."""
    assert callable(globals().get(f"test_{name}")), f"write test_{name}"


def test_each_line_of_a_table_is_a_row() -> None:
    """No line of a table escapes these tests by its form, and every usual parameter is there."""
    lines = [line for line in PAGE.splitlines() if line.startswith("|")]
    heads = [line for line in lines if line.startswith(("| there |", "|---|"))]
    assert len(ROWS) == len(lines) - len(heads)
    assert ROWS.keys() >= {
        *("max_retries", "max_attempts", "initial_backoff", "initial_interval"),
        *("initial_wait_time", "backoff_factor", "jitter", "max_interval", "max_timeout"),
        *("max_wait_time", "min_polling_interval", "max_polling_interval", "concurrent_limit"),
        *("on_update", "completed", "error", "timeout"),
    }


# Parameters.


async def test_max_retries(server: PlainServer) -> None:
    """A request that keeps failing is sent once and then as often as there were retries."""
    server.refuses = 1000
    retry: RetryPolicy = here("max_retries")
    async with AsyncClient(server.url, retry=retry) as client:
        with pytest.raises(Unavailable):
            await client.status("job-1")
    assert len(server.requests) == 1 + there("max_retries")


async def test_max_attempts(server: PlainServer, client: AsyncClient) -> None:
    """A wait ends after its time, after fewer polls or more."""
    began_at = now()
    with pytest.raises(WatchTimeout):
        await here("max_attempts", client=client, job="job-1")
    assert now() - began_at == pytest.approx(120, abs=TICK)
    assert len(server.reads) != there("max_attempts")


async def test_initial_backoff(server: PlainServer) -> None:
    """The first delay after a failure is the one given, up to half of it taken off."""
    server.refuses = 1
    retry: RetryPolicy = here("initial_backoff")
    async with AsyncClient(server.url, retry=retry) as client:
        await client.status("job-1")
    delay = server.requests[1] - server.requests[0]
    assert there("initial_backoff") / 2 - TICK <= delay <= there("initial_backoff") + TICK


async def test_initial_interval(server: PlainServer) -> None:
    """The second read follows the first after this interval, 25 % of jitter aside."""
    intervals = await polled_by(here("initial_interval"), server, 30)
    assert are_near(intervals, [there("initial_interval")], 0.25), intervals


async def test_initial_wait_time(server: PlainServer) -> None:
    """A truthful estimate makes four reads enough: at once, on the way, and right at the end."""
    server.ends_at, server.eta = 60.0, "true"
    async with AsyncClient(server.url, poll=here("initial_wait_time")) as client:
        began_at = now()
        status = await client.wait("job-1")
    assert status.ok
    assert server.reads[0] - began_at < 1
    assert server.reads[-1] - began_at == pytest.approx(60, abs=0.2)
    assert len(server.reads) <= 4


async def test_backoff_factor(server: PlainServer) -> None:
    """Each interval is so many times as long as the one before, 25 % of jitter aside."""
    intervals = await polled_by(here("backoff_factor"), server, 30)
    expected = [there("backoff_factor") ** exponent for exponent in range(3)]
    assert are_near(intervals, expected, 0.25), intervals


async def test_jitter(server: PlainServer) -> None:
    """Intervals stray from the plain ones, but not by more than the share given."""
    intervals = await polled_by(here("jitter"), server, 60)
    plain = [1.0, 2.0, 4.0, 8.0, 16.0]
    assert are_near(intervals, plain, there("jitter")), intervals
    strays = [interval / expected for interval, expected in zip(intervals, plain, strict=False)]
    assert max(strays) - min(strays) > 0.02


async def test_max_interval(server: PlainServer) -> None:
    """Intervals grow no longer than this, and as long."""
    intervals = await polled_by(here("max_interval"), server, 600)
    assert max(intervals) <= there("max_interval") + TICK
    assert max(intervals) > 0.75 * there("max_interval")


async def test_max_timeout(server: PlainServer, client: AsyncClient) -> None:
    """The time is up for a server that answers and for one that fails, at the same moment."""
    for server.refuses in (0, 1000):
        began_at = now()
        with pytest.raises(WatchTimeout):
            await here("max_timeout", client=client, job="job-1")
        assert now() - began_at == pytest.approx(there("max_timeout"), abs=TICK)


async def test_max_wait_time(server: PlainServer) -> None:
    """A watch without a timeout of its own ends after this time; one with its own, after that."""
    async with AsyncClient(server.url, poll=here("max_wait_time")) as client:
        for timeout, expected in ((None, there("max_wait_time")), (7, 7)):
            began_at = now()
            with pytest.raises(WatchTimeout):
                await client.wait("job-1", timeout=timeout)
            assert now() - began_at == pytest.approx(expected, abs=TICK)


async def test_min_polling_interval(server: PlainServer) -> None:
    """A job that is always about to end is not read more often than this."""
    server.eta = 0.1
    intervals = await polled_by(here("min_polling_interval"), server, 60)
    assert min(intervals) >= there("min_polling_interval") - TICK
    assert len(intervals) > 10


async def test_max_polling_interval(server: PlainServer) -> None:
    """A job that is never about to end is not read more seldom than this."""
    server.eta = 100_000.0
    intervals = await polled_by(here("max_polling_interval"), server, 300)
    assert max(intervals) <= there("max_polling_interval") + TICK
    assert len(intervals) > 10


async def test_concurrent_limit(server: PlainServer, client: AsyncClient) -> None:
    """Of many reads so many are under way at once, and never more."""
    server.takes = 1.0
    jobs = [f"job-{number}" for number in range(50)]
    statuses = await here("concurrent_limit", client=client, jobs=jobs)
    assert list(statuses) == jobs
    assert server.most_at_once == there("concurrent_limit")


async def test_on_update(server: PlainServer, client: AsyncClient) -> None:
    """The callback hears of what changed, once and in order, however often was polled."""
    server.ends_at = 60.0
    heard: list[JobStatus] = []

    async def callback(status: JobStatus) -> None:
        await asyncio.sleep(0.5)
        heard.append(status)

    await here("on_update", client=client, job="job-1", callback=callback)
    assert [status.state for status in heard] == ["pending", "completed"]
    assert len(server.reads) > 5


# Results.


async def test_completed(server: PlainServer, client: AsyncClient) -> None:
    """The word is the state, of the default job as well."""
    server.ends_at = 3.0
    for job in ("job-1", None):
        status = await client.wait(job)
        assert here("completed", status=status) is True
        assert status.ok


async def test_error(server: PlainServer, client: AsyncClient) -> None:
    """`result` raises, `wait` returns the state."""
    server.ends_at, server.word = 3.0, "error"
    with pytest.raises(JobFailed) as caught:
        await here("error", client=client, job="job-1")
    assert caught.value.job_status.state == "error"
    assert (await client.wait("job-1")).state == "error"


async def test_timeout(server: PlainServer, client: AsyncClient) -> None:
    """The end of patience is a TimeoutError that knows the last status, and the job goes on."""
    server.ends_at = 90.0
    with pytest.raises(TimeoutError) as caught:
        await here("timeout", client=client, job="job-1")
    assert isinstance(caught.value, WatchTimeout)
    assert caught.value.last_status is not None
    assert caught.value.last_status.state == "pending"
    assert (await client.wait("job-1")).ok
