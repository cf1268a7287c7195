"""Calls that are made once: how long they take, how often they try, and what they leave undone."""

import asyncio

import pytest

from simulator.faults import HttpStatus, RefuseUpgrade
from simulator.testing import Network
from tests.virtual.scene import now, open_scene
from vtrans_hybrid import (
    AsyncClient,
    ClientClosed,
    JobStatus,
    RateLimited,
    RequestTimeout,
    RetryPolicy,
    Unavailable,
)

VIDEO = "https://example.com/talk.mp4"


async def test_an_operation_does_not_wait_out_an_hour() -> None:
    """A Retry-After beyond the total timeout of the policy is an error at once, which says it."""
    async with open_scene() as scene:
        scene.sim.faults.add(HttpStatus(status=429, retry_after=3600))
        began = now()
        with pytest.raises(RateLimited) as caught:
            await scene.client.submit(VIDEO, language="Spanish")
        assert caught.value.retry_after == 3600
        assert now() - began < 1


async def test_retries_end_with_their_total_timeout() -> None:
    """However many attempts would be left."""
    patient = RetryPolicy(max_attempts=100, total_timeout=20)
    async with open_scene({"retry": patient}) as scene:
        scene.sim.faults.add(HttpStatus(status=429, retry_after=6))
        began = now()
        with pytest.raises(RateLimited) as caught:
            await scene.client.status("job-1")
        assert 12 < now() - began < 21
        assert caught.value.__notes__ == ["after 4 attempts"]


@pytest.mark.parametrize("call", ["submit", "status", "statuses", "cancel"])
async def test_a_call_ends_with_its_own_timeout(call: str, network: Network) -> None:
    """Against a server that accepts and says nothing, too."""
    async with open_scene() as scene:
        client = scene.client
        calls = {
            "submit": lambda: client.submit(VIDEO, language="Thai", timeout=3),
            "status": lambda: client.status("job-1", timeout=3),
            "statuses": lambda: client.statuses(["job-1", "job-2"], timeout=3),
            "cancel": lambda: client.cancel("job-1", timeout=3),
        }
        network.stall()
        began = now()
        with pytest.raises(RequestTimeout):
            await calls[call]()
        assert now() - began == pytest.approx(3, abs=0.01)


async def test_an_outage_is_not_held_against_a_client_for_long() -> None:
    """A minute later a request may fail again and be repeated."""
    async with open_scene() as scene:
        scene.sim.faults.add(HttpStatus(status=500), count=5)
        with pytest.raises(Unavailable):
            await scene.client.submit(VIDEO, language="Spanish")
        await asyncio.sleep(20)
        scene.sim.faults.add(HttpStatus(status=503), count=2)
        assert (await scene.client.submit(VIDEO, language="Spanish")).job_id


async def test_leaving_waits_for_callbacks_that_run() -> None:
    """What the application does with the final status is done, for five seconds at most."""
    seen: list[str] = []

    async def save(status: JobStatus) -> None:
        await asyncio.sleep(0.4)
        seen.append(status.state)

    async with open_scene() as scene:
        [job_id] = await scene.order(delay=5)
        async with AsyncClient(scene.sim.url) as client:
            client.on_update(save, job_id)
            await client.wait(job_id)
        assert seen[-1] == "completed"


@pytest.mark.parametrize("fails", [True, False])
async def test_leaving_does_not_wait_for_ever(fails: bool) -> None:
    """A callback that does not end is cancelled: at once if an exception ends the block."""

    async def never_end(_: JobStatus) -> None:
        await asyncio.Event().wait()

    async def leave(url: str, job_id: str) -> None:
        async with AsyncClient(url) as client:
            client.on_update(never_end, job_id)
            await asyncio.sleep(1)
            assert not fails, "as agreed"

    async with open_scene(delay=600) as scene:
        [job_id] = await scene.order()
        began = now()
        [ended] = await asyncio.gather(leave(scene.sim.url, job_id), return_exceptions=True)
        assert isinstance(ended, AssertionError) == fails
        assert now() - began == pytest.approx(1 if fails else 6, abs=0.2)


async def test_leaving_can_be_cancelled() -> None:
    """Whoever is in a hurry does not wait for callbacks."""

    async def never_end(_: JobStatus) -> None:
        await asyncio.Event().wait()

    async def leave(url: str, job_id: str) -> None:
        async with AsyncClient(url) as client:
            client.on_update(never_end, job_id)
            await asyncio.sleep(1)

    async with open_scene(delay=600) as scene:
        [job_id] = await scene.order()
        began = now()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(leave(scene.sim.url, job_id), 2)
        assert now() - began == pytest.approx(2, abs=0.2)


async def test_an_internal_error_carries_its_cause(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever waits can see from the exception alone what happened."""
    async with open_scene() as scene:
        asyncio.get_running_loop().set_exception_handler(lambda *_: None)
        [job_id] = await scene.order(delay=600)
        waiting = asyncio.ensure_future(scene.client.wait(job_id))
        await asyncio.sleep(1)
        monkeypatch.setattr(scene.client._driver.core, "advance", None)
        with pytest.raises(ClientClosed) as caught:
            await waiting
        assert isinstance(caught.value.__cause__, TypeError)


async def test_a_fresh_job_is_read_when_push_is_refused() -> None:
    """Nobody waits in ignorance to see whether push comes back."""
    async with open_scene() as scene:
        [job_id] = await scene.order(delay=600)
        scene.sim.faults.add(RefuseUpgrade(status=503, retry_after=60))
        began = now()
        assert (await anext(scene.client.watch(job_id))).state in ("pending", "running")
        assert now() - began < 0.5
