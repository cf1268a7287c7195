"""Who signed a webhook delivery: HeyGen's scheme, and Standard Webhooks 1.0.

Which of the two it is, the headers tell:

    scheme             signature header                    what is signed             written as
    ------             ----------------                    --------------             ----------
    Standard Webhooks  Webhook-Signature                   id "." timestamp "." body  `v1,` base64
    HeyGen             Heygen-Signature                    body                       hex
    HeyGen, long ago   X-Heygen-Signature, Signature       body                       hex

Both are HMAC-SHA256 over the bytes as they came. Standard Webhooks signs its id and its timestamp;
HeyGen signs neither, so that there they are only as good as the network is.
"""

from __future__ import annotations

import binascii
import hmac
import re
from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from vtrans_hybrid.errors import (
    BadSignature,
    MalformedDelivery,
    MissingSignature,
    StaleTimestamp,
)

__all__ = ["HasItems", "Headers", "Secret", "Secrets", "Signed", "check_signature"]


@runtime_checkable
class HasItems(Protocol):
    """What has pairs of names and values: a mapping, or the headers of a web framework."""

    def items(self) -> Iterable[tuple[str | bytes, str | bytes]]:
        """Return the pairs."""


Headers = HasItems | Iterable[tuple[str | bytes, str | bytes]]
"""Headers as any framework has them. Case does not count."""

Secret = str | bytes

_UNSET = "is the environment variable set that should hold it?"

_PREFIX = "whsec_"
_MOST_SIGNATURES = 16
_LONGEST_ID = 256
_TIMESTAMP = re.compile(r"[0-9]{1,12}", re.ASCII)

# The first that is there counts.
_HEYGEN_NAMES = ("heygen-signature", "x-heygen-signature", "signature")


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """What the headers of a genuine delivery say.

    Attributes:
        event_id: What the sender calls the event; empty where it does not say.
        sent_at: When it was sent, in Unix seconds; None where the sender does not say.
        is_id_signed: Whether nobody but the sender can have chosen the id.
    """

    event_id: str
    sent_at: float | None
    is_id_signed: bool


class Secrets:
    """The secrets that a delivery may be signed with. Its repr tells nothing of them.

    Args:
        given: One secret, or several while one takes the place of another. Text is taken as the
            sender showed it, `whsec_` and all; bytes are the key itself.

    Raises:
        ValueError: There is none, or one is empty: everything would be let in.
        TypeError: One is neither text nor bytes, but None for instance.
    """

    __slots__ = ("_raw", "_standard")

    def __init__(self, given: Secret | Iterable[Secret]) -> None:
        if isinstance(given, (str, bytes)) or not isinstance(given, Iterable):
            given = (given,)
        secrets = tuple(given)
        for secret in secrets:
            if secret is None:
                raise TypeError(f"a webhook secret is None: {_UNSET}")
            if not isinstance(secret, (str, bytes)):
                raise TypeError(f"a webhook secret is text or bytes, not {type(secret).__name__}")
        if not secrets or not all(secrets):
            raise ValueError(
                f"give the secret that the sender of the webhooks signs with: {_UNSET}"
            )
        self._raw = tuple(s.encode() if isinstance(s, str) else s for s in secrets)
        self._standard = tuple(key for key in map(_standard_key, secrets) if key)

    def __repr__(self) -> str:
        return "<Secrets>"

    def __or__(self, other: Secrets) -> Secrets:
        both = object.__new__(Secrets)
        both._raw = self._raw + other._raw
        both._standard = self._standard + other._standard
        return both

    def has_signed(self, content: bytes, signature: str) -> bool:
        """Whether one of them made this hex signature, as HeyGen does; takes constant time."""
        offered = signature.strip().lower().encode(errors="replace")
        matches = [
            hmac.compare_digest(hmac.digest(key, content, "sha256").hex().encode(), offered)
            for key in self._raw
        ]
        return any(matches)

    def has_signed_standard(self, content: bytes, signatures: str) -> bool:
        """Whether one of them made one of these signatures; takes constant time."""
        entries = signatures.split()[:_MOST_SIGNATURES]
        offered = [e[3:].encode(errors="replace") for e in entries if e.startswith("v1,")]
        expected = [b64encode(hmac.digest(key, content, "sha256")) for key in self._standard]
        matches = [hmac.compare_digest(ours, theirs) for ours in expected for theirs in offered]
        return any(matches)


def _standard_key(secret: Secret) -> bytes:
    """Return the key that a secret of Standard Webhooks stands for; empty if it is none.

    What is not base64 must not become a shorter key than it looks, or an empty one.
    """
    if isinstance(secret, bytes):
        return secret
    text = secret.removeprefix(_PREFIX)
    try:
        return b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        return b""


def check_signature(
    headers: Headers, body: bytes, secrets: Secrets, *, now: float, tolerance: float
) -> Signed:
    """Check that a delivery was signed with one of the secrets, and lately.

    Args:
        headers: As they came.
        body: As it came, before anything has read it as JSON.
        secrets: With what it may be signed.
        now: The present, in Unix seconds.
        tolerance: Seconds by which the clocks may differ, and the delivery be late.

    Raises:
        MissingSignature: There is none.
        BadSignature: It is that of somebody else, or of another body.
        StaleTimestamp: It was sent too long ago, or in the future.
        MalformedDelivery: The headers make no sense.
    """
    known = _by_name(headers)
    if "webhook-signature" in known:
        signed = _check_standard(known, body, secrets)
    else:
        signed = _check_heygen(known, body, secrets)
    if signed.sent_at is not None and abs(now - signed.sent_at) > tolerance:
        when = "in the future" if signed.sent_at > now else "too long ago"
        raise StaleTimestamp(f"the webhook was sent {when}: is the clock of this machine right?")
    return signed


def _check_standard(headers: Mapping[str, str], body: bytes, secrets: Secrets) -> Signed:
    event_id, timestamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp")
    # The specification forbids the full stop, which separates what is signed.
    if not event_id.isascii() or not 0 < len(event_id) <= _LONGEST_ID or "." in event_id:
        raise MalformedDelivery("the webhook has no proper Webhook-Id")
    sent_at = _time_of(timestamp)
    if sent_at is None:
        raise MalformedDelivery("the webhook has no Webhook-Timestamp")
    content = f"{event_id}.{timestamp}.".encode() + body
    if not secrets.has_signed_standard(content, headers["webhook-signature"]):
        raise BadSignature("the webhook is not signed with a secret that is known here")
    return Signed(event_id=event_id, sent_at=sent_at, is_id_signed=True)


def _check_heygen(headers: Mapping[str, str], body: bytes, secrets: Secrets) -> Signed:
    name = next((name for name in _HEYGEN_NAMES if name in headers), None)
    if name is None:
        raise MissingSignature("the webhook is not signed")
    if not secrets.has_signed(body, headers[name]):
        raise BadSignature("the webhook is not signed with a secret that is known here")
    sent_at = _time_of(headers.get("heygen-timestamp"))
    if sent_at is None and name == _HEYGEN_NAMES[0]:
        # Those who sent the other names had no timestamp.
        raise MalformedDelivery("the webhook has no Heygen-Timestamp")
    event_id = headers.get("heygen-event-id", "")[:_LONGEST_ID]
    return Signed(event_id=event_id, sent_at=sent_at, is_id_signed=False)


def _time_of(timestamp: str | None) -> float | None:
    if timestamp is None:
        return None
    if not _TIMESTAMP.fullmatch(timestamp):
        raise MalformedDelivery("the timestamp of the webhook is no number of seconds")
    return float(timestamp)


def _by_name(headers: Headers) -> dict[str, str]:
    """Return the headers by name in lower case."""
    found: dict[str, str] = {}
    pairs = headers.items() if isinstance(headers, HasItems) else headers
    for name, value in pairs:
        key = _text(name).lower()
        if key in found and (key in _HEYGEN_NAMES or key.startswith(("webhook-", "heygen-"))):
            # One of them may be that of a proxy, or of somebody who hopes that we read the other.
            raise MalformedDelivery(f"the webhook has the header {key} twice")
        found[key] = _text(value)
    return found


def _text(part: str | bytes) -> str:
    return part.decode("latin-1") if isinstance(part, bytes) else part
