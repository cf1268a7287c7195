"""What a server really had: every status whole, so that each word of a watcher's can be checked.

Read by hand from what the simulator keeps, and not by the client's own codec: what that misreads
it would misread here as well. What of a status a backend shows differs, and so there is a function
for each kind of backend.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from datetime import datetime
from urllib.parse import urlsplit

from msgspec.structs import replace

from simulator import Status
from simulator.heygen.answers import failure_message
from simulator.histories import HISTORY_WINDOW
from vtrans_hybrid import Failure, JobStatus

__all__ = ["Chronicle", "Shown", "barely", "in_heygen", "plainly", "unsigned", "whole"]

Shown = dict[str, object]
"""What a backend shows of one status: fields of `JobStatus` by name."""


class Chronicle:
    """What the server really had, as far as it was still kept when it was asked."""

    def __init__(self) -> None:
        self._statuses: dict[tuple[str, str], dict[int, Status]] = {}

    def note(self, status: Status) -> None:
        """Note one status that a server really had."""
        self._statuses.setdefault((status.job_id, status.epoch), {})[status.version] = status

    def covers(self, status: JobStatus) -> bool:
        """Tell whether the server could still say whether it had this."""
        statuses = self._statuses.get((status.job_id, status.epoch), {})
        if len(statuses) < HISTORY_WINDOW:
            return True  # all that there ever was
        return status.version > max(statuses) - HISTORY_WINDOW + 2

    def at(self, status: JobStatus) -> Status | None:
        """Return what the server had at the position of a status; None for nothing."""
        return self._statuses.get((status.job_id, status.epoch), {}).get(status.version)

    def of(self, job_id: str) -> Iterator[Status]:
        """Iterate over everything that the server ever had of a job."""
        for (other, _), statuses in self._statuses.items():
            if other == job_id:
                yield from statuses.values()

    # To find what a status must agree with: see `promises.s4_real`.

    def had(self, status: JobStatus) -> Shown | None:
        """Return what the native protocol shows at the position of a status."""
        had = self.at(status)
        return None if had is None else whole(had)

    def had_plainly(self, status: JobStatus) -> Shown | None:
        """Return what the plain contract shows at the position of a status."""
        had = self.at(status)
        return None if had is None else plainly(had)

    def had_once(
        self,
        status: JobStatus,
        show: Callable[[Status], Shown],
        *,
        untold: Collection[str] = (),
    ) -> Shown | None:
        """Return what the server had that comes nearest to a status whose position is ours.

        That is one that agrees with it in everything, else one of the same state; None if there
        was none of that.

        Args:
            status: What a watcher saw.
            show: What the backend shows.
            untold: Fields that not every answer tells, which may be None therefore.
        """
        unknown = {field for field in untold if getattr(status, field) is None}
        nearest = None
        for had in self.of(status.job_id):
            shown = {field: value for field, value in show(had).items() if field not in unknown}
            if shown["state"] == status.state:
                nearest = shown
                if all(getattr(status, field) == value for field, value in shown.items()):
                    break
        return nearest


def whole(status: Status) -> Shown:
    """Return what the native protocol shows of a status, which is all there is."""
    return {
        "state": status.state,
        "progress": status.progress,
        "estimated_time_remaining": status.estimated_time_remaining,
        "language": status.language,
        "error": _failure(status),
        "result_url": status.result_url,
        "created_at": _time(status.created_at),
        "updated_at": _time(status.updated_at),
    }


_TIMELESS: Shown = {"created_at": None, "updated_at": None}


def plainly(status: Status) -> Shown:
    """Return what is read in the plain contract, which has no times."""
    return whole(status) | _TIMELESS


def barely(status: Status) -> Shown:
    """Return what a server shows that says as little as the plain contract allows."""
    return {
        "state": _RESULTS.get(status.state, "pending"),
        "progress": None,
        "estimated_time_remaining": status.estimated_time_remaining,
        "language": None,
        "error": None,
        "result_url": None,
        **_TIMELESS,
    }


_RESULTS = {"completed": "completed", "error": "error", "canceled": "error"}


def in_heygen(status: Status) -> Shown:
    """Return what HeyGen's paths show of a status, but for the signature of its address."""
    message = failure_message(status)
    created_at = _time(status.created_at)
    return {
        "state": status.state,
        "progress": None,
        "estimated_time_remaining": None,
        "language": status.language,
        "error": None if message is None else Failure(message=message),
        "result_url": _FILE.format(status.job_id) if status.state == "completed" else None,
        "created_at": None if created_at is None else created_at.replace(microsecond=0),
        "updated_at": None,
    }


_FILE = "/files/{}/video.mp4"


def unsigned(status: JobStatus) -> JobStatus:
    """Return a status with the path of its result alone: the rest is signed anew for each read."""
    url = status.result_url
    return status if url is None else replace(status, result_url=urlsplit(url).path)


def _failure(status: Status) -> Failure | None:
    error = status.error
    return None if error is None else Failure(code=error.code, message=error.message)


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
