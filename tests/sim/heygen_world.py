"""A world with HeyGen's stand-in, a client that speaks its words, and an address for webhooks."""

from __future__ import annotations

import hashlib
import hmac
import time
from contextlib import AsyncExitStack
from itertools import groupby
from typing import Any

from simulator import Simulator
from tests.promises import e2_budget, e4_retry_after, l1_final_in_time
from tests.sim import verdict
from tests.sim.broken import check
from tests.sim.schedule import Schedule
from tests.sim.trace import Trace
from tests.sim.world import World
from tests.virtual.heygen.doorstep import open_doorstep
from vtrans_hybrid import AsyncClient, PollPolicy, RetryPolicy
from vtrans_hybrid.heygen import HeyGen
from vtrans_hybrid.signatures import Headers
from vtrans_hybrid.webhooks import Reply, WebhookReceiver

__all__ = ["HeyGenWorld"]

VIDEO = "https://videos.example/talk.mp4"
LANGUAGES = ("Spanish", "French", "German", "Italian", "Japanese", "Korean", "Turkish", "Polish")

STRETCHED = 120.0
"""Seconds between two reads of a job while webhooks prove to come, or are known to be about to."""

AT_ONCE = 1.0
"""Seconds in which an end is known that a webhook tells of, where nothing is in the way."""

_DISTRUST = {"forged hooks", "new secret", "old hooks"}
"""Faults by which deliveries come that must be refused."""

_POLICY = PollPolicy.patient()
_REQUEST_TIMEOUT = 15.0


class HeyGenWorld(World):
    """Who is there, and what becomes of them.

    Args:
        schedule: What happens.
        sim: HeyGen's stand-in.
        trace: Told of everything.
    """

    def __init__(self, schedule: Schedule, sim: Simulator, trace: Trace) -> None:
        super().__init__(schedule, sim, trace)
        self.receiver = Doorkeeper(self.client, trace)
        self.endings = AsyncExitStack()

    @property
    def has_webhooks(self) -> bool:
        """Whether the server knows where to tell of what happens."""
        return self.schedule.transport != "poll"

    def make_client(self) -> AsyncClient:
        """Return a client that speaks HeyGen's words."""
        return AsyncClient(
            self.sim.url,
            api_key="any",
            dialect=HeyGen(),
            poll=_POLICY,
            retry=RetryPolicy(max_attempts=10_000),
            on_error=self._take_error,
        )

    async def play(self) -> None:
        """Play the schedule to its end, and judge it."""
        async with AsyncExitStack() as stack:
            if self.has_webhooks:
                url = await stack.enter_async_context(open_doorstep(self.receiver))
                registered = self.receiver.registered(url)
                endpoint = await self.endings.enter_async_context(registered)
                self.receiver.secret = endpoint.secret
            await super().play()

    async def _order(self) -> None:
        for delay, group in groupby(self.schedule.delays):
            languages = LANGUAGES[: len(list(group))]
            jobs = await self.client.submit_all(f"{VIDEO}?sim-delay={delay}", languages=languages)
            for job in jobs:
                self.trace.note("job", job.job_id, delay)
                self.job_ids.append(job.job_id)
                self.ends_at[job.job_id] = self.now() + delay

    async def close(self) -> None:
        """Take the webhooks back, close the client, and look for what is left of it.

        Raises:
            AssertionError: Something is.
        """
        await self.endings.aclose()
        await super().close()

    def _everybody_is_told(self) -> None:
        interval = STRETCHED if self.has_webhooks else _POLICY.max_interval
        reads = len(self.job_ids) / _POLICY.max_rate  # of one job each, for no other shows an end
        limit = interval + _REQUEST_TIMEOUT + reads
        for visitor in self.visitors:
            if visitor.was_cancelled:
                continue
            verdict.somebody_was_told(self, visitor)
            assert visitor.ended_at is not None
            ends_at = max(self.ends_at[job_id] for job_id in visitor.job_ids)
            known_at = max(self.healed_at, visitor.came_at)
            due_at = max(known_at, ends_at) + visitor.visit.pause * len(visitor.seen)
            is_told = self.has_webhooks and not self.schedule.kinds and not visitor.visit.pause
            l1_final_in_time(visitor.ended_at, healed_at=due_at, limit=limit)
            if is_told:
                l1_final_in_time(visitor.ended_at, healed_at=due_at, limit=AT_ONCE + reads)
            if visitor.times and visitor.visit.how != "as_completed":
                l1_final_in_time(visitor.times[0], healed_at=known_at, limit=verdict.LIMIT)

    def _judge(self) -> None:
        super()._judge()
        stats, kinds = self.receiver.stats(), self.schedule.kinds
        for text in self.receiver.mistakes:
            check(False, "S4", text)
        refused = stats.forged + stats.stale + stats.malformed
        if kinds.isdisjoint(_DISTRUST):
            check(not refused, "S4", f"{refused} deliveries were refused without need")
        check(
            stats.accepted <= len(self.job_ids),
            "E2",
            f"{stats.accepted} deliveries were news, of {len(self.job_ids)} jobs",
        )
        reads = [s.at for s in self.witness.requests if s.path.startswith("/v3/video-trans")]
        e2_budget(reads, rate=_POLICY.max_rate, burst=_POLICY.max_rate + len(self.job_ids))
        if self.schedule.closes_at is None:
            # Else the endpoint is removed in the midst of it, and what that is told is told to it.
            e4_retry_after(reads, self.witness.held_reads)


class Doorkeeper(WebhookReceiver):
    """A receiver of whose every answer is judged whether it is right."""

    def __init__(self, client: AsyncClient, trace: Trace) -> None:
        super().__init__(client)
        self.secret = ""
        self.mistakes: list[str] = []
        self._note = trace.note

    def receive(self, method: str, headers: Headers, body: bytes) -> Reply:
        """Take a delivery."""
        reply = super().receive(method, headers, body)
        self._note("hook", method, body, reply.status)
        if method == "POST":
            told: Any = headers
            right = 200 if self._is_genuine(told, body) else 401
            if reply.status not in (right, 503):
                self.mistakes.append(f"a webhook got {reply.status}, and it should get {right}")
        return reply

    def _is_genuine(self, headers: Any, body: bytes) -> bool:
        mac = hmac.new(self.secret.encode(), body, hashlib.sha256).hexdigest()
        age = time.time() - int(headers["Heygen-Timestamp"])
        return bool(mac == headers["Heygen-Signature"]) and -300 <= age <= 300
