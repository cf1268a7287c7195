"""Faults of the link on real sockets: what the kernel of the peer makes of them."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from simulator import Simulator
from simulator.faults import (
    Bandwidth,
    Blackhole,
    Down,
    Fault,
    Hang,
    Lag,
    LimitData,
    Refuse,
    ResetPeer,
    SlowClose,
    Stall,
    Timeout,
    TruncateBody,
)
from tests.virtual.faults.views import Peer


@pytest.fixture
async def peer(sim: Simulator) -> AsyncIterator[Peer]:
    """Connect to the simulator."""
    dialed = await Peer.dial(sim)
    yield dialed
    await dialed.leave()


@pytest.mark.parametrize(
    ("fault", "ending"),
    [
        (ResetPeer(), "rst"),
        (Down(), "rst"),
        (Hang(seconds=0.05), "rst"),
        (Timeout(seconds=0.05), "fin"),
        (LimitData(bytes=50), "fin"),
        (TruncateBody(), "fin"),
    ],
    ids=lambda value: getattr(value, "name", None),
)
async def test_connection_ends(sim: Simulator, peer: Peer, fault: Fault, ending: str) -> None:
    """A connection ends by RST or by FIN, as the fault has it."""
    peer.ask()
    assert await peer.hear(0.05)
    sim.faults.add(fault)
    peer.ask()
    assert await peer.end() == ending


@pytest.mark.parametrize("fault", [Stall(), Timeout()], ids=["stall", "timeout"])
async def test_nothing_passes_until_it_heals(sim: Simulator, peer: Peer, fault: Fault) -> None:
    """What was held back arrives whole, however much it is."""
    sim.faults.add(fault, match={"direction": "out"})
    for _ in range(50):
        peer.ask("/openapi.json")
    assert await peer.hear(0.1) == b""
    sim.faults.heal()
    heard = await peer.hear(0.5)
    assert heard.count(b"HTTP/1.1 200 OK") == 50


@pytest.mark.parametrize("fault", [Refuse(), Down()], ids=["refuse", "down"])
async def test_nobody_gets_in_until_it_heals(sim: Simulator, fault: Fault) -> None:
    """Dials are refused, and then accepted again at the same port."""
    port = sim.port
    sim.faults.add(fault)
    await asyncio.sleep(0.02)
    with pytest.raises(ConnectionRefusedError):
        await Peer.dial(sim)
    sim.faults.heal()
    await asyncio.sleep(0.02)
    await (await Peer.dial(sim)).leave()
    assert sim.port == port


async def test_new_connections_are_swallowed(sim: Simulator, peer: Peer) -> None:
    """A dial succeeds and nothing follows; older connections work on."""
    peer.ask()
    assert await peer.hear(0.05)
    sim.faults.add(Blackhole())
    new = await Peer.dial(sim)
    new.ask()
    peer.ask()
    assert await new.hear(0.1) == b""
    assert await peer.hear(0.05)
    await new.leave()


@pytest.mark.parametrize("fault", [Lag(seconds=0.2), SlowClose(seconds=0.2), Bandwidth()])
async def test_it_takes_its_time(sim: Simulator, peer: Peer, fault: Fault) -> None:
    """What is late comes no sooner than it should."""
    sim.faults.add(fault, match={"direction": "out"})
    began = time.monotonic()
    peer.ask("/metrics", keep=False)
    assert await peer.end() == "fin"
    assert 0.1 < time.monotonic() - began < 2


async def test_a_server_leaves_though_its_links_are_stalled(sim: Simulator, peer: Peer) -> None:
    """A connection on which nothing passes does not hold up the end."""
    sim.faults.add(Stall())
    peer.ask()
    await asyncio.sleep(0.02)
    async with asyncio.timeout(1):
        await sim.aclose()
    assert await peer.end() == "rst"
