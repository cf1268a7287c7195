"""The receiver of webhooks as a route of an aiohttp application."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from io import BytesIO

import aiohttp
import pytest
from yarl import URL

from tests.virtual.heygen.doorstep import open_doorstep
from tests.virtual.scene import now
from tests.vtrans_hybrid.vectors import HEYGEN
from vtrans_hybrid.deliveries import MAX_BODY
from vtrans_hybrid.webhooks import WebhookReceiver


class Listener:
    """A client that takes down what it is told."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def announced(self, jobs: Iterable[str]) -> None:
        """Take down which jobs have news."""
        self.heard += jobs


@pytest.fixture
def listener() -> Listener:
    """Return whom the receiver tells."""
    return Listener()


@pytest.fixture
def receiver(listener: Listener) -> WebhookReceiver:
    """Return a receiver at the time of the delivery."""
    return WebhookReceiver(listener, HEYGEN.secret, clock=lambda: HEYGEN.timestamp)


async def ask(url: str, method: str, **options: object) -> aiohttp.ClientResponse:
    """Send one request, and return the answer, whose body is empty."""
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, url, **options) as answer,  # type: ignore[arg-type]
    ):
        assert await answer.read() == b""
        return answer


async def test_a_delivery(receiver: WebhookReceiver, listener: Listener) -> None:
    """A delivery is taken in, and a forged one is not."""
    async with open_doorstep(receiver) as url:
        answer = await ask(url, "POST", headers=HEYGEN.headers, data=HEYGEN.body)
        forged = await ask(url, "POST", headers=HEYGEN.headers, data=HEYGEN.body[:-1])

    assert answer.status == 200
    assert forged.status == 401
    assert listener.heard == ["9c3f0e5d7a1b4c2e8f6a0b1c2d3e4f50-es"]


async def test_other_methods(receiver: WebhookReceiver) -> None:
    """The probe of a registration is answered; nothing else is to be had."""
    async with open_doorstep(receiver) as url:
        probe = await ask(url, "OPTIONS")
        page = await ask(url, "GET")

    assert (probe.status, page.status) == (200, 405)
    assert page.headers["Allow"] == "OPTIONS, POST"


@pytest.mark.parametrize(("size", "status"), [(MAX_BODY, 401), (MAX_BODY + 1, 413)])
async def test_large_bodies(receiver: WebhookReceiver, size: int, status: int) -> None:
    """The limit of a delivery is the receiver's, whatever the application allows."""
    async with open_doorstep(receiver) as url:
        answer = await ask(url, "POST", headers=HEYGEN.headers, data=BytesIO(b"x" * size))

    assert answer.status == status


async def test_bodies_that_do_not_come(receiver: WebhookReceiver) -> None:
    """Who promises a body and does not send it is waited for ten seconds."""

    async def drip() -> AsyncIterator[bytes]:
        while True:
            yield b"x"
            await asyncio.sleep(1)

    async with open_doorstep(receiver) as url:
        began = now()
        answer = await ask(url, "POST", headers=HEYGEN.headers, data=drip())

    assert answer.status == 408
    assert now() - began == pytest.approx(10, abs=0.5)


@pytest.mark.parametrize(
    "rest",
    [
        b"Content-Length: 9\r\n\r\n{",
        b"Content-Length: 9\r\nContent-Encoding: gzip\r\n\r\nnot gzip!",
    ],
    ids=["half", "garbage"],
)
async def test_bodies_that_break_off_do_not_fill_the_log(
    receiver: WebhookReceiver, rest: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """Anybody may send half a body and go, or one that cannot be unpacked, as often as he likes."""
    async with open_doorstep(receiver) as url:
        address = URL(url)
        _, writer = await asyncio.open_connection(address.host, address.port)
        writer.write(b"POST %b HTTP/1.1\r\nHost: you\r\n%b" % (address.path.encode(), rest))
        await asyncio.sleep(1)
        writer.close()
        await asyncio.sleep(1)
        assert (await ask(url, "OPTIONS")).status == 200

    assert not caplog.records
    assert sum(receiver.stats()) == 0
