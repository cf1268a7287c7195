"""The total timeout fires at its time, whatever the client is doing then."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from simulator.faults import AcceptAndClose, HalfOpen, Hang, HttpStatus, Mute, RefuseUpgrade
from tests.promises import l4_timeout_in_time
from tests.virtual.scene import Scene, now, open_scene
from vtrans_hybrid import JobStatus, PollPolicy, RetryPolicy, WatchTimeout

TIMEOUT = 7.3

Trouble = Callable[[Scene], object]

STATES: dict[str, tuple[str, Trouble]] = {
    "live": ("auto", lambda scene: None),
    "dialing a refused port": ("auto", lambda scene: scene.network.refuse()),
    "dialing a black hole": ("auto", lambda scene: scene.network.blackhole()),
    "connected to silence": ("auto", lambda scene: scene.network.stall()),
    "push, dialing a black hole": ("push", lambda scene: scene.network.blackhole()),
    "push, in backoff": ("push", lambda scene: scene.sim.faults.add(AcceptAndClose())),
    "push, told to wait": (
        "push",
        lambda scene: scene.sim.faults.add(RefuseUpgrade(status=503, retry_after=60)),
    ),
    "push, muted": ("push", lambda scene: scene.sim.faults.add(Mute())),
    "push, half-open": ("push", lambda scene: scene.sim.faults.add(HalfOpen())),
    "polling": ("poll", lambda scene: None),
    "polling, hanging": ("poll", lambda scene: scene.sim.faults.add(Hang())),
    "polling, in backoff": ("poll", lambda scene: scene.sim.faults.add(HttpStatus(status=500))),
    "polling, told to wait": (
        "poll",
        lambda scene: scene.sim.faults.add(HttpStatus(status=429, retry_after=60)),
    ),
}


@asynccontextmanager
async def in_trouble(name: str, *, settled: bool) -> AsyncIterator[tuple[Scene, str]]:
    """Open a scene and bring the trouble about, perhaps once everything works."""
    transport, bring_about = STATES[name]
    # Patience without end: it is the timeout that shall end the watch.
    retry = RetryPolicy(max_attempts=1000)
    async with open_scene({"transport": transport, "retry": retry}) as scene:
        [job_id] = await scene.order(delay=600)
        if settled:
            other = scene.watch(job_id)
            await asyncio.sleep(3)
            bring_about(scene)
            if name != "live":
                scene.network.reset()
            await asyncio.sleep(1)
            yield scene, job_id
            await other.leave()
        else:
            bring_about(scene)
            yield scene, job_id


@pytest.mark.parametrize("settled", [False, True], ids=["at first", "later on"])
@pytest.mark.parametrize("name", STATES)
async def test_a_watch_times_out_in_time(name: str, settled: bool) -> None:
    """In every state the watch ends at its time, with the last status, and the job goes on."""
    async with in_trouble(name, settled=settled) as (scene, job_id):
        began = now()
        viewer = scene.watch(job_id, timeout=TIMEOUT)
        with pytest.raises(WatchTimeout) as caught:
            await viewer.end(within=TIMEOUT + 1)
        l4_timeout_in_time(viewer.ended_at, deadline=began + TIMEOUT)
        assert isinstance(caught.value, TimeoutError)
        if viewer.seen:
            assert caught.value.last_status is not None
            assert caught.value.last_status.position == viewer.seen[-1].position
        assert scene.sim.jobs[job_id].state != "completed"


@pytest.mark.parametrize("call", ["watch", "wait", "result"])
@pytest.mark.parametrize(
    "bring_about",
    [
        lambda scene: scene.sim.faults.add(HttpStatus(status=503)),
        lambda scene: scene.sim.faults.add(HttpStatus(status=503, retry_after=60)),
        lambda scene: scene.sim.faults.add(Hang()),
        lambda scene: scene.network.blackhole(),
        lambda scene: scene.network.stall(),
    ],
    ids=["503", "retry-after", "hang", "black hole", "silence"],
)
async def test_asking_for_the_default_job_times_out_in_time(
    bring_about: Trouble, call: str
) -> None:
    """The time in which it is found out which job to watch counts, retries included."""
    async with open_scene() as scene:
        bring_about(scene)
        waiting: dict[str, Callable[[], Awaitable[JobStatus]]] = {
            "watch": lambda: anext(scene.client.watch(timeout=2.3)),
            "wait": lambda: scene.client.wait(timeout=2.3),
            "result": lambda: scene.client.result(timeout=2.3),
        }
        began = now()
        with pytest.raises(WatchTimeout):
            await waiting[call]()
        l4_timeout_in_time(now(), deadline=began + 2.3)


async def test_the_default_job_is_watched_for_the_rest_of_the_timeout() -> None:
    """Asking for the job and watching it share one timeout."""
    async with open_scene(delay=600) as scene:
        scene.sim.faults.add(HttpStatus(status=503), for_=3)
        began = now()
        with pytest.raises(WatchTimeout):
            await scene.client.wait(timeout=TIMEOUT)
        l4_timeout_in_time(now(), deadline=began + TIMEOUT)
        assert scene.client.stats().pushes > 0


async def test_many_timeouts_at_once() -> None:
    """Three hundred watches with timeouts of their own each end in time, the others go on."""
    async with open_scene() as scene:
        job_ids = await scene.order(300, delay=600)
        began = now()
        timeouts = [1 + index * 0.03 for index in range(300)]
        viewers = [
            scene.watch(job_id, timeout=timeout)
            for job_id, timeout in zip(job_ids, timeouts, strict=True)
        ]
        for viewer, timeout in zip(viewers, timeouts, strict=True):
            with pytest.raises(WatchTimeout):
                await viewer.end(within=20)
            l4_timeout_in_time(viewer.ended_at, deadline=began + timeout)
        assert scene.client.stats().watched_jobs == 0


async def test_the_timeout_of_the_policy() -> None:
    """`max_wait_time` of the poll policy is the timeout of a watch without one of its own."""
    async with open_scene({"poll": PollPolicy(max_wait_time=5)}) as scene:
        [job_id] = await scene.order(delay=60)
        began = now()
        viewer = scene.watch(job_id)
        with pytest.raises(WatchTimeout):
            await viewer.end(within=6)
        l4_timeout_in_time(viewer.ended_at, deadline=began + 5)


async def test_a_job_is_cancelled_on_timeout_if_so_asked() -> None:
    """`cancel_on_timeout` ends the job at the server; otherwise it goes on."""
    async with open_scene() as scene:
        [job_id, other] = await scene.order(2, delay=60)
        for each, is_asked in ((job_id, True), (other, False)):
            with pytest.raises(WatchTimeout) as caught:
                await scene.client.wait(each, timeout=2, cancel_on_timeout=is_asked)
            assert str(caught.value) == f"job {each} was running when the timeout passed"
            notes = ["after cancel_on_timeout the job is canceled"] if is_asked else []
            assert getattr(caught.value, "__notes__", []) == notes
        assert scene.sim.jobs[job_id].state == "canceled"
        assert scene.sim.jobs[other].state == "running"
