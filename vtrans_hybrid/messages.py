"""The messages of the push channel, and the frames that carry them: docs/protocol.md section 3.

The tag of a message is the member `type` of its JSON object.
"""

from __future__ import annotations

from typing import get_args

import msgspec
from msgspec import Struct

from vtrans_hybrid.errors import ProtocolError
from vtrans_hybrid.models import JobStatus
from vtrans_hybrid.policy import bounded

__all__ = [
    "ChannelError",
    "Drain",
    "Events",
    "Hello",
    "Ignored",
    "Ping",
    "Pong",
    "Received",
    "Sent",
    "Subscribe",
    "Synced",
    "Unsubscribe",
    "Welcome",
    "decode_message",
    "encode_message",
]


class Hello(Struct, frozen=True, gc=False, tag="hello", omit_defaults=True):
    """First message of the client."""

    agent: str


class Subscribe(Struct, frozen=True, gc=False, tag="subscribe", kw_only=True, omit_defaults=True):
    """Ask for whatever is newer than the versions given."""

    id: int
    mode: str
    jobs: dict[str, int]
    epoch: str | None = None


class Unsubscribe(Struct, frozen=True, gc=False, tag="unsubscribe"):
    """Ask for nothing more of these jobs."""

    jobs: list[str]


class Pong(Struct, frozen=True, gc=False, tag="pong"):
    """Answer to `Ping`."""

    n: int


Sent = Hello | Subscribe | Unsubscribe | Pong


class Welcome(Struct, frozen=True, gc=False, tag="welcome", kw_only=True):
    """First message of the server; times in seconds."""

    epoch: str
    ping: float = 5.0
    grace: float = 5.0
    spread: float = 0.25
    max_jobs: int = 1000
    max_frame: int = 65536
    replica: str = ""


class Events(Struct, frozen=True, gc=False, tag="events"):
    """Statuses, in ascending order of version for each job."""

    events: list[JobStatus]


class Synced(Struct, frozen=True, gc=False, tag="synced"):
    """Every job of subscribe `id` has been brought to its newest status once."""

    id: int
    errors: dict[str, str] = {}


class Ping(Struct, frozen=True, gc=False, tag="ping"):
    """Sign of life; `spread` in seconds follows the number of clients."""

    n: int
    spread: float | None = None


class Drain(Struct, frozen=True, gc=False, tag="drain", kw_only=True):
    """The server is about to leave.

    The client connects anew within `spread` seconds; the server closes after `deadline` seconds.
    """

    spread: float = 0.25
    deadline: float = 60.0
    reason: str = ""


class ChannelError(Struct, frozen=True, gc=False, tag="error", kw_only=True):
    """The server could not do what was asked."""

    code: str
    id: int | None = None
    retry_after: float | None = None
    message: str = ""

    @property
    def hold(self) -> float:
        """Seconds for which the server asks us to stay away, within the bounds of Retry-After."""
        return bounded(self.retry_after or 0.0)


class Ignored(Struct, frozen=True, gc=False):
    """A message of a type that this client does not know: a sign of life, nothing more."""


_Known = Welcome | Events | Synced | Ping | Drain | ChannelError

Received = _Known | Ignored


class _Typed(Struct):
    type: str


_encoder = msgspec.json.Encoder()
_known = msgspec.json.Decoder(_Known)
_typed = msgspec.json.Decoder(_Typed)

_KNOWN_TYPES = frozenset(kind.__struct_config__.tag for kind in get_args(_Known))


def encode_message(message: Sent) -> bytes:
    """Return the text frame for a message of the client."""
    return _encoder.encode(message)


def decode_message(frame: bytes) -> Received:
    """Read one frame of the server; docs/protocol.md section 3.

    Raises:
        ProtocolError: It is no JSON object, or a known message with wrong content.
    """
    try:
        message: Received = _known.decode(frame)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        if _has_unknown_type(frame):
            return Ignored()
        raise ProtocolError(f"a frame of the channel makes no sense: {error}") from error
    return message


def _has_unknown_type(frame: bytes) -> bool:
    try:
        return _typed.decode(frame).type not in _KNOWN_TYPES
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False
