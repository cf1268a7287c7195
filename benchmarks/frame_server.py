"""The fastest server of the channel: every frame is encoded before the clock starts.

It runs as a process of its own, `python -m benchmarks.frame_server`, and serves one client at a
time. After a line on its standard input it sends versions 2 and up of every job: as fast as the
client reads, or one event every few milliseconds. Then it prints when it sent each event.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import time
from collections.abc import Iterator

import msgspec
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

from benchmarks.documents import (
    EPOCH,
    events_frames,
    job_ids,
    message_frame,
    status_document,
)

__all__ = ["main"]

_CHUNK = 65_536
"""Bytes that are written at once, about what a busy server has ready in one pass of its loop."""

_WELCOME = {"type": "welcome", "epoch": EPOCH, "ping": 30, "grace": 30, "spread": 0.25}


class _Script:
    """What is sent, and how fast.

    Args:
        jobs: How many jobs there are.
        last: Version with which each ends.
        per_frame: How many events a frame carries.
        interval: Mean seconds between two frames; 0 is as fast as they are read.
    """

    def __init__(self, jobs: int, last: int, per_frame: int, interval: float) -> None:
        self.jobs = job_ids(jobs)
        self.last = last
        self.interval = interval
        self.frames = list(events_frames(self.jobs, last, per_frame))
        self.chunks = self.frames if interval else list(_joined(self.frames))


def _joined(frames: list[bytes]) -> Iterator[bytes]:
    chunk = bytearray()
    for frame in frames:
        chunk += frame
        if len(chunk) >= _CHUNK:
            yield bytes(chunk)
            chunk.clear()
    yield bytes(chunk)


class _Connection(asyncio.Protocol):
    """One client."""

    def __init__(self, script: _Script, current: list[_Connection]) -> None:
        self._script = script
        self._current = current
        self._websocket = ServerProtocol(subprotocols=[Subprotocol("vtrans.v1")])
        self._room = asyncio.Event()
        self._room.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport), "it is a TCP connection"
        self._transport = transport
        self._current[:] = [self]

    def pause_writing(self) -> None:
        self._room.clear()

    def resume_writing(self) -> None:
        self._room.set()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # asyncio's signature
        self._room.set()

    def data_received(self, data: bytes) -> None:
        self._websocket.receive_data(data)
        for event in self._websocket.events_received():
            if isinstance(event, Request):
                self._websocket.send_response(self._websocket.accept(event))
            elif isinstance(event, Frame) and event.opcode is Opcode.TEXT:
                self._answer(msgspec.json.decode(event.data))
        for output in self._websocket.data_to_send():
            self._transport.write(output)

    def _answer(self, message: dict[str, object]) -> None:
        match message:
            case {"type": "hello"}:
                self._transport.write(message_frame(_WELCOME))
            case {"type": "subscribe", "id": number, "jobs": dict(jobs)}:
                last = self._script.last
                events = [status_document(job_id, 1, last) for job_id in jobs]
                for start in range(0, len(events), 64):
                    batch = events[start : start + 64]
                    self._transport.write(message_frame({"type": "events", "events": batch}))
                self._transport.write(message_frame({"type": "synced", "id": number}))

    async def play(self) -> list[float]:
        """Send the script; return the monotonic time at which each chunk left."""
        times = []
        for chunk in self._script.chunks:
            if self._script.interval:
                await asyncio.sleep(self._script.interval * (0.5 + random.random()))
            elif not self._room.is_set():
                await self._room.wait()
            if self._transport.is_closing():
                break
            times.append(time.monotonic())
            self._transport.write(chunk)
        return times


async def _serve(script: _Script) -> None:
    loop = asyncio.get_running_loop()
    current: list[_Connection] = []
    server = await loop.create_server(lambda: _Connection(script, current), "127.0.0.1", 0)
    commands = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    port = server.sockets[0].getsockname()[1]
    print(f"http://127.0.0.1:{port}", flush=True)
    while await commands.readline():
        print(msgspec.json.encode(await current[0].play()).decode(), flush=True)


def main() -> None:
    """Serve until the standard input ends."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--last", type=int, default=100)
    parser.add_argument("--per-frame", type=int, default=1)
    parser.add_argument("--interval", type=float, default=0.0)
    options = parser.parse_args()
    script = _Script(options.jobs, options.last, options.per_frame, options.interval)
    asyncio.run(_serve(script))


if __name__ == "__main__":
    main()
