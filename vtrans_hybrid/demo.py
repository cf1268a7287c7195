"""`vtrans demo`: push, then a cut and polls, then push again, before one's eyes."""

from __future__ import annotations

import asyncio
import statistics
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import groupby
from typing import Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from vtrans_hybrid.client import AsyncClient
from vtrans_hybrid.models import Job, JobStatus, Source
from vtrans_hybrid.policy import PollPolicy
from vtrans_hybrid.simulation import Simulation
from vtrans_hybrid.stats import Stats

__all__ = ["show_demo"]

_VIDEO = "https://example.com/talk.mp4"
_LANGUAGES = ("Spanish", "German", "Japanese")

_DELAY = "8:9.5"
"""Seconds that the jobs take: long enough for a cut and a return, all in all below fifteen."""

_CUT_AT = 0.3
"""Share of the first job after which the channel is cut."""

_REFUSED_FOR = 4
"""Seconds for which the server then asks its clients to stay away from the channel."""

_TIMEOUT = 30.0
"""Seconds after which the demo gives up; it should need less than half."""


async def show_demo() -> int:
    """Run the demo on stdout, as moving bars on a terminal and as lines elsewhere.

    Returns:
        The exit code: 0.

    Raises:
        VtransError: It did not work.
    """
    async with (
        Simulation("--delay", _DELAY, "--drain", "0") as simulation,
        # A short interval, for the outage is short: polls are to be seen.
        AsyncClient(
            simulation.url, poll=PollPolicy.adaptive(max_interval=1.0), timeout=_TIMEOUT
        ) as client,
    ):
        jobs = await client.submit_all(_VIDEO, languages=_LANGUAGES)
        story = _Story(jobs)
        with _screen_for(story) as screen:
            screen.note(f"three jobs at {simulation.url}, one process, one WebSocket")
            async for update in client.watch_all(jobs):
                for said in story.take(update):
                    screen.note(said)
                screen.show(update)
                if not story.is_cut and (update.progress or 0.0) >= _CUT_AT:
                    story.is_cut = True
                    await simulation.cut_channel(refused_for=_REFUSED_FOR)
                    screen.note(f"the socket is cut, and refused for {_REFUSED_FOR} s")
        sys.stdout.write(story.summary(client.stats()))
    return 0


class _Story:
    """What has happened so far."""

    def __init__(self, jobs: list[Job]) -> None:
        self.latest: dict[str, JobStatus | None] = dict.fromkeys((job.job_id for job in jobs), None)
        self.languages = {job.job_id: job.language or "" for job in jobs}
        self.is_cut = False
        self._began_at = asyncio.get_running_loop().time()
        self._sources: list[Source] = []
        self._skipped = 0
        self._detections: list[float] = []

    @property
    def elapsed(self) -> float:
        """Seconds since the beginning."""
        return asyncio.get_running_loop().time() - self._began_at

    def take(self, update: JobStatus) -> list[str]:
        """Take an update; return what there is to say of it."""
        before = self._sources[-1:]
        self._sources.append(update.source)
        self._skipped += update.skipped or 0
        self.latest[update.job_id] = update
        if update.is_final and update.updated_at is not None:
            # Both clocks are the same one, for the server runs on this machine.
            late = (datetime.now(UTC) - update.updated_at).total_seconds()
            self._detections.append(max(0.0, late))
        if before in ([], [update.source]):
            return []
        is_push = update.source == Source.PUSH
        return ["push is back" if is_push else "polls have taken over"]

    def summary(self, stats: Stats) -> str:
        """Return the end of the story."""
        way = " -> ".join(source for source, _ in groupby(self._sources))
        late = [1000 * delay for delay in self._detections]
        rows = {
            "updates": f"{stats.pushes} by push, {stats.poll_updates} by poll ({way})",
            "requests": f"{stats.polls} polls, {stats.dials} dials of the channel",
            "drops": f"{stats.drops}",
            "skipped": f"{self._skipped} versions, older than what the next poll found",
            "detection": f"median {statistics.median(late):.0f} ms, longest {max(late):.0f} ms "
            "from the server's final status to this program",
        }
        return "\n" + "".join(f"{name:<10} {said}\n" for name, said in rows.items())


class _Screen(Protocol):
    """Where the story is shown."""

    def note(self, said: str) -> None:
        """Say something."""

    def show(self, update: JobStatus) -> None:
        """Show an update that the story has taken."""


@contextmanager
def _screen_for(story: _Story) -> Iterator[_Screen]:
    """Yield bars on a terminal that can move them, else lines."""
    console = Console()
    if not sys.stdout.isatty() or console.is_dumb_terminal:
        yield _Lines(story)
        return
    with Live(console=console) as live:
        yield _Bars(story, live)


class _Lines:
    """Lines of plain text."""

    def __init__(self, story: _Story) -> None:
        self._story = story

    def note(self, said: str) -> None:
        self._write(f"-- {said}")

    def show(self, update: JobStatus) -> None:
        language = self._story.languages[update.job_id]
        progress = update.progress or 0.0
        self._write(f"{language:<9} {update.state:<10} {progress:4.0%}  {update.source}")

    def _write(self, line: str) -> None:
        sys.stdout.write(f"{self._story.elapsed:5.1f} s  {line}\n")
        sys.stdout.flush()


class _Bars:
    """Bars that move, with the notes below."""

    def __init__(self, story: _Story, live: Live) -> None:
        self._story = story
        self._live = live
        self._notes: list[Text] = []

    def note(self, said: str) -> None:
        self._notes.append(Text(f"{self._story.elapsed:5.1f} s  {said}"))
        self._draw()

    def show(self, update: JobStatus) -> None:  # noqa: ARG002  # the story has taken it
        self._draw()

    def _draw(self) -> None:
        table = Table.grid(padding=(0, 2))
        for job_id, status in self._story.latest.items():
            progress = 0.0 if status is None else status.progress or 0.0
            table.add_row(
                Text(self._story.languages[job_id]),
                ProgressBar(total=1.0, completed=progress, width=40),
                Text(f"{progress:4.0%}"),
                Text("" if status is None else status.state),
                Text("" if status is None else f"by {status.source}"),
            )
        self._live.update(Group(table, *self._notes))
