"""A model of the server: histories, and answers by the law of docs/protocol.md section 1.3."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import msgspec

from vtrans_hybrid.dialect import Answer, Read
from vtrans_hybrid.errors import JobNotFound, VtransError
from vtrans_hybrid.messages import Events, Received, Subscribe, Synced, Unsubscribe
from vtrans_hybrid.models import JobStatus, State

KEPT = 8
"""Versions that the model server keeps of a job."""


class Server:
    """Histories of jobs, and answers about them."""

    def __init__(self) -> None:
        self.epoch = "E001"
        self.jobs: dict[str, list[JobStatus]] = {}
        self.everything: dict[tuple[str, str, int], dict[str, object]] = {}
        self.spread = 0.25

    def write(self, job_id: str, state: State | None = None, eta: float | None = None) -> JobStatus:
        """Give a job its next version; None goes on from the state it has."""
        history = self.jobs.setdefault(job_id, [])
        if state is None:
            state = State.RUNNING if history else State.PENDING
        status = JobStatus(
            job_id=job_id,
            state=state,
            version=len(history) + 1,
            epoch=self.epoch,
            progress=min(1.0, len(history) / 100),
            estimated_time_remaining=eta,
            result_url=f"https://results.example/{job_id}" if state == State.COMPLETED else None,
        )
        history.append(status)
        self.everything[job_id, self.epoch, status.version] = {
            "state": status.state,
            "progress": status.progress,
            "estimated_time_remaining": status.estimated_time_remaining,
            "result_url": status.result_url,
        }
        return status

    def is_final(self, job_id: str) -> bool:
        """Tell whether a job has ended."""
        return bool(self.jobs.get(job_id)) and self.jobs[job_id][-1].is_final

    def restart(self, survivors: Iterable[str] | None = None) -> None:
        """Begin a new history; the surviving jobs begin again in it, None keeps the old one."""
        if survivors is None:
            return
        self.epoch = f"E{int(self.epoch[1:]) + 1:03}"
        self.jobs = {}
        for job_id in survivors:
            self.write(job_id)

    def newer(self, job_id: str, cursor: int, mode: str) -> list[JobStatus]:
        """Return what is newer than a cursor: the one rule of the server."""
        history = self.jobs[job_id]
        if mode == "latest":
            return [s for s in history[-1:] if s.version > cursor]
        found = [s for s in history[-KEPT:] if s.version > cursor]
        if found and found[0].version > cursor + 1:
            found[0] = msgspec.structs.replace(found[0], gap=True)
        return found

    def read(self, read: Read) -> Answer:
        """Answer a bulk read."""
        mode = "all" if read.wants_all else "latest"
        statuses: list[JobStatus] = []
        errors: dict[str, VtransError] = {}
        for job_id, version in read.jobs.items():
            if job_id not in self.jobs:
                errors[job_id] = JobNotFound("unknown", status=404, code="not_found", job_id=job_id)
            else:
                cursor = version if read.epoch == self.epoch else 0
                statuses += self.newer(job_id, cursor, mode)
        return Answer(statuses=statuses, errors=errors, epoch=self.epoch)

    def had(self, status: JobStatus) -> dict[str, object] | None:
        """Return what there was at the position of a status; None for nothing."""
        return self.everything.get((status.job_id, status.epoch, status.version))


@dataclass
class Socket:
    """The server's end of one connection."""

    generation: int
    is_live: bool = False
    is_dead: bool = False
    """Whether the server is gone, though the client does not know."""
    is_muted: bool = False
    """Whether the server says everything but events."""
    is_draining: bool = False
    cursors: dict[str, tuple[str, int]] = field(default_factory=dict)
    inbox: list[Subscribe | Unsubscribe] = field(default_factory=list)
    outbox: list[Received] = field(default_factory=list)

    def serve(self, server: Server) -> None:
        """Read what came in, and put the answers into the outbox."""
        inbox, self.inbox = self.inbox, []
        if self.is_dead or not self.is_live:
            return
        for message in inbox:
            if isinstance(message, Unsubscribe):
                for job_id in message.jobs:
                    self.cursors.pop(job_id, None)
            else:
                errors = self._subscribe(server, message)
                self.pump(server)
                self.outbox.append(Synced(message.id, errors))

    def _subscribe(self, server: Server, message: Subscribe) -> dict[str, str]:
        errors = {}
        for job_id, version in message.jobs.items():
            if job_id not in server.jobs:
                errors[job_id] = "not_found"
                self.cursors.pop(job_id, None)
            else:
                cursor = version if message.epoch == server.epoch else 0
                self.cursors[job_id] = (message.mode, cursor)
        return errors

    def pump(self, server: Server) -> None:
        """Put whatever is newer than what was sent into the outbox."""
        if self.is_muted:
            return
        events: list[JobStatus] = []
        for job_id, (mode, cursor) in tuple(self.cursors.items()):
            newer = server.newer(job_id, cursor, mode) if job_id in server.jobs else []
            events += newer
            if newer:
                self.cursors[job_id] = (mode, newer[-1].version)
            if newer and newer[-1].is_final:
                del self.cursors[job_id]
        for start in range(0, len(events), 64):
            self.outbox.append(Events(events[start : start + 64]))
