"""Know the moment a video translation is done.

Push updates over a WebSocket, backoff polling when the socket drops, and push again when it can:

    async with AsyncClient("http://127.0.0.1:8080") as client:
        job = await client.submit("https://example.com/talk.mp4", language="Spanish")
        async for status in client.watch(job):
            print(status.state, status.progress)
"""

from vtrans_hybrid.blocking import BlockingWatch, Client, HeyGenClient
from vtrans_hybrid.callbacks import Registration
from vtrans_hybrid.client import AsyncClient, AsyncHeyGenClient
from vtrans_hybrid.errors import (
    AuthError,
    BadSignature,
    ClientClosed,
    ConnectFailed,
    ConnectionLost,
    InvalidRequest,
    JobFailed,
    JobLost,
    JobNotFound,
    MalformedDelivery,
    MissingSignature,
    ProtocolError,
    QuotaExceeded,
    RateLimited,
    RequestTimeout,
    ServerError,
    StaleTimestamp,
    TransportError,
    Unavailable,
    Unsupported,
    VtransError,
    WatchTimeout,
    WebhookError,
)
from vtrans_hybrid.heygen import HeyGenAsset, HeyGenOptions
from vtrans_hybrid.models import Failure, Job, JobStatus, Position, Source, State
from vtrans_hybrid.policy import Backoff, PollPolicy, RetryPolicy
from vtrans_hybrid.stats import Stats
from vtrans_hybrid.transport import NetworkOptions
from vtrans_hybrid.watch import Watch

__all__ = [
    "AsyncClient",
    "AsyncHeyGenClient",
    "AuthError",
    "Backoff",
    "BadSignature",
    "BlockingWatch",
    "Client",
    "ClientClosed",
    "ConnectFailed",
    "ConnectionLost",
    "Failure",
    "HeyGenAsset",
    "HeyGenClient",
    "HeyGenOptions",
    "InvalidRequest",
    "Job",
    "JobFailed",
    "JobLost",
    "JobNotFound",
    "JobStatus",
    "MalformedDelivery",
    "MissingSignature",
    "NetworkOptions",
    "PollPolicy",
    "Position",
    "ProtocolError",
    "QuotaExceeded",
    "RateLimited",
    "Registration",
    "RequestTimeout",
    "RetryPolicy",
    "ServerError",
    "Source",
    "StaleTimestamp",
    "State",
    "Stats",
    "TransportError",
    "Unavailable",
    "Unsupported",
    "VtransError",
    "Watch",
    "WatchTimeout",
    "WebhookError",
]
