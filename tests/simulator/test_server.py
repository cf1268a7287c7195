"""The server's coming and going, on real sockets."""

import asyncio
import time

import aiohttp
import pytest

from simulator import Simulator
from simulator.faults import Drain, Hang, Restart
from tests.simulator.backend import Talk, is_final, make, until
from tests.simulator.rest_client import STANDING, ask


async def test_restart_without_loss_goes_on(sim: Simulator, talk: Talk) -> None:
    """Connections are reset, the port, the epoch and the jobs stay, and nothing is skipped."""
    job_id = await make(sim, delay=0.6)
    epoch, port = sim.epoch, sim.port
    await talk.subscribe({job_id: 0}, mode="all")
    await talk.events(until=lambda event: event["version"] == 2)

    async with asyncio.TaskGroup() as tasks:
        end = tasks.create_task(talk.closed())
        await sim.restart(down_for=0.2)

    assert end.result() == (None, None)
    assert (sim.epoch, sim.port) == (epoch, port)
    seen = max(event["version"] for event in talk.told())
    async with Talk.open(sim.channel_url) as again:
        await again.greet()
        await again.subscribe({job_id: seen}, mode="all", epoch=epoch)
        events = talk.told() + await again.events(until=is_final)
    history = await sim.history(job_id)
    assert [event["version"] for event in events] == [status.version for status in history]


async def test_restart_with_loss_begins_anew(sim: Simulator) -> None:
    """A lost history is a new epoch, greater than the old one, and knows no job of it."""
    job_id = await make(sim, script=STANDING)
    epoch = sim.epoch

    await sim.restart(lose_state="all")

    assert sim.epoch > epoch
    assert sim.jobs == {}
    async with Talk.open(sim.channel_url) as talk:
        assert (await talk.greet())["epoch"] == sim.epoch
        synced = await talk.subscribe({job_id: 1}, epoch=epoch)
    assert synced["errors"] == {job_id: "not_found"}


async def test_server_that_is_down_refuses(sim: Simulator) -> None:
    """While it is down nobody listens, and its numbers say so."""
    async with asyncio.TaskGroup() as tasks:
        down = tasks.create_task(sim.restart(down_for=0.3))
        await until(lambda: sim.stats().replica is None)
        await asyncio.sleep(0.05)
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", sim.port)
        assert (sim.connections, sim.routes) == ([], [])
        with pytest.raises(RuntimeError, match="is down"):
            _ = sim.replica
        assert await sim.drop() == 0
        await sim.drain(deadline=0)
        assert not down.done()
    assert sim.stats().replica is not None


async def test_restart_resets_every_request(sim: Simulator) -> None:
    """Requests under way, held or hanging, end without an answer, and at once."""
    job_id = await make(sim, script=STANDING)
    sim.faults.add(Hang(), match={"path": "/healthz"})
    async with aiohttp.ClientSession(sim.url) as http:
        body = {"jobs": {job_id: 2}, "epoch": sim.epoch, "wait": 25}
        requests = [
            asyncio.ensure_future(ask(http, "POST", path, json=body))
            for path in ("/status", "/status?again", "/healthz")
        ]
        await until(lambda: sim.replica.stats().waiting == 2 and sim.faults.log)
        began = time.monotonic()
        await sim.restart()
        for request in requests:
            with pytest.raises(aiohttp.ClientError):
                await request
    assert time.monotonic() - began < 0.5


async def test_restarts_queue_up(sim: Simulator) -> None:
    """Two restarts at once are two restarts, one after the other."""
    await asyncio.gather(sim.restart(), sim.restart(lose_state="all"))
    async with Talk.open(sim.channel_url) as talk:
        await talk.greet()


async def test_calls_and_connection_numbers_survive_restarts(sim: Simulator) -> None:
    """What was called before a restart is still listed, and no number is given twice."""
    numbers = []
    for _ in range(2):
        async with Talk.open(sim.channel_url) as talk:
            await talk.greet()
            numbers.append(sim.connections[0].number)
        await until(lambda: not sim.connections)
        await sim.restart(lose_state="all")

    assert numbers == [1, 2]
    assert [(call.path, call.status) for call in sim.calls] == [("/events", 101)] * 2


async def test_faults_can_restart_the_server(sim: Simulator) -> None:
    """A rule restarts the server once, when its time has come."""
    epoch = sim.epoch
    sim.faults.add(Restart(lose_state="all"), after=0.1)
    await asyncio.sleep(0.05)
    assert sim.epoch == epoch

    await until(lambda: sim.epoch != epoch and sim.stats().replica)
    second = sim.epoch
    await asyncio.sleep(0.2)
    assert sim.epoch == second


async def test_faults_can_drain_the_server(sim: Simulator, talk: Talk) -> None:
    """A rule announces the end of the present channels."""
    sim.faults.add(Drain(deadline=0.2, reason="rule"))

    assert (await talk.hear("drain"))["reason"] == "rule"
    assert await talk.closed() == (1012, "rule")


async def test_leaving_with_a_deadline_waits_for_clients(sim: Simulator, talk: Talk) -> None:
    """A server that leaves gives its clients time, and no longer than they need."""
    began = time.monotonic()
    async with asyncio.TaskGroup() as tasks:
        leaving = tasks.create_task(sim.aclose(deadline=5))
        drain = await talk.hear("drain")
        assert (drain["reason"], drain["deadline"]) == ("shutdown", 5.0)
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", sim.port)
        assert not leaving.done()
        await talk.socket.close()
    assert time.monotonic() - began < 2


async def test_leaving_ends_held_reads(sim: Simulator) -> None:
    """A held read is answered, not cut off, when the server leaves."""
    job_id = await make(sim, script=STANDING)
    async with aiohttp.ClientSession(sim.url) as http:
        body = {"jobs": {job_id: 2}, "epoch": sim.epoch, "wait": 25}
        held = asyncio.ensure_future(ask(http, "POST", "/status", json=body))
        await until(lambda: sim.replica.stats().waiting == 1)
        async with asyncio.timeout(2):
            await sim.aclose()
        assert (await held)[0] == 200


async def test_taken_port_is_an_error() -> None:
    """A port that somebody has is an OSError, and nothing is left behind."""
    async with Simulator() as first:
        before = asyncio.all_tasks()
        second = Simulator(port=first.port)
        with pytest.raises(OSError, match="in use"):
            await second.start()
        await second.aclose()
        assert asyncio.all_tasks() <= before


@pytest.mark.parametrize("moment", [0.0, 0.05, 0.1, 0.102, 0.15])
async def test_nothing_is_left_of_a_server(moment: float) -> None:
    """After it is closed, at any moment of a restart or a drain, there is no task of it."""
    before = asyncio.all_tasks()
    async with (
        asyncio.timeout(5),
        Simulator(delay=100) as sim,
        Talk.open(sim.channel_url) as talk,
        asyncio.TaskGroup() as tasks,
    ):
        await talk.greet()
        await make(sim)
        tasks.create_task(sim.drain(deadline=60))
        sim.faults.add(Drain(deadline=60))
        sim.faults.add(Restart(down_for=60), after=0.01)
        await asyncio.sleep(moment)
        await sim.aclose()
        await sim.aclose()
    await until(lambda: asyncio.all_tasks() <= before)
