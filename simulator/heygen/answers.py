"""What the face answers: shapes, and the words in which a state is told there."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import Struct

from simulator.messages import Status
from simulator.notices import EventData

__all__ = [
    "BULK_WORDS",
    "BatchItem",
    "BatchPage",
    "Endpoint",
    "Event",
    "STYLES",
    "StatusItem",
    "Translation",
    "TranslationV2",
    "V2_WORDS",
    "WORDS",
    "body",
    "failure_message",
    "page",
]

WORDS: Final = {"error": "failed"}
"""The states of which one translation and the list speak in other words than we do."""
BULK_WORDS: Final = {"pending": "queued", "running": "processing", "error": "failed"}
"""The same for `statuses` and the items of a batch."""
V2_WORDS: Final = {"completed": "success", "error": "failed"}
"""The same for v2."""

STYLES: Final[Mapping[str, Mapping[str, str]]] = {
    "guides": {
        "pending": "waiting",
        "running": "processing",
        "completed": "succeeded",
        "error": "failed",
    },
    "v2": V2_WORDS,
    "bulk": BULK_WORDS,
    "upper": {
        "pending": "PENDING",
        "running": "RUNNING",
        "completed": "COMPLETED",
        "error": "FAILED",
    },
}
"""Words that do not belong where they are shown, by the `style` of the fault `alias_words`."""

_MESSAGES: Final = {
    "source_unreadable": (
        "Failed to download video from url, please check the url is valid or the video is public"
    ),
    "audio_missing": ("Your video's audio is missing or corrupted, please try with another video"),
}


class Translation(Struct, gc=False, omit_defaults=True, kw_only=True):
    """One translation, as v3 tells of it."""

    id: str
    status: str
    title: str | None = None
    input_language: str | None = None
    output_language: str | None = None
    duration: float | None = None
    """Of the result, in seconds."""
    translate_audio_only: bool | None = None
    created_at: int | None = None
    """Unix time in seconds."""
    video_url: str | None = None
    srt_caption_url: str | None = None
    vtt_caption_url: str | None = None
    callback_id: str | None = None
    failure_message: str | None = None
    progress: float | None = None
    """Not HeyGen's; never there while the face is strict."""
    estimated_time_remaining: float | None = None
    """The same."""


class TranslationV2(Struct, frozen=True, gc=False, kw_only=True):
    """One translation, as v2 tells of it, nulls and all."""

    video_translate_id: str
    title: str | None = None
    status: str
    url: str | None = None
    message: str | None = None


class StatusItem(Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """One line of `statuses`."""

    video_id: str | None = None
    status: str
    error: dict[str, str] | None = None
    batch_id: str | None = None
    item_index: int | None = None


class BatchItem(Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """One item of a batch."""

    item_index: int
    status: str
    video_id: str | None = None
    error: dict[str, str] | None = None


class BatchPage(Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """A batch, and some of its items."""

    batch_id: str
    status: str
    total_items: int
    counts_by_status: dict[str, int]
    created_at: int
    """Unix time in seconds."""
    items: list[BatchItem]
    has_more: bool
    next_token: str | None = None
    title: str | None = None


class Endpoint(Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """Where somebody wants to be told of events."""

    endpoint_id: str
    url: str
    events: tuple[str, ...] | None = None
    status: str
    created_at: str
    """RFC 3339."""
    secret: str | None = None
    """Of a new one only."""

    def __repr__(self) -> str:
        return f"<Endpoint {self.endpoint_id}>"


class Event(Struct, frozen=True, gc=False, kw_only=True):
    """One line of the history of events."""

    event_id: str
    event_type: str
    event_data: EventData
    created_at: str
    """RFC 3339."""


def body(data: object) -> bytes:
    """Return the JSON of an answer of v3 around its data."""
    return msgspec.json.encode({"data": data})


def page(data: list[Any], next_token: str | None) -> bytes:
    """Return the JSON of one page of a list of v3.

    Args:
        data: what is on it.
        next_token: of the page after it; None if this is the last one.
    """
    document = {"data": data, "has_more": next_token is not None}
    if next_token is not None:
        document["next_token"] = next_token
    return msgspec.json.encode(document)


def failure_message(status: Status) -> str | None:
    """Return why a translation failed, in HeyGen's words where they are known.

    None if it did not.
    """
    if status.state != "error":
        return None
    if status.error is None:
        return "The translation failed."
    return _MESSAGES.get(status.error.code, status.error.message)
