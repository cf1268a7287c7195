"""Faults of HeyGen's face: what its paths say of jobs, and of the account."""

from typing import Literal

from simulator.faults.fault import Fault, Seconds

__all__ = [
    "AliasWords",
    "ErrorInside",
    "LateUrl",
    "NotFoundAtFirst",
    "OutOfCredit",
    "RegressState",
]


class NotFoundAtFirst(Fault, frozen=True, kw_only=True):
    """Know nothing of a translation that was ordered just now: 404, in bulk `not_found`.

    Args:
        seconds: after the order, in which it is unknown.
    """

    name = "not_found_at_first"
    where = "read"

    seconds: Seconds = 5.0


class LateUrl(Fault, frozen=True, kw_only=True):
    """Say `completed` some time before there is an URL.

    Args:
        seconds: after the end, in which there is none.
    """

    name = "late_url"
    where = "read"

    seconds: Seconds = 5.0


class AliasWords(Fault, frozen=True, kw_only=True):
    """Tell the status in words of other paths, other versions, or of the guides.

    Args:
        style: `guides` says waiting, processing, succeeded; `v2` success; `bulk` queued,
            processing; `upper` writes the right word in capitals.
    """

    name = "alias_words"
    where = "read"

    style: Literal["guides", "v2", "bulk", "upper"] = "guides"


class RegressState(Fault, frozen=True, kw_only=True):
    """Say that a translation is back where it was before.

    Args:
        state: which it tells of those that are further, or have ended.
    """

    name = "regress_state"
    where = "read"

    state: Literal["pending", "running"] = "pending"


class ErrorInside(Fault, frozen=True, kw_only=True):
    """Answer the read of one translation with 200, and with an error beside the data.

    Args:
        code: of the error.
        message: of the error.
    """

    name = "error_inside"
    where = "read"

    code: str = "internal_error"
    message: str = "Something went wrong."


class OutOfCredit(Fault, frozen=True, kw_only=True):
    """Refuse orders, for the account has nothing left.

    Args:
        code: `insufficient_credit` comes with 402; `quota_exceeded` and `resource_limit_reached`
            with 429, and without Retry-After.
    """

    name = "out_of_credit"
    where = "request"

    code: Literal["insufficient_credit", "quota_exceeded", "resource_limit_reached"] = (
        "insufficient_credit"
    )
