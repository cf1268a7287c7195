"""A terminal without a screen: what programs show on it can be read, and keys can be pressed."""

import asyncio
import fcntl
import os
import termios
from types import TracebackType
from typing import Any, Self

__all__ = ["CTRL_C", "PseudoTerminal"]

CTRL_C = b"\x03"
CHUNK = 65_536  # bytes
TIMEOUT = 60.0  # seconds


class PseudoTerminal:
    """The controlling terminal of one process, which is started with `options`."""

    def __init__(self) -> None:
        self.shown = ""
        """Everything so far, with its control sequences."""
        self._controller, self._terminal = os.openpty()
        self._news = asyncio.Event()

    async def __aenter__(self) -> Self:
        asyncio.get_running_loop().add_reader(self._controller, self._read)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        asyncio.get_running_loop().remove_reader(self._controller)
        os.close(self._controller)
        os.close(self._terminal)

    @property
    def options(self) -> dict[str, Any]:
        """Options of `asyncio.create_subprocess_exec`."""
        streams = dict.fromkeys(("stdin", "stdout", "stderr"), self._terminal)
        return streams | {"start_new_session": True, "preexec_fn": _take_terminal}

    def press(self, key: bytes) -> None:
        """Press a key."""
        os.write(self._controller, key)

    async def until(self, text: str) -> None:
        """Wait until a text has been shown."""
        async with asyncio.timeout(TIMEOUT):
            while text not in self.shown:
                self._news.clear()
                await self._news.wait()

    def _read(self) -> None:
        self.shown += os.read(self._controller, CHUNK).decode(errors="replace")
        self._news.set()


def _take_terminal() -> None:
    """Make the terminal at stdin that of the new session, so that Ctrl-C arrives there."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
