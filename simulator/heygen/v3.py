"""The paths of v3: orders, one translation, many at once, batches."""

import re
from collections import Counter
from typing import Final, TypeVar

import msgspec
from aiohttp import web

from simulator.envelope import Refused
from simulator.faults import ErrorInside
from simulator.gate import OWNER
from simulator.heygen.answers import (
    BULK_WORDS,
    WORDS,
    BatchItem,
    BatchPage,
    StatusItem,
    Translation,
    body,
    failure_message,
    page,
)
from simulator.heygen.bodies import Batch, Order, Retitle
from simulator.heygen.face import Answer, Face, Seen, json_answer
from simulator.heygen.languages import LANGUAGES
from simulator.heygen.video import DURATION
from simulator.jobs import HeyGenOrder, JobSpec

__all__ = ["MOST", "routes"]

MOST: Final = 100
"""Ids in one read, items in one batch, and on one page."""

T = TypeVar("T")

_PAGE: Final = 20  # of which no limit was asked
_PATH: Final = "/v3/video-translations"
_NOTHING: Final = HeyGenOrder()


def routes(face: Face) -> list[web.RouteDef]:
    """Return the routes of v3 that are about translations."""
    v3 = _V3(face)
    return [
        web.post(_PATH, v3.create),
        web.get(_PATH, v3.list_all),
        web.get(f"{_PATH}/languages", v3.languages),
        web.get(f"{_PATH}/statuses", v3.read_many),
        web.post(f"{_PATH}/batches", v3.create_batch),
        web.get(f"{_PATH}/batches/{{batch_id}}", v3.read_batch),
        web.get(f"{_PATH}/{{job_id}}", v3.read_one),
        web.patch(f"{_PATH}/{{job_id}}", v3.retitle),
        web.delete(f"{_PATH}/{{job_id}}", v3.delete),
    ]


class _V3:
    """The handlers."""

    def __init__(self, face: Face) -> None:
        self._face = face

    # -- orders -------------------------------------------------------------------------------

    async def create(self, request: web.Request) -> web.Response:
        """Answer `POST /v3/video-translations`."""
        owner = request[OWNER]

        async def make(order: Order) -> Answer:
            ordered = self._face.specify(order, owner)
            self._face.check_room(owner, len(ordered))
            made = await self._face.take(ordered, owner)
            return 200, body({"video_translation_ids": made})

        return await self._face.once(request, Order, make)

    async def create_batch(self, request: web.Request) -> web.Response:
        """Answer `POST /v3/video-translations/batches`."""
        owner = request[OWNER]

        async def make(batch: Batch) -> Answer:
            if batch.callback_url is not None:
                self._face.check_destination(batch.callback_url, param="callback_url")
            ordered = self._ordered(batch, owner)
            if len(ordered) > MOST:
                text = f"A batch may have {MOST} items, languages counted."
                raise Refused("invalid_parameter", text, param="video_translations")
            self._face.check_room(owner, len(ordered), is_batch=True)
            items: list[str | dict[str, str]] = []
            for one in ordered:
                items += [one] if isinstance(one, dict) else await self._face.take([one], owner)
            batch_id = self._face.new_id()
            self._face.notebook.add_batch(
                batch_id, items, owner=owner, title=batch.title, created_at=self._face.now
            )
            return 202, body({"batch_id": batch_id})

        return await self._face.once(request, Batch, make)

    def _ordered(self, batch: Batch, owner: str | None) -> list[JobSpec | dict[str, str]]:
        """Return for each item of a batch what it orders, or why there is nothing to order."""
        ordered: list[JobSpec | dict[str, str]] = []
        for index, order in enumerate(batch.video_translations):
            try:
                ordered += self._face.specify(order, owner)
            except Refused as error:
                if error.code == "invalid_parameter":
                    param = f"video_translations[{index}].{error.param}"
                    raise Refused(error.code, error.message, param=param) from error
                # One bad source does not spoil the others.
                bad = {"code": error.code, "message": error.message}
                ordered += [bad] * len(order.output_languages)
        return ordered

    # -- one ----------------------------------------------------------------------------------

    async def read_one(self, request: web.Request) -> web.Response:
        """Answer `GET /v3/video-translations/{id}`."""
        return self._one(request)

    async def retitle(self, request: web.Request) -> web.Response:
        """Answer `PATCH /v3/video-translations/{id}`."""
        owner, job_id = request[OWNER], request.match_info["job_id"]
        self._face.find(job_id, owner)
        wanted = await self._face.read(request, Retitle)
        self._face.retitle(job_id, wanted.title, owner)
        return self._one(request)

    async def delete(self, request: web.Request) -> web.Response:
        """Answer `DELETE /v3/video-translations/{id}`."""
        job_id = request.match_info["job_id"]
        await self._face.delete(job_id, request[OWNER])
        return json_answer(200, body({"id": job_id}))

    def _one(self, request: web.Request) -> web.Response:
        seen = self._face.look(request, request.match_info["job_id"], "one")
        data = self._translation(request, seen)
        if isinstance(seen.fault, ErrorInside):
            error = {"code": seen.fault.code, "message": seen.fault.message}
            return json_answer(200, msgspec.json.encode({"error": error, "data": data}))
        return json_answer(200, body(data))

    def _translation(self, request: web.Request, seen: Seen) -> Translation:
        status, spec, extra = seen.entry.status, seen.spec, seen.spec.heygen or _NOTHING
        told = Translation(
            id=seen.job_id,
            status=seen.told(WORDS),
            title=self._face.notebook.title(seen.job_id) or spec.title,
            input_language=extra.input_language,
            output_language=spec.language,
            translate_audio_only=None if spec.heygen is None else extra.audio_only,
            created_at=int(spec.created_at),
            callback_id=spec.callback_id,
            failure_message=failure_message(status) if seen.state == "error" else None,
        )
        if not self._face.options.strict:
            told.progress = status.progress
            told.estimated_time_remaining = status.estimated_time_remaining
        if seen.has_result:
            told.duration = DURATION
            told.video_url = self._face.url(request, seen.job_id, "video.mp4")
            if extra.captions:
                told.srt_caption_url = self._face.url(request, seen.job_id, "captions.srt")
                told.vtt_caption_url = self._face.url(request, seen.job_id, "captions.vtt")
        return told

    # -- many ---------------------------------------------------------------------------------

    async def list_all(self, request: web.Request) -> web.Response:
        """Answer `GET /v3/video-translations`."""
        limit = _limit(request)
        after = request.query.get("token") or None
        # One more than asked for tells whether there is another page.
        found = self._face.listing(request[OWNER], after=after, limit=limit + 1)
        items = []
        for entry in found[:limit]:
            try:
                items.append(
                    self._translation(request, self._face.look(request, entry.job_id, "list"))
                )
            except Refused:
                continue  # a fault hides it
        return json_answer(
            200, page(items, found[limit - 1].job_id if len(found) > limit else None)
        )

    async def languages(self, _request: web.Request) -> web.Response:
        """Answer `GET /v3/video-translations/languages`."""
        return json_answer(200, body({"languages": list(LANGUAGES)}))

    async def read_many(self, request: web.Request) -> web.Response:
        """Answer `GET /v3/video-translations/statuses`."""
        job_ids, batch_ids = _ids(request, "video_translation_ids"), _ids(request, "batch_ids")
        if not job_ids and not batch_ids:
            text = "Name translations or batches, with commas between them."
            raise Refused("invalid_parameter", text, param="video_translation_ids")
        if len(job_ids) + len(batch_ids) > MOST:
            text = f"Ask for at most {MOST} at once."
            raise Refused("invalid_parameter", text, param="video_translation_ids")
        lines = [self._line(request, job_id) for job_id in job_ids]
        for batch_id in batch_ids:
            lines += self._lines_of_batch(request, batch_id)
        return json_answer(200, page(*_slice(request, lines, MOST)))

    async def read_batch(self, request: web.Request) -> web.Response:
        """Answer `GET /v3/video-translations/batches/{batch_id}`."""
        batch_id = request.match_info["batch_id"]
        batch = self._face.notebook.batch(batch_id, request[OWNER])
        if batch is None:
            raise Refused("not_found", f"Batch {batch_id!r} not found.")
        items = [
            BatchItem(
                item_index=line.item_index or 0,
                status=line.status,
                video_id=line.video_id,
                error=line.error,
            )
            for line in self._lines_of_batch(request, batch_id)
        ]
        shown, next_token = _slice(request, items, _limit(request))
        told = BatchPage(
            batch_id=batch_id,
            status=_status_of_batch(items),
            total_items=len(items),
            counts_by_status=dict(Counter(item.status for item in items)),
            created_at=batch.created_at,
            items=shown,
            has_more=next_token is not None,
            next_token=next_token,
            title=batch.title,
        )
        return json_answer(200, body(told))

    def _lines_of_batch(self, request: web.Request, batch_id: str) -> list[StatusItem]:
        batch = self._face.notebook.batch(batch_id, request[OWNER])
        if batch is None:
            return [StatusItem(status="not_found", batch_id=batch_id)]
        lines = []
        for index, item in enumerate(batch.items):
            if isinstance(item, str):
                line = self._line(request, item)
            else:
                line = StatusItem(status="failed", error=item)
            lines.append(msgspec.structs.replace(line, batch_id=batch_id, item_index=index))
        return lines

    def _line(self, request: web.Request, job_id: str) -> StatusItem:
        try:
            seen = self._face.look(request, job_id, "bulk")
        except Refused:
            return StatusItem(video_id=job_id, status="not_found")
        error = None
        if seen.state == "error":
            problem = seen.entry.status.error
            code = "failed" if problem is None else problem.code
            error = {"code": code, "message": failure_message(seen.entry.status) or ""}
        return StatusItem(video_id=job_id, status=seen.told(BULK_WORDS), error=error)


def _status_of_batch(items: list[BatchItem]) -> str:
    """Return what a batch as a whole has come to."""
    words = {item.status for item in items}
    if words <= {"failed", "not_found"}:
        return "failed"
    return "completed" if words <= {"completed", "failed", "not_found"} else "processing"


def _ids(request: web.Request, name: str) -> list[str]:
    return [one for one in request.query.get(name, "").split(",") if one]


def _limit(request: web.Request) -> int:
    text = request.query.get("limit", str(_PAGE))
    if not re.fullmatch(r"[0-9]{1,3}", text) or not 1 <= int(text) <= MOST:
        raise Refused("invalid_parameter", f"limit is from 1 to {MOST}.", param="limit")
    return int(text)


def _slice(request: web.Request, items: list[T], limit: int) -> tuple[list[T], str | None]:
    """Return one page of what is there, and the token of the next one; None if there is none."""
    text = request.query.get("token") or "0"
    if not re.fullmatch(r"[0-9]{1,6}", text):
        raise Refused("invalid_parameter", "This token is none of ours.", param="token")
    end = int(text) + limit
    return items[int(text) : end], str(end) if end < len(items) else None
