"""What an order in HeyGen's words becomes: a specification for each of its languages. Pure.

The query of a video's address steers what becomes of it, for HeyGen's orders have no field to do
so: `https://example.com/talk.mp4?sim-delay=3:10&sim-failure=audio`.
"""

from typing import Final, NamedTuple
from urllib.parse import parse_qs, urlsplit

from simulator.envelope import Refused
from simulator.heygen.bodies import Asset, Order, Source
from simulator.heygen.languages import language_code
from simulator.jobs import Failure, HeyGenOrder, JobSpec, parse_delay
from simulator.orders import Dice, Orders

__all__ = ["Steering", "specs"]

_FAILURES: Final = {
    "audio": Failure("audio_missing", "The audio is missing."),
    "download": Failure("source_unreadable", "The video could not be downloaded."),
}
_LONGEST: Final = 300  # characters of a failure


class Steering(NamedTuple):
    """What the address of a video says of what shall become of it."""

    delay: str | None = None
    """How long the translation takes, as `jobs.parse_delay` understands it."""
    failure: Failure | None = None
    """Why it fails."""
    is_refused: bool = False
    """Whether the order itself is refused with `download_failed`."""

    @staticmethod
    def of(source: Source) -> "Steering":
        """Return what a source says.

        Raises:
            Refused: `invalid_parameter`, it says what cannot be.
        """
        if isinstance(source, Asset):
            return Steering()
        try:
            query = parse_qs(urlsplit(source.url).query)
            delay = query.get("sim-delay", [None])[0]
            if delay is not None:
                parse_delay(delay)
        except ValueError as error:
            raise Refused("invalid_parameter", str(error), param="video.url") from error
        word = query.get("sim-failure", [None])[0]
        if word is None:
            return Steering(delay)
        if word == "download":
            delay = delay or "0"  # nobody needs long to find no video
        failure = _FAILURES.get(word, Failure("failed", word[:_LONGEST]))
        return Steering(delay, failure, is_refused=word == "refused")


def specs(
    order: Order, orders: Orders, dice: Dice, *, created_at: float, owner: str | None
) -> list[JobSpec]:
    """Return the specification of each translation of an order, in the order of its languages.

    Their ids are of one stem, behind which the language stands.

    Args:
        order: in HeyGen's words.
        orders: what it leaves open.
        dice: for ids and seeds.
        created_at: Unix time in seconds.
        owner: whose translations they are.

    Raises:
        Refused: `invalid_parameter` (a language is unknown, or named twice) or `download_failed`.
    """
    codes = _codes(order.output_languages)
    steering = Steering.of(order.video)
    if steering.is_refused:
        raise Refused("download_failed", "Failed to download the video.", param="video")
    stem = f"{dice.ids.getrandbits(128):032x}"
    return [
        JobSpec(
            job_id=f"{stem}-{code}",
            video_url="" if isinstance(order.video, Asset) else order.video.url,
            language=language,
            title=order.title,
            delay=steering.delay or orders.delay,
            error_probability=1.0 if steering.failure else orders.error_probability,
            failure=steering.failure,
            seed=f"{dice.lives.getrandbits(64):016x}",
            speed=orders.speed,
            created_at=created_at,
            owner=owner,
            callback_url=order.callback_url,
            callback_id=order.callback_id,
            dialect="heygen",
            heygen=_only_heygens(order),
        )
        for language, code in zip(order.output_languages, codes, strict=True)
    ]


def _only_heygens(order: Order) -> HeyGenOrder:
    return HeyGenOrder(
        input_language=order.input_language,
        audio_only=order.translate_audio_only,
        captions=order.enable_caption,
    )


def _codes(languages: list[str]) -> list[str]:
    codes: list[str] = []
    for language in languages:
        code = language_code(language)
        if code is None:
            text = f"{language!r} is not a supported language."
            raise Refused("invalid_parameter", text, param="output_languages")
        if code in codes:
            text = f"{language!r} is there twice."
            raise Refused("invalid_parameter", text, param="output_languages")
        codes.append(code)
    return codes
