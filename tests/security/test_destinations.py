"""Where webhooks may go: no caller sends the server to what only the server can reach."""

import asyncio
import socket
from typing import Any

import aiohttp
import pytest

from simulator import Simulator
from simulator.destinations import Destinations
from simulator.testing import Network
from tests.virtual.receiver import Receiver

PUBLIC = ["8.8.8.8", "1.1.1.1", "2606:4700::1111"]
LOOPBACK = ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"]
PRIVATE = [
    "10.0.0.1",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.1.1",
    "fc00::1",
    "fd12:3456:789a::1",
    "::ffff:10.0.0.1",
]
NOWHERE = [
    "0.0.0.0",
    "::",
    "224.0.0.1",
    "239.1.1.1",
    "ff02::1",
    "::ffff:224.0.0.1",
    "100.64.0.1",  # behind a carrier's NAT
    "169.254.169.254",  # where clouds keep their keys
    "0.1.2.3",
    "192.0.0.8",
    "192.88.99.1",
    "198.18.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "fe80::1",
    "fd00:ec2::254",  # where clouds keep their keys, among private addresses
    "fd20:ce::254",
    "fec0::1",
    "2001:db8::1",
    "3fff::1",
    "5f00::1",
    "::ffff:169.254.169.254",
    "::7f00:1",  # 127.0.0.1, IPv4-compatible
    "64:ff9b::a00:1",  # 10.0.0.1 behind NAT64
    "64:ff9b::808:808",
    "64:ff9b::7f00:1",
    "64:ff9b:1::a00:1",
    "2002:a00:1::",  # 10.0.0.1 by 6to4
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",  # Teredo
]

ON_LOOPBACK = Destinations.of("127.0.0.1")
ELSEWHERE = Destinations.of("0.0.0.0")
PRIVATE_TOO = Destinations.of("0.0.0.0", allows_private=True)


def url_of(address: str) -> str:
    """Return a URL at an address."""
    return f"http://[{address}]:8080/hook" if ":" in address else f"http://{address}:8080/hook"


def dials(destinations: Destinations, address: str) -> bool:
    """Tell whether a connection to an address would begin."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    found: Any = (family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (address, 80))
    try:
        destinations.open_socket(found).close()
    except PermissionError:
        return False
    return True


def names(destinations: Destinations, address: str) -> bool:
    """Tell whether an order may name an address."""
    try:
        destinations.check(url_of(address))
    except ValueError:
        return False
    return True


@pytest.mark.parametrize("may", [dials, names])
def test_who_may_be_told(may: Any) -> None:
    """Public addresses, loopback from there, private ones by option, and never any others."""
    for address in PUBLIC:
        assert [may(to, address) for to in (ON_LOOPBACK, ELSEWHERE, PRIVATE_TOO)] == [True] * 3
    for address in LOOPBACK:
        assert [may(to, address) for to in (ON_LOOPBACK, ELSEWHERE, PRIVATE_TOO)] == [
            True,
            False,
            True,
        ]
    for address in PRIVATE:
        told = [may(to, address) for to in (ON_LOOPBACK, ELSEWHERE, PRIVATE_TOO)]
        assert told == [False, False, True], address
    for address in NOWHERE:
        told = [may(to, address) for to in (ON_LOOPBACK, ELSEWHERE, PRIVATE_TOO)]
        assert told == [False] * 3, address


@pytest.mark.parametrize(
    ("host", "is_local"),
    [
        ("127.0.0.1", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.168.1.5", False),
        ("localhost.example", False),
        ("", False),
    ],
)
def test_what_counts_as_loopback(host: str, is_local: bool) -> None:
    """Only a server that nobody else can reach tells programs on its own machine."""
    assert Destinations.of(host).allows_loopback == is_local


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.com/",
        "file:///etc/passwd",
        "gopher://example.com",
        "//example.com",
        "example.com",
        "http://",
        "http:///path",
        "http://me:secret@example.com/",
        "http://me@example.com/",
        "http://@example.com/",
        "http://example.com:0/",
        "http://example.com:70000/",
        "http://example.com:http/",
        "http://[::1/",
        "http://[nonsense]/",
        "http://example.com/\r\nHost: other",
        "http://exa mple.com/",
        "http://localhost./",
        "http://sim.localhost/",
        "HTTP://LOCALHOST/",
    ],
)
def test_urls_that_lead_astray(url: str) -> None:
    """Other schemes, hidden users and ports that are none are refused, as are names of loopback."""
    with pytest.raises(ValueError) as caught:
        ELSEWHERE.check(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["http://10.0.0.1/", "http://169.254.169.254/latest", "http://a:0/"]
)
async def test_an_order_is_refused_at_once(virtual_time: Any, url: str) -> None:
    """Where the text shows it, whoever orders is told, and nothing is made."""
    async with Simulator() as sim, aiohttp.ClientSession(sim.url) as http:
        body = {"video_url": "https://example.com/v", "language": "Spanish", "callback_url": url}
        for path in ("/jobs", "/create_job"):
            async with http.post(path, json=body) as answer:
                problem = await answer.json()
            assert (answer.status, problem["code"]) == (400, "bad_request")
            assert problem["detail"].startswith("callback_url: ")
        assert sim.jobs == {}


@pytest.mark.parametrize("is_allowed", [False, True])
async def test_a_name_is_checked_each_time_it_is_dialed(
    virtual_time: Any, virtual_network: Network, is_allowed: bool
) -> None:
    """A name that leads elsewhere since the order was taken (DNS rebinding) is not followed."""
    virtual_network.name("me.example", "127.0.0.1")
    virtual_network.name("inside.example", "10.0.0.7")
    async with (
        Receiver.open("10.0.0.7") as inside,
        Receiver.open() as receiver,
        Simulator(delay=1, allow_private_webhooks=is_allowed) as sim,
    ):
        receiver.answer = lambda _: 500
        await sim.create(callback_url="http://me.example:9000/hook")
        await receiver.wait(1)
        virtual_network.name("me.example", "10.0.0.7")
        await asyncio.sleep(100)
        assert len(receiver.got) == 1
        assert bool(inside.got) == is_allowed
        dialed = {dial.address.host for dial in virtual_network.dials}
        assert ("10.0.0.7" in dialed) == is_allowed


async def test_redirects_lead_nowhere(virtual_time: Any, virtual_network: Network) -> None:
    """A receiver that points elsewhere is a receiver that has not acknowledged."""
    async with Receiver.open() as receiver, Simulator(delay=1) as sim:
        receiver.answer = lambda _: 307
        await sim.create(callback_url=receiver.url)
        await asyncio.sleep(30)
        assert {one.path for one in receiver.got} == {"/hook"}
        assert sim.stats().webhooks.delivered == 0
