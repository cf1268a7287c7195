"""The client's side of the golden messages, the plain contract, and whatever is neither."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.vtrans_hybrid.samples import GARBAGE, golden, names
from vtrans_hybrid.dialect import (
    Answer,
    Cancel,
    Delete,
    Languages,
    ListJobs,
    Operation,
    Read,
    ReadDefault,
    Response,
    Submit,
)
from vtrans_hybrid.errors import (
    AuthError,
    InvalidRequest,
    JobNotFound,
    ProtocolError,
    RateLimited,
    ServerError,
    Unavailable,
    Unsupported,
    VtransError,
)
from vtrans_hybrid.models import JobStatus, Source
from vtrans_hybrid.wire import DEFAULT_JOB, Native, Plain, job_error

EPOCH = "01JD0000000000000000000000"
JSON = {"content-type": "application/json"}
ORDER = Submit(
    video="https://example.com/talk.mp4",
    languages=("Spanish", "German"),
    options={"title": "Talk", "delay": "3:10", "error_probability": 0.1},
    key="key-1",
)
ONE = Submit(video="https://example.com/talk.mp4", languages=("Spanish",), key="key-1")


def answer(body: bytes | str, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Return an HTTP answer."""
    data = body if isinstance(body, bytes) else body.encode()
    return Response(status=status, headers=JSON if headers is None else headers, body=data)


# What the client writes.


@pytest.mark.parametrize(
    ("name", "operation"),
    [
        ("bulk-request-all", Read(jobs={"job-1": 0}, epoch=EPOCH, wants_all=True)),
        ("bulk-request-first", Read(jobs={"job-1": 0})),
        ("create-request-many", ORDER),
    ],
)
def test_requests_are_written(name: str, operation: Operation) -> None:
    """Each request body of the client is the JSON value of its golden file."""
    body = Native().request(operation).body

    assert body is not None
    assert json.loads(body) == json.loads(golden(name))


def test_bulk_reads_do_not_hang() -> None:
    """The client's reads are those of the golden file, but answered at once: without `wait`."""
    expected = json.loads(golden("bulk-request-latest"))
    del expected["wait"]

    body = Native().request(Read(jobs={"job-1": 2, "job-2": 0}, epoch=EPOCH)).body

    assert body is not None
    assert json.loads(body) == expected


def test_orders_carry_their_key() -> None:
    """An order has an idempotency key, and options cannot replace what was ordered."""
    order = Submit(video="v", languages=("Spanish",), options={"video_url": "x"}, key="key-1")

    native, plain = Native().request(order), Plain().request(order)

    for request in (native, plain):
        assert request.method == "POST"
        assert request.headers["idempotency-key"] == "key-1"
        assert request.body is not None
        assert json.loads(request.body)["video_url"] == "v"
    assert (native.path, plain.path) == ("/jobs", "/create_job")


@pytest.mark.parametrize(
    ("dialect", "operation", "method", "path"),
    [
        (Native(), Read(jobs={"a": 0}), "POST", "/status"),
        (Native(), ReadDefault(), "GET", "/status"),
        (Native(), Cancel(job_id="a:1"), "DELETE", "/jobs/a:1"),
        (Native(), ListJobs(), "GET", "/jobs"),
        (Native(), ListJobs(limit=5, token="a:1"), "GET", "/jobs?limit=5&after=a%3A1"),
        (Plain(), Read(jobs={"a": 0}), "GET", "/status/a"),
        (Plain(), Read(jobs={DEFAULT_JOB: 0}), "GET", "/status"),
        (Plain(), ReadDefault(), "GET", "/status"),
    ],
)
def test_paths(dialect: Native | Plain, operation: Operation, method: str, path: str) -> None:
    """Each operation goes where docs/protocol.md says."""
    request = dialect.request(operation)

    assert (request.method, request.path) == (method, path)


@pytest.mark.parametrize("job_id", ["../admin", "a/b", "a\r\nb", ""])
def test_paths_are_safe(job_id: str) -> None:
    """No job id leads a request astray."""
    with pytest.raises(ValueError, match="no job id"):
        Native().request(Cancel(job_id=job_id))
    with pytest.raises(ValueError, match="no job id"):
        Plain().request(Read(jobs={job_id: 0}))


@pytest.mark.parametrize(
    ("dialect", "operation", "words"),
    [
        (Plain(), Cancel(job_id="a"), "cancel a job"),
        (Plain(), ListJobs(), "list jobs"),
        (Native(), Languages(), "list its languages"),
        (Native(), Delete(job_id="a"), "delete a job"),
    ],
)
def test_what_there_is_not(dialect: Native | Plain, operation: Operation, words: str) -> None:
    """An operation that a backend does not have is not sent."""
    assert not dialect.capabilities.offers(operation)
    with pytest.raises(Unsupported, match=words):
        dialect.request(operation)


@pytest.mark.parametrize("name", ["list-answer", "list-answer-last"])
def test_pages_of_jobs_are_read(name: str) -> None:
    """A page has whole statuses, and says where the next one begins."""
    document = json.loads(golden(name))
    page = Native().decipher(ListJobs(), answer(golden(name)))

    assert [(s.job_id, s.version) for s in page.statuses] == [
        (job["job_id"], job["version"]) for job in document["jobs"]
    ]
    assert page.next_token == document.get("next", "")


def test_fallbacks() -> None:
    """After the native dialect comes the plain one, and after that nothing."""
    assert isinstance(Native().fallback, Plain)
    assert Plain().fallback is None
    assert Native.capabilities.push_path == "/events"
    assert Plain.capabilities.push_path is None


# What the client reads.


@pytest.mark.parametrize("name", names("status-"))
def test_statuses_are_read(name: str) -> None:
    """Each status document becomes a status."""
    document = json.loads(golden(name))

    answered = Native().decipher(Cancel(job_id="job-1"), answer(golden(name)))

    [status] = answered.statuses
    assert status.state == document["state"]
    assert status.position == (document["epoch"], document["version"])
    assert status.progress == document.get("progress")
    assert status.is_final is (document["state"] in {"completed", "error", "canceled"})
    assert (None if status.error is None else status.error.code) == (
        document["error"]["code"] if "error" in document else None
    )
    assert status.source is Source.POLL
    if "created_at" in document:
        assert status.created_at is not None
        assert status.created_at.year == 2026


def test_orders_are_answered() -> None:
    """The answer to an order has one status a language, in their order."""
    answered = Native().decipher(ORDER, answer(golden("create-answer"), 202))

    assert [(s.job_id, s.language) for s in answered.statuses] == [
        ("job-1", "Spanish"),
        ("job-2", "German"),
    ]


@pytest.mark.parametrize("name", names("bulk-answer-"))
def test_bulk_answers_are_read(name: str) -> None:
    """A bulk answer has its statuses, errors, epoch and hint."""
    document = json.loads(golden(name))

    answered = Native().decipher(Read(jobs={"job-1": 0, "job-2": 0}), answer(golden(name)))

    assert answered.epoch == document["epoch"]
    assert answered.poll_after == document.get("poll_after")
    assert [(s.job_id, s.version, s.gap) for s in answered.statuses] == [
        (e["job_id"], e["version"], e.get("gap", False)) for e in document["events"]
    ]
    assert all(status.source is Source.POLL for status in answered.statuses)
    assert set(answered.errors) == set(document.get("errors", {}))
    assert all(isinstance(error, JobNotFound) for error in answered.errors.values())


@pytest.mark.parametrize("place", ["answer", "status"])
@pytest.mark.parametrize("epoch", ["0", "Z"])
def test_an_answer_that_speaks_of_two_histories_is_damaged(place: str, epoch: str) -> None:
    """The epoch of a bulk answer is that of each status in it, or nothing of it counts."""
    document = json.loads(golden("bulk-answer-latest"))
    (document if place == "answer" else document["events"][-1])["epoch"] = epoch

    with pytest.raises(ProtocolError, match="of another"):
        Native().decipher(Read(jobs={"job-1": 0}), answer(json.dumps(document)))


@pytest.mark.parametrize("tag", ['"E.3"', 'W/"E.3"', '"D.2"', '"v1.3-gzip"', '"3"', "E.3", ""])
def test_a_tag_that_says_the_same_or_something_else(tag: str) -> None:
    """A tag that is none of docs/protocol.md section 4.3 is nobody's business."""
    body = '{"result": "x", "version": 3, "epoch": "E"}'

    [status] = Plain().decipher(Read(jobs={"a": 0}), answer(body, headers={"etag": tag})).statuses

    assert status.position == ("E", 3)


@pytest.mark.parametrize("tag", ['"D.3"', 'W/"Z.3"'])
def test_a_tag_that_speaks_of_another_history(tag: str) -> None:
    """A status that comes alone must be of the epoch in its tag, or one of the two is damaged."""
    body = '{"result": "x", "version": 3, "epoch": "E"}'

    with pytest.raises(ProtocolError, match="its tag of another"):
        Plain().decipher(Read(jobs={"a": 0}), answer(body, headers={"etag": tag}))


PROBLEMS = {
    "problem-bad-request": InvalidRequest,
    "problem-conflict": InvalidRequest,
    "problem-forbidden": AuthError,
    "problem-gone": JobNotFound,
    "problem-internal": Unavailable,
    "problem-method-not-allowed": Unsupported,
    "problem-not-found": JobNotFound,
    "problem-rate-limited": RateLimited,
    "problem-too-large": InvalidRequest,
    "problem-unauthorized": AuthError,
    "problem-unavailable": Unavailable,
    "problem-unknown-path": Unsupported,
}


@pytest.mark.parametrize("name", names("problem-"))
def test_problems_are_read(name: str) -> None:
    """Each problem document becomes the error of its kind, with all that it says."""
    document = json.loads(golden(name))

    with pytest.raises(ServerError) as caught:
        Native().decipher(
            Cancel(job_id="job-9"), answer(golden(name), document["status"], headers={})
        )

    assert type(caught.value) is PROBLEMS[name]
    assert caught.value.code == document["code"]
    assert document["detail"] in str(caught.value)
    assert caught.value.retry_after == document.get("retry_after")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>502 Bad Gateway</html>",
        b"[]",
        b'{"code":5,"detail":["x"],"title":null,"retry_after":"soon"}',
        b'{"detail":{"a":1}}',
        b"\xff",
        b"[" * 100_000,
    ],
)
def test_errors_need_no_problem_document(body: bytes) -> None:
    """A proxy's error page is as good as a problem document: the status says enough."""
    with pytest.raises(Unavailable) as caught:
        Native().decipher(Read(jobs={"a": 0}), answer(body, 502, {"content-type": "text/html"}))

    assert caught.value.code == ""
    assert caught.value.retry_after is None


@pytest.mark.parametrize(
    ("code", "kind", "retryable"),
    [
        ("not_found", JobNotFound, False),
        ("gone", JobNotFound, False),
        ("unavailable", Unavailable, True),
        ("internal", Unavailable, True),
        ("rate_limited", RateLimited, True),
        ("forbidden", AuthError, False),
        ("something", ServerError, False),
    ],
)
def test_errors_of_one_job(code: str, kind: type[ServerError], retryable: bool) -> None:
    """What is said of one job among many is an error of the same kind as a refusal."""
    error = job_error("job-1", code)

    assert type(error) is kind
    assert error.retryable is retryable
    assert error.job_id == "job-1"


# The plain contract.


@pytest.mark.parametrize("name", [n for n in names("plain-") if n != "plain-create-answer"])
def test_plain_answers_are_read(name: str) -> None:
    """On the plain paths of a native server `state` tells the truth, and versions count.

    Why a job has ended is told of one that was canceled as well.
    """
    document = json.loads(golden(name))

    [status] = Plain().decipher(Read(jobs={"job-1": 0}), answer(golden(name))).statuses

    assert status.state == document["state"]
    assert status.position == (document["epoch"], document["version"])
    said = None if status.error is None else msgspec.to_builtins(status.error)
    assert said == document.get("error")


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ('{"result": "pending"}', {"state": "pending"}),
        ('{"result": "completed"}', {"state": "completed"}),
        ('{"status": "processing"}', {"state": "running"}),
        ('{"status": 200, "result": "error"}', {"state": "error"}),
        ('{"result": "x", "estimated_time_remaining": 3}', {"estimated_time_remaining": 3.0}),
        ('{"result": "x", "estimated_time_remaining": "3.5"}', {"estimated_time_remaining": 3.5}),
        ('{"result": "x", "estimated_time_remaining": "soon"}', {"estimated_time_remaining": None}),
        ('{"result": "x", "estimated_time_remaining": true}', {"estimated_time_remaining": None}),
        ('{"result": "x", "progress": null}', {"progress": None}),
        ('{"result": "x", "result_url": 5}', {"result_url": None}),
        # a version without an epoch names no place: it may be that of the API
        ('{"result": "x", "version": 3}', {"version": 0, "epoch": ""}),
        ('{"result": "x", "version": "1.2", "epoch": "E"}', {"version": 0, "epoch": ""}),
        ('{"result": "x", "version": -1, "epoch": "E"}', {"version": 0, "epoch": ""}),
        ('{"result": "x", "version": 3, "epoch": "E"}', {"version": 3, "epoch": "E"}),
        # what came before it can not be asked for
        ('{"result": "x", "version": 3, "epoch": "E"}', {"gap": True}),
        ('{"result": "x", "version": 1, "epoch": "E"}', {"gap": False}),
        ('{"result": "x"}', {"gap": False}),
        # the answer is about the job that was asked for, whatever it calls it
        ('{"result": "x", "job_id": 17}', {"job_id": "job-1"}),
    ],
)
def test_plain_servers_may_say_little(body: str, expected: dict[str, object]) -> None:
    """Only the word counts; the rest may be missing or of any type."""
    [status] = Plain().decipher(Read(jobs={"job-1": 0}), answer(body)).statuses

    assert {name: getattr(status, name) for name in expected} == expected
    assert status.source is Source.POLL


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        ('"no speech"', "", "no speech"),
        ('{"code": "E5", "message": "no speech"}', "E5", "no speech"),
        ('{"code": 500}', "500", ""),
        ('{"message": 5}', "", ""),
    ],
)
def test_plain_failures(error: str, code: str, message: str) -> None:
    """Why a job failed may be a text or an object, and is there only when it failed."""
    failed = Plain().decipher(Read(jobs={"a": 0}), answer(f'{{"result":"error","error":{error}}}'))
    running = Plain().decipher(
        Read(jobs={"a": 0}), answer(f'{{"result":"pending","error":{error}}}')
    )

    failure = failed.statuses[0].error
    assert failure is not None
    assert (failure.code, failure.message) == (code, message)
    assert running.statuses[0].error is None


def test_plain_failure_by_message() -> None:
    """`message` explains a failure, too; a failure without a word is one all the same."""
    said = Plain().decipher(Read(jobs={"a": 0}), answer('{"result":"error","message":"m"}'))
    silent = Plain().decipher(Read(jobs={"a": 0}), answer('{"result":"error","error":[1]}'))

    assert said.statuses[0].error is not None
    assert said.statuses[0].error.message == "m"
    assert silent.statuses[0].error is None
    assert silent.statuses[0].is_final


@pytest.mark.parametrize(
    ("dialect", "body", "job_id"),
    [
        (Plain(), '{"result": "pending"}', DEFAULT_JOB),
        (Plain(), '{"result": "pending", "job_id": "job-7"}', "job-7"),
        (Plain(), '{"result": "pending", "job_id": 7}', "7"),
        (Native(), '{"result": "pending"}', DEFAULT_JOB),
        (Native(), '{"result": "pending", "job_id": "job-7", "state": "running"}', "job-7"),
        (Native(), '{"result": "done", "job_id": "job-7", "state": "Success"}', "job-7"),
    ],
)
def test_the_default_job(dialect: Native | Plain, body: str, job_id: str) -> None:
    """The default job has its real name, if the server tells it."""
    [status] = dialect.decipher(ReadDefault(), answer(body)).statuses

    assert status.job_id == job_id
    assert status.is_final is ("Success" in body)


@pytest.mark.parametrize(
    ("body", "job_id"), [(golden("plain-create-answer"), "job-1"), (b'{"job_id": 17}', "17")]
)
def test_plain_orders_are_answered(body: bytes, job_id: str) -> None:
    """A plain server answers an order with the job's id, be it a number."""
    [status] = Plain().decipher(ONE, answer(body)).statuses

    assert (status.job_id, status.language, status.version) == (job_id, "Spanish", 0)


@pytest.mark.parametrize("body", ['{"job_id": "../x"}', '{"job_id": ""}', '{"job_id": "a b"}'])
def test_servers_cannot_lead_us_astray(body: str) -> None:
    """An id that cannot be one is the server's error, not the caller's."""
    native = body.replace("}", ', "state": "pending", "version": 1, "epoch": "E"}')
    with pytest.raises(ProtocolError, match="no job id"):
        Plain().decipher(ONE, answer(body))
    with pytest.raises(ProtocolError, match="no job id"):
        Native().decipher(ONE, answer(f'{{"jobs": [{native}]}}'))
    with pytest.raises(ProtocolError, match="no job id"):
        Native().decipher(ReadDefault(), answer(native))
    with pytest.raises(ProtocolError, match="no job id"):
        Plain().decipher(ReadDefault(), answer(body.replace("}", ', "result": "x"}')))


def test_unknown_plain_jobs() -> None:
    """404 means an unknown job, and where it is no JSON perhaps a wrong base_url."""
    with pytest.raises(JobNotFound) as json_said:
        Plain().decipher(Read(jobs={"a": 0}), answer("{}", 404))
    with pytest.raises(JobNotFound) as html_said:
        Plain().decipher(Read(jobs={"a": 0}), answer("<html>", 404, {"content-type": "text/html"}))

    assert not getattr(json_said.value, "__notes__", [])
    assert "base_url" in html_said.value.__notes__[0]
    with pytest.raises(Unsupported):
        Plain().decipher(ONE, answer("{}", 404))
    with pytest.raises(Unsupported):
        Plain().decipher(ReadDefault(), answer("{}", 404))


# What is neither.

NO_ANSWERS = [
    *GARBAGE,
    b'{"jobs":[{"job_id":"a","state":"x","progress":NaN}]}',
    b'{"jobs":[{"job_id":"a","state":"x","progress":1e999}]}',
    b'{"jobs":[{"job_id":"a","state":5}]}',
    b'{"jobs":[{"state":"x"}]}',
    b'{"jobs":{"job_id":"a"}}',
    b'{"epoch":5,"events":[]}',
    b'{"events":[]}',
    b'{"epoch":"E","events":[{"job_id":"a","state":"x","version":1e999}]}',
    b'{"epoch":"E","events":[{"job_id":"a","state":"x","version":"1"}]}',
    b'{"epoch":"E","errors":["a"]}',
    b'{"epoch":"E","poll_after":"soon"}',
    b'{"job_id":"a","state":"x\\ud800"}',
]
OPERATIONS: list[Operation] = [ONE, Read(jobs={"a": 0}), ReadDefault(), Cancel(job_id="a")]


@pytest.mark.parametrize("body", NO_ANSWERS, ids=lambda body: body[:30].decode("latin-1"))
def test_garbage_is_a_protocol_error(body: bytes) -> None:
    """What is no proper answer is a ProtocolError that names the likely cause."""
    for dialect in (Native(), Plain()):
        for operation in OPERATIONS[: 4 if isinstance(dialect, Native) else 3]:
            with pytest.raises(ProtocolError, match="base_url"):
                dialect.decipher(operation, answer(body))


def test_peers_do_not_choose_the_source() -> None:
    """`source` and `skipped` are ours to set: what a peer writes there does not count."""
    body = (
        b'{"epoch":"E","events":[{"job_id":"a","state":"x","version":2,"epoch":"E",'
        b'"source":"webhook","skipped":9}]}'
    )

    [status] = Native().decipher(Read(jobs={"a": 0}), answer(body)).statuses

    assert (status.source, status.skipped) == (Source.POLL, 0)


@given(st.binary(max_size=300) | st.text(max_size=300).map(str.encode))
def test_no_bytes_raise_anything_else(data: bytes) -> None:
    """Whatever comes, it is read or it is an error of ours."""
    for dialect in (Native(), Plain()):
        for operation in OPERATIONS[:3]:
            for status in (200, 404, 500):
                try:
                    found = dialect.decipher(operation, answer(data, status))
                except VtransError:
                    continue
                assert isinstance(found, Answer)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)
WORDS = (
    "result state status job_id version epoch progress estimated_time_remaining language error "
    "message result_url jobs events errors poll_after type"
)


@given(st.dictionaries(st.sampled_from(WORDS.split()), json_values, max_size=8))
def test_no_json_raises_anything_else(document: dict[str, Any]) -> None:
    """JSON of any shape is read or is an error of ours, and its words are words."""
    data = json.dumps(document).encode()
    for dialect in (Native(), Plain()):
        for operation in OPERATIONS[:3]:
            try:
                found = dialect.decipher(operation, answer(data))
            except VtransError:
                continue
            for status in found.statuses:
                assert isinstance(status, JobStatus)
                assert isinstance(status.state, str)
                assert isinstance(status.progress, (float, int, type(None)))
