"""The clock of the virtual loop, its limits, and what it refuses."""

import asyncio
import inspect
import itertools
import random
import socket
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp.web
import anyio
import anyio.to_thread
import pytest

from simulator import Simulator
from simulator.testing import (
    START,
    DeadlockError,
    LimitError,
    Network,
    UnsupportedError,
    VirtualLoop,
    current_network,
    loop_factory,
    run,
)


async def elapsed(wait: Callable[[], Awaitable[object]]) -> float:
    """Return how many virtual seconds something takes."""
    loop = asyncio.get_running_loop()
    start = loop.time()
    await wait()
    return loop.time() - start


async def ticks(interval: float) -> None:
    """Wait for ever, `interval` seconds at a time."""
    for _ in itertools.count():
        await asyncio.sleep(interval)


def test_ten_minutes_take_milliseconds() -> None:
    """A sleep moves the clock by exactly its length, and costs no real time."""

    async def main() -> float:
        return await elapsed(lambda: asyncio.sleep(600))

    real_start = time.perf_counter()
    assert run(main) == 600
    assert time.perf_counter() - real_start < 1


def test_run_returns_what_main_returns() -> None:
    """`run` is `asyncio.run` in other respects."""

    async def main() -> str:
        await asyncio.sleep(1)
        return "done"

    assert run(main) == "done"


def test_exceptions_come_through() -> None:
    """What main raises is raised by `run`."""

    async def main() -> None:
        await asyncio.sleep(1)
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        run(main)


def test_a_coroutine_object_is_refused() -> None:
    """`run` says that it takes the function, and leaves no coroutine unawaited."""

    async def main() -> None:
        """Do nothing."""

    with pytest.raises(TypeError, match=r"run\(main\), not run\(main\(\)\)"):
        run(main())  # type: ignore[arg-type]  # the mistake itself


def test_timers_fire_in_order_at_their_times() -> None:
    """Each timer sees the clock at its own time, those of one time in the order of their calls."""
    loop = VirtualLoop()
    seen: list[tuple[str, float]] = []

    def note(name: str) -> None:
        seen.append((name, loop.time() - START))

    for name, delay in [("c", 3.0), ("a", 1.0), ("b", 2.0), ("b2", 2.0)]:
        loop.call_later(delay, note, name)
    loop.call_later(4, loop.stop)
    loop.run_forever()
    loop.close()
    assert seen == [("a", 1.0), ("b", 2.0), ("b2", 2.0), ("c", 3.0)]


def test_the_clock_does_not_drift() -> None:
    """A million seconds in steps of 0.1 end where the sum of the steps ends."""

    async def main() -> float:
        loop = asyncio.get_running_loop()
        when = loop.time()
        for _ in range(10_000):
            when += 100.1
            future = loop.create_future()
            loop.call_at(when, future.set_result, None)
            await future
        return loop.time() - when

    assert run(main) == 0


def test_a_cancelled_timer_does_not_move_the_clock() -> None:
    """A timeout that did not strike leaves no trace in time."""

    async def main() -> float:
        async def quick() -> None:
            async with asyncio.timeout(1_000):
                await asyncio.sleep(1)

        return await elapsed(quick)

    assert run(main) == 1


def test_cancelled_timers_do_not_pile_up() -> None:
    """A timeout that is set and cancelled for each message costs no memory until its time."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        kept = loop.call_later(3600, print)
        for _ in range(10_000):
            loop.call_later(3600, print).cancel()
        assert loop.timers == [kept]
        assert len(loop._timers) < 200

    run(main)


def test_anyio_timeouts_use_the_virtual_clock() -> None:
    """Deadlines of anyio strike at their virtual time."""

    async def main() -> float:
        async def slow() -> None:
            with anyio.move_on_after(300):
                await anyio.sleep_forever()

        return await elapsed(slow)

    assert run(main) == 300


def test_a_deadlock_is_raised_and_says_who_waits_where() -> None:
    """Waiting for what can not happen is an error that names the tasks and their places."""

    async def never() -> None:
        await asyncio.get_running_loop().create_future()

    async def main() -> None:
        await asyncio.sleep(2)
        await asyncio.create_task(never(), name="the-waiter")

    with pytest.raises(DeadlockError) as caught:
        run(main)
    message = str(caught.value)
    assert "no timer is set at 2.000000 s" in message
    assert "the-waiter waits at" in message
    assert "test_loop.py" in message
    assert "never" in message


def test_the_simulator_does_not_hide_who_waits() -> None:
    """Tasks of the simulator come last, so that a report that is cut shows the application's."""

    async def wait_in_vain() -> None:
        await asyncio.get_running_loop().create_future()

    async def main() -> None:
        async with AsyncExitStack() as stack:
            for _ in range(10):
                await stack.enter_async_context(Simulator())
            await asyncio.create_task(wait_in_vain())

    with pytest.raises(DeadlockError, match=r"and \d+ more$") as caught:
        run(main)
    lines = str(caught.value).splitlines()
    assert [index for index, line in enumerate(lines) if "test_loop.py" in line] == [1, 2]
    assert "wait_in_vain" in lines[2]


def test_a_long_deadlock_report_is_cut() -> None:
    """Only some of many waiting tasks are listed."""

    async def main() -> None:
        forever = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            for _ in range(50):
                group.create_task(forever.wait())

    with pytest.raises(DeadlockError, match="and 41 more"):
        run(main)


def test_the_time_limit_is_raised() -> None:
    """A run that wants more virtual time than it may have ends, with its clean-up done."""
    cleaned: list[str] = []

    async def main() -> None:
        try:
            await ticks(7)
        finally:
            cleaned.append("yes")

    with pytest.raises(LimitError, match=r"limit is 60\.000000 s(.|\n)*waits at .* in ticks"):
        run(main, time_limit=60)
    assert cleaned == ["yes"]


def test_cleaning_up_past_the_time_limit_has_a_minute() -> None:
    """What ends in order after the limit was reached may wait for that, but not for ever."""
    cleaned: list[str] = []

    async def main() -> None:
        try:
            await asyncio.sleep(61)
        finally:
            await asyncio.sleep(59)
            cleaned.append("yes")
            await asyncio.sleep(2)
            cleaned.append("too late")

    with pytest.raises(LimitError):
        run(main, time_limit=60)
    assert cleaned == ["yes"]


def test_waiting_for_infinity_is_past_the_limit() -> None:
    """A timer at infinity does not send the clock there."""

    async def main() -> None:
        await asyncio.sleep(float("inf"))

    with pytest.raises(LimitError):
        run(main)


def test_the_step_limit_is_raised() -> None:
    """A run that needs more passes than it may make ends, with its clean-up done."""
    cleaned: list[str] = []

    async def main() -> None:
        try:
            await ticks(1)
        finally:
            cleaned.append("yes")

    with pytest.raises(LimitError, match="passes"):
        run(main, step_limit=100)
    assert cleaned == ["yes"]


def test_a_task_that_never_waits_is_found() -> None:
    """A livelock at one instant is an error, not a hang."""

    async def main() -> None:
        await ticks(0)

    with pytest.raises(LimitError, match="some task never waits"):
        run(main)


def test_many_passes_over_time_are_no_livelock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only passes at one instant count as standing still."""
    monkeypatch.setattr("simulator.testing.clock.PASSES_AT_ONE_INSTANT", 50)

    async def main() -> None:
        for _ in range(200):
            await asyncio.sleep(1)

    run(main)


@pytest.mark.parametrize("limit", [0, -1, 1e9, float("nan")])
def test_impossible_time_limits_are_refused(limit: float) -> None:
    """A limit that is not positive, or too far for a float to count, is a ValueError."""
    with pytest.raises(ValueError, match="time_limit"):
        VirtualLoop(time_limit=limit)


def test_executors_are_refused_with_a_sentence() -> None:
    """`asyncio.to_thread` raises and says why and what to do."""

    async def main() -> None:
        await asyncio.to_thread(time.sleep, 1)

    with pytest.raises(UnsupportedError, match=r"^sleep was to run in a .*virtual_time\.$"):
        run(main)


def test_inline_threads_are_called_at_once() -> None:
    """If allowed, what was to run in a thread runs in the loop, and its exceptions come through."""

    async def main() -> None:
        assert await asyncio.to_thread(lambda a, b: a + b, 1, 2) == 3
        with pytest.raises(ZeroDivisionError):
            await asyncio.to_thread(lambda: 1 // 0)

    run(main, threads="inline")


def test_waiting_for_a_thread_is_a_deadlock_that_mentions_threads() -> None:
    """A thread started behind the loop's back can not be waited for."""
    loop = VirtualLoop()
    with pytest.raises(DeadlockError, match="A thread can not wake this loop"):
        loop.run_until_complete(loop.create_future())
    loop.close()


def test_a_real_listening_socket_is_refused() -> None:
    """A server on a real socket is out of reach of virtual clients."""

    async def main() -> None:
        with socket.socket() as sock:
            await asyncio.get_running_loop().create_server(asyncio.Protocol, sock=sock)

    with pytest.raises(UnsupportedError, match="pass host and port"):
        run(main)


def test_a_foreign_socket_is_refused() -> None:
    """A socket that was not connected here can not become a connection."""

    async def main() -> None:
        with socket.socket() as sock:
            await asyncio.get_running_loop().create_connection(asyncio.Protocol, sock=sock)

    with pytest.raises(UnsupportedError, match="sock_connect"):
        run(main)


REFUSED: dict[str, tuple[Callable[[asyncio.AbstractEventLoop], object], str]] = {
    "a program": (lambda _: asyncio.create_subprocess_exec("true"), "python -m simulator --speed"),
    "a shell": (lambda _: asyncio.create_subprocess_shell("true"), "async function in its place"),
    "a program by anyio": (lambda _: anyio.run_process(["true"]), "async function in its place"),
    "a pipe": (lambda loop: loop.connect_read_pipe(asyncio.Protocol, None), "by host and port"),
    "a signal": (lambda loop: loop.add_signal_handler(2, print), "call what handles them"),
    "datagrams": (
        lambda loop: loop.create_datagram_endpoint(asyncio.DatagramProtocol, ("127.0.0.1", 0)),
        "replace what sends them",
    ),
    "a Unix server": (lambda _: asyncio.start_unix_server(print, "/tmp/s"), "by host and port"),
    "a Unix client": (lambda _: asyncio.open_unix_connection("/tmp/s"), "by host and port"),
    "a file descriptor": (lambda loop: loop.add_reader(0, print), "Use streams"),
    "a real socket": (lambda loop: loop.sock_recv(None, 1), "Use streams"),
}


@pytest.mark.parametrize(("ask", "advice"), REFUSED.values(), ids=REFUSED)
def test_what_a_virtual_loop_can_not_do_says_what_to_do(
    ask: Callable[[asyncio.AbstractEventLoop], object], advice: str
) -> None:
    """What takes real time is refused with what to do instead."""

    async def main() -> None:
        answer = ask(asyncio.get_running_loop())
        if inspect.isawaitable(answer):
            await answer

    with pytest.raises(
        UnsupportedError, match=rf"There is no \w+\(\) on virtual time\. .*{advice}"
    ):
        run(main)


def test_no_method_of_a_loop_is_left_out() -> None:
    """Every method that asyncio's loops have works here, or is refused with a sentence."""
    asyncios = asyncio.AbstractEventLoop
    methods = {name for name in dir(asyncios) if not name.startswith("_")}
    assert {name for name in methods if getattr(VirtualLoop, name) is getattr(asyncios, name)} == (
        set()
    )
    # These hooks of BaseEventLoop raise a bare error: whatever calls one has to be replaced.
    kinds = ("socket", "datagram", "read_pipe", "write_pipe", "subprocess")
    hooks = ("_create_connection_transport", *(f"_make_{kind}_transport" for kind in kinds))
    reached = {
        name
        for name in methods
        if (found := inspect.getattr_static(asyncio.BaseEventLoop, name, None)) is not None
        and getattr(VirtualLoop, name) is found
        and any(hook in inspect.getsource(found) for hook in hooks)
    }
    assert reached == set()


def test_what_was_never_added_can_be_removed() -> None:
    """Cleaning up finds nothing there, as on any loop."""
    loop = VirtualLoop()
    assert not loop.remove_signal_handler(2)
    assert not loop.remove_reader(0)
    assert not loop.remove_writer(0)
    loop.close()


def test_who_can_do_without_does(tmp_path: Path) -> None:
    """Aiohttp sends a file by itself where the loop can not, and its runner takes no signals."""
    (tmp_path / "talk.mp4").write_bytes(b"moving pictures")

    async def main() -> bytes:
        app = aiohttp.web.Application()
        app.router.add_static("/", tmp_path)
        runner = aiohttp.web.AppRunner(app, handle_signals=True)
        await runner.setup()
        await aiohttp.web.TCPSite(runner, "127.0.0.1", 8080).start()
        url = "http://127.0.0.1:8080/talk.mp4"
        async with aiohttp.ClientSession() as http, http.get(url) as answer:
            body = await answer.read()
        await runner.cleanup()
        return body

    assert run(main, threads="inline") == b"moving pictures"


def test_tasks_run_in_order_unless_shuffled() -> None:
    """Tasks that are ready together run in the order of their making; shuffled, in another."""

    def order(seed: int, *, shuffle: bool) -> list[int]:
        ran: list[int] = []

        async def note(number: int) -> None:
            await asyncio.sleep(0)
            ran.append(number)

        async def main() -> None:
            await asyncio.gather(*(note(number) for number in range(30)))

        run(main, seed=seed, shuffle=shuffle)
        return ran

    assert order(1, shuffle=False) == list(range(30))
    assert order(1, shuffle=True) == order(1, shuffle=True)
    assert sorted(order(1, shuffle=True)) == list(range(30))
    assert order(1, shuffle=True) != list(range(30))
    assert order(1, shuffle=True) != order(2, shuffle=True)


def test_shuffling_keeps_the_order_of_callbacks() -> None:
    """`call_soon` promises first in, first out, and keeps it even when tasks are shuffled."""

    async def main() -> list[int]:
        ran: list[int] = []
        for number in range(30):
            asyncio.get_running_loop().call_soon(ran.append, number)
        await asyncio.sleep(0)
        return ran

    assert run(main, shuffle=True) == list(range(30))


def test_a_set_of_tasks_has_the_same_order_in_every_run() -> None:
    """Tasks hash by number, so that asyncio.wait and TaskGroup cancel in a fixed order."""

    async def main() -> list[str]:
        tasks = {asyncio.create_task(asyncio.sleep(1), name=str(n)) for n in range(50)}
        names = [task.get_name() for task in tasks]
        await asyncio.wait(tasks)
        return names

    assert run(main) == run(main)


def test_the_network_of_the_loop_is_at_hand() -> None:
    """`current_network` returns the network that `run` was given."""
    network = Network(3)

    async def main() -> Network:
        return current_network()

    assert run(main, network=network) is network


def test_there_is_no_current_network_on_a_real_loop() -> None:
    """On another loop `current_network` says what is missing."""

    async def main() -> None:
        current_network()

    with pytest.raises(TypeError, match="start it with run"):
        asyncio.run(main())


def test_a_loop_factory_serves_asyncio_runner() -> None:
    """What takes a loop factory runs on virtual time."""

    async def main() -> float:
        return await elapsed(lambda: asyncio.sleep(60))

    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        assert runner.run(main()) == 60


def test_the_seed_decides_the_network() -> None:
    """The network that a loop makes for itself draws from the loop's seed."""
    loops = [VirtualLoop(seed=seed) for seed in (5, 5, 6)]
    first, same, other = (loop.network.delay(None) for loop in loops)
    for loop in loops:
        loop.close()
    assert first == same == random.Random(5).uniform(0.0005, 0.02)
    assert first != other
