"""Bugs of the simulator on purpose: a server that breaks its word is found by what it does."""

from __future__ import annotations

from typing import Any

from tests.sim.mutant import Mutant, constant

__all__ = ["SERVER_MUTANTS"]


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
        self._request.transport.write(_text_frame(frame))

    return send


def _text_frame(payload: bytes) -> bytes:
    """Return a text frame of a server (RFC 6455 section 5.2)."""
    size = len(payload)
    if size < 126:
        return bytes([0x81, size]) + payload
    if size < 2**16:
        return b"\x81\x7e" + size.to_bytes(2) + payload
    return b"\x81\x7f" + size.to_bytes(8) + payload


def _drain_without_a_word(_original: Any) -> Any:
    def drain(self: Any, message: Any) -> None:
        self._at("drain", message.deadline, self.finish, 1012, message.reason)

    return drain


SERVER_MUTANTS: dict[str, Mutant] = {
    f"server: {name}": Mutant("simulator." + place, make, breaks)
    for name, breaks, place, make in (
        ("sends no finals", ("L1",), "outbox:Outbox._events_of", _send_no_finals),
        (
            "leaves versions out",
            ("S5",),
            "outbox:Outbox._events_of",
            _send_only_the_newest,
        ),
        ("sends no snapshot", ("L1",), "outbox:Outbox.subscribe", _send_no_snapshot),
        ("forgets what it sent", ("E1",), "outbox:Outbox.mark", _begin_anew),
        ("never wakes subscribers", ("L1",), "reads:Audience.notify", constant(None)),
        (
            "keeps subscriptions of the gone",
            ("R1",),
            "replica:Replica.unsubscribe",
            constant(None),
        ),
        ("never pings", ("E1",), "heartbeat:Heartbeat.beat", _beat_silently),
        ("writes without waiting", ("R2",), "line:Line.send", _write_on),
        (
            "drains without a word",
            ("L3",),
            "channel:Connection.drain",
            _drain_without_a_word,
        ),
    )
}
"""All of them, by what is wrong with the server while it is there."""
