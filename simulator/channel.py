"""The channel: WebSocket connections that carry events (docs/protocol.md section 3).

A `Connection` has a reader, which is the handler of its request, and one writer task, which is
woken once for whatever happened in a pass of the loop. What to send is the `Outbox`'s business, how
to send it that of the `Line`.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from random import Random
from typing import Final

from aiohttp import WSMsgType, web

from simulator.faults import AcceptAndClose, Close, RefuseUpgrade, Reset
from simulator.gate import OWNER, Gate, refuse, shown_owner
from simulator.heartbeat import Heartbeat
from simulator.keys import owner_of
from simulator.line import Line, SlowPeer
from simulator.messages import (
    MAX_FRAME,
    MAX_JOBS,
    Auth,
    Authed,
    Drain,
    ErrorMessage,
    Hello,
    Ping,
    Pong,
    ProblemError,
    ServerMessage,
    Subscribe,
    Synced,
    Unsubscribe,
    Welcome,
    decode_client,
    encode,
)
from simulator.outbox import MAX_EVENTS, Outbox
from simulator.plan import Facts, FaultPlan
from simulator.plight import UNHARMED, Plight
from simulator.replica import Replica
from simulator.tamper import Sent, Tamper, framed
from simulator.terms import ChannelOptions, ChannelStats

__all__ = ["Channel", "ChannelOptions", "ChannelStats", "Connection"]

logger = logging.getLogger("simulator.channel")

_PATH: Final = "/events"
_CLIENTS_PER_SECOND: Final = 2000.0  # that may come back after a loss (docs/protocol.md 3.9)
_LEAST_SPREAD: Final = 0.25  # s
_SLOW: Final = "reads too slowly"
_MAX_WAITING: Final = 64  # answers that may wait for the writer before reading stops


class Channel:
    """All connections of a server.

    Args:
        replica: whose jobs they watch.
        gate: knows the keys.
        plan: asked for `upgrade`, `channel` and `event` faults.
        options: the terms.
        random: spreads pings and mixes up events.
        numbers: gives each connection its number.
    """

    def __init__(
        self,
        replica: Replica,
        *,
        gate: Gate,
        plan: FaultPlan,
        options: ChannelOptions,
        random: Random,
        numbers: Iterator[int],
    ) -> None:
        self.replica = replica
        self.gate = gate
        self.plan = plan
        self.options = options
        self.random = random
        self.frames = self.events = self.opened = 0
        self.closed: Counter[int] = Counter()
        self._numbers = numbers
        self._connections: dict[int, Connection] = {}

    @property
    def connections(self) -> list["Connection"]:
        """The connections that are open, the oldest first."""
        return list(self._connections.values())

    @property
    def transports(self) -> set[asyncio.Transport | None]:
        """What carries the connections that are open."""
        return {connection._line.transport for connection in self._connections.values()}

    @property
    def spread(self) -> float:
        """Seconds over which the clients should spread their return (docs/protocol.md 3.9)."""
        return max(_LEAST_SPREAD, len(self._connections) / _CLIENTS_PER_SECOND)

    def stats(self) -> ChannelStats:
        """Return the present numbers."""
        now_open, closed = len(self._connections), dict(self.closed)
        return ChannelStats(now_open, self.opened, self.frames, self.events, closed)

    def routes(self) -> list[web.RouteDef]:
        """Return the route of the channel."""
        return [web.get(_PATH, self.accept, allow_head=False)]

    async def accept(self, request: web.Request) -> web.StreamResponse:
        """Answer `GET /events`: open a connection and return when it is closed."""
        number = next(self._numbers)
        now = asyncio.get_running_loop().time()
        key = shown_owner(request)
        facts = Facts(path=_PATH, connection=number, direction="in", key=key)
        fault = self.plan.decide("upgrade", facts, now)
        if isinstance(fault, RefuseUpgrade):
            return refuse(fault.status, retry_after=fault.retry_after, as_date=fault.as_date)
        line = await Line.open(request, patience=self.options.patience)
        if isinstance(fault, AcceptAndClose):
            await line.close(fault.code, fault.reason)
            return line.response
        self.opened += 1
        connection = Connection(self, number, line, owner=request.get(OWNER), key=key)
        self._connections[number] = connection
        try:
            await connection.serve()
        finally:
            del self._connections[number]
            self.plan.forget("channel", number)
            connection.is_over.set()
        return line.response

    def check_faults(self) -> None:
        """Ask the plan anew for every connection."""
        for connection in self.connections:
            connection.check_faults()

    def drain(self, *, deadline: float, spread: float | None = None, reason: str = "") -> None:
        """Ask every present client to move; close those that are left at the deadline.

        Args:
            deadline: seconds.
            spread: seconds over which the clients should move; None for as many as their number
                asks for.
            reason: for people.
        """
        message = Drain(
            spread=self.spread if spread is None else spread, deadline=deadline, reason=reason
        )
        for connection in self.connections:
            connection.drain(message)


class Connection:
    """One client on the channel.

    Args:
        channel: to which it belongs.
        number: of the connection.
        line: to the client.
        owner: whose jobs it may watch; None until it has shown a key, and where none is asked for.
        key: the owner that its key stands for, known here or not; for the plan of faults.
    """

    def __init__(
        self, channel: Channel, number: int, line: Line, *, owner: str | None, key: str | None
    ) -> None:
        self.number = number
        self.is_over = asyncio.Event()
        """Set once the connection is closed."""
        self._channel = channel
        self._replica = channel.replica
        self._options = channel.options
        self._line = line
        self._owner = owner
        self._loop = asyncio.get_running_loop()
        leave = partial(self._replica.unsubscribe, subscriber=self)
        self._outbox = Outbox(self._replica.newer, on_final=leave)
        self._tamper = Tamper(channel.plan, number, channel.random)
        self._tamper.key = key
        self._plight = UNHARMED
        self._is_frozen = False
        self._answers: list[bytes] = []  # frames that are no events, a few; they go first
        self._farewell: tuple[int, str] | None = None
        self._stay = asyncio.timeout(None)  # ends the reader when the connection shall end
        self._is_greeted = False
        self._drain: Drain | None = None
        self._work = asyncio.Event()
        self._room = asyncio.Event()
        self._opened_at = self._loop.time()
        self._heartbeat = self._new_heartbeat()
        self._pings = 0
        self._timers: dict[str, asyncio.TimerHandle] = {}

    @property
    def jobs(self) -> list[str]:
        """The jobs that this client has subscribed."""
        return self._outbox.jobs

    # -- life ---------------------------------------------------------------------------------

    async def serve(self) -> None:
        """Talk to the client until either side ends it."""
        logger.info("channel %d: open", self.number)
        self._at("hello", self._options.hello, self.finish, 4008, "say hello")
        writer = asyncio.create_task(self._write(), name=f"simulator.channel.{self.number}")
        try:
            with suppress(TimeoutError):
                async with self._stay:
                    self.check_faults()
                    await self._read()
        finally:
            for timer in self._timers.values():
                timer.cancel()
            for job_id in self._outbox.jobs:
                self._replica.unsubscribe(job_id, self)
            writer.cancel()
            await asyncio.gather(writer, return_exceptions=True)
        await self._say_farewell()
        logger.info("channel %d: closed, %s", self.number, self._farewell or self._line.close_code)

    def finish(self, code: int, reason: str = "") -> None:
        """Close the connection; the first reason to do so counts."""
        if self._farewell is None:
            self._farewell = (code, reason)
            self._leave()

    def reset(self) -> None:
        """Abort the socket (RST)."""
        self._line.reset()

    def drain(self, message: Drain) -> None:
        """Ask the client to move, and close at the deadline."""
        self._drain = message
        if self._is_greeted:  # else it follows the welcome, before which nothing counts
            self._answer(message)
        self._at("drain", message.deadline, self.finish, 1012, message.reason)

    def notify(self, job_id: str) -> None:
        """Note that a job has something newer."""
        self._outbox.mark(job_id)
        self._work.set()

    def check_faults(self) -> None:
        """Ask the plan what this connection shall suffer from now on."""
        now = self._loop.time()
        facts = Facts(path=_PATH, connection=self.number, key=self._tamper.key)
        strikes = self._channel.plan.standing("channel", facts, now)
        if not strikes and self._plight == UNHARMED:
            return
        before = self._plight
        self._plight = Plight.of(strikes, opened_at=self._opened_at, now=now)
        if self._plight.changes_at is not None:
            self._at("fault", self._plight.changes_at - now, self.check_faults)
        self._mute(self._plight.is_muted)
        if self._plight.held != before.held:
            self._line.hold(self._plight.held)
            self._heartbeat.heard(now)  # it could not be heard while nobody listened
        match self._plight.end:
            case Close(code=code, reason=reason):
                self.finish(code, reason)
            case Reset():
                self.reset()

    def freeze(self, *, is_frozen: bool) -> None:
        """Neither ping nor miss the client while nothing passes, or do so again."""
        self._is_frozen = is_frozen
        self._heartbeat.heard(self._loop.time())

    def _mute(self, is_muted: bool) -> None:
        if is_muted:
            self._outbox.is_muted = True
        elif self._outbox.is_muted:
            self._outbox.unmute()
            self._work.set()

    def _leave(self) -> None:
        with suppress(RuntimeError):  # the reader has ended already
            self._stay.reschedule(self._loop.time())

    async def _say_farewell(self) -> None:
        if self._farewell is not None and self._line.close_code is None:
            # Counted first: a peer that reads nothing may be cut off before it is closed.
            self._channel.closed[self._farewell[0]] += 1
            await self._line.close(*self._farewell)

    def _at(self, name: str, delay: float, callback: Callable[..., object], *args: object) -> None:
        """Arm the one timer of this name."""
        if name in self._timers:
            self._timers[name].cancel()
        self._timers[name] = self._loop.call_later(delay, callback, *args)

    # -- what comes in ------------------------------------------------------------------------

    async def _read(self) -> None:
        """Obey the client until it leaves."""
        while True:
            message = await self._line.receive()
            self._heartbeat.heard(self._loop.time())
            match message.type:
                case WSMsgType.TEXT:
                    self._received(message.data)
                case WSMsgType.PING if self._plight.answers_pings:
                    try:
                        await self._line.pong(message.data)
                    except SlowPeer:
                        self.finish(4001, _SLOW)
                case WSMsgType.PING | WSMsgType.PONG:
                    pass
                case WSMsgType.BINARY:
                    self.finish(4500, "frames are text")
                case _:
                    return
            if self._plight.pause:
                await asyncio.sleep(self._plight.pause)
            while len(self._answers) + self._outbox.syncs > _MAX_WAITING:
                self._room.clear()
                await self._room.wait()

    def _received(self, frame: str) -> None:
        try:
            message = decode_client(frame)
        except ValueError as error:
            self.finish(4500, str(error))
            return
        has_key = isinstance(message, Hello | Auth)
        logger.debug("channel %d < %s", self.number, type(message).__name__ if has_key else frame)
        if not self._is_greeted and not isinstance(message, Hello | None):
            self.finish(4500, "hello comes first")
            return
        match message:
            case Hello():
                self._greet(message)
            case Subscribe():
                self._subscribe(message)
            case Unsubscribe():
                self._unsubscribe(*message.jobs)
            case Auth():
                if self._is_admitted(message.token):
                    self._answer(Authed(id=message.id))
            case Pong() | None:
                pass  # any frame is a sign of life; unknown types are ignored

    def _greet(self, hello: Hello) -> None:
        if self._channel.gate.asks_for_keys and self._owner is None:
            if not hello.token:
                self.finish(4501, "send a key in the header or in hello")
                return
            if not self._is_admitted(hello.token):
                return
        if self._is_greeted:
            return
        self._is_greeted = True
        if hello.token:
            self._tamper.key = owner_of(hello.token)
            self.check_faults()
        self._timers.pop("hello").cancel()
        welcome = Welcome(
            epoch=self._replica.epoch,
            ping=self._options.ping,
            grace=self._options.grace,
            spread=self._channel.spread,
            max_jobs=MAX_JOBS,
            max_frame=MAX_FRAME,
            replica=self._replica.name,
        )
        self._answer(welcome)
        if self._drain is not None:
            self._answer(self._drain)
        self._heartbeat = self._new_heartbeat()
        self._beat()

    def _is_admitted(self, token: str) -> bool:
        """Tell whether the key is good for this connection; close it if not."""
        if not self._channel.gate.asks_for_keys:
            return True
        try:
            owner = self._channel.gate.owner_of(token)
        except (ProblemError, ValueError):
            self.finish(4501, "this key is not known")
            return False
        if self._owner not in (None, owner):
            self.finish(4503, "this key is another one's")
            return False
        self._owner = owner
        return True

    def _subscribe(self, request: Subscribe) -> None:
        if len(request.jobs) > MAX_JOBS:
            text = f"Subscribe at most {MAX_JOBS:,} jobs in one frame."
            self._answer(ErrorMessage(id=request.id, code="too_large", message=text))
            return
        if self._outbox.would_hold(request.jobs.keys()) > self._options.max_subscriptions:
            self.finish(4510, "too many subscriptions")
            return
        errors: dict[str, str] = {}
        for job_id, known in request.jobs.items():
            self._unsubscribe(job_id)  # what comes now replaces it, be it an error
            try:
                head = self._replica.head(job_id, owner=self._owner)
            except ProblemError as error:
                errors[job_id] = error.problem.code
                continue
            version = known if request.epoch == self._replica.epoch else 0
            if head.is_final and head.version <= version:
                continue  # nothing will ever come
            self._outbox.subscribe(job_id, version, request.mode)
            self._tamper.subscribed(job_id)
            self._replica.subscribe(job_id, self)
        self._outbox.sync(request.id, errors)
        self._work.set()

    def _unsubscribe(self, *job_ids: str) -> None:
        for job_id in job_ids:
            if self._outbox.unsubscribe(job_id):
                self._replica.unsubscribe(job_id, self)

    # -- what goes out ------------------------------------------------------------------------

    def _answer(self, message: ServerMessage) -> None:
        self._answers.append(encode(message))
        self._work.set()

    async def _write(self) -> None:
        """Send whatever there is, whenever there is something."""
        try:
            while True:
                await self._work.wait()
                self._work.clear()
                await self._flush()
        except SlowPeer:
            self.finish(4001, _SLOW)
        except ConnectionError:
            self._leave()
        except Exception:
            logger.exception("channel %d: the writer failed", self.number)
            self.finish(4050, "server error")

    async def _flush(self) -> None:
        while True:
            while self._answers:
                await self._send(self._answers.pop(0))
            batch = self._outbox.take()
            if isinstance(batch, Synced):
                await self._send(encode(batch))
                continue
            now = self._loop.time()
            events = self._tamper.due(now)
            if batch and self._tamper.is_idle:
                events += [event.encoded for event in batch]
            elif batch:
                events += self._tamper.admit(batch, now)
            if not events and not batch:
                break
            await self._send_all(events)
        due_at = self._tamper.due_at()
        if due_at is not None:
            self._at("tamper", due_at - self._loop.time(), self._work.set)

    async def _send_all(self, sent: list[Sent]) -> None:
        """Send events, as many in a frame as may be, and frames of their own in between."""
        for raw in framed(sent, MAX_EVENTS):
            self._channel.events += raw.events
            await self._send(raw.frame, is_binary=raw.is_binary)

    async def _send(self, frame: bytes, *, is_binary: bool = False) -> None:
        logger.debug("channel %d > %s", self.number, frame)
        await self._line.send(frame, is_binary=is_binary)
        self._heartbeat.sent(self._loop.time())
        self._channel.frames += 1
        self._room.set()

    def _new_heartbeat(self) -> Heartbeat:
        # A random phase keeps the pings of clients that came together apart.
        phase = self._channel.random.random()
        ping, grace = self._options.ping, self._options.grace
        return Heartbeat(ping, grace, now=self._loop.time(), phase=phase)

    def _beat(self) -> None:
        """Ping if it is time, and leave a client that does not answer."""
        now = self._loop.time()
        if self._is_frozen or not self._plight.pings:
            self._at("ping", self._options.ping, self._beat)
            return
        match self._heartbeat.beat(now):
            case "ping":
                self._pings += 1
                self._answer(Ping(n=self._pings, spread=self._channel.spread))
            case "dead":
                self.finish(4002, "no pong")
                return
        self._at("ping", self._heartbeat.next_at - now, self._beat)
