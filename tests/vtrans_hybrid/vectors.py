"""Signed webhook deliveries whose signatures were made by others than the code under test.

Those of HeyGen by OpenSSL:

    printf '%s' "$BODY" | openssl dgst -sha256 -hmac "$SECRET"

Those of Standard Webhooks: `SPEC` is the vector that its reference libraries test themselves with;
the others by OpenSSL:

    printf '%s' "$ID.$TIMESTAMP.$BODY" | openssl dgst -sha256 -hmac "$KEY" -binary | base64
"""

from typing import NamedTuple

__all__ = ["HEYGEN", "HEYGEN_NEXT", "NATIVE", "NATIVE_NEXT", "SPEC", "Vector"]


class Vector(NamedTuple):
    """A delivery, and what it was signed with."""

    secret: str
    signature: str
    timestamp: int
    event_id: str
    body: bytes

    is_standard: bool = False

    @property
    def signed_by(self) -> str:
        """The name of the header with the signature."""
        return "Webhook-Signature" if self.is_standard else "Heygen-Signature"

    @property
    def headers(self) -> dict[str, str]:
        """The headers of a delivery by HeyGen, or by Standard Webhooks."""
        prefix = self.signed_by.partition("-")[0]
        return {
            "Content-Type": "application/json",
            self.signed_by: self.signature,
            f"{prefix}-Timestamp": str(self.timestamp),
            "Webhook-Id" if self.is_standard else "Heygen-Event-Id": self.event_id,
        }


HEYGEN = Vector(
    "whsec_c2VjcmV0LW9mLXRoZS1maXJzdC1lbmRwb2ludA",
    "8d035c2f5aef15d3fd43285483b29f293a7f4ab195c8bea3dd3638faddcfa8a8",
    1735689600,
    "evt_a1b2c3",
    b'{"event_type":"video_translate.success","event_data":{"video_translate_id":'
    b'"9c3f0e5d7a1b4c2e8f6a0b1c2d3e4f50-es","url":"https://files.example/v.mp4",'
    b'"callback_id":"order-7","output_language":"Spanish (Spain)"}}',
)
HEYGEN_NEXT = HEYGEN._replace(
    secret="whsec_c2VjcmV0LW9mLXRoZS1uZXh0LWVuZHBvaW50",
    signature="03580c24ffebd01dcf7b79886ef252bf63bd6085fba064287ace692c4415af4c",
)
SPEC = Vector(
    "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    1614265330,
    "msg_p5jXN8AQM9LWM0D4loKWxJek",
    b'{"test": 2432232314}',
    is_standard=True,
)
NATIVE = Vector(
    "whsec_c2VjcmV0LW9mLXRoZS1maXJzdC1lbmRwb2ludA==",
    "v1,WX128/3yDPu88h/WG0y3EFl67u7zieRrFr9kEQ/FxIQ=",
    1735689600,
    "evt-1",
    b'{"job_id":"job-1","state":"running","version":3,"epoch":"01JD0000000000000000000000"}',
    is_standard=True,
)
NATIVE_NEXT = NATIVE._replace(
    secret="whsec_c2VjcmV0LW9mLXRoZS1uZXh0LWVuZHBvaW50",
    signature="v1,YKfOnFL8NQmCM1p89EAkdJ3GzfT89k9v1HbA/IqTj5o=",
)
