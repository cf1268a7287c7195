"""What a webhook delivery says, whether it is genuine, and whether it came before. Pure.

A delivery is hearsay. All that is taken from it is which jobs have news; what the news is, a read
of those jobs tells. So nothing here looks at what it says of their state.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from vtrans_hybrid.errors import MalformedDelivery
from vtrans_hybrid.models import check_job_id
from vtrans_hybrid.signatures import Headers, Secret, Secrets, Signed, check_signature

__all__ = ["BODY_TIMEOUT", "Delivery", "MAX_BODY", "Replays", "TOLERANCE", "job_ids_of", "verify"]

MAX_BODY = 2**20
"""Bytes of the longest delivery that is looked at."""

BODY_TIMEOUT = 10.0
"""Seconds for a delivery to arrive whole, by when its sender has given up."""

TOLERANCE = 300.0
"""Seconds by which a delivery may be late; what the libraries of Standard Webhooks allow."""

_LONGEST_TYPE = 64
_NAMES = ("video_translate_id", "video_translation_id", "job_id")
_ABOUT_JOBS = ("video_translate.", "video_translation.")
"""How HeyGen's words for what happens to a translation begin."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """A delivery that is genuine. What it says of its jobs is left out: ask the server.

    Attributes:
        event_id: What the sender calls the event; empty where it does not say.
        event_type: The sender's word for what happened, such as video_translate.success; empty
            where it has none.
        job_ids: The jobs that have news; empty where the event is about something else.
        sent_at: When it was sent, in Unix seconds; None where the sender does not say.
        marks: By which it is known when it comes again. Each stands for what only the sender can
            have made: whoever has seen one delivery can neither let it pass for another, nor use
            the name of another up.
    """

    event_id: str
    event_type: str
    job_ids: tuple[str, ...]
    sent_at: float | None
    marks: tuple[bytes, ...] = field(repr=False)


def verify(
    headers: Headers,
    body: bytes,
    secret: Secret | Iterable[Secret] | Secrets,
    *,
    now: float,
    tolerance: float = TOLERANCE,
) -> Delivery:
    """Return what a delivery says, if it is genuine; `webhooks.verify` says what all that means."""
    if not isinstance(body, (bytes, bytearray, memoryview)):
        raise TypeError(f"the body is the bytes as they came, not {type(body).__name__}")
    secrets = secret if isinstance(secret, Secrets) else Secrets(secret)
    raw = bytes(body)
    if len(raw) > MAX_BODY:
        raise MalformedDelivery(f"the webhook is longer than {MAX_BODY} bytes")
    signed = check_signature(headers, raw, secrets, now=now, tolerance=tolerance)
    return _read(signed, raw)


def job_ids_of(document: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the jobs that an event is about, whichever way the sender names them.

    HeyGen's events hold `event_data` with `video_translate_id`, `video_translation_id` or `id`; the
    last is that of whatever the event is about, be it an avatar. The native backend posts a status
    document, which has a `job_id`.
    """
    data = document.get("event_data")
    if isinstance(data, Mapping):
        event_type = _type_of(document)
        is_about_jobs = not event_type or event_type.startswith(_ABOUT_JOBS)
        named = [data.get(name) for name in ((*_NAMES, "id") if is_about_jobs else _NAMES)]
    else:
        named = [document.get(name) for name in _NAMES]
    job_id = next((name for name in named if isinstance(name, str)), "")
    try:
        return (check_job_id(job_id),)
    except ValueError:
        return ()


def _read(signed: Signed, body: bytes) -> Delivery:
    document = _decode(body)
    event_type = _type_of(document)
    event_id = signed.event_id or _word(document, "event_id")
    job_ids = job_ids_of(document)
    marks: tuple[bytes, ...]
    if signed.is_id_signed:
        marks = (_digest(event_id),)
    else:
        # With the id alone, a copy under another id would be news. And with the id but not the
        # job, a copy under the id of an event to come would use that up.
        marks = (hashlib.sha256(body).digest(), _digest(event_id, event_type, *job_ids))
        marks = marks if event_id else marks[:1]
    return Delivery(
        event_id=event_id,
        event_type=event_type,
        job_ids=job_ids,
        sent_at=signed.sent_at,
        marks=marks,
    )


def _decode(body: bytes) -> dict[str, Any]:
    try:
        document = msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise MalformedDelivery("the webhook is signed, but its body is no JSON object")
    return document


def _type_of(document: Mapping[str, Any]) -> str:
    return _word(document, "event_type") or _word(document, "type")


def _word(document: Mapping[str, Any], name: str) -> str:
    value = document.get(name)
    return value[:_LONGEST_TYPE] if isinstance(value, str) else ""


def _digest(*words: str) -> bytes:
    return hashlib.sha256("\0".join(words).encode(errors="replace")).digest()


class Replays:
    """Remembers deliveries, to know those that come again. Bounded in number and in time.

    Senders that got no answer send again, HeyGen for up to a day, and no sender promises to do so
    only then. So a delivery that came before is no attack, as a rule; it just is no news.

    Args:
        capacity: How many deliveries are remembered, about; the oldest are forgotten first.
        lifetime: For how many seconds.
    """

    def __init__(self, *, capacity: int = 10_000, lifetime: float = 86_400.0) -> None:
        self._capacity = capacity
        self._lifetime = lifetime
        self._until: dict[bytes, float] = {}

    def __len__(self) -> int:
        return len(self._until)

    def knows(self, delivery: Delivery, now: float) -> bool:
        """Whether a delivery came before. `now` is in seconds, by any clock that goes on."""
        return any(self._until.get(mark, now) > now for mark in delivery.marks)

    def note(self, delivery: Delivery, now: float) -> None:
        """Remember a delivery."""
        for mark in delivery.marks:
            # Taken out first, for the order of insertion is to be the order of time.
            self._until.pop(mark, None)
            self._until[mark] = now + self._lifetime
        self._expire(now)

    def _expire(self, now: float) -> None:
        while self._until:
            oldest = next(iter(self._until))
            if len(self._until) <= self._capacity and self._until[oldest] > now:
                return
            del self._until[oldest]
