"""REST on real sockets: the event stream of one job (docs/protocol.md 4.7)."""

import asyncio
import json
import logging

import aiohttp
import pytest

from simulator import Simulator
from simulator.faults import Vanish
from simulator.testing import run
from tests.simulator.rest_client import (
    ENDED,
    STANDING,
    ask,
    make,
    session,
)


async def lines_of(answer: aiohttp.ClientResponse) -> list[dict[str, str]]:
    """Return the fields of each event of a stream that ends by itself; comments are left out."""
    blocks = (await answer.text()).split("\n\n")
    return [
        dict(line.split(": ", 1) for line in block.splitlines())
        for block in blocks
        if block and not block.startswith(":")
    ]


async def test_stream_tells_a_life(http: aiohttp.ClientSession) -> None:
    """The stream in mode `all` gives each version with its position, and ends after the final."""
    job_id = await make(http, delay=0.3)

    async with http.get(f"/status/{job_id}/stream?mode=all") as answer:
        assert answer.content_type == "text/event-stream"
        assert answer.headers["X-Accel-Buffering"] == "no"
        events = await lines_of(answer)

    documents = [json.loads(event["data"]) for event in events]
    assert [document["version"] for document in documents] == list(range(1, len(events) + 1))
    assert documents[-1]["state"] == "completed"
    assert documents[-1]["final"] is True
    assert [event["id"] for event in events] == [
        f"{document['epoch']}.{document['version']}" for document in documents
    ]
    assert {event["event"] for event in events} == {"status"}


async def test_stream_begins_with_the_present(http: aiohttp.ClientSession) -> None:
    """The stream in mode `latest` begins with the newest version."""
    job_id = await make(http, ENDED)

    async with http.get(f"/status/{job_id}/stream") as answer:
        (event,) = await lines_of(answer)

    assert json.loads(event["data"])["version"] == 2


async def test_stream_resumes(http: aiohttp.ClientSession) -> None:
    """Last-Event-ID goes on behind that version; one of another history begins anew."""
    job_id = await make(http, ENDED)
    epoch = (await ask(http, "GET", "/healthz"))[1]["epoch"]

    for last, versions in [(f"{epoch}.1", [2]), ("01OTHER.1", [1, 2]), ("nonsense", [1, 2])]:
        headers = {"Last-Event-ID": last}
        async with http.get(f"/status/{job_id}/stream?mode=all", headers=headers) as answer:
            events = await lines_of(answer)
        assert [json.loads(event["data"])["version"] for event in events] == versions


async def test_stream_after_the_final_is_204(http: aiohttp.ClientSession) -> None:
    """Who has the final event gets 204, at which an EventSource stops."""
    job_id = await make(http, ENDED)
    epoch = (await ask(http, "GET", "/healthz"))[1]["epoch"]

    headers = {"Last-Event-ID": f"{epoch}.2"}
    assert await ask(http, "GET", f"/status/{job_id}/stream", headers=headers) == (204, None)


async def test_silent_stream_stays_awake() -> None:
    """To a reader who has the present version comments come, then the next event, then the end."""
    async with Simulator(ping=0.05) as sim, session(sim) as http:
        job_id = await make(http, STANDING)
        headers = {"Last-Event-ID": f"{sim.epoch}.2"}
        async with http.get(f"/status/{job_id}/stream", headers=headers) as answer:
            seen = b""
            while seen.count(b"\n\n") < 2:
                seen += await answer.content.readany()
            assert seen.startswith(b": ")
            await ask(http, "DELETE", f"/jobs/{job_id}")
            rest = await answer.content.read()

    assert b'"state":"canceled"' in rest


async def test_stream_ends_when_the_server_drains(
    sim: Simulator, http: aiohttp.ClientSession
) -> None:
    """A server that drains ends its streams, so that the reader goes elsewhere."""
    job_id = await make(http, STANDING)

    async with (
        asyncio.timeout(5),
        asyncio.TaskGroup() as tasks,
        http.get(f"/status/{job_id}/stream") as answer,
    ):
        await answer.content.readuntil(b"\n\n")
        tasks.create_task(sim.drain(deadline=0.3))
        await answer.content.read()


async def test_stream_of_unknown_mode_is_refused(http: aiohttp.ClientSession) -> None:
    """A mode that does not exist is a problem document."""
    job_id = await make(http, STANDING)

    status, problem = await ask(http, "GET", f"/status/{job_id}/stream?mode=some")

    assert (status, problem["code"]) == (400, "bad_request")


async def test_stream_ends_when_its_job_is_removed(
    sim: Simulator, http: aiohttp.ClientSession
) -> None:
    """The stream of a job that vanishes ends, so that the reader asks and learns of it."""
    job_id = await make(http, [{"at": 0, "state": "pending"}, {"at": 0.1, "state": "running"}])
    sim.faults.add(Vanish(tombstone=True))

    async with asyncio.timeout(5), http.get(f"/status/{job_id}/stream") as answer:
        await answer.content.read()

    assert (await ask(http, "GET", f"/status/{job_id}/stream"))[0] == 410


async def test_stream_to_a_reader_who_left_ends_in_silence(
    sim: Simulator, http: aiohttp.ClientSession, caplog: pytest.LogCaptureFixture
) -> None:
    """A reader who leaves in the very moment of an event is no failure of the server."""
    runner = sim._running()._runner
    assert runner is not None
    assert runner.server is not None
    job_id = await make(http, STANDING)
    async with http.get(f"/status/{job_id}/stream") as answer:
        await answer.content.readuntil(b"\n\n")
        # In this order the stream is woken before it can hear that its socket is gone.
        sim.replica.drain()
        for connection in runner.server.connections:
            assert connection.transport is not None
            connection.transport.abort()
        with pytest.raises(aiohttp.ClientError):
            await answer.content.read()

    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_stream_to_a_reader_who_takes_nothing_ends(caplog: pytest.LogCaptureFixture) -> None:
    """On virtual time: a reader who stops reading is cut off after 10 s, and holds nothing up."""

    async def main() -> float:
        async with Simulator() as sim:
            error = {"code": "long", "message": "m" * 20_000}
            steps = [{"at": 0, "state": f"step {n}", "error": error} for n in range(60)]
            (job,) = await sim.create(script=steps)
            reader, writer = await asyncio.open_connection("127.0.0.1", sim.port, limit=1024)
            writer.write(f"GET /status/{job.job_id}/stream?mode=all HTTP/1.1\r\n".encode())
            writer.write(b"Host: simulator\r\n\r\n")
            await asyncio.sleep(60)
            rest = await reader.read()
            writer.close()
            assert not rest.endswith(b"0\r\n\r\n")  # the answer was broken off, not ended
            (call,) = sim.calls
            return call.seconds

    assert 10 <= run(main) < 11
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
