"""Webhooks: the news that a server brings to the application's own address.

    receiver = WebhookReceiver(client)
    app.add_routes([receiver.route("/hooks/heygen")])     # aiohttp
    Route("/hooks/heygen", receiver)                      # Starlette, FastAPI: any ASGI server
    status, headers, body = receiver.receive(...)         # everything else

    async with receiver.registered("https://you.example/hooks/heygen"):
        ...                                               # deliveries come

What a delivery says is checked, and not believed: it makes the client read the jobs that it names,
and what that read finds is one more update of `client.watch()`. So a delivery that never comes,
comes twice, late or out of order changes nothing but how soon a status is known.

    what comes                                   what is answered, and done
    ----------                                   --------------------------
    OPTIONS                                      200: whoever registers an address looks whether it
                                                 is there
    another method than POST                     405
    a body of more than 1 MiB                    413
    anything before there is a secret            503: the sender tries again
    no signature, a wrong one, an old timestamp  401
    headers or a body without sense              400
    what came before                             200
    news of jobs once the client is closed       503
    news of jobs                                 200, and they are read
    news of anything else                        200, and it proves nothing of news of jobs

The answer never waits for that read, and has no body.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Iterable
from functools import reduce
from threading import Lock
from typing import TYPE_CHECKING, NamedTuple, Protocol

from msgspec import UNSET, UnsetType

from vtrans_hybrid import deliveries
from vtrans_hybrid.asgi import Receive, Scope, Send, serve
from vtrans_hybrid.blocking import Client
from vtrans_hybrid.client import AsyncClient
from vtrans_hybrid.deliveries import MAX_BODY, TOLERANCE, Delivery, Replays
from vtrans_hybrid.endpoints import Endpoint, Registration
from vtrans_hybrid.errors import (
    BadSignature,
    ClientClosed,
    MissingSignature,
    StaleTimestamp,
    WebhookError,
)
from vtrans_hybrid.signatures import Headers, Secret, Secrets

if TYPE_CHECKING:
    from vtrans_hybrid.routes import RouteDef

__all__ = ["Announced", "Delivery", "ReceiverStats", "Reply", "WebhookReceiver", "verify"]

logger = logging.getLogger("vtrans_hybrid.webhooks")

_METHODS = "OPTIONS, POST"

_UNREADY = "there is no secret to check it with: give one, or enter `registered`"

_ADDRESS = re.compile(r"https?://[^\s/?#]\S*", re.IGNORECASE)

_EPISODE = 60.0
"""Seconds between two warnings about deliveries that are refused, however many there are."""


def verify(
    headers: Headers,
    body: bytes,
    secret: Secret | Iterable[Secret] | Secrets,
    *,
    now: float | None = None,
    tolerance: float = TOLERANCE,
) -> Delivery:
    """Return what a webhook delivery says, if it is genuine; by HeyGen's or Standard Webhooks' way.

    Args:
        headers: `Headers`: a mapping, or pairs of text or bytes. Case does not count.
        body: Its body, byte for byte as it came.
        secret: The secret of the endpoint; several while one takes the place of another. A
            `Secrets` is what this library makes of them for itself.
        now: The present, in Unix seconds; None asks the clock of this machine.
        tolerance: Seconds by which it may be late, or ahead.

    Raises:
        MissingSignature: It is not signed.
        BadSignature: It is signed by somebody else, or was changed on its way.
        StaleTimestamp: It was sent too long ago, or in the future.
        MalformedDelivery: It makes no sense, or is longer than 1 MiB.
        ValueError: There is no secret: nothing can be genuine.
        TypeError: The body has been read as something else than bytes, or a secret is None.
    """
    moment = time.time() if now is None else now
    return deliveries.verify(headers, body, secret, now=moment, tolerance=tolerance)


class Reply(NamedTuple):
    """What to answer to a request."""

    status: int
    """HTTP status."""
    headers: dict[str, str]
    """Headers that belong to this status."""
    body: bytes
    """Always empty: whoever is refused is not told why."""


class ReceiverStats(NamedTuple):
    """What has come to a receiver so far."""

    accepted: int
    """Genuine deliveries that were new. If they named jobs, these were read."""
    repeated: int
    """Genuine ones that had come before."""
    forged: int
    """Refused: not signed, or not with a secret that is known here."""
    stale: int
    """Refused: sent too long ago, or in the future."""
    malformed: int
    """Refused: too long, or without sense."""
    unready: int
    """Put off: there was no secret yet, or the client was closed."""


class Announced(Protocol):
    """Who is told of jobs that have news: an `AsyncClient`, a `Client`."""

    def announced(self, jobs: Iterable[str]) -> None:
        """Read jobs soon, for they have news. Called from any thread; does not wait.

        Args:
            jobs: The ids of the jobs.
        """


class WebhookReceiver:
    """Takes webhook deliveries, and lets a client read what they are about.

    It may be called from any thread, and serves any number of web servers at once.

    Args:
        client: Whom to tell.
        secret: What deliveries are signed with; several while one takes the place of another. Left
            out (`UNSET`), nothing is taken in before `registered` brings one.
        tolerance: Seconds by which a delivery may be late, or ahead.
        clock: Returns the time of day in Unix seconds, by which timestamps are judged; None is that
            of the system.

    Raises:
        ValueError: The secret is empty.
        TypeError: The client is none, or the secret is no text; None, too, which is what an
            environment variable is that was forgotten.
    """

    def __init__(
        self,
        client: Announced,
        secret: Secret | Iterable[Secret] | UnsetType = UNSET,
        *,
        tolerance: float = TOLERANCE,
        clock: Callable[[], float] | None = None,
    ) -> None:
        if not callable(getattr(client, "announced", None)):
            raise TypeError(f"a receiver tells a client, not a {type(client).__name__}")
        self._client = client
        self._given = () if secret is UNSET else (Secrets(secret),)
        self._registered: dict[str, Secrets] = {}
        self._secrets: Secrets | None = None
        self._gather_secrets()
        self._tolerance = tolerance
        self._clock = clock or time.time
        self._replays = Replays()
        self._counts = dict.fromkeys(ReceiverStats._fields, 0)
        self._refused = 0
        self._warned_at: float | None = None
        self._lock = Lock()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} for {self._client!r}>"

    # The three faces.

    def receive(self, method: str, headers: Headers, body: bytes) -> Reply:
        """Take one request of any web framework, and return what to answer. Never waits.

        Args:
            method: Its method.
            headers: `Headers`: a mapping, or pairs of text or bytes. Case does not count.
            body: Its body, byte for byte as it came.
        """
        if method == "OPTIONS":
            return Reply(200, {"Allow": _METHODS}, b"")
        if method != "POST":
            return Reply(405, {"Allow": _METHODS}, b"")
        with self._lock:
            return Reply(self._take(headers, body), {}, b"")

    def route(self, path: str) -> RouteDef:
        """Return a route for an application of aiohttp: `app.add_routes([receiver.route(path)])`.

        Args:
            path: Where the application takes deliveries, such as /hooks/heygen.
        """
        from vtrans_hybrid.routes import route

        return route(path, self.receive)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request by ASGI: the receiver is an ASGI application, wherever it is put."""
        await serve(self.receive, scope, receive, send)

    def registered(self, url: str) -> Registration:
        """Let the server deliver to us inside of a block: `async with receiver.registered(...)`.

        The endpoint is added at the beginning, with a secret of its own, and removed at the end.
        One that an earlier run has left at the same address is replaced, and jobs that had news
        since are read. With a `Client` it is `with receiver.registered(...)`.

        Args:
            url: Where the server reaches us; it looks whether somebody answers, for which a web
                server that is about to start is given ten seconds.

        Returns:
            A context manager, which is entered as the `Endpoint` and raises what `Endpoints` does.

        Raises:
            TypeError: The client manages no endpoints.
            ValueError: The url is no http or https address with a host.
        """
        if not isinstance(self._client, (AsyncClient, Client)):
            raise TypeError(f"a client manages endpoints, not a {type(self._client).__name__}")
        if not _ADDRESS.fullmatch(url):
            raise ValueError("url must look like https://you.example/hooks/heygen")
        return Registration(self._client, url, began=self._began, ended=self._ended)

    def stats(self) -> ReceiverStats:
        """Return counters; costs nothing."""
        return ReceiverStats(**self._counts)

    # Private methods.

    def _began(self, endpoint: Endpoint) -> None:
        with self._lock:
            self._registered[endpoint.endpoint_id] = Secrets(endpoint.secret)
            self._gather_secrets()

    def _ended(self, endpoint: Endpoint) -> None:
        with self._lock:
            del self._registered[endpoint.endpoint_id]
            self._gather_secrets()

    def _gather_secrets(self) -> None:
        known = [*self._given, *self._registered.values()]
        self._secrets = reduce(Secrets.__or__, known) if known else None

    # The lock is held.

    def _take(self, headers: Headers, body: bytes) -> int:
        now = self._clock()
        if len(body) > MAX_BODY:
            return self._refuse("malformed", 413, f"a body of {len(body)} bytes", now)
        if self._secrets is None:
            return self._refuse("unready", 503, _UNREADY, now)
        try:
            delivery = verify(headers, body, self._secrets, now=now, tolerance=self._tolerance)
        except (MissingSignature, BadSignature) as error:
            return self._refuse("forged", 401, error, now)
        except StaleTimestamp as error:
            return self._refuse("stale", 401, error, now)
        except WebhookError as error:
            return self._refuse("malformed", 400, error, now)
        return self._accept(delivery, now)

    def _accept(self, delivery: Delivery, now: float) -> int:
        logger.debug("< %s %s: %s", delivery.event_type, delivery.event_id, delivery.job_ids)
        if self._replays.knows(delivery, now):
            self._counts["repeated"] += 1
            return 200
        try:
            if delivery.job_ids:  # to name none would say that news of jobs are to be expected
                self._client.announced(delivery.job_ids)
        except ClientClosed as error:
            return self._refuse("unready", 503, error, now)
        self._replays.note(delivery, now)
        self._counts["accepted"] += 1
        return 200

    def _refuse(self, kind: str, status: int, why: object, now: float) -> int:
        self._counts[kind] += 1
        self._refused += 1
        # Anybody may send anything, as often as he likes: that must not fill the log.
        if self._warned_at is None or not 0 <= now - self._warned_at < _EPISODE:
            logger.warning("refused webhook deliveries: %d, the last one: %s", self._refused, why)
            self._warned_at, self._refused = now, 0
        return status
