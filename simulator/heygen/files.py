"""The files that finished translations are fetched from, by their signed addresses."""

from aiohttp import web

from simulator.envelope import Refused
from simulator.heygen.face import Face
from simulator.heygen.links import FILES
from simulator.heygen.video import captions, video
from simulator.messages import ProblemError

__all__ = ["routes"]


def routes(face: Face) -> list[web.RouteDef]:
    """Return the route of the files."""

    async def fetch(request: web.Request) -> web.Response:
        """Answer `GET /files/{job_id}/{name}`."""
        if not face.links.admit(request.path, request.query):
            raise ProblemError("forbidden", "This address has expired, or was changed.")
        job_id, name = request.match_info["job_id"], request.match_info["name"]
        try:
            spec = face.replica.spec(job_id)
            face.find(job_id, spec.owner)
        except (KeyError, Refused) as error:
            raise ProblemError("not_found", "The translation was deleted.") from error
        headers = {"Cache-Control": "private, max-age=3600"}
        if name == "video.mp4":
            return web.Response(body=video(), content_type="video/mp4", headers=headers)
        kind = "vtt" if name.endswith(".vtt") else "srt"
        text = captions(kind, spec.language or "und")
        content_type = "text/vtt" if kind == "vtt" else "application/x-subrip"
        return web.Response(text=text, content_type=content_type, headers=headers)

    return [web.get(FILES, fetch)]
