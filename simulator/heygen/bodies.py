"""What orders say, and what is wrong with those that do not fit.

Unknown fields are ignored, for real clients send some. Fields whose value changes nothing here are
checked all the same, so that what is refused by HeyGen is refused here.
"""

import re
from typing import Annotated, Any, Final, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct

from simulator.envelope import Refused

__all__ = [
    "Asset",
    "Batch",
    "EndpointChange",
    "NewEndpoint",
    "Order",
    "OrderV2",
    "Retitle",
    "Source",
    "decoded",
]

T = TypeVar("T")

Text = Annotated[str, Meta(max_length=500)]
WebAddress = Annotated[str, Meta(max_length=2048, pattern=r"^https?://[^\s/?#@]+([/?#]\S*)?$")]
SourceAddress = Annotated[str, Meta(max_length=4096, pattern=r"^https?://[^\s/?#]+([/?#]\S*)?$")]
Languages = Annotated[
    list[Annotated[str, Meta(min_length=1, max_length=100)]], Meta(min_length=1, max_length=100)
]
EventTypes = Annotated[list[Annotated[str, Meta(max_length=100)]], Meta(max_length=100)]

_PLACE: Final = re.compile(r"^(?P<what>.*?)(?: - at `\$\.?(?P<place>[^`]*)`)?$", re.DOTALL)
_MISSING: Final = re.compile(r"missing required field `(\w+)`")


class Url(Struct, frozen=True, gc=False, tag_field="type", tag="url"):
    """A file that lies somewhere on the web."""

    url: SourceAddress

    def __repr__(self) -> str:
        return "<Url>"  # it may be signed, and then it is a secret


class Asset(Struct, frozen=True, gc=False, tag_field="type", tag="asset_id"):
    """A file that was uploaded; here any id will do."""

    asset_id: Annotated[str, Meta(min_length=1, max_length=255)]


Source = Url | Asset


class Order(Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """The body of `POST /v3/video-translations`."""

    video: Source
    output_languages: Languages
    title: Text | None = None
    audio: Source | None = None
    input_language: Text | None = None
    translate_audio_only: bool = False
    speaker_num: Annotated[int, Meta(ge=0, le=100)] | None = None
    mode: Literal["speed", "precision"] | None = None
    callback_url: WebAddress | None = None
    callback_id: Text | None = None
    enable_caption: bool = False
    keep_the_same_format: bool | None = None
    enable_dynamic_duration: bool = True
    disable_music_track: bool = False
    enable_speech_enhancement: bool = False
    enable_watermark: bool = False
    start_time: Annotated[float, Meta(ge=0)] | None = None
    end_time: Annotated[float, Meta(ge=0)] | None = None
    brand_voice_id: Text | None = None
    srt: Source | None = None
    srt_role: Literal["input", "output"] | None = None
    folder_id: Text | None = None
    fps_mode: Literal["vfr", "cfr", "passthrough"] | None = None

    def __repr__(self) -> str:
        return f"<Order {self.output_languages}>"  # addresses may be secrets


class OrderV2(Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """The body of `POST /v2/video_translate`."""

    video_url: SourceAddress
    output_language: Annotated[str, Meta(min_length=1, max_length=100)] | None = None
    output_languages: Languages | None = None
    title: Text | None = None
    translate_audio_only: bool = False
    speaker_num: Annotated[int, Meta(ge=0, le=100)] | None = None
    callback_id: Text | None = None
    callback_url: WebAddress | None = None
    enable_dynamic_duration: bool = True
    brand_voice_id: Text | None = None
    keep_the_same_format: bool | None = None
    mode: Literal["fast", "quality"] | None = None

    def __repr__(self) -> str:
        return f"<OrderV2 {self.output_languages or self.output_language}>"

    def modern(self) -> Order:
        """Return the same order in the words of v3.

        Raises:
            Refused: it names no language.
        """
        languages = self.output_languages
        if languages is None and self.output_language is not None:
            languages = [self.output_language]
        if languages is None:
            raise Refused("invalid_parameter", "Name a language.", param="output_language")
        return Order(
            video=Url(self.video_url),
            output_languages=languages,
            title=self.title,
            translate_audio_only=self.translate_audio_only,
            callback_url=self.callback_url,
            callback_id=self.callback_id,
        )


class Batch(Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """The body of `POST /v3/video-translations/batches`."""

    video_translations: Annotated[list[Order], Meta(min_length=1, max_length=100)]
    title: Text | None = None
    callback_url: WebAddress | None = None

    def __repr__(self) -> str:
        return f"<Batch of {len(self.video_translations)}>"


class Retitle(Struct, frozen=True, gc=False):
    """The body of `PATCH /v3/video-translations/{id}`."""

    title: Annotated[str, Meta(min_length=1, max_length=500)]


class NewEndpoint(Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """The body of `POST /v3/webhooks/endpoints`."""

    url: Annotated[str, Meta(min_length=1, max_length=2048)]
    events: EventTypes | None = None
    entity_id: Annotated[str, Meta(min_length=1, max_length=255)] | None = None

    def __repr__(self) -> str:
        return "<NewEndpoint>"  # its address may well be a secret


class EndpointChange(Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """The body of `PATCH /v3/webhooks/endpoints/{endpoint_id}`."""

    url: Annotated[str, Meta(min_length=1, max_length=2048)] | None = None
    events: EventTypes | None = None

    def __repr__(self) -> str:
        return "<EndpointChange>"


def decoded(body: bytes, kind: type[T]) -> T:
    """Return what a body says.

    Args:
        body: JSON.
        kind: what it must be.

    Raises:
        Refused: `invalid_parameter`, with the field that is wrong or missing as its `param`.
    """
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        what, param = _blamed(str(error))
        raise Refused("invalid_parameter", f"{what}.", param=param) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Refused("invalid_parameter", "The body must be a JSON object.") from error


def _blamed(text: str) -> tuple[str, str | None]:
    """Return what an error of msgspec says without its place, and the place."""
    found: Any = _PLACE.match(text)
    what, place = found["what"], found["place"] or ""
    missing = _MISSING.search(what)
    if missing is not None:
        place = f"{place}.{missing[1]}".lstrip(".")
    return what, place or None
