"""Uses that are odd but allowed, each of which once hung a watch, lost a status or made noise."""

import asyncio
import gc
from collections.abc import Callable

import pytest

from simulator.faults import HttpStatus
from simulator.testing import Network, UnsupportedError
from tests.promises import l4_timeout_in_time
from tests.virtual.scene import close, now, open_scene
from vtrans_hybrid import (
    AsyncClient,
    AuthError,
    Client,
    ClientClosed,
    JobStatus,
    ProtocolError,
    WatchTimeout,
)
from vtrans_hybrid.audience import Audience
from vtrans_hybrid.watch import _own


async def test_a_watch_that_could_not_begin_is_over() -> None:
    """Its second use ends at once, instead of waiting for statuses that nobody brings."""
    async with open_scene() as scene:
        await scene.client.aclose()
        watch = scene.client.watch("job-1")
        with pytest.raises(ClientClosed):
            await anext(watch)
        async with asyncio.timeout(0.01):
            assert await anext(watch, None) is None


async def test_a_blocking_client_on_virtual_time_is_refused() -> None:
    """Its thread would have a clock that stands still, by which no timeout ever passes."""
    async with open_scene() as scene:
        with pytest.raises(UnsupportedError, match="use its async twin"):
            Client(scene.sim.url, timeout=5)


async def test_a_first_use_that_is_cancelled_may_be_tried_again() -> None:
    """While it is found out which job to watch, too; the timeout runs on from the first use."""
    async with open_scene() as scene:
        await scene.order(delay=600)
        watch = scene.client.watch(timeout=5)
        began = now()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.001):
                await anext(watch)
        assert not (await anext(watch)).is_final
        with pytest.raises(WatchTimeout):
            await watch
        l4_timeout_in_time(now(), deadline=began + 5)


async def test_closing_a_watch_that_looks_for_its_job() -> None:
    """Once the job is known, it is not followed for nobody."""
    async with open_scene() as scene:
        await scene.order(delay=600)
        watch = scene.client.watch()
        reading = asyncio.ensure_future(anext(watch, None))
        await asyncio.sleep(0.001)
        await watch.aclose()
        assert await reading is None
        await asyncio.sleep(1)
        assert scene.client.stats().watched_jobs == 0


async def test_closing_a_watch_with_statuses_unread() -> None:
    """Iteration ends with the close, not after what has come before it."""
    async with open_scene() as scene:
        [job_id] = await scene.order(delay=20)
        watch = scene.client.watch(job_id, mode="all")
        await anext(watch)
        await asyncio.sleep(10)
        await watch.aclose()
        assert [status async for status in watch] == []


async def test_a_slow_callback_does_not_put_off_the_timeout() -> None:
    """A call waits for its own callbacks, but not longer than it may take in all."""

    async def take(_: JobStatus) -> None:
        await asyncio.sleep(100)

    async with open_scene() as scene:
        [job_id] = await scene.order(delay=600)
        began = now()
        with pytest.raises(WatchTimeout):
            await scene.client.wait(job_id, timeout=5, on_update=take)
        l4_timeout_in_time(now(), deadline=began + 5)


async def test_a_timeout_is_told_though_the_job_cannot_be_canceled() -> None:
    """The failure of `cancel_on_timeout` is a note on the timeout, not in its place."""
    async with open_scene() as scene:
        [job_id] = await scene.order(delay=600)
        waiting = asyncio.ensure_future(
            scene.client.wait(job_id, timeout=5, cancel_on_timeout=True)
        )
        await asyncio.sleep(4)
        scene.sim.faults.add(HttpStatus(status=503))
        with pytest.raises(WatchTimeout) as caught:
            await waiting
        assert "could not be canceled" in caught.value.__notes__[0]


async def test_a_callback_that_unsubscribes_costs_the_next_one_nothing() -> None:
    """Whoever was subscribed after it gets the same update, the final one included."""
    seen: list[JobStatus] = []

    def leave_at_the_end(status: JobStatus) -> None:
        if status.is_final:
            leave()

    async with open_scene() as scene:
        [job_id] = await scene.order(delay=5)
        leave = scene.client.on_update(leave_at_the_end)
        scene.client.on_update(seen.append)
        await scene.client.wait(job_id)
        assert seen[-1].is_final


async def _wait_for_a_cancelled_task(status: JobStatus) -> None:
    await asyncio.sleep(2)
    task = asyncio.ensure_future(asyncio.sleep(1))
    task.cancel()
    await task


def _fail_as_cancelled(status: JobStatus) -> None:
    raise asyncio.CancelledError


@pytest.mark.parametrize("fail", [_fail_as_cancelled, _wait_for_a_cancelled_task])
async def test_a_callback_that_fails_as_if_cancelled(fail: Callable[[JobStatus], object]) -> None:
    """It is reported like any other failure, the final status still comes, the client lives."""
    errors: list[tuple[Exception, JobStatus | None]] = []
    options = {"on_update": fail, "on_error": lambda *error: errors.append(error)}
    async with open_scene(options) as scene:
        [job_id] = await scene.order(delay=10)
        assert (await scene.client.wait(job_id, timeout=20)).ok
        await asyncio.sleep(5)
        error, status = errors[-1]
        assert isinstance(error, RuntimeError)
        assert isinstance(error.__cause__, asyncio.CancelledError)
        assert status is not None
        assert status.is_final


async def test_closing_in_any_early_pass_of_the_loop(caplog: pytest.LogCaptureFixture) -> None:
    """A dial that has been decided on and not begun is no internal error."""
    async with open_scene(delay=600) as scene:
        [job_id] = await scene.order()
        for passes in range(20):
            client = AsyncClient(scene.sim.url)
            waiting = asyncio.ensure_future(client.wait(job_id))
            for _ in range(passes):
                await asyncio.sleep(0)
            await close(client)
            with pytest.raises(ClientClosed):
                await waiting
        assert not [record for record in caplog.records if record.levelname == "ERROR"]


async def test_closing_with_a_callback_for_a_job_is_no_error(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """That the client is closed is no news to whoever closes it."""
    async with open_scene() as scene:
        [job_id] = await scene.order(delay=600)
        scene.client.on_update(lambda _: None, job_id)
        await asyncio.sleep(1)
        await scene.client.aclose()
        assert not [record for record in caplog.records if record.levelname == "ERROR"]


async def test_watchers_of_one_trouble_get_errors_of_their_own() -> None:
    """A copy each, without the notes of others; one trouble of many jobs is told once."""
    async with open_scene({"transport": "poll"}) as scene:
        scene.sim.faults.add(HttpStatus(status=401))
        with pytest.raises(AuthError) as caught:
            async for _ in scene.client.watch_all([f"job-{number}" for number in range(30)]):
                pass
        assert not hasattr(caught.value, "__notes__")
        waiting = [scene.client.wait(job_id) for job_id in ("job-1", "job-2")]
        one, other = await asyncio.gather(*waiting, return_exceptions=True)
        assert isinstance(one, AuthError)
        assert one is not other
        assert str(one) == str(other)
        assert one.__cause__ is None


async def test_a_watch_that_is_collected_in_the_middle_of_the_core(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The collector may run anywhere; the watch is forgotten in the next pass of the loop."""
    original = Audience.ended

    def ended(audience: Audience, watchers: object) -> object:
        gc.collect()
        return original(audience, watchers)  # type: ignore[arg-type]  # handed through

    async with open_scene() as scene:
        [job_id] = await scene.order(delay=5)
        watch = scene.client.watch(job_id)
        await anext(watch)
        vars(watch)["itself"] = watch  # a cycle, which only the collector can free
        gc.disable()
        try:
            del watch
            monkeypatch.setattr(Audience, "ended", ended)
            assert (await scene.client.wait(job_id, timeout=20)).ok
        finally:
            gc.enable()


@pytest.mark.parametrize("step", ["advance", "polled"])
async def test_a_bug_leaves_nobody_waiting(step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind the timer or in a task: the loop is told, which prints it; who waits is told, too."""
    told: list[dict[str, object]] = []
    async with open_scene({"transport": "poll"}) as scene:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
        [job_id] = await scene.order(delay=600)
        waiting = asyncio.ensure_future(scene.client.wait(job_id))
        await asyncio.sleep(1)
        monkeypatch.setattr(scene.client._driver.core, step, None)
        async with asyncio.timeout(60):
            with pytest.raises(ClientClosed, match="internal error") as caught:
                await waiting
        assert isinstance(caught.value.__cause__, TypeError)
        [context] = told
        assert "internal error" in str(context["message"])
        assert isinstance(context["exception"], TypeError)


def test_notes_of_one_watch_are_not_those_of_another() -> None:
    """What one watch adds to an error that many raise is its own affair."""
    shared = ProtocolError("nonsense")
    shared.add_note("is the address right?")

    _own(shared).add_note("also: other nonsense")

    assert shared.__notes__ == _own(shared).__notes__ == ["is the address right?"]


async def test_cancelling_all_tasks_of_the_loop_ends_the_client() -> None:
    """As programs do at their end: what waits then, or begins to, gets `ClientClosed`."""
    async with open_scene() as scene:
        [job_id] = await scene.order(delay=600)
        waiting = asyncio.ensure_future(scene.client.wait(job_id))
        await asyncio.sleep(1)
        [supervisor] = [task for task in asyncio.all_tasks() if task.get_name() == "vtrans-hybrid"]
        supervisor.cancel()
        for each in (waiting, scene.client.wait(job_id)):
            with pytest.raises(ClientClosed):
                await each


async def test_an_address_in_capitals_has_push() -> None:
    """The scheme of an address is not sensitive to case, RFC 3986 section 3.1."""
    async with open_scene() as scene:
        [job_id] = await scene.order(delay=5)
        client = AsyncClient(scene.sim.url.replace("http", "HTTP"))
        await client.wait(job_id)
        assert client.stats().pushes > 0
        await close(client)


async def test_callbacks_that_cannot_be_called() -> None:
    """They are misuse, which is found at once."""

    async def later(_: JobStatus) -> None:
        raise AssertionError("it cannot run in a thread")

    async with open_scene() as scene:
        with pytest.raises(TypeError, match="threaded"):
            scene.client.on_update(later, threaded=True)
        with pytest.raises(TypeError, match="function"):
            scene.client.on_update("job-1")  # type: ignore[call-overload]  # the misuse


async def test_a_cancel_after_the_timeout_is_given_up(network: Network) -> None:
    """A server that says nothing any more holds up `cancel_on_timeout` for five seconds."""
    async with open_scene() as scene:
        [job_id] = await scene.order(delay=600)
        waiting = asyncio.ensure_future(
            scene.client.wait(job_id, timeout=5, cancel_on_timeout=True)
        )
        await asyncio.sleep(4)
        began = now()
        network.blackhole()
        network.half_open("to_server")
        with pytest.raises(WatchTimeout) as caught:
            await waiting
        l4_timeout_in_time(now(), deadline=began + 6)
        assert "could not be canceled" in caught.value.__notes__[0]


async def test_an_asynchronous_on_error() -> None:
    """It is awaited, and its own failure is no harm."""
    told: list[Exception] = []

    async def tell(error: Exception, status: JobStatus | None) -> None:
        await asyncio.sleep(0.1)
        told.append(error)
        raise RuntimeError("the teller fails, too")

    def fail(status: JobStatus) -> None:
        raise LookupError(status.job_id)

    async with open_scene({"on_update": fail, "on_error": tell}) as scene:
        [job_id] = await scene.order(delay=5)
        assert (await scene.client.wait(job_id)).ok
        await asyncio.sleep(1)
        assert told
        assert all(isinstance(error, LookupError) for error in told)


@pytest.mark.parametrize("follows_one", [True, False])
async def test_unsubscribing_ends_a_callback_at_once(follows_one: bool) -> None:
    """What came while it ran is not called back any more."""
    seen: list[JobStatus] = []

    async def take(status: JobStatus) -> None:
        seen.append(status)
        await asyncio.sleep(5)

    async with open_scene() as scene:
        [job_id] = await scene.order(delay=20)
        leave = scene.client.on_update(take, job_id if follows_one else None)
        waiting = asyncio.ensure_future(scene.client.wait(job_id))
        await asyncio.sleep(4)
        leave()
        assert (await waiting).ok
        assert len(seen) == 1


async def test_closing_is_no_failure_of_a_job() -> None:
    """Jobs that go on at the server are not counted among those that could not be followed."""
    async with open_scene() as scene:
        job_ids = await scene.order(3, delay=600)
        watch = scene.client.watch_all(job_ids)
        await anext(watch)
        await scene.client.aclose()
        assert scene.client.stats().failures == 0


class Screen:
    """An application's object, two of which are equal."""

    def __init__(self) -> None:
        self.seen: list[JobStatus] = []

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Screen)

    __hash__ = None  # type: ignore[assignment]  # as of any class with `__eq__` alone

    def show(self, status: JobStatus) -> None:
        """Take a status, as a bound method."""
        self.seen.append(status)


async def test_one_callback_for_many_jobs() -> None:
    """Each job is called back once, another object's method too, and each job may be left alone."""
    one, other = Screen(), Screen()
    async with open_scene() as scene:
        on_update = scene.client.on_update
        [first, second, third] = await scene.order(3, delay=20)
        leave = [on_update(one.show, job_id) for job_id in (first, second)]
        on_update(other.show, first)
        on_update(one.show, first)
        await asyncio.sleep(5)
        leave[1]()
        await asyncio.sleep(1)
        on_update(one.show, third)
        count = sum(status.job_id == second for status in one.seen)
        await asyncio.sleep(30)
        finals = [status.job_id for status in one.seen if status.is_final]
        assert sorted(finals) == sorted([first, first, third])
        assert sum(status.job_id == second for status in one.seen) == count > 0
        assert {status.job_id for status in other.seen} == {first}
        assert scene.client.stats().watched_jobs == 0
        on_update(one.show, second)
        await asyncio.sleep(1)
        assert one.seen[-1].job_id == second, "after the last job a callback may begin again"


async def test_a_callback_that_unsubscribes_itself_hears_no_more() -> None:
    """Of what one answer brings at once it gets the first alone, and everything on return."""
    seen: list[JobStatus] = []

    def take(status: JobStatus) -> None:
        seen.append(status)
        leave()

    async with open_scene() as scene:
        [job_id] = await scene.order(delay=20)
        keeper = scene.watch(job_id, mode="all")
        leave = scene.client.on_update(take, job_id)
        await asyncio.sleep(3)
        assert len(seen) == 1
        leave = scene.client.on_update(seen.append, job_id)
        await keeper.end(within=60)
        assert seen[-1].is_final


async def test_an_anyio_that_knows_its_loop_in_tasks_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """So it is where sniffio is installed: what begins when a timer rings must begin there, too."""

    def current_async_library() -> str | None:
        return None if asyncio.current_task() is None else "asyncio"

    monkeypatch.setattr("anyio._core._eventloop.current_async_library", current_async_library)
    async with open_scene() as scene:
        [job_id] = await scene.order(delay=30)
        seen: list[JobStatus] = []

        async def later(status: JobStatus) -> None:
            await asyncio.sleep(0.1)
            seen.append(status)

        scene.client.on_update(later, job_id)
        viewer = scene.watch(job_id)
        await scene.live()
        with scene.network.refuse():
            scene.network.reset()
            await asyncio.sleep(10)
        await viewer.end(within=31)
        assert scene.client.stats().polls > 0
        assert seen
