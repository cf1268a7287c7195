"""The server: all faces of one replica on one port, and its coming and going."""

import asyncio
import logging
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from itertools import count
from random import Random
from typing import Any, Final, Literal, NamedTuple

from aiohttp import web

from simulator import control, describe, rest
from simulator.channel import Channel, ChannelOptions, ChannelStats
from simulator.control import Drop
from simulator.faults import Drain, Restart
from simulator.gate import Call, Gate
from simulator.limits import Lookout, make_runner
from simulator.line import abort
from simulator.log import Clock, MemoryLog
from simulator.messages import MAX_FRAME
from simulator.metrics import Metric
from simulator.orders import Dice, Orders
from simulator.plan import Facts, FaultPlan
from simulator.replica import Replica, ReplicaStats

__all__ = ["Server", "ServerOptions", "ServerStats"]

logger = logging.getLogger("simulator.server")

_BACKLOG: Final = 4096  # connections that may wait to be accepted when a crowd comes back
_GRACE: Final = 2.0  # s for channels to end, beyond what was asked for
_AFTER_ANSWER: Final = 0.1  # s for the answer to a control call to reach its caller


class ServerOptions(NamedTuple):
    """How a server is set up."""

    host: str = "127.0.0.1"
    port: int = 0
    """0 takes a free one, which is kept over restarts."""
    orders: Orders = Orders()
    channel: ChannelOptions = ChannelOptions()
    key_digests: tuple[str, ...] = ()
    """Of the keys of which a caller must show one; none are asked for if it is empty."""
    has_control: bool = True
    """Whether `/_control/` answers."""
    control_digest: str | None = None
    """Of the key that controls the server; None lets programs on this machine do so."""


class ServerStats(NamedTuple):
    """The numbers of a server; those of replica and channel begin anew with each restart."""

    answered: int  # requests ended since the first start
    replica: ReplicaStats | None  # None while the server is down
    channel: ChannelStats | None  # None while the server is down


class Server:
    """Serve one replica at a time.

    Args:
        options: how it is set up.
        plan: the faults that it shows.
        clock: of this process.
        dice: the randomness of orders.
        random: for all other randomness.
    """

    def __init__(
        self,
        options: ServerOptions,
        *,
        plan: FaultPlan,
        clock: Clock,
        dice: Dice,
        random: Random,
    ) -> None:
        self.log = MemoryLog(clock, dice.ids)
        self.port = options.port
        self._options = options
        self._plan = plan
        self._clock = clock
        self._dice = dice
        self._random = random
        self._gate = Gate(
            plan,
            digests=options.key_digests,
            control_digest=options.control_digest,
            origins=options.channel.origins,
            random=random,
        )
        self._lookout = Lookout(self._transports, patience=options.channel.patience)
        self._numbers = count(1)
        self._replica: Replica | None = None
        self._channel: Channel | None = None
        self._runner: web.AppRunner | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._is_moving = asyncio.Lock()  # one start, restart or close at a time
        self._is_leaving = asyncio.Event()  # ends every pause
        self._forget_plan = plan.on_change(self._check_faults)

    # -- properties ---------------------------------------------------------------------------

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
        return [] if self._runner is None else list(self._runner.app.router.routes())

    def stats(self) -> ServerStats:
        """Return the present numbers."""
        return ServerStats(
            self._gate.answered,
            self._replica.stats() if self._replica else None,
            self._channel.stats() if self._channel else None,
        )

    def report(self) -> dict[str, Any]:
        """Return the present numbers as JSON can hold them."""
        answered, replica, channel = self.stats()
        return {
            "epoch": self.log.epoch,
            "answered": answered,
            "replica": replica and replica._asdict(),
            "channel": channel and channel._asdict(),
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
        self, *, lose_state: Literal["none", "all"] = "none", down_for: float = 0.0
    ) -> None:
        """Reset all connections, stay away for a while, and come back on the same port.

        Args:
            lose_state: `all` comes back with a new epoch and no job, `none` with everything;
                meanwhile the jobs go on.
            down_for: seconds in which connections are refused.
        """
        async with self._is_moving:
            logger.info("restart, down for %.3g s, state lost: %s", down_for, lose_state)
            await self._crash()
            if await self._pause(down_for):
                return
            if lose_state == "all":
                await self.log.aclose()
                self.log = MemoryLog(self._clock, self._dice.ids)
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

    def suffer(self, fault: Drain | Restart) -> None:
        """Begin to drain or to restart; the answer to the caller may still go out."""
        task = asyncio.create_task(self._suffer(fault), name=f"simulator.{fault.name}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # -- private methods ----------------------------------------------------------------------

    async def _suffer(self, fault: Drain | Restart) -> None:
        if await self._pause(_AFTER_ANSWER):
            return
        match fault:
            case Drain():
                await self.drain(deadline=fault.deadline, spread=fault.spread, reason=fault.reason)
            case Restart():
                await self.restart(lose_state=fault.lose_state, down_for=fault.down_for)

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
        middlewares = [self._lookout.attend, self._gate.admit]
        app = web.Application(middlewares=middlewares, client_max_size=MAX_FRAME)
        ping, wall = self._options.channel.ping, self._clock.wall
        app.add_routes(rest.routes(replica, wall=wall, ping=ping, metrics=self._metrics))
        app.add_routes(describe.routes())
        app.add_routes(channel.routes())
        if self._options.has_control:
            app.add_routes(control.routes(self._plan, self))
        runner = make_runner(app)
        await replica.start()
        try:
            await self._listen(runner)
        except BaseException:
            await runner.cleanup()
            await replica.aclose()
            raise
        self._runner, self._replica, self._channel = runner, replica, channel

    async def _listen(self, runner: web.AppRunner) -> None:
        await runner.setup()
        site = web.TCPSite(
            runner, self._options.host, self.port, backlog=_BACKLOG, reuse_address=True
        )
        await site.start()
        self.port = runner.addresses[0][1]

    def _transports(self, runner: web.AppRunner | None = None) -> list[asyncio.Transport]:
        """Return those of all connections of a runner, by default the present one."""
        runner = runner or self._runner
        if runner is None or runner.server is None:
            return []
        transports = [connection.transport for connection in runner.server.connections]
        return [transport for transport in transports if transport is not None]

    async def _crash(self) -> None:
        """Go down as a killed process does: no close frame, no answer, only resets."""
        runner, self._runner = self._runner, None
        replica, self._replica, self._channel = self._replica, None, None
        if runner is not None:
            for site in list(runner.sites):
                await site.stop()
            for transport in self._transports(runner):
                abort(transport)
            await runner.cleanup()
            self._lookout.stop()
        if replica is not None:
            await replica.aclose()

    async def _leave(self, deadline: float) -> None:
        if self._replica is None or self._channel is None or self._runner is None:
            return
        for site in list(self._runner.sites):
            await site.stop()
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
        fault = self._plan.decide("server", Facts(), now)
        if isinstance(fault, Drain | Restart):
            self.suffer(fault)
        if self._timer is not None:
            self._timer.cancel()
        next_at = self._plan.next_change(now)
        if next_at is not None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(max(next_at - now, 0.0), self._check_faults)

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
