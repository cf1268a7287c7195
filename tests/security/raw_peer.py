"""Connections of raw bytes, for callers who do what no client would do."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final
from urllib.parse import urlsplit
from zlib import compressobj

__all__ = ["MEGABYTE", "STEP", "Peer", "bomb", "connected", "frame"]

MEGABYTE: Final = 2**20

STEP: Final = 0.5
"""Seconds between two drips."""

_BUFFER: Final = 65_536  # bytes that the kernel takes for whoever does not read


class Peer:
    """One raw connection to the server.

    Args:
        host: of the server, as it goes into the header Host.
        reader: of the connection.
        writer: of the connection.
    """

    def __init__(
        self, host: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.host = host
        self.said = b""
        """The beginning of what the server said."""
        self.began_at = asyncio.get_running_loop().time()
        """When it began to misbehave."""
        self._reader = reader
        self._writer = writer

    async def send(self, *parts: bytes) -> None:
        """Send bytes; wait while the server takes none."""
        for part in parts:
            self._writer.write(part)
            await self._writer.drain()

    async def request(self, line: str, *headers: str, body: bytes = b"") -> None:
        """Send a request with a header Host."""
        lines = [f"{line} HTTP/1.1", f"Host: {self.host}", *headers, "", ""]
        await self.send("\r\n".join(lines).encode() + body)

    async def upgrade(self) -> None:
        """Open the channel."""
        key = base64.b64encode(os.urandom(16)).decode()
        await self.request(
            "GET /events",
            "Connection: Upgrade",
            "Upgrade: websocket",
            "Sec-WebSocket-Version: 13",
            f"Sec-WebSocket-Key: {key}",
            "Sec-WebSocket-Protocol: vtrans.v1",
        )
        head = await self._reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101"), head

    async def greet(self) -> None:
        """Open the channel and say hello."""
        await self.upgrade()
        await self.send(frame(b'{"type":"hello"}'))

    async def order(self, languages: int) -> list[str]:
        """Order a job for each language, bulky ones that never end, and return their ids."""
        order = {
            "video_url": "https://example.com/talk.mp4",
            "languages": [str(number) for number in range(languages)],
            "script": [{"at": 0, "state": "running", "result_url": "x" * 1000}] * 60,
        }
        body = json.dumps(order).encode()
        await self.request("POST /jobs", f"Content-Length: {len(body)}", body=body)
        head = await self._reader.readuntil(b"\r\n\r\n")
        [length] = [line for line in head.lower().split(b"\r\n") if b"content-length" in line]
        answer = await self._reader.readexactly(int(length.partition(b":")[2]))
        return [job["job_id"] for job in json.loads(answer)["jobs"]]

    async def take(self, most: int) -> bytes:
        """Read some bytes.

        Raises:
            EOFError: there are none any more.
        """
        chunk = await self._reader.read(most)
        if not chunk:
            raise EOFError
        return chunk

    async def hear_out(self) -> None:
        """Read until the server ends the connection."""
        while chunk := await self._reader.read(MEGABYTE):
            self.said = (self.said + chunk)[:65536]

    async def drip(self, *parts: bytes) -> None:
        """Send parts, a bit of time between them, the last one again and again."""
        for part in parts:
            await self.send(part)
            await asyncio.sleep(STEP)
        while True:
            await self.send(parts[-1])
            await asyncio.sleep(STEP)

    def stop_reading(self) -> None:
        """Let what the server sends wait; the time is counted from now on."""
        self.began_at = asyncio.get_running_loop().time()
        self._writer.transport.pause_reading()  # type: ignore[attr-defined]
        if (kernel := self._writer.get_extra_info("socket")) is not None:
            kernel.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)


def frame(payload: bytes, *, first: int = 0x81, mask: bool = True, claims: int = -1) -> bytes:
    """Return a frame (RFC 6455 section 5.2).

    Args:
        payload: its content.
        first: its first byte; 0x81 is a whole text.
        mask: whether it is masked, as a client's must be; the mask is of zeros.
        claims: the length that it claims; -1 is the true one.
    """
    length = len(payload) if claims < 0 else claims
    bit = 0x80 if mask else 0
    if length < 126:
        head = struct.pack("!BB", first, bit | length)
    elif length < 65_536:
        head = struct.pack("!BBH", first, bit | 126, length)
    else:
        head = struct.pack("!BBQ", first, bit | 127, length)
    return head + (bytes(4) if mask else b"") + payload


def bomb(size: int) -> bytes:
    """Return `size` zeros, packed by gzip: a thousandth of it."""
    packer = compressobj(9, wbits=31)
    parts = [packer.compress(bytes(MEGABYTE)) for _ in range(size // MEGABYTE)]
    return b"".join([*parts, packer.flush()])


@asynccontextmanager
async def connected(url: str, *, limit: int = MEGABYTE) -> AsyncIterator[Peer]:
    """Connect to the server at `url`, and cut the connection at the end.

    Args:
        url: of the server.
        limit: bytes that are read ahead.
    """
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port, limit=limit)
    try:
        yield Peer(parts.netloc, reader, writer)
    finally:
        writer.transport.abort()
        with suppress(ConnectionError):
            await writer.wait_closed()
