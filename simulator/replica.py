"""One replica of the backend: it runs the jobs, keeps a view of the log, and answers every reader.

All jobs share one heap and one timer; no job has a task.
"""

import asyncio
import heapq
import logging
import math
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from simulator.clock import Clock
from simulator.faults import ResurrectAfterFinal, Split, Stale, StuckAt, Vanish
from simulator.histories import Entry, Histories
from simulator.jobs import JobSpec, Life, Step
from simulator.log import Conflict, EventLog
from simulator.messages import CreateRequest, ProblemError, Status
from simulator.mishaps import applies_to, befallen, overruled, risen
from simulator.orders import Dice, Orders, canceled, life_of, specs, status_of
from simulator.plan import Facts, FaultPlan
from simulator.reads import Audience, Collected, Hindsight, Reader, Subscriber

__all__ = ["Collected", "Ended", "Replica", "ReplicaStats", "Subscriber"]

logger = logging.getLogger("simulator.replica")

_BATCH: Final = 512  # versions appended before the loop gets a turn
_TICK: Final = 1e-3  # s by which a step may come early, for times are rounded
_ROUNDING: Final = 1e-6  # s; a float holds Unix time no better
_TAKEOVER: Final = 1.0  # s that another replica's step may be overdue before this one makes it
_DEFAULT_KEY: Final = (
    "\0default"  # no Idempotency-Key can be this, so no order meets the default job
)


class ReplicaStats(NamedTuple):
    """The numbers of one replica, which is what runs the jobs, since its start."""

    jobs: int
    """Jobs known now, tombstones included."""
    open_jobs: int
    """Of these, not final."""
    created: int
    """Jobs created here."""
    appended: int
    """Versions of jobs made here."""
    conflicts: int
    """Versions that came too late because another replica, or a cancel, was first."""
    subscriptions: int
    """Pairs of subscriber and job now."""
    waiting: int
    """Reads now that are answered later (`?wait=`)."""


class Ended(NamedTuple):
    """The end of a job."""

    entry: Entry
    """Its final version."""
    spec: JobSpec


class Replica(Reader):
    """Run jobs and answer reads.

    Args:
        log: where versions are appended; other replicas may share it.
        plan: asked for `order` faults at each order, and for a `job` fault at each version.
        clock: of this process.
        orders: what jobs are like.
        dice: the randomness of orders.
        name: of this replica, for people.
    """

    def __init__(
        self,
        log: EventLog,
        *,
        plan: FaultPlan,
        clock: Clock,
        orders: Orders,
        dice: Dice,
        name: str = "a1",
    ) -> None:
        self._view = Histories()
        self._jobs: dict[str, _Job] = {}
        super().__init__(log.epoch, self._view, self._jobs, Audience())
        self.name = name
        self._log = log
        self._plan = plan
        self._clock = clock
        self._orders = orders
        self._dice = dice
        self._position = 0
        self._due: list[tuple[float, str]] = []  # wall time
        self._stuck: set[str] = set()
        self._woken = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._vanished: set[str] = set()
        self._open_jobs = self._created = self._appended = self._conflicts = 0

    # -- properties ---------------------------------------------------------------------------

    @property
    def is_draining(self) -> bool:
        """Whether the server has announced that it will leave."""
        return self._audience.is_leaving

    def stats(self) -> ReplicaStats:
        """Return the present numbers."""
        return ReplicaStats(
            jobs=len(self._jobs),
            open_jobs=self._open_jobs,
            created=self._created,
            appended=self._appended,
            conflicts=self._conflicts,
            subscriptions=self._audience.subscriptions,
            waiting=self._audience.waiting,
        )

    def __contains__(self, job_id: str) -> bool:
        return job_id in self._jobs

    # -- life of the replica ------------------------------------------------------------------

    async def start(self) -> None:
        """Take up what the log holds, then run the jobs until `aclose`."""
        head = await self._log.head()
        tail = self._log.tail(0)
        while self._position < head:
            self._take_up(await anext(tail), patience=0.0)
        self._tasks = [
            asyncio.create_task(self._follow(), name="simulator.replica.follow"),
            asyncio.create_task(self._run(), name="simulator.replica.run"),
        ]

    async def aclose(self) -> None:
        """Stop running jobs; the log stays as it is."""
        self.drain()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []

    def drain(self) -> None:
        """Announce that the server will leave, and answer held reads."""
        self._audience.leave()

    def stay(self) -> None:
        """Take that back."""
        self._audience.is_leaving = False

    def look_again(self) -> None:
        """Look anew at what is due, now that the clock or the plan has changed."""
        now = self._clock.wall()
        for job_id in self._stuck:
            heapq.heappush(self._due, (now, job_id))
        self._stuck.clear()
        self._woken.set()

    def truncate(self, keep: int) -> None:
        """Forget all versions of every job but the first and so many of the newest."""
        self._view.truncate(keep)

    # -- orders -------------------------------------------------------------------------------

    async def create(
        self, request: CreateRequest, *, owner: str | None = None, key: str | None = None
    ) -> list[Entry]:
        """Create one job for each language and return their first versions, in that order.

        Args:
            request: the order.
            owner: to whom the jobs belong (a digest of the API key); None for everybody.
            key: the Idempotency-Key; repeating it with the same request returns the same first
                versions and creates nothing.

        Raises:
            ProblemError: `bad_request` (both or none of language and languages, a delay or script
                that cannot be understood), `conflict` (the key was used for another request).
        """
        ordered = specs(
            request,
            self._orders,
            self._dice,
            epoch=self.epoch,
            created_at=self._clock.wall(),
            owner=owner,
            key=key,
        )
        return await self.take(ordered)

    async def take(self, ordered: list[JobSpec]) -> list[Entry]:
        """Create the jobs of one order and return their first versions, in that order.

        Args:
            ordered: what the order says of each; a fault may take some away.

        Raises:
            ProblemError: `bad_request` (a delay or script cannot be understood), `conflict` or
                `gone` (there is a job of this id already).
        """
        made = overruled(ordered, self._plan, self._clock.now())
        lives = [life_of(spec, self._orders.pace) for spec in made]
        return [await self._create(spec, life) for spec, life in zip(made, lives, strict=True)]

    async def cancel(self, job_id: str, *, owner: str | None = None) -> Entry:
        """End a job as `canceled` and return its last version; one that is final stays as it is.

        Raises:
            ProblemError: `not_found` or `gone`.
        """
        while not (head := self.head(job_id, owner=owner)).is_final:
            await self._append(head.version, canceled(head.status, self._clock.wall()))
        return head

    async def default_job(self, *, owner: str | None = None) -> Entry:
        """Return the present version of the owner's default job, which the first call creates."""
        request = CreateRequest(video_url=self._orders.video_url, language="English")
        made = await self.create(request, owner=owner, key=_DEFAULT_KEY)
        return self.head(made[0].job_id, owner=owner)

    # -- reads --------------------------------------------------------------------------------

    def spec(self, job_id: str) -> JobSpec:
        """Return what was ordered.

        Raises:
            KeyError: the job is unknown.
        """
        return self._jobs[job_id].spec

    def as_of(self, fault: Stale | Split) -> Reader:
        """Return who answers reads as this fault has it: from an older state."""
        view = Hindsight(self._view, fault, self._clock.now())
        return Reader(self.epoch, view, self._jobs, self._audience)

    def ended(self, job_id: str) -> "Ended | None":
        """Return how a job has ended, whoever it belongs to; None if it has not, or is gone."""
        job, head = self._jobs.get(job_id), self._view.latest(job_id)
        if job is None or head is None or head.is_gone or not head.is_final:
            return None
        return Ended(head, job.spec)

    def all_ended(self) -> Iterator["Ended"]:
        """Iterate over all jobs that have ended, oldest job first."""
        return filter(None, map(self.ended, self._jobs))

    def follow(self, follower: Subscriber) -> None:
        """Notify the follower from now on whenever any job has a new version."""
        self._audience.follow(follower)

    def subscribe(self, job_id: str, subscriber: Subscriber) -> None:
        """Notify the subscriber from now on whenever the job has a new version."""
        if job_id in self._jobs:
            self._audience.subscribe(job_id, subscriber)

    def unsubscribe(self, job_id: str, subscriber: Subscriber) -> None:
        """End that; harmless if there is nothing to end."""
        self._audience.unsubscribe(job_id, subscriber)

    # -- private methods ----------------------------------------------------------------------

    async def _create(self, spec: JobSpec, life: Life) -> Entry:
        """Append version 1, or return that of the same order if it was appended before."""
        status = status_of(life.step(1), spec, self.epoch, skew=self._clock.skew)
        entry = await self._append(0, status, spec)
        if entry is not None:
            self._created += 1
            return entry
        first, *_ = await self._log.history(spec.job_id)
        if first.is_gone:
            raise ProblemError("gone", "The job of this Idempotency-Key was removed.")
        if first.spec is None or first.spec.request != spec.request:
            raise ProblemError("conflict", "This Idempotency-Key was used for another order.")
        return first

    async def _append(
        self,
        expected_version: int,
        status: Status,
        spec: JobSpec | None = None,
        *,
        reopens: bool = False,
    ) -> Entry | None:
        """Append a version and apply it; None if another one was there first, which is applied."""
        outcome = await self._log.append(expected_version, status, spec, reopens=reopens)
        if isinstance(outcome, Conflict):
            self._conflicts += 1
            for entry in await self._log.history(status.job_id, expected_version):
                self._apply(entry, patience=_TAKEOVER)
            return None
        self._appended += 1
        self._apply(outcome, patience=0.0)
        return outcome

    def _apply(self, entry: Entry, *, patience: float) -> None:
        """Take a version into the view, schedule the one after it, and tell the subscribers.

        Args:
            entry: the version; harmless if it is known already.
            patience: seconds that the next version may be overdue before this replica makes it.
        """
        job_id = entry.job_id
        before = self._view.latest(job_id)
        if job_id in self._vanished or not self._view.add(entry, self._clock.now()):
            return
        job = self._jobs.get(job_id)
        if job is None:
            job = self._jobs[job_id] = _Job(entry.spec or JobSpec(job_id=job_id), self._orders)
        self._open_jobs += before is None or before.is_final
        if entry.is_final:
            self._open_jobs -= 1
            logger.info("job %s: %s", job_id, entry.status.state)
        self._schedule(job_id, job, entry, patience)
        self._audience.notify(job_id)

    def _schedule(self, job_id: str, job: "_Job", head: Entry, patience: float) -> None:
        """Note when the version after `head` is due, if there will be one."""
        due = None if head.is_final else job.life.due(head.version + 1)
        has_risen = head.version > job.life.last and not head.is_final
        if due is not None:
            self._push(job.spec.created_at + due + patience, job_id)
        elif has_risen or job.rises_after is not None:
            self._push(self._clock.wall() + (job.rises_after or 0.0) + patience, job_id)

    def _push(self, at: float, job_id: str) -> None:
        if not self._due or at < self._due[0][0]:
            self._woken.set()
        heapq.heappush(self._due, (at, job_id))

    # -- tasks --------------------------------------------------------------------------------

    async def _follow(self) -> None:
        """Apply what other replicas append."""
        async for batch in self._log.tail(self._position):
            self._take_up(batch, patience=_TAKEOVER)

    def _take_up(self, batch: Sequence[Entry], *, patience: float) -> None:
        for entry in batch:
            self._apply(entry, patience=patience)
            self._position = entry.position

    async def _run(self) -> None:
        """Append the steps that are due, for ever."""
        while True:
            for job_id in self._view.expire(self._clock.now()):
                self._jobs.pop(job_id, None)
            for _ in range(_BATCH):
                if not self._due or self._clock.until(self._due[0][0]) > _ROUNDING:
                    await self._sleep()
                    break
                _, job_id = heapq.heappop(self._due)
                await self._advance(job_id)
            else:
                await asyncio.sleep(0)

    async def _sleep(self) -> None:
        """Wait until something is due, or an earlier due time comes in."""
        now = self._clock.now()
        times = [now + self._clock.until(self._due[0][0])] if self._due else []
        expiry = self._view.next_expiry()
        times += [] if expiry is None else [expiry]
        self._woken.clear()
        timer = None
        if times and min(times) < math.inf:
            timer = asyncio.get_running_loop().call_at(min(times), self._woken.set)
        try:
            await self._woken.wait()
        finally:
            if timer is not None:
                timer.cancel()

    async def _advance(self, job_id: str) -> None:
        """Append the next version of a job, unless it ended, or another replica was faster."""
        job, head = self._jobs.get(job_id), self._view.latest(job_id)
        if job is None or head is None:
            return
        if head.is_final:
            await self._rise(job, head)
            return
        step = self._next_step(job, head)
        if step is None:
            return
        is_first_end = step.is_final and step.version == job.life.last
        applies = applies_to(step, is_first_end=is_first_end)
        facts = Facts(job=job_id, key=job.owner)
        fault = self._plan.decide("job", facts, self._clock.now(), applies=applies)
        match fault:
            case Vanish(tombstone=tombstone):
                self._vanish(job_id, leave_tombstone=tombstone)
                return
            case StuckAt():
                self._stuck.add(job_id)
                return
            case ResurrectAfterFinal(seconds=seconds):
                job.rises_after = seconds
        first = head.status.created_at
        status = status_of(step, job.spec, self.epoch, first, skew=self._clock.skew)
        await self._append(head.version, befallen(status, fault))

    def _next_step(self, job: "_Job", head: Entry) -> Step | None:
        """Return what the job does next, if that is due now."""
        due = job.life.due(head.version + 1)
        if due is None and head.version > job.life.last:  # it has risen, and ends as it did before
            step = job.life.step(job.life.last)
            return step._replace(version=head.version + 1)
        if due is None or job.spec.created_at + due > self._clock.wall() + _TICK:
            return None
        return job.life.step(head.version + 1)

    async def _rise(self, job: "_Job", head: Entry) -> None:
        """Let a job that has ended run again, if it shall."""
        if job.rises_after is not None and head.version == job.life.last:
            status = risen(head.status, self._clock.wall())
            await self._append(head.version, status, reopens=True)

    def _vanish(self, job_id: str, *, leave_tombstone: bool) -> None:
        self._open_jobs -= 1
        self._vanished.add(job_id)
        if leave_tombstone:
            self._view.bury(job_id, self._clock.now())
            self._audience.notify(job_id)
        else:
            self._view.drop(job_id)
            del self._jobs[job_id]
            self._audience.forget(job_id)


class _Job:
    """What a replica knows of a job beside its versions."""

    __slots__ = ("life", "owner", "rises_after", "spec")

    def __init__(self, spec: JobSpec, orders: Orders) -> None:
        self.spec = spec
        self.life = Life(spec, orders.pace)
        self.owner = spec.owner
        self.rises_after: float | None = None  # s from its end, and as long until the next one
