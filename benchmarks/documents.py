"""Messages as a server of docs/protocol.md sends them, encoded ahead of time.

The status documents have the fields and the length of a real server's.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

import msgspec

__all__ = ["EPOCH", "events_frames", "job_ids", "message_frame", "status_document"]

EPOCH = "01JD0000000000000000000000"

_LONGEST_ETA = 600.0  # s; far away, so that no job looks overdue


def job_ids(count: int) -> list[str]:
    """Return that many job ids of the usual length."""
    return [f"{index:024x}" for index in range(count)]


def status_document(job_id: str, version: int, last: int) -> dict[str, object]:
    """Return version `version` of a job that ends with version `last`."""
    is_final = version == last
    state = "completed" if is_final else "running"
    document: dict[str, object] = {
        "job_id": job_id,
        "state": state,
        "result": state,
        "version": version,
        "epoch": EPOCH,
        "progress": round(version / last, 4),
        "estimated_time_remaining": round(_LONGEST_ETA * (1 - version / last), 3),
        "language": "Spanish",
        "created_at": "2026-01-01T00:00:00.000Z",
        "updated_at": "2026-01-01T00:00:02.500Z",
    }
    if is_final:
        document["final"] = True
        document["result_url"] = f"https://videos.example/{job_id}.mp4"
    return document


def events_frames(jobs: list[str], last: int, per_frame: int) -> Iterator[bytes]:
    """Yield WebSocket frames with versions 2 to `last` of every job, the jobs in turn.

    Args:
        jobs: Ids of the jobs.
        last: Version with which each ends.
        per_frame: How many events a frame carries, 1 to 64.
    """
    batch: list[dict[str, object]] = []
    for version in range(2, last + 1):
        for job_id in jobs:
            batch.append(status_document(job_id, version, last))
            if len(batch) == per_frame:
                yield message_frame({"type": "events", "events": batch})
                batch = []
    if batch:
        yield message_frame({"type": "events", "events": batch})


def message_frame(message: object) -> bytes:
    """Return one unmasked WebSocket text frame (RFC 6455 section 5.2) around a JSON message."""
    payload = msgspec.json.encode(message)
    if len(payload) < 126:
        head = struct.pack("!BB", 0x81, len(payload))
    elif len(payload) < 65_536:
        head = struct.pack("!BBH", 0x81, 126, len(payload))
    else:
        head = struct.pack("!BBQ", 0x81, 127, len(payload))
    return head + payload
