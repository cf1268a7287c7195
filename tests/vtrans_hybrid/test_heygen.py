"""The HeyGen dialect, against messages written by hand from what its API is known to say."""

import json
import math
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vtrans_hybrid.dialect import (
    AddEndpoint,
    Answer,
    Cancel,
    Delete,
    EventHistory,
    Languages,
    ListEndpoints,
    ListJobs,
    Operation,
    Read,
    ReadDefault,
    RemoveEndpoint,
    Request,
    Response,
    Submit,
)
from vtrans_hybrid.errors import (
    AuthError,
    InvalidRequest,
    JobNotFound,
    ProtocolError,
    QuotaExceeded,
    RateLimited,
    ServerError,
    Unavailable,
    Unsupported,
    VtransError,
)
from vtrans_hybrid.heygen import HeyGen, HeyGenLegacy
from vtrans_hybrid.merge import Record, number
from vtrans_hybrid.models import Failure, State

GOLDEN = Path(__file__).parent.parent / "golden" / "heygen"
JOB = "0123456789abcdef0123456789abcdef-es"
OTHER = "0123456789abcdef0123456789abcdef-fr"
VIDEO = "https://example.com/talk.mp4"
ONE = Read(jobs={JOB: 0})
TWO = Read(jobs={JOB: 0, OTHER: 0})
ORDER = Submit(video=VIDEO, languages=("Spanish",), key="key-1")
V3, V2 = HeyGen(), HeyGenLegacy()


def golden(name: str) -> Any:
    """Return a golden message."""
    return json.loads((GOLDEN / f"{name}.json").read_text(encoding="utf-8"))


def said(document: object, status: int = 200, **headers: str) -> Response:
    """Return an answer with a JSON document, or with the text given."""
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return Response(status=status, headers=headers, body=body)


def one(**fields: object) -> Answer:
    """Decipher the answer about one job."""
    return V3.decipher(ONE, said({"data": {"id": JOB, "status": "running", **fields}}))


def refused(document: object, status: int, operation: Operation = ONE, **headers: str) -> Exception:
    """Return the error that an answer leads to."""
    with pytest.raises(VtransError) as caught:
        V3.decipher(operation, said(document, status, **headers))
    return caught.value


def body_of(request: Request) -> Any:
    """Return the document that a request carries."""
    assert request.headers["content-type"] == "application/json"
    return json.loads(request.body or b"")


# Orders.


@pytest.mark.parametrize("name", ["create-request", "create-request-many", "create-request-asset"])
def test_an_order_is_written_as_the_api_wants_it(name: str) -> None:
    """Videos are objects, languages a list, options fields of their own."""
    wanted = golden(name)
    video, languages = wanted["video"], wanted["output_languages"]
    options = {k: v for k, v in wanted.items() if k not in {"video", "output_languages"}}
    order = Submit(
        video=video.get("url") or video["asset_id"],
        languages=tuple(languages),
        options=options,
        key="key-1",
    )
    request = V3.request(order)

    assert (request.method, request.path) == ("POST", "/v3/video-translations")
    assert request.headers["idempotency-key"] == "key-1"
    assert body_of(request) == wanted


@pytest.mark.parametrize("name", ["v2-create-request", "v2-create-request-many"])
def test_an_order_of_version_2(name: str) -> None:
    """The old version has a plain URL, and another field for one language than for many."""
    wanted = golden(name)
    languages = wanted.get("output_languages") or [wanted["output_language"]]
    known = {"video_url", "output_language", "output_languages"}
    options = {k: v for k, v in wanted.items() if k not in known}
    order = Submit(
        video=wanted["video_url"], languages=tuple(languages), options=options, key="key-1"
    )

    assert V2.request(order).path == "/v2/video_translate"
    assert body_of(V2.request(order)) == wanted


@pytest.mark.parametrize(("mode", "sent"), [("speed", "fast"), ("precision", "quality")])
def test_the_modes_of_version_2_have_other_names(mode: str, sent: str) -> None:
    """An application says the same word whichever version it uses."""
    order = Submit(video=VIDEO, languages=("Spanish",), options={"mode": mode}, key="k")

    assert body_of(V2.request(order))["mode"] == sent
    assert body_of(V3.request(order))["mode"] == mode


@pytest.mark.parametrize("name", ["create-answer-many", "v2-create-answer-many"])
def test_an_order_of_many_languages_makes_a_job_of_each(name: str) -> None:
    """The jobs stand in the order of the languages."""
    order = Submit(video=VIDEO, languages=("Spanish", "French"), key="k")
    dialect = V2 if name.startswith("v2") else V3
    statuses = dialect.decipher(order, said(golden(name))).statuses

    assert [(s.job_id, s.language) for s in statuses] == [(JOB, "Spanish"), (OTHER, "French")]
    assert {s.state for s in statuses} == {State.PENDING}


@pytest.mark.parametrize(
    "data",
    [
        {"video_translation_ids": [JOB]},
        {"video_translate_ids": [JOB]},
        {"video_translate_id": JOB},
        {"video_translation_id": JOB},
        {"video_translate_id": JOB, "video_translate_ids": None},
    ],
    ids=lambda data: "+".join(data),
)
@pytest.mark.parametrize("dialect", [V3, V2], ids=repr)
def test_the_id_of_a_new_job_has_many_names(dialect: HeyGen | HeyGenLegacy, data: object) -> None:
    """Every form that was seen is understood."""
    [status] = dialect.decipher(ORDER, said({"error": None, "data": data})).statuses

    assert status.job_id == JOB


@pytest.mark.parametrize(
    "data",
    [{}, {"video_translation_ids": []}, {"video_translation_ids": [JOB, OTHER]}, {"id": JOB}, None],
    ids=str,
)
def test_another_number_of_jobs_than_languages_is_an_error(data: object) -> None:
    """Nobody guesses which job is for which language."""
    assert isinstance(refused({"data": data}, 200, ORDER), ProtocolError)


def test_an_id_that_is_none_is_an_error() -> None:
    """What will be put into a path is checked first."""
    data = {"video_translation_ids": ["../secrets"]}

    assert "no id" in str(refused({"data": data}, 200, ORDER))


# Reads.


def test_one_job_is_read_by_its_id() -> None:
    """A read of one job asks for that job."""
    assert V3.request(ONE).path == f"/v3/video-translations/{JOB}"
    assert V2.request(ONE).path == f"/v2/video_translate/{JOB}"


def test_many_jobs_are_read_together() -> None:
    """A read of many jobs names them in the URL."""
    path = V3.request(TWO).path

    assert path == f"/v3/video-translations/statuses?video_translation_ids={JOB},{OTHER}"
    most = Read(jobs={f"{n:032x}-es" + "x" * 20: 0 for n in range(100)})
    assert len(V3.request(most).path) < 8000, "servers take no longer URL"


@pytest.mark.parametrize(
    ("name", "state"),
    [
        ("translation-pending", State.PENDING),
        ("translation-running", State.RUNNING),
        ("translation-completed", State.COMPLETED),
        ("translation-failed", State.ERROR),
        ("translation-minimal", None),
        ("v2-translation-pending", State.PENDING),
        ("v2-translation-running", State.RUNNING),
        ("v2-translation-success", State.COMPLETED),
        ("v2-translation-failed", State.ERROR),
    ],
)
def test_golden_jobs(name: str, state: State | None) -> None:
    """Each golden job is read as what it says, and kept as it came."""
    document = golden(name)
    answer = (V2 if name.startswith("v2") else V3).decipher(ONE, said(document))
    [status] = answer.statuses

    assert status.job_id == JOB
    assert state is None or status.state == state
    assert (status.result_url is not None) == (status.state == State.COMPLETED)
    assert (status.error is not None) == (status.state == State.ERROR)
    assert status.raw == document["data"]
    assert status.version == 0
    assert not answer.hearsay


def test_what_a_completed_job_says() -> None:
    """Language, time and result have fields; the rest is in `raw`."""
    [status] = V3.decipher(ONE, said(golden("translation-completed"))).statuses

    assert status.language == "Spanish"
    assert status.created_at == datetime(2026, 1, 1, tzinfo=UTC)
    assert status.result_url is not None
    assert status.result_url.endswith("video.mp4?Expires=1767830400&Signature=0f0e0d0c")
    assert status.raw is not None
    assert status.raw["callback_id"] == "order-7"


WORDS = {
    State.PENDING: ["pending", "queued", "waiting"],
    State.RUNNING: ["running", "processing"],
    State.COMPLETED: ["completed", "success", "succeeded"],
    State.ERROR: ["failed"],
}


@pytest.mark.parametrize(
    ("state", "word"), [(state, word) for state, words in WORDS.items() for word in words]
)
@pytest.mark.parametrize("change", [str.lower, str.upper, str.title])
def test_status_words(state: State, word: str, change: Any) -> None:
    """Every word of every place and version is understood, whatever its case."""
    [status] = one(status=change(word), video_url="https://x/y").statuses

    assert status.state == state


def test_a_new_word_is_data_and_no_end() -> None:
    """A word that nobody knows is shown and never final."""
    [status] = one(status="dubbing").statuses

    assert status.state == "dubbing"
    assert not status.is_final
    assert status.raw == {"id": JOB, "status": "dubbing"}


@pytest.mark.parametrize("field", ["failure_message", "failure_reason", "message", "msg", "error"])
def test_why_a_job_failed_is_said_in_many_places(field: str) -> None:
    """The text is found wherever it stands."""
    [status] = one(status="failed", **{field: "no audio"}).statuses

    assert status.error == Failure(message="no audio")


def test_why_a_job_failed_may_be_an_object() -> None:
    """The code of a failure is kept, too."""
    [status] = one(status="failed", error={"code": 40, "message": "no audio"}).statuses

    assert status.error == Failure(code="40", message="no audio")


@pytest.mark.parametrize("field", ["video_url", "url", "audio_url"])
def test_an_end_with_a_result_is_whole(field: str) -> None:
    """An order for the sound alone has no video."""
    answer = one(status="completed", **{field: "https://x/y"})

    assert not answer.hearsay
    assert answer.statuses[0].result_url == "https://x/y"


@pytest.mark.parametrize("url", [None, ""])
def test_an_end_without_its_result_is_hearsay(url: str | None) -> None:
    """The word may come before the URL, so the job is read again."""
    assert list(one(status="completed", video_url=url).hearsay) == [JOB]
    assert not one(status="failed").hearsay


def test_a_result_before_the_end_is_none() -> None:
    """A URL counts only once the job is completed."""
    assert one(status="running", video_url="https://x/y").statuses[0].result_url is None


def test_an_url_signed_anew_is_no_update() -> None:
    """Every read signs the URL again, and nothing else has happened."""
    first = one(status="running", title="a", thumbnail="https://x?Signature=1").statuses[0]
    again = one(status="running", title="a", thumbnail="https://x?Signature=2").statuses[0]
    record = Record(JOB)
    record.status = number(record, first, 1.0)

    assert number(record, again, 2.0) is None


def test_a_read_of_many_that_leaves_the_language_out_is_no_update() -> None:
    """What a short answer does not repeat has not changed."""
    record = Record(JOB)
    record.status = number(record, one(output_language="Spanish").statuses[0], 1.0)
    short = V3.decipher(TWO, said({"data": [{"video_id": JOB, "status": "processing"}]}))

    assert number(record, short.statuses[0], 2.0) is None
    failed = one(status="failed").statuses[0]
    ended = number(record, failed, 3.0)
    assert ended is not None
    assert ended.language == "Spanish", "what was known of it stays known"


def test_what_a_read_of_many_leaves_open() -> None:
    """Ends, misses and jobs that are not mentioned are left to a read of each alone."""
    ids = {n: f"{n * 32}-es" for n in "012345"}
    answer = V3.decipher(Read(jobs=dict.fromkeys(ids.values(), 0)), said(golden("statuses-answer")))

    assert {s.job_id: s.state for s in answer.statuses} == {
        ids["0"]: State.PENDING,
        ids["1"]: State.RUNNING,
        ids["2"]: State.COMPLETED,
        ids["3"]: State.ERROR,
    }
    assert {job_id: type(error) for job_id, error in answer.errors.items()} == {
        ids["4"]: JobNotFound
    }
    assert set(answer.hearsay) == {ids["2"], ids["3"], ids["4"], ids["5"]}


def test_a_read_of_many_ignores_what_was_not_asked() -> None:
    """Items without an id, or with one of somebody else, mean nothing."""
    items = [{"status": "completed"}, {"video_id": "x", "status": "completed"}, 7]
    answer = V3.decipher(TWO, said({"data": items}))

    assert (answer.statuses, answer.errors) == ([], {})
    assert set(answer.hearsay) == {JOB, OTHER}


@pytest.mark.parametrize("status", [None, "", {}, []])
def test_a_read_of_many_in_which_one_makes_no_sense(status: object) -> None:
    """An item without a status is as good as none; the others are read as ever."""
    items = [{"video_id": JOB, "status": status}, {"video_id": OTHER, "status": "processing"}]
    answer = V3.decipher(TWO, said({"data": items}))

    assert [status.job_id for status in answer.statuses] == [OTHER]
    assert list(answer.hearsay) == [JOB]


# Refusals.


@pytest.mark.parametrize(
    ("name", "status", "kind", "is_retryable"),
    [
        ("error-invalid-parameter", 400, InvalidRequest, False),
        ("error-download-failed", 400, InvalidRequest, False),
        ("error-unauthorized", 401, AuthError, False),
        ("error-insufficient-credit", 402, QuotaExceeded, False),
        ("error-not-found", 404, JobNotFound, False),
        ("error-request-in-progress", 409, Unavailable, True),
        ("error-conflict", 409, InvalidRequest, False),
        ("error-payload-too-large", 413, InvalidRequest, False),
        ("error-rate-limit-exceeded", 429, RateLimited, True),
        ("error-quota-exceeded", 429, QuotaExceeded, False),
        ("error-internal-error", 500, Unavailable, True),
    ],
)
def test_golden_refusals(
    name: str, status: int, kind: type[ServerError], is_retryable: bool
) -> None:
    """Each refusal leads to the error that says what it means and whether to try again."""
    document = golden(name)
    error = refused(document, status, **{"retry-after": "7", "x-request-id": "r-1"})

    assert type(error) is kind
    assert error.retryable == is_retryable
    assert (error.status, error.code) == (status, document["error"]["code"])
    assert (error.retry_after, error.request_id) == (7.0, "r-1")
    assert document["error"]["message"] in str(error)


def test_a_rejected_field_is_named() -> None:
    """The message says which field of the order is wrong."""
    assert "output_languages: " in str(refused(golden("error-invalid-parameter"), 400, ORDER))


def test_a_limit_of_resources_is_a_quota() -> None:
    """Waiting does not help against it, though the status says so."""
    error = {"code": "resource_limit_reached", "message": "no more"}

    assert isinstance(refused({"error": error}, 429, ORDER), QuotaExceeded)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("unauthorized", AuthError),
        ("forbidden", AuthError),
        ("insufficient_credit", QuotaExceeded),
        ("quota_exceeded", QuotaExceeded),
        ("rate_limit_exceeded", RateLimited),
        ("invalid_parameter", InvalidRequest),
        ("resource_not_found", JobNotFound),
        ("internal_error", Unavailable),
        ("brand_new", Unavailable),
        (None, Unavailable),
    ],
)
@pytest.mark.parametrize("dialect", [V3, V2], ids=repr)
def test_an_error_inside_a_good_answer(
    dialect: HeyGen | HeyGenLegacy, code: str | None, kind: type[ServerError]
) -> None:
    """An error counts before whatever else the answer says, even that a job is completed."""
    data = {"id": JOB, "status": "completed", "video_url": "https://x/y"}
    answer = said({"error": {"code": code, "message": "oh"}, "data": data})

    with pytest.raises(kind, match="oh"):
        dialect.decipher(ONE, answer)


def test_an_error_may_be_a_text() -> None:
    """Where there is only a sentence, it is shown."""
    assert "try later" in str(refused({"error": "try later", "data": None}, 200))


@pytest.mark.parametrize("status", [404, 410])
@pytest.mark.parametrize("body", [b"<html>nginx</html>", b"", b"{}", b"[]", b'{"detail": "no"}'])
def test_a_bare_404_is_no_proof(status: int, body: bytes) -> None:
    """Without HeyGen's envelope it comes from a wrong host or path, and says nothing of the job."""
    error = refused(body, status)

    assert isinstance(error, ProtocolError)
    assert "base_url" in str(error)


def test_something_else_than_a_job_that_is_not_there() -> None:
    """An order that names an unknown folder is wrong, and the operation exists."""
    error = refused(golden("error-not-found"), 404, ORDER)

    assert type(error) is InvalidRequest
    assert not error.retryable


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_gateways_answer_html(status: int) -> None:
    """The page of a gateway passes."""
    assert type(refused(b"<html>Bad Gateway</html>", status)) is Unavailable


@pytest.mark.parametrize("body", [b"<html>Sign in</html>", b"", b"[1]", b"null", b'"completed"'])
def test_a_good_answer_without_sense(body: bytes) -> None:
    """A captive portal does not complete a job."""
    assert isinstance(refused(body, 200), ProtocolError)


@pytest.mark.parametrize("data", [None, [], {}, {"status": None}, {"status": 7.5}, "completed"])
def test_an_answer_without_a_status(data: object) -> None:
    """Without a word there is no status."""
    assert isinstance(refused({"data": data}, 200), ProtocolError)


def test_version_2_may_be_gone() -> None:
    """What to do when the old paths answer no more is said."""
    with pytest.raises(ProtocolError) as caught:
        V2.decipher(ONE, said(b"gone", 410))

    assert caught.value.__notes__ == ['version 2 may be switched off: use api_version="v3"']


@pytest.mark.parametrize("operation", [ONE, ORDER, Languages()])
def test_version_2_that_is_gone_takes_no_job_along(operation: Operation) -> None:
    """A job that version 3 still knows is not said to be unknown, or it would be ordered again."""
    retired = {"error": {"code": "gone", "message": "v2 was retired"}}
    with pytest.raises(Unsupported, match='api_version="v3"'):
        V2.decipher(operation, said(retired, 410))


# Lists, languages, deletion.


def test_a_page_of_jobs() -> None:
    """A list has whole statuses, and says where it goes on."""
    assert V3.request(ListJobs(limit=2, token="t 1")).path == (
        "/v3/video-translations?limit=2&token=t+1"
    )
    assert V3.request(ListJobs()).path == "/v3/video-translations"
    page = V3.decipher(ListJobs(), said(golden("list-answer")))
    assert [status.job_id for status in page.statuses] == [JOB]
    assert page.next_token == "token-1"


@pytest.mark.parametrize("name", ["list-answer-last", "list-answer-empty"])
def test_the_last_page_of_jobs(name: str) -> None:
    """The last page leads nowhere."""
    assert V3.decipher(ListJobs(), said(golden(name))).next_token == ""


@pytest.mark.parametrize(
    ("dialect", "name", "path"),
    [
        (V3, "languages-answer", "/v3/video-translations/languages"),
        (V2, "v2-languages-answer", "/v2/video_translate/target_languages"),
    ],
    ids=["v3", "v2"],
)
def test_languages(dialect: HeyGen | HeyGenLegacy, name: str, path: str) -> None:
    """Languages are names."""
    assert dialect.request(Languages()).path == path
    named = dialect.decipher(Languages(), said(golden(name))).languages
    assert named == golden(name)["data"]["languages"]
    assert isinstance(refused({"data": {}}, 200, Languages()), ProtocolError)


def test_deletion_leaves_a_tombstone() -> None:
    """Whoever watches a job that is deleted learns of it."""
    request = V3.request(Delete(job_id=JOB))
    assert (request.method, request.path) == ("DELETE", f"/v3/video-translations/{JOB}")
    [status] = V3.decipher(Delete(job_id=JOB), said(golden("delete-answer"))).statuses
    assert (status.job_id, status.gone) == (JOB, True)
    assert isinstance(refused(golden("error-not-found"), 404, Delete(job_id=JOB)), JobNotFound)


# Webhooks.


def test_an_endpoint_is_added() -> None:
    """What it is to be told of are ends, unless something else is asked for; its secret is kept."""
    request = V3.request(AddEndpoint(url="https://me.example/hook"))
    assert request.path == "/v3/webhooks/endpoints"
    assert body_of(request) == {
        "url": "https://me.example/hook",
        "events": ["video_translate.success", "video_translate.fail"],
    }
    data = {"endpoint_id": "e-1", "url": "https://me.example/hook", "secret": "whsec_1"}
    [endpoint] = V3.decipher(AddEndpoint(url="x"), said({"data": data})).endpoints
    assert (endpoint.endpoint_id, endpoint.secret) == ("e-1", "whsec_1")
    assert "whsec" not in repr(endpoint)
    assert "hook" not in repr(AddEndpoint(url="https://me.example/hook"))


@pytest.mark.parametrize("wrap", [lambda items: items, lambda items: {"endpoints": items}])
def test_endpoints_are_listed_and_removed(wrap: Any) -> None:
    """A list may be the data, or stand in it."""
    items = [{"endpoint_id": "e-1", "url": "https://me.example/hook"}]
    answer = V3.decipher(ListEndpoints(), said({"data": wrap(items)}))
    assert [(e.endpoint_id, e.url, e.secret) for e in answer.endpoints] == [
        ("e-1", "https://me.example/hook", "")
    ]
    request = V3.request(ListEndpoints(limit=5, token="t"))
    assert request.path == "/v3/webhooks/endpoints?limit=5&token=t"
    more = said({"data": items, "has_more": True, "next_token": "t2"})
    assert V3.decipher(ListEndpoints(), more).next_token == "t2"
    request = V3.request(RemoveEndpoint(endpoint_id="e-1"))
    assert (request.method, request.path) == ("DELETE", "/v3/webhooks/endpoints/e-1")
    assert V3.decipher(RemoveEndpoint(endpoint_id="e-1"), said({"data": {}})) == Answer()


def test_the_history_of_webhooks() -> None:
    """Past events say which jobs had news, and when."""
    event = {
        "event_id": "ev-1",
        "event_type": "video_translate.success",
        "event_data": {"video_translate_id": JOB},
        "created_at": 1767225600,
    }
    document = {"data": [event, {"event_data": {}}], "has_more": True, "next_token": "t"}
    answer = V3.decipher(EventHistory(), said(document))
    first, second = answer.happenings

    assert (
        V3.request(EventHistory(limit=5, token="t")).path == "/v3/webhooks/events?limit=5&token=t"
    )
    assert (first.event_id, first.job_ids, first.created_at) == ("ev-1", (JOB,), 1767225600.0)
    assert (second.event_id, second.job_ids, second.created_at) == ("", (), None)
    assert answer.next_token == "t"


# What there is not, and what may come.


@pytest.mark.parametrize("operation", [Cancel(job_id=JOB), ReadDefault()], ids=repr)
@pytest.mark.parametrize("dialect", [V3, V2], ids=repr)
def test_what_the_api_cannot_do(dialect: HeyGen | HeyGenLegacy, operation: Operation) -> None:
    """Nothing is sent that would mean nothing there."""
    assert not dialect.capabilities.offers(operation)
    with pytest.raises(Unsupported):
        dialect.request(operation)


@pytest.mark.parametrize("operation", [ListJobs(), Delete(job_id=JOB), EventHistory()], ids=repr)
def test_what_version_2_cannot_do(operation: Operation) -> None:
    """The old version has neither lists nor deletion nor endpoints."""
    assert not V2.capabilities.offers(operation)
    with pytest.raises(Unsupported):
        V2.request(operation)


def test_what_the_api_wants_to_be_known_of_it() -> None:
    """The facts that the rest of the client goes by."""
    assert V3.capabilities.max_bulk == 100
    assert V3.capabilities.push_path is None
    assert V3.capabilities.repeats_orders
    assert not V2.capabilities.repeats_orders
    assert V2.capabilities.max_bulk == 1
    assert (V3.fallback, V2.fallback) == (None, None)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(
            st.text()
            | st.sampled_from(
                [
                    "data",
                    "error",
                    "status",
                    "code",
                    "message",
                    "video_id",
                    "created_at",
                    "languages",
                ]
            ),
            inner,
        )
    ),
    max_leaves=10,
)


@given(document=anything, status=st.sampled_from([200, 202, 301, 400, 401, 404, 409, 429, 500]))
def test_nothing_else_than_our_errors(document: object, status: int) -> None:
    """Whatever JSON comes, the answer is an `Answer` or one of our errors."""
    operations = (ONE, TWO, ORDER, ListJobs(), Languages(), ListEndpoints(), EventHistory())
    for operation in (*operations, AddEndpoint(url="x")):
        with suppress(VtransError):
            assert isinstance(V3.decipher(operation, said(document, status)), Answer)


@pytest.mark.parametrize(
    ("said_at", "expected"),
    [
        (1767225600, 1767225600.0),
        (1767225600.5, 1767225600.5),
        ("2026-01-01T00:00:00Z", 1767225600.0),
        ("2026-01-01T02:00:00.500+02:00", 1767225600.5),
        ("2026-01-01 00:00:00", 1767225600.0),
        ("soon", None),
        ("9999-12-31T23:59:59-01:00", None),
        (1e300, None),
        (-1, None),
        (True, None),
        (None, None),
    ],
)
def test_times(said_at: object, expected: float | None) -> None:
    """A time is in Unix seconds or a date, which is of UTC where it does not say; or it is none."""
    job = {"data": {"id": JOB, "status": "running", "created_at": said_at}}
    event = {"data": [{"event_id": "ev-1", "created_at": said_at}]}

    [status] = V3.decipher(ONE, said(job)).statuses
    [happening] = V3.decipher(EventHistory(), said(event)).happenings

    assert happening.created_at == expected
    assert (None if status.created_at is None else status.created_at.timestamp()) == expected


@given(created_at=st.floats() | st.integers() | st.text() | st.booleans())
def test_any_time_of_creation(created_at: object) -> None:
    """A time that cannot be is none."""
    body = json.dumps({"data": {"id": JOB, "status": "running", "created_at": created_at}})
    if isinstance(created_at, float) and not math.isfinite(created_at):
        return
    [status] = V3.decipher(ONE, said(body.encode())).statuses

    assert status.created_at is None or status.created_at.tzinfo is UTC


@pytest.mark.parametrize("created_at", [10**400, -(10**400), 10**18, 1e300])
def test_numbers_beyond_any_time(created_at: float) -> None:
    """JSON knows whole numbers of any size; they are not taken for times, and break nothing."""
    [status] = one(created_at=created_at).statuses
    event = {"event_data": {"video_translate_id": JOB}, "created_at": created_at}
    [happening] = V3.decipher(EventHistory(), said({"data": [event]})).happenings

    assert status.created_at is None
    assert happening.created_at is None
