"""The server: all faces of one replica on one port, and its coming and going."""

import asyncio
import logging
import math
from collections import deque
from collections.abc import Coroutine, Iterable
from contextlib import suppress
from itertools import chain, count
from random import Random
from typing import Any, Final, Literal, NamedTuple

from aiohttp import web

from simulator import control, describe, rest
from simulator.channel import Channel, ChannelStats
from simulator.clock import Clock
from simulator.control import Drop
from simulator.deliverer import Deliverer, DelivererStats
from simulator.entrance import make_app, routes_of
from simulator.faults import (
    ClockJump,
    Drain,
    DropEstablished,
    EpochBump,
    Fault,
    HistoryTruncate,
    PauseProcess,
    Restart,
    Skew,
    Speed,
    Swizzle,
)
from simulator.gate import Call, Gate
from simulator.heygen import Context, HeyGen
from simulator.histories import Entry
from simulator.limits import Lookout, make_runner
from simulator.log import MemoryLog
from simulator.metrics import Metric
from simulator.notices import Outcome
from simulator.options import ServerOptions, base_url
from simulator.orders import Dice
from simulator.plan import Facts, FaultPlan
from simulator.port import Port
from simulator.replica import Replica, ReplicaStats

__all__ = ["Server", "ServerStats"]

logger = logging.getLogger("simulator.server")

_GRACE: Final = 2.0  # s for handlers to end, beyond what was asked for
_RETRY: Final = 0.2  # s until another attempt at an address that somebody else has taken
_AFTER_ANSWER: Final = 0.1  # s for the answer to a control call to reach its caller


class ServerStats(NamedTuple):
    """The numbers of a server; those of replica and channel begin anew with each restart."""

    answered: int
    """Requests ended since the first start."""
    replica: ReplicaStats | None
    """Of the jobs; None while the server is down."""
    channel: ChannelStats | None
    """Of the channel; None while the server is down."""
    webhooks: DelivererStats
    """Of what is posted to others."""


class Server:
    """Serve one replica at a time.

    Args:
        options: how it is set up.
        plan: the faults that it shows.
        clock: of this process.
        dice: the randomness of orders.
        deliverer: of the webhooks.
        random: for all other randomness.
    """

    def __init__(
        self,
        options: ServerOptions,
        *,
        plan: FaultPlan,
        clock: Clock,
        dice: Dice,
        deliverer: Deliverer,
        random: Random,
    ) -> None:
        self.log = MemoryLog(clock, dice.ids)
        self._options = options
        self._plan = plan
        self._clock = clock
        self._dice = dice
        self._random = random
        self._port = Port(options.host, options.port, plan)
        self._lookout = Lookout(self._rest_transports, patience=options.channel.patience)
        self._gate = Gate(
            plan,
            attend=self._lookout.attend,
            digests=options.key_digests,
            control_digest=options.control_digest,
            origins=options.channel.origins,
            random=random,
        )
        self.deliverer = deliverer
        self._heygen = HeyGen(options.heygen, Context(plan, clock, options.orders, dice, deliverer))
        self._numbers = count(1)
        self._replica: Replica | None = None
        self._channel: Channel | None = None
        self._runner: web.AppRunner | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._is_paused = False
        self._is_moving = asyncio.Lock()  # one start, restart or close at a time
        self._is_leaving = asyncio.Event()  # ends every pause
        self._forget_plan = plan.on_change(self._check_faults)

    # -- properties ---------------------------------------------------------------------------

    @property
    def port(self) -> int:
        """The port it listens on, or did."""
        return self._port.number

    @property
    def calls(self) -> deque[Call]:
        """The requests answered lately, the oldest first; restarts do not clear them."""
        return self._gate.calls

    @property
    def replica(self) -> Replica | None:
        """The replica that serves now; None while the server is down."""
        return self._replica

    @property
    def channel(self) -> Channel | None:
        """Its channel; None while the server is down."""
        return self._channel

    @property
    def routes(self) -> list[web.AbstractRoute]:
        """What it serves now; nothing while it is down."""
        return [] if self._runner is None else routes_of(self._runner.app)

    def stats(self) -> ServerStats:
        """Return the present numbers."""
        return ServerStats(
            self._gate.answered,
            self._replica.stats() if self._replica else None,
            self._channel.stats() if self._channel else None,
            self.deliverer.stats(),
        )

    def report(self) -> dict[str, Any]:
        """Return the present numbers as JSON can hold them."""
        answered, replica, channel, webhooks = self.stats()
        return {
            "epoch": self.log.epoch,
            "answered": answered,
            "replica": replica and replica._asdict(),
            "channel": channel and channel._asdict(),
            "webhooks": webhooks._asdict(),
        }

    # -- coming and going ---------------------------------------------------------------------

    async def start(self) -> None:
        """Listen.

        Raises:
            OSError: the address cannot be had.
        """
        async with self._is_moving:
            await self._come_up()
        self._check_faults()

    async def close(self, *, deadline: float = 0.0) -> None:
        """Leave: take no new callers, ask the clients to move, and close what is left.

        Args:
            deadline: seconds that the clients get; 0 closes the channels at once.
        """
        self._forget_plan()
        if self._timer is not None:
            self._timer.cancel()
        self._is_leaving.set()
        await asyncio.gather(*self._tasks)
        async with self._is_moving:
            await self._leave(deadline)
            await self.log.aclose()

    async def restart(
        self, *, lose_state: Literal["none", "all"] | float = "none", down_for: float = 0.0
    ) -> None:
        """Reset all connections, stay away for a while, and come back on the same port.

        Args:
            lose_state: `all` comes back with a new epoch and no job, `none` with everything;
                meanwhile the jobs go on. A number from 0 to 1 is the part of the jobs that is lost,
                and the rest gets a new epoch.
            down_for: seconds in which connections are refused.
        """
        async with self._is_moving:
            logger.info("restart, down for %.3g s, state lost: %s", down_for, lose_state)
            await self._crash()
            if await self._pause(down_for):
                return
            if lose_state != "none":
                await self._renew_log(1.0 if lose_state == "all" else lose_state)
            await self._come_up()
        self._check_faults()

    async def drain(
        self, *, deadline: float = 10.0, spread: float | None = None, reason: str = "drain"
    ) -> None:
        """Behave as a server that is about to leave, until the deadline; then go on as a new one.

        The clients of all present channels are asked to move, held reads are answered, and orders
        are refused. A new channel is taken, for it could be one to another replica.

        Args:
            deadline: seconds until the channels are closed with 1012.
            spread: seconds over which the clients should move; None for as many as their number
                asks for.
            reason: for people.
        """
        channel, replica = self._channel, self._replica
        if channel is None or replica is None:
            return
        present = channel.connections
        channel.drain(deadline=deadline, spread=spread, reason=reason)
        replica.drain()
        try:
            if await self._pause(deadline):
                return
            for connection in present:
                await connection.is_over.wait()
        finally:
            replica.stay()

    def end_channels(self, drop: Drop) -> int:
        """End all channels and return how many there were."""
        if self._channel is None:
            return 0
        connections = self._channel.connections
        for connection in connections:
            if drop.how == "reset":
                connection.reset()
            else:
                connection.finish(drop.code, drop.reason)
        return len(connections)

    def suffer(self, fault: Fault) -> None:
        """Begin to do what a fault of the server does; the answer to the caller may still go out.

        Args:
            fault: one that strikes the `server`.
        """
        self._begin(self._suffer(fault), f"simulator.{fault.name}")

    # -- private methods ----------------------------------------------------------------------

    def _begin(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _suffer(self, fault: Fault) -> None:
        if await self._pause(_AFTER_ANSWER):
            return
        match fault:
            case Drain():
                await self.drain(deadline=fault.deadline, spread=fault.spread, reason=fault.reason)
            case Restart():
                await self.restart(lose_state=fault.lose_state, down_for=fault.down_for)
            case EpochBump():
                await self._bump_epoch()
            case HistoryTruncate(keep=keep):
                self.log.truncate(keep)
                if self._replica is not None:
                    self._replica.truncate(keep)
            case DropEstablished(fraction=fraction):
                self._port.drop(fraction, self._random)
            case Swizzle():
                await self._port.swizzle(fault, self._random, self._pause)
            case ClockJump(seconds=seconds):
                self._clock.jump(seconds)
                self._check_clock()
            case PauseProcess(seconds=seconds):
                await self._freeze(seconds)
            case _:
                raise AssertionError(f"{fault.name!r} is no fault of the server.")

    async def _bump_epoch(self) -> None:
        async with self._is_moving:
            self.end_channels(Drop(how="close", code=4000, reason="epoch changed"))
            if self._channel is not None:
                await self._emptied(self._channel, _GRACE)
            await self._crash()
            await self._renew_log(0.0)
            await self._come_up()
        self._check_faults()

    async def _freeze(self, seconds: float) -> None:
        """Do nothing for a while, and then at once what was due meanwhile."""
        began = self._clock.now()
        self._set_paused(is_paused=True)
        await self._pause(seconds)
        self._clock.jump(self._clock.now() - began)
        self._set_paused(is_paused=False)

    def _set_paused(self, *, is_paused: bool) -> None:
        self._is_paused = is_paused
        self._port.freeze(is_frozen=is_paused)
        for connection in self._channel.connections if self._channel else ():
            connection.freeze(is_frozen=is_paused)
        self.deliverer.freeze(is_frozen=is_paused)
        self._check_clock()

    async def _renew_log(self, lost: float) -> None:
        """Begin a new history, without so many of the jobs (from 0 to 1)."""
        job_ids = list(self.log.statuses())
        gone = set(self._random.sample(job_ids, round(lost * len(job_ids))))
        await self.log.aclose()
        if lost and len(gone) == len(job_ids):
            self._heygen.forget()
        self.log = self.log.reborn(self._dice.ids, keeps=lambda job_id: job_id not in gone)

    async def _pause(self, seconds: float) -> bool:
        """Let time pass; return early, and True, if the server shall leave."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._is_leaving.wait()
        return self._is_leaving.is_set()

    async def _come_up(self) -> None:
        self._gate.is_leaving.clear()
        replica = Replica(
            self.log,
            plan=self._plan,
            clock=self._clock,
            orders=self._options.orders,
            dice=self._dice,
        )
        channel = Channel(
            replica,
            gate=self._gate,
            plan=self._plan,
            options=self._options.channel,
            random=self._random,
            numbers=self._numbers,
        )
        faces = [
            rest.routes(
                replica,
                plan=self._plan,
                ping=self._options.channel.ping,
                metrics=self._metrics,
                destinations=self.deliverer.destinations,
            ),
            describe.routes(),
            channel.routes(),
            self._heygen.routes(replica),
            control.routes(self._plan, self, self._clock) if self._options.has_control else [],
        ]
        app = make_app(chain.from_iterable(faces), self._gate.admit)
        app.on_response_prepare.append(self._heygen.number)
        runner = make_runner(app)
        await replica.start()
        try:
            await self._listen(runner)
        except BaseException:
            await runner.cleanup()
            await replica.aclose()
            raise
        self._runner, self._replica, self._channel = runner, replica, channel
        self.deliverer.start(replica, self._outcome)

    def _outcome(self, entry: Entry) -> Outcome:
        return self._heygen.outcome(entry, base_url(self._options.host, self.port))

    async def _listen(self, runner: web.AppRunner) -> None:
        await runner.setup()
        assert runner.server is not None
        await self._port.serve(runner.server)

    async def _tend_port(self) -> None:
        """Open or close the port, as the plan wants it."""
        while not self._is_leaving.is_set():
            try:
                async with self._is_moving:
                    await self._port.tend()
            except OSError as error:
                logger.warning("port %d cannot be had again: %s", self.port, error.strerror)
                await self._pause(_RETRY)
            else:
                return

    def _transports(self, runner: web.AppRunner | None = None) -> list[asyncio.Transport]:
        """Return those of all connections of a runner, by default the present one."""
        runner = runner or self._runner
        if runner is None or runner.server is None:
            return []
        transports = [connection.transport for connection in runner.server.connections]
        return [transport for transport in transports if transport is not None]

    def _rest_transports(self) -> list[asyncio.Transport]:
        channel = self._channel.transports if self._channel else frozenset()
        return [transport for transport in self._transports() if transport not in channel]

    async def _crash(self) -> None:
        """Go down as a killed process does: no close frame, no answer, only resets."""
        runner, self._runner = self._runner, None
        replica, self._replica, self._channel = self._replica, None, None
        await self.deliverer.stop()
        if runner is not None:
            self._port.stop()
            self._port.reset()
            await runner.cleanup()
            self._lookout.stop()
        if replica is not None:
            await replica.aclose()

    async def _leave(self, deadline: float) -> None:
        if self._replica is None or self._channel is None or self._runner is None:
            return
        self._port.stop()
        self._replica.drain()
        self._gate.is_leaving.set()
        if deadline > 0:
            self._channel.drain(deadline=deadline, reason="shutdown")
            await self._emptied(self._channel, deadline)
        self.end_channels(Drop(how="close", code=1012, reason="shutdown"))
        # First the channels, for aiohttp reads nothing any more once it shuts down, and the
        # answers of the clients to the close would be lost.
        await self._emptied(self._channel, _GRACE)
        await self._runner.cleanup()
        self._lookout.stop()
        self._port.reset()  # those that a fault holds
        await self.deliverer.stop()
        await self._replica.aclose()
        self._replica = self._channel = self._runner = None

    async def _emptied(self, channel: Channel, timeout: float) -> None:
        """Wait until every connection has ended, or the time is over."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                for connection in channel.connections:
                    await connection.is_over.wait()

    def _check_faults(self) -> None:
        """Let the plan strike, now that rules came, went, began or ended."""
        if self._channel is None:
            return
        now = self._clock.now()
        self._channel.check_faults()
        self._port.check_faults()
        if not self._port.is_settled:
            self._begin(self._tend_port(), "simulator.port")
        self._check_clock()
        while (fault := self._plan.decide("server", Facts(), now)) is not None:
            self.suffer(fault)
        if self._timer is not None:
            self._timer.cancel()
        next_at = self._plan.next_change(now)
        if next_at is not None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(max(next_at - now, 0.0), self._check_faults)

    def _check_clock(self) -> None:
        """Let the clock go as the plan wants it."""
        strikes = self._plan.standing("clock", Facts(), self._clock.now())
        faults = [strike.fault for strike in strikes]
        self._clock.skew = sum(fault.seconds for fault in faults if isinstance(fault, Skew))
        speeds = (fault.factor for fault in faults if isinstance(fault, Speed))
        self._clock.run(0.0 if self._is_paused else math.prod(speeds))
        if self._replica is not None:
            self._replica.look_again()
        self.deliverer.look_again()

    def _metrics(self) -> Iterable[Metric]:
        if self._channel is None:
            return
        stats = self._channel.stats()
        yield Metric("vtrans_channels", "gauge", "Channels open.", stats.open)
        yield Metric("vtrans_channels_opened_total", "counter", "Channels opened.", stats.opened)
        yield Metric("vtrans_frames_sent_total", "counter", "Frames sent.", stats.frames)
        yield Metric("vtrans_events_sent_total", "counter", "Events sent.", stats.events)
        yield Metric("vtrans_requests_total", "counter", "Requests ended.", self._gate.answered)
        yield Metric("vtrans_faults_shown", "gauge", "Faults in the log.", len(self._plan.log))
        yield from self.deliverer.metrics()
