"""A scene: one simulator, one client, whoever watches, and the judgement at the end.

Whatever a scene was about, leaving it judges every watcher by S1 to S5, closes the client within a
tenth of a second (L5), and then nothing may be left of it: no task, socket or timer (R1), and no
exception that nobody retrieved (R3). The budgets of polls and dials (E2, E3) hold in each, too.
"""

import asyncio
import gc
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, cast

from simulator import Call, Simulator
from simulator.testing import Network, current_network
from tests.promises import (
    e2_budget,
    e3_dials,
    l5_at_once,
    s1_at_most_once,
    s2_ascending,
    s3_final_once_and_last,
    s4_real,
    s5_nothing_skipped,
    s5_skipped_is_counted,
)
from tests.virtual.chronicle import Chronicle
from vtrans_hybrid import AsyncClient, ClientClosed, JobStatus, VtransError, Watch
from vtrans_hybrid.wire import Plain

__all__ = ["TRAVEL", "Scene", "Viewer", "is_channel", "now", "open_scene", "until"]

_SAMPLE = 0.5
"""Seconds between two looks at the number of dials."""

TRAVEL = 0.1
"""Seconds by which the ways of two requests differ at most, connecting included."""


def now() -> float:
    """Return the virtual time in seconds."""
    return asyncio.get_running_loop().time()


def is_channel(connection: Any) -> bool:
    """Choose the connections of the channel."""
    return bool(connection.is_upgrade)


async def until(condition: Any, *, within: float, step: float = 0.01) -> float:
    """Wait until a condition holds, and return when it did."""
    async with asyncio.timeout(within):
        while not condition():  # noqa: ASYNC110 (virtual time passes for nothing)
            await asyncio.sleep(step)
    return now()


class Viewer:
    """Reads a watch to its end in a task of its own, and keeps what it saw.

    Args:
        watch: What to read.
        job_ids: The jobs that it is about.
        wants_all: Whether it asked for every version.
        is_late: Whether others watched before it.
        pause: Seconds that it takes over each status.
    """

    def __init__(
        self,
        watch: Watch,
        job_ids: Sequence[str],
        *,
        wants_all: bool,
        is_late: bool = False,
        pause: float = 0.0,
    ) -> None:
        self.job_ids = job_ids
        self.wants_all = wants_all
        self.is_late = is_late
        self.seen: list[JobStatus] = []
        self.times: list[float] = []
        self.ended_at = 0.0
        self.has_left = False
        self._pause = pause
        self.task = asyncio.create_task(self._read(watch), name="viewer")

    @property
    def is_slow(self) -> bool:
        """Whether it takes its time over each status."""
        return self._pause > 0

    @property
    def versions(self) -> list[int]:
        """The versions seen, in order."""
        return [status.version for status in self.seen]

    async def end(self, within: float) -> list[JobStatus]:
        """Wait until the watch has ended, and return what was seen; raise what it raised."""
        async with asyncio.timeout(within):
            await asyncio.wait([self.task])
        self.task.result()
        return self.seen

    async def leave(self) -> None:
        """Stop watching by cancellation, as an application does that has seen enough."""
        self.has_left = True
        self.task.cancel()
        # Awaited itself, for a task that was cancelled holds on to its frames, and so to the watch,
        # until somebody takes the exception.
        with suppress(asyncio.CancelledError, VtransError):
            await self.task

    def judge(self, chronicle: Chronicle, *, is_plain: bool) -> None:
        """Check S1 to S5.

        Args:
            chronicle: What the server had.
            is_plain: Whether it was asked by the plain contract.
        """
        has_ended = self.task.done() and not self.task.cancelled() and not self.task.exception()
        s1_at_most_once(self.seen)
        s2_ascending(self.seen)
        s3_final_once_and_last(self.seen, ended=self.job_ids if has_ended else None)
        had = chronicle.had_plainly if is_plain else chronicle.had
        s4_real(filter(chronicle.covers, self.seen), had)
        s5_skipped_is_counted(self.seen)
        if self.wants_all and not self._pause:
            s5_nothing_skipped(self.seen, is_late=self.is_late)

    async def _read(self, watch: Watch) -> None:
        try:
            async for status in watch:
                self.seen.append(status)
                self.times.append(now())
                if self._pause:
                    await asyncio.sleep(self._pause)
        finally:
            self.ended_at = now()


class Scene:
    """What a test plays with; made by `open_scene`."""

    def __init__(self, network: Network, sim: Simulator, client: AsyncClient) -> None:
        self.network = network
        self.sim = sim
        self.client = client
        self.viewers: list[Viewer] = []
        self.dials: list[float] = []
        """About when the channel was dialed, in seconds."""
        self.has_budget = True
        """Whether all reads are those of the client, so that they are judged by its budget."""
        self.chronicle = Chronicle()

    async def order(self, count: int = 1, **order: object) -> list[str]:
        """Let the server have so many more jobs, and return their ids."""
        made = [status for _ in range(count) for status in await self.sim.create(**order)]
        return [status.job_id for status in made]

    def watch(
        self,
        *job_ids: str,
        mode: Any = "latest",
        timeout: float | None = None,
        is_late: bool = False,
        pause: float = 0.0,
        client: AsyncClient | None = None,
    ) -> Viewer:
        """Watch jobs."""
        watch = (client or self.client).watch_all(job_ids, mode=mode, timeout=timeout)
        wants_all = mode == "all"
        viewer = Viewer(watch, job_ids, wants_all=wants_all, is_late=is_late, pause=pause)
        self.viewers.append(viewer)
        return viewer

    def reads(self, *paths: str) -> list[Call]:
        """Return the reads that reached the server, those of these paths where some are given."""
        wanted = paths or ("/status",)
        return [call for call in self.sim.calls if call.path.startswith(wanted)]

    def upgrades(self) -> list[float]:
        """Return when the server was asked for a channel that is closed by now."""
        return sorted(call.at for call in self.sim.calls if call.path == "/events")

    async def live(self, within: float = 10.0) -> None:
        """Wait until the channel is open and has brought every job to its head."""
        core = self.client._driver

        def is_synced() -> bool:
            link = None if core.core is None else core.core.link
            return bool(link and link.primary and link.primary.synced_at <= now())

        await until(is_synced, within=within)

    async def remember(self, server: Simulator | None = None) -> None:
        """Note what the server, or another one, really had; what it loses later is known here."""
        server = server or self.sim
        for job_id in server.jobs:
            for status in await server.history(job_id):
                self.chronicle.note(status)

    async def judge(self) -> None:
        """Judge what the watchers saw, and what it cost."""
        await self.remember()
        is_plain = isinstance(self.client._driver.backend.dialect, Plain)
        for viewer in self.viewers:
            viewer.judge(self.chronicle, is_plain=is_plain)
        e3_dials(self.dials, window=60 - _SAMPLE)
        if self.has_budget:
            times = [call.at for call in self.reads()]
            e2_budget(sorted(times), rate=20, burst=20 + 20 * TRAVEL)

    async def count_dials(self) -> None:
        """Take down when the client dials, for ever."""
        while True:
            new = self.client.stats().dials - len(self.dials)
            self.dials += [now()] * new
            await asyncio.sleep(_SAMPLE)


@asynccontextmanager
async def open_scene(
    client: dict[str, Any] | None = None, *, url: str | None = None, **simulator: Any
) -> AsyncIterator[Scene]:
    """Open a scene, and judge it at the end.

    Args:
        client: Options of the client.
        url: Where the client goes; None means the simulator.
        simulator: Options of the simulator; `seed` is 0 where none is given.
    """
    network = current_network()
    async with nothing_left(network), Simulator(**{"seed": 0, **simulator}) as sim:
        scene = Scene(network, sim, AsyncClient(url or sim.url, **(client or {})))
        counting = asyncio.create_task(scene.count_dials(), name="counting")
        try:
            yield scene
            await close(scene.client, scene.viewers)
            await scene.judge()
        finally:
            counting.cancel()
            for viewer in scene.viewers:
                await viewer.leave()
            await scene.client.aclose()
            sim.faults.heal()
            network.heal()
        # What is on its way may take long, but the server hears that the client is gone.
        await until(lambda: not network.connections, within=6)


async def close(client: AsyncClient, viewers: Iterable[Viewer] = ()) -> None:
    """Close a client; that must be quick, and must leave nothing of it in the loop (L5, R1)."""
    began = now()
    await client.aclose()
    l5_at_once(now() - began)
    for viewer in [viewer for viewer in viewers if not viewer.task.done()]:
        with suppress(ClientClosed):
            await viewer.end(within=0.1)
    await asyncio.sleep(0.001)  # a socket goes in the pass after the one in which it is closed
    left = [*_tasks_of_ours(), *_timers_of_ours(), *_sockets_of_ours()]
    assert not left, f"left of the client: {left}"


@asynccontextmanager
async def nothing_left(network: Network, *, settle: float = 0.0) -> AsyncIterator[None]:
    """Check that what is done inside leaves no task, socket or complaint (R1, R3).

    Args:
        network: Where the sockets are.
        settle: Seconds for a server that lives on to hear that its clients are gone.
    """
    loop = asyncio.get_running_loop()
    complaints: list[dict[str, Any]] = []
    handler = loop.get_exception_handler()
    loop.set_exception_handler(lambda _, context: complaints.append(context))
    before = asyncio.all_tasks()
    gc.freeze()  # the search below need not look at what was there before
    try:
        yield
        if settle:
            await until(lambda: not network.connections, within=settle)
        left = asyncio.all_tasks() - before
        assert not left, f"left running: {left}"
        gc.collect()  # what was never awaited or retrieved complains here
        assert not complaints, complaints
        assert not network.connections, f"left open: {network.connections}"
    finally:
        gc.unfreeze()
        loop.set_exception_handler(handler)


def _sockets_of_ours() -> list[Any]:
    links = cast("Any", current_network())._links
    return [
        transport
        for connection, link in links.items()
        for transport in link._transports
        if transport.get_extra_info("peername") == tuple(connection.server)
        and (not connection.first_bytes or b"vtrans-hybrid" in connection.first_bytes)
    ]


def _tasks_of_ours() -> list[asyncio.Task[Any]]:
    return [task for task in asyncio.all_tasks() if _is_ours(task.get_coro())]


def _is_ours(coro: Any) -> bool:
    code = getattr(coro, "cr_code", None)
    return code is not None and any(
        name in code.co_filename for name in ("/vtrans_hybrid/", "/websockets/asyncio/client")
    )


def _timers_of_ours() -> list[asyncio.TimerHandle]:
    timers = cast("Any", asyncio.get_running_loop()).timers
    return [timer for timer in timers if "vtrans_hybrid" in repr(timer)]
