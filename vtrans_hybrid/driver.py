"""The asyncio shell around the core: it feeds, drains and re-arms, and decides nothing.

In the task group of its `Supervisor` live one task a connection of the channel (normally one in
all), the polls in flight, and whatever asynchronous callbacks are running. There is one timer.
Nothing here is per job.

What happens is told to the `Tracker`, and the actions that come out are carried out at once. An
action may lead back into the tracker (a callback may start a watch), so `act()` is not re-entered:
the outer call goes on until there is nothing left to do.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial

import anyio

from vtrans_hybrid.attempts import Attempts
from vtrans_hybrid.audience import Deliver, Fail, Finish
from vtrans_hybrid.backend import Backend
from vtrans_hybrid.connection import Connection, first_of
from vtrans_hybrid.dialect import Answer, Capabilities, Dialect, Operation
from vtrans_hybrid.errors import (
    ClientClosed,
    ProtocolError,
    Unsupported,
    VtransError,
)
from vtrans_hybrid.link import Dial, Hangup
from vtrans_hybrid.merge import Watcher
from vtrans_hybrid.messages import Hello, decode_message
from vtrans_hybrid.models import FINAL, JobStatus
from vtrans_hybrid.policy import RetryPolicy
from vtrans_hybrid.schedule import Poll
from vtrans_hybrid.supervisor import Supervisor
from vtrans_hybrid.tracker import Action, Send, Tracker
from vtrans_hybrid.transport import AGENT, Channel, Transport

__all__ = ["Driver"]

logger = logging.getLogger("vtrans_hybrid.client")

_BATCH = 16_384
"""Bytes of frames behind the first of a pass of the loop that are acted on together. More would
delay the news of the first frame for little gain."""


class Driver:
    """Runs a tracker on the event loop.

    Args:
        transport: Carries requests and opens channels.
        dialect: What the backend speaks, as far as is known.
        retry: How failed requests are repeated.
        make_tracker: Makes the core once the time is known.
        rand: Source of random numbers in [0, 1).
    """

    def __init__(
        self,
        transport: Transport,
        dialect: Dialect,
        retry: RetryPolicy,
        make_tracker: Callable[[float], Tracker],
        rand: Callable[[], float],
    ) -> None:
        self.listeners: tuple[Callable[[JobStatus], None], ...] = ()
        """Called with every update of every job, once each. One of them may replace this tuple."""
        self.backend = Backend(
            transport, dialect, has_heard=lambda: self.tracker.has_heard, adapt=self._adapt
        )
        self.supervisor = Supervisor(self._cancelled, self._break_down)
        self._make_tracker = make_tracker
        self._tracker: Tracker | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._attempts = Attempts(retry, rand, self.supervisor.closing)
        self._pushes: dict[int, Connection] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = math.inf
        self._is_acting = False
        self._must_act_again = False
        self._is_act_planned = False
        self._is_pass_open = False
        self._unacted = 0
        self._is_closed = False
        self._last_word = ClientClosed()

    @property
    def tracker(self) -> Tracker:
        """The core. Raises what `check_usable` raises."""
        loop = self.check_usable()
        if self._tracker is None:
            self._tracker = self._make_tracker(loop.time())
            self.supervisor.start(loop)
        return self._tracker

    @property
    def core(self) -> Tracker | None:
        """The core if the client has been used; None before."""
        return self._tracker

    @property
    def is_inside(self) -> bool:
        """Whether the caller runs in the event loop of the client."""
        try:
            return asyncio.get_running_loop() is self._loop
        except RuntimeError:
            return False

    # What the client asks for.

    def check_open(self) -> None:
        """Raise `ClientClosed` once the client has ended, always with the same sentence."""
        if self._is_closed:
            raise ClientClosed(str(self._last_word)) from self._last_word.__cause__

    def check_usable(self) -> asyncio.AbstractEventLoop:
        """Return the event loop of the client, which this one becomes if it has none yet.

        Raises:
            ClientClosed: The client is closed.
            RuntimeError: It is used outside the event loop that it began on.
        """
        self.check_open()
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            raise RuntimeError(
                "an AsyncClient needs a running event loop: call it within one, or use Client"
            ) from None
        if self._loop is None:
            self._loop = loop
        elif loop is not self._loop:
            raise RuntimeError("a client belongs to one event loop; make another client here")
        return loop

    def attach(
        self, watcher: Watcher, job_ids: Iterable[str], *, wants_all: bool, timeout: float | None
    ) -> None:
        """Let a watcher follow jobs, for at most `timeout` seconds."""
        tracker = self.tracker
        now = self._now()
        deadline = math.inf if timeout is None else now + timeout
        tracker.attach(watcher, job_ids, now, wants_all=wants_all, deadline=deadline)
        self._act_soon()

    def join(self, watcher: Watcher, job_id: str) -> bool:
        """Let a watcher follow one more job; return whether it did not do so already."""
        is_new = self.tracker.join(watcher, job_id, self._now())
        self._act_soon()
        return is_new

    def detach(self, watcher: Watcher, job_id: str | None = None) -> None:
        """Forget a watcher, or just a job that it joined; from any thread, and harmless twice."""
        loop = self._loop
        if self._tracker is None or loop is None or self._is_closed or loop.is_closed():
            return
        if self.is_inside:
            self._tracker.detach(watcher, loop.time(), job_id)
            self._act_soon()
        else:
            self.call_later(partial(self.detach, watcher, job_id))

    def call_later(self, function: Callable[[], None]) -> None:
        """Call in the next pass of the loop. Safe at any moment, from any thread."""
        if self._loop is not None and not self._is_closed:
            with suppress(RuntimeError):  # the loop was closed, and everything with it
                self._loop.call_soon_threadsafe(function)

    def created(self, statuses: Iterable[JobStatus]) -> None:
        """Note jobs that were just ordered."""
        self.tracker.created(statuses, self._now())

    def observed(self, statuses: Iterable[JobStatus]) -> None:
        """Note statuses that an operation brought along."""
        self.tracker.observed(statuses, self._now())
        self._act_soon()

    def announced(self, job_ids: Iterable[str]) -> None:
        """Note that a webhook names jobs; those that nobody watches are of no concern.

        Safe from any thread.

        Raises:
            ClientClosed: The client is closed.
        """
        loop = self._loop
        if self._is_closed or (loop is not None and loop.is_closed()):
            raise ClientClosed("the client is closed")
        if self.is_inside:
            self.tracker.announced(job_ids, self._now())
            self._act_soon()
        elif loop is not None:  # without one, the client was not used yet, and watches nothing
            self.call_later(partial(self._announced_elsewhere, tuple(job_ids)))

    async def call(self, operation: Operation, *, give_up_at: float = math.inf) -> Answer:
        """Carry out an operation, with retries; `Attempts.make` says when."""
        return await self._attempts.make(
            lambda: self._exchange(operation),
            lambda error: self.backend.may_repeat(operation, error),
            give_up_at,
        )

    async def aclose(self, patience: float = 0.0) -> None:
        """End every task, socket and timer; every watch ends with `ClientClosed`.

        Args:
            patience: Seconds for callbacks that are under way; nothing else goes on meanwhile.
        """
        try:
            self._end(ClientClosed())
            await self.supervisor.wait(patience)
        finally:
            with anyio.CancelScope(shield=True):
                await self.supervisor.cancel()
                await self.backend.transport.aclose()

    def _announced_elsewhere(self, job_ids: tuple[str, ...]) -> None:
        with suppress(ClientClosed):  # since then
            self.announced(job_ids)

    # Feed, drain, re-arm.

    def act(self) -> None:
        """Carry out whatever the core wants, then set the timer."""
        self._is_act_planned = False
        self._unacted = 0
        tracker = self._tracker
        if tracker is None or self._is_closed:
            return
        self._must_act_again = True
        if self._is_acting:
            return
        self._is_acting = True
        try:
            while self._must_act_again:
                self._must_act_again = False
                self._carry_out(tracker.actions())
        finally:
            self._is_acting = False
        self._rearm(tracker.next_deadline())

    def _act_on_frame(self, size: int) -> None:
        """Act at once on the first frame of a pass of the loop, and together on those behind it.

        A lone event meets no delay, and of a flood not each one pays for the rest of the core.
        """
        if not self._is_pass_open:
            self._is_pass_open = True
            assert self._loop is not None, "only a used client has anything to do"
            self._loop.call_soon(self._run, self._end_pass)
            self.act()
            return
        self._unacted += size + 1  # an empty frame counts, too
        if self._unacted >= _BATCH:
            self.act()

    def _end_pass(self) -> None:
        self._is_pass_open = False
        if self._unacted:
            self.act()

    def _carry_out(self, actions: Iterable[Action]) -> None:
        for action in actions:
            if isinstance(action, Deliver):
                self._deliver(action)
            else:
                self._do(action)

    def _do(self, action: Dial | Hangup | Send | Poll | Fail | Finish) -> None:
        match action:
            case Send(generation, message):
                if (push := self._pushes.get(generation)) is not None:
                    push.send(message)
            case Poll():
                self.supervisor.spawn(lambda: self._run_poll(action))
            case Dial(generation):
                self._pushes[generation] = dialed = Connection(generation)
                self.supervisor.spawn(lambda: self._run_push(dialed))
            case Hangup(generation, code, reason):
                if (leaving := self._pushes.get(generation)) is not None:
                    leaving.hang_up(code, reason)
            case Finish(watcher):
                watcher.finish()
            case Fail(watcher, job_id, error):
                watcher.fail(job_id, error)

    def _deliver(self, action: Deliver) -> None:
        status = action.status
        for watcher in action.watchers:
            watcher.put(status)
        if action.is_late:
            return
        for listener in self.listeners:
            listener(status)
        if status.state in FINAL:
            logger.info("job %s is %s", status.job_id, status.state)

    def _act_soon(self) -> None:
        """Let what is asked for in one pass of the loop leave together."""
        if not self._is_act_planned:
            self._is_act_planned = True
            assert self._loop is not None, "only a used client has anything to do"
            self._loop.call_soon(self._run, self.act)

    def _rearm(self, at: float) -> None:
        """Let the timer ring at `at` or before.

        The deadline of silence moves away with each frame. A timer that rings too early finds
        nothing to do and is set anew, which is cheaper than to set it for each frame.
        """
        if self._timer is not None:
            if self._timer_at <= at:
                return
            self._timer.cancel()
            self._timer = None
        self._timer_at = at
        if at < math.inf:
            assert self._loop is not None, "only a used client has anything to do"
            self._timer = self._loop.call_at(at, self._run, self._advance)

    def _advance(self) -> None:
        self._timer = None
        if self._tracker is not None and not self._is_closed:
            self._tracker.advance(self._now())
            self.act()

    def _now(self) -> float:
        assert self._loop is not None, "only a used client has a clock"
        return self._loop.time()

    def _run(self, step: Callable[[], None]) -> None:
        """Take a step that the loop calls for: its failure concerns everybody who waits."""
        try:
            step()
        except Exception as error:
            self._break_down(error)

    def _break_down(self, error: Exception) -> None:
        """End everything: a bug of ours must be loud, and must not leave anybody waiting."""
        # The loop's handler prints it even where nobody has set up logging.
        told = {"message": "the client stopped because of an internal error", "exception": error}
        asyncio.get_running_loop().call_exception_handler(told)
        failure = ClientClosed("the client stopped because of an internal error")
        failure.__cause__ = error
        self._end(failure)

    def _cancelled(self) -> None:
        """End if nothing else has ended us: programs cancel all tasks as they leave."""
        self._end(ClientClosed("the task that the client runs in was cancelled"))

    def _end(self, error: ClientClosed) -> None:
        """Stop deciding: whoever waits gets the error, and every connection is hung up."""
        if self._is_closed:
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._is_closed, self._last_word = True, error
        try:
            if self._tracker is not None:
                self._carry_out(self._tracker.close(error))
        finally:
            self.supervisor.end()

    # Tasks.

    async def _run_push(self, push: Connection) -> None:
        """Hold one connection of the channel, from its dial to its end."""
        tracker = self._tracker
        assert tracker is not None, "only a tracker asks for a connection"
        transport = self.backend.transport
        try:
            with push.enter():
                channel = await transport.open_channel(self.backend.dialect.capabilities)
                try:
                    push.send(Hello(agent=AGENT))
                    async with anyio.create_task_group() as tasks:
                        tasks.start_soon(push.write, channel)
                        await self._read(tracker, channel, push)
                finally:
                    await channel.aclose(push.close_code, push.close_reason)
            if push.failure is not None:
                raise push.failure
        except* VtransError as group:
            tracker.push_lost(push.generation, first_of(group), self._now())
        finally:
            del self._pushes[push.generation]
        self.act()

    async def _read(self, tracker: Tracker, channel: Channel, push: Connection) -> None:
        """Parse and dispatch, nothing else: a reader that waits for others misses its pings."""
        generation = push.generation
        while True:
            frame = await channel.receive()
            if logger.isEnabledFor(logging.DEBUG):
                logger.debug("< channel %d: %d bytes", generation, len(frame))
            try:
                message = decode_message(frame)
            except ProtocolError as error:
                logger.warning("channel %d: %s", generation, error)
                tracker.push_garbled(generation, error, self._now())
            else:
                tracker.received(generation, message, self._now())
            self._act_on_frame(len(frame))

    async def _run_poll(self, poll: Poll) -> None:
        result: Answer | VtransError
        try:
            result = await self._exchange(poll.read)
        except VtransError as error:
            logger.debug("poll %d failed: %s", poll.poll_id, error)
            result = error
        is_news = not self.backend.dialect.capabilities.admits(poll.read)
        if isinstance(result, Unsupported) and is_news:
            result = Answer()  # the core now knows to read these jobs one by one
        if self._tracker is not None and not self._is_closed:
            self._tracker.polled(poll.poll_id, result, self._now())
            self.act()

    async def _exchange(self, operation: Operation) -> Answer:
        self.check_usable()
        return await self.backend.exchange(operation)

    def _adapt(self, capabilities: Capabilities) -> None:
        self.tracker.adapt(capabilities, self._now())
        self.act()
