"""The channel on real sockets, spoken to by another library's client."""

import asyncio
from typing import Any

import aiohttp
import pytest
import websockets

from simulator import ChannelOptions, Simulator
from tests.simulator.backend import STANDING, Talk, is_final, make, until, versions

# -- the conversation -----------------------------------------------------------------------------


async def test_welcome_tells_the_terms(sim: Simulator) -> None:
    """A hello is answered with the epoch and the terms of the connection."""
    async with Talk.open(sim.channel_url) as talk:
        assert talk.socket.subprotocol == "vtrans.v1"
        assert talk.socket.response is not None
        assert "Sec-WebSocket-Extensions" not in talk.socket.response.headers
        assert await talk.greet() == {
            "type": "welcome",
            "epoch": sim.epoch,
            "ping": 5.0,
            "grace": 5.0,
            "spread": 0.25,
            "max_jobs": 1000,
            "max_frame": 65536,
            "replica": "a1",
        }


async def test_job_is_followed_to_its_end(sim: Simulator, talk: Talk) -> None:
    """In mode `all` every version arrives, in order, and the last one is marked final."""
    job_id = await make(sim)

    assert await talk.subscribe({job_id: 0}, mode="all") == {"type": "synced", "id": 1}
    events = await talk.events(until=is_final)

    history = await sim.history(job_id)
    assert versions(events) == [status.version for status in history]
    assert [event["state"] for event in events] == [status.state for status in history]
    assert events[-1]["state"] == events[-1]["result"] == "completed"
    assert sim.replica.stats().subscriptions == 0


async def test_synced_comes_after_the_present_state(sim: Simulator, talk: Talk) -> None:
    """A late subscriber gets the present version first, then `synced` with what it cannot have."""
    running, done = await make(sim, script=STANDING), await make(sim, delay=0)
    await until(lambda: sim.jobs[done].state == "completed")

    synced = await talk.subscribe({running: 0, done: 0, "nobody": 0, "a\r\nb": 0}, id=8)

    assert [(event["job_id"], event["version"], is_final(event)) for event in talk.told()] == [
        (running, 1, False),
        (done, 3, True),
    ]
    errors = {"nobody": "not_found", "a\r\nb": "not_found"}
    assert synced == {"type": "synced", "id": 8, "errors": errors}


async def test_cursor_resumes(sim: Simulator) -> None:
    """With epoch and version a new connection goes on where the other one stopped."""
    job_id = await make(sim, delay=1.5)
    async with Talk.open(sim.channel_url) as talk:
        epoch = (await talk.greet())["epoch"]
        await talk.subscribe({job_id: 0}, mode="all")
        first = await talk.events(until=lambda event: event["version"] == 3)
    async with Talk.open(sim.channel_url) as talk:
        await talk.greet()
        await talk.subscribe({job_id: first[-1]["version"]}, mode="all", epoch=epoch)
        rest = await talk.events(until=is_final)

    assert versions(first + rest) == [status.version for status in await sim.history(job_id)]


@pytest.mark.parametrize("epoch", [None, "01OLD"])
async def test_cursor_of_another_epoch_is_zero(sim: Simulator, talk: Talk, epoch: str) -> None:
    """A version of another history, or of none, means nothing here."""
    job_id = await make(sim, script=STANDING)

    await talk.subscribe({job_id: 41}, epoch=epoch)

    assert versions(talk.told()) == [1]


async def test_nothing_newer_is_no_event(sim: Simulator, talk: Talk) -> None:
    """A cursor at or beyond the head yields nothing, and a final one no subscription either."""
    job_id, done = await make(sim, script=STANDING), await make(sim, delay=0)
    await until(lambda: sim.jobs[done].state == "completed")

    await talk.subscribe({job_id: 7, done: 3}, epoch=sim.epoch)

    assert talk.told() == []
    assert sim.connections[0].jobs == [job_id]


async def test_unsubscribed_job_is_silent(sim: Simulator, talk: Talk) -> None:
    """After an unsubscribe nothing more comes of a job, while others go on."""
    silent, other = await make(sim), await make(sim)
    await talk.subscribe({silent: 0, other: 0})
    await talk.say("unsubscribe", jobs=[silent, "nobody"])
    await talk.subscribe({}, id=2)
    seen = len([event for event in talk.told() if event["job_id"] == silent])

    events = await talk.events(until=is_final)

    assert len([event for event in events if event["job_id"] == silent]) == seen
    assert events[-1]["job_id"] == other


async def test_trimmed_history_is_marked(sim: Simulator, talk: Talk) -> None:
    """A hole in what is kept is marked `gap`, and only there."""
    script = [{"at": 0, "state": "running", "progress": n / 200} for n in range(200)]
    job_id = await make(sim, script=script)
    await until(lambda: sim.jobs[job_id].version == 200)

    await talk.subscribe({job_id: 0}, mode="all")

    events = talk.told()
    assert versions(events) == [1, *range(138, 201)]
    assert [event["version"] for event in events if event.get("gap")] == [138]


async def test_thousand_jobs_on_one_connection(sim: Simulator, talk: Talk) -> None:
    """A full subscribe is answered in frames of at most 64 events."""
    jobs = [one.job_id for _ in range(10) for one in await sim.create(languages=["x"] * 100)]

    await talk.subscribe(dict.fromkeys(jobs, 0), mode="all")
    while sum(map(is_final, talk.told())) < 1000:
        await talk.hear("events")

    frames = [message["events"] for message in talk.heard if message["type"] == "events"]
    assert max(map(len, frames)) == 64
    for job_id in jobs[::97]:
        history = await sim.history(job_id)
        own = [event for event in talk.told() if event["job_id"] == job_id]
        assert versions(own) == [status.version for status in history]


async def test_unknown_messages_and_fields_are_ignored(sim: Simulator, talk: Talk) -> None:
    """A newer client may say more than this server understands."""
    job_id = await make(sim, script=STANDING)
    await talk.say("dance", steps=3)

    await talk.subscribe({job_id: 0}, colour="blue")

    assert versions(talk.told()) == [1]


async def test_too_many_jobs_in_a_frame_are_refused(talk: Talk) -> None:
    """More than max_jobs is an error with the id of the request; the connection lives on."""
    await talk.say("subscribe", id=5, jobs={f"j{n}": 0 for n in range(1001)})

    error = await talk.hear("error")

    assert (error["id"], error["code"]) == (5, "too_large")
    assert (await talk.subscribe({}, id=6))["id"] == 6


async def test_auth_without_keys_is_confirmed(talk: Talk) -> None:
    """Where no key is asked for, any is good."""
    await talk.say("auth", id=9, token="whatever")
    assert await talk.hear("authed") == {"type": "authed", "id": 9}


# -- what ends a conversation ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        ("{", "truncated"),
        ("[]", "Expected `object`"),
        ('{"jobs":{}}', "missing required field `type`"),
        ('{"type":"subscribe","id":1,"jobs":{"a":-1}}', ">= 0"),
        ('{"type":"subscribe","id":1,"jobs":{"a":NaN}}', "invalid"),
        ('{"type":"subscribe","id":1,"jobs":{"a":1e999}}', "out of range"),
        ('{"type":"subscribe","id":1,"mode":"some","jobs":{}}', "takes 'all' or 'latest'"),
        ('{"type":"pong","n":1,"x":' + "[" * 30_000, "recursion"),
        (b"\x00\x01", "frames are text"),
    ],
)
async def test_bad_frame_closes(talk: Talk, frame: str | bytes, reason: str) -> None:
    """What is no message of a client closes with 4500 and says what was wrong."""
    await talk.socket.send(frame)

    code, text = await talk.closed()

    assert code == 4500
    assert reason in (text or "")


async def test_frame_that_is_too_big_closes(talk: Talk) -> None:
    """A frame above 64 KiB is not even read."""
    await talk.socket.send('{"type":"hello","agent":"' + "x" * 70_000 + '"}')
    assert (await talk.closed())[0] == 1009


async def test_hello_comes_first(sim: Simulator) -> None:
    """Whoever begins with something else is not listened to."""
    async with Talk.open(sim.channel_url) as talk:
        await talk.say("subscribe", id=1, jobs={})
        assert await talk.closed() == (4500, "hello comes first")


async def test_silent_newcomer_is_closed() -> None:
    """Without a hello in time the server closes with 4008."""
    async with (
        asyncio.timeout(5),
        Simulator(channel=ChannelOptions(hello=0.05)) as sim,
        Talk.open(sim.channel_url) as talk,
    ):
        assert (await talk.closed())[0] == 4008


async def test_too_many_subscriptions_close() -> None:
    """Beyond the limit of a connection it is closed with 4510."""
    options = ChannelOptions(max_subscriptions=2)
    async with (
        asyncio.timeout(5),
        Simulator(channel=options) as sim,
        Talk.open(sim.channel_url) as talk,
    ):
        await talk.greet()
        await talk.say("subscribe", id=1, jobs={"a": 0, "b": 0, "c": 0})
        assert (await talk.closed())[0] == 4510


async def test_a_subscribe_once_more_does_not_count_twice() -> None:
    """The limit is about jobs: who follows as many as may be can ask for them again."""
    async with (
        asyncio.timeout(5),
        Simulator(channel=ChannelOptions(max_subscriptions=2)) as sim,
        Talk.open(sim.channel_url) as talk,
    ):
        await talk.greet()
        jobs = [await make(sim), await make(sim)]
        for number in (1, 2):
            assert (await talk.subscribe(dict.fromkeys(jobs, 0), id=number))["id"] == number
        assert sorted(sim.connections[0].jobs) == sorted(jobs)


async def test_other_subprotocol_is_closed(sim: Simulator) -> None:
    """A client that speaks only other protocols is told so with 4505."""
    async with Talk.open(sim.channel_url, subprotocols=["mqtt"]) as talk:
        assert (await talk.closed())[0] == 4505


async def test_plain_get_is_refused(sim: Simulator) -> None:
    """Without an upgrade the path of the channel is a problem document."""
    async with aiohttp.ClientSession() as http, http.get(f"{sim.url}/events") as answer:
        problem = await answer.json(content_type="application/problem+json")
    assert (answer.status, problem["code"]) == (400, "bad_request")


@pytest.mark.parametrize("key", ["é" * 24, "short", ""])
async def test_a_broken_handshake_is_refused(sim: Simulator, key: str) -> None:
    """An upgrade whose key is none is a bad request, whatever its bytes are, and no failure."""
    head = (
        "GET /events HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: upgrade\r\n"
        f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n"
    )
    reader, writer = await asyncio.open_connection("127.0.0.1", sim.port)
    writer.write(head.encode())
    async with asyncio.timeout(5):
        answer = await reader.readuntil(b"\r\n")
    writer.close()
    await writer.wait_closed()

    assert answer.startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize(
    ("origin", "is_welcome"),
    [("http://evil.example", False), ("null", False), ("http://app.example", True), ("own", True)],
)
async def test_pages_of_foreign_sites_are_refused(origin: str, is_welcome: bool) -> None:
    """A browser may open the channel from the server's own pages and from allowed ones."""
    options = ChannelOptions(origins=frozenset({"http://app.example"}))
    async with asyncio.timeout(5), Simulator(channel=options) as sim:
        headers = {"Origin": sim.url if origin == "own" else origin}
        if is_welcome:
            async with Talk.open(sim.channel_url, additional_headers=headers) as talk:
                await talk.greet()
            return
        with pytest.raises(websockets.InvalidStatus) as caught:
            await websockets.connect(sim.channel_url, additional_headers=headers)
    assert caught.value.response.status_code == 403


# -- keys -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "token"),
    [
        ({"Authorization": "Bearer mine"}, None),
        ({"X-Api-Key": "mine"}, None),
        ({}, "mine"),
    ],
)
async def test_key_in_header_or_hello(headers: dict[str, str], token: str | None) -> None:
    """A key opens the channel to the jobs of its owner, and to no others."""
    async with asyncio.timeout(5), Simulator(api_keys=["mine", "yours"]) as sim:
        jobs = {}
        for key in ("mine", "yours"):
            order = {"video_url": "https://example.com/v.mp4", "language": "Spanish"}
            bearer = {"Authorization": f"Bearer {key}"}
            async with (
                aiohttp.ClientSession(sim.url, headers=bearer) as http,
                http.post("/jobs", json=order) as answer,
            ):
                jobs[key] = (await answer.json())["jobs"][0]["job_id"]
        async with Talk.open(sim.channel_url, additional_headers=headers) as talk:
            await talk.greet(**({"token": token} if token else {}))
            synced = await talk.subscribe({jobs["mine"]: 0, jobs["yours"]: 0})
            assert synced["errors"] == {jobs["yours"]: "not_found"}
            await talk.say("auth", id=2, token="mine")
            await talk.hear("authed")
            await talk.say("auth", id=3, token="yours")
            assert (await talk.closed())[0] == 4503


@pytest.mark.parametrize("hello", [{}, {"token": "wrong"}])
async def test_channel_without_a_good_key_is_closed(hello: dict[str, str]) -> None:
    """No key at all, or a wrong one in hello, closes with 4501."""
    async with (
        asyncio.timeout(5),
        Simulator(api_keys=["mine"]) as sim,
        Talk.open(sim.channel_url) as talk,
    ):
        await talk.say("hello", **hello)
        assert (await talk.closed())[0] == 4501


async def test_wrong_key_in_the_header_is_refused() -> None:
    """A wrong key in the header is answered 401 before the upgrade."""
    async with asyncio.timeout(5), Simulator(api_keys=["mine"]) as sim:
        with pytest.raises(websockets.InvalidStatus) as caught:
            await websockets.connect(sim.channel_url, additional_headers={"X-Api-Key": "no"})
    assert caught.value.response.status_code == 401


# -- signs of life --------------------------------------------------------------------------------


async def test_quiet_channel_is_pinged() -> None:
    """Pings come at the interval, are numbered, and answering them keeps the connection."""
    async with (
        asyncio.timeout(10),
        Simulator(ping=0.1, grace=0.1) as sim,
        Talk.open(sim.channel_url) as talk,
    ):
        await talk.greet()
        pings = [await talk.hear("ping") for _ in range(5)]
    assert pings == [{"type": "ping", "n": n, "spread": 0.25} for n in range(1, 6)]


async def test_client_without_pong_is_closed() -> None:
    """A client that answers nothing is closed with 4002."""
    async with (
        asyncio.timeout(10),
        Simulator(ping=0.1, grace=0.1) as sim,
        Talk.open(sim.channel_url) as talk,
    ):
        talk.answers_pings = False
        await talk.greet()
        assert (await talk.closed())[0] == 4002


async def test_pings_of_the_websocket_protocol_are_answered(talk: Talk) -> None:
    """The keepalive of a WebSocket library works as well."""
    async with asyncio.timeout(2):
        await (await talk.socket.ping())


# More than the kernel takes on behalf of a reader: 20 jobs x 64 versions x 20 kB.
BULKY = [{"at": 0, "state": "running", "result_url": "x" * 20_000} for _ in range(64)]


async def make_bulky(sim: Simulator) -> list[str]:
    """Create jobs with bulky histories, and wait until they have happened."""
    jobs = [one.job_id for one in await sim.create(languages=["x"] * 20, script=BULKY)]
    await until(lambda: all(sim.jobs[job_id].version == 64 for job_id in jobs))
    return jobs


async def test_slow_reader_is_closed_and_harms_nobody() -> None:
    """A reader that takes nothing is closed in time, and others go on meanwhile."""
    options = ChannelOptions(patience=0.3)
    async with (
        asyncio.timeout(20),
        Simulator(channel=options, delay=0.2) as sim,
        Talk.open(sim.channel_url) as slow,
        Talk.open(sim.channel_url) as talk,
    ):
        jobs = await make_bulky(sim)
        await slow.greet()
        slow.socket.transport.pause_reading()
        await slow.say("subscribe", id=1, mode="all", jobs=dict.fromkeys(jobs, 0))
        await talk.greet()
        await talk.subscribe({await make(sim): 0}, mode="all")
        events = await talk.events(until=is_final)
        assert versions(events) == list(range(1, events[-1]["version"] + 1))
        await until(lambda: len(sim.connections) == 1)
        channel = sim.stats().channel
        assert channel is not None
        assert channel.closed == {4001: 1}
        await talk.subscribe({}, id=2)
        slow.socket.transport.abort()


async def test_reader_that_stops_for_a_moment_gets_everything(sim: Simulator, talk: Talk) -> None:
    """Frames wait for a reader, and the first one that fits goes out as soon as it reads on."""
    jobs = await make_bulky(sim)
    talk.socket.transport.pause_reading()
    await talk.say("subscribe", id=1, mode="all", jobs=dict.fromkeys(jobs, 0))
    await asyncio.sleep(0.3)
    talk.socket.transport.resume_reading()

    async with asyncio.timeout(5):
        await talk.hear("synced")

    for job_id in jobs:
        own = [event for event in talk.told() if event["job_id"] == job_id]
        assert versions(own) == list(range(1, 65))


# -- drain and drop -------------------------------------------------------------------------------


async def test_drain_before_the_welcome_follows_it(sim: Simulator, talk: Talk) -> None:
    """Nothing is said before the welcome, so a client that has not been greeted is asked then."""
    async with Talk.open(sim.channel_url) as late, asyncio.TaskGroup() as tasks:
        tasks.create_task(sim.drain(deadline=0.6, spread=0.2))
        await talk.hear("drain")
        assert (await late.greet())["type"] == "welcome"
        assert (await late.hear("drain"))["spread"] == 0.2


async def test_drain_is_announced_and_kept(sim: Simulator, talk: Talk) -> None:
    """The announcement comes with a spread; the channel works on, and is closed at the deadline."""
    job_id = await make(sim)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(sim.drain(deadline=0.6, spread=0.2, reason="deploy"))
        drain = await talk.hear("drain")
        assert drain == {"type": "drain", "spread": 0.2, "deadline": 0.6, "reason": "deploy"}
        await talk.subscribe({job_id: 0})
        await talk.events(until=is_final)
        async with Talk.open(sim.channel_url) as other:
            await other.greet()
            assert await talk.closed() == (1012, "deploy")
            await other.subscribe({}, id=2)


@pytest.mark.parametrize(
    ("options", "expected"),
    [({"how": "close", "code": 1000}, (1000, "")), ({"how": "reset"}, (None, None))],
)
async def test_drop_ends_all_channels(
    sim: Simulator, talk: Talk, options: dict[str, Any], expected: tuple[Any, Any]
) -> None:
    """Channels can be closed or reset at will."""
    async with asyncio.TaskGroup() as tasks:
        end = tasks.create_task(talk.closed())
        assert await sim.drop(**options) == 1
    assert end.result() == expected
    assert sim.connections == []


async def test_leaving_server_says_so(sim: Simulator, talk: Talk) -> None:
    """A server that is closed closes its channels with 1012."""
    async with asyncio.timeout(0.5), asyncio.TaskGroup() as tasks:
        end = tasks.create_task(talk.closed())
        await sim.aclose()
    assert end.result() == (1012, "shutdown")


async def test_client_that_leaves_is_forgotten(sim: Simulator) -> None:
    """After a client is gone nothing of it is left."""
    job_id = await make(sim, script=STANDING)
    before = asyncio.all_tasks()
    for how in ("close", "abort"):
        async with Talk.open(sim.channel_url) as talk:
            await talk.greet()
            await talk.subscribe({job_id: 0})
            assert sim.replica.stats().subscriptions == 1
            if how == "abort":
                talk.socket.transport.abort()
        await until(lambda: not sim.connections and asyncio.all_tasks() <= before)
        assert sim.replica.stats().subscriptions == 0
