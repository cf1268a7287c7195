"""Who may ask the server for what, and how much it says."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import websockets

from simulator import ChannelOptions, Simulator
from simulator.__main__ import main
from simulator.access import without_secrets
from simulator.testing import run
from tests.security.raw_peer import bomb, connected, frame
from tests.simulator.backend import VIDEO, Talk, make, until
from tests.sockets.server_process import ServerProcess

Reply = tuple[int, Any]


async def ask(
    sim: Simulator, method: str, path: str, *, headers: dict[str, str] | None = None, **body: Any
) -> Reply:
    """Return status and document of one answer."""
    async with (
        aiohttp.ClientSession(sim.url) as http,
        http.request(method, path, headers=headers, json=body or None) as answer,
    ):
        text = await answer.text()
        return answer.status, json.loads(text) if text.startswith("{") else text


@pytest.fixture
async def sim() -> AsyncIterator[Simulator]:
    """Run a simulator that asks for no key."""
    async with asyncio.timeout(20), Simulator(delay=100) as running:
        yield running


# -- pages of other sites -------------------------------------------------------------------------

ORDER = {"video_url": VIDEO, "language": "Spanish"}


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [("POST", "/jobs", ORDER), ("GET", "/jobs", {}), ("POST", "/create_job", {})],
)
@pytest.mark.parametrize("origin", ["http://evil.example", "null", "https://app.example.evil"])
async def test_pages_of_other_sites_order_nothing(
    sim: Simulator, method: str, path: str, body: dict[str, Any], origin: str
) -> None:
    """A page that a browser has loaded from elsewhere can neither order nor read."""
    status, problem = await ask(sim, method, path, headers={"Origin": origin}, **body)
    assert (status, problem["code"]) == (403, "forbidden")
    assert sim.jobs == {}


async def test_pages_of_allowed_sites_may_ask() -> None:
    """Origins on the list may ask REST as they may open the channel; own pages always may."""
    options = ChannelOptions(origins=frozenset({"https://app.example"}))
    async with Simulator(channel=options) as sim:
        for origin in ("https://app.example", sim.url):
            assert (await ask(sim, "GET", "/jobs", headers={"Origin": origin}))[0] == 200


@pytest.mark.parametrize("path", ["/jobs", "/events", "/_control/stats"])
async def test_names_that_lead_to_loopback_are_no_origin_of_ours(sim: Simulator, path: str) -> None:
    """A page whose own name was made to lead here (DNS rebinding) is a foreign page."""
    headers = {"Origin": f"http://evil.example:{sim.port}", "Host": f"evil.example:{sim.port}"}
    status, problem = await ask(sim, "GET", path, headers=headers)
    assert (status, problem["code"]) == (403, "forbidden")


# -- the control API ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("evil.example", 403),
        ("evil.example:{port}", 403),
        ("127.0.0.1.evil.example:{port}", 403),
        ("localhost.evil.example", 403),
        ("192.0.2.1:{port}", 403),
        ("localhost", 200),
        ("LOCALHOST:{port}", 200),
        ("sim.localhost:{port}", 200),
        ("127.0.0.1:{port}", 200),
        ("127.9.9.9", 200),
        ("[::1]:{port}", 200),
        ("[::1]", 200),
    ],
)
async def test_control_is_called_by_its_address(sim: Simulator, host: str, status: int) -> None:
    """A name that could lead anywhere does not control, with or without an Origin."""
    headers = {"Host": host.format(port=sim.port)}
    assert (await ask(sim, "GET", "/_control/stats", headers=headers))[0] == status


@pytest.mark.parametrize("name", ["Forwarded", "X-Forwarded-For", "X-Real-IP", "Via"])
async def test_control_is_not_for_those_behind_a_proxy(sim: Simulator, name: str) -> None:
    """A proxy on this machine calls from loopback on behalf of the world."""
    status, problem = await ask(sim, "GET", "/_control/stats", headers={name: "127.0.0.1"})
    assert (status, problem["code"]) == (403, "forbidden")


@pytest.mark.parametrize("peer", ["127.0.0.1", "192.0.2.7", "fe80::1%eth0"])
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Authorization": "Bearer reins"}, 200),
        ({"X-Api-Key": "reins"}, 200),
        ({"X-Api-Key": "mine"}, 401),
        ({"X-Api-Key": ""}, 401),
        ({}, 401),
    ],
)
async def test_control_with_a_key(
    peer: str, headers: dict[str, str], status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where there is a control key it is asked of everybody, and an API key is none."""
    async with Simulator(api_keys=["mine"], control_key="reins") as sim:
        monkeypatch.setattr(aiohttp.web.Request, "remote", peer)
        assert (await ask(sim, "GET", "/_control/stats", headers=headers))[0] == status
        assert (await ask(sim, "GET", "/jobs", headers={"X-Api-Key": "reins"}))[0] == 401


async def test_control_with_a_key_is_not_for_foreign_pages() -> None:
    """A page that knows the key is still a foreign page."""
    async with Simulator(control_key="reins") as sim:
        headers = {"X-Api-Key": "reins", "Origin": "http://evil.example"}
        assert (await ask(sim, "GET", "/_control/stats", headers=headers))[0] == 403


# -- keys -----------------------------------------------------------------------------------------


async def test_keys_in_files(tmp_path: Path) -> None:
    """Each line of the file is a key that opens, and its comments are none."""
    keys, control = tmp_path / "keys", tmp_path / "control"
    keys.write_text("# ours\n\nfirst\n  second  \n")
    control.write_text("reins\n")
    arguments = ("--api-key", "third", "--api-key-file", str(keys))
    async with (
        ServerProcess(*arguments, "--control-key-file", str(control)) as server,
        aiohttp.ClientSession(server.url) as http,
    ):
        answers = {}
        for key in ("first", "second", "third", "# ours", "reins", "fourth"):
            async with http.get("/jobs", headers={"X-Api-Key": key}) as answer:
                answers[key] = answer.status
        async with http.get("/_control/stats", headers={"X-Api-Key": "reins"}) as answer:
            assert answer.status == 200
        async with http.get("/_control/stats") as answer:
            assert answer.status == 401
    assert answers == {"first": 200, "second": 200, "third": 200} | dict.fromkeys(
        ("# ours", "reins", "fourth"), 401
    )


@pytest.mark.parametrize("content", ["", "# nothing\n\n", None])
@pytest.mark.parametrize("option", ["--api-key-file", "--control-key-file"])
def test_files_without_keys_open_nothing(
    option: str, content: str | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file that is empty or missing is a mistake, and no reason to ask for no key at all."""
    file = tmp_path / "keys"
    if content is not None:
        file.write_text(content)
    with pytest.raises(SystemExit) as caught:
        main([option, str(file)])
    assert caught.value.code == 2
    assert ("would let everybody in" if content is not None else "cannot be read") in (
        capsys.readouterr().err
    )


async def test_default_job_belongs_to_its_key() -> None:
    """The default job of one key is not that of another, and unknown to it."""
    async with Simulator(api_keys=["mine", "yours"], delay=100) as sim:
        mine, yours = {"X-Api-Key": "mine"}, {"X-Api-Key": "yours"}
        _, first = await ask(sim, "GET", "/status", headers=mine)
        _, second = await ask(sim, "GET", "/status", headers=yours)
        _, again = await ask(sim, "GET", "/status", headers=mine)
        assert first["job_id"] == again["job_id"] != second["job_id"]
        path = f"/status/{first['job_id']}"
        assert (await ask(sim, "GET", path, headers=mine))[0] == 200
        assert (await ask(sim, "GET", path, headers=yours))[0] == 404


async def test_jobs_of_others_look_like_unknown_ones() -> None:
    """Whatever is asked about a foreign job, the answer is that of a job that never was."""
    async with Simulator(api_keys=["mine", "yours"], delay=100) as sim:
        _, made = await ask(sim, "POST", "/jobs", headers={"X-Api-Key": "mine"}, **ORDER)
        job_id = made["jobs"][0]["job_id"]
        nobody = "0" * len(job_id)
        for method, path in (
            ("GET", "/status/{}"),
            ("GET", "/status/{}/stream"),
            ("GET", "/status?ids={}"),
            ("DELETE", "/jobs/{}"),
            ("GET", "/jobs?after={}"),
        ):
            foreign, unknown = [
                json.dumps(
                    await ask(sim, method, path.format(name), headers={"X-Api-Key": "yours"})
                ).replace(name, "ID")
                for name in (job_id, nobody)
            ]
            assert foreign == unknown, path
        assert sim.jobs[job_id].state != "canceled"


@pytest.mark.parametrize(
    ("path", "kept"),
    [
        ("/status?wait=5&ids=a,b", "/status?wait=5&ids=a,b"),
        ("/status?api_key=canary&wait=5", "/status?api_key=***&wait=5"),
        ("/status?wait=5&Access_Token=canary", "/status?wait=5&Access_Token=***"),
        ("/jobs?X-Amz-Signature=canary", "/jobs?X-Amz-Signature=***"),
        ("/jobs", "/jobs"),
    ],
)
def test_keys_in_a_query_are_not_kept(path: str, kept: str) -> None:
    """A key in a URL opens nothing, and the list of calls does not show it."""
    assert without_secrets(path) == kept


async def test_calls_show_no_keys(sim: Simulator) -> None:
    """What is taken down of a call is without its secrets."""
    await ask(sim, "GET", "/jobs?limit=1&token=canary")
    assert [call.path for call in sim.calls] == ["/jobs?limit=1&token=***"]


# -- sizes ----------------------------------------------------------------------------------------


async def test_frames_are_not_compressed(sim: Simulator) -> None:
    """Compression is not agreed to, for it costs the memory of three connections."""
    async with websockets.connect(sim.channel_url, subprotocols=["vtrans.v1"]) as socket:  # type: ignore[list-item]
        assert socket.protocol.extensions == []


async def test_frames_out_are_bounded(sim: Simulator) -> None:
    """However much there is to tell, a frame has at most 256 KiB, and an answer about 1 MiB."""
    bulky = [{"at": 0, "state": "running", "result_url": "x" * 9_000} for _ in range(60)]
    jobs = {await make(sim, script=bulky): 0 for _ in range(4)}
    async with asyncio.timeout(10), Talk.open(sim.channel_url, max_size=2**18) as talk:
        await talk.greet()
        await talk.subscribe(jobs, mode="all")
        await talk.events(until=lambda event: event["version"] == 60)
    _, answer = await ask(sim, "POST", "/status", mode="all", jobs=jobs)
    assert 2**20 <= len(json.dumps(answer)) < 2**20 + 20_000
    assert answer["poll_after"] == 0


async def test_bodies_are_measured_unpacked(sim: Simulator) -> None:
    """A body of a kilobyte that unpacks to a megabyte is too large."""
    async with connected(sim.url) as peer:
        packed = bomb(2**20)
        assert len(packed) < 2048
        headers = ("Content-Encoding: gzip", f"Content-Length: {len(packed)}", "Connection: close")
        await peer.request("POST /jobs", *headers, body=packed)
        await peer.hear_out()
    assert peer.said.startswith(b"HTTP/1.1 413 ")


@pytest.mark.flaky(reruns=1)  # its time is real, and a busy machine may take all of it
async def test_who_pings_without_reading_is_read_no_further(sim: Simulator) -> None:
    """The answers to pings of the WebSocket protocol wait in no buffer of ours."""
    server = sim._server
    assert server is not None

    def waiting() -> int:
        return sum(transport.get_write_buffer_size() for transport in server._transports())

    flood = frame(bytes(125), first=0x89) * 400_000
    async with connected(sim.url) as peer:
        await peer.greet()
        peer.stop_reading()
        sending = asyncio.create_task(peer.send(flood))
        try:
            async with asyncio.timeout(10):
                await until(lambda: waiting() > 2**15)  # reading stops at about twice that
        except TimeoutError:
            pytest.fail(f"Only {waiting():,} bytes of answers wait after 10 s of pings.")
        await asyncio.sleep(0.3)
        assert waiting() < 2**18
        sending.cancel()


# -- JSON -----------------------------------------------------------------------------------------

NONSENSE = {
    "not a number": b'{"video_url":"v","language":"x","delay":NaN}',
    "too large a number": b'{"video_url":"v","language":"x","delay":1e999}',
    "negative": b'{"video_url":"v","language":"x","delay":-1}',
    "out of range": b'{"video_url":"v","language":"x","error_probability":1.1}',
    "far away": b'{"video_url":"v","language":"x","delay":1e300}',
    "a script without end": b'{"video_url":"v","language":"x","script":[{"at":1e300,"state":"x"}]}',
    "deep": b'{"video_url":' + b"[" * 20_000,
    "no text": b'{"video_url":"\xff","language":"x"}',
    "half a letter": b'{"video_url":"\\ud800","language":"x"}',
    "another type": b'{"video_url":["v"],"language":"x"}',
    "no object": b"[]",
    "no web address": b'{"video_url":"v","language":"x","callback_url":"file:///etc/passwd"}',
    "another kind of address": (
        b'{"video_url":"v","language":"x","callback_url":"ftp://example.com/hook"}'
    ),
    "an address with a password": (
        b'{"video_url":"v","language":"x","callback_url":"http://me:secret@example.com"}'
    ),
}


@pytest.mark.parametrize("name", NONSENSE)
async def test_orders_that_make_no_sense(
    sim: Simulator, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Numbers are finite and in range, types exact, nesting shallow; else it is 400, never 500."""
    async with aiohttp.ClientSession(sim.url) as http:
        async with http.post("/jobs", data=NONSENSE[name]) as answer:
            assert answer.status == 400, await answer.text()
        async with http.get("/healthz") as answer:
            assert answer.status == 200
    assert sim.jobs == {}
    assert not [record for record in caplog.records if record.levelname in ("ERROR", "WARNING")]


@pytest.mark.parametrize("wait", ["1e308", "25.5", "99999999999999999999"])
async def test_waits_are_cut(sim: Simulator, wait: str) -> None:
    """A wait of whatever length is an answer; nobody waits longer than 25 s for it."""
    assert (await ask(sim, "GET", f"/status?wait={wait}"))[0] == 200


MESSAGES = {
    "a huge number": b'{"type":"pong","n":' + b"9" * 5000 + b"}",
    "a version out of range": b'{"type":"subscribe","id":1,"jobs":{"a":9007199254740993}}',
    "a negative version": b'{"type":"subscribe","id":1,"jobs":{"a":-1}}',
    "not a number": b'{"type":"subscribe","id":NaN,"jobs":{}}',
    "deep": b'{"type":"subscribe","id":1,"jobs":{"a":' + b"[" * 20_000,
    "another type": b'{"type":"subscribe","id":"1","jobs":[]}',
}


@pytest.mark.parametrize("name", MESSAGES)
async def test_messages_that_make_no_sense(sim: Simulator, name: str) -> None:
    """What cannot be understood closes the channel with 4500, and no other channel."""
    async with (
        asyncio.timeout(5),
        Talk.open(sim.channel_url) as other,
        Talk.open(sim.channel_url) as talk,
    ):
        await other.greet()
        await talk.greet()
        await talk.socket.send(MESSAGES[name].decode())
        assert (await talk.closed())[0] == 4500
        await other.subscribe({})


async def test_half_a_character_is_no_text(sim: Simulator) -> None:
    """A text frame that is no UTF-8 closes the channel (RFC 6455 section 8.1)."""
    async with connected(sim.url) as peer:
        await peer.greet()
        await peer.send(frame(b'{"type":"\xff"}'))
        await peer.hear_out()
    assert b"\x03\xef" in peer.said  # 1007


# -- readers --------------------------------------------------------------------------------------


def test_readers_who_take_their_time_get_everything() -> None:
    """On virtual time: who reads slowly but steadily is served to the end, however long that is."""

    async def main() -> tuple[int, float]:
        loop = asyncio.get_running_loop()
        async with Simulator() as sim, connected(sim.url, limit=8192) as peer:
            body = json.dumps({"mode": "all", "jobs": dict.fromkeys(await peer.order(50), 0)})
            began = loop.time()
            for _ in range(3):
                headers = (f"Content-Length: {len(body)}",)
                await peer.request("POST /status", *headers, body=body.encode())
            taken = 0
            while taken < 3 * 2**20:
                taken += len(await peer.take(25_000))
                await asyncio.sleep(0.3)
            return taken, loop.time() - began

    taken, seconds = run(main)

    assert taken >= 3 * 2**20
    assert seconds > 30
