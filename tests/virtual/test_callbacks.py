"""Callbacks, whatever they do: in order, never twice at once, and nobody else waits for them."""

import asyncio
from collections import Counter

import pytest

from simulator import Simulator
from simulator.testing import run
from tests.promises import (
    s1_at_most_once,
    s2_ascending,
    s3_final_once_and_last,
    s5_skipped_is_counted,
)
from tests.virtual.scene import now, open_scene
from vtrans_hybrid import AsyncClient, JobNotFound, JobStatus


async def test_plain_and_asynchronous_callbacks_see_what_a_watch_sees() -> None:
    """Of the client, of a job and of a watch: each gets every update, once, in order."""
    plain: list[JobStatus] = []
    later: list[JobStatus] = []
    of_job: list[JobStatus] = []

    async def take(status: JobStatus) -> None:
        await asyncio.sleep(0.01)
        later.append(status)

    async with open_scene({"on_update": plain.append}) as scene:
        [job_id] = await scene.order(delay=20)
        scene.client.on_update(of_job.append, job_id)
        viewer = asyncio.create_task(scene.client.wait(job_id, on_update=take))
        async with asyncio.timeout(21):
            final = await viewer
        for seen in (plain, later, of_job):
            s1_at_most_once(seen)
            s2_ascending(seen)
            s3_final_once_and_last(seen, ended=[job_id])
            assert [status.version for status in seen] == list(range(1, final.version + 1))


async def test_a_decorator_without_parentheses() -> None:
    """The function below it is called back, can be called by its name, and says how to end it."""
    seen: list[JobStatus] = []
    async with open_scene() as scene:
        [job_id] = await scene.order(delay=20)

        @scene.client.on_update
        async def note(status: JobStatus) -> int:
            """Note a status."""
            seen.append(status)
            return status.version

        viewer = scene.watch(job_id)
        await asyncio.sleep(10)
        assert [status.version for status in seen] == viewer.versions
        assert (note.__name__, note.__doc__) == ("note", "Note a status.")
        assert await note(seen[0]) == 1
        assert seen.pop() is seen[0]

        note()
        before = len(seen)
        await viewer.end(within=11)
        assert len(seen) == before < len(viewer.seen)


async def test_a_callback_that_raises() -> None:
    """It stops nothing; `on_error` is told each time, with the status."""
    errors: list[tuple[Exception, JobStatus | None]] = []

    def fail(status: JobStatus) -> None:
        raise ZeroDivisionError(status.version)

    async def fail_later(status: JobStatus) -> None:
        await asyncio.sleep(0.01)
        raise KeyError(status.version)

    options = {"on_update": fail, "on_error": lambda *error: errors.append(error)}
    async with open_scene(options) as scene:
        [job_id] = await scene.order(delay=20)
        scene.client.on_update(fail_later, job_id)
        viewer = scene.watch(job_id, mode="all")
        await viewer.end(within=21)
        await asyncio.sleep(0.1)
        kinds = Counter(type(error) for error, _ in errors)
        assert kinds == {ZeroDivisionError: len(viewer.seen), KeyError: len(viewer.seen)}
        assert all(
            status is not None and error.args == (status.version,) for error, status in errors
        )


async def test_an_error_callback_that_raises(caplog: pytest.LogCaptureFixture) -> None:
    """It is logged, and stops nothing."""

    def fail(*_: object) -> None:
        raise ZeroDivisionError

    async with open_scene({"on_update": fail, "on_error": fail}) as scene:
        [job_id] = await scene.order(delay=5)
        await scene.watch(job_id).end(within=6)
        assert "on_error failed" in caplog.text


async def test_a_slow_callback_delays_nobody() -> None:
    """It gets the newest status next, never two at once, the final always; others see all."""
    slow: dict[str, list[JobStatus]] = {}
    running: Counter[str] = Counter()

    async def take(status: JobStatus) -> None:
        running[status.job_id] += 1
        assert running[status.job_id] == 1, "it was called while it ran"
        slow.setdefault(status.job_id, []).append(status)
        await asyncio.sleep(7)
        running[status.job_id] -= 1

    async with open_scene({"on_update": take}) as scene:
        job_ids = await scene.order(5, delay=30)
        began = now()
        viewers = [scene.watch(job_id, mode="all") for job_id in job_ids]
        for viewer in viewers:
            await viewer.end(within=31)
            assert viewer.versions == list(range(1, viewer.versions[-1] + 1))
            assert viewer.ended_at - began < 30.1
        await asyncio.sleep(15)
        for job_id in job_ids:
            seen = slow[job_id]
            s2_ascending(seen)
            s3_final_once_and_last(seen, ended=[job_id])
            s5_skipped_is_counted(seen)
            assert 4 <= len(seen) <= 7


async def test_a_callback_that_ends_its_watch() -> None:
    """A callback may unsubscribe itself, and another one, and start a watch: from within."""
    seen: list[JobStatus] = []
    async with open_scene() as scene:
        [job_id, other] = await scene.order(2, delay=20)
        tasks: list[asyncio.Task[JobStatus]] = []

        def take(status: JobStatus) -> None:
            seen.append(status)
            if len(seen) == 3:
                leave()
                leave_all()
                tasks.append(asyncio.create_task(scene.client.wait(other)))

        leave = scene.client.on_update(take, job_id)
        leave_all = scene.client.on_update(seen.append)
        await asyncio.sleep(21)
        assert len(seen) == 3
        assert (await tasks[0]).ok


async def test_a_callback_for_a_job_that_is_unknown() -> None:
    """Nobody awaits it, so `on_error` is told, and no status."""
    errors: list[tuple[Exception, JobStatus | None]] = []
    async with open_scene({"on_error": lambda *error: errors.append(error)}) as scene:
        scene.client.on_update(print, "job-1")
        await asyncio.sleep(5)
        [(error, status)] = errors
        assert isinstance(error, JobNotFound)
        assert status is None


async def test_closing_while_a_callback_runs() -> None:
    """The callback is cancelled at once, and nothing is called afterwards."""
    called: list[JobStatus] = []
    cancelled: list[JobStatus] = []

    async def take(status: JobStatus) -> None:
        called.append(status)
        try:
            await asyncio.sleep(1000)
        except asyncio.CancelledError:
            cancelled.append(status)
            raise

    async with open_scene({"on_update": take}) as scene:
        [job_id] = await scene.order(delay=20)
        scene.watch(job_id)
        await asyncio.sleep(10)
        await scene.client.aclose()
        assert called == cancelled
        await asyncio.sleep(20)
        assert len(called) == 1


async def test_a_callback_that_cleans_up_badly_as_it_is_cancelled() -> None:
    """Its failure is reported as any other of a callback; nothing of ours has failed."""
    errors: list[str] = []
    told: list[object] = []

    async def wait(_: JobStatus) -> None:
        try:
            await asyncio.sleep(1000)
        finally:
            raise ValueError("the clean-up failed")

    async with open_scene({"on_error": lambda error, _: errors.append(str(error))}) as scene:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
        [job_id] = await scene.order(delay=50)
        scene.client.on_update(wait, job_id)
        await asyncio.sleep(10)
        await scene.client.aclose()
        await asyncio.sleep(1)
    assert errors == ["the clean-up failed"]
    assert not told


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
def test_a_callback_may_end_the_program(kind: type[BaseException]) -> None:
    """What ends the program ends it, and not just the watch behind a group of exceptions."""

    def leave(_: JobStatus) -> None:
        raise kind

    async def main() -> None:
        async with Simulator(delay=5) as sim, AsyncClient(sim.url) as client:
            [job] = await sim.create()
            client.on_update(leave, job.job_id)
            await asyncio.sleep(10)
            pytest.fail("the program goes on")

    with pytest.raises(kind):
        run(main)
