"""How the command line shows statuses and errors: data on stdout, everything else on stderr."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager
from typing import Literal

import msgspec
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn

from vtrans_hybrid.errors import (
    AuthError,
    JobNotFound,
    QuotaExceeded,
    RateLimited,
    RequestTimeout,
    Unavailable,
    VtransError,
    WatchTimeout,
)
from vtrans_hybrid.models import JobStatus

__all__ = ["EXIT_CODES", "Form", "Printer", "complain", "exit_code"]

Form = Literal["jsonl", "text"]

EXIT_CODES = """\
Exit codes: 0 ok, 1 the server or the network failed, 2 wrong usage, 3 the API key is missing or
wrong, 4 the timeout passed, 5 a job ended in error or was canceled, 6 the account's quota or credit
is used up, 7 too many requests or jobs at once, 130 Ctrl-C, 141 nobody reads the output any more,
143 SIGTERM.
"""

_NOT_SHOWN = frozenset({"gap", "gone", "raw"})
"""Fields that concern the client, not its user."""

_ADVICE: tuple[tuple[type[VtransError], str], ...] = (
    (RequestTimeout, "try again later, or check --base-url"),
    (AuthError, "set --api-key, VTRANS_API_KEY or, for HeyGen, HEYGEN_API_KEY to the right key"),
    (QuotaExceeded, "waiting does not help: the account needs more"),
    (RateLimited, "nothing is used up: wait a little, and try again"),
    (JobNotFound, "check the id and --base-url"),
    (Unavailable, "try again later"),
    (WatchTimeout, "watch it again, or with a longer --timeout"),
)


class Printer:
    """Writes statuses on stdout, each on a line that leaves at once, and bars on stderr.

    Args:
        form: "jsonl" is one JSON object for every update; "text" is a line for every change of
            state, for people.
        has_bars: Whether `bars` shows any; it never does where stderr is no terminal.
    """

    def __init__(self, form: Form, *, has_bars: bool = True) -> None:
        self._form = form
        self._states: dict[str, str] = {}
        self._bars: dict[str, TaskID] = {}
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[state]}", markup=False),
            console=Console(stderr=True),
            # What goes to stdout is data and must arrive there as it is: see `_write`.
            redirect_stdout=False,
            transient=True,
            disable=not (has_bars and sys.stderr.isatty()),
        )

    def bars(self) -> AbstractContextManager[object]:
        """Show a bar for each job while the context is entered."""
        return self._progress

    def move(self, status: JobStatus) -> None:
        """Move the bar of a job."""
        job_id = status.job_id
        state = _printable(status.state)
        if job_id not in self._bars:
            name = _printable(f"{job_id[-12:]} {status.language or ''}")
            self._bars[job_id] = self._progress.add_task(name, total=1.0, state=state)
        done = 1.0 if status.ok else status.progress
        self._progress.update(self._bars[job_id], completed=done, state=state)

    def show(self, status: JobStatus) -> None:
        """Write one status."""
        if self._form == "jsonl":
            self._write(_json_of(status))
        elif self._states.get(status.job_id) != status.state:
            self._states[status.job_id] = status.state
            self._write(_text_of(status))

    def show_language(self, name: str) -> None:
        """Write the name of a language."""
        is_json = self._form == "jsonl"
        self._write(_encode({"language": name}) if is_json else _printable(name))

    def _write(self, line: str) -> None:
        is_in_the_way = self._progress.live.is_started and sys.stdout.isatty()
        if is_in_the_way:
            self._progress.stop()  # takes the bars away
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()
        if is_in_the_way:
            self._progress.start()


def _json_of(status: JobStatus) -> str:
    said = {name: value for name, value in status.to_dict().items() if name not in _NOT_SHOWN}
    return _encode(said)


def _encode(document: object) -> str:
    return msgspec.json.encode(document).decode()


def _text_of(status: JobStatus) -> str:
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


def exit_code(error: Exception) -> int:
    """Return the exit code for an error; `EXIT_CODES` lists them."""
    match error:
        case AuthError():
            return 3
        case WatchTimeout():
            return 4
        case QuotaExceeded():
            return 6
        case RateLimited():
            return 7
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
        noted = "".join(f" ({note})" for note in notes)
        said = [sentence.rstrip(".") + noted, *([advice] if advice else [])]
        sentence = "; ".join(said)
    sys.stderr.write(f"vtrans: {_printable(sentence)}\n")
