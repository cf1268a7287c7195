"""How webhooks are signed: vectors that others have computed."""

from random import Random

import pytest

from simulator.signatures import Secret

OWN = "whsec_QUFFQ0F3UUZCZ2NJQ1FvTERBME9EeEFSRWhNVUZSWVg="
REFERENCE = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@pytest.mark.parametrize(
    ("secret", "event_id", "at", "body", "signature"),
    [
        # What the libraries of the Standard Webhooks project test themselves with.
        (
            REFERENCE,
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1614265330,
            '{"test": 2432232314}',
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
        ),
        # printf '%s' "$ID.$AT.$BODY" | openssl dgst -sha256 -mac hmac -macopt "hexkey:$KEY" -binary
        # | base64
        (
            OWN,
            "evt_1",
            1700000000,
            '{"title":"Gespräch"}',
            "v1,4ZoCTWko/GPNuK/t7Hr6poRaIZEasgWA4d8FWsqxzuM=",
        ),
        (OWN, "evt_2", 0, "", "v1,L84L/bDVQAYTKD4zN8Oo8rsP7/oGqitW7yJRGnOm7eI="),
    ],
    ids=["reference", "umlaut", "empty"],
)
def test_standard_webhooks(secret: str, event_id: str, at: int, body: str, signature: str) -> None:
    """Id, timestamp and body are signed, with the bytes that the secret stands for."""
    assert Secret(secret).standard(event_id, at, body.encode()) == signature


@pytest.mark.parametrize(
    ("body", "signature"),
    [
        # printf '%s' "$BODY" | openssl dgst -sha256 -hmac "$SECRET"
        (
            b'{"event_type":"video_translate.success"}',
            "40d066ddc465bf300d9ff405a1467cec95850c3cebe650d96b1ceae79e7cd926",
        ),
        (b"", "da5f5865984e699a69cfec62ce49a76daf8ae4601b54a781fa13f3b2d3b2088a"),
    ],
)
def test_heygen(body: bytes, signature: str) -> None:
    """The body alone is signed, with the text of the secret."""
    assert Secret(REFERENCE).heygen(body) == signature


def test_new_secrets_are_secrets() -> None:
    """Each is a good one, and another one."""
    random = Random(1)
    drawn = {Secret.new(random).text for _ in range(100)}
    assert len(drawn) == 100
    for text in drawn:
        assert Secret(text).text == text
        assert text not in repr(Secret(text))


@pytest.mark.parametrize(
    "secret",
    ["", "whsec_", "whsec_c2hvcnQ=", "whsec_*", "ü", REFERENCE[6:], REFERENCE[:-1], OWN * 3],
)
def test_what_is_no_secret(secret: str) -> None:
    """Too short, too long, or no base64: nothing is signed with it."""
    with pytest.raises(ValueError, match="A webhook secret is"):
        Secret(secret)
