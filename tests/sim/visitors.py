"""Those who watch in a run, each in its own way, and what each has seen."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

from tests.sim.schedule import Visit
from tests.sim.trace import Trace
from vtrans_hybrid import AsyncClient, JobStatus, VtransError

__all__ = ["Visitor"]


class Visitor:
    """Watches as a `Visit` says.

    Args:
        visit: How.
        job_ids: Ids of its jobs.
        client: Of whom it asks.
        trace: Told what it sees.
        name: For the trace.
    """

    def __init__(
        self, visit: Visit, job_ids: tuple[str, ...], client: AsyncClient, trace: Trace, name: str
    ) -> None:
        self.visit = visit
        self.job_ids = job_ids
        self.seen: list[JobStatus] = []
        self.times: list[float] = []
        self.came_at = 0.0
        self.ended_at: float | None = None
        """When it had seen the end, or an error; None before."""
        self.error: VtransError | None = None
        self.returned: JobStatus | None = None
        """What `wait` returned; None if nothing."""
        self.known: dict[str, JobStatus] = {}
        """What others who are still there had seen of its jobs when it came."""
        self.was_cancelled = False
        self.left_in = 0.0
        """Seconds that its cancellation took."""
        self.most_unread = 0
        self.overlaps = 0
        """How often a callback began before the one before it had ended."""
        self._client = client
        self._trace = trace
        self._name = name
        self._is_busy = False
        self._ended: asyncio.Future[None] | None = None
        self._now = asyncio.get_running_loop().time

    @property
    def is_over(self) -> bool:
        """Whether it has ended, or was cancelled."""
        return self.ended_at is not None or self.was_cancelled

    @property
    def wants_all(self) -> bool:
        """Whether it asked for every version."""
        return self.visit.mode == "all"

    def last_seen(self, job_id: str) -> JobStatus | None:
        """Return the newest status that it has seen of a job; None where there is none."""
        return next((each for each in reversed(self.seen) if each.job_id == job_id), None)

    def fail(self, error: VtransError) -> None:
        """End what follows by callback alone, as an application does that is told of an error."""
        if self._ended is not None and not self._ended.done():
            self._ended.set_exception(error)

    def dismiss(self) -> None:
        """End what follows by callback alone: its client is closed, and that is no news to it."""
        if self._ended is not None and not self._ended.done():
            self._ended.set_result(None)
            self.was_cancelled = True

    async def run(self) -> None:
        """Watch to the end, or to the time at which the visit says to leave."""
        self.came_at = self._now()
        self._trace.note(self._name, "comes:", self.visit.how, self.visit.mode)
        if self.visit.leaves_after is None:
            await self._watch()
            return
        watching = asyncio.ensure_future(self._watch())
        try:
            await asyncio.wait([watching], timeout=self.visit.leaves_after)
        finally:
            began = self._now()
            watching.cancel()
            # Awaited itself, for a cancelled task holds on to its frames, and so to the watch,
            # until somebody takes the exception.
            with suppress(asyncio.CancelledError):
                await watching
            self.left_in = self._now() - began
        self.was_cancelled = self.was_cancelled or self.ended_at is None
        self._trace.note(self._name, "has left")

    async def _watch(self) -> None:
        try:
            await _WAYS[self.visit.how](self)
        except VtransError as error:
            self.error = error
        self.ended_at = self._now()
        self._trace.note(self._name, "has ended", self.error)

    async def _by_watch(self) -> None:
        visit = self.visit
        if visit.how == "as_completed":
            watch = self._client.as_completed(self.job_ids, timeout=visit.timeout)
        else:
            watch = self._client.watch_all(self.job_ids, mode=visit.mode, timeout=visit.timeout)
        inbox: Any = watch._inbox
        async for status in watch:
            self._take(status)
            self.most_unread = max(self.most_unread, len(inbox.unread))
            if visit.pause:
                await asyncio.sleep(visit.pause)

    async def _by_wait(self) -> None:
        [job_id] = self.job_ids
        final = await self._client.wait(
            job_id, timeout=self.visit.timeout, on_update=self._take_in_turn
        )
        self.returned = final

    async def _by_callback(self) -> None:
        self._ended = asyncio.get_running_loop().create_future()
        unsubscribe = self._client.on_update(self._take_and_end, self.job_ids[0])
        try:
            await self._ended
        finally:
            self._ended = None
            unsubscribe()

    async def _take_and_end(self, status: JobStatus) -> None:
        await self._take_in_turn(status)
        if status.is_final and self._ended is not None and not self._ended.done():
            self._ended.set_result(None)

    async def _take_in_turn(self, status: JobStatus) -> None:
        self.overlaps += self._is_busy
        self._is_busy = True
        self._take(status)
        if self.visit.pause:
            await asyncio.sleep(self.visit.pause)
        self._is_busy = False

    def _take(self, status: JobStatus) -> None:
        self.seen.append(status)
        self.times.append(self._now())
        self._trace.note(
            self._name,
            "sees",
            status.job_id,
            f"{status.epoch}.{status.version}",
            status.state,
            status.source,
            f"skipped={status.skipped}",
        )


_WAYS = {
    "watch": Visitor._by_watch,
    "as_completed": Visitor._by_watch,
    "wait": Visitor._by_wait,
    "callback": Visitor._by_callback,
}
