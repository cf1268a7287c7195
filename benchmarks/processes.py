"""Processes of their own for what is measured against, and what they use.

The numbers come from /proc, so this needs Linux.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

__all__ = ["Helper", "cpu_seconds", "pin", "resident_bytes"]

_ROOT = Path(__file__).parents[1]
_SILENCE = 180.0
"""Seconds without a line after which a process counts as stuck."""
_STOP_TIMEOUT = 5.0
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGESIZE")


def pin(cpu: int, pid: int = 0) -> None:
    """Keep a process on one processor, where there are two and the kernel allows it.

    Args:
        cpu: Index among the processors that this process may use.
        pid: Which process; 0 is this one.
    """
    allowed = sorted(_ALLOWED)
    if len(allowed) > 1:
        os.sched_setaffinity(pid, {allowed[cpu % len(allowed)]})


_ALLOWED = os.sched_getaffinity(0)


def cpu_seconds(pid: int) -> float:
    """Return the processor time that a process has used, to a hundredth of a second."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def resident_bytes(pid: int | None = None) -> int:
    """Return how much memory a process occupies; None is this one."""
    statm = Path(f"/proc/{'self' if pid is None else pid}/statm").read_text()
    return int(statm.split()[1]) * _PAGE


class Helper:
    """A Python module that runs as a process of its own; an asynchronous context manager.

    Args:
        module: Name of the module.
        arguments: Its command line.
        cpu: On which processor it runs; None is any.
    """

    def __init__(self, module: str, *arguments: str, cpu: int | None = 1) -> None:
        self._command = [sys.executable, "-m", module, *arguments]
        self._cpu = cpu
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(
            *self._command,
            cwd=_ROOT,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=2**24,
            env=os.environ | {"PYTHONPATH": str(_ROOT)},
        )
        if self._cpu is None:
            os.sched_setaffinity(self._process.pid, _ALLOWED)
        else:
            pin(self._cpu, self._process.pid)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        process = self._running
        if process.returncode is None:
            process.terminate()
        try:
            async with asyncio.timeout(_STOP_TIMEOUT):
                await process.communicate()
        except TimeoutError:
            process.kill()
            await process.communicate()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._running.pid

    async def line(self) -> str:
        """Return the next line that it prints.

        Raises:
            RuntimeError: It ended, or printed nothing for three minutes.
        """
        assert self._running.stdout is not None, "it was started with a pipe"
        try:
            async with asyncio.timeout(_SILENCE):
                line = await self._running.stdout.readline()
        except TimeoutError:
            line = b""
        if not line:
            raise RuntimeError(f"{' '.join(self._command[1:])} says nothing")
        return line.decode().strip()

    async def tell(self, text: str) -> None:
        """Send it a line."""
        assert self._running.stdin is not None, "it was started with a pipe"
        self._running.stdin.write(text.encode() + b"\n")
        await self._running.stdin.drain()

    async def url(self) -> str:
        """Return the http address in the first line that it prints."""
        line = await self.line()
        return next(word for word in line.split() if word.startswith("http"))

    @property
    def _running(self) -> asyncio.subprocess.Process:
        assert self._process is not None, "enter the context first"
        return self._process
