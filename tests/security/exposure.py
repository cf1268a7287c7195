"""What a server does about callers who say nothing, too much, or nonsense.

    python -m tests.security.exposure [--url URL]

Every probe is a connection of raw bytes that misbehaves in one way until the server ends it. They
all run at once, on whatever loop this runs: on real sockets by the command, on virtual time by the
tests. Beside them a well-behaved caller asks again and again, and must always be answered.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import cache, partial
from typing import Final, NamedTuple

from tests.security.raw_peer import MEGABYTE, STEP, Peer, bomb, connected, frame
from tests.sockets.server_process import ServerProcess

__all__ = ["AT_ONCE", "LIMIT", "PROBES", "Exposure", "Finding", "Probe", "expose", "table"]

LIMIT: Final = 15.0
"""Seconds within which a caller who misbehaves is refused or closed."""

AT_ONCE: Final = 5.0
"""The same for what needs no patience; two of them are for the caller to see the answer."""

ANSWER_LIMIT: Final = 5.0
"""Seconds within which a caller who behaves is answered meanwhile."""

_PATIENCE: Final = 25.0  # s after which a probe gives up on a server that does nothing
_ASK: Final = b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n"


# -- the probes -----------------------------------------------------------------------------------

Play = Callable[[Peer], Awaitable[None]]


class Probe(NamedTuple):
    """What a caller does, until the server ends the connection."""

    play: Play
    within: float
    """Seconds in which the server does."""


PROBES: Final[dict[str, Probe]] = {}
"""All of them, by name."""


def probe(play: Play, within: float = LIMIT) -> Play:
    """Note a probe whose docstring is its name."""
    assert play.__doc__ is not None
    PROBES[play.__doc__[0].lower() + play.__doc__[1:].rstrip(".")] = Probe(play, within)
    return play


at_once: Final = partial(probe, within=AT_ONCE)
"""Note a probe that needs no patience: what is too much, or no HTTP, is so at its first sight."""


@probe
async def _silence(peer: Peer) -> None:
    """Say nothing."""
    await peer.hear_out()


@probe
async def _dripping_head(peer: Peer) -> None:
    """Drip the head of a request."""
    await peer.drip(b"GET /healthz HTTP/1.1\r\n", b"Host: x\r\n", b"X: y\r\n")


@probe
async def _second_head(peer: Peer) -> None:
    """Drip the head of a second request."""
    await peer.request("GET /healthz")
    await peer.drip(b"GET /healthz HTTP/1.1\r\n", b"X: y\r\n")


@probe
async def _absent_body(peer: Peer) -> None:
    """Promise a body and never send it."""
    await peer.request("POST /jobs", "Content-Length: 1000")
    await peer.hear_out()


@at_once
async def _absent_body_nobody_reads(peer: Peer) -> None:
    """Promise a body that nobody asked for."""
    await peer.request("GET /healthz", "Content-Length: 1000")
    await peer.hear_out()


@probe
async def _absent_body_of_control(peer: Peer) -> None:
    """Promise a body to the control API."""
    await peer.request("POST /_control/drop", "Content-Length: 1000")
    await peer.hear_out()


@probe
async def _dripping_body(peer: Peer) -> None:
    """Drip a body."""
    await peer.request("POST /jobs", "Content-Length: 1000")
    await peer.drip(b" ")


@probe
async def _dripping_chunks(peer: Peer) -> None:
    """Drip a body of chunks."""
    await peer.request("POST /status", "Transfer-Encoding: chunked")
    await peer.drip(b"1\r\n \r\n")


@at_once
async def _giant_line(peer: Peer) -> None:
    """Send a path of a megabyte."""
    await peer.request(f"GET /{'x' * MEGABYTE}")
    await peer.hear_out()


@at_once
async def _giant_header(peer: Peer) -> None:
    """Send a header of a megabyte."""
    await peer.request("GET /healthz", f"X: {'x' * MEGABYTE}")
    await peer.hear_out()


@at_once
async def _many_headers(peer: Peer) -> None:
    """Send ten thousand headers."""
    await peer.request("GET /healthz", *(f"X-{number}: y" for number in range(10_000)))
    await peer.hear_out()


@at_once
async def _giant_body(peer: Peer) -> None:
    """Send a body without end."""
    await peer.request("POST /jobs", f"Content-Length: {10**12}")
    while True:
        await peer.send(bytes(65_536))


@at_once
async def _giant_chunks(peer: Peer) -> None:
    """Send chunks without end."""
    await peer.request("POST /jobs", "Transfer-Encoding: chunked")
    while True:
        await peer.send(b"10000\r\n" + bytes(65_536) + b"\r\n")


@cache
def _packed() -> bytes:
    return bomb(64 * MEGABYTE)


@at_once
async def _bomb(peer: Peer) -> None:
    """Send a body that unpacks to 64 MiB."""
    packed = _packed()
    headers = ("Content-Encoding: gzip", f"Content-Length: {len(packed)}", "Connection: close")
    await peer.request("POST /jobs", *headers, body=packed)
    await peer.hear_out()


@at_once
async def _bomb_nobody_reads(peer: Peer) -> None:
    """Send a body that unpacks to 64 MiB where there is nothing."""
    packed = _packed()
    headers = ("Content-Encoding: gzip", f"Content-Length: {len(packed)}", "Connection: close")
    await peer.request("POST /nowhere", *headers, body=packed)
    await peer.hear_out()


@at_once
async def _nonsense(peer: Peer) -> None:
    """Speak another protocol."""
    await peer.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256)))
    await peer.hear_out()


@at_once
async def _two_lengths(peer: Peer) -> None:
    """Say two lengths of one body."""
    await peer.request("POST /status", "Content-Length: 2", "Content-Length: 40", body=b"{}" * 20)
    await peer.hear_out()


@at_once
async def _length_and_chunks(peer: Peer) -> None:
    """Say a length and send chunks."""
    headers = ("Content-Length: 5", "Transfer-Encoding: chunked")
    await peer.request("POST /status", *headers, body=b"0\r\n\r\nGET /healthz HTTP/1.1\r\n\r\n")
    await peer.hear_out()


@at_once
async def _foreign_digits(peer: Peer) -> None:
    """Say a length in Arabic-Indic digits."""
    await peer.request("POST /status", "Content-Length: \u0662", body=b"{}")
    await peer.hear_out()


@probe
async def _pipelined_flood(peer: Peer) -> None:
    """Ask ten thousand times and read nothing."""
    peer.stop_reading()
    for _ in range(100):
        await peer.send(_ASK * 100)
    await peer.drip(_ASK)


@probe
async def _slow_reader(peer: Peer) -> None:
    """Read none of the events of many jobs."""
    jobs = dict.fromkeys(await peer.order(languages=100), 0)
    await peer.greet()
    peer.stop_reading()
    for number in range(10):
        ask = {"type": "subscribe", "id": number, "mode": "all", "jobs": jobs}
        await peer.send(frame(json.dumps(ask).encode()))
    await peer.drip(frame(b'{"type":"pong","n":1}'))


@probe
async def _slow_reader_of_an_answer(peer: Peer) -> None:
    """Read nothing of a long answer."""
    jobs = await peer.order(languages=100)
    body = json.dumps({"mode": "all", "jobs": dict.fromkeys(jobs, 0)}).encode()
    peer.stop_reading()
    for _ in range(10):
        await peer.request("POST /status", f"Content-Length: {len(body)}", body=body)
    await peer.drip(_ASK)


@probe
async def _ping_flood(peer: Peer) -> None:
    """Ping without end and read nothing."""
    await peer.greet()
    peer.stop_reading()
    while True:
        await peer.send(frame(bytes(125), first=0x89) * 100)


@probe
async def _no_hello(peer: Peer) -> None:
    """Open the channel and say no hello."""
    await peer.upgrade()
    await peer.hear_out()


@probe
async def _pings_instead_of_hello(peer: Peer) -> None:
    """Ping instead of hello."""
    await peer.upgrade()
    await peer.drip(frame(b"", first=0x89))


@probe
async def _no_pong(peer: Peer) -> None:
    """Say hello and nothing more."""
    await peer.greet()
    await peer.hear_out()


@at_once
async def _giant_frame(peer: Peer) -> None:
    """Send a frame of a megabyte."""
    await peer.greet()
    await peer.send(frame(b"x" * MEGABYTE))
    await peer.hear_out()


@at_once
async def _giant_claim(peer: Peer) -> None:
    """Claim a frame of an exabyte."""
    await peer.greet()
    await peer.send(frame(b"x", claims=2**60))
    await peer.hear_out()


@at_once
async def _fragments(peer: Peer) -> None:
    """Send fragments without end."""
    await peer.greet()
    await peer.send(frame(b"{", first=0x01))
    while True:
        await peer.send(frame(bytes(1000), first=0x00))


@at_once
async def _reserved_bit(peer: Peer) -> None:
    """Set a reserved bit."""
    await peer.greet()
    await peer.send(frame(b"{}", first=0xC1))
    await peer.hear_out()


@at_once
async def _unknown_opcode(peer: Peer) -> None:
    """Send a frame of an unknown kind."""
    await peer.greet()
    await peer.send(frame(b"{}", first=0x83))
    await peer.hear_out()


@at_once
async def _giant_control_frame(peer: Peer) -> None:
    """Send a ping of a kilobyte."""
    await peer.greet()
    await peer.send(frame(bytes(1000), first=0x89))
    await peer.hear_out()


@probe
async def _no_mask(peer: Peer) -> None:
    """Send a frame without a mask."""
    await peer.greet()
    await peer.send(frame(b'{"type":"pong","n":1}', mask=False))
    await peer.hear_out()


@at_once
async def _invalid_text(peer: Peer) -> None:
    """Send a text that is no UTF-8."""
    await peer.greet()
    await peer.send(frame(b'{"type":"\xff\xfe"}'))
    await peer.hear_out()


@at_once
async def _deep_message(peer: Peer) -> None:
    """Send a message that is nested 30,000 deep."""
    await peer.greet()
    await peer.send(frame(b'{"type":"hello","x":' + b"[" * 30_000))
    await peer.hear_out()


# -- how they are run -----------------------------------------------------------------------------


class Finding(NamedTuple):
    """What became of one probe."""

    name: str
    limit: float
    """Seconds in which the server should end the connection."""
    seconds: float
    """Until it did."""
    is_ended: bool
    """Whether it did."""
    said: bytes
    """The beginning of what it said."""

    @property
    def is_good(self) -> bool:
        """Whether the server ended it in time."""
        return self.is_ended and self.seconds <= self.limit


class Exposure(NamedTuple):
    """What became of all of them."""

    findings: list[Finding]
    answers: list[float]
    """Seconds that each question of the caller who behaves took."""

    @property
    def is_good(self) -> bool:
        """Whether every probe was ended in time, and nobody else had to wait."""
        return all(one.is_good for one in self.findings) and max(self.answers) <= ANSWER_LIMIT


async def expose(url: str, names: frozenset[str] | None = None) -> Exposure:
    """Run probes against the server at `url`; None means all of them."""
    chosen = {name: play for name, play in PROBES.items() if names is None or name in names}
    _packed()  # before, for it takes a while
    answers: list[float] = []
    is_over = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(_behave(url, answers, is_over))
        findings = await asyncio.gather(*(_run(url, *item) for item in chosen.items()))
        is_over.set()
    return Exposure(list(findings), answers)


async def _run(url: str, name: str, chosen: Probe) -> Finding:
    loop = asyncio.get_running_loop()
    is_ended = True
    async with connected(url) as peer:
        try:
            async with asyncio.timeout(_PATIENCE):
                await chosen.play(peer)
        except TimeoutError:
            is_ended = False
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # which is what an end looks like to whoever sends
        return Finding(name, chosen.within, loop.time() - peer.began_at, is_ended, peer.said)


async def _behave(url: str, answers: list[float], is_over: asyncio.Event) -> None:
    """Ask for health until it is over and once more, each time on a new connection."""
    loop = asyncio.get_running_loop()
    is_last = False
    while not is_last:
        is_last = is_over.is_set()
        began = loop.time()
        async with connected(url) as peer:
            await peer.request("GET /healthz", "Connection: close")
            await peer.hear_out()
        assert b" 200 OK" in peer.said, peer.said
        answers.append(loop.time() - began)
        with suppress(TimeoutError):
            await asyncio.wait_for(is_over.wait(), STEP)


# -- the command ----------------------------------------------------------------------------------


def table(exposure: Exposure) -> str:
    """Return what became of the probes, a line each."""
    lines = [
        f"{'ok' if one.is_good else 'BAD':<4}{one.name:<55}{_outcome(one):>10}"
        for one in exposure.findings
    ]
    slowest = max(exposure.answers)
    verdict = "ok" if slowest <= ANSWER_LIMIT else "BAD"
    lines.append(
        f"{verdict:<4}{len(exposure.answers)} questions of another caller were answered meanwhile, "
        f"the slowest in {slowest:.2f} s"
    )
    return "\n".join(lines)


def _outcome(finding: Finding) -> str:
    return f"{finding.seconds:.2f} s" if finding.is_ended else "never"


async def _main(url: str | None) -> int:
    if url is not None:
        exposure = await expose(url)
    else:
        async with ServerProcess() as server:
            exposure = await expose(server.url)
    sys.stdout.write(table(exposure) + "\n")
    return 0 if exposure.is_good else 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.security.exposure", description=__doc__)
    parser.add_argument("--url", help="of a running server; one is started if it is not given")
    sys.exit(asyncio.run(_main(parser.parse_args().url)))
