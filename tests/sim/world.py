"""A world: one backend, one client and its visitors on virtual time, played by a schedule."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from random import Random
from typing import Any

from simulator import HeyGenOptions, Pace, Simulator
from simulator.faults import HttpStatus, RefuseUpgrade
from simulator.jobs import Life
from simulator.orders import status_of
from simulator.testing import Network, current_network
from tests.sim import verdict
from tests.sim.knobs import KNOBS
from tests.sim.leaks import noted
from tests.sim.schedule import Gust, Schedule, Visit
from tests.sim.trace import Trace
from tests.sim.visitors import Visitor
from tests.sim.witness import Witness
from tests.virtual.chronicle import Chronicle
from vtrans_hybrid import AsyncClient, JobStatus, RetryPolicy, VtransError
from vtrans_hybrid.wire import Plain

__all__ = ["World", "play"]

_PATIENCE = 300.0
"""Seconds after the last fault for which the visitors are waited for, far above every limit."""

_DOUBTS = 2.5
"""Seconds after which the client has made up its mind about a channel that left something out."""

_CALM = (0.0, 1.0, 2.0, 13.0, 14.0)
"""When the last job of a calm end changes, in seconds: once it is silent for longer than a channel
may be, so that its heartbeat is needed."""


async def play(schedule: Schedule, trace: Trace) -> None:
    """Play a schedule on the running loop and judge it.

    Raises:
        AssertionError: A promise was broken.
    """
    loop = asyncio.get_running_loop()
    trace.clock = loop.time
    pace = Pace(updates=schedule.updates, min_interval=0.005 if schedule.updates > 100 else 0.25)
    sim = Simulator(
        seed=schedule.seed,
        pace=pace,
        error_probability=0.2,
        has_control=False,
        ping=5,
        grace=5,
        heygen=HeyGenOptions(concurrency=0),
    )
    broken: Exception | None = None
    async with sim:
        world = _kind_of(schedule)(schedule, sim, trace)
        try:
            await world.play()
        except Exception as error:
            broken = error
            with noted(broken):
                await world.close()
        finally:
            await world.abandon()
        with noted(broken):
            await verdict.server_is_rid_of_us(world)
    with noted(broken):
        verdict.nothing_is_connected(world)
    if broken is not None:
        raise broken


def _kind_of(schedule: Schedule) -> type[World]:
    if schedule.backend != "heygen":
        return World
    from tests.sim.heygen_world import HeyGenWorld  # which is a world, too

    return HeyGenWorld


class World:
    """Who is there, and what becomes of them.

    Args:
        schedule: What happens.
        sim: The backend.
        trace: Told of everything.
    """

    def __init__(self, schedule: Schedule, sim: Simulator, trace: Trace) -> None:
        self.schedule = schedule
        self.sim = sim
        self.trace = trace
        self.network: Network = current_network()
        self.random = Random(schedule.seed)
        self.chronicle = Chronicle()
        self.job_ids: list[str] = []
        self.ends_at: dict[str, float] = {}
        """When each job ends if nobody interferes, in seconds of the loop."""
        self.visitors: list[Visitor] = []
        self.deeds: list[asyncio.Future[object]] = []
        """What the server does in its own time."""
        self.began_at = self.now()
        self.healed_at = 0.0
        self.most_unsent = 0
        """Bytes that the server has held for one peer, at most."""
        self.closed_in = 0.0
        """Seconds that closing the client took."""
        self.client = self.make_client()
        self.witness = Witness(
            self.client, self.random, is_bare=schedule.backend == "bare", trace=trace
        )
        self._tasks: list[asyncio.Task[None]] = []
        self._admitted: list[Visitor] = []
        self._timers: list[asyncio.TimerHandle] = []
        self._ends: dict[int, Any] = {}

    def now(self) -> float:
        """Return the virtual time in seconds."""
        return asyncio.get_running_loop().time()

    def make_client(self) -> AsyncClient:
        """Return a client that has not been used yet."""
        return AsyncClient(
            self.sim.url,
            transport=self.schedule.transport,
            dialect=Plain() if self.schedule.backend in ("plain", "bare") else None,
            retry=RetryPolicy(max_attempts=10_000),
            on_error=self._take_error,
        )

    # What a schedule asks for.

    async def play(self) -> None:
        """Play the schedule to its end, and judge it."""
        if self.schedule.backend == "legacy":
            self.sim.faults.add(HttpStatus(status=404), match={"path": "/status"})
            self.sim.faults.add(RefuseUpgrade(status=404))
        await self._order()
        self.began_at = self.now()  # orders that go over the network take their time
        self._invite()
        self._arm(self.schedule.gusts)
        if self.schedule.closes_at is not None:
            await asyncio.sleep(self.schedule.closes_at)
        else:
            await self._weather()
            await self._converge()
            if self.schedule.is_calm:
                await self._calm()
            await verdict.nobody_is_followed(self)
        await self.close()
        await self.remember()
        self._judge()

    async def remember(self) -> None:
        """Note what the server really had; what it loses later is known here."""
        for job_id in self.sim.jobs:
            for status in await self.sim.history(job_id):
                self.chronicle.note(status)

    def put_off(self, seconds: float) -> None:
        """Note that the jobs which run now will end so much later."""
        now = self.now()
        self.ends_at = {
            job_id: at + seconds if at > now else at for job_id, at in self.ends_at.items()
        }

    async def truncate(self, keep: int) -> None:
        """Let the server forget the older versions of every job."""
        await self.remember()
        try:
            replica = self.sim.replica
        except RuntimeError:
            return  # it is down
        # In the same step, so that nothing is forgotten that was not remembered.
        log: Any = replica._log
        log.truncate(keep)
        replica.truncate(keep)

    async def cancel_one(self) -> None:
        """Let the server cancel a job."""
        for job_id in self.job_ids:
            status = self.sim.jobs.get(job_id)
            if status is not None:
                await self.sim.replica.cancel(job_id)
                return

    async def bear_again(self, *, down_for: float) -> None:
        """Let the server come back with all of its jobs in a history that begins anew."""
        await self.remember()
        try:
            old: Any = self.sim.replica
        except RuntimeError:
            return  # it is down already
        specs = [job.spec for job in old._jobs.values()]
        await self.sim.restart(lose_state="all", down_for=down_for)
        new: Any = self.sim.replica
        for spec in specs:
            first = status_of(Life(spec, new._orders.pace).step(1), spec, new.epoch)
            await new._append(0, first, spec)

    async def close(self) -> None:
        """Close the client, and look for what is left of it.

        Raises:
            AssertionError: Something is.
        """
        began = self.now()
        await self.client.aclose()
        self.closed_in = self.now() - began
        for visitor in self.visitors:
            visitor.dismiss()
        for timer in self._timers:
            timer.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=0.1)
        for task, visitor in zip(self._tasks, self._admitted, strict=True):
            if visitor.visit.pause and not task.done():
                task.cancel()  # it has not read yet what it was given
                visitor.was_cancelled = True
        await asyncio.sleep(0.001)  # a socket goes in the pass after the one in which it is closed
        verdict.nothing_is_left(self)

    async def abandon(self) -> None:
        """End whatever is still there."""
        self._heal()
        for task in self._tasks:
            task.cancel()
        await self.client.aclose()
        await asyncio.gather(*self._tasks, *self.deeds, return_exceptions=True)

    # Private methods, in the order in which they are called.

    async def _order(self) -> None:
        for delay in self.schedule.delays:
            order: dict[str, object] = {"delay": delay}
            if self.schedule.estimate != "true":
                order = {"script": _script(delay, self.schedule)}
            await self._make(order, delay)

    async def _make(self, order: dict[str, object], delay: float) -> str:
        [status] = await self.sim.create(**order)
        self.trace.note("job", status.job_id, order)
        self.job_ids.append(status.job_id)
        self.ends_at[status.job_id] = self.now() + delay
        return status.job_id

    def _invite(self) -> None:
        loop = asyncio.get_running_loop()
        for number, visit in enumerate(self.schedule.visits):
            jobs = visit.jobs or range(len(self.job_ids))
            job_ids = tuple(self.job_ids[job] for job in jobs)
            visitor = self._expect(visit, job_ids, f"visitor {number}")
            if visit.at:
                self._timers.append(loop.call_at(self.began_at + visit.at, self._admit, visitor))
            else:
                self._admit(visitor)

    def _expect(self, visit: Visit, job_ids: tuple[str, ...], name: str) -> Visitor:
        visitor = Visitor(visit, job_ids, self.client, self.trace, name)
        self.visitors.append(visitor)
        return visitor

    def _admit(self, visitor: Visitor) -> asyncio.Task[None]:
        for job_id in visitor.job_ids:
            others = [o for o in self._admitted if not (o.is_over or o.visit.pause)]
            known = [other.last_seen(job_id) for other in others]
            open_now = [status for status in known if status and not status.is_final]
            if open_now:
                visitor.known[job_id] = max(open_now, key=lambda status: status.position)
        visitor.came_at = self.now()
        task = asyncio.ensure_future(visitor.run())
        self._tasks.append(task)
        self._admitted.append(visitor)
        return task

    def _arm(self, gusts: Iterable[Gust]) -> None:
        loop = asyncio.get_running_loop()
        for number, gust in enumerate(gusts):
            self._timers += [
                loop.call_at(self.began_at + gust.at, self._begin, number, gust),
                loop.call_at(self.began_at + gust.at + gust.lasts, self._end, number),
            ]

    def _begin(self, number: int, gust: Gust) -> None:
        self.trace.note("fault", number, "begins:", gust)
        end = KNOBS[gust.kind].begin(self, gust)
        if end is not None:
            self._ends[number] = end

    def _end(self, number: int) -> None:
        end = self._ends.pop(number, None)
        if end is not None:
            self.most_unsent = max(self.most_unsent, verdict.unsent_by_server(self))
            end()
            self.trace.note("fault", number, "ends")

    async def _weather(self) -> None:
        """Wait until every fault has gone and every visitor has come."""
        come = max((visit.at for visit in self.schedule.visits), default=0.0)
        until = self.began_at + max(self.schedule.ends_at, come)
        await asyncio.sleep(until - self.now())
        if self.deeds:
            await asyncio.wait(self.deeds)
        self._heal()
        self.healed_at = self.now()
        self.trace.note("everything is healed")

    def _heal(self) -> None:
        for timer in self._timers:
            timer.cancel()
        for number in list(self._ends):
            self._end(number)

    async def _converge(self) -> None:
        due_at = max([self.healed_at, *self.ends_at.values()])
        pause = max((visit.pause for visit in self.schedule.visits), default=0.0)
        slack = pause * verdict.MOST_UNREAD  # statuses that may wait for a slow reader
        await asyncio.wait(self._tasks, timeout=due_at + slack + _PATIENCE - self.now())
        if self.schedule.has("damage"):
            await self._dismiss_misled()
        self._everybody_is_told()

    def _everybody_is_told(self) -> None:
        verdict.everybody_is_told(self)

    def _judge(self) -> None:
        verdict.judge(self)

    async def _dismiss_misled(self) -> None:
        """Let those go who wait for what was damaged: they may do so for ever."""
        await self.remember()
        for task, visitor in zip(self._tasks, self._admitted, strict=True):
            if not task.done() and verdict.is_misled(self, visitor):
                task.cancel()
                visitor.was_cancelled = True
                with suppress(asyncio.CancelledError):
                    await task  # itself: see `Visitor.run`
                await asyncio.sleep(0.001)  # the client forgets it in its own time

    async def _calm(self) -> None:
        """Let push show that it is back, and needs no help."""
        # Push is only there for those who watch, so somebody has to while it comes back.
        lure = await self._make({"script": _life(0, 1000)}, 1000)
        waiting = self._admit(self._expect(Visit(leaves_after=_PATIENCE), (lure,), "lure"))
        await verdict.push_is_back(self)
        # Doubts about the channel may be open, and a server that reads slowly has a last pause.
        slow = [gust.amount for gust in self.schedule.gusts if gust.kind == "slow reader"]
        await asyncio.sleep(_DOUBTS + max(slow, default=0.0))
        # A read of long ago may still be answered, or given up, when its request times out.
        while any(sent.ended_at is None for sent in self.witness.requests):  # noqa: ASYNC110 (virtual)
            await asyncio.sleep(0.5)
        await verdict.push_is_back(self)
        before = self.client.stats()
        job_id = await self._make({"script": _life(*_CALM)}, _CALM[-1])
        visitor = self._expect(Visit(mode="all"), (job_id,), "calm visitor")
        await asyncio.wait([self._admit(visitor)], timeout=_PATIENCE)
        verdict.push_brought_everything(self, visitor, before)
        await self.sim.replica.cancel(lure)
        await asyncio.wait([waiting])

    def _take_error(self, error: Exception, status: JobStatus | None) -> None:
        assert status is None, f"a callback failed: {error!r}"
        assert isinstance(error, VtransError), f"an error of nobody: {error!r}"
        for visitor in self.visitors:
            if error.job_id is None or error.job_id in visitor.job_ids:
                visitor.fail(error)


def _life(*times: float) -> list[dict[str, object]]:
    """Return the life of a job that changes at these times and completes at the last."""
    states = ["pending", *["running"] * (len(times) - 2), "completed"]
    return [{"at": at, "state": state} for at, state in zip(times, states, strict=True)]


def _script(delay: float, schedule: Schedule) -> list[dict[str, object]]:
    """Return the life of a job whose server is no judge of the time that is left."""
    steps = max(1, schedule.updates)
    times = [delay * step / (steps + 1) for step in range(1, steps + 1)]
    eta = 5.0 if schedule.estimate == "frozen" else None
    running = [
        {"at": at, "state": "running", "progress": at / delay, "estimated_time_remaining": eta}
        for at in times
    ]
    return [{"at": 0.0, "state": "pending"}, *running, {"at": delay, "state": "completed"}]
