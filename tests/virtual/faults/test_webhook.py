"""Faults of webhooks, seen by who is told."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from simulator import Simulator
from simulator.faults import (
    WebhookBadSignature,
    WebhookDrop,
    WebhookDuplicate,
    WebhookOldTimestamp,
    WebhookOutOfOrder,
    WebhookRotateSecret,
    WebhookSlowAck,
)
from tests.virtual.faults.views import new_job, now
from tests.virtual.receiver import Receiver


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """Run somebody who acknowledges whatever comes."""
    async with Receiver.open() as running:
        yield running


async def told(
    http: aiohttp.ClientSession, receiver: Receiver, count: int = 1, **order: Any
) -> list[str]:
    """Order jobs that end a second apart, and return their ids once nothing more comes of them."""
    made = [
        await new_job(http, callback_url=receiver.url, delay=1 + number, **order)
        for number in range(count)
    ]
    await asyncio.sleep(100)
    return made


async def test_webhook_drop(
    sim: Simulator, http: aiohttp.ClientSession, receiver: Receiver
) -> None:
    """A delivery never comes; the next one does."""
    sim.faults.add(WebhookDrop(), match={"path": "/hook", "nth": 1})
    _, second = await told(http, receiver, 2)
    assert [one.document["job_id"] for one in receiver.got] == [second]


async def test_webhook_duplicate(
    sim: Simulator, http: aiohttp.ClientSession, receiver: Receiver
) -> None:
    """What was acknowledged comes once more, as it was."""
    sim.faults.add(WebhookDuplicate(seconds=3))
    await told(http, receiver)
    first, second = receiver.got
    assert (first.event_id, first.body) == (second.event_id, second.body)
    assert second.at - first.at == pytest.approx(3, abs=0.2)


async def test_webhook_out_of_order(
    sim: Simulator, http: aiohttp.ClientSession, receiver: Receiver
) -> None:
    """What is held back is overtaken, and comes nevertheless."""
    sim.faults.add(WebhookOutOfOrder(seconds=10))
    made = await told(http, receiver, 8)
    came = [one.document["job_id"] for one in receiver.got]
    assert came != made
    assert sorted(came) == sorted(made)
    assert len(sim.faults.log) == 8


async def test_webhook_bad_signature(
    sim: Simulator, http: aiohttp.ClientSession, receiver: Receiver
) -> None:
    """The signature looks like one, and is not; later ones are good."""
    sim.faults.add(WebhookBadSignature(), count=1)
    receiver.answer = lambda count: 401 if count == 1 else 200
    await told(http, receiver)
    assert [one.is_signed(sim.webhook_secret) for one in receiver.got] == [False, True]
    forged, good = (one.headers["webhook-signature"] for one in receiver.got)
    assert forged[:3] == good[:3]
    assert len(forged) == len(good)


async def test_webhook_old_timestamp(
    sim: Simulator, http: aiohttp.ClientSession, receiver: Receiver
) -> None:
    """The timestamp is of long ago, and signed as such."""
    sim.faults.add(WebhookOldTimestamp(seconds=1000), count=1)
    await told(http, receiver, 2)
    old, fresh = receiver.got
    stamps = [int(one.headers["webhook-timestamp"]) for one in (old, fresh)]
    assert stamps[1] - stamps[0] == pytest.approx(1001, abs=1.5)
    assert old.is_signed(sim.webhook_secret)


async def test_webhook_rotate_secret(
    sim: Simulator, http: aiohttp.ClientSession, receiver: Receiver
) -> None:
    """From one delivery on another secret signs, and it stays."""
    before = sim.webhook_secret
    sim.faults.add(WebhookRotateSecret(), match={"nth": 2})
    await told(http, receiver, 3)
    assert [one.is_signed(before) for one in receiver.got] == [True, False, False]
    assert [one.is_signed(sim.webhook_secret) for one in receiver.got] == [False, True, True]


@pytest.mark.parametrize(("seconds", "times"), [(9, 1), (15, 2)])
async def test_webhook_slow_ack(
    sim: Simulator, http: aiohttp.ClientSession, receiver: Receiver, seconds: float, times: int
) -> None:
    """An acknowledgement that comes after 10 s is none, and the delivery comes again."""
    sim.faults.add(WebhookSlowAck(seconds=seconds), count=1)
    began = now()
    await told(http, receiver)
    assert len(receiver.got) == times
    assert len({one.event_id for one in receiver.got}) == 1
    assert receiver.got[-1].at - began == pytest.approx(1 if times == 1 else 16, abs=0.7)
