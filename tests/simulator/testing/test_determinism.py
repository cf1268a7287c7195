"""The same seed is the same run, in this process and in another."""

import asyncio
import os
import random
import secrets
import subprocess
import sys
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import anyio
import pytest
from anyio.from_thread import start_blocking_portal

from simulator.testing import START, WALL_CLOCK_START, UnsupportedError, determined, run
from tests.simulator.testing.scenario import digest

ROOT = Path(__file__).parents[3]


def digest_in_another_process(seed: int, hash_seed: int) -> str:
    """Return the digest that a new process prints for `seed`."""
    environment = os.environ | {"PYTHONHASHSEED": str(hash_seed), "PYTHONPATH": str(ROOT)}
    answer = subprocess.run(
        [sys.executable, "-m", "tests.simulator.testing.scenario", str(seed)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
    )
    return answer.stdout.strip()


def test_two_processes_produce_the_same_bytes() -> None:
    """With one seed the trace of the whole stack is identical under different hash seeds."""
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(digest_in_another_process, (7, 7), (1, 2))
    assert first == second
    assert len(first) == 64


def test_two_runs_in_one_process_produce_the_same_bytes() -> None:
    """A run leaves nothing behind that changes the next; another seed is another run."""
    assert digest(3) == digest(3)
    assert digest(3) != digest(4)


def draws() -> list[object]:
    """Draw from every source of randomness in the standard library."""
    return [
        os.urandom(8),
        secrets.token_bytes(8),
        secrets.randbelow(1_000_000),
        uuid.uuid4(),
        random.random(),
        random.SystemRandom().random(),
    ]


def test_randomness_follows_the_seed() -> None:
    """All of the standard library's sources of randomness follow from the seed."""

    def determined_draws(seed: int) -> list[object]:
        with determined(seed, lambda: 0.0):
            return draws()

    assert determined_draws(1) == determined_draws(1)
    assert all(
        one != other for one, other in zip(determined_draws(1), determined_draws(2), strict=True)
    )


def test_randomness_is_restored() -> None:
    """Outside the context randomness is real again, and `random` goes on where it was."""
    random.seed(5)
    expected = [random.random(), random.random()]
    random.seed(5)
    found = [random.random()]
    with determined(1, lambda: 0.0):
        inside = os.urandom(16)
    found.append(random.random())
    assert found == expected
    with determined(1, lambda: 0.0):
        assert os.urandom(16) == inside
    assert os.urandom(16) != inside


def test_clocks_follow_the_virtual_clock() -> None:
    """The wall clock and the monotonic clock of the process show virtual time."""

    async def main() -> list[float]:
        await anyio.sleep(3_600)
        return [time.time(), time.time_ns() / 1e9, time.monotonic(), time.monotonic_ns() / 1e9]

    real = time.time()
    wall, monotonic = WALL_CLOCK_START + START + 3_600, START + 3_600
    assert run(main) == pytest.approx([wall, wall, monotonic, monotonic])
    assert 0 <= time.time() - real < 10


def test_clocks_are_restored_after_a_failure() -> None:
    """An exception leaves no virtual clock behind."""
    originals = (time.time, time.monotonic, os.urandom, random.getstate())
    with pytest.raises(LookupError), determined(0, lambda: 0.0):
        raise LookupError
    assert originals == (time.time, time.monotonic, os.urandom, random.getstate())


def test_thread_gets_no_loop_of_its_own() -> None:
    """A loop in another thread is refused at once: its clock would stand still for ever."""

    async def main() -> None:
        refused = pytest.raises(UnsupportedError, match="A thread was to run an event loop")
        with refused, start_blocking_portal():
            raise AssertionError("there is a portal")
        asyncio.new_event_loop().close()  # here anybody may

    originals = (asyncio.new_event_loop, asyncio.events.new_event_loop)
    run(main)
    assert originals == (asyncio.new_event_loop, asyncio.events.new_event_loop)
    with start_blocking_portal() as portal:
        assert portal.call(lambda: 7) == 7


def test_anyio_cancels_in_the_same_order_in_every_run() -> None:
    """The children of a cancelled scope end in an order that addresses do not decide."""

    async def main() -> list[int]:
        ended: list[int] = []

        async def child(number: int) -> None:
            with anyio.CancelScope():
                try:
                    await anyio.sleep_forever()
                finally:
                    ended.append(number)

        async with anyio.create_task_group() as group:
            for number in range(40):
                group.start_soon(child, number)
            await anyio.sleep(1)
            group.cancel_scope.cancel()
        return ended

    ballast = [[object() for _ in range(n % 7)] for n in range(1_000)]
    first = run(main)
    ballast.clear()
    assert sorted(first) == list(range(40))
    assert run(main) == first
