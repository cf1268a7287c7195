"""The webhook endpoints that callers have registered, and whom of them an event concerns. Pure."""

from collections.abc import Collection
from random import Random
from typing import Final

from msgspec import Struct, structs

from simulator.notices import Notice
from simulator.signatures import Secret

__all__ = ["Endpoint", "Endpoints", "MAX_ENDPOINTS"]

MAX_ENDPOINTS: Final = 100
"""Endpoints that one owner may have."""


class Endpoint(Struct, frozen=True, gc=False, kw_only=True):
    """Where somebody wants to be told of his jobs."""

    endpoint_id: str
    url: str
    secret: Secret
    """Signs what is delivered."""
    events: tuple[str, ...] | None = None
    """The types of events that are wanted; None for all."""
    entity_id: str | None = None
    """The one job that it is about; None for all."""
    owner: str | None = None
    """Whose jobs it is told of; None for those of nobody in particular."""
    created_at: float
    """Unix time in seconds."""
    since: float
    """The same in monotonic seconds; what ended before concerns it not."""

    def __repr__(self) -> str:
        return f"<Endpoint {self.endpoint_id}>"  # its URL may well be a secret, too

    def wants(self, notice: Notice) -> bool:
        """Tell whether an event concerns it."""
        return (
            notice.spec.owner == self.owner
            and notice.entry.at >= self.since
            and self.entity_id in (None, notice.entry.job_id)
            and (self.events is None or notice.event_type in self.events)
        )


class Endpoints:
    """All endpoints of a server, by their ids.

    Args:
        random: for ids and secrets.
    """

    def __init__(self, random: Random) -> None:
        self._random = random
        self._all: dict[str, Endpoint] = {}

    def add(
        self,
        url: str,
        *,
        events: Collection[str] | None = None,
        entity_id: str | None = None,
        owner: str | None = None,
        wall: float,
        now: float,
    ) -> Endpoint:
        """Register an endpoint and return it.

        Args:
            url: where it is.
            events: as an endpoint has them.
            entity_id: likewise.
            owner: likewise.
            wall: the present, Unix time in seconds.
            now: the same in monotonic seconds.

        Raises:
            OverflowError: the owner has as many as he may have.
        """
        if len(self.of(owner)) >= MAX_ENDPOINTS:
            raise OverflowError(f"There are {MAX_ENDPOINTS} endpoints already; remove some.")
        endpoint = Endpoint(
            endpoint_id=f"{self._random.getrandbits(128):032x}",
            url=url,
            secret=Secret.new(self._random),
            events=None if events is None else tuple(events),
            entity_id=entity_id,
            owner=owner,
            created_at=wall,
            since=now,
        )
        self._all[endpoint.endpoint_id] = endpoint
        return endpoint

    def of(self, owner: str | None) -> list[Endpoint]:
        """Return the endpoints of an owner, the oldest first."""
        return [endpoint for endpoint in self._all.values() if endpoint.owner == owner]

    def get(self, endpoint_id: str) -> Endpoint | None:
        """Return an endpoint, whoever has registered it; None if there is none of this id."""
        return self._all.get(endpoint_id)

    def wanting(self, notice: Notice) -> list[Endpoint]:
        """Return the endpoints that an event concerns."""
        if notice.spec.dialect != "heygen":
            return []
        return [endpoint for endpoint in self._all.values() if endpoint.wants(notice)]

    def change(
        self, endpoint: Endpoint, *, url: str | None, events: Collection[str] | None
    ) -> Endpoint:
        """Replace what is given of an endpoint, and return what it is now.

        Args:
            endpoint: as it is.
            url: the new one; None leaves it.
            events: the new ones; None leaves them.
        """
        changed = structs.replace(
            endpoint,
            url=endpoint.url if url is None else url,
            events=endpoint.events if events is None else tuple(events),
        )
        return self._put(changed)

    def rotate(self, endpoint: Endpoint) -> Endpoint:
        """Give an endpoint a new secret, and return what it is now; the old one is dead."""
        return self._put(structs.replace(endpoint, secret=Secret.new(self._random)))

    def remove(self, endpoint_id: str) -> None:
        """Forget an endpoint."""
        self._all.pop(endpoint_id, None)

    def _put(self, endpoint: Endpoint) -> Endpoint:
        self._all[endpoint.endpoint_id] = endpoint
        return endpoint
