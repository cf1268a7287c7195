"""The least that a client can be: `websockets`, msgspec, and nothing else.

No state, no versions, no reconnects. It is what the client is measured against.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from msgspec import Struct
from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol

__all__ = ["BareBulk", "BareEvents", "BareStatus", "decode_bare", "decode_bare_bulk", "open_bare"]

_SUBSCRIBED_AT_ONCE = 1000


class BareStatus(Struct, gc=False):
    """The fields that an application looks at."""

    job_id: str
    state: str
    version: int
    epoch: str
    progress: float | None = None
    estimated_time_remaining: float | None = None
    language: str | None = None
    result_url: str | None = None
    final: bool = False


class BareEvents(Struct, gc=False):
    """A frame of events, or any other frame."""

    type: str
    events: list[BareStatus] = []


class BareBulk(Struct, gc=False):
    """The answer to a bulk read."""

    events: list[BareStatus]


decode_bare = msgspec.json.Decoder(BareEvents).decode
decode_bare_bulk = msgspec.json.Decoder(BareBulk).decode


async def open_bare(url: str, jobs: Sequence[str], *, mode: str = "latest") -> ClientConnection:
    """Connect to the channel of a server and subscribe jobs; the events are still to be read.

    Args:
        url: The http address of the server.
        jobs: Ids of the jobs.
        mode: `latest` or `all`.
    """
    connection = await connect(
        f"ws{url.removeprefix('http')}/events",
        subprotocols=[Subprotocol("vtrans.v1")],
        compression=None,
        ping_interval=None,
        close_timeout=0.1,
        max_size=2**20,
        proxy=None,
    )
    await _send(connection, {"type": "hello", "agent": "bare"})
    for start in range(0, len(jobs), _SUBSCRIBED_AT_ONCE):
        batch = dict.fromkeys(jobs[start : start + _SUBSCRIBED_AT_ONCE], 0)
        await _send(
            connection,
            {"type": "subscribe", "id": start + 1, "epoch": None, "mode": mode, "jobs": batch},
        )
    return connection


async def _send(connection: ClientConnection, message: object) -> None:
    await connection.send(msgspec.json.encode(message), text=True)
