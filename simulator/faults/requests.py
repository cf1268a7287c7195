"""Faults of REST: what becomes of a request or its answer."""

from typing import Annotated, Literal

from msgspec import Meta

from simulator.faults.fault import Fault, HttpCode, Seconds, Share

__all__ = [
    "AuthExpire",
    "BulkPartial",
    "Garbage",
    "GzipBomb",
    "Hang",
    "HttpStatus",
    "Latency",
    "Overload",
    "Redirect",
    "SlowBody",
    "Split",
    "Stale",
    "TruncateBody",
]


class HttpStatus(Fault, frozen=True, kw_only=True):
    """Answer with this status instead of doing what was asked.

    Args:
        status: the HTTP status, 400 to 599.
        retry_after: the Retry-After header: seconds, or any text; None for none.
        as_date: whether seconds are written as the date at which they are over.
        body: the body of the answer; None for a problem document.
    """

    name = "status"
    where = "request"

    status: HttpCode = 503
    retry_after: Seconds | str | None = None
    as_date: bool = False
    body: str | None = None


class Hang(Fault, frozen=True, kw_only=True):
    """Take the request and fall silent.

    Args:
        seconds: after which the connection is reset; None for never.
        at: `before_headers` answers nothing at all, `mid_body` stops halfway through the body.
    """

    name = "hang"
    where = "request"

    seconds: Seconds | None = None
    at: Literal["before_headers", "mid_body"] = "before_headers"


class TruncateBody(Fault, frozen=True, kw_only=True):
    """End the connection in the middle of the body, which was announced whole.

    Args:
        fraction: of the body that is sent, from 0 to 1; its last byte never is.
    """

    name = "truncate_body"
    where = "request"

    fraction: Share = 0.5


class SlowBody(Fault, frozen=True, kw_only=True):
    """Send the body of the answer in drops.

    Args:
        bytes_per_second: how fast.
    """

    name = "slow_body"
    where = "request"

    bytes_per_second: Annotated[float, Meta(ge=1, le=1e9)] = 50.0


class Garbage(Fault, frozen=True, kw_only=True):
    """Answer 200 with a body that is no answer.

    Args:
        kind: `json` is broken off in the middle, `utf8` no text, `nan` JSON with a number that JSON
            does not have, `deep` nested a hundred thousand times, `huge_int` JSON with a number of
            five thousand digits, `html` a page of a proxy, `empty` nothing at all, `wrong_type`
            JSON of another shape.
    """

    name = "garbage"
    where = "request"

    kind: Literal["json", "utf8", "nan", "deep", "huge_int", "html", "empty", "wrong_type"] = "json"


class GzipBomb(Fault, frozen=True, kw_only=True):
    """Answer 200 with a small body, gzip-coded, that unpacks to a huge one.

    Args:
        megabytes: of zeros that it unpacks to.
    """

    name = "gzip_bomb"
    where = "request"

    megabytes: Annotated[int, Meta(ge=1, le=1000)] = 16


class Redirect(Fault, frozen=True, kw_only=True):
    """Send the caller elsewhere.

    Args:
        url: where to.
        status: 301, 302, 303, 307 or 308.
    """

    name = "redirect"
    where = "request"

    url: Annotated[str, Meta(min_length=1, max_length=2048)] = "http://elsewhere.example/"
    status: Literal[301, 302, 303, 307, 308] = 302


class Latency(Fault, frozen=True, kw_only=True):
    """Answer correctly, but late; what was asked is done at the end of the delay.

    Args:
        seconds: the least delay.
        jitter: seconds, of which a random part is added.
    """

    name = "latency"
    where = "request"

    seconds: Seconds = 1.0
    jitter: Seconds = 0.0


class AuthExpire(Fault, frozen=True, kw_only=True):
    """Answer 401, as if the caller's key had expired."""

    name = "auth_expire"
    where = "request"


class Overload(Fault, frozen=True, kw_only=True):
    """Answer 429 with Retry-After to whatever comes beyond a rate.

    Args:
        rps: requests per second that are served.
        retry_after: seconds that the others are asked to wait.
    """

    name = "overload"
    where = "request"

    rps: Annotated[float, Meta(ge=0.001, le=1e6)] = 1.0
    retry_after: Seconds = 1.0


class BulkPartial(Fault, frozen=True, kw_only=True):
    """Leave jobs out of a bulk answer, without a word.

    Args:
        fraction: of its jobs that are missing, from 0 to 1.
    """

    name = "bulk_partial"
    where = "request"

    fraction: Share = 0.5


class Stale(Fault, frozen=True, kw_only=True):
    """Answer a read from an older state, as a replica that lags behind does.

    Args:
        versions_back: by how many versions each job is older than it is, though never older than
            its first.
    """

    name = "stale"
    where = "read"

    versions_back: Annotated[int, Meta(ge=1, le=64)] = 1


class Split(Fault, frozen=True, kw_only=True):
    """Part push and REST: reads are answered as of some time ago, the channel is up to date.

    Args:
        behind: seconds by which reads lag.
    """

    name = "split"
    where = "read"

    behind: Seconds = 10.0
