"""Rows 14 to 16: hostile peers, canary secrets and exposure, by the modules of `tests.security`."""

from __future__ import annotations

import asyncio
import logging

from tests.scorecard.row import Result
from tests.security import canary, exposure, hostile
from tests.sockets.server_process import ServerProcess

__all__ = ["canaries", "exposed_server", "hostile_peer"]


def hostile_peer(is_short: bool) -> Result:
    """Let a server answer with everything but what it should."""
    logging.getLogger("vtrans_hybrid").setLevel(logging.ERROR)
    harm = asyncio.run(hostile.meet(1_000 if is_short else 100_000, seed=1))
    cases = harm.in_process + harm.by_socket
    measured = (
        f"{cases:,} cases ({harm.by_socket:,} over sockets), {len(harm.failures)} failures, "
        f"RSS {harm.growth / 2**20:+.1f} MiB"
    )
    return Result(measured, harm.is_none)


def canaries(is_short: bool) -> Result:
    """Search what people get to see for secrets."""
    del is_short  # it is short
    logging.lastResort = None
    search = asyncio.run(canary.hunt())
    measured = (
        f"{len(search.finds)} in {search.searched:,} texts, {len(canary.SCENARIOS)} scenarios"
    )
    return Result(measured, not search.finds)


def exposed_server(is_short: bool) -> Result:
    """Misbehave towards a server in a process of its own, on real sockets.

    Sockets and seconds are those of a machine on which others may be busy, so what misses at first
    is tried once more.
    """
    del is_short  # the probes wait all at once, for as long as the slowest takes
    found = asyncio.run(_probe())
    if found.is_good:
        return Result(_ended(found), True)
    again = asyncio.run(_probe())
    measured = f"{_ended(again)} (the second try; the first: {_ended(found)})"
    return Result(measured, again.is_good)


async def _probe() -> exposure.Exposure:
    async with ServerProcess() as server:
        return await exposure.expose(server.url)


def _ended(found: exposure.Exposure) -> str:
    good = [each for each in found.findings if each.is_good]
    slowest = max(each.seconds for each in found.findings)
    return (
        f"{len(good)} of {len(found.findings)}, the slowest after {slowest:.1f} s; "
        f"others were answered within {max(found.answers):.2f} s"
    )
