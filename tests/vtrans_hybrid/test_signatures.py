"""Whose webhook deliveries are let in, and whose are not."""

from collections.abc import Callable, Iterable
from email.message import Message
from typing import Any

import pytest
from multidict import CIMultiDict

from tests.vtrans_hybrid.vectors import HEYGEN, HEYGEN_NEXT, NATIVE, NATIVE_NEXT, SPEC, Vector
from vtrans_hybrid.deliveries import Delivery, verify
from vtrans_hybrid.errors import (
    BadSignature,
    MalformedDelivery,
    MissingSignature,
    StaleTimestamp,
    WebhookError,
)
from vtrans_hybrid.signatures import Secrets

ALL = (HEYGEN, HEYGEN_NEXT, SPEC, NATIVE, NATIVE_NEXT)
KINDS = (HEYGEN, NATIVE)
NAMES = ("heygen", "standard")


def check(vector: Vector, *, secret: Any = None, age: float = 0.0, headers: Any = None) -> Delivery:
    """Verify a vector, some seconds after it was sent."""
    return verify(
        vector.headers if headers is None else headers,
        vector.body,
        secret or vector.secret,
        now=vector.timestamp + age,
    )


@pytest.mark.parametrize("vector", ALL, ids=lambda vector: vector.event_id)
def test_signatures_made_by_others_are_good(vector: Vector) -> None:
    """What OpenSSL and the reference libraries signed is genuine."""
    delivery = check(vector)

    assert delivery.event_id == vector.event_id
    assert delivery.sent_at == vector.timestamp


@pytest.mark.parametrize("vector", KINDS, ids=NAMES)
def test_every_changed_byte_is_noticed(vector: Vector) -> None:
    """No byte of the body can be changed, left out or added."""
    body = vector.body
    changed = [body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :] for at in range(len(body))]
    changed += [body[:-1], body + b" ", b" " + body, b""]

    for each in changed:
        with pytest.raises(BadSignature):
            check(vector._replace(body=each))


@pytest.mark.parametrize(
    "changed",
    [NATIVE._replace(event_id="evt-2"), NATIVE._replace(timestamp=NATIVE.timestamp + 1)],
    ids=["id", "timestamp"],
)
def test_standard_webhooks_signs_its_headers(changed: Vector) -> None:
    """Neither the id nor the timestamp of Standard Webhooks can be changed."""
    with pytest.raises(BadSignature):
        check(changed)


@pytest.mark.parametrize("vector", KINDS, ids=NAMES)
@pytest.mark.parametrize(
    "spoil",
    [
        lambda signature: "",
        lambda signature: signature[:-1],
        lambda signature: signature + "0",
        lambda signature: "v2," + signature.removeprefix("v1,"),
        lambda signature: "v1a," + signature.removeprefix("v1,"),
        lambda signature: signature.replace("8", "9"),
        lambda signature: "é" * 64,
        lambda signature: "\udc80" * 64,
        lambda signature: "v1,",
    ],
)
def test_other_signatures_are_refused(vector: Vector, spoil: Callable[[str], str]) -> None:
    """Only the very signature will do, and no other text makes the check stumble."""
    with pytest.raises(BadSignature):
        check(vector._replace(signature=spoil(vector.signature)))


@pytest.mark.parametrize("vector", ALL, ids=lambda vector: vector.event_id)
def test_other_secrets_are_refused(vector: Vector) -> None:
    """A delivery for somebody else is none for us, nor one signed with half of the secret."""
    for secret in ("whsec_b3RoZXI=", b"other", vector.secret[:-4], "no base64 at all!"):
        with pytest.raises(BadSignature):
            check(vector, secret=secret)


@pytest.mark.parametrize(("old", "new"), [(HEYGEN, HEYGEN_NEXT), (NATIVE, NATIVE_NEXT)], ids=NAMES)
def test_secrets_take_turns(old: Vector, new: Vector) -> None:
    """While two secrets are known, deliveries signed with either are genuine."""
    both = [old.secret, new.secret]

    assert check(old, secret=both) == check(new, secret=both)
    for wrong in (old, new):
        with pytest.raises(BadSignature):
            check(wrong, secret=[secret for secret in both if secret != wrong.secret])


def test_several_signatures_take_turns() -> None:
    """Of several signatures of Standard Webhooks one that is good suffices, wherever it stands."""
    others = f"v1a,c29tZQ== {NATIVE_NEXT.signature}"

    for several in (f"{others} {NATIVE.signature}", f"{NATIVE.signature} {others}"):
        assert check(NATIVE._replace(signature=several)).job_ids == ("job-1",)


def test_so_many_signatures_are_not_read() -> None:
    """The work that a stranger can cause is bounded."""
    crowd = " ".join(["v1,c29tZQ=="] * 16)

    with pytest.raises(BadSignature):
        check(
            NATIVE, headers={**NATIVE.headers, "Webhook-Signature": f"{crowd} {NATIVE.signature}"}
        )


def test_a_key_may_be_given_as_bytes() -> None:
    """Bytes are the key itself, with either scheme."""
    assert check(NATIVE, secret=b"secret-of-the-first-endpoint").event_id == "evt-1"
    assert check(HEYGEN, secret=HEYGEN.secret.encode()).event_id == "evt_a1b2c3"


@pytest.mark.parametrize("given", ["", b"", [], (), ["whsec_x", ""]])
def test_without_a_secret_nothing_is_genuine(given: Any) -> None:
    """A secret that is missing lets nobody in, and is loud."""
    with pytest.raises(ValueError, match="give the secret"):
        verify(HEYGEN.headers, HEYGEN.body, given, now=HEYGEN.timestamp)


@pytest.mark.parametrize("given", [None, 7, [None]])
def test_a_secret_that_is_none(given: Any) -> None:
    """A variable of the environment that is not set is no secret."""
    with pytest.raises(TypeError):
        verify(HEYGEN.headers, HEYGEN.body, given, now=HEYGEN.timestamp)


@pytest.mark.parametrize("secret", ["whsec_", "whsec_=", "whsec_!!!!", "    ", "whsec_é"])
def test_a_secret_without_a_key_has_not_signed_anything(secret: str) -> None:
    """No text becomes the empty key, with which anybody could sign."""
    forged = "v1,mqLqVBXErdqKZEPXFLeZMP5vVQnmYJzs4wW6dWBnj6w="  # of evt-1.1735689600.{} and no key

    with pytest.raises(BadSignature):
        check(NATIVE._replace(body=b"{}", signature=forged), secret=secret)


@pytest.mark.parametrize("vector", KINDS, ids=NAMES)
def test_deliveries_are_good_for_five_minutes(vector: Vector) -> None:
    """What was sent more than five minutes ago, or is from the future, is refused."""
    for age in (-300, 0, 300):
        assert check(vector, age=age).sent_at == vector.timestamp
    for age in (-301, 301, 1e9):
        with pytest.raises(StaleTimestamp):
            check(vector, age=age)


@pytest.mark.parametrize(
    "text", ["", "now", "nan", "inf", "1e9", "-1", "1" * 13, "١٧٣٥٦٨٩٦٠٠", "1 "]
)
@pytest.mark.parametrize("name", ["Heygen-Timestamp", "Webhook-Timestamp"])
def test_timestamps_are_whole_seconds(name: str, text: str) -> None:
    """A timestamp that is no plain number of seconds is refused."""
    vector = HEYGEN if name.startswith("Heygen") else NATIVE

    with pytest.raises(MalformedDelivery):
        check(vector, headers={**vector.headers, name: text})


def test_older_names_of_the_signature() -> None:
    """HeyGen's signature had other names once, without a timestamp; one that is there counts."""
    for name in ("Signature", "X-Heygen-Signature", "x-HEYGEN-signature"):
        older = {name: HEYGEN.signature}
        assert check(HEYGEN, headers=older, age=1e6).sent_at is None
        with pytest.raises(StaleTimestamp):
            check(HEYGEN, headers={**older, "Heygen-Timestamp": "1"})
    with pytest.raises(MalformedDelivery, match="Timestamp"):
        check(HEYGEN, headers={"Heygen-Signature": HEYGEN.signature})


@pytest.mark.parametrize("missing", ["Webhook-Id", "Webhook-Timestamp"])
def test_standard_webhooks_needs_its_headers(missing: str) -> None:
    """Without the id or the timestamp, what was signed is not known."""
    headers = {name: value for name, value in NATIVE.headers.items() if name != missing}

    with pytest.raises(MalformedDelivery, match=missing):
        check(NATIVE, headers=headers)


@pytest.mark.parametrize("event_id", ["a.b", "x" * 257, "", "évt", "evt\udc80"])
def test_ids_that_standard_webhooks_forbids(event_id: str) -> None:
    """An id that could shift the borders of what is signed is refused."""
    with pytest.raises(MalformedDelivery, match="Webhook-Id"):
        check(NATIVE._replace(event_id=event_id))


@pytest.mark.parametrize("headers", [{}, {"Heygen-Timestamp": "1", "Heygen-Event-Id": "e"}])
def test_unsigned_deliveries_are_refused(headers: dict[str, str]) -> None:
    """Whoever does not sign is a stranger."""
    with pytest.raises(MissingSignature):
        check(HEYGEN, headers=headers)


def _as_asgi(headers: dict[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.lower().encode(), value.encode()) for name, value in headers.items()]


def _as_message(headers: dict[str, str]) -> Message:
    message = Message()
    for name, value in headers.items():
        message[name] = value
    return message


@pytest.mark.parametrize("vector", KINDS, ids=NAMES)
@pytest.mark.parametrize(
    "form",
    [
        dict,
        CIMultiDict,
        _as_asgi,
        _as_message,
        lambda headers: {name.upper(): value for name, value in headers.items()},
        lambda headers: list(headers.items()),
    ],
    ids=["dict", "aiohttp", "asgi", "http.server", "upper", "pairs"],
)
def test_headers_of_any_framework(
    vector: Vector, form: Callable[[dict[str, str]], Iterable[Any]]
) -> None:
    """Headers are understood as each framework has them."""
    assert check(vector, headers=form(vector.headers)) == check(vector)


def test_headers_that_come_twice() -> None:
    """A signature that is there twice is refused; another header may be."""
    pairs = [*HEYGEN.headers.items(), ("Accept", "a"), ("accept", "b")]

    assert check(HEYGEN, headers=pairs).event_id == HEYGEN.event_id
    with pytest.raises(MalformedDelivery, match="twice"):
        check(HEYGEN, headers=[*pairs, ("heygen-signature", "other")])


def test_nothing_of_a_delivery_is_told() -> None:
    """Neither errors nor the repr of secrets and deliveries show what is secret."""
    shown = [repr(Secrets([HEYGEN.secret])), repr(check(HEYGEN))]
    for headers in (
        {},
        {**HEYGEN.headers, "Heygen-Signature": "00"},
        {**HEYGEN.headers, "Heygen-Timestamp": "7"},
    ):
        with pytest.raises(WebhookError) as caught:
            check(HEYGEN, headers=headers)
        shown.append(f"{caught.value!r} {vars(caught.value)}")

    for text in shown:
        for secret in (
            HEYGEN.secret,
            HEYGEN.secret[6:],
            HEYGEN.signature,
            "files.example",
            "order-7",
        ):
            assert secret not in text
