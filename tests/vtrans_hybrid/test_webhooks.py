"""The receiver of webhooks: what it answers, and whom it tells."""

import hashlib
import hmac
import json
import logging
import threading
import time
from collections.abc import Iterable
from typing import Any

import pytest

from tests.vtrans_hybrid.vectors import HEYGEN, HEYGEN_NEXT, NATIVE
from vtrans_hybrid import AsyncClient
from vtrans_hybrid.deliveries import MAX_BODY
from vtrans_hybrid.errors import ClientClosed, StaleTimestamp
from vtrans_hybrid.webhooks import Reply, WebhookReceiver, verify

SECRET = "whsec_test"
NOW = 1735689600.0


class Listener:
    """A client that takes down what it is told."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, ...]] = []
        self.is_closed = False

    def announced(self, jobs: Iterable[str]) -> None:
        """Take down which jobs have news."""
        if self.is_closed:
            raise ClientClosed("the client is closed")
        self.heard.append(tuple(jobs))


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        """Return the time of day."""
        return self.now


@pytest.fixture
def listener() -> Listener:
    """Return whom the receiver tells."""
    return Listener()


@pytest.fixture
def clock() -> Clock:
    """Return the clock of the receiver."""
    return Clock()


@pytest.fixture
def receiver(listener: Listener, clock: Clock) -> WebhookReceiver:
    """Return a receiver."""
    return WebhookReceiver(listener, SECRET, clock=clock)


def signed(
    number: int = 1,
    at: float = NOW,
    secret: str = SECRET,
    event_type: str = "video_translate.success",
) -> tuple[dict[str, str], bytes]:
    """Return headers and body of a delivery, which is about a job unless its type says else."""
    name = "video_translate_id" if event_type.startswith("video_translate.") else "id"
    document = {"event_type": event_type, "event_data": {name: f"job-{number}"}}
    body = json.dumps(document).encode()
    headers = {
        "Heygen-Signature": hmac.new(secret.encode(), body, hashlib.sha256).hexdigest(),
        "Heygen-Timestamp": str(int(at)),
        "Heygen-Event-Id": f"evt-{number}",
    }
    return headers, body


def test_news_are_told(receiver: WebhookReceiver, listener: Listener) -> None:
    """A genuine delivery is answered at once, and its job is told of."""
    assert receiver.receive("POST", *signed()) == Reply(200, {}, b"")
    assert listener.heard == [("job-1",)]
    assert receiver.stats().accepted == 1


def test_what_comes_again_is_answered_and_not_told(
    receiver: WebhookReceiver, listener: Listener, clock: Clock
) -> None:
    """A delivery that comes again gets the same answer, or the sender would go on."""
    for _ in range(3):
        assert receiver.receive("POST", *signed(at=clock.now)).status == 200
        clock.now += 200

    assert listener.heard == [("job-1",)]
    assert receiver.stats().repeated == 2


def test_news_of_something_else_are_answered_and_not_told(
    receiver: WebhookReceiver, listener: Listener
) -> None:
    """That avatars are told of does not prove that jobs will be: polling goes on as it did."""
    assert receiver.receive("POST", *signed(event_type="avatar_video.success")).status == 200
    assert not listener.heard
    assert receiver.receive("POST", *signed(event_type="avatar_video.success")).status == 200
    assert receiver.stats()[:2] == (1, 1)


def test_strangers_are_refused(receiver: WebhookReceiver, listener: Listener) -> None:
    """What is forged, stale or without sense is refused without a word, and counted."""
    headers, body = signed()
    nonsense = b"[]"
    mac = hmac.new(SECRET.encode(), nonsense, hashlib.sha256).hexdigest()

    assert receiver.receive("POST", {}, body) == Reply(401, {}, b"")
    assert receiver.receive("POST", headers, body + b" ") == Reply(401, {}, b"")
    assert receiver.receive("POST", *signed(secret="other")) == Reply(401, {}, b"")
    assert receiver.receive("POST", *signed(at=NOW - 301)) == Reply(401, {}, b"")
    assert receiver.receive("POST", {**headers, "Heygen-Signature": mac}, nonsense).status == 400
    assert receiver.receive("POST", headers, b"x" * (MAX_BODY + 1)).status == 413
    assert not listener.heard
    stats = receiver.stats()
    assert (stats.forged, stats.stale, stats.malformed, stats.accepted) == (3, 1, 2, 0)


def test_probes_and_other_methods(receiver: WebhookReceiver) -> None:
    """Whoever registers an address may look whether it is there; nothing else is to be had."""
    assert receiver.receive("OPTIONS", {}, b"") == Reply(200, {"Allow": "OPTIONS, POST"}, b"")
    for method in ("GET", "HEAD", "PUT", "DELETE", "post"):
        assert receiver.receive(method, *signed()) == Reply(405, {"Allow": "OPTIONS, POST"}, b"")
    assert receiver.stats().accepted == 0


def test_without_a_secret_nothing_comes_in(listener: Listener) -> None:
    """Before there is a secret even what may be genuine is put off."""
    receiver = WebhookReceiver(listener)

    assert receiver.receive("POST", *signed()).status == 503
    assert not listener.heard
    assert receiver.stats().unready == 1


@pytest.mark.parametrize(
    ("secret", "kind"), [(None, TypeError), ([SECRET, None], TypeError), ("", ValueError)]
)
def test_a_secret_that_was_forgotten(listener: Listener, secret: Any, kind: type) -> None:
    """What an environment variable is that nobody set is no secret, and is not left out either."""
    with pytest.raises(kind, match="is the environment variable set"):
        WebhookReceiver(listener, secret)
    with pytest.raises(kind, match="is the environment variable set"):
        verify(*signed(), secret, now=NOW)


def test_a_closed_client_puts_off(receiver: WebhookReceiver, listener: Listener) -> None:
    """What a closed client cannot be told is left with the sender, for whoever comes next."""
    listener.is_closed = True
    assert receiver.receive("POST", *signed()).status == 503

    listener.is_closed = False
    assert receiver.receive("POST", *signed()).status == 200
    assert listener.heard == [("job-1",)]


def test_what_is_neither_client_nor_secret(listener: Listener) -> None:
    """Misuse is found when the receiver is made, not when the first delivery comes."""
    mixed_up: Any = SECRET
    number: Any = 5
    with pytest.raises(TypeError, match="tells a client, not a str"):
        WebhookReceiver(mixed_up, SECRET)
    with pytest.raises(TypeError, match="text or bytes, not int"):
        WebhookReceiver(listener, number)


@pytest.mark.parametrize(
    "url", ["", "/hooks/heygen", "you.example/hooks", "ftp://you.example/", "https:///hooks"]
)
async def test_an_address_that_is_none(url: str) -> None:
    """It is refused at once, and not after the seconds that a web server is given to start."""
    async with AsyncClient.heygen("key", base_url="http://127.0.0.1:1") as client:
        with pytest.raises(ValueError, match="url must look like https://"):
            WebhookReceiver(client).registered(url)


def test_several_secrets(listener: Listener) -> None:
    """While a secret is changed, deliveries signed with either come in."""
    receiver = WebhookReceiver(
        listener, [HEYGEN.secret, HEYGEN_NEXT.secret, NATIVE.secret], clock=lambda: NOW
    )

    assert receiver.receive("POST", HEYGEN.headers, HEYGEN.body).status == 200
    assert receiver.receive("POST", HEYGEN_NEXT.headers, HEYGEN_NEXT.body).status == 200
    assert receiver.receive("POST", NATIVE.headers, NATIVE.body).status == 200
    assert receiver.stats().repeated == 1


def test_the_clock_is_that_of_the_system(listener: Listener) -> None:
    """Where no clock is given, deliveries are judged by the time of day."""
    receiver = WebhookReceiver(listener, SECRET)

    assert receiver.receive("POST", *signed(at=NOW)).status == 401
    assert receiver.stats().stale == 1


def test_a_delivery_is_verified_by_the_time_of_day() -> None:
    """Whoever needs no receiver need not care for the time either."""
    assert verify(*signed(at=time.time()), SECRET).job_ids == ("job-1",)
    assert verify(*signed(), SECRET, now=NOW).job_ids == ("job-1",)
    with pytest.raises(StaleTimestamp):
        verify(*signed(), SECRET)


def test_forgeries_do_not_fill_the_log(
    receiver: WebhookReceiver, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """However many are refused, there is one warning a minute, which says how many."""
    caplog.set_level(logging.WARNING)
    for _ in range(120):
        receiver.receive("POST", {}, b"")
        clock.now += 1

    said = [record.getMessage() for record in caplog.records]
    assert [text.split()[3] for text in said] == ["1,", "60,"]
    assert said[1].endswith("the webhook is not signed")


def test_any_thread_may_call(receiver: WebhookReceiver, listener: Listener) -> None:
    """Calls from many threads at once tell of each job once."""
    gate = threading.Barrier(8)

    def deliver() -> None:
        gate.wait()
        for number in range(50):
            receiver.receive("POST", *signed(number))

    threads = [threading.Thread(target=deliver) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(listener.heard) == sorted((f"job-{number}",) for number in range(50))
    assert receiver.stats().repeated == 350


class Asgi:
    """The least of an ASGI server: one request, in as many messages as are given."""

    def __init__(self, *messages: dict[str, Any], method: str = "POST", headers: Any = ()) -> None:
        self.scope = {"type": "http", "method": method, "headers": list(headers)}
        self.sent: list[dict[str, Any]] = []
        self._messages = list(messages)

    async def receive(self) -> dict[str, Any]:
        """Return the next message."""
        return self._messages.pop(0)

    async def send(self, message: dict[str, Any]) -> None:
        """Take a message."""
        self.sent.append(message)

    @property
    def status(self) -> int:
        """What was answered."""
        start, end = self.sent
        assert start["type"] == "http.response.start"
        assert end == {"type": "http.response.body", "body": b""}
        assert (b"content-length", b"0") in start["headers"]
        return int(start["status"])


async def test_as_an_asgi_application(receiver: WebhookReceiver, listener: Listener) -> None:
    """Any ASGI server can serve it, in however many pieces a body comes."""
    headers, body = signed()
    pairs = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    pieces = [
        {"type": "http.request", "body": body[:9], "more_body": True},
        {"type": "http.request", "more_body": True},
        {"type": "http.request", "body": body[9:]},
    ]
    server = Asgi(*pieces, headers=pairs)
    await receiver(server.scope, server.receive, server.send)
    probe = Asgi({"type": "http.request"}, method="OPTIONS")
    await receiver(probe.scope, probe.receive, probe.send)

    assert server.status == 200
    assert listener.heard == [("job-1",)]
    assert probe.status == 200
    assert (b"allow", b"OPTIONS, POST") in probe.sent[0]["headers"]


async def test_asgi_bodies_without_end(receiver: WebhookReceiver) -> None:
    """A body is not read beyond the limit."""
    piece = {"type": "http.request", "body": b"x" * 2**18, "more_body": True}
    server = Asgi(*[piece] * 100)
    await receiver(server.scope, server.receive, server.send)

    assert server.status == 413
    assert len(server._messages) == 95


async def test_asgi_callers_who_leave(receiver: WebhookReceiver) -> None:
    """Who leaves before the end of his body gets no answer, and is no forger."""
    piece = {"type": "http.request", "body": b"x", "more_body": True}
    server = Asgi(piece, {"type": "http.disconnect"})
    await receiver(server.scope, server.receive, server.send)

    assert not server.sent
    assert sum(receiver.stats()) == 0


async def test_asgi_callers_who_do_not_wait_for_the_answer(receiver: WebhookReceiver) -> None:
    """Who leaves before he is answered is no failure of the application."""
    server = Asgi({"type": "http.request"}, method="OPTIONS")

    async def send(message: dict[str, Any]) -> None:
        await server.send(message)
        raise BrokenPipeError

    await receiver(server.scope, server.receive, send)
    assert len(server.sent) == 1


@pytest.mark.parametrize("kind", ["lifespan", "websocket"])
async def test_asgi_of_other_kinds(receiver: WebhookReceiver, kind: str) -> None:
    """What is no HTTP request is refused as ASGI wants it."""
    server = Asgi()

    with pytest.raises(ValueError, match=kind):
        await receiver({"type": kind}, server.receive, server.send)
