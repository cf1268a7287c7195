"""Row 17: webhooks, signed by the server's half, checked by the client's, and attacked between."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from random import Random
from typing import Final

import aiohttp
from aiohttp import web

from simulator import Simulator
from simulator.faults import (
    WebhookBadSignature,
    WebhookDuplicate,
    WebhookOldTimestamp,
    WebhookOutOfOrder,
    WebhookSlowAck,
)
from simulator.heygen import HeyGenOptions
from simulator.histories import Entry
from simulator.jobs import Dialect, JobSpec
from simulator.messages import Status
from simulator.notices import Notice, Outcome, headers
from simulator.signatures import Secret
from simulator.testing import run
from tests.scorecard.row import Result
from tests.vtrans_hybrid.vectors import HEYGEN, HEYGEN_NEXT, NATIVE, NATIVE_NEXT, SPEC
from vtrans_hybrid.errors import WebhookError
from vtrans_hybrid.webhooks import ReceiverStats, WebhookReceiver, verify

__all__ = ["webhooks"]

NOW: Final = 1_767_225_600
TOLERANCE: Final = 300

Check = tuple[str, bool]
Delivered = tuple[dict[str, str], bytes]


def webhooks(is_short: bool) -> Result:
    """Count what each half makes of webhooks that are good, and of those that are not."""
    for name in ("simulator", "vtrans_hybrid"):
        logging.getLogger(name).setLevel(logging.ERROR)
    random, count = Random(17), 300 if is_short else 30_000
    checks: list[Check] = [
        *_vectors(),
        *_tampered(random, count),
        *_stale(random),
        *_replayed(random, count // 10),
        *_rotated(random, count // 10),
        *_faulty(jobs=40 if is_short else 400),
    ]
    bad = sorted({name for name, is_good in checks if not is_good})
    good = sum(is_good for _, is_good in checks)
    kinds = ", ".join(
        f"{number:,} {name}" for name, number in Counter(n for n, _ in checks).items()
    )
    measured = f"{good:,} of {len(checks):,} ({kinds})"
    return Result(f"{measured}; wrong: {', '.join(bad)}" if bad else measured, not bad)


def _vectors() -> Iterator[Check]:
    """Signatures that others have made: the server makes the same, the client takes them."""
    for vector in (HEYGEN, HEYGEN_NEXT, SPEC, NATIVE, NATIVE_NEXT):
        secret = Secret(vector.secret)
        if vector.is_standard:
            made = secret.standard(vector.event_id, vector.timestamp, vector.body)
        else:
            made = secret.heygen(vector.body)
        yield "vectors", made == vector.signature
        yield "vectors", _takes((vector.headers, vector.body), secret, now=vector.timestamp)


def _tampered(random: Random, count: int) -> Iterator[Check]:
    """Good deliveries are taken, and refused once one bit of them is another."""
    for number in range(count):
        secret, good = _delivery(random, number)
        yield "genuine", _takes(good, secret)
        change = random.choice(_CHANGES)
        yield "tampered", not _takes(change(random, good), secret)
        yield "forged", not _takes(good, Secret.new(random))


def _stale(random: Random) -> Iterator[Check]:
    for number in range(2):
        secret, good = _delivery(random, number)
        for off in (1, 60, TOLERANCE):
            for now in (NOW - off, NOW + off):
                yield "in time", _takes(good, secret, now=now)
        for off in (TOLERANCE + 1, 3600, 1e6):
            for now in (NOW - off, NOW + off):
                yield "stale", not _takes(good, secret, now=now)


def _replayed(random: Random, count: int) -> Iterator[Check]:
    """What comes again, from its sender or from somebody else, is told once."""
    for number in range(count):
        secret, good = _delivery(random, number)
        _, again = _delivery(
            Random(1), number, secret=secret, at=NOW + 20, url="https://new.example"
        )
        listener = _Listener()
        receiver = WebhookReceiver(listener, secret.text, clock=lambda: NOW + 30)
        statuses = [receiver.receive("POST", *one).status for one in (good, again, good, again)]
        yield "replayed", (statuses, len(listener.heard)) == ([200] * 4, 1)


def _rotated(random: Random, count: int) -> Iterator[Check]:
    """The old secret is good as long as the receiver says so, and the new one from then on."""
    for number in range(count):
        old, before = _delivery(random, number)
        new, after = _delivery(random, number + 2)
        both = [old.text, new.text]
        yield "rotated", all(_takes(one, *both) for one in (before, after))
        yield "rotated", not _takes(after, old)
        yield "rotated", not _takes(before, new)


def _faulty(*, jobs: int) -> Iterator[Check]:
    """The whole way, in both dialects, by a server that shows its faults: each job is told once."""
    for dialect in ("native", "heygen"):
        told, stats, struck = run(lambda dialect=dialect: _play(dialect, jobs), seed=17)  # type: ignore[misc]
        for number in told.values():
            yield "told by a faulty server", number == 1
        yield "told by a faulty server", len(told) == jobs
        expected = {
            "forged": struck["webhook_bad_signature"],
            "stale": struck["webhook_old_timestamp"],
            "repeated": struck["webhook_duplicate"] + struck["webhook_slow_ack"],
            "accepted": jobs,
            "malformed": 0,
        }
        for field, number in expected.items():
            yield "counted", getattr(stats, field) == number


async def _play(dialect: Dialect, jobs: int) -> tuple[Counter[str], ReceiverStats, Counter[str]]:
    """Let a server tell of jobs, and return what was heard of each, and which faults struck."""
    secret, listener = Secret.new(Random(2)), _Listener()
    receiver = WebhookReceiver(listener, secret.text)
    app = web.Application()
    app.add_routes([receiver.route("/hook")])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 9000).start()
    options = HeyGenOptions(concurrency=0)
    async with Simulator(delay="1:60", seed=1, webhook_secret=secret.text, heygen=options) as sim:
        for fault in (
            WebhookBadSignature(),
            WebhookOldTimestamp(),
            WebhookDuplicate(seconds=3),
            WebhookOutOfOrder(seconds=30),
            WebhookSlowAck(),
        ):
            sim.faults.add(fault, probability=0.15)
        await _order(sim, dialect, jobs)
        await asyncio.sleep(61)
        sim.faults.heal()
        await asyncio.sleep(3600)  # what was tried in vain is tried again
        assert sim.stats().webhooks.waiting == 0, "an hour is enough for eight attempts"
        struck = Counter(injection.fault for injection in sim.faults.log)
    await runner.cleanup()
    return Counter(listener.heard), receiver.stats(), struck


async def _order(sim: Simulator, dialect: Dialect, jobs: int) -> None:
    url = "http://127.0.0.1:9000/hook"
    if dialect == "native":
        for _ in range(jobs):
            await sim.create(callback_url=url)
        return
    source = {"type": "url", "url": "https://example.com/talk.mp4"}
    order = {"video": source, "output_languages": ["French"], "callback_url": url}
    async with aiohttp.ClientSession(sim.url, headers={"X-Api-Key": "any"}) as http:
        for _ in range(jobs):
            async with http.post("/v3/video-translations", json=order) as answer:
                answer.raise_for_status()


class _Listener:
    """A client that takes down which jobs it is told of."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def announced(self, jobs: Iterable[str]) -> None:
        """Take down which jobs have news."""
        self.heard += jobs


def _delivery(
    random: Random,
    number: int,
    *,
    secret: Secret | None = None,
    at: int = NOW,
    url: str = "https://files.example/v.mp4",
) -> tuple[Secret, Delivered]:
    """Return what signs a delivery, and the delivery; every other one is of HeyGen's dialect."""
    secret = secret or Secret.new(random)
    job_id = f"job-{number}"
    status = Status(job_id=job_id, state="completed", result="completed", version=3, epoch="E")
    spec = JobSpec(job_id=job_id, dialect="heygen" if number % 2 else "native")
    notice = Notice(Entry(1, status), spec)
    body = notice.body(Outcome(url))
    return secret, (headers(notice, body, secret=secret, at=at), body)


def _takes(delivered: Delivered, *secrets: Secret | str, now: float = NOW) -> bool:
    """Tell whether the client takes a delivery for genuine."""
    known = [each.text if isinstance(each, Secret) else each for each in secrets]
    try:
        verify(*delivered, known, now=now)
    except WebhookError:
        return False
    return True


# -- what an attacker does ------------------------------------------------------------------------


def _flip(random: Random, good: Delivered) -> Delivered:
    sent, body = good
    changed = bytearray(body)
    changed[random.randrange(len(body))] ^= 1 << random.randrange(8)
    return sent, bytes(changed)


def _cut(random: Random, good: Delivered) -> Delivered:
    sent, body = good
    return sent, body[: random.randrange(len(body))]


def _lengthen(random: Random, good: Delivered) -> Delivered:
    sent, body = good
    return sent, body + random.choice([b" ", b"\n", b"\0", b"{}"])


def _resign(random: Random, good: Delivered) -> Delivered:
    sent, body = good
    name = _signed_by(sent)
    at = random.randrange(3, len(sent[name]))
    other = random.choice([letter for letter in "0123456789abcdef" if letter != sent[name][at]])
    return {**sent, name: sent[name][:at] + other + sent[name][at + 1 :]}, body


def _unsign(_random: Random, good: Delivered) -> Delivered:
    sent, body = good
    return {name: text for name, text in sent.items() if name != _signed_by(sent)}, body


def _rename(random: Random, good: Delivered) -> Delivered:
    """Change what only Standard Webhooks signs; of HeyGen's dialect, the body."""
    sent, body = good
    if "webhook-id" not in sent:
        return _flip(random, good)
    name = random.choice(["webhook-id", "webhook-timestamp"])
    other = f"{sent[name]}x" if name == "webhook-id" else str(int(sent[name]) + 1)
    return {**sent, name: other}, body


_CHANGES: Final[list[Callable[[Random, Delivered], Delivered]]] = [
    _flip,
    _cut,
    _lengthen,
    _resign,
    _unsign,
    _rename,
]


def _signed_by(sent: dict[str, str]) -> str:
    return next(name for name in sent if name.lower().endswith("signature"))
