"""The socket of one connection of the channel: frames, flow control, and faults of the socket."""

import asyncio
from contextlib import suppress
from typing import Final, Self

from aiohttp import WSMessage, WSMsgType, web
from aiohttp.abc import AbstractStreamWriter

from simulator.faults import Direction
from simulator.link import abort
from simulator.messages import MAX_FRAME, SUBPROTOCOL, ProblemError

__all__ = ["Line", "SlowPeer"]

_CLOSING: Final = 1.0  # s for the peer to answer a close
_LOOKS: Final = 60  # at the progress of a slow peer, in the time that it may make none
_UNLIMITED: Final = 1 << 62  # bytes; the writer of aiohttp shall not wait, flow control is ours


class SlowPeer(Exception):
    """Signal that the peer takes nothing any more."""


class Line:
    """Send and receive frames.

    Args:
        request: that was upgraded.
        ws: what it was upgraded to.
        flow: tells when the peer has taken enough.
        patience: seconds that the peer may take nothing while frames wait for it.
    """

    def __init__(
        self,
        request: web.Request,
        ws: web.WebSocketResponse,
        flow: AbstractStreamWriter,
        *,
        patience: float,
    ) -> None:
        self._request = request
        self._ws = ws
        self._flow = flow
        self._patience = patience
        # Empty as a rule, and so made when needed: each event has a deque of 760 bytes.
        self._barriers: dict[Direction, asyncio.Event] = {}
        self._is_stuck = False  # whether the peer has taken nothing for so long that it is given up

    @classmethod
    async def open(cls, request: web.Request, *, patience: float) -> Self:
        """Upgrade a request; a client that offers only other subprotocols is closed with 4505.

        Args:
            request: that asks for it.
            patience: as above.

        Raises:
            ProblemError: `bad_request`, it does not ask for a WebSocket.
        """
        ws: web.WebSocketResponse = web.WebSocketResponse(
            timeout=_CLOSING,
            autoping=False,
            protocols=(SUBPROTOCOL,),
            compress=False,
            max_msg_size=MAX_FRAME,
            writer_limit=_UNLIMITED,
        )
        try:
            is_upgrade = bool(ws.can_prepare(request))
        except ValueError:  # aiohttp expects a Sec-WebSocket-Key to be ASCII
            is_upgrade = False
        if not is_upgrade:
            raise ProblemError("bad_request", f"{request.path} is a WebSocket; upgrade to it.")
        flow = await ws.prepare(request)
        line = cls(request, ws, flow, patience=patience)
        if ws.ws_protocol is None and "Sec-WebSocket-Protocol" in request.headers:
            await line.close(4505, f"this server speaks {SUBPROTOCOL}")
        return line

    @property
    def response(self) -> web.StreamResponse:
        """What the handler of the request returns once the connection is closed."""
        return self._ws

    @property
    def held(self) -> frozenset[Direction]:
        """The ways in which nothing passes."""
        return frozenset(self._barriers)

    @property
    def transport(self) -> asyncio.Transport | None:
        """What carries the frames; None once the connection is gone."""
        return self._request.transport

    @property
    def close_code(self) -> int | None:
        """The code with which the connection was closed; None while it is open."""
        return self._ws.close_code

    def hold(self, ways: frozenset[Direction]) -> None:
        """Let nothing pass in these ways from now on, and everything in the others."""
        for way in ways - self._barriers.keys():
            self._barriers[way] = asyncio.Event()
        for way in self._barriers.keys() - ways:
            self._barriers.pop(way).set()
        transport = self._request.transport
        if transport is not None and "in" in ways:
            transport.pause_reading()
        elif transport is not None:
            transport.resume_reading()

    async def receive(self) -> WSMessage:
        """Return the next frame."""
        message: WSMessage = await self._ws.receive()
        await self._passed("in")
        return message

    async def send(self, frame: bytes, *, is_binary: bool = False) -> None:
        """Send a frame, as soon as the peer has taken the ones before.

        Args:
            frame: its payload.
            is_binary: whether it is a binary frame instead of a text frame.

        Raises:
            SlowPeer: it takes nothing for `patience` seconds.
            ConnectionError: it is gone.
        """
        await self._passed("out")
        if self._request.protocol.writing_paused:
            await self._drained()
        await self._ws.send_frame(frame, WSMsgType.BINARY if is_binary else WSMsgType.TEXT)

    async def pong(self, payload: bytes) -> None:
        """Answer a ping of the WebSocket protocol itself.

        Whoever pings without reading is read no further, or the answers would fill the memory.

        Raises:
            SlowPeer: it takes nothing for `patience` seconds.
        """
        with suppress(ConnectionError):
            if self._request.protocol.writing_paused:
                await self._drained()
            await self._ws.pong(payload)

    async def close(self, code: int, reason: str) -> bool:
        """Close the connection; abort it if the peer does not answer.

        Returns:
            Whether it was open.
        """
        if self._ws.closed:
            return False
        if self._is_stuck or "out" in self._barriers:
            self.reset()
            return True
        try:
            async with asyncio.timeout(_CLOSING):
                await self._ws.close(code=code, message=_cut(reason), drain=False)
        except TimeoutError:
            self.reset()
        return True

    def reset(self) -> None:
        """Abort the socket (RST)."""
        if self._request.transport is not None:
            abort(self._request.transport)

    async def _passed(self, way: Direction) -> None:
        while (barrier := self._barriers.get(way)) is not None:
            await barrier.wait()

    async def _drained(self) -> None:
        # One wait that outlives each look at the clock: a cancelled drain of aiohttp cancels the
        # future that all later drains of the connection wait for.
        draining = asyncio.ensure_future(self._flow.drain())
        try:
            left, looks = self._waiting(), 0
            while not (await asyncio.wait({draining}, timeout=self._patience / _LOOKS))[0]:
                before, left = left, self._waiting()
                looks = 0 if left < before or "out" in self._barriers else looks + 1
                if looks == _LOOKS:
                    self._is_stuck = True
                    raise SlowPeer
            draining.result()
        finally:
            draining.cancel()
            await asyncio.gather(draining, return_exceptions=True)

    def _waiting(self) -> int:
        """Return how many bytes the kernel has not taken yet."""
        transport = self._request.transport
        return 0 if transport is None else transport.get_write_buffer_size()


def _cut(reason: str) -> bytes:
    """Return a reason that fits a close frame (RFC 6455 section 5.5: 125 bytes with the code)."""
    return reason.encode()[:123].decode(errors="ignore").encode()
