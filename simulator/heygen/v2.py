"""The paths of v2, which HeyGen is about to retire."""

from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec
from aiohttp import web

from simulator.envelope import Refused, refusal
from simulator.faults import ErrorInside
from simulator.gate import OWNER
from simulator.heygen.answers import V2_WORDS, TranslationV2, failure_message
from simulator.heygen.bodies import OrderV2
from simulator.heygen.face import Face, json_answer
from simulator.heygen.languages import LANGUAGES

__all__ = ["routes"]

_PATH: Final = "/v2/video_translate"
_SUNSET: Final = "Sat, 31 Oct 2026 00:00:00 GMT"  # the announced month (RFC 8594)

Handle = Callable[[web.Request], Awaitable[web.Response]]


def routes(face: Face) -> list[web.RouteDef]:
    """Return the routes of v2 that are about translations."""
    v2 = _V2(face)
    return [
        web.get(f"{_PATH}/target_languages", v2.answers(v2.languages)),
        web.post(_PATH, v2.answers(v2.create)),
        web.get(f"{_PATH}/{{job_id}}", v2.answers(v2.read_one)),
    ]


class _V2:
    """The handlers."""

    def __init__(self, face: Face) -> None:
        self._face = face

    def answers(self, handle: Handle) -> Handle:
        """Return a handler that does as its path's retirement has it."""
        if self._face.options.legacy_v2 == "on":
            return handle

        async def deprecated(request: web.Request) -> web.Response:
            answer = await handle(request)
            answer.headers["Sunset"] = _SUNSET
            return answer

        async def retired(request: web.Request) -> web.Response:
            text = "v2 was retired; use /v3/video-translations."
            return refusal(Refused("gone", text), request.path)

        return deprecated if self._face.options.legacy_v2 == "deprecated" else retired

    async def languages(self, _request: web.Request) -> web.Response:
        """Answer `GET /v2/video_translate/target_languages`."""
        return _told({"languages": list(LANGUAGES)})

    async def create(self, request: web.Request) -> web.Response:
        """Answer `POST /v2/video_translate`, which knows no Idempotency-Key."""
        owner = request[OWNER]
        order = await self._face.read(request, OrderV2)
        ordered = self._face.specify(order.modern(), owner)
        self._face.check_room(owner, len(ordered))
        made = await self._face.take(ordered, owner)
        if order.output_languages is None:
            return _told({"video_translate_id": made[0]})
        return _told({"video_translate_ids": made})

    async def read_one(self, request: web.Request) -> web.Response:
        """Answer `GET /v2/video_translate/{id}`."""
        seen = self._face.look(request, request.match_info["job_id"], "one")
        data = TranslationV2(
            video_translate_id=seen.job_id,
            title=self._face.notebook.title(seen.job_id) or seen.spec.title,
            status=seen.told(V2_WORDS),
            url=self._face.url(request, seen.job_id, "video.mp4") if seen.has_result else None,
            message=failure_message(seen.entry.status) if seen.state == "error" else None,
        )
        if isinstance(seen.fault, ErrorInside):
            return _told(data, {"code": seen.fault.code, "message": seen.fault.message})
        return _told(data)


def _told(data: Any, error: dict[str, str] | None = None) -> web.Response:
    return json_answer(200, msgspec.json.encode({"error": error, "data": data}))
