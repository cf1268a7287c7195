"""The faults that a schedule can have: how each begins, and how it ends again.

A knob knows the virtual network, the simulator, or the client's own carrier; nothing of schedules.
Its family says what it does to the sources of news, by which `schedule.draw` decides what may come
together, and the judge what must hold all the same:

    link       of the network; push is back afterwards, and each source is true to its word
    channel    of push, the same
    server     of the whole server, the same
    order      push breaks its word: reads must be there to mend what it left out
    reads      of reads alone
    for good   afterwards push is off for minutes
    loss       the server loses jobs: a watch may end in an error
    heygen     of what HeyGen's paths say
    hooks      of HeyGen's webhooks
    keys       the server takes no key any more: the same
    damage     what was said is not what is heard, and no checksum tells: little can be promised
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args, get_type_hints

from simulator.faults import (
    AcceptAndClose,
    AliasWords,
    AuthExpire,
    BulkPartial,
    ClockJump,
    Close,
    DelayEvent,
    DropEvent,
    Duplicate,
    ErrorInside,
    Eta,
    EventAfterFinal,
    Fault,
    FinalOnlyByPoll,
    Gap,
    Garbage,
    GarbageFrame,
    GzipBomb,
    HalfOpen,
    Hang,
    HeartbeatStop,
    HttpStatus,
    Latency,
    LateUrl,
    LimitData,
    Mute,
    NotFoundAtFirst,
    Overload,
    Oversize,
    PauseProcess,
    Redirect,
    RefuseUpgrade,
    RegressProgress,
    RegressState,
    Reorder,
    ResendOld,
    Reset,
    ResurrectAfterFinal,
    Skew,
    SlowBody,
    SlowClose,
    SlowReader,
    SnapshotLost,
    Speed,
    Split,
    Stale,
    TruncateBody,
    UnknownState,
    Vanish,
    WebhookBadSignature,
    WebhookDrop,
    WebhookDuplicate,
    WebhookOldTimestamp,
    WebhookOutOfOrder,
    WebhookRotateSecret,
    WebhookSlowAck,
    WrongJob,
)
from tests.virtual.scene import is_channel

if TYPE_CHECKING:
    from tests.sim.schedule import Gust
    from tests.sim.world import World

__all__ = ["Family", "KNOBS", "Knob"]

Family = Literal[
    "channel",
    "damage",
    "for good",
    "heygen",
    "hooks",
    "keys",
    "link",
    "loss",
    "order",
    "reads",
    "server",
]

End = Callable[[], object] | None
"""What ends a fault; None where it ends by itself."""


@dataclass(frozen=True, kw_only=True)
class Knob:
    """One kind of fault.

    Attributes:
        family: What it does to the sources of news.
        begin: Begins it, and returns what ends it.
        amounts: What `Gust.amount` may be.
    """

    family: Family
    begin: Callable[[World, Gust], End]
    amounts: Sequence[float] = (0.0,)


def _of_link(name: str, *arguments: Any, has_place: bool = True) -> Knob:
    """Return a fault of the network; `has_place` where it can hit the channel alone."""

    def begin(world: World, gust: Gust) -> End:
        options = {"where": is_channel if gust.is_narrow else None} if has_place else {}
        end: End = getattr(world.network, name)(*arguments, **options).heal
        return end

    return Knob(family="link", begin=begin)


def _at_once(name: str) -> Knob:
    def begin(world: World, gust: Gust) -> None:
        getattr(world.network, name)(where=is_channel if gust.is_narrow else None)

    return Knob(family="link", begin=begin)


def _of_server(
    family: Family,
    make: Callable[[float], Fault],
    amounts: Sequence[float] = (0.0,),
    *,
    path: str | None = None,
) -> Knob:
    """Return a fault of the simulator, made from the amount of a gust."""
    match = {} if path is None else {"path": path}

    def begin(world: World, gust: Gust) -> End:
        number = world.sim.faults.add(make(gust.amount), match=match, probability=gust.chance)
        return lambda: world.sim.faults.remove(number)

    return Knob(family=family, begin=begin, amounts=amounts)


def _later(
    family: Family,
    act: Callable[[World, float], Awaitable[object]],
    amounts: Sequence[float] = (0.0,),
) -> Knob:
    """Return something that the server does in its own time."""

    def begin(world: World, gust: Gust) -> None:
        world.deeds.append(asyncio.ensure_future(act(world, gust.amount)))

    return Knob(family=family, begin=begin, amounts=amounts)


async def _restart(world: World, amount: float) -> None:
    await world.sim.restart(down_for=amount)


async def _lose(world: World, amount: float) -> None:
    await world.remember()
    await world.sim.restart(lose_state="all", down_for=amount)


async def _bear_again(world: World, amount: float) -> None:
    await world.bear_again(down_for=amount)


async def _drain(world: World, amount: float) -> None:
    await world.sim.drain(deadline=5 * amount, spread=amount)


async def _drain_hastily(world: World, amount: float) -> None:
    await world.sim.drain(deadline=0.5, spread=amount)


async def _cancel(world: World, _amount: float) -> None:
    await world.cancel_one()


async def _stop(world: World, amount: float) -> None:
    world.put_off(amount)
    world.sim.faults.add(PauseProcess(seconds=amount))
    await asyncio.sleep(amount + _SOON)


async def _set_clock(world: World, amount: float) -> None:
    world.put_off(max(0.0, -amount))
    world.sim.faults.add(ClockJump(seconds=amount))
    await asyncio.sleep(_SOON)


async def _truncate(world: World, amount: float) -> None:
    await world.truncate(int(amount))


def _speed(world: World, gust: Gust) -> End:
    world.put_off(gust.lasts * max(0.0, 1 - gust.amount))
    number = world.sim.faults.add(Speed(factor=gust.amount))
    return lambda: world.sim.faults.remove(number)


def _flip_bits(world: World, gust: Gust) -> End:
    where = is_channel if gust.is_narrow else None
    return world.network.corrupt(gust.amount, where=where).heal


def _serve_old_answers(world: World, gust: Gust) -> End:
    return world.witness.serve_old_answers(gust.chance)


_SOON = 0.2
"""Seconds after which a fault of the server has begun."""


def _damage_epochs(what: Literal["answer", "frame"]) -> Callable[[World, Gust], End]:
    return lambda world, gust: world.witness.damage_epochs(what, gust.chance)


_ESTIMATES = get_args(get_type_hints(Eta)["kind"])
_GARBAGE = get_args(get_type_hints(Garbage)["kind"])
_STYLES = get_args(get_type_hints(AliasWords)["style"])
_BEFORE = get_args(get_type_hints(RegressState)["state"])
_FRAMES = get_args(get_type_hints(GarbageFrame)["kind"])

KNOBS: dict[str, Knob] = {
    "reset": _at_once("reset"),
    "close": _at_once("close"),
    "stall": _of_link("stall"),
    "deaf": _of_link("half_open", "to_server"),
    "dumb": _of_link("half_open", "to_client"),
    "refuse": _of_link("refuse", has_place=False),
    "blackhole": _of_link("blackhole", has_place=False),
    "slow": _of_link("latency", 0.1, 2.0),
    "slice": _of_link("slice"),
    "narrow": _of_link("bandwidth", 2000.0),
    "cuts": _of_link("cut_every", 1.0, 5.0),
    "half-open": _of_server("channel", lambda _: HalfOpen()),
    "mute": _of_server("channel", lambda _: Mute()),
    "closes": _of_server("channel", lambda code: Close(code=int(code), age=1), (1000, 1001, 4001)),
    "errors": _of_server("channel", lambda age: Close(code=1011, age=age), (0, 0.2)),
    "resets": _of_server("channel", lambda age: Reset(age=age), (0, 0.5)),
    "duplicates": _of_server("channel", lambda _: Duplicate()),
    "gaps": _of_server("channel", lambda _: Gap()),
    "flaps": _of_server("channel", lambda _: AcceptAndClose()),
    "refusals": _of_server(
        "channel", lambda wait: RefuseUpgrade(status=503, retry_after=wait), (2, 8)
    ),
    "refusals by date": _of_server(
        "channel",
        lambda wait: HttpStatus(status=503, retry_after=wait, as_date=True),
        (2, 8),
        path="/events",
    ),
    "no pings": _of_server("channel", lambda _: HeartbeatStop()),
    "slow reader": _of_server("channel", lambda wait: SlowReader(seconds=wait), (1, 5)),
    "resends": _of_server("channel", lambda _: ResendOld()),
    "ghosts": _of_server("channel", lambda _: ResendOld(epoch="0" * 26)),
    "encores": _of_server("channel", lambda _: EventAfterFinal()),
    "strangers": _of_server("channel", lambda _: WrongJob()),
    "oversize": _of_server("channel", lambda _: Oversize(size=1_100_000)),
    "limits": _of_server("link", lambda size: LimitData(bytes=int(size)), (500, 2_000)),
    "slow ends": _of_server("link", lambda wait: SlowClose(seconds=wait), (1, 5)),
    "regress": _of_server("server", lambda _: RegressProgress()),
    "estimates": _of_server("server", lambda kind: Eta(kind=_ESTIMATES[int(kind)]), range(5)),
    "resurrection": _of_server("server", lambda _: ResurrectAfterFinal()),
    "words": _of_server("server", lambda _: UnknownState()),
    "restart": _later("server", _restart, (0, 0.5, 3, 10)),
    "rebirth": _later("server", _bear_again, (0, 1)),
    "drain": _later("server", _drain, (1, 3)),
    "hasty drain": _later("server", _drain_hastily, (0, 10)),
    "cancel": _later("server", _cancel),
    "pause": _later("server", _stop, (1, 6, 12)),
    "clock": _later("server", _set_clock, (-5, 3, 60)),
    "skew": _of_server("server", lambda ahead: Skew(seconds=ahead), (-3600, 3600)),
    "speed": Knob(family="server", begin=_speed, amounts=(0, 3)),
    "truncation": _later("server", _truncate, (1, 3)),
    "drops": _of_server("order", lambda _: DropEvent()),
    "disorder": _of_server("order", lambda wait: Reorder(window=3, seconds=wait), (0.25, 2)),
    "delays": _of_server("order", lambda wait: DelayEvent(seconds=wait), (0.5, 3)),
    "lost snapshots": _of_server("order", lambda _: SnapshotLost()),
    "hidden finals": _of_server("order", lambda _: FinalOnlyByPoll()),
    "hangs": _of_server("reads", lambda _: Hang()),
    "breaks": _of_server("reads", lambda _: Hang(seconds=0.5)),
    "garbage": _of_server("reads", lambda kind: Garbage(kind=_GARBAGE[int(kind)]), range(8)),
    "short bodies": _of_server("reads", lambda _: TruncateBody()),
    "redirects": _of_server("reads", lambda _: Redirect()),
    "bombs": _of_server("reads", lambda size: GzipBomb(megabytes=int(size)), (2,)),
    "slow bodies": _of_server("reads", lambda _: SlowBody(bytes_per_second=50)),
    "part answers": _of_server("reads", lambda _: BulkPartial()),
    "stale": _of_server("reads", lambda back: Stale(versions_back=int(back)), (1, 3)),
    "split": _of_server("reads", lambda wait: Split(behind=wait), (1, 10)),
    "overload": _of_server("reads", lambda wait: Overload(rps=0.5, retry_after=wait), (1, 4)),
    "500": _of_server("reads", lambda _: HttpStatus(status=500)),
    "429": _of_server("reads", lambda wait: HttpStatus(status=429, retry_after=wait), (1, 3, 9)),
    "429 by date": _of_server(
        "reads", lambda wait: HttpStatus(status=429, retry_after=wait, as_date=True), (2, 8)
    ),
    "late answers": _of_server("reads", lambda wait: Latency(seconds=wait, jitter=5), (0.1, 1)),
    "old answers": Knob(family="reads", begin=_serve_old_answers),
    "false answers": Knob(family="reads", begin=_damage_epochs("answer")),
    "false frames": Knob(family="channel", begin=_damage_epochs("frame")),
    "garbled": _of_server("for good", lambda kind: GarbageFrame(kind=_FRAMES[int(kind)]), range(5)),
    "stay away": _of_server("for good", lambda _: Close(code=4500, age=1)),
    "no such path": _of_server("for good", lambda _: RefuseUpgrade(status=404)),
    "loss": _later("loss", _lose, (0, 3)),
    "expired keys": _of_server("keys", lambda _: AuthExpire()),
    "flipped bits": Knob(family="damage", begin=_flip_bits, amounts=(0.02, 0.1, 0.5)),
    "vanish": _of_server("loss", lambda stone: Vanish(tombstone=bool(stone)), (0, 1)),
    "unknown at first": _of_server("heygen", lambda age: NotFoundAtFirst(seconds=age), (8, 15)),
    "late urls": _of_server("heygen", lambda wait: LateUrl(seconds=wait), (3, 30)),
    "other words": _of_server(
        "heygen", lambda style: AliasWords(style=_STYLES[int(style)]), range(4)
    ),
    "back again": _of_server("heygen", lambda rank: RegressState(state=_BEFORE[int(rank)]), (0, 1)),
    "errors inside": _of_server("heygen", lambda _: ErrorInside()),
    "lost hooks": _of_server("hooks", lambda _: WebhookDrop()),
    "double hooks": _of_server("hooks", lambda wait: WebhookDuplicate(seconds=wait), (0, 7)),
    "late hooks": _of_server("hooks", lambda wait: WebhookOutOfOrder(seconds=wait), (2, 40)),
    "forged hooks": _of_server("hooks", lambda _: WebhookBadSignature()),
    "old hooks": _of_server("hooks", lambda age: WebhookOldTimestamp(seconds=age), (310, 1e6)),
    "new secret": _of_server("hooks", lambda _: WebhookRotateSecret()),
    "slow acks": _of_server("hooks", lambda wait: WebhookSlowAck(seconds=wait), (8, 15)),
}
"""All of them, by the name that a schedule gives them."""
