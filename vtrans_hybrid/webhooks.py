"""Webhooks: the news that a server brings to the application's own address.

    receiver = WebhookReceiver(client, secret=os.environ["WEBHOOK_SECRET"])
    app.add_routes([receiver.route("/hooks/heygen")])     # aiohttp
    Route("/hooks/heygen", receiver)                      # Starlette, FastAPI: any ASGI server
    status, headers, body = receiver.receive(...)         # everything else

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
    anything once the client is closed           503
    what came before                             200
    news                                         200, and its jobs are read

The answer never waits for that read, and has no body.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from threading import Lock
from typing import TYPE_CHECKING, NamedTuple, Protocol

from vtrans_hybrid.asgi import Receive, Scope, Send, serve
from vtrans_hybrid.deliveries import MAX_BODY, TOLERANCE, Delivery, Replays, verify
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

_EPISODE = 60.0
"""Seconds between two warnings about deliveries that are refused, however many there are."""


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
    """Deliveries whose jobs were read."""
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
    """What is told of jobs that have news: an `AsyncClient`, a `Client`."""

    def announced(self, jobs: Iterable[str]) -> None:
        """Read jobs soon, for they have news. Called from any thread; does not wait."""


class WebhookReceiver:
    """Takes webhook deliveries, and lets a client read what they are about.

    It may be called from any thread, and serves any number of web servers at once.

    Args:
        client: Whom to tell.
        secret: What deliveries are signed with; several while one takes the place of another. None
            takes nothing in before `registered` brings one.
        tolerance: Seconds by which a delivery may be late, or ahead.
        clock: Returns the time of day in Unix seconds, by which timestamps are judged; None is that
            of the system.

    Raises:
        ValueError: The secret is empty.
    """

    def __init__(
        self,
        client: Announced,
        secret: Secret | Iterable[Secret] | None = None,
        *,
        tolerance: float = TOLERANCE,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self._client = client
        self._secrets = None if secret is None else Secrets(secret)
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
            headers: Its headers: a mapping, or pairs of text or bytes.
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

    def stats(self) -> ReceiverStats:
        """Return counters; costs nothing."""
        return ReceiverStats(**self._counts)

    # Private methods. The lock is held.

    def _take(self, headers: Headers, body: bytes) -> int:
        now = self._clock()
        if len(body) > MAX_BODY:
            return self._refuse("malformed", 413, f"a body of {len(body)} bytes", now)
        if self._secrets is None:
            return self._refuse("unready", 503, "there is no secret to check it with", now)
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
