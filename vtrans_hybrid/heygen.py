"""The HeyGen dialect: its API from operations to requests, and back from answers to statuses.

No I/O. What the API promises is written down beside the code that relies on it; where its guides,
its schema and its answers differ, every form seen is understood, and nothing is concluded from a
word that is new. `HeyGen` speaks version 3, `HeyGenLegacy` version 2.

    where                   waiting          working     done        failed
    -----                   -------          -------     ----        ------
    v3, one job and lists   pending          running     completed   failed
    v3, many at once        queued           processing  completed   failed, not_found
    v2                      pending          running     success     failed
    guides, other clients   pending, waiting processing  succeeded   failed

There is no progress, no estimate, no channel and no way to cancel. A read of many jobs brings no
result, so whatever ends there is read alone (`Answer.hearsay`); so is an end that has no result
yet, which follows within moments.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from difflib import get_close_matches
from typing import Literal, TypedDict
from urllib.parse import urlencode

from vtrans_hybrid.dialect import (
    AddEndpoint,
    Answer,
    Capabilities,
    Delete,
    Dialect,
    EventHistory,
    Languages,
    ListEndpoints,
    ListJobs,
    Operation,
    Read,
    RemoveEndpoint,
    Request,
    Response,
    Submit,
    lacking,
)
from vtrans_hybrid.errors import InvalidRequest, JobNotFound, ProtocolError, Unsupported
from vtrans_hybrid.heygen_answers import (
    about_webhooks,
    accepted,
    language_names,
    listed,
    opened,
    read_alone,
    read_together,
)
from vtrans_hybrid.models import JobStatus, State, check_job_id

__all__ = [
    "HeyGen",
    "HeyGenAsset",
    "HeyGenLegacy",
    "HeyGenOptions",
    "HeyGenVersion",
    "check_video",
    "misspelt",
]

HeyGenVersion = Literal["v3", "v2"]


class HeyGenAsset(TypedDict, total=False):
    """A file: `{"type": "url", "url": ...}` or `{"type": "asset_id", "asset_id": ...}`."""

    type: Literal["url", "asset_id"]
    """Which of the other two fields says where it is."""
    url: str
    """Where HeyGen fetches it."""
    asset_id: str
    """What HeyGen called it when it was uploaded."""


class HeyGenOptions(TypedDict, total=False):
    """Further fields of an order, as HeyGen's API names them. All may be left out.

    What they do is up to HeyGen, and so is what becomes of those that are left out. A field that is
    not listed here is sent as it is given.
    """

    title: str
    """What the translation is called in HeyGen's lists."""
    mode: Literal["speed", "precision"]
    """Whether it is to be soon or good; the same words with either version of the API."""
    input_language: str
    """Language of the video; left out, HeyGen listens for it."""
    translate_audio_only: bool
    """Whether to leave the picture, lips and all, as it is."""
    speaker_num: int
    """How many people speak; left out, HeyGen counts them."""
    enable_caption: bool
    """Whether to make captions, too; `JobStatus.raw` has their addresses."""
    keep_the_same_format: bool
    """Whether to keep resolution and bit rate of the video."""
    enable_dynamic_duration: bool
    """Whether the result may be longer or shorter than the video, as the speech needs it."""
    disable_music_track: bool
    """Whether to take out the music behind the speech."""
    enable_speech_enhancement: bool
    """Whether to clean up the speech."""
    enable_watermark: bool
    """Whether to put a watermark on the result."""
    start_time: float
    """Second of the video from which on to translate."""
    end_time: float
    """Second of the video up to which to translate."""
    audio: HeyGenAsset
    """Sound to use in place of the video's."""
    srt: HeyGenAsset
    """Subtitles (SRT) to go by."""
    srt_role: str
    """What these are: "input" says what is spoken in the video, "output" what is to be spoken."""
    brand_voice_id: str
    """The brand voice of the account to speak with."""
    folder_id: str
    """The folder of the account that the result is put into."""
    callback_url: str
    """Where HeyGen posts the end of this job."""
    callback_id: str
    """What comes back with the job, in `JobStatus.raw` and in webhooks."""


_JOBS = "/v3/video-translations"
_ENDPOINTS = "/v3/webhooks/endpoints"
_ENDS = ("video_translate.success", "video_translate.fail")

_MOST_ANSWER = 8 * 2**20
"""Bytes of the longest answer: a page of jobs with signed URLs."""


class HeyGen:
    """Version 3 of HeyGen's API."""

    capabilities = Capabilities(
        max_bulk=100,
        bulk_from=20,
        max_body=7000,  # the ids travel in the URL, of which servers take 8 KiB
        operations=frozenset(
            {
                AddEndpoint,
                Delete,
                EventHistory,
                Languages,
                ListEndpoints,
                ListJobs,
                RemoveEndpoint,
            }
        ),
        may_lose_jobs=False,
        # A job may be unknown for moments after its order: three tries in half a minute.
        unknown_grace=20.0,
        unknown_interval=10.0,
        key_header="x-api-key",
        key_prefix="",
    )

    def __repr__(self) -> str:
        return "HeyGen's API"

    @property
    def fallback(self) -> Dialect | None:
        """None: nobody else speaks like this."""
        return None

    def request(self, operation: Operation) -> Request:
        """Build the request for an operation."""
        match operation:
            case Submit():
                body = {
                    **operation.options,
                    "video": _asset(operation.video),
                    "output_languages": operation.languages,
                }
                return Request.post(_JOBS, body, key=operation.key)
            case Read(jobs=jobs) if len(jobs) == 1:
                [job_id] = jobs
                return _get(f"{_JOBS}/{check_job_id(job_id)}")
            case Read(jobs=jobs):
                named = ",".join(map(check_job_id, jobs))
                return _get(f"{_JOBS}/statuses", video_translation_ids=named)
            case Delete():
                return Request(method="DELETE", path=f"{_JOBS}/{check_job_id(operation.job_id)}")
            case ListJobs():
                return _get(_JOBS, limit=operation.limit, token=operation.token or None)
            case Languages():
                return _get(f"{_JOBS}/languages")
            case _:
                return _request_about_webhooks(operation)

    def decipher(self, operation: Operation, response: Response) -> Answer:
        """Read the answer to an operation."""
        document = opened(response, operation)
        match operation:
            case Submit():
                return accepted(document, operation)
            case Read(jobs=jobs) if len(jobs) == 1:
                [job_id] = jobs
                return read_alone(document, job_id)
            case Read():
                return read_together(document, operation)
            case Delete(job_id=job_id):
                # What is left of it is a tombstone, for whoever watches it.
                gone = JobStatus(job_id=job_id, state=State.CANCELED, gone=True)
                return Answer(statuses=[gone])
            case ListJobs():
                return listed(document)
            case Languages():
                return language_names(document)
            case _:
                return about_webhooks(operation, document)


class HeyGenLegacy:
    """Version 2 of HeyGen's API, which is about to be switched off.

    It reads jobs one by one, and an order that is sent again is carried out again: where the answer
    to an order was lost, that is an error.
    """

    capabilities = replace(
        HeyGen.capabilities,
        max_bulk=1,
        operations=frozenset({Languages}),
        repeats_orders=False,
    )

    def __repr__(self) -> str:
        return "version 2 of HeyGen's API"

    @property
    def fallback(self) -> Dialect | None:
        """None: nobody else speaks like this."""
        return None

    def request(self, operation: Operation) -> Request:
        """Build the request for an operation."""
        match operation:
            case Submit(languages=wanted, options=options):
                body = {**options, "video_url": operation.video}
                if "mode" in options:
                    body["mode"] = _LEGACY_MODES.get(options["mode"], options["mode"])
                if len(wanted) == 1:
                    body["output_language"] = wanted[0]
                else:
                    body["output_languages"] = wanted
                return Request.post("/v2/video_translate", body, key=operation.key)
            case Read(jobs=jobs):
                [job_id] = jobs
                return _get(f"/v2/video_translate/{check_job_id(job_id)}")
            case Languages():
                return _get("/v2/video_translate/target_languages")
            case _:
                raise lacking(operation)

    def decipher(self, operation: Operation, response: Response) -> Answer:
        """Read the answer to an operation."""
        try:
            document = opened(response, operation)
        except ProtocolError as error:
            if response.status in (404, 410):
                error.add_note('version 2 may be switched off: use api_version="v3"')
            raise
        except (InvalidRequest, JobNotFound) as error:
            if response.status != 410:
                raise
            # Of no job does this say that it is gone: whoever believed it would order it again.
            sentence = 'version 2 of the API is switched off (HTTP 410): use api_version="v3"'
            raise Unsupported(sentence, code=error.code) from error
        match operation:
            case Submit():
                return accepted(document, operation)
            case Read(jobs=jobs):
                [job_id] = jobs
                return read_alone(document, job_id)
            case _:
                return language_names(document)


_LEGACY_MODES = {"speed": "fast", "precision": "quality"}


# Requests.


def _get(path: str, **query: str | int | None) -> Request:
    given = {name: value for name, value in query.items() if value is not None}
    asked = f"?{urlencode(given, safe=',:')}" if given else ""
    return Request(method="GET", path=path + asked, max_answer=_MOST_ANSWER)


def check_video(video: str) -> None:
    """Check that a video is an address, or may be the id of an asset; not a file of this machine.

    Raises:
        ValueError: It is neither.
    """
    scheme, mark, _ = video.partition("://")
    if mark and scheme.lower() not in ("http", "https"):
        raise ValueError(f"HeyGen fetches a video by http or https, not by {scheme!r:.40}")
    if not mark and _FILE.search(video.strip()):
        raise ValueError(
            f"{video!r:.200} is neither the URL of a video nor the id of an asset: "
            "a file has to be uploaded first, or to lie at an https address"
        )


_FILE = re.compile(r"[/\\\s]|\.(?:avi|m4v|mkv|mov|mp4|mpe?g|webm)$", re.IGNORECASE)


def misspelt(options: Iterable[str]) -> dict[str, str]:
    """Return the fields of an order that look like known ones, written wrongly, with these."""
    known = HeyGenOptions.__annotations__
    unknown = [name for name in options if name not in known]
    close = ((name, get_close_matches(name, known, 1, cutoff=0.75)) for name in unknown)
    return {name: found[0] for name, found in close if found}


def _asset(video: str) -> HeyGenAsset:
    """Return what a video is: one to be fetched, or one that was uploaded before."""
    if "://" in video:
        return {"type": "url", "url": video}
    return {"type": "asset_id", "asset_id": video}


def _request_about_webhooks(operation: Operation) -> Request:
    match operation:
        case AddEndpoint():
            body = {"url": operation.url, "events": operation.events or _ENDS}
            return Request.post(_ENDPOINTS, body)
        case ListEndpoints():
            return _get(_ENDPOINTS, limit=operation.limit, token=operation.token or None)
        case RemoveEndpoint():
            path = f"{_ENDPOINTS}/{check_job_id(operation.endpoint_id)}"
            return Request(method="DELETE", path=path)
        case EventHistory():
            token = operation.token or None
            return _get("/v3/webhooks/events", limit=operation.limit, token=token)
        case _:
            raise lacking(operation)
