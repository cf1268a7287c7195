"""Bad answers, bad arguments, bad addresses: a typed error that says what to do, or patience."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from simulator.faults import Garbage, Hang, HttpStatus, Latency, UnknownState, Vanish
from tests.promises import l1_final_in_time
from tests.virtual.scene import now, open_scene
from vtrans_hybrid import (
    AsyncClient,
    AuthError,
    ConnectFailed,
    JobLost,
    JobNotFound,
    PollPolicy,
    ProtocolError,
    RetryPolicy,
    State,
    VtransError,
)

TROUBLES: dict[str, Any] = {
    **{f"garbage: {kind}": Garbage(kind=kind) for kind in ("json", "html", "nan", "empty")},
    "garbage: wrong type": Garbage(kind="wrong_type"),
    **{str(status): HttpStatus(status=status) for status in (408, 425, 429, 500, 502, 503, 504)},
    "a page of a proxy": HttpStatus(status=502, body="<h1>Bad gateway</h1>"),
    "a reset": Hang(seconds=3),
    "silence": Hang(),
    "slowness": Latency(seconds=20),
}


@pytest.mark.parametrize("name", TROUBLES)
async def test_reads_that_fail_for_a_while(name: str) -> None:
    """Whatever the server answers in place of a status, the watch goes on when it is over."""
    async with open_scene({"transport": "poll"}) as scene:
        job_ids = await scene.order(3, delay="60:90")
        viewer = scene.watch(*job_ids, mode="all")
        await asyncio.sleep(20)
        rule = scene.sim.faults.add(TROUBLES[name])
        await asyncio.sleep(100)
        assert scene.sim.faults.struck(rule) >= 3
        scene.sim.faults.heal()
        healed_at = now()
        await viewer.end(within=46)
        l1_final_in_time(viewer.ended_at, healed_at=healed_at)
        assert {status.state for status in viewer.seen} <= {"pending", "running", "completed"}


@pytest.mark.parametrize("name", TROUBLES)
async def test_reads_that_always_fail(name: str) -> None:
    """A server that never gave a proper answer is given up, by an error that says why."""
    retry = RetryPolicy(max_attempts=3, request_timeout=10)
    async with open_scene({"transport": "poll", "retry": retry}) as scene:
        [job_id] = await scene.order(delay=600)
        scene.sim.faults.add(TROUBLES[name])
        if isinstance(TROUBLES[name], HttpStatus):
            viewer = scene.watch(job_id, mode="all")
            await asyncio.sleep(120)
            assert not viewer.task.done(), "somebody is there, and will be well again"
            return
        with pytest.raises(VtransError) as caught:
            await scene.watch(job_id).end(within=60)
        assert len(str(caught.value)) > 20


@pytest.mark.parametrize("transport", ["auto", "push", "poll"])
async def test_a_host_that_does_not_answer(transport: Any) -> None:
    """Nobody at the port: the watch ends after `max_attempts`, and says what to look at."""
    options = {"transport": transport, "retry": RetryPolicy(max_attempts=3)}
    async with open_scene(options, url="http://127.0.0.1:9") as scene:
        began = now()
        with pytest.raises(ConnectFailed, match=r"[Nn]o connection"):
            await scene.watch("job-1").end(within=60)
        assert now() - began < 15
        with pytest.raises(ConnectFailed, match="Is base_url right"):
            await scene.client.status("job-1")


async def test_a_host_that_has_no_address() -> None:
    """A name that nobody knows is such a host, too."""
    async with open_scene({"retry": RetryPolicy(max_attempts=2)}, url="http://nowhere") as scene:
        with pytest.raises(ConnectFailed, match="nowhere"):
            await scene.watch("job-1").end(within=30)


async def test_a_host_that_swallows_everything() -> None:
    """One that takes no connection and refuses none ends by `max_attempts`, or by the timeout."""
    retry = RetryPolicy(max_attempts=2, request_timeout=5)
    async with open_scene({"retry": retry}) as scene:
        scene.network.blackhole()
        with pytest.raises(VtransError):
            await scene.watch("job-1").end(within=60)


@pytest.mark.parametrize("transport", ["auto", "push", "poll"])
async def test_an_unknown_job(transport: Any) -> None:
    """It ends its own watch and no other one."""
    async with open_scene({"transport": transport}) as scene:
        [job_id] = await scene.order(delay=20)
        good = scene.watch(job_id)
        with pytest.raises(JobNotFound, match="job-1"):
            await scene.watch("job-1").end(within=5)
        both = scene.watch("job-2", job_id)
        with pytest.raises(JobNotFound, match="job-2"):
            await both.end(within=25)
        assert both.seen[-1].is_final, "the job that is known is followed to its end first"
        await good.end(within=1)


@pytest.mark.parametrize("transport", ["auto", "push", "poll"])
@pytest.mark.parametrize("tombstone", [True, False])
async def test_a_job_that_vanishes(tombstone: bool, transport: Any) -> None:
    """A job that was deleted ends its watch; so does one that is forgotten, if it is asked for."""
    async with open_scene({"transport": transport}) as scene:
        [job_id] = await scene.order(delay=60)
        viewer = scene.watch(job_id)
        await asyncio.sleep(10)
        await scene.remember()
        scene.sim.faults.add(Vanish(tombstone=tombstone))
        if not tombstone:
            # Nobody tells the subscribers. A drop makes the client ask again.
            await asyncio.sleep(10)
            await scene.sim.drop()
        with pytest.raises(JobNotFound if tombstone else JobLost):
            await viewer.end(within=60)


@pytest.mark.parametrize("job_id", ["a/b", "../admin", "a\r\nb", "", "a b", "x" * 129, "é", ".a"])
async def test_a_job_id_that_is_none(job_id: str) -> None:
    """It is refused before anything is sent, by every call."""
    async with open_scene() as scene:
        client = scene.client
        with pytest.raises(ValueError, match="no job id"):
            client.watch(job_id)
        with pytest.raises(ValueError, match="no job id"):
            client.job(job_id)
        for call in (client.status, client.wait, client.result, client.cancel):
            with pytest.raises(ValueError, match="no job id"):
                await call(job_id)
        with pytest.raises(ValueError, match="no job id"):
            await client.statuses(["job-1", job_id])
        assert scene.network.stats().dials == 0


@pytest.mark.parametrize("key", ["wrong", None])
async def test_a_wrong_key_or_none(key: str | None) -> None:
    """Every call says that it is the key, and how to give one is up to the caller."""
    async with open_scene({"api_key": key}, api_keys=["right"]) as scene:
        for call in (
            lambda: scene.client.status("job-1"),
            lambda: scene.client.wait("job-1"),
            lambda: scene.client.submit("https://example.com/v", language="French"),
        ):
            with pytest.raises(AuthError, match="API key"):
                async with asyncio.timeout(5):
                    await call()


async def test_a_right_key() -> None:
    """The key goes with every request and with the upgrade, and jobs belong to it."""
    keys = ["one", "two"]
    async with open_scene({"api_key": "one"}, api_keys=keys, delay=20) as scene:
        job = await scene.client.submit("https://example.com/v", language="French")
        viewer = scene.watch(job.job_id, mode="all")
        stranger = AsyncClient(scene.sim.url, api_key="two")
        with pytest.raises(JobNotFound):
            await stranger.status(job)
        await stranger.aclose()
        await viewer.end(within=21)
        assert scene.client.stats().pushes >= 20


MISUSES: dict[str, Callable[[], object]] = {
    "negative interval": lambda: PollPolicy(min_interval=-1),
    "no interval": lambda: PollPolicy.fixed(0),
    "upside down": lambda: PollPolicy(min_interval=5, max_interval=1),
    "not a number": lambda: PollPolicy(max_rate=float("nan")),
    "no attempt": lambda: RetryPolicy(max_attempts=0),
    "no time": lambda: RetryPolicy(request_timeout=0),
    "no url": lambda: AsyncClient("localhost:8080"),
    "another scheme": lambda: AsyncClient("ftp://localhost"),
    "a password": lambda: AsyncClient("http://me:secret@localhost"),
    "a key in the clear": lambda: AsyncClient("http://example.com", api_key="k"),
    "a line break in a key": lambda: AsyncClient("http://localhost", api_key="k\r\nx: y"),
    "a negative timeout": lambda: AsyncClient("http://localhost", timeout=-1),
    "an unknown transport": lambda: AsyncClient("http://localhost", transport="smoke"),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("name", MISUSES)
async def test_arguments_that_make_no_sense(name: str) -> None:
    """They are refused where they are given, by a sentence."""
    with pytest.raises(ValueError, match=r"\w+ .*\w+ ") as caught:
        MISUSES[name]()
    assert len(str(caught.value)) > 20


@pytest.mark.parametrize("transport", ["push", "poll"])
async def test_a_state_that_nobody_has_heard_of(transport: Any) -> None:
    """It is data, compares as a string, and is never final."""
    async with open_scene({"transport": transport}) as scene:
        scene.sim.faults.add(UnknownState(word="transmogrifying"), probability=0.5)
        [job_id] = await scene.order(delay=30)
        viewer = scene.watch(job_id, mode="all")
        await viewer.end(within=45)
        strange = [status for status in viewer.seen if status.state == "transmogrifying"]
        assert strange
        assert not any(status.is_final or status.ok for status in strange)
        assert viewer.seen[-1].state is State.COMPLETED


async def test_one_bad_read_is_an_error_of_its_call() -> None:
    """A single read that gets garbage is repeated, and says what came if it stays so."""
    async with open_scene() as scene:
        [job_id] = await scene.order(delay=60)
        scene.sim.faults.add(Garbage(kind="html"), count=1)
        assert (await scene.client.status(job_id)).job_id == job_id
        scene.sim.faults.add(Garbage(kind="nan"))
        with pytest.raises(ProtocolError, match="base_url"):
            await scene.client.status(job_id)
