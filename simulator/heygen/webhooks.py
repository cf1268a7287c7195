"""The paths of v3 that are about webhooks: who is told, of what, and what there was to tell."""

import re
from itertools import islice
from typing import Final

from aiohttp import web

from simulator.clock import Clock
from simulator.deliverer import Deliverer
from simulator.endpoints import Endpoint as Registered
from simulator.envelope import Refused
from simulator.gate import OWNER
from simulator.heygen.answers import Endpoint, Event, body, page
from simulator.heygen.bodies import EndpointChange, NewEndpoint
from simulator.heygen.face import Context, Face, json_answer
from simulator.notices import EVENT_TYPES, Notice
from simulator.orders import timestamp

__all__ = ["routes"]

_PATH: Final = "/v3/webhooks"
_PAGE: Final = 10  # of which no limit was asked
_MOST: Final = 100  # on one page

# What HeyGen tells of beside translations. Nothing of it happens here, but code that is written for
# HeyGen may ask for it.
_ELSEWHERE: Final = frozenset(
    f"{what}.{how}"
    for what in (
        "avatar_video",
        "avatar_video_caption",
        "avatar_video_gif",
        "instant_avatar",
        "live_avatar",
        "photo_avatar_add_motion",
        "photo_avatar_generation",
        "photo_avatar_train",
        "proofread_creation",
        "video_agent",
    )
    for how in ("success", "fail")
) | {"personalized_video"}


def routes(face: Face, context: Context) -> list[web.RouteDef]:
    """Return the routes of v3 that are about webhooks.

    Args:
        face: of the replica.
        context: what it shares with the server.
    """
    webhooks = _Webhooks(face, context.deliverer, context.clock)
    one = f"{_PATH}/endpoints/{{endpoint_id}}"
    return [
        web.post(f"{_PATH}/endpoints", webhooks.add),
        web.get(f"{_PATH}/endpoints", webhooks.list_endpoints),
        web.patch(one, webhooks.change),
        web.delete(one, webhooks.remove),
        web.post(f"{one}/rotate-secret", webhooks.rotate),
        web.get(f"{_PATH}/event-types", webhooks.list_types),
        web.get(f"{_PATH}/events", webhooks.list_events),
    ]


class _Webhooks:
    """The handlers."""

    def __init__(self, face: Face, deliverer: Deliverer, clock: Clock) -> None:
        self._face = face
        self._deliverer = deliverer
        self._endpoints = deliverer.endpoints
        self._clock = clock

    # -- endpoints ----------------------------------------------------------------------------

    async def add(self, request: web.Request) -> web.Response:
        """Answer `POST /v3/webhooks/endpoints`: the only answer but one that has a secret."""
        wanted = await self._face.read(request, NewEndpoint)
        _check_events(wanted.events)
        await self._check_url(wanted.url)
        try:
            made = self._endpoints.add(
                wanted.url,
                events=wanted.events,
                entity_id=wanted.entity_id,
                owner=request[OWNER],
                wall=self._clock.wall(),
                now=self._clock.now(),
            )
        except OverflowError as error:
            raise Refused("resource_limit_reached", str(error)) from error
        return json_answer(200, body(_shown(made, secret=made.secret.text)))

    async def list_endpoints(self, request: web.Request) -> web.Response:
        """Answer `GET /v3/webhooks/endpoints`, the oldest first."""
        limit, after = _limit(request), request.query.get("token") or None
        found = self._endpoints.of(request[OWNER])
        ids = [endpoint.endpoint_id for endpoint in found]
        if after is not None and after not in ids:
            raise Refused("invalid_parameter", "This token is none of ours.", param="token")
        begin = 0 if after is None else ids.index(after) + 1
        shown = [_shown(endpoint) for endpoint in found[begin : begin + limit]]
        is_last = begin + limit >= len(found)
        return json_answer(200, page(shown, None if is_last else shown[-1].endpoint_id))

    async def change(self, request: web.Request) -> web.Response:
        """Answer `PATCH /v3/webhooks/endpoints/{endpoint_id}`."""
        self._find(request)
        wanted = await self._face.read(request, EndpointChange)
        _check_events(wanted.events)
        if wanted.url is not None:
            await self._check_url(wanted.url)
        # Looked up once more, for it may have changed while the URL was asked.
        changed = self._endpoints.change(self._find(request), url=wanted.url, events=wanted.events)
        return json_answer(200, body(_shown(changed)))

    async def remove(self, request: web.Request) -> web.Response:
        """Answer `DELETE /v3/webhooks/endpoints/{endpoint_id}`."""
        self._endpoints.remove(self._find(request).endpoint_id)
        return json_answer(200, body({}))

    async def rotate(self, request: web.Request) -> web.Response:
        """Answer `POST /v3/webhooks/endpoints/{endpoint_id}/rotate-secret`."""
        rotated = self._endpoints.rotate(self._find(request))
        data = {"endpoint_id": rotated.endpoint_id, "secret": rotated.secret.text}
        return json_answer(200, body(data))

    # -- events -------------------------------------------------------------------------------

    async def list_types(self, _request: web.Request) -> web.Response:
        """Answer `GET /v3/webhooks/event-types`: what can happen here."""
        lines = [
            {"event_type": kind, "description": meaning} for kind, meaning in EVENT_TYPES.items()
        ]
        return json_answer(200, page(lines, None))

    async def list_events(self, request: web.Request) -> web.Response:
        """Answer `GET /v3/webhooks/events`, the newest first."""
        limit, kind = _limit(request), request.query.get("event_type")
        _check_events([kind] if kind else None, param="event_type")
        entity_id = request.query.get("entity_id")
        token = request.query.get("token") or None
        wanted = (
            notice
            for notice in self._deliverer.events(request[OWNER], after=token)
            if kind in (None, "", notice.event_type)
            and entity_id in (None, "", notice.entry.job_id)
        )
        # One more than asked for tells whether there is another page.
        found = list(islice(wanted, limit + 1))
        lines = [self._line(notice) for notice in found[:limit]]
        return json_answer(200, page(lines, lines[-1].event_id if len(found) > limit else None))

    # -- private methods ----------------------------------------------------------------------

    def _line(self, notice: Notice) -> Event:
        return Event(
            event_id=notice.event_id,
            event_type=notice.event_type,
            event_data=self._deliverer.data(notice),
            created_at=notice.entry.status.updated_at or "",
        )

    def _find(self, request: web.Request) -> Registered:
        endpoint_id = request.match_info["endpoint_id"]
        endpoint = self._endpoints.get(endpoint_id)
        if endpoint is None or endpoint.owner != request[OWNER]:
            raise Refused("not_found", "There is no such webhook endpoint.")
        return endpoint

    async def _check_url(self, url: str) -> None:
        self._face.check_destination(url, param="url")
        if not await self._deliverer.answers(url):
            text = "This URL does not answer OPTIONS with a 2xx within a second."
            raise Refused("invalid_parameter", text, param="url")


def _shown(endpoint: Registered, *, secret: str | None = None) -> Endpoint:
    return Endpoint(
        endpoint_id=endpoint.endpoint_id,
        url=endpoint.url,
        events=endpoint.events,
        status="enabled",
        created_at=timestamp(endpoint.created_at),
        secret=secret,
    )


def _check_events(events: list[str] | None, *, param: str = "events") -> None:
    for event in events or ():
        if event not in EVENT_TYPES and event not in _ELSEWHERE:
            raise Refused("invalid_parameter", f"There is no event {event!r}.", param=param)


def _limit(request: web.Request) -> int:
    text = request.query.get("limit", str(_PAGE))
    if not re.fullmatch(r"[0-9]{1,3}", text) or not 1 <= int(text) <= _MOST:
        raise Refused("invalid_parameter", f"limit is from 1 to {_MOST}.", param="limit")
    return int(text)
