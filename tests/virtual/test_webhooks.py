"""Webhooks that the server delivers: to whom, when, how often, and signed by what."""

import asyncio
import base64
import logging
import time
from collections.abc import AsyncIterator
from itertools import pairwise
from typing import Any

import aiohttp
import msgspec
import pytest

from simulator import Simulator
from simulator.deliverer import GIVE_UP
from simulator.faults import ClockJump, EpochBump, PauseProcess, Speed
from simulator.notices import Notice, Outcome
from tests.virtual.receiver import Receiver
from tests.virtual.scene import now

SECRET = "whsec_" + base64.b64encode(b"a secret of thirty-two bytes ...").decode()


async def order(sim: Simulator, receiver: Receiver, **fields: Any) -> str:
    """Order a job whose end the receiver shall hear of, and return its id."""
    [made] = await sim.create(callback_url=receiver.url, **fields)
    return made.job_id


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """Run somebody who acknowledges whatever comes."""
    async with Receiver.open() as running:
        yield running


@pytest.fixture
async def sim(receiver: Receiver) -> AsyncIterator[Simulator]:
    """Run a simulator whose jobs take 20 s, and which leaves before its receiver."""
    async with Simulator(delay=20, seed=1, webhook_secret=SECRET) as running:
        yield running


async def test_the_end_of_a_job_is_told(sim: Simulator, receiver: Receiver) -> None:
    """Once the job has ended its status document is posted, signed, and that is all."""
    began, job_id = now(), await order(sim, receiver, title="Talk")
    await sim.create(language="French")
    [delivered] = await receiver.wait(1)
    assert delivered.at - began == pytest.approx(20, abs=0.2)
    assert delivered.body == msgspec.json.encode(sim.jobs[job_id])
    assert delivered.document["state"] == "completed"
    assert delivered.headers["Content-Type"] == "application/json"
    assert int(delivered.headers["webhook-timestamp"]) == pytest.approx(time.time(), abs=2)
    assert delivered.is_signed(SECRET)
    await asyncio.sleep(1000)
    assert len(receiver.got) == 1
    assert sim.stats().webhooks == (0, 1, 0, 0)


async def test_every_end_is_told(sim: Simulator, receiver: Receiver) -> None:
    """A job that fails is told of, and one that is canceled, at once."""
    began = now()
    failed = await order(sim, receiver, error_probability=1)
    canceled = await order(sim, receiver)
    await sim.replica.cancel(canceled)
    first, second = (one.document for one in await receiver.wait(2))
    assert (first["job_id"], first["state"]) == (canceled, "canceled")
    assert (second["job_id"], second["state"]) == (failed, "error")
    assert receiver.got[0].at - began < 0.2


async def test_without_a_secret_one_is_drawn(receiver: Receiver) -> None:
    """Deliveries of native orders are signed in any case; what signs them can be asked."""
    async with Simulator(delay=1) as sim, Simulator() as other:
        await order(sim, receiver)
        [delivered] = await receiver.wait(1)
        assert delivered.is_signed(sim.webhook_secret)
        assert sim.webhook_secret != other.webhook_secret


# -- again, and again -----------------------------------------------------------------------------


@pytest.mark.parametrize("answer", [500, 404, 301, 308, 410, 429, 11.0])
async def test_what_is_not_acknowledged_comes_again(
    sim: Simulator, receiver: Receiver, answer: Any
) -> None:
    """Only a 2xx within 10 s counts; then after 5 s, 10 s, 20 s ... the same comes once more."""
    receiver.answer = lambda count: answer if count <= 4 else 204
    await order(sim, receiver)
    got = await receiver.wait(5)
    silence = 10 if isinstance(answer, float) else 0
    pauses = [later.at - earlier.at - silence for earlier, later in pairwise(got)]
    assert pauses == [pytest.approx(5 * 2**n, rel=0.12) for n in range(4)]
    assert {(one.event_id, one.body, one.path) for one in got} == {
        (got[0].event_id, got[0].body, "/hook")
    }
    stamps = [int(one.headers["webhook-timestamp"]) for one in got]
    assert stamps[4] - stamps[0] == pytest.approx(got[4].at - got[0].at, abs=1)
    assert all(one.is_signed(SECRET) for one in got)
    await asyncio.sleep(1000)
    assert len(got) == 5
    assert sim.stats().webhooks == (0, 1, 4, 0)


async def test_nobody_is_there_yet(sim: Simulator) -> None:
    """A receiver that refuses connections, or whose name is unknown, is tried again."""
    await sim.create(callback_url="http://nowhere.example/hook")
    await sim.create(callback_url="http://127.0.0.1:9001/hook")
    await asyncio.sleep(22)
    assert sim.stats().webhooks == (2, 0, 2, 0)
    async with Receiver.open(port=9001) as late:
        await late.wait(1, within=10)


async def test_after_a_day_it_is_given_up(
    sim: Simulator, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    """The pauses double until 24 h have passed; then it is said once that it was in vain."""
    receiver.answer = lambda _: 503
    await order(sim, receiver)
    first = (await receiver.wait(1))[0].at
    await asyncio.sleep(GIVE_UP - 100)  # for longer than that no test may take
    assert len(receiver.got) in (14, 15)
    assert GIVE_UP / 2.5 < receiver.got[-1].at - first <= GIVE_UP
    assert sim.stats().webhooks == (0, 0, len(receiver.got), 1)
    said = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert [record.name for record in said] == ["simulator.deliverer"]


# -- restarts -------------------------------------------------------------------------------------


async def test_a_restart_loses_no_delivery(sim: Simulator, receiver: Receiver) -> None:
    """What was not acknowledged comes again after it; what was, does not."""
    done = await order(sim, receiver, delay=5)
    await receiver.wait(1)
    receiver.answer = lambda _: 8.0
    cut_off, later = await order(sim, receiver, delay=5), await order(sim, receiver, delay=10)
    await receiver.wait(2)
    await sim.restart(down_for=60)
    assert len(receiver.got) == 2
    receiver.answer = lambda _: 200
    await receiver.wait(4)
    await asyncio.sleep(1000)
    told = [one.document["job_id"] for one in receiver.got]
    assert told[:2] == [done, cut_off]
    assert sorted(told[2:]) == sorted([cut_off, later])
    assert len({one.event_id for one in receiver.got}) == 3


async def test_a_new_epoch_ends_no_job_again(sim: Simulator, receiver: Receiver) -> None:
    """Jobs that live on under a newer epoch are told of once; those that are lost, not at all."""
    await order(sim, receiver)
    await receiver.wait(1)
    sim.faults.add(EpochBump())
    await asyncio.sleep(100)
    receiver.answer = lambda _: 500
    await order(sim, receiver)
    await receiver.wait(2)
    await sim.restart(lose_state="all")
    await asyncio.sleep(1000)
    assert len(receiver.got) == 2


async def test_nobody_is_told_of_what_is_long_over(
    sim: Simulator, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A day after its end no delivery begins, though the job is known and the receipt is not."""
    monkeypatch.setattr("simulator.deliverer.GIVE_UP", 3600.0)
    monkeypatch.setattr("simulator.deliverer.KEEP_FINALS", 3600.0)
    old = await order(sim, receiver)
    await asyncio.sleep(4000)
    new = await order(sim, receiver)
    await asyncio.sleep(100)
    await sim.restart()
    await asyncio.sleep(100)
    assert [one.document["job_id"] for one in receiver.got] == [old, new]


async def test_closing_waits_for_nobody(receiver: Receiver) -> None:
    """What is under way is cut off at once, however long its receiver takes."""
    receiver.answer = lambda _: 1000.0
    async with Simulator(delay=0) as sim:
        await sim.create(callback_url=receiver.url, languages=["a", "b", "c"])
        await receiver.wait(3)
        async with aiohttp.ClientSession(sim.url) as http, http.get("/metrics") as answer:
            assert "vtrans_webhooks_waiting 3" in await answer.text()
        began = now()
    assert now() - began < 0.1


# -- many -----------------------------------------------------------------------------------------


async def test_a_crowd_is_told_a_few_at_a_time(sim: Simulator, receiver: Receiver) -> None:
    """Of 100 jobs that end at once 16 are told of at a time, and each of them once."""
    receiver.answer = lambda _: 1.0
    languages = [f"language {number}" for number in range(100)]
    await sim.create(callback_url=receiver.url, languages=languages)
    got = await receiver.wait(100)
    assert len({one.document["language"] for one in got}) == 100
    busiest = max(sum(0 <= one.at - other.at < 1 for one in got) for other in got)
    assert busiest == 16
    assert got[-1].at - got[0].at == pytest.approx(6, abs=0.5)


async def test_the_queue_is_bounded(
    sim: Simulator, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it has no room for waits in the log."""
    monkeypatch.setattr("simulator.deliverer._MAX_QUEUE", 10)
    languages = [f"language {number}" for number in range(100)]
    await sim.create(callback_url=receiver.url, languages=languages)
    await receiver.wait(1)
    assert sim.stats().webhooks.waiting <= 10
    await receiver.wait(100)
    await asyncio.sleep(1000)
    assert len({one.event_id for one in receiver.got}) == len(receiver.got) == 100


async def test_a_failure_of_our_own_stops_no_other_delivery(
    sim: Simulator,
    receiver: Receiver,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """One that cannot be made is logged with its traceback; the next one comes."""
    bodies = iter([ZeroDivisionError])

    def body(self: Notice, _outcome: Outcome) -> bytes:
        for error in bodies:
            raise error
        return self.entry.document

    monkeypatch.setattr(Notice, "body", body)
    await order(sim, receiver)
    await order(sim, receiver)
    await asyncio.sleep(100)
    assert len(receiver.got) == 1
    [record] = [one for one in caplog.records if one.levelno >= logging.ERROR]
    assert record.exc_info is not None


# -- the clock ------------------------------------------------------------------------------------


async def test_deliveries_keep_pace_with_the_clock(sim: Simulator, receiver: Receiver) -> None:
    """Where it runs faster or jumps so do pauses, for they are of the time by which jobs run."""
    receiver.answer = lambda _: 500
    sim.faults.add(Speed(factor=10))
    await order(sim, receiver)
    first, second = await receiver.wait(2)
    assert second.at - first.at == pytest.approx(0.5, rel=0.12)
    sim.faults.heal()
    sim.faults.add(ClockJump(seconds=1000))
    await receiver.wait(3)
    assert now() - second.at < 1


async def test_a_paused_server_delivers_nothing(sim: Simulator, receiver: Receiver) -> None:
    """While it is frozen no attempt begins, though some are due and others come to be; then all."""
    receiver.answer = lambda count: 500 if count == 1 else 5.0
    languages = [f"language {number}" for number in range(20)]
    await sim.create(callback_url=receiver.url, languages=languages)
    first = (await receiver.wait(16))[0]  # four wait for their turn, and one for its second attempt
    sim.faults.add(PauseProcess(seconds=60))
    await asyncio.sleep(1)
    begun = len(receiver.got)
    assert begun in (16, 17)
    await asyncio.sleep(58)
    assert len(receiver.got) == begun
    await receiver.wait(21)
    assert now() - first.at == pytest.approx(61, abs=5)


# -- secrets --------------------------------------------------------------------------------------


async def test_logs_name_the_host_alone(
    sim: Simulator, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither the URL of a receiver, which may be a secret, nor what signs is logged."""
    caplog.set_level(logging.DEBUG)
    receiver.answer = lambda count: 500 if count == 1 else 200
    await sim.create(callback_url=f"{receiver.url}/canary?token=canary", title="canary")
    await receiver.wait(2)
    ours = [record.getMessage() for record in caplog.records if "simulator" in record.name]
    assert any("127.0.0.1" in text for text in ours)
    signature = receiver.got[0].headers["webhook-signature"]
    for text in ours:
        assert "canary" not in text
        assert SECRET not in text
        assert signature not in text


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_c2hvcnQ=", "whsec_%%%", "x" * 200])
def test_a_secret_that_is_none(secret: str) -> None:
    """It is refused before anything is signed with it, and not repeated."""
    with pytest.raises(ValueError, match="A webhook secret") as caught:
        Simulator(webhook_secret=secret)
    assert len(secret) < 8 or secret not in str(caught.value)
