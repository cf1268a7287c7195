"""The client's side of the golden messages, the plain contract, and whatever is neither."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vtrans_hybrid.dialect import (
    Answer,
    Cancel,
    ChannelError,
    Delete,
    Drain,
    Events,
    Hello,
    Ignored,
    Languages,
    ListJobs,
    Operation,
    Ping,
    Pong,
    Read,
    ReadDefault,
    Response,
    Submit,
    Subscribe,
    Synced,
    Unsubscribe,
    Welcome,
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
from vtrans_hybrid.wire import (
    DEFAULT_JOB,
    Native,
    Plain,
    decode_message,
    encode_message,
    job_error,
)

GOLDEN = Path(__file__).parent.parent / "golden"
EPOCH = "01JD0000000000000000000000"
JSON = {"content-type": "application/json"}
ORDER = Submit(
    video="https://example.com/talk.mp4",
    languages=("Spanish", "German"),
    options={"title": "Talk", "delay": "3:10", "error_probability": 0.1},
    key="key-1",
)
ONE = Submit(video="https://example.com/talk.mp4", languages=("Spanish",), key="key-1")


def golden(name: str) -> bytes:
    """Return the bytes of a golden message."""
    return (GOLDEN / f"{name}.json").read_bytes()


def names(prefix: str) -> list[str]:
    """Return the names of golden messages."""
    return sorted(path.stem for path in GOLDEN.glob(f"{prefix}*.json"))


def answer(body: bytes | str, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Return an HTTP answer."""
    data = body if isinstance(body, bytes) else body.encode()
    return Response(status=status, headers=JSON if headers is None else headers, body=data)


# What the client writes.


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("channel-hello", Hello(agent="vtrans-hybrid/1.0")),
        ("channel-pong", Pong(3)),
        ("channel-subscribe-all", Subscribe(id=8, epoch=EPOCH, mode="all", jobs={"job-1": 2})),
        ("channel-subscribe-first", Subscribe(id=1, mode="latest", jobs={"job-1": 0})),
        (
            "channel-subscribe-latest",
            Subscribe(id=7, epoch=EPOCH, mode="latest", jobs={"job-1": 2, "job-2": 0}),
        ),
        ("channel-unsubscribe", Unsubscribe(["job-1"])),
    ],
)
def test_channel_messages_are_written(
    name: str, message: Hello | Pong | Subscribe | Unsubscribe
) -> None:
    """Each message of the client is the JSON value of its golden file."""
    assert json.loads(encode_message(message)) == json.loads(golden(name))


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

CHANNEL = {
    "welcome": Welcome,
    "events": Events,
    "synced": Synced,
    "ping": Ping,
    "drain": Drain,
    "error": ChannelError,
    "authed": Ignored,
}


def covers(value: Any, document: Any) -> bool:
    """Tell whether a value has every member of a document that it has a field for."""
    if isinstance(document, dict):
        return all(
            covers(value[name], member) for name, member in document.items() if name in value
        )
    if isinstance(document, list):
        return len(value) == len(document) and all(map(covers, value, document))
    return bool(value == document)


def is_read(name: str) -> bool:
    """Tell whether a message of the channel comes from the server."""
    return json.loads(golden(name))["type"] in CHANNEL


@pytest.mark.parametrize("name", list(filter(is_read, names("channel-"))))
def test_channel_messages_are_read(name: str) -> None:
    """Each message of the server becomes the value that it stands for."""
    document = json.loads(golden(name))

    message = decode_message(golden(name))

    assert type(message) is CHANNEL[document["type"]]
    if not isinstance(message, Ignored):
        built = msgspec.to_builtins(message)
        assert built["type"] == document["type"]
        times = ("created_at", "updated_at")
        for event in document.get("events", []):
            for key in times:
                event.pop(key, None)
        for event in built.get("events", []):
            for key in times:
                event.pop(key, None)
        assert covers(built, document)


def test_marks_are_read() -> None:
    """The marks of an event are told apart."""
    gap, gone = (
        decode_message(golden("channel-events-gap")),
        decode_message(golden("channel-events-gone")),
    )

    assert isinstance(gap, Events)
    assert isinstance(gone, Events)
    assert (gap.events[0].gap, gap.events[0].gone) == (True, False)
    assert (gone.events[0].gap, gone.events[0].gone) == (False, True)


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

GARBAGE = [
    b"",
    b"null",
    b"5",
    b'"x"',
    b"[]",
    b"<html><body>Please log in</body></html>",
    b"\xff\xfe",
    b'{"a"',
    b"NaN",
    b"[" * 100_000,
    b'{"jobs":' + b"[" * 100_000,
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


@pytest.mark.parametrize("body", GARBAGE, ids=lambda body: body[:30].decode("latin-1"))
def test_garbage_is_a_protocol_error(body: bytes) -> None:
    """What is no proper answer is a ProtocolError that names the likely cause."""
    for dialect in (Native(), Plain()):
        for operation in OPERATIONS[: 4 if isinstance(dialect, Native) else 3]:
            with pytest.raises(ProtocolError, match="base_url"):
                dialect.decipher(operation, answer(body))


@pytest.mark.parametrize("body", GARBAGE, ids=lambda body: body[:30].decode("latin-1"))
def test_garbage_frames(body: bytes) -> None:
    """A frame that is no message is a ProtocolError."""
    with pytest.raises(ProtocolError):
        decode_message(body)


@pytest.mark.parametrize(
    "frame",
    [
        b'{"type":"events","events":5}',
        b'{"type":"events","events":[{"job_id":"a"}]}',
        b'{"type":"welcome"}',
        b'{"type":"welcome","epoch":"E","ping":"5"}',
        b'{"type":"synced"}',
        b'{"type":"synced","id":1,"errors":[]}',
        b'{"type":"ping","n":1e999}',
        b'{"type":5}',
        b'{"n":3}',
        b'{"type":"ping","n":' + b"[" * 100_000,
        b'{"type":"events","events":[{"job_id":"a","state":"x","progress":1e999}]}',
    ],
)
def test_known_messages_with_wrong_content(frame: bytes) -> None:
    """A message of a known type must have its content; that is no message of a newer protocol."""
    with pytest.raises(ProtocolError):
        decode_message(frame)


@pytest.mark.parametrize("frame", [b'{"type":"news"}', b'{"type":"authed","id":9,"x":[1,{}]}'])
def test_unknown_messages_are_ignored(frame: bytes) -> None:
    """A type that a newer server knows is a sign of life, nothing more."""
    assert isinstance(decode_message(frame), Ignored)


def test_unknown_fields_are_ignored() -> None:
    """A field that a newer server adds does no harm."""
    message = decode_message(b'{"type":"ping","n":3,"news":[1,2,{"a":null}]}')

    assert message == Ping(3)


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
    with suppress(ProtocolError):
        decode_message(data)
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
