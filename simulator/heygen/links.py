"""Signed addresses of result files: whoever has one may fetch that file, until it expires."""

import hmac
from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Final

__all__ = ["FILES", "Links"]

FILES: Final = "/files/{job_id}/{name}"
"""Where they are served."""


class Links:
    """Sign addresses, and recognise them.

    Args:
        secret: with which they are signed.
        wall: returns Unix time in seconds.
        lifetime: seconds for which an address is good.
    """

    def __init__(self, secret: bytes, wall: Callable[[], float], *, lifetime: float) -> None:
        self._secret = secret
        self._wall = wall
        self._lifetime = lifetime

    def url(self, base: str, job_id: str, name: str) -> str:
        """Return the address of a file, signed anew.

        Args:
            base: of the server, such as `http://127.0.0.1:8080`.
            job_id: of the job.
            name: of the file, such as `video.mp4`.
        """
        path = FILES.format(job_id=job_id, name=name)
        expires = str(int(self._wall() + self._lifetime))
        return f"{base}{path}?Expires={expires}&Signature={self._signature(path, expires)}"

    def admit(self, path: str, query: Mapping[str, str]) -> bool:
        """Tell whether somebody with this path and query may have the file."""
        expires = query.get("Expires", "")
        expected = self._signature(path, expires)
        shown = query.get("Signature", "").encode(errors="replace")
        is_ours = hmac.compare_digest(shown, expected.encode())
        return is_ours and self._wall() < int(expires)

    def _signature(self, path: str, expires: str) -> str:
        return hmac.new(
            self._secret, f"{path}\n{expires}".encode(errors="replace"), sha256
        ).hexdigest()
