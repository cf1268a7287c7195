"""HeyGen's face of a replica: what its paths have in common, whatever their version."""

import math
import re
from collections.abc import Awaitable, Callable, Mapping
from hashlib import blake2b
from typing import Final, Literal, NamedTuple, TypeVar

import msgspec
from aiohttp import web

from simulator.clock import Clock
from simulator.deliverer import Deliverer
from simulator.envelope import Refused
from simulator.faults import (
    AliasWords,
    ErrorInside,
    Fault,
    LateUrl,
    NotFoundAtFirst,
    RegressState,
    Split,
    Stale,
)
from simulator.gate import OWNER
from simulator.heygen.answers import STYLES
from simulator.heygen.bodies import Order, decoded
from simulator.heygen.links import Links
from simulator.heygen.notebook import Notebook
from simulator.heygen.options import HeyGenOptions
from simulator.heygen.orders import specs
from simulator.histories import Entry
from simulator.jobs import FINAL_STATES, JobSpec
from simulator.limits import read_body
from simulator.messages import ProblemError
from simulator.orders import Dice, Orders
from simulator.plan import Facts, FaultPlan
from simulator.replica import Replica

__all__ = ["Answer", "Context", "Face", "Seen", "View", "json_answer"]

T = TypeVar("T", bound=msgspec.Struct)

_KEY: Final = re.compile(r"[A-Za-z0-9_\-:.]{1,255}")
_MOST: Final = 1_048_576  # bytes of a body, for a batch holds a hundred signed addresses
_LONGEST_WAIT: Final = 60  # s that who has too much open is asked to wait, at most
_RANKS: Final = {"pending": 0, "running": 1} | dict.fromkeys(FINAL_STATES, 2)

View = Literal["one", "list", "bulk"]
"""An answer about one translation and nothing else, about several, or one that has no URLs."""

Answer = tuple[int, bytes]
"""An HTTP status and a body."""


class Context(NamedTuple):
    """What a face shares with the server behind it."""

    plan: FaultPlan
    """Asked for a `read` fault at each translation that is read."""
    clock: Clock
    orders: Orders
    """What translations are like."""
    dice: Dice
    """For ids and seeds."""
    deliverer: Deliverer
    """Tells by webhook what becomes of translations."""


class Seen(NamedTuple):
    """One translation, as a caller gets to see it."""

    entry: Entry
    spec: JobSpec
    fault: Fault | None

    @property
    def job_id(self) -> str:
        """Its id."""
        return self.entry.job_id

    @property
    def state(self) -> str:
        """Its state, in our own words."""
        if isinstance(self.fault, RegressState):
            return self.fault.state
        return self.entry.status.state

    @property
    def has_result(self) -> bool:
        """Whether there is something to fetch."""
        return self.state == "completed" and not isinstance(self.fault, LateUrl)

    def told(self, words: Mapping[str, str]) -> str:
        """Return its state in other words, or in those that a fault wants."""
        style = STYLES[self.fault.style] if isinstance(self.fault, AliasWords) else words
        return style.get(self.state, self.state)


class Face:
    """Take orders and answer reads.

    Args:
        replica: who runs the jobs.
        context: what is shared with the server.
        options: how the face is set up.
        notebook: what is remembered beside the log.
        links: sign the addresses of results.
    """

    def __init__(
        self,
        replica: Replica,
        context: Context,
        options: HeyGenOptions,
        notebook: Notebook,
        links: Links,
    ) -> None:
        self.replica = replica
        self.options = options
        self.notebook = notebook
        self.links = links
        self._plan, self._clock, self._orders, self._dice, self._deliverer = context

    # -- orders -------------------------------------------------------------------------------

    async def once(
        self, request: web.Request, kind: type[T], make: Callable[[T], Awaitable[Answer]]
    ) -> web.Response:
        """Answer an order by `make`, or as its Idempotency-Key was answered before.

        Args:
            request: the order.
            kind: of its body.
            make: does what the body asks for.

        Raises:
            Refused: `invalid_parameter`, `request_in_progress` or `conflict`.
        """
        key = request.headers.get("Idempotency-Key")
        if key is None:
            return json_answer(*await make(await self.read(request, kind)))
        if not _KEY.fullmatch(key):
            text = "Idempotency-Key takes 1 to 255 letters, digits, and _ - : ."
            raise Refused("invalid_parameter", text, param="Idempotency-Key")
        owner = request[OWNER]
        with self.notebook.exclusively(owner, key):
            order = await self.read(request, kind)
            digest = blake2b(request.path.encode() + msgspec.json.encode(order)).digest()
            replay = self.notebook.replay(owner, key, digest)
            if replay is not None:
                return json_answer(replay.status, replay.body)
            status, body = await make(order)
            self.notebook.keep(owner, key, digest, status, body)
        return json_answer(status, body)

    async def read(self, request: web.Request, kind: type[T]) -> T:
        """Return the body of a request.

        Raises:
            Refused: `invalid_parameter`.
            ProblemError: `too_large`, `bad_request`.
        """
        return decoded(await read_body(request, most=_MOST), kind)

    def specify(self, order: Order, owner: str | None) -> list[JobSpec]:
        """Return the specification of each translation of an order.

        Raises:
            Refused: `invalid_parameter` or `download_failed`.
        """
        if order.callback_url is not None:
            self.check_destination(order.callback_url, param="callback_url")
        return specs(order, self._orders, self._dice, created_at=self._clock.wall(), owner=owner)

    async def take(self, ordered: list[JobSpec], owner: str | None) -> list[str]:
        """Create translations and return their ids."""
        made = [entry.job_id for entry in await self.replica.take(ordered)]
        # Any key is an owner: what nobody asks for must not be kept for each that ever came.
        if self.options.quota is not None:
            self.notebook.count(owner, made)
        if self.options.concurrency:
            self.notebook.watch(owner, made)
            self._tidy()
        return made

    def check_room(self, owner: str | None, count: int, *, is_batch: bool = False) -> None:
        """Refuse an order that is beyond what its key may have.

        An order is taken whole as long as there is room for one translation. A batch waits for its
        turn, so how much is open does not matter.

        Args:
            owner: who orders.
            count: how many translations.
            is_batch: whether they come in a batch.

        Raises:
            Refused: `quota_exceeded`, or `rate_limit_exceeded` with when to come again.
            ProblemError: `unavailable`, the server is about to leave.
        """
        if self.replica.is_draining:
            raise ProblemError("unavailable", "The server is about to leave.", retry_after=1.0)
        quota, cap = self.options.quota, self.options.concurrency
        if quota is not None and self.notebook.ordered(owner) + count > quota:
            raise Refused("quota_exceeded", f"Your plan has {quota} translations.")
        if is_batch or not cap:
            return
        left = self.notebook.open(owner, self._is_open)
        if len(left) >= cap:
            text = f"You have {len(left)} translations open; {cap} are allowed at once."
            raise Refused("rate_limit_exceeded", text, retry_after=self._wait_for(left))

    def check_destination(self, url: str, *, param: str) -> None:
        """Refuse a URL to which no webhook may go.

        Args:
            url: where somebody wants to be told.
            param: where he says so.

        Raises:
            Refused: `invalid_parameter`.
        """
        try:
            self._deliverer.destinations.check(url)
        except ValueError as error:
            raise Refused("invalid_parameter", str(error), param=param) from error

    def new_id(self) -> str:
        """Return an id that nothing else has."""
        return f"{self._dice.ids.getrandbits(128):032x}"

    # -- reads --------------------------------------------------------------------------------

    @property
    def now(self) -> int:
        """Unix time in whole seconds."""
        return int(self._clock.wall())

    def find(self, job_id: str, owner: str | None) -> Entry:
        """Return the newest version of a translation, faults left aside.

        Raises:
            Refused: `not_found`: it is unknown, somebody else's, or was deleted.
        """
        try:
            entry = self.replica.head(job_id, owner=owner)
        except ProblemError as error:
            raise _unknown(job_id) from error
        # HeyGen knows no canceled translations: what does not go on is not there.
        if entry.status.state == "canceled" or self.notebook.is_deleted(job_id):
            raise _unknown(job_id)
        return entry

    def look(self, request: web.Request, job_id: str, view: View) -> Seen:
        """Return a translation as this request gets to see it.

        Args:
            request: who asks.
            job_id: of the translation.
            view: in which kind of answer.

        Raises:
            Refused: `not_found`.
        """
        owner = request[OWNER]
        entry = self.find(job_id, owner)
        fault = self._fault(request, entry, view)
        match fault:
            case NotFoundAtFirst():
                raise _unknown(job_id)
            case Stale() | Split():
                entry = self.replica.as_of(fault).head(job_id, owner=owner)
        return Seen(entry, self.replica.spec(job_id), fault)

    def url(self, request: web.Request, job_id: str, name: str) -> str:
        """Return the address of a result file, where the caller can reach it."""
        return self.links.url(f"{request.scheme}://{request.host}", job_id, name)

    def listing(self, owner: str | None, *, after: str | None, limit: int) -> list[Entry]:
        """Return some of the owner's translations, the oldest first.

        Args:
            owner: whose they are.
            after: begins behind this one; None begins with the oldest.
            limit: at most so many.

        Raises:
            Refused: `invalid_parameter`: the owner has no such translation to begin behind, so that
                nothing would look like the end of the list.
        """
        if after is not None and not self.replica.is_visible(after, owner=owner):
            raise Refused("invalid_parameter", "This token is none of ours.", param="token")
        found: list[Entry] = []
        while len(found) < limit:
            page = self.replica.listing(owner=owner, after=after, limit=limit)
            found += [entry for entry in page if self._is_there(entry.job_id, owner)]
            if len(page) < limit:
                break
            after = page[-1].job_id
        return found[:limit]

    async def delete(self, job_id: str, owner: str | None) -> None:
        """Delete a translation; one that is open ends, for other faces, as canceled.

        Raises:
            Refused: `not_found`.
        """
        self.find(job_id, owner)
        await self.replica.cancel(job_id, owner=owner)
        self.notebook.delete(job_id)
        self._tidy()

    def retitle(self, job_id: str, title: str, owner: str | None) -> None:
        """Give a translation another title.

        Raises:
            Refused: `not_found`.
        """
        self.find(job_id, owner)
        self.notebook.retitle(job_id, title)
        self._tidy()

    # -- private methods ----------------------------------------------------------------------

    def _fault(self, request: web.Request, entry: Entry, view: View) -> Fault | None:
        if not self._plan.asks("read"):
            return None
        now = self._clock.now()
        facts = Facts(path=request.path, job=entry.job_id, key=request[OWNER], direction="out")
        age = self._clock.wall() - self.replica.spec(entry.job_id).created_at
        state = entry.status.state

        def applies(_rule: int, fault: Fault) -> bool:
            match fault:
                case NotFoundAtFirst(seconds=seconds):
                    return age < seconds
                case LateUrl(seconds=seconds):
                    return view != "bulk" and state == "completed" and now - entry.at < seconds
                case RegressState(state=word):
                    return _RANKS.get(state, 0) > _RANKS[word]
                case ErrorInside():
                    return view == "one"
            return True

        return self._plan.decide("read", facts, now, applies=applies)

    def _is_there(self, job_id: str, owner: str | None) -> bool:
        try:
            self.find(job_id, owner)
        except Refused:
            return False
        return True

    def _is_open(self, job_id: str) -> bool:
        try:
            spec = self.replica.spec(job_id)
            return not self.find(job_id, spec.owner).is_final
        except (KeyError, Refused):
            return False

    def _wait_for(self, job_ids: list[str]) -> int:
        """Return in how many seconds one of these may be done."""
        left = []
        for job_id in job_ids:
            entry = self.find(job_id, self.replica.spec(job_id).owner)
            age = self._clock.now() - entry.at
            left.append((entry.status.estimated_time_remaining or _LONGEST_WAIT) - age)
        return max(1, min(math.ceil(min(left)), _LONGEST_WAIT))

    def _tidy(self) -> None:
        self.notebook.tidy(lambda job_id: job_id in self.replica)


def json_answer(status: int, body: bytes) -> web.Response:
    """Return an answer of JSON."""
    return web.Response(
        status=status,
        body=body,
        headers={"Cache-Control": "no-store"},
        content_type="application/json",
    )


def _unknown(job_id: str) -> Refused:
    return Refused("not_found", f"Video translation {job_id!r} not found.")
