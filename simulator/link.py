"""A TCP connection of the server, between the transport of its socket and whoever serves it.

As long as nothing is wrong bytes pass straight through. It works with every transport of asyncio,
so the faults of the link are the same on real sockets and in the virtual network.
"""

import asyncio
import socket
import struct
from collections.abc import Callable, Iterable
from contextlib import suppress
from random import Random
from typing import Any, Final, cast

from simulator.faults import (
    Bandwidth,
    Blackhole,
    Corrupt,
    Direction,
    Fault,
    Lag,
    LimitData,
    ResetPeer,
    Slicer,
    SlowClose,
    Stall,
    Timeout,
)
from simulator.lane import CLEAR, Lane, Shape
from simulator.plan import Applies, Facts, FaultPlan, Strike

__all__ = ["Link", "abort"]

_ABORT: Final = struct.pack("ii", 1, 0)  # SO_LINGER on, 0 s: closing sends RST
_HIGH_WATER: Final = 65_536  # bytes on their way above which the sender is told to wait
_WAYS: Final[tuple[Direction, ...]] = ("in", "out")

Buffer = bytes | bytearray | memoryview


class Link(asyncio.Protocol):
    """One connection.

    Args:
        number: of the connection.
        inner: whoever serves it.
        plan: asked for `link` faults.
        on_over: called once, when `inner` has lost it.
    """

    __slots__ = (
        "_born_under",
        "_inner",
        "_is_closing",
        "_is_inner_paused",
        "_is_lost",
        "_is_over",
        "_is_real_full",
        "_is_told_to_wait",
        "_lanes",
        "_left",
        "_on_over",
        "_path",
        "_plan",
        "_strikes",
        "_timers",
        "_transport",
        "clogs",
        "loop",
        "number",
    )

    def __init__(
        self,
        number: int,
        inner: asyncio.BaseProtocol,
        *,
        plan: FaultPlan,
        on_over: "Callable[[Link], None]",
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.number = number
        self.clogs: frozenset[str] = frozenset()
        """Why nothing passes, beside the faults of the plan; see `clog`."""
        self._inner: Any = inner  # duck typing is part of asyncio's contract
        self._plan = plan
        self._on_over = on_over
        self._transport: asyncio.Transport | None = None
        self._path: str | None = None
        self._strikes: list[Strike] = []
        self._lanes: dict[Direction, Lane] = {}  # empty as long as nothing was ever wrong
        self._left: dict[tuple[int, Direction], int] = {}  # bytes that a rule still lets pass
        self._timers: dict[int, asyncio.TimerHandle] = {}
        self._born_under: frozenset[int] = frozenset()  # the rules that held when it was opened
        self._is_closing = self._is_lost = self._is_over = False
        self._is_inner_paused = self._is_real_full = self._is_told_to_wait = False

    # -- what the transport of the socket calls -----------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Hand the connection on."""
        transport = cast("asyncio.Transport", transport)  # other loops bring classes of their own
        self._transport = transport
        self._born_under = self._plan.in_force("link", self.loop.time())
        self._inner.connection_made(_Wire(self, transport))
        self.check_faults()

    def data_received(self, data: bytes) -> None:
        """Hand on what the client sent, sooner or later."""
        if self._path is None:
            self._path = _path_of(data)
            self.check_faults()
        if self._is_closing:
            return
        lane = self._lanes.get("in")
        if lane is None or (lane.is_clear and not self._left):
            self._inner.data_received(data)
        else:
            lane.put(bytes(data))
            self._regulate()

    def eof_received(self) -> bool | None:
        """Hand on that the client sends no more."""
        lane = self._lanes.get("in")
        if lane is None or lane.is_clear:
            is_kept: bool | None = self._inner.eof_received()
            return is_kept
        lane.then(self._hand_on_eof)
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """Hand on that the connection is gone, behind what came before."""
        self._is_lost = True
        if "out" in self._lanes:
            self._lanes["out"].drop()
        lane = self._lanes.get("in")
        if lane is None or lane.is_clear or self._is_closing:
            self._lose(exc)
        else:
            lane.then(lambda: self._lose(exc))

    def pause_writing(self) -> None:
        """Note that the socket takes nothing at present."""
        self._is_real_full = True
        self._regulate()

    def resume_writing(self) -> None:
        """Note that it does again."""
        self._is_real_full = False
        self._regulate()

    # -- faults -------------------------------------------------------------------------------

    def check_faults(self) -> None:
        """Ask the plan what this connection shall suffer from now on."""
        if not (self._strikes or self._plan.asks("link")):
            return
        facts = Facts(path=self._path, connection=self.number)
        now = self.loop.time()
        self._strikes = self._plan.standing("link", facts, now, applies=self._applies())
        rules = {strike.rule for strike in self._strikes}
        for gone in self._timers.keys() - rules:
            self._timers.pop(gone).cancel()
        self._left = {key: left for key, left in self._left.items() if key[0] in rules}
        for strike in self._strikes:
            self._begin(strike)
        self._reshape()

    def clog(self, reason: str, *, is_clogged: bool) -> None:
        """Let nothing pass for a reason of its own, or let that go."""
        self.clogs = self.clogs | {reason} if is_clogged else self.clogs - {reason}
        self._reshape()

    def reset(self) -> None:
        """End the connection now (RST)."""
        self._cancel_timers()
        if self._transport is not None and not self._is_lost:
            for lane in self._lanes.values():
                lane.drop()
            self._is_closing = True
            abort(self._transport)
        else:
            self._lose(None)

    def _applies(self) -> Applies:
        """Return what tells of a fault whether it is too late for it."""
        return lambda rule, fault: rule in self._born_under or not isinstance(fault, Blackhole)

    def _begin(self, strike: Strike) -> None:
        """Begin what a fault does once, or after a while."""
        match strike.fault:
            case LimitData(bytes=limit):
                for way in _ways(strike):
                    self._left.setdefault((strike.rule, way), limit)
            case Timeout(seconds=seconds) if seconds and strike.rule not in self._timers:
                self._timers[strike.rule] = self.loop.call_later(seconds, self._end)
            case ResetPeer(seconds=seconds) if strike.rule not in self._timers:
                self._timers[strike.rule] = self.loop.call_later(seconds, self.reset)

    def _reshape(self) -> None:
        for way in _WAYS:
            shape = _shape_of(s.fault for s in self._strikes if way in _ways(s))
            shape = shape._replace(is_held=shape.is_held or bool(self.clogs))
            lane = self._lanes.get(way)
            if lane is None and (shape != CLEAR or self._left):
                lane = self._lanes[way] = self._new_lane(way)
            if lane is not None:
                lane.reshape(shape)

    def _new_lane(self, way: Direction) -> Lane:
        deliver = self._hand_in if way == "in" else self._hand_out
        random = Random(f"{self._plan.seed}:link:{self.number}:{way}")
        lane = Lane(self.loop, deliver, random, self._regulate)
        lane.is_blocked = way == "in" and self._is_inner_paused
        return lane

    def _end(self) -> None:
        """End the connection now (FIN), whatever is on its way."""
        for lane in self._lanes.values():
            lane.drop()
        self._is_closing = True
        if self._transport is not None:
            self._transport.close()

    # -- what the transport of `inner` asks for -----------------------------------------------

    def write(self, data: Buffer) -> None:
        """Send bytes, sooner or later."""
        assert self._transport is not None
        lane = self._lanes.get("out")
        if self._is_closing:
            return
        if lane is None or self._is_lost or (lane.is_clear and not self._left):
            self._transport.write(data)  # a lost transport says so itself
        else:
            lane.put(bytes(data))
            self._regulate()

    def close(self) -> None:
        """Close in order: what was written goes out first."""
        assert self._transport is not None
        if self._is_lost:
            self.loop.call_soon(self._lose, None)
        elif not self._is_closing:
            self._is_closing = True
            lane = self._lanes.get("out")
            if lane is None:
                self._transport.close()
            else:
                lane.then(self._transport.close)

    def abort(self) -> None:
        """Close at once."""
        assert self._transport is not None
        self._is_closing = True
        for lane in self._lanes.values():
            lane.drop()
        if self._is_lost:
            self.loop.call_soon(self._lose, None)
        else:
            self._transport.abort()

    def pause_reading(self, *, is_paused: bool) -> None:
        """Hand nothing on for the time being, or go on."""
        self._is_inner_paused = is_paused
        lane = self._lanes.get("in")
        if lane is not None:
            lane.is_blocked = is_paused
            lane.pump()
        self._regulate()

    @property
    def is_closing(self) -> bool:
        """Whether it is closed, or about to be."""
        return self._is_closing or self._is_lost

    @property
    def is_inner_paused(self) -> bool:
        """Whether whoever serves the connection wants to read nothing at present."""
        return self._is_inner_paused

    @property
    def waiting(self) -> int:
        """Bytes that were written and have not reached the transport of the socket."""
        return self._lanes["out"].waiting if "out" in self._lanes else 0

    @property
    def inner(self) -> Any:
        """Whoever serves the connection."""
        return self._inner

    @inner.setter
    def inner(self, protocol: asyncio.BaseProtocol) -> None:
        self._inner = protocol

    # -- private methods ----------------------------------------------------------------------

    def _hand_in(self, data: bytes) -> None:
        data = self._limited("in", data)
        if data and not self._is_closing:
            self._inner.data_received(data)

    def _hand_out(self, data: bytes) -> None:
        data = self._limited("out", data)
        if data and self._transport is not None:
            self._transport.write(data)

    def _limited(self, way: Direction, data: bytes) -> bytes:
        """Return as much as the limits let pass; end the connection once one is reached."""
        for key, left in self._left.items():
            if key[1] != way:
                continue
            self._left[key] = left - len(data)
            if left <= len(data):
                data = data[: max(left, 0)]
                self.loop.call_soon(self._end)
        return data

    def _hand_on_eof(self) -> None:
        if not self._inner.eof_received():
            self.close()

    def _lose(self, exc: Exception | None) -> None:
        if self._is_over:
            return
        self._is_over = self._is_lost = True
        self._cancel_timers()
        for lane in self._lanes.values():
            lane.drop()
        self._on_over(self)
        self._inner.connection_lost(exc)

    def _cancel_timers(self) -> None:
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    def _regulate(self) -> None:
        """Tell whoever sends too much to wait."""
        must_wait = self._is_real_full or self.waiting > _HIGH_WATER
        if must_wait != self._is_told_to_wait and not self._is_over:
            self._is_told_to_wait = must_wait
            (self._inner.pause_writing if must_wait else self._inner.resume_writing)()
        lane = self._lanes.get("in")
        is_full = lane is not None and lane.waiting > _HIGH_WATER
        if self._transport is None or self._transport.is_closing():
            return
        if self._is_inner_paused or is_full:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()


class _Wire(asyncio.Transport):
    """The transport that `inner` sees: that of the socket, with the link in between."""

    __slots__ = ("_link", "_real")

    def __init__(self, link: Link, transport: asyncio.Transport) -> None:
        super().__init__()
        self._link = link
        self._real = transport

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._link.reset if name == "reset" else self._real.get_extra_info(name, default)

    def write(self, data: Buffer) -> None:
        self._link.write(data)

    def writelines(self, list_of_data: Iterable[Buffer]) -> None:
        self._link.write(b"".join(list_of_data))

    def can_write_eof(self) -> bool:
        return False

    def close(self) -> None:
        self._link.close()

    def abort(self) -> None:
        self._link.abort()

    def is_closing(self) -> bool:
        return self._link.is_closing or self._real.is_closing()

    def pause_reading(self) -> None:
        self._link.pause_reading(is_paused=True)

    def resume_reading(self) -> None:
        self._link.pause_reading(is_paused=False)

    def is_reading(self) -> bool:
        return not self._link.is_inner_paused and not self.is_closing()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._real.set_write_buffer_limits(high, low)

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return self._real.get_write_buffer_limits()

    def get_write_buffer_size(self) -> int:
        return self._real.get_write_buffer_size() + self._link.waiting

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._link.inner = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        protocol: asyncio.BaseProtocol = self._link.inner
        return protocol


def abort(transport: asyncio.WriteTransport) -> None:
    """Close a transport so that its peer sees a reset, not an end."""
    reset = transport.get_extra_info("reset")
    if reset is not None:  # a link, or a connection of the virtual network, which has no socket
        reset()
        return
    sock = transport.get_extra_info("socket")
    if sock is not None:
        with suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)
    transport.abort()


def _ways(strike: Strike) -> tuple[Direction, ...]:
    return _WAYS if strike.direction is None else (strike.direction,)


def _shape_of(faults: Iterable[Fault]) -> Shape:
    """Return how bytes pass under several faults at once."""
    shape = CLEAR
    for fault in faults:
        match fault:
            case Stall() | Timeout() | Blackhole():
                shape = shape._replace(is_held=True)
            case Lag(seconds=seconds, jitter=jitter):
                shape = shape._replace(lag=shape.lag + seconds, jitter=shape.jitter + jitter)
            case Bandwidth(bytes_per_second=rate):
                shape = shape._replace(rate=min(rate, shape.rate or rate))
            case Slicer(size=size, pause=pause):
                shape = shape._replace(size=min(size, shape.size or size), pause=pause)
            case Corrupt(share=share):
                shape = shape._replace(damage=max(share, shape.damage))
            case SlowClose(seconds=seconds):
                shape = shape._replace(end_delay=max(seconds, shape.end_delay))
    return shape


def _path_of(data: bytes) -> str:
    """Return the path of the request that begins here; empty if its first line is not whole."""
    line, end, _ = bytes(data[:8192]).partition(b"\r\n")
    words = line.split(b" ") if end else []
    return words[1].partition(b"?")[0].decode("latin-1") if len(words) > 1 else ""
