"""HeyGen's webhooks, from its stand-in to whoever watches: what they save, what may go wrong."""

import asyncio
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from typing import Any

import aiohttp
import pytest

from simulator.faults import (
    Fault,
    Split,
    WebhookBadSignature,
    WebhookDrop,
    WebhookDuplicate,
    WebhookOldTimestamp,
    WebhookOutOfOrder,
    WebhookRotateSecret,
    WebhookSlowAck,
)
from tests.virtual.heygen.doorstep import open_doorstep
from tests.virtual.heygen.hooked import Hooked, open_hooked
from tests.virtual.scene import until
from vtrans_hybrid.webhooks import WebhookReceiver

READS = "GET /v3/video-translations/"

STRETCHED = 120.0
"""Seconds between two reads of a job while webhooks come."""

REST = 60.0
"""Seconds between two reads of a job that nobody tells of."""


async def test_two_hundred_jobs_cost_a_read_each() -> None:
    """While webhooks come, a job costs its read when it ends, and less than one besides."""
    async with open_hooked(delay="300:900") as scene:
        job_ids = await scene.order(200)
        await scene.watch(job_ids)

        assert scene.sources == {"webhook": 200}
        assert max(scene.late.values()) < 1
        assert scene.receiver.stats() == (200, 0, 0, 0, 0, 0)
        bulk = len(scene.calls(READS + "statuses"))
        assert bulk <= 30  # two requests for all of them every minute and a half
        assert len(scene.calls(READS)) - bulk <= 200 + 10  # and the last few are read one by one


@pytest.mark.parametrize(
    ("fault", "counts"),
    [
        (WebhookDuplicate(seconds=3), lambda stats: stats.repeated == 21 and stats.accepted == 21),
        (WebhookSlowAck(seconds=12), lambda stats: stats.repeated >= 18 and stats.accepted == 21),
        (WebhookOutOfOrder(seconds=20), lambda stats: stats.accepted == 21),
        (Split(behind=3), lambda stats: stats.accepted == 21),
        (WebhookDrop(), lambda stats: stats == (0,) * 6),
        (WebhookBadSignature(), lambda stats: stats.forged >= 21 and not stats.accepted),
        (WebhookOldTimestamp(), lambda stats: stats.stale >= 21 and not stats.accepted),
        (WebhookRotateSecret(), lambda stats: stats.forged >= 21 and not stats.accepted),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
async def test_trouble_with_webhooks_costs_time_alone(
    fault: Fault, counts: Callable[[Any], bool]
) -> None:
    """Whatever becomes of deliveries, every end is known, once, and no later than polling knows."""
    async with open_hooked() as scene:
        job_ids = await scene.order(21)
        scene.sim.faults.add(fault)
        await scene.watch(job_ids)

        if scene.receiver.stats().accepted:
            assert scene.sources["webhook"] >= 18
            assert max(scene.late.values()) < 22
        else:
            assert scene.sources == {"poll": 21}
            assert max(scene.late.values()) < STRETCHED + 10
        await asyncio.sleep(30)
        assert counts(scene.receiver.stats()), scene.receiver.stats()


async def test_what_stops_is_made_up_for_by_polling_and_may_come_back() -> None:
    """Once ends are found that nobody told of, polling has its pace again; until news come."""
    async with open_hooked(delay="1:600") as scene:
        job_ids = await scene.order(60)
        watching = asyncio.create_task(scene.watch(job_ids))
        dropping = scene.sim.faults.add(WebhookDrop())
        await asyncio.sleep(300)
        late = [seconds for seconds in scene.late.values() if seconds > STRETCHED]
        assert not late
        before = len(scene.calls(READS))
        await asyncio.sleep(60)
        assert len(scene.calls(READS)) > before + 1  # bulk reads, and one of each end

        scene.sim.faults.remove(dropping)
        known = set(scene.late)
        await watching
        after = [job_id for job_id in scene.late if job_id not in known]
        assert len(after) > 10
        told = [job_id for job_id in after if scene.seen[job_id][-1].source == "webhook"]
        # A tenth of a job ends every second, and nobody was told of the last half minute's.
        assert len(told) >= len(after) - 6


async def test_strangers_cause_no_work() -> None:
    """What is forged, old or a copy is refused and counted, and makes nobody read anything."""
    async with open_hooked(delay="200") as scene:
        [job_id] = await scene.order()
        watching = asyncio.create_task(scene.watch([job_id]))
        await asyncio.sleep(20)
        before = len(scene.calls(READS))
        for number in range(20):
            assert await _forge(scene, job_id, secret="whsec_guessed", number=number) == 401
            assert await _forge(scene, job_id, number=number, age=301) == 401
        assert await _forge(scene, job_id, number=1) == 200
        await asyncio.sleep(0.1)
        assert len(scene.calls(READS)) == before + 1  # it was signed, and is asked for once
        for number in range(20):
            assert await _forge(scene, job_id, number=number) == 200
        await asyncio.sleep(0.1)

        assert len(scene.calls(READS)) == before + 1
        assert scene.receiver.stats() == (1, 20, 20, 20, 0, 0)
        await watching
        assert scene.sources == {"webhook": 1}


async def _forge(
    scene: Hooked, job_id: str, *, secret: str = "", number: int = 0, age: float = 0.0
) -> int:
    """Post what might be a delivery; without another secret the right one is used."""
    body = json.dumps({"event_data": {"video_translate_id": job_id}}).encode()
    assert scene.endpoint is not None
    key = secret or scene.endpoint.secret
    headers = {
        "Heygen-Signature": hmac.new(key.encode(), body, hashlib.sha256).hexdigest(),
        "Heygen-Timestamp": str(int(time.time() - age)),
        "Heygen-Event-Id": f"evt-{number}",
    }
    async with (
        aiohttp.ClientSession() as session,
        session.post(scene.url, data=body, headers=headers) as answer,
    ):
        return answer.status


async def test_what_happened_while_nobody_listened() -> None:
    """Jobs that ended before there was an endpoint are known as soon as there is one."""
    async with open_hooked(delay="31", is_registered=False) as scene:
        watching = asyncio.create_task(scene.watch(await scene.order(8)))
        await asyncio.sleep(32)
        assert not scene.late
        async with scene.receiver.registered(scene.url):
            await asyncio.wait_for(watching, 1)
            assert scene.sources == {"webhook": 8}


async def test_what_an_earlier_run_has_left_is_replaced() -> None:
    """Of endpoints at one address the newest is left, and the others' deliveries are no more."""
    async with open_hooked(delay="20") as scene:
        endpoints = scene.client.endpoints()
        elsewhere = await endpoints.add(scene.url + "?other")
        async with scene.receiver.registered(scene.url) as endpoint:
            known = {each.endpoint_id for each in await endpoints.known()}
            assert known == {elsewhere.endpoint_id, endpoint.endpoint_id}
            await scene.watch(await scene.order(4))
            await asyncio.sleep(1)
            assert scene.receiver.stats().accepted == 4
            assert scene.receiver.stats().forged == 4  # from elsewhere, whose secret nobody gave
        await endpoints.remove(elsewhere)


async def test_the_address_of_a_single_order() -> None:
    """What goes to the address of an order is taken in, where the server signs it."""
    secret = "whsec_" + "c2VjcmV0" * 5
    async with open_hooked(webhook_secret=secret) as scene:
        receiver = WebhookReceiver(scene.client, secret)
        async with open_doorstep(receiver) as url:
            job_ids = await scene.order(3, callback_url=url, callback_id="mine")
            await scene.watch(job_ids)
            await until(lambda: receiver.stats().accepted == 3, within=5)
        assert scene.receiver.stats().accepted == 3  # the endpoint of the account is told as well
        assert max(scene.late.values()) < 1
