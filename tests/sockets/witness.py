"""What one watcher saw, judged by the promises, and what the server says that it really had."""

from collections.abc import Iterable

import aiohttp

from tests.promises import (
    s1_at_most_once,
    s2_ascending,
    s3_final_once_and_last,
    s4_real,
    s5_nothing_skipped,
    s5_skipped_is_counted,
)
from vtrans_hybrid import JobStatus, Source

__all__ = ["Witness", "history"]

History = dict[tuple[str, int], dict[str, object]]

_COMPARED = ("state", "progress", "estimated_time_remaining", "language", "result_url")


class Witness:
    """Keeps every update in the order in which it came; is itself a callback."""

    def __init__(self) -> None:
        self.seen: list[JobStatus] = []

    def __call__(self, status: JobStatus) -> None:
        """Take an update."""
        self.seen.append(status)

    @property
    def pushes(self) -> int:
        """How many updates came by push."""
        return sum(status.source == Source.PUSH for status in self.seen)

    @property
    def polls(self) -> int:
        """How many updates came by poll."""
        return len(self.seen) - self.pushes

    def check(self, job_ids: Iterable[str], kept: History, *, wants_all: bool = False) -> None:
        """Check S1 to S5 for jobs that have ended.

        Args:
            job_ids: The jobs that were watched.
            kept: What the server still knows of them.
            wants_all: Whether every version was wanted.
        """
        wanted = set(job_ids)
        assert {status.job_id for status in self.seen} == wanted
        s1_at_most_once(self.seen)
        s2_ascending(self.seen)
        s3_final_once_and_last(self.seen, ended=wanted)
        oldest: dict[str, int] = {}
        for job_id, version in kept:
            oldest[job_id] = min(version, oldest.get(job_id, version))
        known = [status for status in self.seen if status.version >= oldest[status.job_id]]
        assert known, "the server keeps nothing of what was seen"
        s4_real(known, lambda status: kept.get((status.job_id, status.version)))
        s5_skipped_is_counted(self.seen)
        if wants_all:
            s5_nothing_skipped(self.seen)


async def history(url: str, job_ids: Iterable[str]) -> History:
    """Return what every version says that the server still keeps, by job and version."""
    kept: History = {}
    known, epoch = dict.fromkeys(job_ids, 0), None
    async with aiohttp.ClientSession() as session:
        while True:
            body = {"epoch": epoch, "mode": "all", "jobs": known}
            async with session.post(f"{url}/status", json=body) as answer:
                document = await answer.json()
            epoch = document["epoch"]
            for event in document["events"]:
                said = {field: event.get(field) for field in _COMPARED}
                kept[event["job_id"], event["version"]] = said
                known[event["job_id"]] = event["version"]
            if document.get("poll_after") != 0:  # zero says that the answer was cut
                return kept
