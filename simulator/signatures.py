"""How webhooks are signed: by HeyGen's scheme, and by Standard Webhooks 1.0. Pure."""

import base64
import binascii
import hashlib
import hmac
from random import Random
from typing import Final, Self

__all__ = ["Secret"]

_PREFIX: Final = "whsec_"
_SHORTEST: Final = 24  # bytes, as is the longest; both from the specification of Standard Webhooks
_LONGEST: Final = 64


class Secret:
    """What signs the deliveries to one receiver. Its repr does not show it.

    Args:
        text: `whsec_` and base64 of 24 to 64 bytes.

    Raises:
        ValueError: it is something else; the error does not repeat it.
    """

    __slots__ = ("_key", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        """As its receiver is given it."""
        encoded = text.removeprefix(_PREFIX)
        padding = "=" * (-len(encoded) % 4)  # which some leave out
        try:
            self._key = base64.b64decode(encoded + padding, validate=True)
        except (binascii.Error, ValueError):
            self._key = b""
        if not text.startswith(_PREFIX) or not _SHORTEST <= len(self._key) <= _LONGEST:
            raise ValueError(
                f"A webhook secret is `{_PREFIX}` and base64 of {_SHORTEST} to {_LONGEST} bytes."
            )

    def __repr__(self) -> str:
        return "<Secret>"

    @classmethod
    def new(cls, random: Random) -> Self:
        """Return a secret that nobody has had before.

        Args:
            random: where it comes from; what can be guessed signs nothing.
        """
        return cls(_PREFIX + base64.b64encode(random.randbytes(_SHORTEST)).decode())

    def heygen(self, body: bytes) -> str:
        """Return what HeyGen puts into `Heygen-Signature`.

        It is HMAC-SHA256 of the body in lowercase hex, and the key is the text of the secret.
        """
        return hmac.new(self.text.encode(), body, hashlib.sha256).hexdigest()

    def standard(self, event_id: str, at: int, body: bytes) -> str:
        """Return one entry of `webhook-signature` (Standard Webhooks 1.0, "Signature scheme").

        Args:
            event_id: the `webhook-id`.
            at: the `webhook-timestamp`, Unix time in seconds.
            body: as it is sent, byte by byte.
        """
        signed = b"%b.%d.%b" % (event_id.encode(), at, body)
        digest = hmac.new(self._key, signed, hashlib.sha256).digest()
        return f"v1,{base64.b64encode(digest).decode()}"
