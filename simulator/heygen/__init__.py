"""HeyGen's face: its v3 and v2 paths for video translations, and the files behind its addresses.

The jobs are those of all other faces. docs/heygen.md says what differs from the real service.
"""

from random import Random
from typing import Final

from aiohttp import web

from simulator.clock import Clock
from simulator.envelope import is_heygen
from simulator.heygen import files, v2, v3, webhooks
from simulator.heygen.answers import failure_message
from simulator.heygen.face import Context, Face
from simulator.heygen.links import Links
from simulator.heygen.notebook import Notebook
from simulator.heygen.options import HeyGenOptions, LegacyV2
from simulator.histories import Entry
from simulator.notices import Outcome
from simulator.replica import Replica

__all__ = ["Context", "HeyGen", "HeyGenOptions", "LegacyV2"]

_REQUEST_ID: Final = "X-Request-Id"


class HeyGen:
    """What stays of the face while replicas come and go.

    Args:
        options: how it is set up.
        context: what it shares with the server.
    """

    def __init__(self, options: HeyGenOptions, context: Context) -> None:
        self._options = options
        self._context = context
        self._ids: Random = context.dice.ids
        clock: Clock = context.clock
        secret = self._ids.getrandbits(256).to_bytes(32, "big")
        self.links = Links(secret, clock.wall, lifetime=options.url_lifetime)
        """Sign the addresses of results."""
        self._notebook = Notebook(clock.now)

    def routes(self, replica: Replica) -> list[web.RouteDef]:
        """Return the routes of the face of a replica."""
        face = Face(replica, self._context, self._options, self._notebook, self.links)
        registry = webhooks.routes(face, self._context)
        return [*v3.routes(face), *v2.routes(face), *files.routes(face), *registry]

    def outcome(self, entry: Entry, base: str) -> Outcome:
        """Return what a translation has come to, for those who are told by webhook.

        Args:
            entry: its final version.
            base: the URL of the server.
        """
        url = self.links.url(base, entry.job_id, "video.mp4")
        return Outcome(url, failure_message(entry.status))

    async def number(self, request: web.Request, answer: web.StreamResponse) -> None:
        """Number an answer before it goes out, as HeyGen does with each of its own."""
        if is_heygen(request.path):
            answer.headers.setdefault(_REQUEST_ID, f"{self._ids.getrandbits(128):032x}")

    def forget(self) -> None:
        """Forget repeated orders, batches and remarks on jobs, for the jobs are lost."""
        self._notebook = Notebook(self._context.clock.now)
