"""The judge: what must hold of a run, at its moments and at its end.

The promises themselves are functions of `tests/promises.py` where that knows them; here stands when
each of them applies, and what can be seen of it in a world.
"""

from __future__ import annotations

import asyncio
import math
from functools import partial
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from simulator.jobs import FINAL_STATES
from tests.promises import (
    l1_final_in_time,
    l4_timeout_in_time,
    l5_at_once,
    s1_at_most_once,
    s2_ascending,
    s3_final_once_and_last,
    s4_real,
    s5_nothing_skipped,
    s5_skipped_is_counted,
    s7_present_first,
)
from tests.sim.broken import BrokenPromise, check
from tests.sim.cost import judge_cost
from tests.sim.knobs import KNOBS
from tests.sim.visitors import Visitor
from tests.virtual.chronicle import barely, in_heygen, unsigned
from vtrans_hybrid import (
    AuthError,
    InvalidRequest,
    JobLost,
    JobNotFound,
    WatchTimeout,
)
from vtrans_hybrid.heygen import HeyGen

if TYPE_CHECKING:
    from tests.sim.world import World
    from vtrans_hybrid import Stats

__all__ = [
    "LIMIT",
    "everybody_is_told",
    "is_misled",
    "judge",
    "judge_error",
    "nobody_is_followed",
    "nothing_is_connected",
    "nothing_is_left",
    "push_brought_everything",
    "push_is_back",
    "server_is_rid_of_us",
    "somebody_was_told",
    "unsent_by_server",
]

LIMIT = 45.0
"""L1: seconds to the final status after the last fault."""

DIALS = 10
DIAL_WINDOW = 60.0
"""E3: so many dials in so many seconds, after which the next one has to wait."""

BACKOFF = 30.0
"""L3: seconds between two attempts to have push back, at most."""

AUDIT = 120.0
"""Seconds between two audits of a job whose end nobody predicts, at most."""

BOUND = 256
"""Statuses that a slow reader in mode `all` may leave unread and miss none."""

MOST_UNREAD = 2 * BOUND
"""Statuses that a reader in mode `all` may have before it: the bound, and what came just now."""


# While it goes on.


def everybody_is_told(world: World) -> None:
    """Everybody who stayed has seen the end, in time (L1), or has an error that is true."""
    has_to_dial = world.schedule.transport == "push" and _has_spent_its_dials(world)
    limit = LIMIT + (DIAL_WINDOW if has_to_dial else 0)
    for visitor in world.visitors:
        if visitor.was_cancelled:
            continue
        somebody_was_told(world, visitor)
        assert visitor.ended_at is not None
        slack = visitor.visit.pause * len(visitor.seen)
        ends_at = max(world.ends_at[job_id] for job_id in visitor.job_ids)
        due_at = max(world.healed_at, visitor.came_at, ends_at) + slack
        audit = AUDIT if _is_found_by_audit(world, visitor) else 0
        l1_final_in_time(visitor.ended_at, healed_at=due_at, limit=limit + audit)
        if visitor.times and visitor.visit.how != "as_completed":
            # The audit is for what may come after the first status, not for that.
            known_at = max(world.healed_at, visitor.came_at)
            l1_final_in_time(visitor.times[0], healed_at=known_at, limit=limit)


def somebody_was_told(world: World, visitor: Visitor) -> None:
    """Somebody waits no more, and an error that was the end of that is true (L1, S6)."""
    lost = [job_id for job_id in visitor.job_ids if job_id not in world.sim.jobs]
    still = f"a visitor of {visitor.job_ids} still waits"
    if lost:
        still += f", and the server has lost {lost}"
    check(visitor.ended_at is not None, "S6" if lost else "L1", still)
    judge_error(world, visitor)


def _has_spent_its_dials(world: World) -> bool:
    """Tell whether the budget of dials may keep the client away once all is well (E3)."""
    since = world.healed_at - DIAL_WINDOW
    return sum(dialed.at >= since for dialed in world.witness.dials) >= DIALS


def _is_found_by_audit(world: World, visitor: Visitor) -> bool:
    """Tell whether a channel that seemed well left something of a job out, and nothing else told.

    Without an estimate nobody knows that a job is overdue, and reading every silent job sooner than
    the audit does would cost what push is there to save.
    """
    schedule = world.schedule
    if schedule.estimate == "true" and "estimates" not in schedule.kinds:
        return False
    if schedule.has("damage"):
        return True  # a frame that makes no sense may have been anybody's
    struck = [each for each in world.sim.faults.log if each.fault in _SILENT]
    return any(each.fault == "mute" or each.facts.job in visitor.job_ids for each in struck)


_SILENT = {"drop_event", "final_only_by_poll", "mute", "snapshot_lost", "vanish"}
"""Faults by which a channel that seems well brings nothing of a job."""


def judge_error(world: World, visitor: Visitor) -> None:
    """An error that ended a watch is true, and a timeout came in time (L1, L4, S6)."""
    visit = visitor.visit
    if visit.timeout and not visit.pause and visit.how != "callback":
        assert visitor.ended_at is not None
        late = visitor.ended_at - visitor.came_at - visit.timeout
        check(late <= 0.1, "L4", f"a watch went on for {late:.1f} s after its timeout")
    match visitor.error:
        case None:
            return
        case _ if world.schedule.has("damage") and not isinstance(visitor.error, WatchTimeout):
            return  # what a damaged answer says is taken for what the server said
        case WatchTimeout():
            assert visitor.ended_at is not None
            deadline = visitor.came_at + (visitor.visit.timeout or 0)
            if visitor.visit.pause:
                check(visitor.ended_at > deadline - 1e-6, "L4", "a timeout fired too early")
            else:
                l4_timeout_in_time(visitor.ended_at, deadline=deadline)
        case JobLost() | JobNotFound():
            check(world.schedule.has("loss"), "S6", f"the server has lost nothing: {visitor.error}")
        case AuthError():
            check(world.schedule.has("keys"), "L1", f"every key was good: {visitor.error}")
        case InvalidRequest(status=302) if world.witness.is_misdirected:
            return  # it was the first answer ever, and so the address may be wrong
        case _:
            raise BrokenPromise("L1", f"push or poll trouble ended a watch: {visitor.error!r}")


async def push_is_back(world: World) -> None:
    """Push is live and synced within one backoff period, as far as the budget allows it (L3)."""
    give_up_at = world.now() + (DIAL_WINDOW if _has_spent_its_dials(world) else BACKOFF) + 5
    while not _is_synced(world):
        check(world.now() < give_up_at, "L3", f"push is {world.client.stats().link}, not back")
        await asyncio.sleep(0.25)


def _is_synced(world: World) -> bool:
    core = world.client._driver.core
    primary = None if core is None else core.link.primary
    return primary is not None and primary.synced_at <= world.now()


def push_brought_everything(world: World, visitor: Visitor, before: Stats) -> None:
    """Without faults every version comes by push alone, on one connection, and at once (E1)."""
    versions = [status.version for status in visitor.seen]
    check(versions == [1, 2, 3, 4, 5], "E1", f"after all faults had healed, {versions} came")
    after = world.client.stats()
    check(
        after.poll_updates == before.poll_updates, "E1", "a read had to find what push should bring"
    )
    check(after.polls == before.polls, "E1", "push covers the job, and yet it was read")
    check(after.drops == before.drops, "E1", "a connection was lost, and nothing had cut it")
    check(after.duplicates == before.duplicates, "E1", "the server sent what was known")
    late = visitor.times[-1] - world.ends_at[visitor.job_ids[0]]
    check(late < 1, "E1", f"push took {late:.2f} s")


async def nobody_is_followed(world: World) -> None:
    """A job that nobody watches any more costs nothing, here and at the server (R2)."""
    core = world.client._driver.core
    if core is None:
        return
    check(not core.open_jobs, "R2", f"{core.open_jobs} jobs are followed, and nobody watches")
    ledger: Any = core._ledger
    for _ in range(10):
        await asyncio.sleep(2)
        if not ledger._records:
            break  # a read that is under way may take as long as a request may
    check(not ledger._records, "R2", f"jobs are kept that nobody watches: {[*ledger._records]}")
    # A server whose jobs run on behind their final status takes its own word for nothing.
    # And it may have heard something else than was said to it.
    is_sane = "resurrection" not in world.schedule.kinds and not world.schedule.has("damage")
    if is_sane and core.link.primary is not None and len(world.sim.connections) == 1:
        jobs = world.sim.connections[0].jobs
        check(not jobs, "R2", f"still subscribed, and nobody watches: {jobs}")


def is_misled(world: World, visitor: Visitor) -> bool:
    """Tell whether the client knows of a job of this visitor what the server never had."""
    core = world.client._driver.core
    assert core is not None, "somebody watches, so there is a core"
    ledger: Any = core._ledger
    records = [ledger.find(job_id) for job_id in visitor.job_ids]
    known = [each.status for each in records if each is not None and each.status is not None]
    had = [world.chronicle.at(status) for status in known]
    return any(
        one is None or one.state != status.state for one, status in zip(had, known, strict=True)
    )


# At the end.


def unsent_by_server(world: World) -> int:
    """Return how many bytes the server holds now for one peer, at most."""
    links: Any = world.network
    return max(
        (
            transport.get_write_buffer_size()
            for connection, link in links._links.items()
            for transport in link._transports
            if transport.get_extra_info("sockname") == tuple(connection.server)
        ),
        default=0,
    )


def nothing_is_left(world: World) -> None:
    """The client is closed: no task, timer or socket of it is left (R1), and at once (L5)."""
    l5_at_once(world.closed_in)
    loop: Any = asyncio.get_running_loop()
    tasks = [task for task in loop.tasks_made if not task.done() and _is_ours(task)]
    check(not tasks, "R1", f"tasks are left: {tasks}")
    timers = [timer for timer in loop.timers if "vtrans_hybrid" in repr(timer._callback)]
    check(not timers, "R1", f"timers are left: {timers}")
    links: Any = world.network
    for connection, link in links._links.items():
        for transport in link._transports:
            is_client = transport.get_extra_info("peername") == tuple(connection.server)
            is_client &= b"vtrans-simulator" not in connection.first_bytes  # it delivers webhooks
            check(not is_client, "R1", f"a socket is left: {transport}")
    for visitor in world.visitors:
        has_come = visitor.came_at > 0
        check(
            visitor.is_over or not has_come, "R1", f"a visitor waits after the end: {visitor.visit}"
        )


def _is_ours(task: asyncio.Task[Any]) -> bool:
    code = getattr(task.get_coro(), "cr_code", None)
    return code is not None and any(
        name in code.co_filename for name in ("/vtrans_hybrid/", "/websockets/asyncio/client")
    )


async def server_is_rid_of_us(world: World) -> None:
    """The server hears that its client is gone, whatever was on its way (R1)."""
    for _ in range(40):
        if not world.network.connections:
            break
        await asyncio.sleep(0.25)
    stats = world.sim.stats().replica
    check(
        stats is None or not stats.subscriptions,
        "R1",
        "the server keeps subscriptions of nobody",
    )


def nothing_is_connected(world: World) -> None:
    """When both are gone no connection is left (R1)."""
    check(not world.network.connections, "R1", f"left open: {world.network.connections}")


def judge(world: World) -> None:
    """Judge what the visitors saw (S), and what it cost (E)."""
    for visitor in world.visitors:
        if visitor.came_at:
            _judge_seen(world, visitor)
    judge_cost(world)


def _judge_seen(world: World, visitor: Visitor) -> None:
    seen, visit = visitor.seen, visitor.visit
    has_ended = visitor.error is None and not visitor.was_cancelled
    s1_at_most_once(seen)
    s2_ascending(seen)
    s3_final_once_and_last(seen, ended=visitor.job_ids if has_ended else None)
    _judge_real(world, visitor)
    if has_ended:
        for job_id in visitor.job_ids:
            last = visitor.last_seen(job_id)
            state = "" if last is None else str(last.state)
            check(state in FINAL_STATES, "S3", f"{job_id} ended as {state}, which is no end")
    if visitor.returned is not None:
        # But for what it skipped: who only waits reads less.
        returned = replace(visitor.returned, skipped=None)
        is_told = bool(seen) and replace(seen[-1], skipped=None) == returned
        check(is_told, "S3", f"what wait returned was never called back: {returned}")
    check(not visitor.overlaps, "S2", "a callback began before the one before it had ended")
    check(
        visitor.most_unread <= max(MOST_UNREAD, 3 * len(visitor.job_ids)),
        "R2",
        f"{visitor.most_unread} statuses waited for a slow reader",
    )
    l5_at_once(visitor.left_in)
    if visit.how == "as_completed":
        check(all(each.is_final for each in seen), "S3", "as_completed brought more than finals")
        return
    if not world.schedule.has("damage", "keys"):
        _judge_first(visitor)  # what was known of a job that has failed is known no longer
    # A slow reader may not see the history that was over before it read; how much it missed by that
    # nobody can say.
    s5_skipped_is_counted(
        seen, may_begin_anew=bool(visit.pause) and "rebirth" in world.schedule.kinds
    )
    keeps_up = not visit.pause or visitor.most_unread < BOUND - len(visitor.job_ids)
    # Backends without versions number what is seen, so there it could not fail.
    is_whole = visitor.wants_all and keeps_up and world.schedule.backend in _WITH_VERSIONS
    if is_whole and not world.schedule.has("damage"):
        decided = [status for status in seen if not _is_kept_from_push(world, status.job_id)]
        s5_nothing_skipped(decided, is_late=visit.at > 0)


def _is_kept_from_push(world: World, job_id: str) -> bool:
    """Tell whether a channel that is alone left as much out of a job as is taken for lost.

    What comes behind the `synced` that should have followed it was left out as well.
    """
    log = world.sim.faults.log if world.schedule.transport == "push" else ()
    withheld = sum(each.fault in _WITHHOLDING and each.facts.job == job_id for each in log)
    return withheld > 3


_WITHHOLDING = {"delay_event", "drop_event", "final_only_by_poll", "reorder", "snapshot_lost"}

_WITH_VERSIONS = {"native", "plain", "legacy"}


def _judge_first(visitor: Visitor) -> None:
    """Who comes later sees at once what others know (S7)."""
    for job_id, present in visitor.known.items():
        if job_id not in visitor.job_ids:
            continue
        mine = [status for status in visitor.seen if status.job_id == job_id]
        # Who knew a job that is gone by now goes on with other jobs; for others it is no more.
        is_gone = isinstance(visitor.error, (JobLost, JobNotFound))
        # Who comes in the instant in which the client is closed may see nothing of it.
        has_looked = not visitor.was_cancelled and visitor.ended_at != visitor.came_at
        if mine or (has_looked and not is_gone):
            s7_present_first(mine, present)
    known = [job_id for job_id in visitor.known if job_id in visitor.job_ids]
    if known and visitor.times and not visitor.visit.pause:
        late = visitor.times[0] - visitor.came_at
        check(late < 0.01, "S7", f"what was known came {late:.2f} s late")


def _judge_real(world: World, visitor: Visitor) -> None:
    """What was seen is what the server had, word by word (S4)."""
    schedule, chronicle = world.schedule, world.chronicle
    # A bit that was flipped may have changed anything; before that, all must be as it was.
    damaged_at = min(
        (world.began_at + g.at for g in schedule.gusts if KNOBS[g.kind].family == "damage"),
        default=math.inf,
    )
    seen = [each for each, at in zip(visitor.seen, visitor.times, strict=True) if at < damaged_at]
    match schedule.backend:
        case "native":
            s4_real(filter(chronicle.covers, seen), chronicle.had)
        case "plain" | "legacy":
            s4_real(filter(chronicle.covers, seen), chronicle.had_plainly)
        case "bare":
            s4_real(seen, partial(chronicle.had_once, show=barely))
        case "heygen":
            untold = _TOLD_ALONE if len(world.job_ids) >= HeyGen.capabilities.bulk_from else ()
            untold += ("result_url",) if "late urls" in schedule.kinds else ()
            find = partial(chronicle.had_once, show=in_heygen, untold=untold)
            s4_real(map(unsigned, seen), find)


_TOLD_ALONE = ("language", "created_at")
"""What HeyGen tells in reads of one job alone."""
