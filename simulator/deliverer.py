"""Deliver webhooks: tell whoever asked for it that a job has ended, until he has heard it.

At least once: a delivery is done when its receiver acknowledged it (a 2xx within 10 s), or when it
was tried for a day in vain. What else is to be done follows from the log: whatever ended there, has
somebody to be told, and is not done. So a restart loses nothing, and the queue need not hold all.

All deliveries share one heap of due times and one task, which starts an attempt when it is due and
never more than some at once. Due times are wall time, as those of jobs are, so they keep their pace
with them where a fault lets the clock jump, run or stand.
"""

import asyncio
import heapq
import logging
import math
from collections.abc import Callable, Iterator
from random import Random
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from simulator.clock import Clock
from simulator.destinations import Destinations
from simulator.endpoints import Endpoints
from simulator.faults import (
    Fault,
    WebhookBadSignature,
    WebhookDrop,
    WebhookDuplicate,
    WebhookOldTimestamp,
    WebhookOutOfOrder,
    WebhookRotateSecret,
    WebhookSlowAck,
)
from simulator.histories import KEEP_FINALS, Entry
from simulator.metrics import Metric
from simulator.notices import EventData, History, Notice, Outcome, headers
from simulator.plan import Facts, FaultPlan
from simulator.postman import Postman
from simulator.replica import Ended, Replica
from simulator.signatures import Secret

__all__ = ["Deliverer", "DelivererStats", "GIVE_UP", "WebhookOptions"]

logger = logging.getLogger("simulator.deliverer")

GIVE_UP: Final = 24 * 3600.0
"""Seconds after the end of a job from which its deliveries are tried no more."""

_FIRST_RETRY: Final = 5.0  # s after the first attempt failed; twice as long after each further one
_JITTER: Final = 0.1  # of a delay, either way
_AT_ONCE: Final = 16  # attempts
_MAX_QUEUE: Final = 10_000  # deliveries in memory; the log holds the others
_SOON: Final = 1e-6  # s; a float holds Unix time no better


class WebhookOptions(NamedTuple):
    """How webhooks are delivered."""

    secret: Secret | None = None
    """Signs what goes to the `callback_url` of an order. None draws one for native orders, and
    leaves those of HeyGen's dialect unsigned."""
    destinations: Destinations = Destinations()
    """Where they may go."""


class DelivererStats(NamedTuple):
    """The numbers of all deliveries since the first start."""

    waiting: int
    """Deliveries due or under way now, of which the queue knows."""
    delivered: int
    """Deliveries acknowledged."""
    failed: int
    """Attempts that were not acknowledged."""
    given_up: int
    """Deliveries that were tried for a day, in vain."""


class _Target(NamedTuple):
    """Where a delivery goes now, and what signs it."""

    url: str
    secret: Secret | None

    def __repr__(self) -> str:
        return "<Target>"  # its URL may well be a secret


class _Delivery:
    """One notice for one receiver.

    Args:
        notice: what he is to be told.
        endpoint_id: of his endpoint; None for the `callback_url` of the order.
        until: wall time at which it is given up.
    """

    __slots__ = ("attempts", "endpoint_id", "is_copy", "is_held", "notice", "until")

    def __init__(self, notice: Notice, endpoint_id: str | None, until: float) -> None:
        self.notice = notice
        self.endpoint_id = endpoint_id
        self.until = until
        self.attempts = 0
        self.is_held = False  # whether a fault had it wait already
        self.is_copy = False  # whether a fault repeats it

    @property
    def key(self) -> tuple[str, str | None]:
        """What is done when this is delivered."""
        return self.notice.event_id, self.endpoint_id


class Deliverer:
    """Deliver what becomes of a server's jobs; endpoints and what is done outlive its restarts.

    Args:
        options: how.
        plan: asked for a `delivery` fault at each attempt.
        clock: of this process.
        random: for jitter.
        secrets: for what nobody must guess.
    """

    def __init__(
        self,
        options: WebhookOptions,
        *,
        plan: FaultPlan,
        clock: Clock,
        random: Random,
        secrets: Random,
    ) -> None:
        self.endpoints = Endpoints(secrets)
        """Whom to tell of jobs of HeyGen's dialect, beside the `callback_url` of each."""
        self._history = History()  # of these jobs, from the log
        self.destinations = options.destinations
        """Where webhooks may go."""
        self._secret = options.secret
        self._signs_heygen = options.secret is not None
        self._plan = plan
        self._clock = clock
        self._random = random
        self._secrets = secrets
        self._outcome_of: Callable[[Entry], Outcome] = Outcome.of
        self._replica: Replica | None = None
        self._task: asyncio.Task[None] | None = None
        self._due: list[tuple[float, int, _Delivery]] = []  # wall time, and a tie-breaker
        self._number = 0
        self._waiting: set[tuple[str, str | None]] = set()
        self._done: dict[tuple[str, str | None], float] = {}  # and when it may be forgotten
        self._has_more = False  # whether the log holds more than the queue had room for
        self._is_frozen = False
        self._woken = asyncio.Event()
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self._delivered = self._failed = self._given_up = 0

    # -- properties ---------------------------------------------------------------------------

    @property
    def secret(self) -> Secret:
        """What signs deliveries to the `callback_url` of native orders now."""
        if self._secret is None:
            self._secret = Secret.new(self._secrets)
        return self._secret

    def stats(self) -> DelivererStats:
        """Return the present numbers."""
        return DelivererStats(len(self._waiting), self._delivered, self._failed, self._given_up)

    def metrics(self) -> list[Metric]:
        """Return the same for `/metrics`."""
        waiting, delivered, failed, given_up = self.stats()
        return [
            Metric("vtrans_webhooks_waiting", "gauge", "Deliveries due or under way.", waiting),
            Metric("vtrans_webhooks_delivered_total", "counter", "Acknowledged.", delivered),
            Metric("vtrans_webhooks_failed_total", "counter", "Attempts in vain.", failed),
            Metric("vtrans_webhooks_given_up_total", "counter", "Given up.", given_up),
        ]

    # -- coming and going ---------------------------------------------------------------------

    def start(self, replica: Replica, outcome_of: Callable[[Entry], Outcome] = Outcome.of) -> None:
        """Deliver what its jobs become, and have become, until `stop`.

        Args:
            replica: has taken up what the log holds.
            outcome_of: returns what a job has come to, in HeyGen's words.
        """
        self._replica, self._outcome_of = replica, outcome_of
        replica.follow(self)
        self._look()

    async def stop(self) -> None:
        """Deliver no more; what is under way is cut off and not done."""
        self._replica = None
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        self._due.clear()
        self._waiting.clear()
        self._history.clear()

    def freeze(self, *, is_frozen: bool) -> None:
        """Begin no attempt from now on, or go on."""
        self._is_frozen = is_frozen
        self.look_again()

    def look_again(self) -> None:
        """Look anew at what is due, now that the clock has changed."""
        self._woken.set()

    # -- public methods -----------------------------------------------------------------------

    def events(self, owner: str | None, *, after: str | None) -> Iterator[Notice]:
        """Iterate over the events of an owner's jobs, the newest first.

        Args:
            owner: whose jobs.
            after: begins behind the event of this id; None begins with the newest.
        """
        events = self._history.newest(after=after)
        return (notice for notice in events if notice.spec.owner == owner)

    def data(self, notice: Notice) -> EventData:
        """Return what an event says now."""
        return notice.data(self._outcome_of(notice.entry))

    def notify(self, job_id: str) -> None:
        """Take note that a job has a new version; only its end is of interest."""
        ended = None if self._replica is None else self._replica.ended(job_id)
        if ended is not None:
            self._take_up(ended)

    async def answers(self, url: str) -> bool:
        """Tell whether somebody is at a URL who could be told of jobs."""
        async with Postman(self.destinations) as postman:
            return await postman.probe(url)

    # -- what is to be done -------------------------------------------------------------------

    def _look(self) -> None:
        """Take up what the log holds, as far as there is room for it."""
        self._has_more = False
        if self._replica is None:
            return
        for ended in sorted(self._replica.all_ended(), key=lambda ended: ended.entry.position):
            self._take_up(ended)

    def _take_up(self, ended: Ended) -> None:
        spec, age = ended.spec, self._clock.now() - ended.entry.at
        if (spec.dialect == "native" and spec.callback_url is None) or age >= GIVE_UP:
            return
        if spec.dialect == "heygen" and ended.entry.status.state == "canceled":
            return  # it was deleted, for HeyGen cancels nothing
        notice = Notice(*ended)
        targets = [endpoint.endpoint_id for endpoint in self.endpoints.wanting(notice)]
        if spec.dialect == "heygen":
            self._history.add(notice)
        for endpoint_id in targets if spec.callback_url is None else [None, *targets]:
            key = notice.event_id, endpoint_id
            if key in self._done or key in self._waiting:
                continue
            if len(self._waiting) >= _MAX_QUEUE:
                self._has_more = True
                return
            self._waiting.add(key)
            self._push(_Delivery(notice, endpoint_id, self._clock.wall() - age + GIVE_UP))

    def _push(self, delivery: _Delivery, delay: float = 0.0) -> None:
        """Attempt a delivery after some seconds."""
        self._number += 1
        heapq.heappush(self._due, (self._clock.wall() + delay, self._number, delivery))
        self._woken.set()
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="simulator.deliverer")

    def _settle(self, delivery: _Delivery) -> None:
        """Note that a delivery is done."""
        now = self._clock.now()
        self._waiting.discard(delivery.key)
        self._done.pop(delivery.key, None)  # for the order of the dict is that of its times
        self._done[delivery.key] = now + KEEP_FINALS  # by then the log has forgotten the job
        while (first := next(iter(self._done))) and self._done[first] <= now:
            del self._done[first]
        if self._has_more and len(self._waiting) <= _MAX_QUEUE // 2:
            self._look()

    # -- the task -----------------------------------------------------------------------------

    async def _run(self) -> None:
        """Start each attempt when it is due, for ever."""
        async with Postman(self.destinations) as postman, asyncio.TaskGroup() as attempts:
            while True:
                await self._slots.acquire()
                try:
                    delivery = await self._next()
                except asyncio.CancelledError:
                    self._slots.release()
                    raise
                attempt = attempts.create_task(
                    self._try(postman, delivery), name="simulator.delivery"
                )
                attempt.add_done_callback(lambda _: self._slots.release())

    async def _next(self) -> _Delivery:
        """Wait until a delivery is due, and return it."""
        while self._is_frozen or not self._due or self._clock.until(self._due[0][0]) > _SOON:
            self._woken.clear()
            timer = None
            wait = self._clock.until(self._due[0][0]) if self._due else math.inf
            if wait < math.inf and not self._is_frozen:
                timer = asyncio.get_running_loop().call_later(wait, self._woken.set)
            try:
                await self._woken.wait()
            finally:
                if timer is not None:
                    timer.cancel()
        return heapq.heappop(self._due)[2]

    async def _try(self, postman: Postman, delivery: _Delivery) -> None:
        """Attempt a delivery; whatever happens, the others go on."""
        try:
            await self._attempt(postman, delivery)
        except Exception:
            logger.exception("an attempt to deliver %s failed", delivery.notice.event_id)
            self._settle(delivery)

    async def _attempt(self, postman: Postman, delivery: _Delivery) -> None:
        """Deliver once, and decide what follows."""
        target = self._target(delivery)
        if target is None:  # its endpoint was removed
            self._settle(delivery)
            return
        fault = self._decide(delivery, target)
        match fault:
            case WebhookDrop():
                self._settle(delivery)
                return
            case WebhookOutOfOrder(seconds=seconds):
                delivery.is_held = True
                self._push(delivery, seconds * self._random.random())
                return
            case WebhookRotateSecret():
                target = self._rotated(delivery, target)
        delivery.attempts += 1
        if not await self._is_acknowledged(postman, delivery, target, fault):
            self._failed += 1
            self._retry(delivery, target)
            return
        self._delivered += 1
        if isinstance(fault, WebhookDuplicate):
            delivery.is_copy = True
            self._push(delivery, fault.seconds)
        else:
            self._settle(delivery)

    def _target(self, delivery: _Delivery) -> _Target | None:
        spec = delivery.notice.spec
        if delivery.endpoint_id is not None:
            endpoint = self.endpoints.get(delivery.endpoint_id)
            return _Target(endpoint.url, endpoint.secret) if endpoint else None
        assert spec.callback_url is not None, "a delivery is for an endpoint or a callback_url"
        signs = spec.dialect == "native" or self._signs_heygen
        return _Target(spec.callback_url, self.secret if signs else None)

    def _rotated(self, delivery: _Delivery, target: _Target) -> _Target:
        """Return the target with a new secret, which its receiver does not know."""
        endpoint = delivery.endpoint_id and self.endpoints.get(delivery.endpoint_id)
        if endpoint:
            return target._replace(secret=self.endpoints.rotate(endpoint).secret)
        self._secret = Secret.new(self._secrets)
        return target._replace(secret=self._secret)

    def _decide(self, delivery: _Delivery, target: _Target) -> Fault | None:
        if not self._plan.asks("delivery"):
            return None
        spec = delivery.notice.spec
        path = urlsplit(target.url).path or "/"
        facts = Facts(path=path, job=spec.job_id, direction="out", key=spec.owner)

        def applies(_rule: int, fault: Fault) -> bool:
            match fault:
                case WebhookOutOfOrder():
                    return not delivery.is_held
                case WebhookDuplicate():
                    return not delivery.is_copy
                case WebhookBadSignature() | WebhookRotateSecret():
                    return target.secret is not None
            return True

        return self._plan.decide("delivery", facts, self._clock.now(), applies=applies)

    async def _is_acknowledged(
        self, postman: Postman, delivery: _Delivery, target: _Target, fault: Fault | None
    ) -> bool:
        """Send it, and tell whether the receiver took it."""
        notice, at, secret = delivery.notice, int(self._clock.wall()), target.secret
        match fault:
            case WebhookBadSignature():
                secret = Secret.new(self._secrets)
            case WebhookOldTimestamp(seconds=seconds):
                at -= int(seconds)
        body = notice.body(self._outcome_of(notice.entry))
        sent = {"Content-Type": "application/json", **headers(notice, body, secret=secret, at=at)}
        slowness = fault.seconds if isinstance(fault, WebhookSlowAck) else 0.0
        logger.debug("> %s, attempt %d", notice.event_id, delivery.attempts)
        return await postman.post(target.url, body, sent, slowness=slowness)

    def _retry(self, delivery: _Delivery, target: _Target) -> None:
        """Try again later, unless it was tried for long enough."""
        delay = _FIRST_RETRY * 2.0 ** (delivery.attempts - 1)
        delay *= 1 - _JITTER + 2 * _JITTER * self._random.random()
        host, event_id = urlsplit(target.url).hostname, delivery.notice.event_id
        if self._clock.wall() + delay > delivery.until:
            logger.warning("%s could not be delivered to %s, for a day", event_id, host)
            self._given_up += 1
            self._settle(delivery)
            return
        if delivery.attempts == 1:
            logger.info("%s was not taken by %s; again in %.3g s", event_id, host, delay)
        self._push(delivery, delay)
