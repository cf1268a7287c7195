"""How webhooks are signed: by HeyGen's scheme, and by Standard Webhooks 1.0. Pure.

A secret is `whsec_` and base64 in both. HeyGen's scheme takes that text itself for its key,
Standard Webhooks the bytes that it stands for.
"""

import base64
import binascii
import hashlib
import hmac
from random import Random
from typing import Final

__all__ = ["check_secret", "heygen_signature", "new_secret", "standard_signature"]

_PREFIX: Final = "whsec_"
_SHORTEST: Final = 24  # bytes, as is the longest; both from the specification of Standard Webhooks
_LONGEST: Final = 64


def new_secret(random: Random) -> str:
    """Return a secret that nobody has had before.

    Args:
        random: where it comes from; what can be guessed signs nothing.
    """
    return _PREFIX + base64.b64encode(random.randbytes(_SHORTEST)).decode()


def check_secret(secret: str) -> None:
    """Check that a text is a secret.

    Raises:
        ValueError: it is none; the text does not repeat it.
    """
    if not _SHORTEST <= len(_key(secret)) <= _LONGEST:
        raise ValueError(
            f"A webhook secret stands for {_SHORTEST} to {_LONGEST} bytes: "
            f"`{_PREFIX}` and their base64."
        )


def heygen_signature(secret: str, body: bytes) -> str:
    """Return what HeyGen puts into `Heygen-Signature`: HMAC-SHA256 of the body, lowercase hex."""
    return hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def standard_signature(secret: str, event_id: str, at: int, body: bytes) -> str:
    """Return one entry of `webhook-signature` (Standard Webhooks 1.0, "Signature scheme").

    Args:
        secret: `whsec_` and base64.
        event_id: the `webhook-id`.
        at: the `webhook-timestamp`, Unix time in seconds.
        body: as it is sent, byte by byte.

    Raises:
        ValueError: the secret is none.
    """
    signed = b"%b.%d.%b" % (event_id.encode(), at, body)
    digest = hmac.new(_key(secret), signed, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"


def _key(secret: str) -> bytes:
    """Return the bytes that a secret stands for."""
    try:
        return base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError(f"A webhook secret is `{_PREFIX}` and base64.") from error
