"""HeyGen's face: orders, reads, and what is refused. Each answer is checked against its schema."""

import asyncio
import re
from io import BytesIO
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from simulator import HeyGenOptions, Simulator
from simulator.faults import AuthExpire, BulkPartial, HttpStatus, Stale, Vanish
from tests.conformance.heygen_caller import PATH, VIDEO, Caller, order

PAGE = (Path(__file__).parents[2] / "docs" / "heygen.md").read_text(encoding="utf-8")
BATCHES = f"{PATH}/batches"
ACCOUNT = pytest.mark.virtual_simulator


@pytest.fixture
def sim(virtual_simulator: Simulator) -> Simulator:
    """Return a simulator on virtual time, whose jobs take 60 s."""
    return virtual_simulator


@pytest.fixture
def caller(sim: Simulator) -> Caller:
    """Return who asks."""
    return Caller(sim)


pytestmark = pytest.mark.virtual_simulator(delay=60)

# -- orders and one translation -------------------------------------------------------------------


async def test_an_order_makes_a_translation_for_each_language(caller: Caller) -> None:
    """The ids are plural, in the order of the languages, and siblings share a stem."""
    ids = await caller.new("Spanish (Spain)", "French", "de")

    stems, codes = zip(*(job_id.split("-", 1) for job_id in ids), strict=True)
    assert (len(set(stems)), codes) == (1, ("es-ES", "fr", "de"))
    languages = [(await caller.one(job_id))["output_language"] for job_id in ids]
    assert languages == ["Spanish (Spain)", "French", "de"]


async def test_life_of_a_translation(caller: Caller) -> None:
    """It is pending, runs and completes; URLs come with its end, and captions if ordered."""
    said = {"title": "Talk", "callback_id": "7", "input_language": "English"}
    plain, captioned = [
        (await caller.new(**said))[0],
        (await caller.new(enable_caption=True, **said))[0],
    ]
    told = [await caller.one(plain)]
    for wait in (10, 60):
        await asyncio.sleep(wait)
        told.append(await caller.one(plain))

    assert [one["status"] for one in told] == ["pending", "running", "completed"]
    assert [key for one in told for key in one if key.endswith("_url")] == ["video_url"]
    for one in told:
        assert {key: one[key] for key in said} == said
    assert "srt_caption_url" in await caller.one(captioned)


@pytest.mark.parametrize(
    ("word", "seconds", "message"),
    [
        ("audio", 61, "audio is missing or corrupted"),
        ("download", 1, "Failed to download video from url"),
        ("The+speaker+mumbles.", 61, "The speaker mumbles."),
    ],
)
async def test_the_address_of_a_video_steers(
    caller: Caller, word: str, seconds: float, message: str
) -> None:
    """A failure that the address asks for comes as a status of 200, with its message."""
    [job_id] = await caller.new(video=f"{VIDEO}?sim-failure={word}")
    await asyncio.sleep(seconds)
    told = await caller.one(job_id)
    _, bulk = await caller.ask("GET", f"{PATH}/statuses?video_translation_ids={job_id}", "statuses")

    assert told["status"] == "failed"
    assert message in told["failure_message"]
    assert message in bulk["data"][0]["error"]["message"]


async def test_the_address_of_a_video_says_how_long(caller: Caller) -> None:
    """A delay in the address counts more than that of the server."""
    [job_id] = await caller.new(video=f"{VIDEO}?sim-delay=2")
    await asyncio.sleep(2.5)
    assert (await caller.one(job_id))["status"] == "completed"


REFUSED: dict[str, tuple[dict[str, Any], str | None]] = {
    "no video": ({"output_languages": ["es"]}, "video"),
    "no languages": ({"video": {"type": "url", "url": VIDEO}}, "output_languages"),
    "an empty list": (order() | {"output_languages": []}, "output_languages"),
    "no such language": (order("Klingon"), "output_languages"),
    "a language twice": (order("Spanish", "es"), "output_languages"),
    "no URL": (order() | {"video": {"type": "url"}}, "video.url"),
    "no web address": (order(video="ftp://example.com/v"), "video.url"),
    "no such source": (order() | {"video": {"type": "base64"}}, "video.type"),
    "an empty asset": (order() | {"video": {"type": "asset_id", "asset_id": ""}}, "video.asset_id"),
    "a mode of v2": (order(mode="fast"), "mode"),
    "no boolean": (order(enable_caption="yes"), "enable_caption"),
    "no hook": (order(callback_url="example.com"), "callback_url"),
    "no delay": (order(video=f"{VIDEO}?sim-delay=soon"), "video.url"),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_orders_that_make_no_sense(sim: Simulator, caller: Caller, case: str) -> None:
    """Each is refused with the field that is to blame, and makes nothing."""
    body, param = REFUSED[case]
    assert await caller.refused("POST", PATH, json=body) == (400, "invalid_parameter", param)
    assert sim.jobs == {}


async def test_a_video_that_cannot_be_fetched(caller: Caller) -> None:
    """The order itself may be refused for its video, in v3 and in v2."""
    video = f"{VIDEO}?sim-failure=refused"
    old = {"video_url": video, "output_language": "Spanish"}

    assert await caller.refused("POST", PATH, json=order(video=video)) == (
        400,
        "download_failed",
        "video",
    )
    assert (await caller.refused("POST", "/v2/video_translate", json=old))[1] == "download_failed"


async def test_unknown_fields_and_assets_are_taken(caller: Caller) -> None:
    """What real clients send beside the known fields is ignored; any asset will do."""
    video = {"type": "asset_id", "asset_id": "whatever"}
    body = order() | {"video": video, "is_draft": True, "mode": "precision", "brand_voice_id": None}
    status, _ = await caller.ask("POST", PATH, "created", json=body)
    assert status == 200


# -- keys and the envelope ------------------------------------------------------------------------


@ACCOUNT(delay=60, api_keys=["right", "other"])
async def test_keys(sim: Simulator) -> None:
    """Missing, wrong and revoked keys get one and the same answer; both headers are understood."""
    sim.faults.add(AuthExpire(), match={"key": "other"})
    answers = [
        await Caller(sim, key).ask("GET", f"{PATH}/languages") for key in (None, "wrong", "other")
    ]
    assert [status for status, _ in answers] == [401, 401, 401]
    assert answers[0] == answers[1] == answers[2]
    bearer = {"Authorization": "Bearer right"}
    for one, headers in ((Caller(sim, "right"), {}), (Caller(sim, None), bearer)):
        assert (await one.ask("GET", f"{PATH}/languages", "languages", headers=headers))[0] == 200


async def test_any_key_will_do_but_one_must_be_shown(sim: Simulator) -> None:
    """Where no keys are configured every key is good, and none is not."""
    assert (await Caller(sim, "whatever").ask("GET", f"{PATH}/languages", "languages"))[0] == 200
    assert (await Caller(sim, None).refused("GET", f"{PATH}/languages"))[0] == 401


@ACCOUNT(delay=60, api_keys=["one", "two"])
async def test_translations_belong_to_their_keys(sim: Simulator) -> None:
    """Those of others are unknown, one by one, in bulk, in lists and in batches."""
    mine, other = Caller(sim, "one"), Caller(sim, "two")
    [job_id] = await mine.new()
    _, made = await mine.ask(
        "POST", BATCHES, "batch-created", json={"video_translations": [order()]}
    )
    batch_id = made["data"]["batch_id"]

    for method, rest in (("GET", job_id), ("DELETE", job_id), ("GET", f"batches/{batch_id}")):
        assert (await other.refused(method, f"{PATH}/{rest}"))[:2] == (404, "not_found")
    query = f"video_translation_ids={job_id}&batch_ids={batch_id}"
    _, bulk = await other.ask("GET", f"{PATH}/statuses?{query}", "statuses")
    assert [line["status"] for line in bulk["data"]] == ["not_found", "not_found"]
    assert (await other.ask("GET", PATH, "list"))[1]["data"] == []
    assert (await other.refused("GET", f"{PATH}?token={job_id}"))[2] == "token"


async def test_whatever_refuses_speaks_heygens_words(sim: Simulator, caller: Caller) -> None:
    """Faults, methods and sizes are refused in the envelope, and each answer has its own number."""
    sim.faults.add(HttpStatus(status=503, retry_after=2), match={"path": f"{PATH}/x"})
    sim.faults.add(HttpStatus(status=429), match={"path": "/v2/*"})
    huge = BytesIO(b" " * 1_100_000)

    assert (await caller.refused("GET", f"{PATH}/x"))[:2] == (503, "internal_error")
    assert caller.headers["Retry-After"] == "2"
    assert (await caller.refused("GET", "/v2/video_translate/x"))[1] == "rate_limit_exceeded"
    assert (await caller.refused("PUT", PATH))[:2] == (405, "method_not_allowed")
    assert (await caller.refused("POST", PATH, data=huge))[:2] == (413, "payload_too_large")
    assert (await caller.refused("POST", PATH, data="{"))[:2] == (400, "invalid_parameter")
    assert len(set(caller.request_ids)) == 5


async def test_every_path_is_written_down(sim: Simulator) -> None:
    """The page about HeyGen lists each path and its methods, and none that is not there."""
    written = {
        (path, method)
        for path, methods in re.findall(r"^\| `(/[^`]+)`.* \| (`[A-Z].*`) \|$", PAGE, re.MULTILINE)
        for method in re.findall("[A-Z]+", methods)
    }
    served = {
        (route.resource.canonical, route.method)
        for route in sim.routes
        if route.resource is not None and route.method != "HEAD"
    }
    assert written == {(path, method) for path, method in served if is_of_this_face(path)}


def is_of_this_face(path: str) -> bool:
    """Tell whether a path is one of HeyGen's, or of its files."""
    return path.startswith(("/v2/", "/v3/", "/files/"))


async def test_a_path_that_is_none_is_answered_bare(sim: Simulator) -> None:
    """Nobody can take a wrong path for a translation that is unknown."""
    async with (
        aiohttp.ClientSession() as http,
        http.get(f"{sim.url}/v3/video-translation/x", headers={"X-Api-Key": "k"}) as answer,
    ):
        assert (answer.status, answer.content_type) == (404, "text/plain")


# -- lists, titles, deletion ----------------------------------------------------------------------


async def test_list_goes_page_by_page(caller: Caller) -> None:
    """Every translation is on one page, in order; a deleted one is on none."""
    ids = await caller.new("Spanish", "French", "German", "Italian", "Polish")
    await caller.ask("DELETE", f"{PATH}/{ids[1]}", "deleted")
    seen, path = [], f"{PATH}?limit=2"
    while True:
        _, page = await caller.ask("GET", path, "list")
        seen += [one["id"] for one in page["data"]]
        if not page["has_more"]:
            break
        path = f"{PATH}?limit=2&token={page['next_token']}"

    assert seen == [ids[0], *ids[2:]]
    _, rest = await caller.ask("GET", f"{PATH}?token={ids[1]}", "list")
    assert [one["id"] for one in rest["data"]] == ids[2:], "deleted since the page before"
    assert (await caller.refused("GET", f"{PATH}?token=none"))[1:] == ("invalid_parameter", "token")
    for limit in ("0", "101", "x"):
        assert (await caller.refused("GET", f"{PATH}?limit={limit}"))[2] == "limit"


async def test_titles_change(caller: Caller) -> None:
    """A translation gets another title while it runs and once it has ended, and that stays."""
    [job_id] = await caller.new(title="First")
    for title in ("Second", "Third"):
        _, told = await caller.ask(
            "PATCH", f"{PATH}/{job_id}", "translation", json={"title": title}
        )
        assert told["data"]["title"] == title
        await asyncio.sleep(61)
    assert (await caller.one(job_id))["title"] == "Third"
    assert (await caller.refused("PATCH", f"{PATH}/{job_id}", json={}))[2] == "title"
    assert (await caller.refused("PATCH", f"{PATH}/none", json={"title": "x"}))[0] == 404


async def test_deleted_translations_are_gone(sim: Simulator, caller: Caller) -> None:
    """One that is open ends for those who watch it elsewhere; here both are unknown afterwards."""
    [done] = await caller.new()
    await asyncio.sleep(61)
    [running] = await caller.new()
    for job_id in (done, running):
        _, told = await caller.ask("DELETE", f"{PATH}/{job_id}", "deleted")
        assert told == {"data": {"id": job_id}}
        assert (await caller.refused("GET", f"{PATH}/{job_id}"))[:2] == (404, "not_found")
        assert (await caller.refused("DELETE", f"{PATH}/{job_id}"))[0] == 404
    assert [sim.jobs[job_id].state for job_id in (done, running)] == ["completed", "canceled"]


# -- many at once ---------------------------------------------------------------------------------


async def test_bulk_reads(caller: Caller) -> None:
    """Each id gets its line, in the order of the question, in words of its own and without URLs."""
    [done] = await caller.new(video=f"{VIDEO}?sim-delay=1")
    await asyncio.sleep(10)
    [running] = await caller.new()
    await asyncio.sleep(5)
    [queued] = await caller.new()
    path = f"{PATH}/statuses?video_translation_ids={queued},none,{done},{running}"
    _, bulk = await caller.ask("GET", path, "statuses")

    assert [(line["video_id"], line["status"]) for line in bulk["data"]] == [
        (queued, "queued"),
        ("none", "not_found"),
        (done, "completed"),
        (running, "processing"),
    ]
    many = ",".join(f"id-{number}" for number in range(101))
    for query in ("", "?video_translation_ids=", f"?video_translation_ids={many}"):
        refused = await caller.refused("GET", f"{PATH}/statuses{query}")
        assert refused == (400, "invalid_parameter", "video_translation_ids")


async def test_batches(caller: Caller) -> None:
    """A batch has an item for each language, and one bad source spoils nothing else."""
    orders = [
        order("Spanish", "French", video=f"{VIDEO}?sim-delay=5"),
        order(video=f"{VIDEO}?sim-failure=refused"),
        order("German"),
    ]
    body = {"video_translations": orders, "title": "Talks"}
    status, made = await caller.ask("POST", BATCHES, "batch-created", json=body)
    path = f"{BATCHES}/{made['data']['batch_id']}"
    await asyncio.sleep(6)
    _, first = await caller.ask("GET", f"{path}?limit=3", "batch")
    _, rest = await caller.ask("GET", f"{path}?token={first['data']['next_token']}", "batch")
    await asyncio.sleep(60)
    _, end = await caller.ask("GET", path, "batch")

    assert (status, first["data"]["title"], first["data"]["total_items"]) == (202, "Talks", 4)
    items = first["data"]["items"] + rest["data"]["items"]
    words = ["completed", "completed", "failed", "processing"]
    assert [(one["item_index"], one["status"]) for one in items] == list(enumerate(words))
    assert items[2]["error"]["code"] == "download_failed"
    assert first["data"]["counts_by_status"] == {"completed": 2, "failed": 1, "processing": 1}
    assert (first["data"]["status"], end["data"]["status"]) == ("processing", "completed")


async def test_batches_in_a_bulk_read(caller: Caller) -> None:
    """A batch stands for its items, which carry their place in it; pages go on where one ends."""
    many = [order("Spanish", "French", "German", "Italian", "Polish") for _ in range(20)]
    ids = []
    for _ in range(2):
        _, made = await caller.ask(
            "POST", BATCHES, "batch-created", json={"video_translations": many}
        )
        ids.append(made["data"]["batch_id"])
    path = f"{PATH}/statuses?batch_ids={','.join(ids)}"
    _, first = await caller.ask("GET", path, "statuses")
    _, rest = await caller.ask("GET", f"{path}&token={first['next_token']}", "statuses")

    places = [(one["batch_id"], one["item_index"]) for one in first["data"] + rest["data"]]
    assert places == [(batch_id, index) for batch_id in ids for index in range(100)]
    assert rest["has_more"] is False


async def test_batches_that_make_no_sense(sim: Simulator, caller: Caller) -> None:
    """More than a hundred items, none, and an item that does not fit are refused as a whole."""
    cases = [
        ([], "video_translations"),
        ([order("Spanish", "French")] * 51, "video_translations"),
        ([order(), order("Klingon")], "video_translations[1].output_languages"),
        ([order(), {}], "video_translations[1].video"),
    ]
    for orders, param in cases:
        refused = await caller.refused("POST", BATCHES, json={"video_translations": orders})
        assert refused == (400, "invalid_parameter", param)
    private = {"video_translations": [order()], "callback_url": "http://10.0.0.1/"}
    assert (await caller.refused("POST", BATCHES, json=private))[2] == "callback_url"
    assert sim.jobs == {}


# -- repeated orders ------------------------------------------------------------------------------


@pytest.mark.virtual_time(time_limit=2 * 86_400)
async def test_repeated_orders_make_nothing_new(sim: Simulator, caller: Caller) -> None:
    """With the same key the same body gets the same answer, another one a conflict, for a day."""
    key = {"Idempotency-Key": "order-1"}
    answers = []
    for wait in (0, 23 * 3600, 2 * 3600):
        await asyncio.sleep(wait)
        told = await caller.ask("POST", PATH, "created", json=order(), headers=key)
        answers.append(told[1])
        assert (await caller.refused("POST", PATH, json=order("French"), headers=key))[
            1
        ] == "conflict"

    assert answers[0] == answers[1] != answers[2]


async def test_a_batch_is_repeatable(sim: Simulator, caller: Caller) -> None:
    """The same key brings the same batch; on another path it conflicts."""
    key = {"Idempotency-Key": "batch:1"}
    body = {"video_translations": [order()]}
    answers = [
        await caller.ask("POST", BATCHES, "batch-created", json=body, headers=key) for _ in range(2)
    ]
    assert answers[0] == answers[1]
    assert len(sim.jobs) == 1
    assert (await caller.refused("POST", PATH, json=order(), headers=key))[1] == "conflict"


async def test_refused_orders_are_not_remembered(caller: Caller) -> None:
    """A key is free again after an order that was refused; some keys are none."""
    key = {"Idempotency-Key": "order-1"}
    assert (await caller.refused("POST", PATH, json=order("Klingon"), headers=key))[0] == 400
    assert (await caller.ask("POST", PATH, "created", json=order(), headers=key))[0] == 200
    for bad in ("", "with space", "x" * 256):
        refused = await caller.refused("POST", PATH, json=order(), headers={"Idempotency-Key": bad})
        assert refused == (400, "invalid_parameter", "Idempotency-Key")


async def test_an_order_in_flight_keeps_its_key(sim: Simulator, caller: Caller) -> None:
    """While the body of one is on its way, another with the same key is asked to wait."""
    reader, writer = await asyncio.open_connection("127.0.0.1", sim.port)
    head = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nX-Api-Key: k\r\nIdempotency-Key: a\r\n"
    writer.write(f"{head}Content-Length: 999\r\n\r\n{{".encode())
    await asyncio.sleep(1)
    key = {"Idempotency-Key": "a"}

    assert (await caller.refused("POST", PATH, json=order(), headers=key))[:2] == (
        409,
        "request_in_progress",
    )
    writer.close()
    await asyncio.sleep(1)
    assert (await caller.ask("POST", PATH, "created", json=order(), headers=key))[0] == 200
    assert await reader.read() == b""


# -- the account ----------------------------------------------------------------------------------


@ACCOUNT(delay=60, heygen=HeyGenOptions(concurrency=3))
async def test_cap_of_open_translations(caller: Caller) -> None:
    """Beyond the cap orders are refused until one has ended, which Retry-After foresees."""
    await caller.new("Spanish", "French")
    await asyncio.sleep(20)
    await caller.new()
    for path, body in (
        (PATH, order()),
        ("/v2/video_translate", {"video_url": VIDEO, "output_language": "Spanish"}),
    ):
        refused = await caller.refused("POST", path, json=body)
        assert refused == (429, "rate_limit_exceeded", None)
    wait = int(caller.headers["Retry-After"])
    assert wait == pytest.approx(40, abs=2)
    await caller.ask("POST", BATCHES, "batch-created", json={"video_translations": [order()]})
    await asyncio.sleep(wait + 1)
    await caller.new()


async def test_the_usual_cap_is_ten(caller: Caller) -> None:
    """The eleventh order is refused."""
    for _ in range(10):
        await caller.new()
    assert (await caller.refused("POST", PATH, json=order()))[0] == 429


@ACCOUNT(delay=60, heygen=HeyGenOptions(concurrency=0, quota=12))
async def test_no_cap_and_a_quota(caller: Caller) -> None:
    """0 lifts the cap; a quota counts all translations, and asks nobody to come again."""
    for _ in range(12):
        await caller.new()
    await asyncio.sleep(100)
    assert await caller.refused("POST", PATH, json=order()) == (429, "quota_exceeded", None)
    assert "Retry-After" not in caller.headers


@ACCOUNT(delay=60, heygen=HeyGenOptions(strict=False))
async def test_extras_on_demand(sim: Simulator) -> None:
    """A face that is not strict tells of progress, which HeyGen's does not."""
    [status] = await sim.create()
    await asyncio.sleep(30)
    async with (
        aiohttp.ClientSession(headers={"X-Api-Key": "k"}) as http,
        http.get(f"{sim.url}{PATH}/{status.job_id}") as answer,
    ):
        told = (await answer.json())["data"]
    assert told["progress"] == pytest.approx(0.5, abs=0.1)
    assert told["estimated_time_remaining"] == pytest.approx(30, abs=4)


# -- v2 -------------------------------------------------------------------------------------------

OLD = "/v2/video_translate"


async def test_v2_tells_of_the_same_translations(caller: Caller) -> None:
    """Its words are its own, and nulls are there; what one face orders the other knows."""
    body = {"video_url": f"{VIDEO}?sim-delay=5", "output_language": "Spanish", "mode": "fast"}
    _, made = await caller.ask("POST", OLD, "v2-created", json=body)
    job_id = made["data"]["video_translate_id"]
    await asyncio.sleep(2)
    _, running = await caller.ask("GET", f"{OLD}/{job_id}", "v2-translation")
    await asyncio.sleep(5)
    _, done = await caller.ask("GET", f"{OLD}/{job_id}", "v2-translation")
    several = {"video_url": f"{VIDEO}?sim-failure=download", "output_languages": ["es", "fr"]}
    _, failing = await caller.ask("POST", OLD, "v2-created", json=several)
    await asyncio.sleep(1)
    path = f"{OLD}/{failing['data']['video_translate_ids'][1]}"
    _, failed = await caller.ask("GET", path, "v2-translation")

    assert [told["data"]["status"] for told in (running, done, failed)] == [
        "running",
        "success",
        "failed",
    ]
    assert (await caller.one(job_id))["status"] == "completed"
    assert (await caller.refused("GET", f"{OLD}/none"))[:2] == (404, "not_found")
    body = {"video_url": VIDEO}
    assert (await caller.refused("POST", OLD, json=body))[2] == "output_language"


@ACCOUNT(heygen=HeyGenOptions(legacy_v2="deprecated"))
async def test_v2_may_be_deprecated(caller: Caller) -> None:
    """It works, and says until when."""
    await caller.ask("GET", f"{OLD}/target_languages", "v2-languages")
    assert caller.headers["Sunset"].endswith("2026 00:00:00 GMT")


@ACCOUNT(heygen=HeyGenOptions(legacy_v2="retired"))
async def test_v2_may_be_retired(caller: Caller) -> None:
    """Nothing of it works any more, and v3 does."""
    for method, path in (("GET", f"{OLD}/target_languages"), ("POST", OLD), ("GET", f"{OLD}/x")):
        assert (await caller.refused(method, path))[:2] == (410, "gone")
    await caller.new()


# -- what lasts -----------------------------------------------------------------------------------


@pytest.mark.parametrize("lost", ["none", "all"])
async def test_restarts(sim: Simulator, caller: Caller, lost: Any) -> None:
    """What the face remembers survives a restart, unless the jobs do not."""
    key = {"Idempotency-Key": "a"}
    first = await caller.ask("POST", PATH, "created", json=order(), headers=key)
    job_id = first[1]["data"]["video_translation_ids"][0]
    await caller.ask("PATCH", f"{PATH}/{job_id}", "translation", json={"title": "New"})
    await sim.restart(lose_state=lost)
    again = await caller.ask("POST", PATH, "created", json=order(), headers=key)

    if lost == "none":
        assert again == first
        assert (await caller.one(job_id))["title"] == "New"
    else:
        assert again != first
        assert (await caller.refused("GET", f"{PATH}/{job_id}"))[0] == 404


@ACCOUNT(heygen=HeyGenOptions(concurrency=1), delay=60)
async def test_a_restart_that_loses_some_jobs_loses_no_remark(
    sim: Simulator, caller: Caller
) -> None:
    """What was deleted stays so, what is open still counts, and what was ordered is not again."""
    [deleted] = await caller.new()
    await asyncio.sleep(61)
    assert (await caller.one(deleted))["status"] == "completed"
    await caller.ask("DELETE", f"{PATH}/{deleted}", "deleted")
    key = {"Idempotency-Key": "a"}
    first = await caller.ask("POST", PATH, "created", json=order(), headers=key)
    await sim.restart(lose_state=0.1)

    assert (await caller.refused("GET", f"{PATH}/{deleted}"))[0] == 404
    assert await caller.ask("POST", PATH, "created", json=order(), headers=key) == first
    assert (await caller.refused("POST", PATH, json=order()))[0] == 429


async def test_faults_of_jobs_and_reads_show_here_too(sim: Simulator, caller: Caller) -> None:
    """A job that vanishes is unknown, an old read shows what was, and bulk reads may lack some."""
    [old] = await caller.new()
    await asyncio.sleep(10)
    sim.faults.add(Stale(versions_back=64), count=1)
    assert [(await caller.one(old))["status"] for _ in range(2)] == ["pending", "running"]
    sim.faults.add(Vanish(tombstone=True))
    await asyncio.sleep(10)
    assert (await caller.refused("GET", f"{PATH}/{old}"))[:2] == (404, "not_found")
    sim.faults.heal()
    ids = await caller.new("Spanish", "French", "German", "Italian")
    sim.faults.add(BulkPartial(fraction=0.5))
    path = f"{PATH}/statuses?video_translation_ids={','.join(ids)}"
    assert len((await caller.ask("GET", path, "statuses"))[1]["data"]) == 2
