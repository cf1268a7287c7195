"""What a webhook delivery says, and whether it came before."""

import hashlib
import hmac
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.vtrans_hybrid.vectors import HEYGEN, NATIVE
from vtrans_hybrid.deliveries import MAX_BODY, Delivery, Replays, job_ids_of, verify
from vtrans_hybrid.errors import MalformedDelivery

SECRET = "whsec_test"
NOW = 1735689600.0


def deliver(body: bytes | dict[str, Any], event_id: str = "evt-1", **options: Any) -> Delivery:
    """Sign a body as HeyGen does, and verify it."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {
        "Heygen-Signature": hmac.new(SECRET.encode(), raw, hashlib.sha256).hexdigest(),
        "Heygen-Timestamp": str(int(NOW)),
        "Heygen-Event-Id": event_id,
    }
    return verify(headers, raw, SECRET, now=NOW, **options)


def event(job_id: str = "job-1", **more: Any) -> dict[str, Any]:
    """Return the body of an event as HeyGen writes it."""
    data = {"video_translate_id": job_id, **more}
    return {"event_type": "video_translate.success", "event_data": data}


def test_what_heygen_says() -> None:
    """An event of HeyGen names its job and its kind."""
    delivery = verify(HEYGEN.headers, HEYGEN.body, HEYGEN.secret, now=HEYGEN.timestamp)

    assert delivery.event_type == "video_translate.success"
    assert delivery.job_ids == ("9c3f0e5d7a1b4c2e8f6a0b1c2d3e4f50-es",)


def test_what_the_native_backend_says() -> None:
    """A status document names its job."""
    delivery = verify(NATIVE.headers, NATIVE.body, NATIVE.secret, now=NATIVE.timestamp)

    assert delivery.event_type == ""
    assert delivery.job_ids == ("job-1",)


@pytest.mark.parametrize(
    ("document", "job_ids"),
    [
        ({"event_data": {"video_translate_id": "a"}}, ("a",)),
        ({"event_data": {"video_translation_id": "a"}}, ("a",)),
        ({"event_data": {"id": "a"}}, ("a",)),
        ({"event_data": {"id": "a", "video_translate_id": "b"}}, ("b",)),
        ({"event_data": {"id": "a", "video_translate_id": None}}, ("a",)),
        ({"job_id": "a"}, ("a",)),
        ({"video_translation_id": "a", "event_data": None}, ("a",)),
        ({"id": "evt-1"}, ()),
        ({"event_data": {"video_id": "a"}}, ()),
        ({"event_type": "video_translate.fail", "event_data": {"id": "a"}}, ("a",)),
        ({"event_type": "avatar_video.success", "event_data": {"id": "a"}}, ()),
        ({"event_type": "proofread.success", "event_data": {"video_translate_id": "a"}}, ("a",)),
        ({"event_data": {"id": 7}}, ()),
        ({"event_data": {"id": "../admin"}}, ()),
        ({"event_data": {"id": ["a"]}}, ()),
        ({"event_data": []}, ()),
        ({}, ()),
    ],
)
def test_names_of_the_job(document: dict[str, Any], job_ids: tuple[str, ...]) -> None:
    """The job is found under each name in use, and what cannot be an id is none."""
    assert job_ids_of(document) == job_ids
    assert deliver(document).job_ids == job_ids


def test_the_id_may_be_in_the_body() -> None:
    """Where no header tells the id of the event, the body may."""
    assert deliver({**event(), "event_id": "evt-9"}, "").event_id == "evt-9"
    assert deliver({**event(), "event_id": 9}, "").event_id == ""


@pytest.mark.parametrize(
    "body", [b"", b"[]", b'"text"', b"{", b"\xff", b"null", b"[" * 100_000, b'{"a":1}x']
)
def test_bodies_without_sense(body: bytes) -> None:
    """A body that is no JSON object is refused, though it is signed."""
    with pytest.raises(MalformedDelivery, match="no JSON object"):
        deliver(body)


def test_bodies_are_bounded() -> None:
    """What is longer than 1 MiB is not even looked at."""
    deliver(b'{"a":"' + b"x" * (MAX_BODY - 8) + b'"}')
    with pytest.raises(MalformedDelivery, match="longer"):
        deliver(b'{"a":"' + b"x" * (MAX_BODY - 7) + b'"}')


def test_bodies_are_bytes() -> None:
    """A body that was decoded on the way is not what was signed."""
    text: Any = "{}"

    assert verify(HEYGEN.headers, memoryview(HEYGEN.body), HEYGEN.secret, now=NOW).job_ids  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="bytes as they came"):
        verify(HEYGEN.headers, text, HEYGEN.secret, now=NOW)


def is_news(replays: Replays, delivery: Delivery, now: float = NOW) -> bool:
    """Note a delivery; return whether it was news."""
    if replays.knows(delivery, now):
        return False
    replays.note(delivery, now)
    return True


def test_what_comes_again_is_known() -> None:
    """The same event is news once, though its body may differ a little."""
    replays = Replays()

    assert is_news(replays, deliver(event(url="https://files.example/1"), "evt-1"))
    assert not is_news(replays, deliver(event(url="https://files.example/1"), "evt-1"))
    assert not is_news(replays, deliver(event(url="https://files.example/2"), "evt-1"))
    assert is_news(replays, deliver(event(url="https://files.example/3"), "evt-2"))


def test_a_copy_under_another_id_is_known() -> None:
    """Whoever has seen a delivery cannot send it again under an id of his own."""
    replays = Replays()

    assert is_news(replays, deliver(event(), "evt-1"))
    for event_id in ("evt-2", ""):
        assert not is_news(replays, deliver(event(), event_id))


def test_a_copy_does_not_use_up_the_id_of_another() -> None:
    """Whoever has seen a delivery cannot send it under the id of an event that is to come."""
    replays = Replays()

    assert is_news(replays, deliver(event("job-1"), "evt-7"))
    assert is_news(replays, deliver(event("job-2"), "evt-7"))


def test_without_ids_the_body_counts() -> None:
    """Two events without ids are two, unless they say the same."""
    replays = Replays()

    assert is_news(replays, deliver(event(url="a"), ""))
    assert is_news(replays, deliver(event(url="b"), ""))
    assert not is_news(replays, deliver(event(url="a"), ""))


def test_signed_ids_are_enough() -> None:
    """Of Standard Webhooks the id alone counts, for nobody else can have chosen it."""
    delivery = verify(NATIVE.headers, NATIVE.body, NATIVE.secret, now=NATIVE.timestamp)

    assert len(delivery.marks) == 1


@given(st.lists(st.integers(0, 40), max_size=200), st.integers(2, 20))
def test_memory_is_bounded_and_keeps_the_newest(numbers: list[int], capacity: int) -> None:
    """However many come, so many are remembered: those that came last."""
    replays = Replays(capacity=capacity)
    for number in numbers:
        replays.note(_marked(number), NOW)

    last = list(dict.fromkeys(reversed(numbers)))
    known = [number for number in last if replays.knows(_marked(number), NOW)]
    assert known == last[:capacity]
    assert len(replays) == len(known)


def test_memory_is_limited_in_time() -> None:
    """After a day a delivery is forgotten, and its room is free."""
    replays = Replays()
    replays.note(_marked(1), NOW)

    assert replays.knows(_marked(1), NOW + 86_399)
    assert not replays.knows(_marked(1), NOW + 86_400)
    replays.note(_marked(2), NOW + 86_400)
    assert len(replays) == 1


def _marked(number: int) -> Delivery:
    mark = number.to_bytes(4)
    return Delivery(event_id="", event_type="", job_ids=(), sent_at=None, marks=(mark,))
