"""Where on the page a reader looks for what: the public names in the order of his questions.

A method of a client stands in the chapter that it is about; those that are named nowhere stand with
their class.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

__all__ = ["Chapter", "DOCS", "INNER", "PAGES", "PUBLIC", "Page"]

DOCS = Path(__file__).parents[2] / "docs"

PUBLIC = (
    "vtrans_hybrid",
    "vtrans_hybrid.webhooks",
    "simulator",
    "simulator.faults",
    "simulator.testing",
    "pytest_vtrans",
)
"""What users are told to import; `pytest_vtrans` is imported by pytest."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Chapter:
    """A part of the page.

    Attributes:
        title: Its heading.
        intro: What it begins with.
        module: Where its names are imported from.
        names: What it describes, methods as `Class.method`. A name that nobody imports, for objects
            of its kind are handed out, has the module that defines it and a colon before it.
        form: `whole` describes everything, `short` has no line for an argument, `tree` is for
            errors, `list` for what is no more than a name and a sentence.
    """

    title: str
    intro: str
    module: str
    names: tuple[str, ...]
    form: Literal["whole", "short", "tree", "list"] = "whole"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Page:
    """A page; `path` is where it lies in docs."""

    path: str
    title: str
    intro: str
    chapters: tuple[Chapter, ...]


_CLIENT = (
    Chapter(
        title="The client",
        intro="""\
One `AsyncClient` serves any number of jobs. Whoever has no event loop takes a
[`Client`](#without-await), and for HeyGen there is [`AsyncClient.heygen`](#heygen).""",
        module="vtrans_hybrid",
        names=("AsyncClient", "NetworkOptions", "Stats"),
    ),
    Chapter(
        title="Jobs",
        intro="""\
Calls that ask the server for something, and end with its answer. Each tries again what may pass, as
its [`RetryPolicy`](#retrypolicy) has it, and then raises what was wrong last: any
[`TransportError`, `ServerError` or `ProtocolError`](#errors).""",
        module="vtrans_hybrid",
        names=(
            "AsyncClient.submit",
            "AsyncClient.submit_all",
            "AsyncClient.job",
            "AsyncClient.status",
            "AsyncClient.statuses",
            "AsyncClient.refresh_url",
            "AsyncClient.cancel",
            "AsyncClient.delete",
            "AsyncClient.list_jobs",
            "AsyncClient.languages",
            "Job",
        ),
    ),
    Chapter(
        title="Watching",
        intro="""\
Calls that follow jobs to their end, by push where possible and by polls where not. Trouble on the
way is no end: it ends by a final status, by the timeout, or where nothing more can come.""",
        module="vtrans_hybrid",
        names=(
            "AsyncClient.watch",
            "AsyncClient.watch_all",
            "AsyncClient.as_completed",
            "AsyncClient.wait",
            "AsyncClient.result",
            "AsyncClient.on_update",
            "Watch",
            "Registration",
            "vtrans_hybrid.callbacks:Callback",
            "vtrans_hybrid.callbacks:ErrorCallback",
        ),
    ),
    Chapter(
        title="Statuses",
        intro="What a watch yields, a read returns and a callback is called with.",
        module="vtrans_hybrid",
        names=("JobStatus", "State", "Source", "Failure", "Position"),
    ),
    Chapter(
        title="Errors",
        intro="""\
Every error is a `VtransError`; those below another one are its kinds. What is marked as retryable
may be gone with the next try. What a caller does wrong, such as a negative interval, is a
`ValueError` or a `TypeError`.""",
        module="vtrans_hybrid",
        names=(
            "VtransError",
            "TransportError",
            "ConnectFailed",
            "ConnectionLost",
            "RequestTimeout",
            "ServerError",
            "RateLimited",
            "QuotaExceeded",
            "AuthError",
            "InvalidRequest",
            "JobNotFound",
            "Unavailable",
            "Unsupported",
            "ProtocolError",
            "JobFailed",
            "JobLost",
            "WatchTimeout",
            "ClientClosed",
            "WebhookError",
            "MissingSignature",
            "BadSignature",
            "StaleTimestamp",
            "MalformedDelivery",
        ),
        form="tree",
    ),
    Chapter(
        title="Policies",
        intro="""\
How often a running job is read (`poll=`), and what becomes of a request that failed (`retry=`).
While the server pushes, neither matters much.""",
        module="vtrans_hybrid",
        names=("PollPolicy", "RetryPolicy", "Backoff"),
    ),
    Chapter(
        title="HeyGen",
        intro="What HeyGen's API adds to the rest; [heygen.md](heygen.md) is about using it.",
        module="vtrans_hybrid",
        names=("AsyncClient.heygen", "AsyncHeyGenClient", "HeyGenOptions", "HeyGenAsset"),
    ),
    Chapter(
        title="Webhooks",
        intro="""\
Being told by the server; [webhooks.md](webhooks.md) is about using it. What is imported comes from
`vtrans_hybrid.webhooks`.""",
        module="vtrans_hybrid.webhooks",
        names=(
            "WebhookReceiver",
            "verify",
            "Delivery",
            "Reply",
            "ReceiverStats",
            "Announced",
            "AsyncClient.announced",
            "AsyncClient.endpoints",
            "vtrans_hybrid.endpoints:Endpoints",
            "vtrans_hybrid.endpoints:Endpoint",
        ),
    ),
    Chapter(
        title="Without await",
        intro="""\
The same for scripts and threads. Arguments, results and errors are those of the call of the same
name above.""",
        module="vtrans_hybrid",
        names=(
            "Client",
            "BlockingWatch",
            "HeyGenClient",
            "vtrans_hybrid.endpoints:BlockingEndpoints",
        ),
        form="short",
    ),
)

_SIMULATOR = (
    Chapter(
        title="The simulator",
        intro="""\
A backend in this process: `from simulator import Simulator`. In a process of its own it has options
for the same, which `python -m simulator --help` lists.""",
        module="simulator",
        names=(
            "Simulator",
            "Status",
            "Call",
            "Pace",
            "ChannelOptions",
            "HeyGenOptions",
            "ServerStats",
            "ReplicaStats",
            "ChannelStats",
            "DelivererStats",
            "FaultPlan",
            "Rule",
            "Match",
            "simulator.plan:Injection",
            "simulator.plan:Facts",
        ),
    ),
    Chapter(
        title="Faults of the simulator",
        intro="""\
What `sim.faults.add` takes, from `simulator.faults`. [faults.md](faults.md) has their parameters;
there each stands under the name that the control API, the command line and files have for it.""",
        module="simulator.faults",
        names=("Fault", "FAULTS", "FAMILIES", "Where", "Direction", "STANDING", "ONCE"),
        form="list",
    ),
    Chapter(
        title="pytest fixtures",
        intro="""\
They are there as soon as this is installed, and take options by the marks of their names, such as
`@pytest.mark.virtual_simulator(delay=600)`. [testing.md](testing.md) is about using them.""",
        module="pytest_vtrans",
        names=("virtual_simulator", "virtual_network", "virtual_time", "virtual_seed"),
        form="list",
    ),
    Chapter(
        title="Tests on virtual time",
        intro="""\
Real clients and servers on a clock that jumps from timer to timer, over a network in memory: what
the [fixtures](#pytest-fixtures) are made of, from `simulator.testing`.""",
        module="simulator.testing",
        names=(
            "run",
            "Network",
            "NetworkStats",
            "Fault",
            "Connection",
            "Address",
            "Dial",
            "Where",
            "Direction",
            "Observer",
            "current_network",
            "VirtualRunner",
            "VirtualLoop",
            "Threads",
            "loop_factory",
            "determined",
            "START",
            "WALL_CLOCK_START",
        ),
    ),
    Chapter(
        title="Errors of virtual time",
        intro="Why a run on virtual time cannot go on.",
        module="simulator.testing",
        names=("VirtualTimeError", "DeadlockError", "LimitError", "UnsupportedError"),
        form="tree",
    ),
)

PAGES = (
    Page(
        path="api.md",
        title="API of the client",
        intro="""\
Every public name of `vtrans_hybrid`, in the words of its signature and its docstring. Durations are
numbers of seconds. What is not named here may change at any time. The backend to test against has
[a page of its own](api-simulator.md). `python -m tests.describe_api` writes both.""",
        chapters=_CLIENT,
    ),
    Page(
        path="api-simulator.md",
        title="API of the simulator",
        intro="""\
Every public name of `simulator`, `simulator.faults` and `simulator.testing`, and the pytest
fixtures, in the words of its signature and its docstring. Durations are numbers of seconds. What is
not named here may change at any time. The client has [a page of its own](api.md).
`python -m tests.describe_api` writes both.""",
        chapters=_SIMULATOR,
    ),
)

INNER = {
    "Backoff": {"delay"},
    "BlockingEndpoints": {"run"},
    "Connection": {"clock", "note_received", "note_sent"},
    "Delivery": {"marks"},
    "Fault": {"hits", "remove", "where"},
    "FaultPlan": {
        "asks",
        "decide",
        "forget",
        "in_force",
        "next_change",
        "on_change",
        "standing",
    },
    "HeyGenOptions": {"check"},
    "JobStatus": {"gone"},
    "Network": {
        "answer",
        "attach",
        "delay",
        "dial",
        "holds",
        "listen",
        "pieces",
        "resolve",
        "rng",
        "transmission_time",
    },
    "PollPolicy": {"interval"},
    "Rule": {"build", "without_key"},
    "Simulator": {"connections", "replica", "routes"},
    "State": {"rank"},
    "VirtualLoop": {
        "call_at",
        "call_later",
        "call_soon",
        "close",
        "create_connection",
        "create_server",
        "getaddrinfo",
        "getnameinfo",
        "run_in_executor",
        "sock_connect",
        "task_numbers",
    },
}
"""What is public for other modules of ours, and of no use to anybody else."""
