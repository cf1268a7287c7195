"""The error tree: what it says about retrying, and that it is as documented."""

import pickle
from pathlib import Path

import pytest

from vtrans_hybrid import errors
from vtrans_hybrid.errors import (
    ConnectFailed,
    ConnectionLost,
    JobFailed,
    JobNotFound,
    RateLimited,
    RequestTimeout,
    ServerError,
    VtransError,
    WatchTimeout,
)
from vtrans_hybrid.models import JobStatus, State

CLASSES = [getattr(errors, name) for name in errors.__all__]
RETRYABLE = {
    "ConnectFailed",
    "ConnectionLost",
    "ProtocolError",
    "RateLimited",
    "RequestTimeout",
    "TransportError",
    "Unavailable",
}


def make(kind: type[VtransError]) -> VtransError:
    """Make an error of a kind."""
    if kind is JobFailed:
        return JobFailed("why", job_status=JobStatus(job_id="job-1", state=State.ERROR))
    return kind("why")


@pytest.mark.parametrize("kind", CLASSES)
def test_one_except_clause_suffices(kind: type[VtransError]) -> None:
    """Every error derives from VtransError and says its sentence."""
    error = make(kind)

    assert isinstance(error, VtransError)
    assert str(error) == "why"


@pytest.mark.parametrize("kind", CLASSES)
def test_errors_say_whether_to_retry(kind: type[VtransError]) -> None:
    """Whether trying again may help is a fact of the class, and known for each."""
    assert kind.retryable is (kind.__name__ in RETRYABLE)


def test_the_tree_is_drawn_as_it_is() -> None:
    """The tree in the docstring of the module is the tree of the classes."""
    text = Path(errors.__file__).read_text(encoding="utf-8").split('"""')[1]
    drawn = {}
    trail: list[str] = []
    for line in text.splitlines():
        if line.strip().startswith("* `"):
            level = (len(line) - len(line.lstrip())) // 4
            name = line.split("`")[1]
            trail[level:] = [name]
            drawn[name] = trail[level - 1] if level else "Exception"

    real = {kind.__name__: kind.__bases__[0].__name__ for kind in CLASSES}
    assert drawn == real


def test_builtin_kin() -> None:
    """Who catches the builtin errors of the same meaning catches ours, too."""
    assert issubclass(ConnectFailed, OSError)
    assert issubclass(RequestTimeout, TimeoutError)
    assert issubclass(WatchTimeout, TimeoutError)


def test_attributes() -> None:
    """What an application asks an error for is there, with a value for "not said"."""
    lost = ConnectionLost("gone", code=1006, reason="bye")
    server = ServerError("no", status=418, code="teapot", retry_after=2.0, request_id="r1")

    assert (lost.code, lost.reason, lost.job_id) == (1006, "bye", None)
    assert (server.status, server.code, server.retry_after) == (418, "teapot", 2.0)
    assert server.request_id == "r1"
    assert ServerError("no").retry_after is None
    assert RateLimited("no", job_id="job-1").job_id == "job-1"
    assert dict(JobNotFound("no").statuses) == {}
    assert WatchTimeout("late").last_status is None


@pytest.mark.parametrize("kind", CLASSES)
def test_errors_cross_processes(kind: type[VtransError]) -> None:
    """An error survives pickling, so that a pool of processes can report it."""
    error = make(kind)
    error.job_id = "job-1"

    copy = pickle.loads(pickle.dumps(error))

    assert type(copy) is kind
    assert str(copy) == "why"
    assert vars(copy) == vars(error)
