"""Every error that this library raises.

All of them derive from `VtransError`, so that one `except` clause suffices. They are told apart by
the question an application asks next: did anybody answer, was the answer a refusal, or was it no
answer at all in the words of docs/protocol.md?

* `VtransError`
    * `TransportError`: nobody answered
        * `ConnectFailed` (also an `OSError`)
        * `ConnectionLost`
        * `RequestTimeout` (also a `TimeoutError`)
    * `ServerError`: somebody answered, and refused
        * `RateLimited`
        * `QuotaExceeded`
        * `AuthError`
        * `InvalidRequest`
        * `JobNotFound`
        * `Unavailable`
        * `Unsupported`
    * `ProtocolError`: the answer breaks the protocol
    * `JobFailed`: the job ended without a result; raised by `result()` alone
    * `JobLost`: the server lost its state, and the job with it
    * `WatchTimeout` (also a `TimeoutError`): the total timeout passed
    * `ClientClosed`: the client is closed
    * `WebhookError`: a delivery is refused
        * `MissingSignature`
        * `BadSignature`
        * `StaleTimestamp`
        * `MalformedDelivery`

Misuse by the caller, such as a negative interval, is a `ValueError` or a `TypeError`.
"""

from __future__ import annotations

from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from vtrans_hybrid.models import JobStatus

__all__ = [
    "AuthError",
    "BadSignature",
    "ClientClosed",
    "ConnectFailed",
    "ConnectionLost",
    "InvalidRequest",
    "JobFailed",
    "JobLost",
    "JobNotFound",
    "MalformedDelivery",
    "MissingSignature",
    "ProtocolError",
    "QuotaExceeded",
    "RateLimited",
    "RequestTimeout",
    "ServerError",
    "StaleTimestamp",
    "TransportError",
    "Unavailable",
    "Unsupported",
    "VtransError",
    "WatchTimeout",
    "WebhookError",
]


class VtransError(Exception):
    """Base class of every error of this library.

    Attributes:
        job_id: The job concerned; None where the error concerns no single job.
        retryable: Whether the same request may succeed later.
    """

    # Policy asks the error, so that no second list of retryable errors exists.
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, *, job_id: str | None = None) -> None:
        super().__init__(message)
        self.job_id = job_id


class TransportError(VtransError):
    """No answer came: the request may or may not have reached the server."""

    retryable = True


class ConnectFailed(TransportError, OSError):
    """No connection could be made: the name, the port, the network or TLS."""


class ConnectionLost(TransportError):
    """An established connection ended before its work was done.

    Attributes:
        code: Close code of the WebSocket (RFC 6455 section 7.4); None where no close frame came or
            the connection was no WebSocket.
        reason: Close reason, often empty.
    """

    def __init__(self, message: str, *, code: int | None = None, reason: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason


class RequestTimeout(TransportError, TimeoutError):
    """No answer within `RetryPolicy.request_timeout`, or within the timeout of the call."""


class ServerError(VtransError):
    """The server answered with a status outside 200-299.

    Attributes:
        status: HTTP status code.
        code: The server's own word for the problem; empty where it gave none.
        retry_after: Lower bound in seconds for the next try; None where the server gave none.
        request_id: Identifier to quote to whoever runs the server; None where it gave none.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int = 0,
        code: str = "",
        retry_after: float | None = None,
        request_id: str | None = None,
        job_id: str | None = None,
    ) -> None:
        super().__init__(message, job_id=job_id)
        self.status = status
        self.code = code
        self.retry_after = retry_after
        self.request_id = request_id


class RateLimited(ServerError):
    """Too many requests or jobs at once; `retry_after` says when to come back, if it was said."""

    retryable = True


class QuotaExceeded(ServerError):
    """The account has no credit or no quota left: waiting does not help.

    It says nothing of what was ordered before, so a watch that polls goes on, once it has heard of
    the server.
    """


class AuthError(ServerError):
    """The API key is missing, wrong or not allowed to do this."""


class InvalidRequest(ServerError):
    """The server rejects the request as it stands; sending it again would fail again."""


class JobNotFound(ServerError):
    """The server does not know this job.

    Attributes:
        statuses: What a read of many jobs did find, by job id; empty otherwise.
    """

    statuses: Mapping[str, JobStatus] = MappingProxyType({})


class Unavailable(ServerError):
    """The server cannot answer now: HTTP 408, 425, 500, 502, 503 or 504."""

    retryable = True


class Unsupported(ServerError):
    """This backend has no such operation, or there is no backend at this address at all."""


class ProtocolError(VtransError):
    """The peer sent something that docs/protocol.md does not allow.

    It is retryable: a proxy's error page or a half-deployed server passes.
    """

    retryable = True


class JobFailed(VtransError):
    """The job ended in another state than completed. From `result` and `refresh_url` alone.

    Attributes:
        job_status: The final status.
    """

    def __init__(self, message: str, *, job_status: JobStatus) -> None:
        super().__init__(message, job_id=job_status.job_id)
        self.job_status = job_status

    def __reduce__(self) -> tuple[Callable[..., JobFailed], tuple[str, ...], dict[str, object]]:
        """Pickle with the status, which the constructor must have."""
        return partial(type(self), job_status=self.job_status), self.args, vars(self)


class JobLost(VtransError):
    """The job was known, and after the server came back it is known no more."""


class WatchTimeout(VtransError, TimeoutError):
    """The total timeout passed before a final status.

    That alone does not end the job; `cancel_on_timeout` asks the server to. Notes say what came of
    that, and what the last trouble was where the server was not to be reached.

    Attributes:
        last_status: The newest status seen; None where there was none.
    """

    def __init__(
        self, message: str, *, job_id: str | None = None, last_status: JobStatus | None = None
    ) -> None:
        super().__init__(message, job_id=job_id)
        self.last_status = last_status


class ClientClosed(VtransError):
    """The client is closed: what waited on it ends with this, and so does whatever is asked later.

    Where the client has ended by itself, the message says why.
    """

    def __init__(self, message: str = "the client is closed") -> None:
        super().__init__(message)


class WebhookError(VtransError):
    """A webhook delivery is refused. The message repeats nothing that it holds."""


class MissingSignature(WebhookError):
    """The delivery is not signed."""


class BadSignature(WebhookError):
    """The delivery is signed by somebody else, or was changed on its way."""


class StaleTimestamp(WebhookError):
    """The delivery was sent too long ago, or in the future; or the clock of this machine is off."""


class MalformedDelivery(WebhookError):
    """The delivery has headers or a body that make no sense."""
