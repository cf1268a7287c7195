"""What a webhook says: the end of a job, in the words of who ordered it. Pure.

A notice is made from what the log holds and nothing else, its id too. Whoever makes it again, after
a restart or on another replica, makes the same one, and its receiver knows it for a repetition.
"""

import hashlib
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from msgspec import Struct, json

from simulator.histories import Entry
from simulator.jobs import JobSpec
from simulator.signatures import Secret

__all__ = ["EVENT_TYPES", "EventData", "FAIL", "History", "Notice", "Outcome", "SUCCESS", "headers"]

SUCCESS: Final = "video_translate.success"
FAIL: Final = "video_translate.fail"

EVENT_TYPES: Final[Mapping[str, str]] = {
    SUCCESS: "A video translation has completed.",
    FAIL: "A video translation has failed.",
}
"""The types of events that there are, and when they come."""

_MAX_HISTORY: Final = 10_000  # events; older ones are forgotten


class EventData(Struct, frozen=True, gc=False, kw_only=True, omit_defaults=True):
    """What an event of HeyGen is about."""

    video_translate_id: str
    url: str | None = None
    """Where the translation is; of a success only."""
    callback_id: str | None = None
    output_language: str | None = None
    message: str | None = None
    """Why there is none; of a failure only."""


class Outcome(NamedTuple):
    """What a job has come to, in HeyGen's words."""

    url: str | None = None
    """Where the translation is now."""
    message: str | None = None
    """Why there is none."""

    @classmethod
    def of(cls, entry: Entry) -> "Outcome":
        """Return what a final version itself says of it."""
        error = entry.status.error
        return cls(entry.status.result_url, None if error is None else error.message)


class _Payload(Struct, frozen=True, gc=False, kw_only=True):
    event_type: str
    event_data: EventData


class Notice:
    """The end of one job.

    Args:
        entry: its final version.
        spec: of the job.
    """

    __slots__ = ("entry", "event_id", "spec")

    def __init__(self, entry: Entry, spec: JobSpec) -> None:
        self.entry = entry
        self.spec = spec
        # Not of the epoch: a job that lives on in a newer one has not ended again.
        digest = hashlib.blake2b(f"{entry.job_id}\n{entry.version}".encode(), digest_size=16)
        self.event_id = f"evt_{digest.hexdigest()}"
        """By which a receiver tells a repetition."""

    def __repr__(self) -> str:
        return f"<Notice {self.event_id} of {self.entry!r}>"

    @property
    def event_type(self) -> str:
        """One of `EVENT_TYPES`."""
        return SUCCESS if self.entry.status.state == "completed" else FAIL

    def data(self, outcome: Outcome) -> EventData:
        """Return what an event of HeyGen says of it."""
        is_success = self.event_type == SUCCESS
        return EventData(
            video_translate_id=self.entry.job_id,
            url=outcome.url if is_success else None,
            callback_id=self.spec.callback_id,
            output_language=self.spec.language,
            message=None if is_success else outcome.message,
        )

    def body(self, outcome: Outcome) -> bytes:
        """Return what a receiver gets: the status document, or an event of HeyGen."""
        if self.spec.dialect == "native":
            return self.entry.document
        return json.encode(_Payload(event_type=self.event_type, event_data=self.data(outcome)))


def headers(notice: Notice, body: bytes, *, secret: Secret | None, at: int) -> dict[str, str]:
    """Return the headers of a delivery, signed as its receiver expects it.

    Args:
        notice: to be delivered.
        body: as it is sent, byte by byte.
        secret: signs it; None leaves it unsigned.
        at: Unix time in seconds.
    """
    if notice.spec.dialect == "native":
        found = {"webhook-id": notice.event_id, "webhook-timestamp": str(at)}
        if secret is not None:
            found["webhook-signature"] = secret.standard(notice.event_id, at, body)
        return found
    found = {"Heygen-Event-Id": notice.event_id, "Heygen-Timestamp": str(at)}
    if secret is not None:
        found["Heygen-Signature"] = secret.heygen(body)
    return found


class History:
    """The events that there were, whether they reached anybody or not; the newest 10,000."""

    def __init__(self) -> None:
        self._events: dict[str, Notice] = {}
        self._order: deque[str] = deque()
        self._position = 0

    def add(self, notice: Notice) -> None:
        """Take up an event; harmless if the log has it no later than one that was taken up."""
        if notice.entry.position <= self._position:
            return
        self._position = notice.entry.position
        self._events[notice.event_id] = notice
        self._order.append(notice.event_id)
        if len(self._order) > _MAX_HISTORY:
            del self._events[self._order.popleft()]

    def newest(self, *, after: str | None = None) -> Iterator[Notice]:
        """Iterate over the events, the newest first.

        Args:
            after: begins behind the event of this id; None begins with the newest. One that is
                forgotten has nothing behind it.
        """
        events = reversed(self._order)
        if after is not None:
            for event_id in events:
                if event_id == after:
                    break
        return map(self._events.__getitem__, events)

    def clear(self) -> None:
        """Forget all of it."""
        self._events.clear()
        self._order.clear()
        self._position = 0
