"""Small servers on loopback that say what they are told to, and remember what they heard."""

import asyncio
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
from aiohttp import web

__all__ = ["Certificate", "RawServer", "answer", "make_certificate", "raw_server", "web_server"]

HOST = "127.0.0.1"


class RawServer(NamedTuple):
    """A server of raw bytes."""

    url: str
    heads: list[bytes]
    """The head of each request that came."""


def answer(status: str, *headers: str, body: bytes = b"") -> bytes:
    """Return an HTTP answer after which the connection ends."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


@asynccontextmanager
async def raw_server(reply: bytes) -> AsyncIterator[RawServer]:
    """Serve the same bytes to every request, then end the connection."""
    heads: list[bytes] = []
    open_calls: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            heads.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(reply)
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass  # whoever called is gone

    def begin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(serve(reader, writer))
        open_calls[task] = writer
        # Here and not in the task, which may be cancelled before it has begun.
        task.add_done_callback(lambda done: open_calls.pop(done).close())

    server = await asyncio.start_server(begin, HOST, 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield RawServer(f"http://{HOST}:{port}", heads)
    finally:
        server.close()
        for task in tuple(open_calls):
            task.cancel()
        await asyncio.gather(*open_calls, return_exceptions=True)


Respond = Callable[[web.Request], Coroutine[object, object, web.StreamResponse]]


@asynccontextmanager
async def web_server(
    *routes: tuple[str, str, Respond], tls: ssl.SSLContext | None = None
) -> AsyncIterator[str]:
    """Serve routes, each a method, a path and what answers; yield the URL."""
    app = web.Application()
    for method, path, respond in routes:
        app.router.add_route(method, path, respond)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, HOST, 0, ssl_context=tls).start()
        port = runner.addresses[0][1]
        yield f"{'https' if tls else 'http'}://{HOST}:{port}"
    finally:
        await runner.cleanup()


class Certificate(NamedTuple):
    """A certificate that nobody has signed, and the context of a server that shows it."""

    file: str
    context: ssl.SSLContext


def make_certificate(directory: Path) -> Certificate:
    """Make a certificate for 127.0.0.1; the test is skipped where the tool for it is missing."""
    tool = shutil.which("openssl")
    if tool is None:
        pytest.skip("there is no openssl command to make a certificate with")
    file, key = directory / "certificate.pem", directory / "key.pem"
    command = [
        *(tool, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"),
        *("-nodes", "-days", "2", "-subj", "/CN=localhost", "-keyout", str(key)),
        *("-addext", f"subjectAltName=IP:{HOST}", "-out", str(file)),
    ]
    subprocess.run(command, check=True, capture_output=True)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(file, key)
    return Certificate(str(file), context)
