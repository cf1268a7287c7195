"""Bugs on purpose: each is a small change of the product at run time, which must be found.

A simulation that finds nothing proves nothing until it has shown that it would. A mutant replaces
one attribute by its name, so it fails loudly when that is gone; it counts how often it was reached,
so a patch that changes nothing any more is told from a bug that nobody notices.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from importlib import import_module
from typing import Any

from msgspec.structs import replace

from vtrans_hybrid.messages import Events
from vtrans_hybrid.models import Source

__all__ = ["MUTANTS", "Mutant"]

Make = Callable[[Any], Any]
"""Returns what stands in place of the original: a function, a property or a value."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """One bug.

    Attributes:
        place: Module and name of the attribute that it replaces: `package.module:Class.name`.
        make: Makes the replacement.
    """

    place: str
    make: Make

    @contextmanager
    def applied(self) -> Iterator[Callable[[], int]]:
        """Put the bug in; yield a function that tells how often it was reached.

        Raises:
            AttributeError: The place is gone.
            ValueError: The replacement is what was there before.
        """
        module, _, path = self.place.partition(":")
        owner: Any = import_module(module)
        *way, name = path.split(".")
        for step in way:
            owner = getattr(owner, step)
        original = vars(owner).get(name)
        if original is None:
            raise AttributeError(f"{self.place} is gone: what does this mutant mean now?")
        count = 0

        def counted(function: Callable[..., Any]) -> Callable[..., Any]:
            @wraps(function)
            def call(*arguments: Any, **options: Any) -> Any:
                nonlocal count
                count += 1
                return function(*arguments, **options)

            return call

        changed = self.make(original)
        if changed == original:
            raise ValueError(f"{self.place} is {original!r} anyway: this mutant changes nothing")
        if isinstance(changed, property):
            assert changed.fget is not None
            changed = property(counted(changed.fget))
        elif callable(changed):
            changed = counted(changed)
        setattr(owner, name, changed)
        try:
            yield lambda: count
        finally:
            setattr(owner, name, original)


def _constant(value: Any) -> Make:
    """Return how to replace a value, or a function by one that returns a value."""
    return lambda original: (lambda *_, **__: value) if callable(original) else value


# Merge and delivery.


def _offer_to(prepare: Callable[[Any, Any, Any], None]) -> Make:
    """Return how to let the merge see a record that was changed just before."""

    def make(original: Any) -> Any:
        def offer(record: Any, status: Any, source: Any, now: float) -> Any:
            prepare(record, status, source)
            return original(record, status, source, now)

        return offer

    return make


def _forget_if(is_so: Callable[[Any, Any, Any], bool]) -> Make:
    def prepare(record: Any, status: Any, source: Any) -> None:
        known = record.status
        if known is not None and not known.is_final and is_so(known, status, source):
            record.status = None

    return _offer_to(prepare)


def _repeats(known: Any, status: Any, _source: Any) -> bool:
    return bool(known.position == status.position)


def _is_of_old_epoch(known: Any, status: Any, _source: Any) -> bool:
    return bool(status.epoch < known.epoch)


def _is_old_read(known: Any, status: Any, source: Any) -> bool:
    return source is Source.POLL and status.epoch == known.epoch and status.version < known.version


def _want_no_more_than_latest(record: Any, _status: Any, _source: Any) -> None:
    record.wants_all = False


def _skip_silently(original: Any) -> Any:
    def offer(record: Any, status: Any, source: Any, now: float) -> Any:
        verdict = original(record, status, source, now)
        if verdict.is_applied and record.status.skipped:
            record.status = replace(record.status, skipped=0)
        return verdict

    return offer


def _lose_finals(original: Any) -> Any:
    def put(self: Any, status: Any) -> bool:
        return False if status.is_final and self._unread else bool(original(self, status))

    return put


def _tell_late_watchers_nothing(original: Any) -> Any:
    def attach(self: Any, *arguments: Any, **options: Any) -> Any:
        before = len(self.actions)
        opened = original(self, *arguments, **options)
        fresh = self.actions[before:]
        self.actions[before:] = [
            each for each in fresh if not getattr(each, "is_late", False) or each.status.is_final
        ]
        return opened

    return attach


def _overlap(_original: Any) -> Any:
    def put(self: Any, status: Any) -> None:
        pending = self._call(status)
        if pending is not None:
            self._spawn(lambda: self._end_of(pending, status))

    return put


# Push.


def _subscribe_once(original: Any) -> Any:
    def start(self: Any, generation: int, records: Any) -> None:
        original(self, generation, records if generation <= 1 else ())

    return start


def _hear_for_ever(_original: Any) -> Any:
    return property(lambda self: min(self.answer_by, self.close_by))


def _believe_any_epoch(original: Any) -> Any:
    def pushed(self: Any, message: Any, _epoch: str, now: float) -> bool:
        return all(original(self, Events([each]), each.epoch, now) for each in message.events)

    return pushed


def _forget_failures(original: Any) -> Any:
    def opened(self: Any, *arguments: Any) -> bool:
        self.attempt = 0
        return bool(original(self, *arguments))

    return opened


def _cover_whatever_is_synced(_original: Any) -> Any:
    def synced(self: Any, record: Any, now: float) -> None:
        if record.is_torn:
            self._push.missed(record)
        elif record.watchers and not record.in_flight:
            self.plan(record, now)

    return synced


def _fail_watches(original: Any) -> Any:
    def ended(self: Any, *connections: Any) -> None:
        original(self, *connections)
        if any(connections) and self.link.last_error is not None:
            self._news.fail_all(self.link.last_error, self._now)

    return ended


# Reads, and what is left.


def _forget_flights(original: Any) -> Any:
    def start(self: Any, epoch: str, now: float) -> Any:
        poll = original(self, epoch, now)
        for record in poll.records if poll is not None else ():
            record.in_flight = 0
            self.arm(record, now + 1)
        return poll

    return start


def _spawn_anywhere(_original: Any) -> Any:
    def spawn(self: Any, function: Any) -> None:
        task = asyncio.ensure_future(function())
        self.__dict__.setdefault("_loose", []).append(task)

    return spawn


def _leave_the_session_open(_original: Any) -> Any:
    async def aclose(self: Any) -> None:
        self._is_closed = True

    return aclose


async def _nothing(*_arguments: Any) -> None: ...


# The simulator.


def _send_no_finals(original: Any) -> Any:
    def events_of(self: Any, job_id: str) -> Any:
        return [event for event in original(self, job_id) if not event.entry.is_final]

    return events_of


def _send_only_the_newest(original: Any) -> Any:
    def events_of(self: Any, job_id: str) -> Any:
        return original(self, job_id)[-1:]

    return events_of


def _send_no_snapshot(original: Any) -> Any:
    def subscribe(self: Any, job_id: str, version: int, mode: Any) -> None:
        was_dirty = job_id in self._dirty
        original(self, job_id, version, mode)
        if not was_dirty:
            del self._dirty[job_id]

    return subscribe


def _begin_anew(original: Any) -> Any:
    def mark(self: Any, job_id: str) -> None:
        if job_id in self._cursors:
            self._cursors[job_id] = 0
        original(self, job_id)

    return mark


def _beat_silently(original: Any) -> Any:
    def beat(self: Any, now: float) -> Any:
        verdict = original(self, now)
        return None if verdict == "ping" else verdict

    return beat


def _write_on(_original: Any) -> Any:
    async def send(self: Any, frame: bytes, **_options: Any) -> None:
        self._request.transport.write(_frame(frame))

    return send


def _frame(payload: bytes) -> bytes:
    """Return a text frame of a server (RFC 6455 section 5.2)."""
    size = len(payload)
    if size < 126:
        return bytes([0x81, size]) + payload
    return b"\x81\x7e" + size.to_bytes(2) + payload


def _drain_without_a_word(_original: Any) -> Any:
    def drain(self: Any, message: Any) -> None:
        self._at("drain", message.deadline, self.finish, 1012, message.reason)

    return drain


# Webhooks.


def _trust_announcements(original: Any) -> Any:
    def plan_uncovered(self: Any, *arguments: Any) -> float:
        at: float = original(self, *arguments)
        return float("inf") if self.is_stretched else at

    return plan_uncovered


def _trust_any_clock(original: Any) -> Any:
    def check_signature(*arguments: Any, now: float, tolerance: float) -> Any:
        return original(*arguments, now=now, tolerance=float("inf"))

    return check_signature


_CLIENT = "vtrans_hybrid."
_SERVER = "simulator."

MUTANTS: dict[str, Mutant] = {
    name: Mutant(place, make)
    for name, place, make in (
        ("delivers what was delivered", _CLIENT + "ledger:offer", _forget_if(_repeats)),
        ("takes an older history", _CLIENT + "ledger:offer", _forget_if(_is_of_old_epoch)),
        ("takes reads that were overtaken", _CLIENT + "ledger:offer", _forget_if(_is_old_read)),
        ("ignores holes", _CLIENT + "ledger:offer", _offer_to(_want_no_more_than_latest)),
        ("skips silently", _CLIENT + "ledger:offer", _skip_silently),
        ("loses finals that nobody has read", _CLIENT + "mailbox:Latest.put", _lose_finals),
        ("keeps all for a slow reader", _CLIENT + "mailbox:Every.trim", _constant(None)),
        (
            "tells late watchers nothing",
            _CLIENT + "ledger:Ledger.attach",
            _tell_late_watchers_nothing,
        ),
        ("lets callbacks overlap", _CLIENT + "callbacks:Subscriber.put", _overlap),
        (
            "ends at unknown words",
            _CLIENT + "ledger:FINAL",
            lambda original: original | {"transmogrifying"},
        ),
        ("never times out", _CLIENT + "audience:Audience.next_deadline", _constant(float("inf"))),
        ("never loses a job", _CLIENT + "absence:Absences.judge", _constant(None)),
        ("keeps jobs for ever", _CLIENT + "ledger:Ledger.remove", _constant(None)),
        ("never subscribes again", _CLIENT + "subscriptions:Subscriptions.start", _subscribe_once),
        ("never unsubscribes", _CLIENT + "subscriptions:Subscriptions.discard", _constant(None)),
        ("keeps the watch of who left", _CLIENT + "driver:Driver.detach", _constant(None)),
        ("has no watchdog", _CLIENT + "link:Connection.deadline", _hear_for_ever),
        ("believes any epoch", _CLIENT + "news:News.pushed", _believe_any_epoch),
        ("waits for a welcome for ever", _CLIENT + "link:_ANSWER_TIMEOUT", _constant(1e9)),
        ("forgets failures on connect", _CLIENT + "link:Link.opened", _forget_failures),
        ("dials without a budget", _CLIENT + "link:_DIALS_PER_MINUTE", _constant(10**6)),
        ("dials before it may", _CLIENT + "link:Link.hold", _constant(None)),
        ("ignores drain", _CLIENT + "link:Link.drain", _constant(None)),
        ("ignores synced", _CLIENT + "push:Push.synced", _constant([])),
        ("takes silence for news", _CLIENT + "cover:Cover.synced", _cover_whatever_is_synced),
        ("fails watches with push", _CLIENT + "tracker:Tracker._ended", _fail_watches),
        ("never falls back", _CLIENT + "cover:Cover.uncover", _constant(None)),
        ("never audits", _CLIENT + "schedule:Schedule.plan_covered", _constant(float("inf"))),
        ("reads twice at once", _CLIENT + "schedule:Schedule.start", _forget_flights),
        ("reads without a budget", _CLIENT + "policy:TokenBucket.take", _constant(True)),
        ("ignores Retry-After", _CLIENT + "refusal:retry_after_of", _constant(None)),
        ("ignores what is announced", _CLIENT + "news:News.announced", _constant(None)),
        ("believes half an answer", _CLIENT + "hearsay:Hearsay.withhold", _constant({})),
        (
            "stops reading while webhooks come",
            _CLIENT + "schedule:Schedule.plan_uncovered",
            _trust_announcements,
        ),
        ("takes any signature", _CLIENT + "signatures:Secrets.has_signed", _constant(True)),
        ("takes old webhooks", _CLIENT + "deliveries:check_signature", _trust_any_clock),
        ("takes a copy for news", _CLIENT + "deliveries:Replays.knows", _constant(False)),
        ("leaks tasks", _CLIENT + "supervisor:Supervisor.spawn", _spawn_anywhere),
        (
            "leaks connections of HTTP",
            _CLIENT + "transport:Transport.aclose",
            _leave_the_session_open,
        ),
        ("leaks channels", _CLIENT + "transport:Channel.aclose", lambda _: _nothing),
        ("waits for dead peers", _CLIENT + "transport:_CLOSE_TIMEOUT", _constant(5.0)),
        ("server: sends no finals", _SERVER + "outbox:Outbox._events_of", _send_no_finals),
        (
            "server: leaves versions out",
            _SERVER + "outbox:Outbox._events_of",
            _send_only_the_newest,
        ),
        ("server: sends no snapshot", _SERVER + "outbox:Outbox.subscribe", _send_no_snapshot),
        ("server: forgets what it sent", _SERVER + "outbox:Outbox.mark", _begin_anew),
        ("server: never wakes subscribers", _SERVER + "reads:Audience.notify", _constant(None)),
        (
            "server: keeps subscriptions of the gone",
            _SERVER + "replica:Replica.unsubscribe",
            _constant(None),
        ),
        ("server: never pings", _SERVER + "heartbeat:Heartbeat.beat", _beat_silently),
        ("server: writes without waiting", _SERVER + "line:Line.send", _write_on),
        (
            "server: drains without a word",
            _SERVER + "channel:Connection.drain",
            _drain_without_a_word,
        ),
    )
}
"""All of them, by what is wrong with the product while it is there."""
