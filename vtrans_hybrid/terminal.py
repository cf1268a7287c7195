"""How the command line shows statuses and errors: data on stdout, everything else on stderr."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

import msgspec
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn

from vtrans_hybrid.errors import (
    AuthError,
    ConnectFailed,
    JobNotFound,
    RequestTimeout,
    Unavailable,
    VtransError,
    WatchTimeout,
)
from vtrans_hybrid.models import JobStatus

__all__ = ["EXIT_CODES", "Form", "Printer", "complain", "exit_code", "progress_bars", "text_of"]

Form = Literal["jsonl", "text"]

EXIT_CODES = """\
Exit codes: 0 ok, 1 the server or the network failed, 2 wrong usage, 3 the API key is missing or
wrong, 4 the timeout passed, 5 a job ended in error or was canceled, 130 Ctrl-C.
"""

_NOT_SHOWN = frozenset({"gap", "gone", "raw"})
"""Fields that concern the client, not its user."""

_ADVICE: tuple[tuple[type[VtransError], str], ...] = (
    (ConnectFailed, "is the server running, and --base-url right?"),
    (RequestTimeout, "try again later, or check --base-url"),
    (AuthError, "set VTRANS_API_KEY or --api-key to the key for this server"),
    (JobNotFound, "check the id and --base-url"),
    (Unavailable, "try again later"),
    (WatchTimeout, "watch it again, or with a longer --timeout"),
)


class Printer:
    """Writes statuses on stdout, each on a line that leaves at once.

    Args:
        form: "jsonl" is one JSON object for every update; "text" is a line for every change of
            state, for people.
    """

    def __init__(self, form: Form) -> None:
        self._form = form
        self._states: dict[str, str] = {}

    def show(self, status: JobStatus) -> None:
        """Write one status."""
        if self._form == "jsonl":
            self._write(_json_of(status))
            return
        if self._states.get(status.job_id) != status.state:
            self._states[status.job_id] = status.state
            self._write(text_of(status))

    def _write(self, line: str) -> None:
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()


def _json_of(status: JobStatus) -> str:
    document = msgspec.to_builtins(status)
    said = {k: v for k, v in document.items() if v is not None and k not in _NOT_SHOWN}
    return msgspec.json.encode(said).decode()


def text_of(status: JobStatus) -> str:
    """Return a line about a status, for people."""
    words = [status.job_id, f"{status.language or '-':<12}", f"{status.state:<9}"]
    if status.is_final:
        failure = status.error
        said = (failure.code, failure.message) if failure is not None else ()
        words.append(status.result_url or ": ".join(filter(None, said)))
    elif status.progress is not None:
        words.append(f"{status.progress:4.0%}")
    return _printable("  ".join(words)).rstrip()


def _printable(text: str) -> str:
    """Return what is safe on a terminal: a server may not move its cursor or break the line."""
    return "".join(each if each.isprintable() else " " for each in text)


@contextmanager
def progress_bars(*, is_wanted: bool) -> Iterator[Callable[[JobStatus], None]]:
    """Show a bar for each job on stderr while the context is entered.

    Args:
        is_wanted: Whether to show any; there are none in any case where stderr is no terminal.

    Yields:
        What to call with each status.
    """
    bars: dict[str, TaskID] = {}
    progress = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[state]}", markup=False),
        console=Console(stderr=True),
        # Lines on the same terminal go above the bars; those for a file or a pipe go there.
        redirect_stdout=sys.stdout.isatty(),
        transient=True,
        disable=not (is_wanted and sys.stderr.isatty()),
    )

    def show(status: JobStatus) -> None:
        name = _printable(f"{status.job_id[-12:]} {status.language or ''}")
        state = _printable(status.state)
        if status.job_id not in bars:
            bars[status.job_id] = progress.add_task(name, total=1.0, state=state)
        done = 1.0 if status.ok else status.progress
        progress.update(bars[status.job_id], completed=done, state=state)

    with progress:
        yield show


def exit_code(error: Exception) -> int:
    """Return the exit code for an error; `EXIT_CODES` lists them."""
    match error:
        case AuthError():
            return 3
        case WatchTimeout():
            return 4
        case VtransError():
            return 1
        case TimeoutError():
            return 4
        case _:
            return 2


def complain(error: Exception | str) -> None:
    """Say on one line of stderr what went wrong, and what to do."""
    sentence = str(error)
    if isinstance(error, VtransError):
        notes = getattr(error, "__notes__", [])
        advice = next((said for kind, said in _ADVICE if isinstance(error, kind)), None)
        sentence = "; ".join([sentence, *notes, *([advice] if advice else [])])
    sys.stderr.write(f"vtrans: {_printable(sentence)}\n")
