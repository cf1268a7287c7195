"""What webhooks say, to whom, and which of it the history has."""

import json
from pathlib import Path
from random import Random
from typing import Any

import pytest

from simulator.endpoints import MAX_ENDPOINTS, Endpoint, Endpoints
from simulator.histories import Entry
from simulator.jobs import JobSpec
from simulator.messages import JobError, Status
from simulator.notices import History, Notice, Outcome, headers
from simulator.signatures import Secret

GOLDEN = Path(__file__).parents[1] / "golden" / "heygen"
URL = "https://files.example/v.mp4"


def notice(number: int = 1, state: str = "completed", at: float = 0.0, **spec: Any) -> Notice:
    """Return the end of a job of HeyGen's dialect."""
    job_id = f"job-{number}"
    error = JobError(code="audio_missing", message="No audio.") if state == "error" else None
    status = Status(
        job_id=job_id, state=state, result=state, version=9, epoch="E", error=error, result_url=URL
    )
    order = {"dialect": "heygen", "language": "Spanish"} | spec
    return Notice(Entry(number, status, at=at), JobSpec(job_id=job_id, **order))


def said(one: Notice) -> Any:
    """Return what its receiver reads."""
    return json.loads(one.body(Outcome.of(one.entry)))


def test_success_in_heygens_words() -> None:
    """A job that completed is a success, with its result; what nobody said is left out."""
    data = {"video_translate_id": "job-1", "url": URL, "output_language": "Spanish"}
    event = {"event_type": "video_translate.success", "event_data": data}
    assert said(notice()) == event
    assert said(notice(callback_id="c")) == event | {"event_data": data | {"callback_id": "c"}}


@pytest.mark.parametrize(("state", "message"), [("error", "No audio."), ("canceled", None)])
def test_failure_in_heygens_words(state: str, message: str | None) -> None:
    """Any other end is a failure, with its reason, if there is one, and without a result."""
    event = said(notice(state=state))
    assert event["event_type"] == "video_translate.fail"
    assert event["event_data"].get("message") == message
    assert "url" not in event["event_data"]


@pytest.mark.parametrize("name", ["success", "fail"])
def test_events_are_written_as_they_stand(name: str) -> None:
    """The golden events are what a server writes of such a job."""
    expected = json.loads((GOLDEN / f"webhook-event-{name}.json").read_bytes())
    data = expected["event_data"]
    status = Status(
        job_id=data["video_translate_id"],
        state="completed" if name == "success" else "error",
        result="",
        version=9,
        epoch="E",
    )
    spec = JobSpec(
        job_id=status.job_id,
        dialect="heygen",
        language=data["output_language"],
        callback_id=data["callback_id"],
    )
    # What does not belong to the event is known as well, and left out.
    outcome = Outcome(data.get("url", URL), data.get("message", "No audio."))
    assert json.loads(Notice(Entry(1, status), spec).body(outcome)) == expected


def test_ids_follow_from_the_log() -> None:
    """Whoever makes the notice of an end again makes the same one, in a newer epoch, too."""
    one = notice()
    assert one.event_id == notice(at=7.0).event_id != notice(2).event_id
    assert one.event_id not in repr(Endpoints(Random(1)))
    assert repr(one) == f"<Notice {one.event_id} of <Entry 1: job-1 v9 completed>>"


def test_headers_of_both_kinds() -> None:
    """Native deliveries have those of Standard Webhooks, the others HeyGen's; none unsigned."""
    secret = Secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    ours, theirs = notice(dialect="native"), notice()
    assert headers(ours, b"", secret=secret, at=7).keys() == {
        "webhook-id",
        "webhook-timestamp",
        "webhook-signature",
    }
    made = headers(theirs, b"", secret=secret, at=7)
    assert (made["Heygen-Event-Id"], made["Heygen-Timestamp"]) == (theirs.event_id, "7")
    assert len(made["Heygen-Signature"]) == 64
    assert "Heygen-Signature" not in headers(theirs, b"", secret=None, at=7)
    assert "webhook-signature" not in headers(ours, b"", secret=None, at=7)


def test_history_is_bounded_and_newest_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """It begins with the newest event, goes on behind any other, and forgets the oldest."""
    monkeypatch.setattr("simulator.notices._MAX_HISTORY", 5)
    history, made = History(), [notice(number) for number in range(1, 9)]
    for one in made:
        history.add(one)
    history.add(made[0])  # forgotten already: it must not come back as news
    ids = [one.entry.job_id for one in history.newest()]
    assert ids == ["job-8", "job-7", "job-6", "job-5", "job-4"]
    behind = history.newest(after=made[5].event_id)
    assert [one.entry.job_id for one in behind] == ["job-5", "job-4"]
    assert list(history.newest(after=made[0].event_id)) == []
    history.clear()
    history.add(made[0])
    assert len(list(history.newest())) == 1


# -- endpoints ------------------------------------------------------------------------------------


@pytest.fixture
def endpoints() -> Endpoints:
    """Return where endpoints are registered."""
    return Endpoints(Random(1))


def register(endpoints: Endpoints, **options: Any) -> Endpoint:
    """Register an endpoint at 10 s."""
    return endpoints.add("https://me.example/", wall=1e9, now=10.0, **options)


@pytest.mark.parametrize(
    ("options", "event", "wanted"),
    [
        ({}, {}, True),
        ({}, {"at": 9.0}, False),
        ({}, {"dialect": "native"}, False),
        ({}, {"owner": "somebody"}, False),
        ({"owner": "somebody"}, {"owner": "somebody"}, True),
        ({"owner": "somebody"}, {}, False),
        ({"events": ["video_translate.fail"]}, {}, False),
        ({"events": ["video_translate.fail"]}, {"state": "error"}, True),
        ({"events": []}, {}, False),
        ({"entity_id": "job-1"}, {}, True),
        ({"entity_id": "job-2"}, {}, False),
    ],
)
def test_whom_an_event_concerns(
    endpoints: Endpoints, options: Any, event: Any, wanted: bool
) -> None:
    """An endpoint is told of its owner's jobs that ended since, as far as it asked for them."""
    made = register(endpoints, **options)
    assert endpoints.wanting(notice(**({"at": 11.0} | event))) == ([made] if wanted else [])


def test_endpoints_change(endpoints: Endpoints) -> None:
    """URL and events may be replaced, each alone; the secret only by a new one."""
    made = register(endpoints)
    moved = endpoints.change(made, url="https://new.example/", events=None)
    narrowed = endpoints.change(moved, url=None, events=["video_translate.fail"])
    rotated = endpoints.rotate(narrowed)
    assert (rotated.url, rotated.events) == ("https://new.example/", ("video_translate.fail",))
    assert made.secret == narrowed.secret
    assert made.secret.text != rotated.secret.text
    assert endpoints.of(None) == [rotated] == [endpoints.get(made.endpoint_id)]
    endpoints.remove(made.endpoint_id)
    endpoints.remove(made.endpoint_id)
    assert (endpoints.of(None), endpoints.get(made.endpoint_id)) == ([], None)
    assert "example" not in repr(made)
    assert made.secret.text not in repr(made)


def test_an_owner_has_so_many(endpoints: Endpoints) -> None:
    """One cannot take the room of all."""
    for _ in range(MAX_ENDPOINTS):
        register(endpoints, owner="greedy")
    with pytest.raises(OverflowError):
        register(endpoints, owner="greedy")
    register(endpoints)
