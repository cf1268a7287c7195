"""REST on real sockets: bulk reads, lists, cancelling, keys (docs/protocol.md 4.4 to 4.6)."""

import asyncio
import json

import aiohttp
import pytest

from simulator import Simulator
from tests.simulator.rest_client import (
    ENDED,
    STANDING,
    VIDEO,
    ask,
    make,
    reach,
    session,
    until_held,
)

# -- reading many jobs ----------------------------------------------------------------------------


async def test_bulk_answers_only_what_is_newer(http: aiohttp.ClientSession) -> None:
    """A bulk read lists news, errors, and when to ask again, and is silent about the rest."""
    standing, ended = await make(http, STANDING), await make(http, ENDED)
    epoch = (await ask(http, "GET", "/healthz"))[1]["epoch"]

    status, answer = await ask(
        http,
        "POST",
        "/status",
        json={"epoch": epoch, "jobs": {standing: 2, ended: 1, "nobody": 0}},
    )

    assert status == 200
    assert [(event["job_id"], event["version"]) for event in answer["events"]] == [(ended, 2)]
    assert answer["events"][0]["final"] is True
    assert answer["errors"] == {"nobody": "not_found"}
    assert answer["epoch"] == epoch
    assert 2 < answer["poll_after"] < 4.0, "less than half of the estimate, which has grown old"


async def test_bulk_result_repeats_the_state(http: aiohttp.ClientSession) -> None:
    """On the native path `result` is the state itself, unlike on the plain ones."""
    job_id = await make(http, STANDING)

    _, answer = await ask(http, "POST", "/status", json={"jobs": {job_id: 0}})

    assert answer["events"][0]["result"] == "running"


async def test_bulk_of_unknown_jobs_is_no_404(http: aiohttp.ClientSession) -> None:
    """A bulk read answers 200 even if nothing in it is known, and names no time to ask again."""
    status, answer = await ask(http, "POST", "/status", json={"jobs": {"nobody": 3}})

    assert (status, answer["events"]) == (200, [])
    assert answer["errors"] == {"nobody": "not_found"}
    assert "poll_after" not in answer


async def test_bulk_mode_all_gives_the_history(http: aiohttp.ClientSession) -> None:
    """In mode `all` every kept version above the cursor comes, ascending."""
    job_id = await make(http, STANDING)

    _, answer = await ask(http, "POST", "/status", json={"mode": "all", "jobs": {job_id: 0}})

    assert [event["version"] for event in answer["events"]] == [1, 2]
    assert not any("gap" in event for event in answer["events"])


async def test_bulk_marks_what_is_no_longer_kept(http: aiohttp.ClientSession) -> None:
    """Of a history longer than the window, the event behind what was given up is marked `gap`."""
    steps = [{"at": 0, "state": "running", "progress": n / 100} for n in range(100)]
    job_id = await make(http, [*steps, {"at": 0, "state": "completed"}])

    _, answer = await ask(http, "POST", "/status", json={"mode": "all", "jobs": {job_id: 0}})

    versions = [event["version"] for event in answer["events"]]
    gaps = [event["version"] for event in answer["events"] if event.get("gap")]
    assert len(versions) == 64
    assert gaps == [
        later
        for earlier, later in zip([0, *versions], versions, strict=False)
        if later > earlier + 1
    ]
    assert len(gaps) == 1


@pytest.mark.parametrize("epoch", [None, "01OTHER"])
async def test_bulk_of_another_epoch_begins_anew(
    http: aiohttp.ClientSession, epoch: str | None
) -> None:
    """Cursors of another history, or of none, count as 0."""
    job_id = await make(http, STANDING)

    _, answer = await ask(http, "POST", "/status", json={"epoch": epoch, "jobs": {job_id: 2}})

    assert [event["version"] for event in answer["events"]] == [2]


async def test_bulk_wait_holds_until_there_is_news(http: aiohttp.ClientSession) -> None:
    """A bulk read with `wait` is answered by the first event of any of its jobs."""
    jobs = [await make(http, STANDING) for _ in range(3)]
    epoch = (await ask(http, "GET", "/healthz"))[1]["epoch"]
    body = {"epoch": epoch, "jobs": dict.fromkeys(jobs, 2), "wait": 25}

    async with asyncio.TaskGroup() as tasks:
        held = tasks.create_task(ask(http, "POST", "/status", json=body))
        await until_held(http, 1)
        await ask(http, "DELETE", f"/jobs/{jobs[1]}")

    _, answer = held.result()
    assert [(event["job_id"], event["state"]) for event in answer["events"]] == [
        (jobs[1], "canceled")
    ]


async def test_bulk_wait_that_passes_is_empty(http: aiohttp.ClientSession) -> None:
    """A bulk read without news is answered empty once its time has passed."""
    job_id = await make(http, STANDING)
    epoch = (await ask(http, "GET", "/healthz"))[1]["epoch"]
    loop = asyncio.get_running_loop()
    before = loop.time()

    body = {"epoch": epoch, "jobs": {job_id: 2}, "wait": 0.2}
    status, answer = await ask(http, "POST", "/status", json=body)

    assert loop.time() - before >= 0.2
    assert 2 < answer.pop("poll_after") < 4
    assert (status, answer) == (200, {"epoch": epoch, "events": []})


async def test_bulk_wait_does_not_hold_for_the_dead(http: aiohttp.ClientSession) -> None:
    """A bulk read of nothing, of finals, or with an error is answered at once."""
    ended, standing = await make(http, ENDED), await make(http, STANDING)
    epoch = (await ask(http, "GET", "/healthz"))[1]["epoch"]

    async with asyncio.timeout(5):
        for jobs in ({}, {ended: 2}, {standing: 2, "nobody": 0}):
            body = {"epoch": epoch, "jobs": jobs, "wait": 25}
            assert (await ask(http, "POST", "/status", json=body))[0] == 200


async def test_bulk_of_too_many_jobs_is_refused(http: aiohttp.ClientSession) -> None:
    """1,000 jobs can be read at once, 1,001 are 413."""
    thousand = {str(number): 0 for number in range(1000)}

    assert (await ask(http, "POST", "/status", json={"jobs": thousand}))[0] == 200
    status, problem = await ask(http, "POST", "/status", json={"jobs": {**thousand, "x": 0}})
    assert (status, problem["code"]) == (413, "too_large")


async def test_bulk_answer_of_a_mebibyte_goes_on(http: aiohttp.ClientSession) -> None:
    """An answer that would grow too big ends early, and asking on yields the rest, whole."""
    steps = [{"at": 0, "state": "running", "progress": n / 63} for n in range(63)]
    script = [*steps, {"at": 0, "state": "completed"}]
    order = {"video_url": VIDEO, "title": "t" * 500, "script": script}
    order["languages"] = [f"language {n}" for n in range(40)]
    _, created = await ask(http, "POST", "/jobs", json=order)
    cursors = {job["job_id"]: 0 for job in created["jobs"]}
    for job_id in cursors:
        await reach(http, job_id, 64)

    epoch = created["jobs"][0]["epoch"]
    answers = 0
    poll_again: float | None = 0.0
    while poll_again == 0.0:
        body = {"epoch": epoch, "mode": "all", "jobs": cursors}
        async with http.post("/status", json=body) as response:
            raw = await response.read()
        assert len(raw) < 1_200_000
        answer = json.loads(raw)
        for event in answer["events"]:
            assert event["version"] == cursors[event["job_id"]] + 1
            cursors[event["job_id"]] += 1
        poll_again = answer.get("poll_after")
        answers += 1

    assert set(cursors.values()) == {64}
    assert answers > 1


async def test_ids_in_the_query_read_many(http: aiohttp.ClientSession) -> None:
    """`GET /status?ids=` is the bulk read for a person with curl."""
    first, second = await make(http, STANDING), await make(http, ENDED)

    _, answer = await ask(http, "GET", f"/status?ids={first},{second},nobody")

    assert [event["job_id"] for event in answer["events"]] == [first, second]
    assert answer["errors"] == {"nobody": "not_found"}
    assert (await ask(http, "GET", "/status?ids="))[0] == 400


# -- lists, cancelling, keys ----------------------------------------------------------------------


async def test_list_in_pages_is_complete(http: aiohttp.ClientSession) -> None:
    """Following `next` shows every job once, oldest first, and the last page has none."""
    made = [await make(http, STANDING) for _ in range(5)]
    seen: list[str] = []
    path = "/jobs?limit=2"
    while True:
        _, page = await ask(http, "GET", path)
        seen += [job["job_id"] for job in page["jobs"]]
        if "next" not in page:
            break
        assert len(page["jobs"]) == 2
        path = f"/jobs?limit=2&after={page['next']}"

    assert seen == made


@pytest.mark.parametrize("limit", ["0", "1001", "-1", "ten", "1e2", "9" * 5000])
async def test_bad_limit_is_refused(http: aiohttp.ClientSession, limit: str) -> None:
    """A limit that is no number from 1 to 1,000 is refused."""
    status, problem = await ask(http, "GET", f"/jobs?limit={limit}")

    assert (status, problem["code"]) == (400, "bad_request")


async def test_cancel_is_final_and_idempotent(http: aiohttp.ClientSession) -> None:
    """Cancelling gives one more version, which stays; cancelling again shows the same."""
    job_id = await make(http, STANDING)

    first = await ask(http, "DELETE", f"/jobs/{job_id}")
    again = await ask(http, "DELETE", f"/jobs/{job_id}")

    assert first == again
    status, document = first
    assert (status, document["state"], document["version"]) == (200, "canceled", 3)
    assert document["result"] == "canceled"


async def test_cancel_leaves_a_final_as_it_is(http: aiohttp.ClientSession) -> None:
    """A job that has completed can not be canceled any more, and the answer shows that."""
    job_id = await make(http, ENDED)

    status, document = await ask(http, "DELETE", f"/jobs/{job_id}")

    assert (status, document["state"], document["version"]) == (200, "completed", 2)


async def test_jobs_of_another_key_are_unknown() -> None:
    """To another key a job does not exist, whichever way it asks."""
    async with (
        Simulator(api_keys=("mine", "yours")) as sim,
        session(sim, "mine") as mine,
        session(sim, "yours") as yours,
    ):
        job_id = await make(mine, STANDING)

        for method, path in [
            ("GET", f"/status/{job_id}"),
            ("GET", f"/status/{job_id}/stream"),
            ("DELETE", f"/jobs/{job_id}"),
        ]:
            status, problem = await ask(yours, method, path)
            assert (status, problem["code"]) == (404, "not_found")
        _, answer = await ask(yours, "POST", "/status", json={"jobs": {job_id: 0}})
        assert answer["errors"] == {job_id: "not_found"}
        assert (await ask(yours, "GET", "/jobs"))[1]["jobs"] == []
        assert (await ask(mine, "GET", f"/status/{job_id}"))[1]["state"] == "running"
        assert len((await ask(mine, "GET", "/jobs"))[1]["jobs"]) == 1
        _, answer = await ask(mine, "POST", "/status", json={"jobs": {job_id: 0}})
        assert len(answer["events"]) == 1
        assert (await ask(mine, "DELETE", f"/jobs/{job_id}"))[1]["state"] == "canceled"


async def test_idempotency_keys_of_two_callers_are_two() -> None:
    """An Idempotency-Key counts for one API key alone."""
    async with (
        Simulator(api_keys=("mine", "yours")) as keyed,
        session(keyed, "mine") as mine,
        session(keyed, "yours") as yours,
    ):
        headers = {"Idempotency-Key": "order-1"}
        order = {"video_url": VIDEO, "language": "Spanish"}
        _, first = await ask(mine, "POST", "/jobs", json=order, headers=headers)
        status, second = await ask(yours, "POST", "/jobs", json=order, headers=headers)

    assert status == 202
    assert first["jobs"][0]["job_id"] != second["jobs"][0]["job_id"]
