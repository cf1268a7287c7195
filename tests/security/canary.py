"""Secrets that would sing if anybody let them out.

    python -m tests.security.canary

Each scenario gives the client and the simulator keys, passwords and signed addresses that are
marked as canaries, and lets them fail in one way. Then whatever people get to see is searched for
them: log records down to DEBUG, those of the libraries too, exceptions with causes, tracebacks and
the locals of their frames, the repr and str of every object that is alive, and what the commands
print.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import hashlib
import hmac
import json
import logging
import os
import sys
import threading
import time
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any, Final, NamedTuple

from aiohttp import ClientSession, web

from simulator import Simulator
from simulator.faults import Hang, RefuseUpgrade
from simulator.messages import CreateRequest
from tests.command_line import Ended, run_vtrans
from tests.security.raw_peer import connected, frame
from tests.sockets.server_process import ServerProcess
from tests.virtual.receiver import Receiver
from tests.vtrans_hybrid.network import answer, raw_server, web_server
from vtrans_hybrid import (
    AsyncClient,
    Backoff,
    Client,
    NetworkOptions,
    PollPolicy,
    RetryPolicy,
    VtransError,
)
from vtrans_hybrid.transport import _Secret
from vtrans_hybrid.webhooks import WebhookReceiver, verify

__all__ = ["SCENARIOS", "Find", "Search", "hunt", "table"]

KEY: Final = "canary-key-7f3a"
PASSWORD: Final = "canary-password-91be"
SIGNATURE: Final = "canary-signature-44d0"
HOOK_SECRET: Final = f"whsec_{KEY}-hook"
VIDEO: Final = f"https://videos.example/talk.mp4?X-Amz-Signature={SIGNATURE}"
WEBHOOK: Final = "whsec_canary+of+the+server+of+webhooks"
CANARIES: Final = ("canary-", "canary+")

_OURS: Final = ("vtrans_hybrid", "simulator")
_LIBRARIES: Final = ("aiohttp", "websockets", "anyio", "asyncio")
_TAKE_ARGUMENTS: Final = {"__init__", "check_api_key", "check_base_url", "key_digest", "verify"}
_RETRY: Final = RetryPolicy(max_attempts=2, backoff=Backoff(initial=0.01), request_timeout=0.2)


class Find(NamedTuple):
    """A canary that sang."""

    scenario: str
    where: str
    text: str
    """What stood around it."""


class Search:
    """Search whatever people get to see, and keep what was found."""

    def __init__(self) -> None:
        self.scenario = ""
        self.searched = 0
        """Texts that were searched."""
        self.finds: list[Find] = []

    def look(self, where: str, text: str, *canaries: str) -> None:
        """Search a text for canaries; without any, for all of them."""
        self.searched += 1
        at = max(text.find(canary) for canary in canaries or CANARIES)
        if at >= 0:
            self.finds.append(Find(self.scenario, where, text[max(at - 60, 0) : at + 30]))

    def error(self, error: BaseException) -> None:
        """Search an exception: itself, its causes, its traceback, and the locals in that."""
        link: BaseException | None = error
        while link is not None:
            self.look(f"exception {type(link).__name__}", f"{link!r} {link} {vars(link)!r}")
            link = link.__cause__ or link.__context__
        self.look("traceback", "".join(traceback.format_exception(error)))
        shown = traceback.TracebackException.from_exception(error, capture_locals=True)
        _forget_callers(shown)
        # An order is on its way through the libraries, bytes by then; a key must not be seen.
        self.look("locals of a traceback", "".join(shown.format()), KEY)

    def objects(self) -> None:
        """Search the repr and the str of every object of ours that is alive.

        One kind has the key as its str, for that is what is sent.
        """
        for thing in gc.get_objects():
            kind = type(thing)
            if str(kind.__module__).partition(".")[0] not in _OURS or kind is _Secret:
                continue
            with suppress(Exception):  # some cannot be shown in every state
                self.look(f"object {kind.__name__}", f"{thing!r} {thing}")
            if hasattr(thing, "__dict__"):
                self.look(f"attributes of {kind.__name__}", repr(vars(thing)))


def _forget_callers(shown: traceback.TracebackException | None) -> None:
    """Leave the frames of the product and the libraries alone.

    Those of this file know the secrets. So do those that take what a caller hands over, before
    anything can be done about it; whoever shows their locals shows that.
    """
    while shown is not None:
        kept = [
            each
            for each in shown.stack
            if any(f"/{name}/" in each.filename for name in _OURS + _LIBRARIES)
            and "/tests/" not in each.filename
            and each.name not in _TAKE_ARGUMENTS
        ]
        shown.stack = traceback.StackSummary.from_list(kept)
        for each in shown.exceptions or ():
            _forget_callers(each)
        shown = shown.__cause__ or shown.__context__


class _Logs(logging.Handler):
    """Searches every record as it would be written, and as it would be sent elsewhere."""

    def __init__(self, search: Search) -> None:
        super().__init__(logging.DEBUG)
        self._search = search

    def emit(self, record: logging.LogRecord) -> None:
        """Search a record."""
        if record.exc_info and record.exc_info[1] is not None:
            self._search.error(record.exc_info[1])
        self._search.look(f"log {record.name}", f"{self.format(record)} {record.__dict__!r}")


@contextmanager
def _all_logs(search: Search) -> Iterator[None]:
    """Let every logger say all it has to say."""
    handler, root = _Logs(search), logging.getLogger()
    level, names = root.level, ("aiohttp", "websockets", "asyncio", "vtrans_hybrid", "simulator")
    root.addHandler(handler)
    for name in ("", *names):
        logging.getLogger(name).setLevel(logging.DEBUG)
    try:
        yield
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
        for name in names:
            logging.getLogger(name).setLevel(logging.NOTSET)


# -- the scenarios --------------------------------------------------------------------------------

Play = Callable[[Search], Awaitable[None]]
SCENARIOS: Final[dict[str, Play]] = {}


def scenario(play: Play) -> Play:
    """Note a scenario; its docstring is its name."""
    assert play.__doc__ is not None
    SCENARIOS[play.__doc__[0].lower() + play.__doc__[1:].rstrip(".")] = play
    return play


async def fail(search: Search, client: AsyncClient, job_id: str = "job-1") -> None:
    """Make every kind of call, and search how it fails."""
    calls: list[Callable[[], Awaitable[object]]] = [
        lambda: client.submit(VIDEO, language="Spanish", callback_url=VIDEO),
        lambda: client.status(job_id),
        lambda: client.statuses([job_id, "job-2"]),
        lambda: client.status(),
        lambda: client.cancel(job_id),
        lambda: client.wait(job_id, timeout=0.1),
    ]
    for call in calls:
        try:
            await call()
        except VtransError as error:
            search.error(error)


@asynccontextmanager
async def client_of(url: str, key: str | None = KEY, **options: Any) -> AsyncIterator[AsyncClient]:
    """Open a client that gives up soon."""
    async with AsyncClient(url, api_key=key, retry=_RETRY, **options) as client:
        yield client


@scenario
async def _all_is_well(search: Search) -> None:
    """A job from order to end."""
    async with Simulator(delay=0.3, api_keys=[KEY]) as sim, client_of(sim.url) as client:
        job = await client.submit(VIDEO, language="Spanish")
        status = await client.wait(job)
        search.look("status", f"{status!r} {status} {job!r} {job} {client!r} {client.stats()!r}")
        search.look("calls", f"{sim.calls!r} {sim.jobs!r} {sim.stats()!r}")
        search.objects()


@scenario
async def _heygen(search: Search) -> None:
    """HeyGen's API: an order, a refusal and a deletion."""
    policy = PollPolicy.patient(initial_interval=0.2)
    async with (
        Simulator(delay=0.3, api_keys=[KEY]) as sim,
        AsyncClient.heygen(KEY, base_url=sim.url, poll=policy, retry=_RETRY) as client,
    ):
        job = await client.submit(VIDEO, language="Spanish", title="Talk")
        status = await client.wait(job)
        await client.delete(job)
        search.look("status", f"{job!r} {status.state} {client!r} {client.stats()!r}")
        search.look("calls", f"{sim.calls!r} {sim.stats()!r}")
        await fail(search, client, job.job_id)
        search.objects()


@scenario
async def _wrong_key(search: Search) -> None:
    """A key that the server does not know."""
    async with Simulator(api_keys=["another"]) as sim, client_of(sim.url) as client:
        await fail(search, client)
        search.objects()


REPLIES: Final = {
    "nothing": b"",
    "another protocol": b"SSH-2.0-OpenSSH_9.6\r\n",
    "a redirect": answer("302 F", "Location: http://127.0.0.1:9/"),
    "a header without sense": b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n",
    "a broken body": b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nshort",
    "a body that does not unpack": answer("200 OK", "Content-Encoding: gzip", body=b"nope"),
    "a giant header": b"HTTP/1.1 200 OK\r\nX: " + b"y" * 20_000,
    "a page": answer("200 OK", "Content-Type: text/html", body=b"<html>"),
    "a refusal": answer("401 No", body=b"{}"),
    "a failure": answer("500 No", "Retry-After: 0"),
    "an open channel that is none": answer("101 Switching Protocols"),
}


@scenario
async def _broken_answers(search: Search) -> None:
    """Answers that are none."""
    for reply in REPLIES.values():
        async with raw_server(reply) as server, client_of(server.url) as client:
            await fail(search, client)
    search.objects()


@scenario
async def _nobody_there(search: Search) -> None:
    """Nobody at the address."""
    for url in ("http://127.0.0.1:9", "https://nowhere.invalid"):
        async with client_of(url) as client:
            await fail(search, client)


@scenario
async def _no_tls(search: Search) -> None:
    """A server without TLS where there should be one."""
    async with raw_server(b"plain\r\n\r\n") as server:
        url = server.url.replace("http:", "https:")
        async with client_of(url) as client:
            await fail(search, client)
            search.objects()
    with suppress(ValueError):
        AsyncClient("https://127.0.0.1:9", options=NetworkOptions(ca_file="/nowhere"), api_key=KEY)


@scenario
async def _silence(search: Search) -> None:
    """A server that says nothing, and a client that is closed meanwhile."""
    async with Simulator(api_keys=[KEY]) as sim:
        sim.faults.add(Hang())
        async with client_of(sim.url) as client:
            await fail(search, client)
            search.objects()
            waiting = asyncio.ensure_future(client.status("job-1"))
            await asyncio.sleep(0.05)
        try:
            await waiting
        except VtransError as error:
            search.error(error)


@scenario
async def _lost_channel(search: Search) -> None:
    """A channel that is closed, reset and refused."""
    async with Simulator(delay=3, api_keys=[KEY]) as sim, client_of(sim.url) as client:
        job = await client.submit(VIDEO, language="Spanish")
        watch = client.watch(job, timeout=3)
        async for _ in watch:
            if sim.stats().channel.opened > 2:  # type: ignore[union-attr]
                break
            await sim.drop(how="reset")
            await sim.drop(how="close", code=4050)
        sim.faults.add(RefuseUpgrade(), count=2)
        await sim.drop()
        await asyncio.sleep(0.5)
        search.objects()
        await watch.aclose()


@scenario
async def _wrong_arguments(search: Search) -> None:
    """Addresses with a password, and keys that are none."""
    for url, key in (
        (f"https://me:{PASSWORD}@example.com", None),
        (f"https://me:{PASSWORD}@exa mple.com", None),
        (f"ftp://{PASSWORD}@example.com", None),
        (f"https://example.com?token={KEY}", None),
        (f"https://example.com:x?token={KEY}", None),
        ("http://example.com", KEY),
        ("https://example.com", f"{KEY}\n"),
        ("https://example.com", f"{KEY} ü"),
    ):
        try:
            AsyncClient(url, api_key=key)
        except ValueError as error:
            search.error(error)
    for keys in ([KEY, ""], [f"{KEY}\0", " "]):
        try:
            Simulator(api_keys=keys)
        except ValueError as error:
            search.error(error)


@scenario
async def _proxy(search: Search) -> None:
    """A proxy with a password that refuses, and one that is not there."""
    known = {name: os.environ.pop(name) for name in tuple(os.environ) if "proxy" in name.lower()}
    async with raw_server(answer("407 No")) as proxy:
        for address in (proxy.url, "http://127.0.0.1:9"):
            os.environ["http_proxy"] = address.replace("//", f"//me:{PASSWORD}@")
            os.environ["https_proxy"] = os.environ["http_proxy"]
            options = NetworkOptions(trust_env=True, allow_insecure=True)
            for url in ("http://far.example", "https://far.example"):
                async with client_of(url, options=options) as client:
                    await fail(search, client)
    search.objects()
    for name in ("http_proxy", "https_proxy"):
        del os.environ[name]
    os.environ.update(known)


@scenario
async def _callbacks(search: Search) -> None:
    """A callback that raises, and a client that breaks down."""

    async def complain(status: object) -> None:
        raise RuntimeError("the callback fails")

    async with Simulator(delay=0.2, api_keys=[KEY]) as sim, client_of(sim.url) as client:
        job = await client.submit(VIDEO, language="Spanish")
        await client.wait(job, on_update=complain)
        client._driver._break_down(RuntimeError("a bug"))
        await fail(search, client, job.job_id)


@scenario
async def _bad_callers(search: Search) -> None:
    """Callers of the simulator who put keys where they do not belong."""
    async with Simulator(api_keys=[KEY], control_key=f"{KEY}-control") as sim:
        for line, *headers in (
            (f"GET /jobs?api_key={KEY}&Token={KEY}",),
            ("GET /jobs", f"Authorization: Bearer {KEY}\0"),
            ("GET /jobs", f"Authorization Bearer {KEY}"),
            ("GET /jobs", f"X-Api-Key: {KEY}{'x' * 9000}"),
            ("GET /jobs", f"X-Api-Key: {KEY}-wrong"),
            ("GET /nowhere", f"X-Api-Key: {KEY}"),
            ("GET /_control/stats", f"X-Api-Key: {KEY}"),
            ("POST /jobs", f"X-Api-Key: {KEY}", "Content-Encoding: gzip", "Content-Length: 1"),
            ("POST /jobs", f"X-Api-Key: {KEY}", f"Content-Length: {KEY}"),
        ):
            async with connected(sim.url) as peer:
                await peer.request(line, *headers, "Connection: close", body=b"x")
                await peer.hear_out()
        for hello in (
            f'{{"type":"hello","token":["{KEY}"]}}',
            f'{{"type":"hello","token":"{KEY}',
            f'{{"type":"hello","token":"{KEY}-wrong"}}',
            f'{{"type":"hello","token":"{KEY}"}}',
            f'{{"type":"auth","token":"{KEY}"}}',
        ):
            async with connected(sim.url) as peer:
                await peer.upgrade()
                await peer.send(frame(hello.encode()), frame(b"", first=0x88))
                await peer.hear_out()
        search.look("calls", repr(sim.calls))
        search.objects()


@scenario
async def _failing_server(search: Search) -> None:
    """A simulator that fails inside, and one that loses its callers."""

    def break_down(*_: object, **__: object) -> None:
        raise RuntimeError("a bug of the simulator")

    async with Simulator(api_keys=[KEY]) as sim, client_of(sim.url) as client:
        [status] = await sim.create(video_url=VIDEO)
        order = CreateRequest(video_url=VIDEO, language="Spanish", callback_url=VIDEO)
        search.look("order", f"{sim.replica.head(status.job_id).spec!r} {order!r}")
        search.objects()
        replica: Any = sim.replica
        replica.collect = replica.head = replica.create = break_down
        await fail(search, client)


@scenario
async def _threads(search: Search) -> None:
    """The client for threads."""
    async with Simulator(api_keys=["another"]) as sim:

        def call() -> None:
            with Client(sim.url, api_key=KEY, retry=_RETRY) as client:
                search.look("client", repr(client))
                for ask in (client.status, client.wait):
                    try:
                        ask("job-1")
                    except VtransError as error:
                        search.error(error)

        await asyncio.to_thread(call)
    assert threading.active_count() >= 1


@scenario
async def _endpoints(search: Search) -> None:
    """An endpoint for webhooks, with its secret, where nothing else goes well."""
    url = f"http://127.0.0.1:9/{PASSWORD}"

    async def add(request: web.Request) -> web.StreamResponse:
        data = {"endpoint_id": "ep-1", "url": url, "secret": HOOK_SECRET}
        return web.json_response({"data": data})

    async def refuse(request: web.Request) -> web.StreamResponse:
        return web.json_response({"error": {"code": "internal_error"}}, status=500)

    path = "/v3/webhooks/{any:.*}"
    async with web_server(("POST", path, add), ("*", path, refuse)) as address:
        async with AsyncClient.heygen(KEY, base_url=address, retry=_RETRY) as client:
            receiver = WebhookReceiver(client)
            registered = receiver.registered(url)
            async with registered as endpoint:
                search.look("endpoint", f"{endpoint!r} {endpoint} {receiver!r} {registered!r}")
                search.objects()
        try:
            await receiver.registered(url).__aenter__()
        except VtransError as error:
            search.error(error)


def _signed(body: bytes, at: float) -> dict[str, str]:
    """Return the headers of a delivery by HeyGen."""
    mac = hmac.new(HOOK_SECRET.encode(), body, hashlib.sha256).hexdigest()
    return {"Heygen-Signature": mac, "Heygen-Timestamp": str(int(at)), "Heygen-Event-Id": "evt-1"}


@scenario
async def _webhooks(search: Search) -> None:
    """Webhooks, genuine, forged, old, and without sense."""
    now = time.time()
    data = {"video_translate_id": "job-1", "url": VIDEO, "callback_id": PASSWORD}
    body = json.dumps({"event_type": "video_translate.success", "event_data": data}).encode()
    other = {"Webhook-Id": "1", "Webhook-Timestamp": "1", "Webhook-Signature": f"v1,{SIGNATURE}"}
    nonsense = f'"{PASSWORD}"'.encode()
    async with client_of("http://127.0.0.1:9") as client:
        receiver = WebhookReceiver(client, [HOOK_SECRET, KEY])
        for headers, said in (
            (_signed(body, now), body),
            (_signed(body, now), body),
            (_signed(body, 1), body),
            (_signed(body, now), body + b" "),
            (_signed(nonsense, now), nonsense),
            ({}, body),
            ({"Signature": SIGNATURE}, body),
            (other, body),
            ({**_signed(body, now), "Heygen-Timestamp": SIGNATURE}, body),
        ):
            search.look("reply", repr(receiver.receive("POST", headers, said)))
            try:
                delivery = verify(headers, said, HOOK_SECRET, now=now)
            except VtransError as error:
                search.error(error)
            else:
                search.look("delivery", f"{delivery!r} {delivery}")
                search.look("delivery", repr(delivery), headers["Heygen-Signature"])
        assert sum(receiver.stats()[1:5]) == 8
        search.look("receiver", f"{receiver!r} {receiver.stats()!r}")
        search.objects()
    for secret in ([KEY, ""], [KEY, None]):
        try:
            WebhookReceiver(client, secret)  # type: ignore[arg-type]
        except (TypeError, ValueError) as error:
            search.error(error)


@scenario
async def _deliveries(search: Search) -> None:
    """Webhooks that go out: acknowledged, refused, and to nobody."""
    nobody = f"http://127.0.0.1:9/{PASSWORD}"
    async with (
        Receiver.open(port=0, answer=lambda count: 500 if count == 1 else 200) as receiver,
        Simulator(delay=0, api_keys=[KEY], webhook_secret=WEBHOOK) as sim,
        ClientSession(sim.url, headers={"X-Api-Key": KEY}) as http,
    ):
        wanted = {"url": f"{receiver.url}?token={SIGNATURE}"}
        async with http.post("/v3/webhooks/endpoints", json=wanted) as answer:
            assert answer.status == 200
        for url in (wanted["url"], nobody, "http://10.0.0.1/"):
            order = {"video_url": VIDEO, "language": "Spanish", "callback_url": url}
            async with http.post("/jobs", json=order) as answer:
                await answer.read()
        order = {"video": {"type": "url", "url": VIDEO}, "output_languages": ["French"]}
        order["callback_id"] = PASSWORD
        async with http.post("/v3/video-translations", json=order) as answer:
            await answer.read()
        async with http.get(f"/v3/webhooks/events?token={SIGNATURE}") as answer:
            await answer.read()
        await receiver.wait(2, within=10)
        search.look("options", f"{sim._webhooks!r} {sim.stats()!r}")
        search.objects()
    try:
        Simulator(webhook_secret=f"{WEBHOOK}!")
    except ValueError as error:
        search.error(error)


@scenario
async def _commands(search: Search) -> None:
    """The commands, as loud as they can be."""
    environment = {"VTRANS_API_KEY": KEY}
    submit = ("submit", VIDEO, "-l", "Spanish", "--watch", "--timeout", "2", "-vv")
    async with (
        ServerProcess("--delay", "0.2", "--api-key", KEY) as server,
        ServerProcess("--api-key", "another") as stranger,
    ):
        ended = await asyncio.gather(
            run_vtrans(*submit, "--base-url", server.url, environment=environment),
            run_vtrans(*submit, "--base-url", stranger.url, environment=environment),
            run_vtrans("watch", "job-1", "-vv", "--base-url", f"http://me:{PASSWORD}@localhost"),
            run_vtrans(
                "wait", "job-1", "-vv", "--api-key", KEY, "--base-url", "http://example.com"
            ),
        )
    for each in ended:
        _look_at(search, each)


def _look_at(search: Search, ended: Ended) -> None:
    search.look("stdout", ended.stdout)
    search.look("stderr", ended.stderr)


# -- the command ----------------------------------------------------------------------------------


async def hunt(names: frozenset[str] | None = None) -> Search:
    """Play scenarios and search what they show; None plays all of them."""
    search = Search()
    with _all_logs(search):
        for name, play in SCENARIOS.items():
            if names is None or name in names:
                search.scenario = name
                await play(search)
    return search


def table(search: Search) -> str:
    """Return what was found, for people."""
    lines = []
    for name in SCENARIOS:
        found = [each for each in search.finds if each.scenario == name]
        lines.append(f"{'BAD' if found else 'ok':<4}{name}")
        lines += [f"      {each.where}: {each.text!r}" for each in found[:5]]
    lines.append(f"{len(search.finds)} of {search.searched:,} texts hold a canary")
    return "\n".join(lines)


def _main() -> int:
    argparse.ArgumentParser(
        prog="python -m tests.security.canary", description=__doc__
    ).parse_args()
    logging.lastResort = None
    search = asyncio.run(hunt())
    sys.stdout.write(table(search) + "\n")
    return 1 if search.finds else 0


if __name__ == "__main__":
    sys.exit(_main())
