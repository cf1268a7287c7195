"""The pytest fixtures, used as a user's test suite uses them."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator

import aiohttp
import pytest

from simulator import Simulator
from simulator.testing import START, Network, VirtualLoop, VirtualRunner, current_network

pytest_plugins = ["pytester"]

drawn: dict[int, list[bytes]] = {}
ORDER = {"video_url": "https://example.com/talk.mp4", "language": "Spanish"}


def now() -> float:
    """Return the virtual time in seconds."""
    return asyncio.get_running_loop().time()


@pytest.fixture
async def prepared() -> AsyncIterator[float]:
    """Let a minute pass before and after the test, on its loop, in one task."""
    async with asyncio.timeout(7_200):
        await asyncio.sleep(60)
        yield now()
        await asyncio.sleep(60)


@pytest.fixture
async def noted() -> int:
    """Return something that had to be waited for."""
    await asyncio.sleep(1)
    return 7


@pytest.fixture
def checked(virtual_time: VirtualRunner) -> Iterator[None]:
    """Check after the test that its clock was virtual to the end."""
    real = time.perf_counter()
    yield
    assert virtual_time.elapsed == 3_600 + 60 + 60
    assert time.perf_counter() - real < 60


async def test_a_test_runs_on_its_own_network(virtual_network: Network) -> None:
    """The loop of the test is virtual, new, and carries the fixture's network."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    assert loop.time() == START
    assert current_network() is virtual_network


async def test_async_fixtures_share_the_loop(checked: None, prepared: float) -> None:
    """An async fixture and its test live on one clock."""
    assert prepared == START + 60
    await asyncio.sleep(3_600)
    assert now() == time.monotonic() == START + 3_660


class TestInAClass:
    """Methods, as tests and as fixtures."""

    @pytest.fixture
    async def own(self, noted: int) -> AsyncIterator[int]:
        """Leave a mark on the instance of the test."""
        await asyncio.sleep(noted)
        self.mark = noted
        yield noted
        del self.mark

    async def test_a_fixture_is_bound_to_the_instance(self, virtual_time: object, own: int) -> None:
        """A method that is a fixture and its test have the same `self`."""
        assert self.mark == own == 7
        assert now() == START + 8


def test_a_test_that_is_no_coroutine(
    virtual_time: VirtualRunner, virtual_simulator: Simulator
) -> None:
    """It runs what it wants to run, and the server lives on between."""

    async def health() -> int:
        async with aiohttp.ClientSession() as session:
            await asyncio.sleep(100)
            async with session.get(f"{virtual_simulator.url}/healthz") as answer:
                return answer.status

    assert [virtual_time.run(health), virtual_time.run(health)] == [200, 200]
    assert 200 < virtual_time.elapsed < 201


@pytest.mark.virtual_simulator(delay=600)
async def test_a_simulator_is_at_hand(virtual_simulator: Simulator) -> None:
    """A job of ten minutes is ordered and completed by virtual time."""
    async with aiohttp.ClientSession(virtual_simulator.url) as session:
        async with session.post("/jobs", json=ORDER) as answer:
            (job,) = (await answer.json())["jobs"]
        states = []
        for _ in range(2):
            async with session.get(f"/status/{job['job_id']}") as answer:
                states.append((await answer.json())["state"])
            await asyncio.sleep(601)
    assert states == ["pending", "completed"]


@pytest.mark.virtual_network(latency=(3, 3))
@pytest.mark.virtual_simulator(ping=60, seed=5)
class TestMarks:
    """Options come from the marks of the class and of the test."""

    @pytest.mark.virtual_simulator(ping=1)
    async def test_the_closest_counts(
        self, virtual_simulator: Simulator, virtual_network: Network
    ) -> None:
        """Each fixture takes the options of its own marks, those of the test above the others."""
        assert virtual_network.delay(None) == 3
        assert virtual_simulator.seed == 5
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(virtual_simulator.channel_url) as channel,
        ):
            await channel.send_json({"type": "hello"})
            assert (await channel.receive_json())["ping"] == 1


@pytest.mark.parametrize(("virtual_seed", "turn"), [(1, 1), (2, 1), (1, 2)])
async def test_the_seed_decides(virtual_seed: int, turn: int, virtual_network: Network) -> None:
    """Randomness follows from the seed of the test."""
    values = [os.urandom(8), str(virtual_network.delay(None)).encode()]
    assert drawn.setdefault(virtual_seed, values) == values
    assert sum(value == values for value in drawn.values()) == 1


def test_nothing_is_imported_before_a_test_asks_for_it() -> None:
    """The module that every run of pytest loads costs those who do not use it next to nothing."""
    code = (
        "import sys, pytest, pytest_vtrans; "
        "print(sorted({'aiohttp', 'anyio', 'asyncio', 'simulator'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


SUITE = """
import asyncio, time
import aiohttp, pytest, pytest_asyncio

@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request):
    return request.param

@pytest_asyncio.fixture
async def session():
    async with aiohttp.ClientSession() as session:
        yield session

class TestSomething:
    @pytest.mark.asyncio
    @pytest.mark.virtual_simulator(delay=600)
    async def test_ten_minutes(self, virtual_simulator, session):
        [job] = await virtual_simulator.create()
        await asyncio.sleep(601)
        async with session.get(f"{virtual_simulator.url}/status/{job.job_id}") as answer:
            assert (await answer.json())["state"] == "completed"

@pytest.mark.anyio
async def test_that_fails(virtual_time):
    await asyncio.sleep(1)
    assert not "reached"

async def test_that_hangs(virtual_simulator):
    async def ping():
        while True:
            await asyncio.sleep(60)
    pinging = asyncio.create_task(ping())
    await asyncio.Event().wait()

@pytest.mark.virtual_time(60)
async def test_with_a_wrong_mark(virtual_time):
    pass

def test_in_real_time():
    assert time.time() > 1_750_000_000
"""

MODES = {
    "strict": ["-o", "asyncio_mode=strict"],
    "asyncio": ["-o", "asyncio_mode=auto"],
    "anyio": ["-o", "anyio_mode=auto"],
}


@pytest.mark.parametrize("mode", MODES)
def test_beside_other_plugins(mode: str, pytester: pytest.Pytester) -> None:
    """A suite runs the same whichever of its async tests pytest-asyncio or anyio lay claim to."""
    pytest.importorskip("pytest_asyncio")
    arguments = [*MODES[mode], "-o", "asyncio_default_fixture_loop_scope=function"]
    pytester.makepyfile(SUITE)
    result = pytester.runpytest_subprocess("-W", "error", "--strict-markers", *arguments)
    result.assert_outcomes(passed=2, failed=2, errors=1)
    result.stdout.re_match_lines(
        [
            r"E +AssertionError: assert not 'reached'",
            r"E +simulator.testing.errors.LimitError: .*limit is 86,400",
            r"E +.* waits at .* in test_that_hangs",
        ]
    )
    result.stdout.fnmatch_lines(["*virtual_time takes keyword arguments only*(60,)*"])
