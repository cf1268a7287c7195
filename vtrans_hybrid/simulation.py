"""A simulator in a process of its own, for the command line."""

from __future__ import annotations

import asyncio
import re
import sys
import tempfile
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from vtrans_hybrid.dialect import Request
from vtrans_hybrid.errors import ConnectFailed
from vtrans_hybrid.refusal import refusal
from vtrans_hybrid.transport import NetworkOptions, Transport

__all__ = ["Simulation", "serve"]

_START_TIMEOUT = 10.0
"""Seconds from the start of the process to its first line."""

_REQUEST_TIMEOUT = 5.0
"""Seconds that an order to the simulator may take."""

_PATIENCE = 2.0
"""Seconds that the process gets to end when it is asked to."""


class Simulation:
    """Runs `python -m simulator` on a free port while the context is entered, and always reaps it.

    Args:
        arguments: Of its command line, without the port.
    """

    def __init__(self, *arguments: str) -> None:
        self.url = ""
        """Where it listens."""
        self._arguments = arguments
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Self:
        with tempfile.TemporaryFile() as complaints:
            self._process = await asyncio.create_subprocess_exec(
                *_command(["--port", "0", *self._arguments]),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=complaints,
            )
            try:
                self.url = await self._read_url()
                if not self.url:
                    complaints.seek(0)
                    said = complaints.read().decode(errors="replace").strip().splitlines()
                    raise ConnectFailed(f"the simulator does not start: {''.join(said[-1:])}")
            except BaseException:
                await _end(self._process, _PATIENCE)
                raise
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._process is not None, "only a process that was started is left"
        await _end(self._process, _PATIENCE)

    async def cut_channel(self, *, refused_for: int) -> None:
        """Reset every channel now, and ask whoever comes back to stay away for some seconds."""
        refusal_rule = {
            "fault": "refuse_upgrade",
            "parameters": {"status": 503, "retry_after": refused_for},
            # Over before the time that it asks for, so that nobody is refused twice.
            "for": refused_for / 2,
        }
        transport = Transport(self.url, None, NetworkOptions(), _REQUEST_TIMEOUT)
        try:
            await _order(transport, "/_control/faults", refusal_rule)
            await _order(transport, "/_control/drop", {"how": "reset"})
        finally:
            await transport.aclose()

    async def _read_url(self) -> str:
        """Return the address in the first line; nothing if there is none."""
        assert self._process is not None
        assert self._process.stdout is not None
        try:
            async with asyncio.timeout(_START_TIMEOUT):
                line = await self._process.stdout.readline()
        except TimeoutError:
            return ""
        found = re.search(r"https?://\S+", line.decode(errors="replace"))
        return "" if found is None else found[0]


async def serve(arguments: Sequence[str]) -> int:
    """Run `python -m simulator` in the foreground and return its exit code.

    When the caller is cancelled the simulator is asked to end, and gets the time that it gives its
    clients; cancelled again, it ends at once.

    Args:
        arguments: Of its command line.
    """
    process = await asyncio.create_subprocess_exec(
        *_command(arguments), stdin=asyncio.subprocess.DEVNULL
    )
    try:
        return await process.wait()
    finally:
        await _end(process, None)


def _command(arguments: Sequence[str]) -> list[str]:
    # Without -P a file simulator.py in the working directory would take the package's place.
    return [sys.executable, "-P", "-m", "simulator", *arguments]


async def _order(transport: Transport, path: str, body: object) -> None:
    response = await transport.request(Request.post(path, body))
    if not 200 <= response.status < 300:
        raise refusal(response, message=response.body.decode(errors="replace")[:300])


async def _end(process: asyncio.subprocess.Process, patience: float | None) -> None:
    """End a process; whatever happens meanwhile, it does not stay behind.

    Args:
        process: The process; it may have ended already.
        patience: Seconds that it gets for it; None is as long as it takes.
    """
    try:
        if process.returncode is None:
            process.terminate()
            async with asyncio.timeout(patience):
                await process.communicate()
    except TimeoutError:
        process.kill()
        await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
