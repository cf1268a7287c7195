"""REST on real sockets: orders, one job, the plain contract and the service itself."""

import asyncio
import gzip
import json
import logging
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import msgspec
import pytest
from yarl import URL

from simulator import Simulator
from simulator.faults import Vanish
from simulator.messages import Status
from simulator.metrics import Metric, exposition
from simulator.rest import poll_after
from simulator.testing import run
from tests.simulator.rest_client import (
    ENDED,
    FAILED,
    STANDING,
    VIDEO,
    ask,
    eventually,
    make,
    metric,
    reach,
    session,
    until_held,
)

# -- orders ---------------------------------------------------------------------------------------


async def test_create_answers_a_job_for_each_language(http: aiohttp.ClientSession) -> None:
    """An order of two languages answers 202 with two jobs in that order, and where the first is."""
    order = {"video_url": VIDEO, "languages": ["Spanish", "German"], "title": "Talk"}
    async with http.post("/jobs", json=order) as answer:
        jobs = (await answer.json())["jobs"]

        assert answer.status == 202
        assert answer.headers["Location"] == f"/status/{jobs[0]['job_id']}"
    assert [job["language"] for job in jobs] == ["Spanish", "German"]
    assert [(job["version"], job["state"], job["title"]) for job in jobs] == [
        (1, "pending", "Talk")
    ] * 2


async def test_create_needs_no_content_type(http: aiohttp.ClientSession) -> None:
    """A body that says nothing of its type is read as JSON, as `curl -d` sends it."""
    body = json.dumps({"video_url": VIDEO, "language": "Spanish"})
    headers = {"Content-Type": "application/x-www-form-urlencoded"}

    status, _ = await ask(http, "POST", "/jobs", data=body, headers=headers)

    assert status == 202


async def test_idempotency_key_makes_nothing_twice(http: aiohttp.ClientSession) -> None:
    """The same key and body get the first answer again, even after the job has gone on."""
    order = {"video_url": VIDEO, "languages": ["Spanish", "German"], "script": ENDED}
    headers = {"Idempotency-Key": "order-1"}

    first = await ask(http, "POST", "/jobs", json=order, headers=headers)
    await reach(http, first[1]["jobs"][0]["job_id"], 2)
    again = await ask(http, "POST", "/jobs", json=order, headers=headers)

    assert again == first
    assert len((await ask(http, "GET", "/jobs"))[1]["jobs"]) == 2


async def test_idempotency_key_with_another_body_conflicts(http: aiohttp.ClientSession) -> None:
    """The same key with another body is refused with 409 and makes nothing."""
    headers = {"Idempotency-Key": "order-1"}
    order = {"video_url": VIDEO, "language": "Spanish"}
    await ask(http, "POST", "/jobs", json=order, headers=headers)

    other = order | {"language": "German"}
    status, problem = await ask(http, "POST", "/jobs", json=other, headers=headers)

    assert (status, problem["code"]) == (409, "conflict")
    assert len((await ask(http, "GET", "/jobs"))[1]["jobs"]) == 1


@pytest.mark.parametrize("key", ["", "x" * 256, "with blank"])
async def test_idempotency_key_must_be_sane(http: aiohttp.ClientSession, key: str) -> None:
    """An Idempotency-Key that is empty, too long or not visible ASCII is refused."""
    order = {"video_url": VIDEO, "language": "Spanish"}

    status, problem = await ask(http, "POST", "/jobs", json=order, headers={"Idempotency-Key": key})

    assert (status, problem["code"]) == (400, "bad_request")


@pytest.mark.parametrize(
    ("body", "hint"),
    [
        (b"", "takes a JSON object"),
        (b"  ", "takes a JSON object"),
        (b"{", "must be JSON"),
        (b"\xff\xfe", "must be JSON"),
        (b'{"video_url": "\xff", "language": "a"}', "must be JSON"),
        (b"[]", "Expected `object`"),
        (b"{}", "video_url"),
        (b'{"video_url": 5, "language": "Spanish"}', "$.video_url"),
        (b'{"video_url": "u", "language": "Spanish", "error_probability": NaN}', "must be JSON"),
        (b'{"video_url": "u", "language": "Spanish", "error_probability": 2}', "from 0 to 1"),
        (b'{"video_url": "u", "language": "Spanish", "delay": 1e999}', "out of range"),
        (b'{"video_url": "u", "language": "Spanish", "delay": "soon"}', "delay: 'soon'"),
        (b'{"video_url": "u", "language": "Spanish", "delay": -1}', "delay: '-1"),
        (b'{"video_url": "u", "language": "a", "languages": ["b"]}', "language"),
        (b'{"video_url": "u", "languages": []}', "languages"),
        (b'{"video_url": "u", "x": ' + b"[" * 20_000 + b"]" * 20_000 + b"}", "deep"),
        (b'{"video_url": "u", "language": "a", "script": [{"at": -1, "state": "x"}]}', "script"),
    ],
)
async def test_bad_order_says_what_is_wrong(
    http: aiohttp.ClientSession, body: bytes, hint: str
) -> None:
    """A body that is no order is a problem document whose detail names what is wrong."""
    async with http.post("/jobs", data=body) as answer:
        problem = await answer.json(content_type="application/problem+json")

    assert (problem["status"], problem["code"]) == (400, "bad_request")
    assert hint in problem["detail"]


@pytest.mark.parametrize("path", ["/jobs", "/status", "/create_job"])
async def test_body_above_64_kib_is_refused(http: aiohttp.ClientSession, path: str) -> None:
    """A body of more than 64 KiB is 413, whether it says its length or not."""

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(65):
            yield b" " * 1024

    for body in (b" " * 65_537, chunks()):
        status, problem = await ask(http, "POST", path, data=body)
        assert (status, problem["code"]) == (413, "too_large")


async def test_compressed_body_counts_as_what_it_becomes(http: aiohttp.ClientSession) -> None:
    """A small body that unpacks to more than 64 KiB is refused like a big one."""
    bomb = gzip.compress(b" " * 10_000_000)
    headers = {"Content-Encoding": "gzip"}

    status, problem = await ask(http, "POST", "/jobs", data=bomb, headers=headers)

    assert len(bomb) < 65_536
    assert (status, problem["code"]) == (413, "too_large")


def test_body_that_does_not_arrive_is_not_waited_for() -> None:
    """On virtual time: a body that is announced and never sent is refused after 10 s."""

    async def main() -> tuple[bytes, float]:
        loop = asyncio.get_running_loop()
        async with Simulator() as sim:
            reader, writer = await asyncio.open_connection("127.0.0.1", sim.port)
            before = loop.time()
            writer.write(b"POST /jobs HTTP/1.1\r\nHost: simulator\r\nContent-Length: 9\r\n\r\n")
            answer = await reader.readuntil(b"}")
            writer.close()
            return answer, loop.time() - before

    answer, seconds = run(main)

    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"did not arrive within 10 s" in answer
    assert 10 <= seconds < 11


async def test_body_that_is_not_what_its_headers_say_is_refused(
    http: aiohttp.ClientSession, caplog: pytest.LogCaptureFixture
) -> None:
    """A body that does not unpack is the caller's mistake, and no failure of the server."""
    headers = {"Content-Encoding": "gzip", "Content-Type": "application/json"}

    status, problem = await ask(http, "POST", "/jobs", data=b"no gzip", headers=headers)

    assert (status, problem["code"]) == (400, "bad_request")
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


# -- reading one job ------------------------------------------------------------------------------


async def test_plain_result_is_pending_until_the_end(http: aiohttp.ClientSession) -> None:
    """A running job answers `pending` as its result and the truth as its state."""
    job_id = await make(http, STANDING)

    status, document = await ask(http, "GET", f"/status/{job_id}")

    assert status == 200
    assert (document["result"], document["state"]) == ("pending", "running")
    assert (document["version"], document["progress"]) == (2, 0.5)
    assert document["poll_after"] == 4.0


@pytest.mark.parametrize(
    ("script", "state", "result"),
    [(ENDED, "completed", "completed"), (FAILED, "error", "error")],
)
async def test_final_says_its_result(
    http: aiohttp.ClientSession, script: list[dict[str, Any]], state: str, result: str
) -> None:
    """A final status repeats its state as the result, and there is nothing to poll for."""
    job_id = await make(http, script)

    _, document = await ask(http, "GET", f"/status/{job_id}")

    assert (document["state"], document["result"]) == (state, result)
    assert "poll_after" not in document
    assert ("error" in document) == (state == "error")


@pytest.mark.parametrize(
    ("remaining", "expected"), [(None, 2.0), (0.0, 0.5), (5.0, 2.5), (1000.0, 30.0)]
)
def test_poll_after_is_half_of_what_remains(remaining: float | None, expected: float) -> None:
    """`poll_after` is half of the remaining time within 0.5 and 30 s, and 2 s without estimate."""
    status = Status(
        job_id="a",
        state="running",
        result="running",
        version=2,
        epoch="e",
        estimated_time_remaining=remaining,
    )

    assert poll_after(status) == expected
    assert poll_after(msgspec.structs.replace(status, state="canceled")) is None


async def test_etag_names_the_position(http: aiohttp.ClientSession) -> None:
    """The strong ETag is epoch and version; showing it again, weak or in a list, answers 304."""
    job_id = await make(http, STANDING)
    async with http.get(f"/status/{job_id}") as answer:
        tag = answer.headers["ETag"]
        document = await answer.json()
    assert tag == f'"{document["epoch"]}.{document["version"]}"'

    for known in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        async with http.get(f"/status/{job_id}", headers={"If-None-Match": known}) as answer:
            assert (answer.status, await answer.read()) == (304, b"")
            assert answer.headers["ETag"] == tag
    headers = {"If-None-Match": '"other"'}
    assert (await ask(http, "GET", f"/status/{job_id}", headers=headers))[0] == 200


async def test_wait_holds_until_the_tag_changes(http: aiohttp.ClientSession) -> None:
    """A long poll is held while nothing changes, and answered as soon as something does."""
    job_id = await make(http, STANDING)
    async with http.get(f"/status/{job_id}") as answer:
        headers = {"If-None-Match": answer.headers["ETag"]}

    async with asyncio.TaskGroup() as tasks:
        held = tasks.create_task(ask(http, "GET", f"/status/{job_id}?wait=25", headers=headers))
        await until_held(http, 1)
        await ask(http, "DELETE", f"/jobs/{job_id}")

    status, document = held.result()
    assert (status, document["state"], document["result"]) == (200, "canceled", "error")


async def test_wait_that_passes_is_304(http: aiohttp.ClientSession) -> None:
    """A long poll without news answers 304 once its time has passed, not before."""
    job_id = await make(http, STANDING)
    async with http.get(f"/status/{job_id}") as answer:
        headers = {"If-None-Match": answer.headers["ETag"]}
    loop = asyncio.get_running_loop()
    before = loop.time()

    status, _ = await ask(http, "GET", f"/status/{job_id}?wait=0.2", headers=headers)

    assert status == 304
    assert loop.time() - before >= 0.2


async def test_wait_holds_nothing_that_is_news_or_final(http: aiohttp.ClientSession) -> None:
    """A caller without a tag, and one who has the final, is answered at once."""
    standing, ended = await make(http, STANDING), await make(http, ENDED)
    async with http.get(f"/status/{ended}") as answer:
        headers = {"If-None-Match": answer.headers["ETag"]}

    async with asyncio.timeout(5):
        assert (await ask(http, "GET", f"/status/{standing}?wait=25"))[0] == 200
        assert (await ask(http, "GET", f"/status/{ended}?wait=25", headers=headers))[0] == 304


@pytest.mark.parametrize("wait", ["-1", "nan", "inf", "soon"])
async def test_bad_wait_is_refused(http: aiohttp.ClientSession, wait: str) -> None:
    """A wait that is no number of seconds is a problem document that says so."""
    job_id = await make(http, STANDING)

    status, problem = await ask(http, "GET", f"/status/{job_id}?wait={wait}")

    assert (status, problem["code"]) == (400, "bad_request")
    assert "?wait=" in problem["detail"]


async def test_caller_who_leaves_is_not_waited_for(http: aiohttp.ClientSession) -> None:
    """When the caller of a long poll hangs up, the server stops holding its answer."""
    job_id = await make(http, STANDING)
    body = {"epoch": (await ask(http, "GET", "/healthz"))[1]["epoch"], "jobs": {job_id: 2}}
    held = asyncio.create_task(ask(http, "POST", "/status", json={**body, "wait": 25}))
    await until_held(http, 1)

    held.cancel()

    await until_held(http, 0)


async def test_drain_ends_all_waiting(sim: Simulator, http: aiohttp.ClientSession) -> None:
    """A server that drains answers held reads, so that it can leave."""
    job_id = await make(http, STANDING)
    async with http.get(f"/status/{job_id}") as answer:
        headers = {"If-None-Match": answer.headers["ETag"]}

    async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
        held = tasks.create_task(ask(http, "GET", f"/status/{job_id}?wait=25", headers=headers))
        await until_held(http, 1)
        tasks.create_task(sim.drain(deadline=0.3))

    assert held.result()[0] == 304


@pytest.mark.parametrize("job_id", ["nobody", "..%2Fadmin", "a%0D%0AX-Evil:%20b", "%F0%9F%8E%AC"])
async def test_unknown_job_is_not_found(
    sim: Simulator, http: aiohttp.ClientSession, job_id: str
) -> None:
    """A job id that is unknown, and even one that can not exist, is a plain 404 with its code."""
    for method, path in [
        ("GET", f"/status/{job_id}"),
        ("DELETE", f"/jobs/{job_id}"),
        ("GET", f"/status/{job_id}/stream"),
    ]:
        url = URL(sim.url + path, encoded=True)
        async with http.request(method, url) as answer:
            problem = await answer.json(content_type="application/problem+json")
            assert (answer.status, problem["code"]) == (404, "not_found")
            assert "X-Evil" not in answer.headers


async def test_removed_job_is_gone(sim: Simulator, http: aiohttp.ClientSession) -> None:
    """A job of which only a tombstone is left answers 410, and `gone` in a bulk read."""
    sim.faults.add(Vanish(tombstone=True))
    job_id = await make(http, [{"at": 0, "state": "pending"}, {"at": 0.5, "state": "running"}])

    _, problem = await eventually(
        lambda: ask(http, "GET", f"/status/{job_id}"), lambda answer: answer[0] == 410
    )
    _, answer = await ask(http, "POST", "/status", json={"jobs": {job_id: 0}})

    assert (problem["code"], problem["job_id"]) == ("gone", job_id)
    assert answer["errors"] == {job_id: "gone"}


# -- the plain contract ---------------------------------------------------------------------------


async def test_status_without_job_is_the_default_job(http: aiohttp.ClientSession) -> None:
    """`GET /status` is one job, made at the first request, under its own id thereafter."""
    status, first = await ask(http, "GET", "/status")
    _, again = await ask(http, "GET", "/status")
    _, by_id = await ask(http, "GET", f"/status/{first['job_id']}")

    assert (status, first["result"]) == (200, "pending")
    assert first["job_id"] == again["job_id"] == by_id["job_id"]


async def test_default_job_completes() -> None:
    """The default job goes the way of every job."""
    async with Simulator(delay=0.05) as sim, session(sim) as http:
        _, document = await eventually(
            lambda: ask(http, "GET", "/status"), lambda answer: answer[1]["result"] != "pending"
        )
    assert document["result"] == "completed"


@pytest.mark.parametrize("body", [b"", b"{}", b'{"video_url": "u", "language": "Spanish"}'])
async def test_create_job_needs_nothing(http: aiohttp.ClientSession, body: bytes) -> None:
    """`POST /create_job` answers 200 with the id alone, whatever is left out."""
    status, answer = await ask(http, "POST", "/create_job", data=body)

    assert status == 200
    assert set(answer) == {"job_id"}
    assert (await ask(http, "GET", f"/status/{answer['job_id']}"))[1]["result"] == "pending"


async def test_create_job_makes_one_job(http: aiohttp.ClientSession) -> None:
    """`languages` is refused on the plain path, for its answer has room for one job."""
    status, problem = await ask(http, "POST", "/create_job", json={"languages": ["a", "b"]})

    assert (status, problem["code"]) == (400, "bad_request")
    assert "POST to /jobs" in problem["detail"]


# -- the service itself ---------------------------------------------------------------------------


async def test_health_says_ok_until_the_server_drains(
    sim: Simulator, http: aiohttp.ClientSession
) -> None:
    """`/healthz` is 200 with the epoch, and 503 with Retry-After while the server drains."""
    status, health = await ask(http, "GET", "/healthz")
    assert (status, health) == (200, {"status": "ok", "epoch": sim.epoch})

    async with asyncio.TaskGroup() as tasks:
        draining = tasks.create_task(sim.drain(deadline=0.5))
        await eventually(lambda: ask(http, "GET", "/healthz"), lambda answer: answer[0] == 503)
        async with http.get("/healthz") as answer:
            problem = await answer.json(content_type="application/problem+json")
            assert (answer.status, problem["code"]) == (503, "unavailable")
            assert int(answer.headers["Retry-After"]) >= 1
        order = {"video_url": VIDEO, "language": "Spanish"}
        assert (await ask(http, "POST", "/jobs", json=order))[0] == 503
        assert not draining.done()


async def test_metrics_count(http: aiohttp.ClientSession) -> None:
    """`/metrics` is Prometheus text in which jobs are counted."""
    await make(http, STANDING)
    await make(http, ENDED)

    async with http.get("/metrics") as answer:
        text = await answer.text()

    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert metric(text, "vtrans_jobs") == 2
    assert metric(text, "vtrans_open_jobs") == 1
    assert metric(text, "vtrans_jobs_created_total") == 2
    assert metric(text, "vtrans_versions_total") == 4


def test_exposition_is_prometheus_text() -> None:
    """A metric is three lines: its help, its type, its value."""
    assert exposition([Metric("vtrans_jobs", "gauge", "Jobs known.", 2)]) == (
        "# HELP vtrans_jobs Jobs known.\n# TYPE vtrans_jobs gauge\nvtrans_jobs 2\n"
    )
    assert exposition([Metric("x_total", "counter", "Many.", 123456789)]).endswith(" 123456789\n")


async def test_answers_are_not_for_caches(http: aiohttp.ClientSession) -> None:
    """No answer may be kept by a cache without asking; one with an ETag may be asked about."""
    job_id = await make(http, STANDING)
    async with http.get(f"/status/{job_id}") as answer:
        assert answer.headers["Cache-Control"] == "no-cache"
    for path in ("/jobs", "/status/nobody", "/nowhere"):
        async with http.get(path) as answer:
            assert answer.headers["Cache-Control"] == "no-store"


async def test_head_is_get_without_a_body(http: aiohttp.ClientSession) -> None:
    """HEAD answers what GET would, the body left out."""
    job_id = await make(http, STANDING)
    async with http.head(f"/status/{job_id}") as answer:
        assert (answer.status, await answer.read()) == (200, b"")
        assert "ETag" in answer.headers


async def test_unknown_path_and_method(http: aiohttp.ClientSession) -> None:
    """What the server does not have is `unknown_path`; a wrong method names the right ones."""
    status, problem = await ask(http, "GET", "/nowhere")
    assert (status, problem["code"]) == (404, "unknown_path")
    lists = ("/openapi.json", "docs/heygen.md", "docs/faults.md")  # each is held to the routes
    assert all(where in problem["detail"] for where in lists)

    async with http.put("/jobs") as answer:
        problem = await answer.json(content_type="application/problem+json")
        assert (answer.status, problem["code"]) == (405, "method_not_allowed")
        assert {"GET", "POST"} <= set(answer.headers["Allow"].replace(" ", "").split(","))
