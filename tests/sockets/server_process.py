"""A simulator in a process of its own, which a test may kill, freeze and start again."""

import asyncio
import os
import re
import signal
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

__all__ = ["ServerProcess"]

ROOT = Path(__file__).parents[2]
START_TIMEOUT = 20.0  # seconds; imports take most of it on a busy machine
STOP_TIMEOUT = 20.0  # seconds


class ServerProcess:
    """Runs ``python -m simulator``; use it as an async context manager, which always reaps it.

    Args:
        arguments: of its command line, without ``--port``.
        port: where it listens; 0 means any free port, which restarts keep.
    """

    def __init__(self, *arguments: str, port: int = 0) -> None:
        self.url = ""
        """Where it is, as an http URL without a path; empty before the first start."""
        self._arguments = arguments
        self._port = port
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Self:
        try:
            await self.start()
        except BaseException:
            await self.kill()
            raise
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.kill()

    @property
    def port(self) -> int:
        """The port it listens at."""
        return self._port

    @property
    def pid(self) -> int:
        """The id of the running process.

        Raises:
            RuntimeError: none is running.
        """
        return self._running.pid

    @property
    def is_running(self) -> bool:
        """Whether the process is there, frozen or not."""
        return self._process is not None and self._process.returncode is None

    async def start(self) -> None:
        """Start it and wait until it listens.

        Raises:
            RuntimeError: it is running, or it ended or said nothing instead of listening.
        """
        if self.is_running:
            raise RuntimeError(f"The simulator is running already, as process {self.pid}.")
        command = [sys.executable, "-m", "simulator", "--port", str(self._port), *self._arguments]
        self._process = await asyncio.create_subprocess_exec(
            *command,
            cwd=ROOT,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        )
        self.url, self._port = await self._read_address()

    async def kill(self) -> None:
        """End it at once (SIGKILL), as a crash does; harmless if it is not running."""
        if self._process is not None:
            if self.is_running:
                self._process.kill()
            await self._reap()

    async def terminate(self) -> int:
        """Ask it to end (SIGTERM), wait, and return its exit code.

        Raises:
            TimeoutError: it has not ended after 20 seconds; it was killed.
        """
        self._running.terminate()
        try:
            async with asyncio.timeout(STOP_TIMEOUT):
                return await self._reap()
        except TimeoutError:
            await self.kill()
            raise

    async def restart(self) -> None:
        """Kill it and start it again at the same port, without what it knew."""
        await self.kill()
        await self.start()

    def stop(self) -> None:
        """Freeze it (SIGSTOP): its sockets stay open and answer nothing."""
        self._running.send_signal(signal.SIGSTOP)

    def cont(self) -> None:
        """Let it go on (SIGCONT)."""
        self._running.send_signal(signal.SIGCONT)

    @property
    def _running(self) -> asyncio.subprocess.Process:
        if self._process is None or self._process.returncode is not None:
            raise RuntimeError("The simulator is not running.")
        return self._process

    async def _reap(self) -> int:
        assert self._process is not None
        assert self._process.stdout is not None
        await self._process.stdout.read()  # to the end, so that its pipe is closed
        return await self._process.wait()

    async def _read_address(self) -> tuple[str, int]:
        """Return URL and port from the first line, which a parent may rely on."""
        assert self._process is not None
        assert self._process.stdout is not None
        try:
            async with asyncio.timeout(START_TIMEOUT):
                line = (await self._process.stdout.readline()).decode()
        except TimeoutError:
            line = ""
        found = re.search(r"https?://\S+?:(\d+)", line)
        if found is None:
            await self.kill()
            raise RuntimeError(f"The simulator did not say where it listens, but {line!r}.")
        return found[0], int(found[1])
