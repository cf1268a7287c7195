"""The judge of what a run has cost: requests, dials, connections, and what was held for us."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import TYPE_CHECKING

import msgspec

from tests.promises import (
    e2_budget,
    e3_dials,
    e4_retry_after,
    e5_one_socket,
    l2_silence_noticed,
)
from tests.sim.broken import check

if TYPE_CHECKING:
    from tests.sim.world import World

__all__ = ["judge_cost"]

STEADY = 5.0
"""Seconds for which a connection must live before the failures before it are forgotten."""

MOST_UNSENT = 3 * 65_536
"""Bytes that the server may hold for one peer that does not read."""

_BY_DATE = {"429 by date", "refusals by date"}


def judge_cost(world: World) -> None:
    """Judge the requests, the connections, and what the server had to hold (L2, L3, R2, E)."""
    witness, schedule = world.witness, world.schedule
    reads = [sent for sent in witness.requests if sent.path.startswith("/status")]
    times = [sent.at for sent in reads]
    e2_budget(times, rate=20, burst=20)
    # A date is measured against that of the answer, and a flipped bit may be in either.
    is_legible = not ("flipped bits" in schedule.kinds and schedule.kinds & _BY_DATE)
    if is_legible:
        e4_retry_after(times, witness.held_reads)
    _judge_flights(world)
    check(
        world.most_unsent <= MOST_UNSENT + (1_100_000 if "oversize" in schedule.kinds else 0),
        "R2",
        f"the server held {world.most_unsent} bytes for a peer that took nothing",
    )
    dials = [dialed.at for dialed in witness.dials]
    e3_dials(dials)
    if is_legible:
        e4_retry_after(dials, witness.held_dials)
    may_drain = not schedule.kinds.isdisjoint({"drain", "hasty drain"})
    e5_one_socket(witness.most_channels, draining=int(may_drain))
    _judge_silence(world)
    if not schedule.kinds:
        _judge_faultless(world)
    elif schedule.kinds == {"drain"}:
        drops = world.client.stats().drops
        check(not drops, "L3", "the server asked to move, and the client lost its channel")
    else:
        _judge_backoff(world)


def _judge_flights(world: World) -> None:
    """At most one read of a job is under way at a time (E2)."""
    busy: Counter[str] = Counter()
    marks = []
    for sent in world.witness.requests:
        jobs = _jobs_of(sent.path, sent.body)
        marks.append((sent.at, 1, jobs))
        if sent.ended_at is not None:
            marks.append((sent.ended_at, 0, jobs))
    for _, begins, jobs in sorted(marks, key=lambda mark: mark[:2]):
        for job_id in jobs:
            busy[job_id] += 1 if begins else -1
            check(busy[job_id] < 2, "E2", f"two reads of {job_id} were under way at once")


def _jobs_of(path: str, body: bytes | None) -> list[str]:
    if path == "/status":
        return [] if body is None else list(msgspec.json.decode(body)["jobs"])
    return [path.rpartition("/")[2]]


def _judge_silence(world: World) -> None:
    """A channel on which nothing is heard is left (L2), whatever it waits for."""
    for dialed in world.witness.dials:
        marks = [
            dialed.at,
            *dialed.heard,
            world.now() if dialed.left_at is None else dialed.left_at,
        ]
        for before, after in pairwise(marks):
            l2_silence_noticed(after, silent_since=before)


def _judge_backoff(world: World) -> None:
    """Connections that fail one after the other are dialed ever more slowly (E3)."""
    if not world.schedule.kinds.isdisjoint({"drain", "hasty drain"}):
        return
    failures = 0
    before = None
    for dialed in world.witness.dials:
        if before is not None and before.left_at is not None and not before.was_idle:
            lived = before.left_at - before.at
            failures = failures + 1 if lived < STEADY else 0
            gap = dialed.at - before.left_at
            least = 0.0 if failures < 2 else min(5.0, 0.5 * 2 ** (failures - 2)) / 2
            check(gap > least - 0.01, "E3", f"dialed {gap:.2f} s after failure {failures} in a row")
        before = dialed


def _judge_faultless(world: World) -> None:
    """Without a fault nothing has to be mended (E1)."""
    stats = world.client.stats()
    if world.schedule.backend != "native" or world.schedule.transport == "poll":
        return
    check(not stats.drops, "E1", "a connection was lost, and nothing had cut it")
    # A slow reader may come to the end so late that the channel was left, for nobody needed it.
    enough = 1 + sum(dialed.was_idle for dialed in world.witness.dials)
    check(stats.dials <= enough, "E1", f"{stats.dials} dials, and {enough} would do")
    check(not stats.poll_updates, "E1", f"{stats.poll_updates} updates had to be found by reads")
    # No job is silent for so long that the safety poll has a look: the longest takes 20 s.
    if world.schedule.transport == "auto":
        check(not stats.polls, "E1", f"{stats.polls} reads, and push brought everything")
