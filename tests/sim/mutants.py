"""Bugs of the client on purpose, and all others: what the simulation must find.

Each names the promises of which it must break one, so that it shows that this one is judged. They
reach into what is private, as a bug would.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from msgspec.structs import replace

from tests.sim.mutant import Make, Mutant, constant
from tests.sim.server_mutants import SERVER_MUTANTS
from vtrans_hybrid.mailbox import Latest
from vtrans_hybrid.messages import Events
from vtrans_hybrid.models import Source

__all__ = ["MUTANTS", "Mutant"]


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
        if pending is None:
            return
        # One entry a callback, not one a job: so whoever waits for all of them still does.
        run = f"{status.job_id} {status.version}"
        self._busy[run] = Latest()

        async def end() -> None:
            try:
                await self._end_of(pending, status)
            finally:
                del self._busy[run]
                if not self._busy and self._is_idle is not None:
                    self._is_idle.set()

        self._spawn(end)

    return put


def _newest_first(_original: Any) -> Any:
    def pop(self: Any) -> Any:
        status = self._unread.pop()
        self._leave(status)
        return status

    return pop


def _mix_up(field: str) -> Make:
    """Return how to take a field from the last status of another job."""

    def make(original: Any) -> Any:
        last: dict[str, Any] = {}

        def offer(record: Any, status: Any, source: Any, now: float) -> Any:
            others = [each for job_id, each in last.items() if job_id != status.job_id]
            if getattr(status, field) is not None:
                last.pop(status.job_id, None)
                last[status.job_id] = getattr(status, field)
            if others and getattr(status, field) is not None:
                status = replace(status, **{field: others[-1]})
            if len(last) > _REMEMBERED:
                del last[next(iter(last))]
            return original(record, status, source, now)

        return offer

    return make


_REMEMBERED = 8
"""Jobs whose fields may be taken for those of others."""


def _swallow_errors(original: Any) -> Any:
    def offer(record: Any, status: Any, source: Any, now: float) -> Any:
        return original(record, replace(status, error=None), source, now)

    return offer


def _leave_an_error(original: Any) -> Any:
    def fail(self: Any, job_id: Any, error: Any) -> None:
        asyncio.get_running_loop().create_future().set_exception(error)
        original(self, job_id, error)

    return fail


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
    def start(self: Any, epoch: str, now: float, open_jobs: int) -> Any:
        poll = original(self, epoch, now, open_jobs)
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


def _close_as_tls_needs(original: Any) -> Any:
    async def aclose(self: Any) -> None:
        await original(self)
        await asyncio.sleep(0.25)

    return aclose


def _let_go_slowly(original: Any) -> Any:
    async def wait(self: Any) -> None:
        try:
            await original(self)
        except asyncio.CancelledError:
            await asyncio.sleep(1)
            raise

    return wait


def _lose_at_once(_original: Any) -> Any:
    def judge(_self: Any, _record: Any, error: Any, *_others: Any) -> Any:
        return error

    return judge


def _halve(original: Any) -> Any:
    def number(text: str, unit: float) -> Any:
        value = original(text, unit)
        return None if value is None else value / 2

    return number


def _read_no_dates(_original: Any) -> Any:
    def parse(text: str) -> Any:
        raise ValueError(text)

    return parse


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


MUTANTS: dict[str, Mutant] = {
    name: Mutant("vtrans_hybrid." + place, make, breaks)
    for name, breaks, place, make in (
        ("delivers what was delivered", ("S1",), "ledger:offer", _forget_if(_repeats)),
        ("takes an older history", ("S1", "S2"), "ledger:offer", _forget_if(_is_of_old_epoch)),
        ("takes reads that were overtaken", ("S1", "S2"), "ledger:offer", _forget_if(_is_old_read)),
        ("ignores holes", ("S5",), "ledger:offer", _offer_to(_want_no_more_than_latest)),
        ("skips silently", ("S5",), "ledger:offer", _skip_silently),
        ("loses finals that nobody has read", ("S3",), "mailbox:Latest.put", _lose_finals),
        ("keeps all for a slow reader", ("R2",), "mailbox:Every.trim", constant(None)),
        (
            "tells late watchers nothing",
            ("S7",),
            "ledger:Ledger.attach",
            _tell_late_watchers_nothing,
        ),
        ("reads the newest first", ("S2",), "mailbox:Every.pop", _newest_first),
        ("takes another job's result", ("S4",), "ledger:offer", _mix_up("result_url")),
        ("takes another job's progress", ("S4",), "ledger:offer", _mix_up("progress")),
        ("swallows why a job failed", ("S4",), "ledger:offer", _swallow_errors),
        ("lets callbacks overlap", ("S2",), "callbacks:Subscriber.put", _overlap),
        (
            "ends at unknown words",
            ("S3", "R2"),
            "ledger:FINAL",
            lambda original: original | {"transmogrifying"},
        ),
        ("never times out", ("L4",), "audience:Audience.next_deadline", constant(float("inf"))),
        ("never loses a job", ("S6",), "absence:Absences.judge", constant(None)),
        ("loses a job at the first word", ("S6",), "absence:Absences.judge", _lose_at_once),
        ("keeps jobs for ever", ("R2",), "ledger:Ledger.remove", constant(None)),
        ("never subscribes again", ("L1",), "subscriptions:Subscriptions.start", _subscribe_once),
        ("never unsubscribes", ("R2",), "subscriptions:Subscriptions.discard", constant(None)),
        ("keeps the watch of who left", ("R2",), "driver:Driver.detach", constant(None)),
        ("has no watchdog", ("L2",), "link:Connection.deadline", _hear_for_ever),
        ("believes any epoch", ("L1", "S4"), "news:News.pushed", _believe_any_epoch),
        ("waits for a welcome for ever", ("L2",), "link:_ANSWER_TIMEOUT", constant(1e9)),
        ("forgets failures on connect", ("E3",), "link:Link.opened", _forget_failures),
        ("dials without a budget", ("E3",), "link:_DIALS_PER_MINUTE", constant(10**6)),
        ("dials before it may", ("E4",), "link:Link.hold", constant(None)),
        ("ignores drain", ("L3",), "link:Link.drain", constant(None)),
        ("ignores synced", ("L3",), "push:Push.synced", constant([])),
        ("takes silence for news", ("L1",), "cover:Cover.synced", _cover_whatever_is_synced),
        ("fails watches with push", ("L1",), "tracker:Tracker._ended", _fail_watches),
        ("never falls back", ("L1",), "cover:Cover.uncover", constant(None)),
        ("never audits", ("L1",), "schedule:Schedule.plan_covered", constant(float("inf"))),
        ("audits too often", ("E1",), "schedule:_AUDIT_INTERVAL", constant(6.0)),
        ("reads twice at once", ("E2",), "schedule:Schedule.start", _forget_flights),
        ("reads without a budget", ("E2",), "policy:TokenBucket.take", constant(True)),
        ("waits for no token", ("L6",), "policy:TokenBucket.ready_at", constant(0.0)),
        ("halves Retry-After", ("E4",), "refusal:_number", _halve),
        ("reads no dates", ("E4",), "refusal:parsedate_to_datetime", _read_no_dates),
        ("ignores Retry-After", ("E4",), "refusal:retry_after_of", constant(None)),
        ("ignores what is announced", ("L1",), "news:News.announced", constant(None)),
        ("believes half an answer", ("S4",), "hearsay:Hearsay.withhold", constant({})),
        (
            "stops reading while webhooks come",
            ("L1",),
            "schedule:Schedule.plan_uncovered",
            _trust_announcements,
        ),
        ("takes any signature", ("S4",), "signatures:Secrets.has_signed", constant(True)),
        ("takes old webhooks", ("S4",), "deliveries:check_signature", _trust_any_clock),
        ("takes a copy for news", ("E2",), "deliveries:Replays.knows", constant(False)),
        ("hangs up nothing", ("E5",), "connection:Connection.hang_up", constant(None)),
        ("closes slowly", ("L5",), "transport:Transport.aclose", _close_as_tls_needs),
        ("lets go of a watch slowly", ("L5",), "watch:_Inbox.wait", _let_go_slowly),
        ("leaves an error to nobody", ("R3",), "watch:_Inbox.fail", _leave_an_error),
        ("leaks tasks", ("R1",), "supervisor:Supervisor.spawn", _spawn_anywhere),
        (
            "leaks connections of HTTP",
            ("R1",),
            "transport:Transport.aclose",
            _leave_the_session_open,
        ),
        ("leaks channels", ("R1",), "transport:Channel.aclose", lambda _: _nothing),
        ("waits for dead peers", ("L5", "R1"), "transport:_CLOSE_TIMEOUT", constant(5.0)),
    )
} | SERVER_MUTANTS
"""All of them, by what is wrong with the product while it is there."""
