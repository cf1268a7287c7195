"""One replica of the backend: it runs the jobs, keeps a view of the log, and answers every reader.

Poll, long poll, stream and channel ask one question, "what is newer than my cursor?"
(docs/protocol.md section 1.3). Reads are synchronous, so nothing can come between a question and
its answer. All jobs share one heap and one timer; no job has a task.
"""

import asyncio
import heapq
import logging
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import dropwhile, islice
from typing import Final, NamedTuple, Protocol

import msgspec

from simulator.faults import UnknownState, Vanish
from simulator.jobs import JobSpec, Life
from simulator.log import Clock, Conflict, Entry, EventLog, Histories, Newer
from simulator.messages import CreateRequest, Mode, ProblemError, Status
from simulator.orders import Dice, Orders, canceled, life_of, specs, status_of
from simulator.plan import Facts, FaultPlan

__all__ = ["Collected", "Replica", "ReplicaStats", "Subscriber"]

logger = logging.getLogger("simulator.replica")

_BATCH: Final = 512  # versions appended before the loop gets a turn
_TICK: Final = 1e-3  # s by which a step may come early, for times are rounded
_TAKEOVER: Final = 1.0  # s that another replica's step may be overdue before this one makes it
_DEFAULT_KEY: Final = (
    "\0default"  # no Idempotency-Key can be this, so no order meets the default job
)


class Collected(NamedTuple):
    """What a reader has not seen yet."""

    newer: list[Newer]
    """In mode `all` ascending for each job."""
    errors: dict[str, str]
    """Job id to `not_found` or `gone`."""


class Subscriber(Protocol):
    """Who wants to hear that a job has something newer."""

    def notify(self, job_id: str) -> None:
        """Take note; called in the loop, must neither block nor subscribe."""


class ReplicaStats(NamedTuple):
    """The numbers of one replica since its start."""

    jobs: int  # jobs known now, tombstones included
    open_jobs: int  # of these, not final
    created: int  # jobs created here
    appended: int  # versions appended here
    conflicts: int  # appends that came too late because another replica, or a cancel, was first
    subscriptions: int  # pairs of subscriber and job now
    waiting: int  # held reads now


class Replica:
    """Run jobs and answer reads.

    Args:
        log: where versions are appended; other replicas may share it.
        plan: asked for a `job` fault at each version.
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
        self.name = name
        self._log = log
        self._plan = plan
        self._clock = clock
        self._orders = orders
        self._dice = dice
        self._view = Histories()
        self._position = 0
        self._jobs: dict[str, _Job] = {}
        self._due: list[tuple[float, str]] = []
        self._woken = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._waiters: dict[_Waiter, None] = {}
        self._is_draining = False
        self._vanished: set[str] = set()
        self._open_jobs = self._created = self._appended = self._conflicts = 0
        self._subscriptions = 0

    # -- properties ---------------------------------------------------------------------------

    @property
    def epoch(self) -> str:
        """The identity of the history."""
        return self._log.epoch

    @property
    def is_draining(self) -> bool:
        """Whether the server has announced that it will leave."""
        return self._is_draining

    def stats(self) -> ReplicaStats:
        """Return the present numbers."""
        return ReplicaStats(
            jobs=len(self._jobs),
            open_jobs=self._open_jobs,
            created=self._created,
            appended=self._appended,
            conflicts=self._conflicts,
            subscriptions=self._subscriptions,
            waiting=len(self._waiters),
        )

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
        self._is_draining = True
        for waiter in self._waiters:
            waiter.notify("")

    def stay(self) -> None:
        """Take that back."""
        self._is_draining = False

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
        made = specs(
            request,
            self._orders,
            self._dice,
            epoch=self.epoch,
            created_at=self._clock.wall(),
            owner=owner,
            key=key,
        )
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

    def head(self, job_id: str, *, owner: str | None = None) -> Entry:
        """Return the newest version of a job.

        Raises:
            ProblemError: `not_found` or `gone`.
        """
        latest = self._visible(job_id, owner)
        if latest is None:
            raise ProblemError("not_found", f"There is no job {job_id!r}.", job_id=job_id)
        if latest.is_gone:
            raise ProblemError("gone", f"The job {job_id!r} was removed.", job_id=job_id)
        return latest

    def newer(self, job_id: str, version: int, mode: Mode) -> list[Newer]:
        """Return the events of one job above a version; the one rule."""
        return self._view.newer(job_id, version, mode)

    def collect(
        self,
        cursors: Mapping[str, int],
        *,
        epoch: str | None,
        mode: Mode = "latest",
        owner: str | None = None,
        max_bytes: int | None = None,
    ) -> Collected:
        """Return whatever is newer than the cursors.

        Args:
            cursors: job id to the last version that the reader has.
            epoch: in which these versions count; any other than this replica's makes them all 0.
            mode: `latest` for the newest version alone, `all` for every kept one.
            owner: whose jobs are visible.
            max_bytes: ends early once that many bytes of events are collected; None for no limit.
        """
        newer: list[Newer] = []
        errors: dict[str, str] = {}
        is_same_history = epoch == self.epoch
        size = 0
        for job_id, version in cursors.items():
            latest = self._visible(job_id, owner)
            if latest is None or latest.is_gone:
                errors[job_id] = "gone" if latest else "not_found"
                continue
            for event in self.newer(job_id, version if is_same_history else 0, mode):
                newer.append(event)
                size += len(event.entry.event)
                if max_bytes is not None and size >= max_bytes:
                    return Collected(newer, errors)
        return Collected(newer, errors)

    async def wait(
        self,
        cursors: Mapping[str, int],
        *,
        epoch: str | None,
        mode: Mode = "latest",
        owner: str | None = None,
        max_bytes: int | None = None,
        timeout: float = 0.0,
    ) -> Collected:
        """Return `collect(...)` as soon as it holds an event or an error.

        Args:
            cursors: as for `collect`, like the arguments after it.
            epoch: in which these versions count.
            mode: `latest` or `all`.
            owner: whose jobs are visible.
            max_bytes: ends early once that many bytes of events are collected.
            timeout: seconds after which it is returned empty; 0 answers at once. A drain ends the
                waiting as well.
        """
        waiter = _Waiter()
        found = self.collect(cursors, epoch=epoch, mode=mode, owner=owner, max_bytes=max_bytes)
        if any(found) or timeout <= 0 or self._is_draining:
            return found
        self._waiters[waiter] = None
        for job_id in cursors:
            self.subscribe(job_id, waiter)
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(timeout):
                    await waiter.notified.wait()
        finally:
            self._waiters.pop(waiter)
            for job_id in cursors:
                self.unsubscribe(job_id, waiter)
        return self.collect(cursors, epoch=epoch, mode=mode, owner=owner, max_bytes=max_bytes)

    def listing(
        self, *, owner: str | None = None, after: str | None = None, limit: int = 100
    ) -> list[Entry]:
        """Return the newest versions of the owner's jobs, oldest job first.

        Args:
            owner: whose jobs are visible.
            after: begins behind this job; None begins with the oldest.
            limit: at most so many.
        """
        job_ids: Iterable[str] = self._jobs
        if after is not None:
            job_ids = islice(dropwhile(lambda job_id: job_id != after, job_ids), 1, None)
        visible = (self._visible(job_id, owner) for job_id in job_ids)
        return list(islice((entry for entry in visible if entry and not entry.is_gone), limit))

    # -- subscriptions ------------------------------------------------------------------------

    def subscribe(self, job_id: str, subscriber: Subscriber) -> None:
        """Notify the subscriber from now on whenever the job has a new version."""
        job = self._jobs.get(job_id)
        if job is None:
            return
        if job.subscribers is None:
            job.subscribers = {}
        if subscriber not in job.subscribers:
            job.subscribers[subscriber] = None
            self._subscriptions += 1

    def unsubscribe(self, job_id: str, subscriber: Subscriber) -> None:
        """End that; harmless if there is nothing to end."""
        job = self._jobs.get(job_id)
        if job is None or job.subscribers is None or subscriber not in job.subscribers:
            return
        del job.subscribers[subscriber]
        self._subscriptions -= 1
        if not job.subscribers:
            job.subscribers = None  # most jobs are watched for a part of their life only

    # -- private methods ----------------------------------------------------------------------

    def _visible(self, job_id: str, owner: str | None) -> Entry | None:
        """Return the newest version of a job; None if it is unknown, or somebody else's."""
        job = self._jobs.get(job_id)
        if job is None or job.owner not in (None, owner):
            return None
        return self._view.latest(job_id)

    async def _create(self, spec: JobSpec, life: Life) -> Entry:
        """Append version 1, or return that of the same order if it was appended before."""
        status = status_of(life.step(1), spec, self.epoch)
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
        self, expected_version: int, status: Status, spec: JobSpec | None = None
    ) -> Entry | None:
        """Append a version and apply it; None if another one was there first, which is applied."""
        outcome = await self._log.append(expected_version, status, spec)
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
        if job_id in self._vanished or not self._view.add(entry, self._clock.now()):
            return
        job = self._jobs.get(job_id)
        if job is None:
            job = self._jobs[job_id] = _Job(entry.spec or JobSpec(job_id=job_id), self._orders)
            self._open_jobs += 1
        if entry.is_final:
            self._open_jobs -= 1
            logger.info("job %s: %s", job_id, entry.status.state)
        else:
            self._schedule(job_id, job, entry.version + 1, patience)
        self._notify(job_id, job)

    def _schedule(self, job_id: str, job: "_Job", version: int, patience: float) -> None:
        due = job.life.due(version)
        if due is None:
            return
        at = job.spec.created_at - self._clock.wall_offset + due + patience
        if not self._due or at < self._due[0][0]:
            self._woken.set()
        heapq.heappush(self._due, (at, job_id))

    def _notify(self, job_id: str, job: "_Job") -> None:
        for subscriber in tuple(job.subscribers or ()):
            subscriber.notify(job_id)

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
            now = self._clock.now()
            for job_id in self._view.expire(now):
                self._jobs.pop(job_id, None)
            for _ in range(_BATCH):
                if not self._due or self._due[0][0] > now:
                    await self._sleep()
                    break
                _, job_id = heapq.heappop(self._due)
                await self._advance(job_id)
            else:
                await asyncio.sleep(0)

    async def _sleep(self) -> None:
        """Wait until something is due, or an earlier due time comes in."""
        times = [self._due[0][0]] if self._due else []
        expiry = self._view.next_expiry()
        times += [] if expiry is None else [expiry]
        self._woken.clear()
        timer = None
        if times:
            timer = asyncio.get_running_loop().call_at(min(times), self._woken.set)
        try:
            await self._woken.wait()
        finally:
            if timer is not None:
                timer.cancel()

    async def _advance(self, job_id: str) -> None:
        """Append the next version of a job, unless it ended, or another replica was faster."""
        job, head = self._jobs.get(job_id), self._view.latest(job_id)
        if job is None or head is None or head.is_final:
            return
        due = job.life.due(head.version + 1)
        if due is None or due + job.spec.created_at > self._clock.wall() + _TICK:
            return
        step = job.life.step(head.version + 1)
        status = status_of(step, job.spec, self.epoch, head.status.created_at)
        match self._plan.decide("job", Facts(job=job_id), self._clock.now()):
            case Vanish(tombstone=tombstone):
                self._vanish(job_id, job, leave_tombstone=tombstone)
                return
            case UnknownState(word=word) if not step.is_final:
                status = msgspec.structs.replace(status, state=word, result=word)
        await self._append(head.version, status)

    def _vanish(self, job_id: str, job: "_Job", *, leave_tombstone: bool) -> None:
        self._open_jobs -= 1
        self._vanished.add(job_id)
        if leave_tombstone:
            self._view.bury(job_id, self._clock.now())
            self._notify(job_id, job)
        else:
            self._view.drop(job_id)
            self._subscriptions -= len(self._jobs.pop(job_id).subscribers or ())


class _Job:
    """What a replica knows of a job beside its versions."""

    __slots__ = ("life", "owner", "spec", "subscribers")

    def __init__(self, spec: JobSpec, orders: Orders) -> None:
        self.spec = spec
        self.life = Life(spec, orders.pace)
        self.owner = spec.owner
        self.subscribers: dict[Subscriber, None] | None = None


class _Waiter:
    """A held read."""

    __slots__ = ("notified",)

    def __init__(self) -> None:
        self.notified = asyncio.Event()

    def notify(self, job_id: str) -> None:  # noqa: ARG002 (any job ends the waiting)
        """Note that a job has something newer."""
        self.notified.set()
