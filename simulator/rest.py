"""REST: what a client asks once (docs/protocol.md sections 4 and 5.1).

Each handler translates: a request into one question to the replica, the replica's answer into a
response. Refusals are raised as `ProblemError`; the gate in front of the handlers makes problem
documents of them, and says whose the request is.
"""

import asyncio
import contextlib
import logging
import math
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Final, TypeVar, cast, get_args

import msgspec
from aiohttp import web

from simulator.destinations import Destinations
from simulator.faults import Split, Stale
from simulator.gate import OWNER
from simulator.histories import Entry, Newer
from simulator.limits import read_body
from simulator.messages import (
    MAX_JOBS,
    BulkAnswer,
    BulkRequest,
    CreateAnswer,
    CreateRequest,
    Health,
    JobPage,
    Mode,
    PlainCreateAnswer,
    PlainCreateRequest,
    ProblemError,
    Status,
    encode,
)
from simulator.metrics import CONTENT_TYPE, Metric, exposition
from simulator.misfits import misfit
from simulator.plan import Facts, FaultPlan
from simulator.reads import Hindsight, Reader
from simulator.replica import Replica, ReplicaStats
from simulator.terms import PATIENCE

__all__ = ["poll_after", "routes"]

MAX_WAIT: Final = 25.0  # seconds; below the 30 s after which proxies lose patience
MAX_ANSWER: Final = 1_048_576  # bytes of events in one bulk answer
PAGE: Final = 100  # jobs of a page for which no limit was asked

_ON_LOOPBACK: Final = Destinations()
_PLAIN_RESULT: Final = {"completed": "completed", "error": "error", "canceled": "error"}
_IDEMPOTENCY_KEY: Final = re.compile(r"[!-~]{1,255}")
_EVENT_ID: Final = re.compile(r"([0-9A-Za-z_-]{1,64})\.([0-9]{1,15})")

_create_decoder = msgspec.json.Decoder(CreateRequest)
_plain_create_decoder = msgspec.json.Decoder(PlainCreateRequest)
_bulk_decoder = msgspec.json.Decoder(BulkRequest)

logger = logging.getLogger("simulator.rest")

T = TypeVar("T")


def routes(
    replica: Replica,
    *,
    plan: FaultPlan,
    ping: float = 5.0,
    metrics: Callable[[], Iterable[Metric]] = tuple,
    destinations: Destinations = _ON_LOOPBACK,
) -> list[web.RouteDef]:
    """Return the routes of REST.

    Args:
        replica: who is asked.
        plan: asked for a `read` fault when statuses are read.
        ping: seconds between the comments that keep a silent event stream awake.
        metrics: called for what `/metrics` shows beside the replica's own numbers.
        destinations: to which a `callback_url` may lead.
    """
    rest = _Rest(replica, plan, ping, metrics, destinations)
    return [
        web.post("/jobs", rest.create),
        web.get("/jobs", rest.list_jobs),
        web.delete("/jobs/{job_id}", rest.cancel),
        web.get("/status", rest.read_default_or_ids),
        web.post("/status", rest.read_many),
        web.get("/status/{job_id}", rest.read_one),
        web.get("/status/{job_id}/stream", rest.stream, allow_head=False),
        web.post("/create_job", rest.create_plain),
        web.get("/healthz", rest.health),
        web.get("/metrics", rest.show_metrics),
    ]


def poll_after(status: Status, age: float = 0.0) -> float | None:
    """Return in how many seconds the next poll is worth it, or None if no poll is (section 4.3).

    Args:
        status: the newest of its job.
        age: seconds since then. Left out where the answer has a tag, which stands for all of its
            bytes: they may depend on the status alone.
    """
    if status.state in _PLAIN_RESULT:
        return None
    remaining = status.estimated_time_remaining
    return 2.0 if remaining is None else min(max((remaining - age) / 2, 0.5), 30.0)


class _Rest:
    """The handlers, by what they do."""

    def __init__(
        self,
        replica: Replica,
        plan: FaultPlan,
        ping: float,
        metrics: Callable[[], Iterable[Metric]],
        destinations: Destinations,
    ) -> None:
        self._replica = replica
        self._plan = plan
        self._ping = ping
        self._metrics = metrics
        self._destinations = destinations

    # -- orders -------------------------------------------------------------------------------

    async def create(self, request: web.Request) -> web.Response:
        """Answer `POST /jobs` (section 4.2)."""
        order = await _read(request, _create_decoder)
        made = await self._create(request, order)
        answer = CreateAnswer(jobs=[entry.status for entry in made])
        return _json(answer, status=202, headers={"Location": f"/status/{made[0].job_id}"})

    async def create_plain(self, request: web.Request) -> web.Response:
        """Answer `POST /create_job` (section 5.1)."""
        order = await _read(request, _plain_create_decoder, absent=PlainCreateRequest())
        if order.languages is not None:
            raise ProblemError(
                "bad_request", "/create_job makes one job: send `language`, or POST to /jobs."
            )
        made = await self._create(request, order)
        return _json(PlainCreateAnswer(job_id=made[0].job_id))

    async def cancel(self, request: web.Request) -> web.Response:
        """Answer `DELETE /jobs/{job_id}` (section 4.6)."""
        job_id = request.match_info["job_id"]
        entry = await self._replica.cancel(job_id, owner=_owner(request))
        return _json(entry.status)

    async def list_jobs(self, request: web.Request) -> web.Response:
        """Answer `GET /jobs` (section 4.5)."""
        limit = _limit(request)
        after = request.query.get("after")
        # One more than asked for tells whether there is another page.
        found = self._replica.listing(owner=_owner(request), after=after, limit=limit + 1)
        page = [entry.status for entry in found[:limit]]
        return _json(JobPage(jobs=page, next=page[-1].job_id if len(found) > limit else None))

    async def _create(self, request: web.Request, order: CreateRequest) -> list[Entry]:
        if self._replica.is_draining:
            raise ProblemError("unavailable", "The server is about to leave.", retry_after=1.0)
        key = request.headers.get("Idempotency-Key")
        if key is not None and not _IDEMPOTENCY_KEY.fullmatch(key):
            raise ProblemError(
                "bad_request", "Idempotency-Key takes 1 to 255 visible ASCII characters."
            )
        if order.callback_url is not None:
            try:
                self._destinations.check(order.callback_url)
            except ValueError as error:
                raise ProblemError("bad_request", f"callback_url: {error}") from error
        return await self._replica.create(order, owner=_owner(request), key=key)

    # -- reads --------------------------------------------------------------------------------

    async def read_one(self, request: web.Request) -> web.Response:
        """Answer `GET /status/{job_id}` (section 4.3)."""
        return await self._read_one(request, request.match_info["job_id"])

    async def read_default_or_ids(self, request: web.Request) -> web.Response:
        """Answer `GET /status` (section 5.1), or with `?ids=` (section 4.4)."""
        if "ids" not in request.query:
            default = await self._replica.default_job(owner=_owner(request))
            return await self._read_one(request, default.job_id)
        ids = [job_id for job_id in request.query["ids"].split(",") if job_id]
        if not ids:
            raise ProblemError("bad_request", "Put job ids behind ?ids=, with commas between them.")
        return await self._read_many(request, BulkRequest(jobs=dict.fromkeys(ids, 0)))

    async def read_many(self, request: web.Request) -> web.Response:
        """Answer `POST /status` (section 4.4)."""
        return await self._read_many(request, await _read(request, _bulk_decoder))

    def _reader(self, request: web.Request, job_id: str | None = None) -> Reader:
        """Return who answers this read: the replica, or a fault that looks back."""
        if not self._plan.asks("read"):
            return self._replica
        facts = Facts(path=request.path, job=job_id, key=_owner(request), direction="out")
        now = asyncio.get_running_loop().time()
        fault = self._plan.decide("read", facts, now, applies=lambda _, one: Hindsight.sees(one))
        return self._replica.as_of(fault) if isinstance(fault, Stale | Split) else self._replica

    async def _read_one(self, request: web.Request, job_id: str) -> web.Response:
        reader = self._reader(request, job_id)
        entry = reader.head(job_id, owner=_owner(request))
        wait = _wait(request.query.get("wait"))
        if wait and not entry.is_final and _is_known(request, entry):
            status = entry.status
            cursors = {entry.job_id: status.version}
            owner = _owner(request)
            await reader.wait(cursors, epoch=status.epoch, owner=owner, timeout=wait)
            entry = reader.head(entry.job_id, owner=owner)
        headers = {"ETag": f'"{_position_of(entry)}"', "Cache-Control": "no-cache"}
        if _is_known(request, entry):
            return web.Response(status=304, headers=headers)
        status = entry.status
        document = msgspec.structs.replace(
            status,
            result=_PLAIN_RESULT.get(status.state, "pending"),
            poll_after=poll_after(status),
        )
        return _json(document, headers=headers)

    async def _read_many(self, request: web.Request, bulk: BulkRequest) -> web.Response:
        if len(bulk.jobs) > MAX_JOBS:
            raise ProblemError("too_large", f"Ask for at most {MAX_JOBS:,} jobs at once.")
        reader, owner = self._reader(request), _owner(request)
        # Of jobs that have ended nothing will come, however long one waits.
        waits = bulk.wait and _open(reader, bulk.jobs, owner)
        found = await reader.wait(
            bulk.jobs,
            epoch=bulk.epoch,
            mode=bulk.mode,
            owner=owner,
            max_bytes=MAX_ANSWER,
            timeout=min(bulk.wait or 0.0, MAX_WAIT) if waits else 0.0,
        )
        events = [newer.encoded for newer in found.newer]
        answer = BulkAnswer(
            epoch=self._replica.epoch,
            events=[],
            errors=found.errors,
            poll_after=_poll_again(reader, events, bulk, owner),
        )
        # The events were encoded when they happened; only the frame around them is new.
        body = encode(answer).replace(b'"events":[]', b'"events":[%b]' % b",".join(events), 1)
        return _answer(body)

    # -- the event stream ---------------------------------------------------------------------

    async def stream(self, request: web.Request) -> web.StreamResponse:
        """Answer `GET /status/{job_id}/stream` (section 4.7)."""
        mode = _mode(request)
        entry = self._replica.head(request.match_info["job_id"], owner=_owner(request))
        if entry.is_final and _position(request) == (entry.status.epoch, entry.version):
            return web.Response(status=204)
        response = web.StreamResponse(
            headers={
                "Content-Type": "text/event-stream",
                "Cache-Control": "no-store",
                "X-Accel-Buffering": "no",  # or a proxy collects events until they fill a buffer
            }
        )
        await response.prepare(request)
        try:
            await self._follow(request, response, mode)
        except ConnectionError:
            logger.debug("the reader of %s left", request.path)
        except TimeoutError:
            logger.info("the reader of %s takes nothing any more", request.path)
            if request.transport is not None:
                request.transport.abort()
        return response

    async def _follow(self, request: web.Request, response: web.StreamResponse, mode: Mode) -> None:
        """Send events until the final one, or until the server leaves."""
        job_id = request.match_info["job_id"]
        epoch, version = _position(request)
        while True:
            found = await self._replica.wait(
                {job_id: version}, epoch=epoch, mode=mode, owner=_owner(request), timeout=self._ping
            )
            text = b"".join(map(_sent_event, found.newer)) or b": nothing new\n\n"
            async with asyncio.timeout(PATIENCE):
                await response.write(text)
            if found.newer:
                last = found.newer[-1].entry
                if last.is_final:
                    return
                epoch, version = last.status.epoch, last.version
            if found.errors or self._replica.is_draining:
                return

    # -- the service itself -------------------------------------------------------------------

    async def health(self, _request: web.Request) -> web.Response:
        """Answer `GET /healthz` (section 4.8)."""
        if self._replica.is_draining:
            raise ProblemError("unavailable", "The server is about to leave.", retry_after=1.0)
        return _json(Health(epoch=self._replica.epoch))

    async def show_metrics(self, _request: web.Request) -> web.Response:
        """Answer `GET /metrics` (section 4.8)."""
        text = exposition([*_replica_metrics(self._replica.stats()), *self._metrics()])
        return web.Response(body=text.encode(), headers={"Content-Type": CONTENT_TYPE})


# -- what comes in --------------------------------------------------------------------------------


async def _read(
    request: web.Request, decoder: msgspec.json.Decoder[T], *, absent: T | None = None
) -> T:
    """Return the body of a request.

    Args:
        request: whose body is read.
        decoder: knows what the body must be.
        absent: what an empty body stands for; None if there must be one.

    Raises:
        ProblemError: `too_large`, or `bad_request` with what is wrong where.
    """
    body = await read_body(request)
    if not body.strip():
        if absent is not None:
            return absent
        raise ProblemError("bad_request", f"{request.path} takes a JSON object as its body.")
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        text = f"The body does not fit: {misfit(error, decoder.type)}."
        raise ProblemError("bad_request", text) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ProblemError("bad_request", f"The body must be JSON: {error}.") from error
    except RecursionError as error:
        raise ProblemError("bad_request", "The body is nested too deeply.") from error


def _owner(request: web.Request) -> str | None:
    return request.get(OWNER)


def _wait(text: str | None) -> float:
    """Return how long an answer may be held, in seconds."""
    try:
        seconds = float(text or 0)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:  # false for NaN as well
        raise ProblemError("bad_request", f"?wait= takes a number of seconds, not {text!r}.")
    return min(seconds, MAX_WAIT)


def _limit(request: web.Request) -> int:
    text = request.query.get("limit", str(PAGE))
    if not re.fullmatch(r"[0-9]{1,4}", text) or not 1 <= int(text) <= MAX_JOBS:
        raise ProblemError("bad_request", f"?limit= takes a number from 1 to {MAX_JOBS:,}.")
    return int(text)


def _mode(request: web.Request) -> Mode:
    mode = request.query.get("mode", "latest")
    if mode not in get_args(Mode):
        raise ProblemError("bad_request", "?mode= takes `latest` or `all`.")
    return cast("Mode", mode)


def _position(request: web.Request) -> tuple[str | None, int]:
    """Return the position after which an event stream goes on; (None, 0) for its beginning."""
    position = _EVENT_ID.fullmatch(request.headers.get("Last-Event-ID", ""))
    return (position[1], int(position[2])) if position else (None, 0)


def _is_known(request: web.Request, entry: Entry) -> bool:
    """Tell whether the caller has this version already (RFC 9110 section 13.1.2)."""
    tags = request.if_none_match or ()
    return any(tag.value in ("*", _position_of(entry)) for tag in tags)


# -- what goes out --------------------------------------------------------------------------------


def _json(
    document: msgspec.Struct, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> web.Response:
    return _answer(encode(document), status=status, headers=headers)


def _answer(
    body: bytes, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> web.Response:
    return web.Response(
        body=body,
        status=status,
        headers={"Cache-Control": "no-store", **(headers or {})},
        content_type="application/json",
    )


def _position_of(entry: Entry) -> str:
    return f"{entry.status.epoch}.{entry.version}"


def _sent_event(newer: Newer) -> bytes:
    position = _position_of(newer.entry).encode()
    return b"id: %b\nevent: status\ndata: %b\n\n" % (position, newer.encoded)


def _poll_again(
    reader: Reader, events: list[bytes], bulk: BulkRequest, owner: str | None
) -> float | None:
    """Return the `poll_after` of a bulk answer."""
    if sum(map(len, events)) >= MAX_ANSWER:
        return 0.0
    now = asyncio.get_running_loop().time()
    entries = _open(reader, bulk.jobs, owner)
    delays = (poll_after(entry.status, now - entry.at) for entry in entries)
    return min((delay for delay in delays if delay is not None), default=None)


def _open(reader: Reader, job_ids: Iterable[str], owner: str | None) -> list[Entry]:
    """Return the newest versions of those jobs that are known and not final."""
    found = []
    for job_id in job_ids:
        with contextlib.suppress(ProblemError):
            found.append(reader.head(job_id, owner=owner))
    return [entry for entry in found if not entry.is_final]


def _replica_metrics(stats: ReplicaStats) -> list[Metric]:
    return [
        Metric("vtrans_jobs", "gauge", "Jobs known.", stats.jobs),
        Metric("vtrans_open_jobs", "gauge", "Jobs that are not final.", stats.open_jobs),
        Metric("vtrans_jobs_created_total", "counter", "Jobs created.", stats.created),
        Metric("vtrans_versions_total", "counter", "Versions appended.", stats.appended),
        Metric(
            "vtrans_conflicts_total",
            "counter",
            "Versions that another replica had appended already.",
            stats.conflicts,
        ),
        Metric("vtrans_subscriptions", "gauge", "Jobs subscribed.", stats.subscriptions),
        Metric("vtrans_waiting_reads", "gauge", "Reads held back.", stats.waiting),
    ]
