"""Running `vtrans` and Python scripts as a user does: in a process of their own."""

import asyncio
import json
import os
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

__all__ = ["ROOT", "Ended", "Started", "is_served", "run", "run_vtrans", "vtrans"]

ROOT = Path(__file__).parents[1]
TIMEOUT = 60.0  # seconds after which a process hangs, on a busy machine too


class Ended(NamedTuple):
    """What is left of a process that has ended."""

    code: int
    stdout: str
    stderr: str

    @property
    def documents(self) -> list[dict[str, Any]]:
        """The JSON Lines on stdout."""
        return [json.loads(line) for line in self.stdout.splitlines()]


class Started:
    """A process; leaving the context ends it.

    Args:
        command: the program and its arguments.
        environment: variables to set; those of vtrans are not inherited.
        options: of `asyncio.create_subprocess_exec`.
    """

    def __init__(
        self, *command: str | Path, environment: dict[str, str] | None = None, **options: Any
    ) -> None:
        inherited = {
            k: v for k, v in os.environ.items() if not k.startswith(("VTRANS_", "HEYGEN_"))
        }
        pipe = asyncio.subprocess.PIPE
        self._command = command
        self._options = {
            "cwd": ROOT,
            "stdin": asyncio.subprocess.DEVNULL,
            "stdout": pipe,
            "stderr": pipe,
            "env": inherited | (environment or {}),
        } | options
        self.process: asyncio.subprocess.Process

    async def __aenter__(self) -> Self:
        self.process = await asyncio.create_subprocess_exec(*self._command, **self._options)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self.process.returncode is None:
            self.process.kill()
        await self.process.communicate()

    async def line(self, holding: str = "") -> str:
        """Return the next line of stdout that holds a text.

        Raises:
            EOFError: there is none.
        """
        assert self.process.stdout is not None
        async with asyncio.timeout(TIMEOUT):
            while line := (await self.process.stdout.readline()).decode():
                if holding in line:
                    return line
        raise EOFError(f"stdout has ended without {holding!r}")

    async def end(self) -> Ended:
        """Wait until the process ends by itself.

        Raises:
            TimeoutError: it has not ended after a minute.
        """
        async with asyncio.timeout(TIMEOUT):
            stdout, stderr = await self.process.communicate()
        assert self.process.returncode is not None, "it has ended"
        return Ended(self.process.returncode, (stdout or b"").decode(), (stderr or b"").decode())


def vtrans(*arguments: str, **options: Any) -> Started:
    """Return the command line, ready to start."""
    return Started(Path(sys.executable).with_name("vtrans"), *arguments, **options)


async def run(*command: str | Path, **options: Any) -> Ended:
    """Run a program to its end."""
    async with Started(*command, **options) as started:
        return await started.end()


async def run_vtrans(*arguments: str, **options: Any) -> Ended:
    """Run the command line to its end."""
    async with vtrans(*arguments, **options) as started:
        return await started.end()


async def is_served(url: str) -> bool:
    """Tell whether anybody listens at the host and port of a URL."""
    host, _, port = url.removeprefix("http://").partition(":")
    try:
        _, writer = await asyncio.open_connection(host, int(port))
    except ConnectionRefusedError:
        return False
    writer.close()
    await writer.wait_closed()
    return True
