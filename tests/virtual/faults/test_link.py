"""Faults of the link, seen by a bare socket or by whoever dials."""

import asyncio
import re

import aiohttp
import pytest

from simulator import Simulator
from simulator.faults import (
    Bandwidth,
    Blackhole,
    Corrupt,
    Down,
    DropEstablished,
    Lag,
    LimitData,
    Refuse,
    ResetPeer,
    Slicer,
    SlowClose,
    Stall,
    Swizzle,
    Timeout,
)
from tests.simulator.backend import Talk
from tests.virtual.faults.views import Peer, ask, now, seconds_of


async def test_lag(sim: Simulator, http: aiohttp.ClientSession) -> None:
    """Every byte is late, each way; one way alone if the rule says so."""
    usual = await seconds_of(http)
    sim.faults.add(Lag(seconds=2))
    assert await seconds_of(http) == pytest.approx(usual + 4, abs=0.1)

    sim.faults.heal()
    sim.faults.add(Lag(seconds=2, jitter=1), match={"direction": "out"})
    assert usual + 1.9 < await seconds_of(http) < usual + 3.1


async def test_bandwidth(sim: Simulator, http: aiohttp.ClientSession) -> None:
    """A page takes as long as its bytes do, and they come bit by bit."""
    async with http.get("/metrics") as answer:
        size = len(await answer.read())
    sim.faults.add(Bandwidth(bytes_per_second=100), match={"direction": "out"})
    began = now()
    async with http.get("/metrics") as answer:
        assert now() - began < size / 100 / 2, "the headers come first"
        await answer.read()
    assert size / 100 < now() - began < size / 100 + 10

    peer = await Peer.dial(sim)
    peer.ask("/metrics")
    assert len(await peer.hear(2)) < 300
    sim.faults.heal()
    assert len(await peer.hear(0.1)) > size - 300, "the rest is there once it heals"
    await peer.leave()


async def test_slicer(sim: Simulator) -> None:
    """An answer comes in pieces of at most so many bytes, with pauses."""
    sim.faults.add(Slicer(size=10, pause=0.1), match={"direction": "out"})
    peer = await Peer.dial(sim)
    peer.ask()
    pieces = [await peer.reader.read(1000) for _ in range(5)]
    began = now()
    pieces += [await peer.reader.read(1000) for _ in range(5)]

    assert {len(piece) for piece in pieces} == {10}
    assert now() - began == pytest.approx(0.5, abs=0.02)
    assert b"".join(pieces).startswith(b"HTTP/1.1 200 OK\r\n")
    await peer.leave()


def undated(answer: bytes) -> bytes:
    """Return an answer without what differs from one second to the next."""
    return re.sub(rb"Date: .{29}", b"", answer)


async def test_corrupt(sim: Simulator) -> None:
    """An answer is as long as it was, and one bit of it is another."""
    peer = await Peer.dial(sim)
    peer.ask("/asyncapi.json")
    good = undated(await peer.hear(1))
    sim.faults.add(Corrupt(), match={"direction": "out"})
    peer.ask("/asyncapi.json")
    bad = undated(await peer.hear(1))

    pieces = [int.bit_count(a ^ b) for a, b in zip(good, bad, strict=True)]
    assert 1 <= sum(pieces) <= 4, "one for each piece in which it is sent"
    await peer.leave()


async def test_stall(sim: Simulator) -> None:
    """Nothing passes until it heals, then all of it does; new connections stall, too."""
    old = await Peer.dial(sim)
    number = sim.faults.add(Stall())
    new = await Peer.dial(sim)
    for peer in (old, new):
        peer.ask()
        assert await peer.hear(5) == b""
    sim.faults.remove(number)
    for peer in (old, new):
        assert (await peer.hear(0.1)).startswith(b"HTTP/1.1 200 OK")

    sim.faults.add(Stall(), match={"direction": "out", "path": "/healthz"})
    old.ask()
    assert await old.hear(1) == b""
    assert sim.calls[-1].path == "/healthz", "the way in is free"
    for peer in (old, new):
        await peer.leave()


async def test_timeout(sim: Simulator) -> None:
    """Nothing passes, and after its time the connection ends; 0 is for ever."""
    sim.faults.add(Timeout(seconds=7), count=1)
    sim.faults.add(Timeout())
    ending, standing = await Peer.dial(sim), await Peer.dial(sim)
    began = now()
    for peer in (ending, standing):
        peer.ask()
    assert await ending.end() == "fin"
    assert now() - began == pytest.approx(7, abs=0.1)
    assert await standing.end() == "none"
    for peer in (ending, standing):
        await peer.leave()


async def test_reset_peer(sim: Simulator) -> None:
    """Everything passes, until the connection is reset after its time."""
    sim.faults.add(ResetPeer(seconds=3))
    peer = await Peer.dial(sim)
    began = now()
    peer.ask()
    assert (await peer.hear(1)).startswith(b"HTTP/1.1 200 OK")
    assert await peer.end() == "rst"
    assert now() - began == pytest.approx(3, abs=0.1)

    spared = await Peer.dial(sim)
    spared.ask()
    assert await spared.hear(1)
    sim.faults.heal()
    assert await spared.end() == "none", "what has healed in time strikes nobody"
    await spared.leave()


async def test_limit_data(sim: Simulator) -> None:
    """After so many bytes one way the connection ends."""
    sim.faults.add(LimitData(bytes=100), match={"direction": "out"})
    peer = await Peer.dial(sim)
    peer.ask("/metrics")
    assert len(await peer.hear(5)) == 100
    assert await peer.end() == "fin"
    await peer.leave()


async def test_slow_close(sim: Simulator) -> None:
    """The answer comes at once, the end of the connection later."""
    sim.faults.add(SlowClose(seconds=5))
    peer = await Peer.dial(sim)
    began = now()
    peer.ask(keep=False)
    assert b'"status"' in await peer.hear(1)
    assert await peer.end() == "fin"
    assert now() - began == pytest.approx(5, abs=0.1)
    await peer.leave()


async def test_blackhole(sim: Simulator) -> None:
    """New connections are accepted and hear nothing; one that was there works on."""
    old = await Peer.dial(sim)
    sim.faults.add(Blackhole())
    new = await Peer.dial(sim)
    old.ask()
    new.ask()
    assert await new.hear(5) == b""
    assert (await old.hear(1)).startswith(b"HTTP/1.1 200 OK")

    sim.faults.heal()

    assert (await new.hear(1)).startswith(b"HTTP/1.1 200 OK")
    for peer in (old, new):
        await peer.leave()


async def test_refuse(sim: Simulator, http: aiohttp.ClientSession) -> None:
    """Nobody gets in until it heals; one who is in stays."""
    peer = await Peer.dial(sim)
    sim.faults.add(Refuse())
    await asyncio.sleep(0.01)
    with pytest.raises(aiohttp.ClientConnectorError):
        await ask(http, "/healthz")
    peer.ask()
    assert (await peer.hear(1)).startswith(b"HTTP/1.1 200 OK")

    sim.faults.heal()

    await asyncio.sleep(0.01)
    assert (await ask(http, "/healthz"))[0] == 200
    await peer.leave()


async def test_down(sim: Simulator, http: aiohttp.ClientSession) -> None:
    """Nobody gets in, and whoever is in is reset; jobs go on, and so does the port."""
    [job] = await sim.create()
    peer, port = await Peer.dial(sim), sim.port
    sim.faults.add(Down(), for_=30)
    assert await peer.end() == "rst"
    with pytest.raises(aiohttp.ClientConnectorError):
        await ask(http, "/healthz")
    await asyncio.sleep(31)
    _, document = await ask(http, f"/status/{job.job_id}")
    assert (document["state"], sim.port) == ("completed", port)


async def test_drop_established(sim: Simulator) -> None:
    """Half of the connections are reset, once."""
    peers = [await Peer.dial(sim) for _ in range(10)]
    await asyncio.sleep(0.01)
    sim.faults.add(DropEstablished(fraction=0.5))
    ends = await asyncio.gather(*(peer.end(within=5) for peer in peers))
    assert sorted(ends) == ["none"] * 5 + ["rst"] * 5
    for peer in peers:
        await peer.leave()


async def test_swizzle(sim: Simulator) -> None:
    """Channels stall one after the other, and come back in another order."""
    talks = [Talk.open(sim.channel_url) for _ in range(3)]
    opened = [await talk.__aenter__() for talk in talks]
    for one in opened:
        await one.greet()
    sim.faults.add(Swizzle(connections=3, interval=1.0))
    await asyncio.sleep(0.2)

    async def back_after(talk: Talk) -> float:
        began = now()
        await asyncio.sleep(2.95)  # all are stalled
        await talk.subscribe({})
        return round(now() - began)

    times = await asyncio.gather(*map(back_after, opened))
    assert sorted(times) == [4, 5, 6]
    assert times != [4, 5, 6], "the order is another one, with this seed"
    for talk in talks:
        await talk.__aexit__(None, None, None)
