"""The promises of docs/guarantees.md as plain functions over what a test has recorded.

Each raises `AssertionError` with a sentence when its promise is broken. They know nothing of how
the record came about, so that the pure core, the whole stack on virtual time and real sockets are
all judged by the same words. What a watcher saw is a sequence of statuses in order of arrival;
times are seconds of whatever clock the test runs on.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise

from vtrans_hybrid.models import JobStatus

__all__ = [
    "PROMISES",
    "e1_push_share",
    "e2_budget",
    "e3_dials",
    "e4_retry_after",
    "e5_one_socket",
    "l1_final_in_time",
    "l2_silence_noticed",
    "l4_timeout_in_time",
    "l5_at_once",
    "s1_at_most_once",
    "s2_ascending",
    "s3_final_once_and_last",
    "s4_real",
    "s5_nothing_skipped",
    "s5_skipped_is_counted",
    "s7_present_first",
]

PROMISES = tuple(
    f"{family}{number}"
    for family, count in (("S", 7), ("L", 6), ("R", 3), ("E", 5))
    for number in range(1, count + 1)
)
"""Their names."""


def _by_job(seen: Iterable[JobStatus]) -> dict[str, list[JobStatus]]:
    jobs: dict[str, list[JobStatus]] = {}
    for status in seen:
        jobs.setdefault(status.job_id, []).append(status)
    return jobs


def _name(status: JobStatus) -> str:
    return f"{status.job_id} {status.epoch}.{status.version} ({status.state})"


def s1_at_most_once(seen: Iterable[JobStatus]) -> None:
    """S1: no position of a job reaches a watcher twice."""
    met = set()
    for status in seen:
        place = (status.job_id, status.epoch, status.version)
        assert place not in met, f"{_name(status)} was delivered twice"
        met.add(place)


def s2_ascending(seen: Iterable[JobStatus]) -> None:
    """S2: positions of a job strictly ascend."""
    for statuses in _by_job(seen).values():
        for before, after in pairwise(statuses):
            assert before.position < after.position, f"{_name(after)} came after {_name(before)}"


def s3_final_once_and_last(
    seen: Iterable[JobStatus], *, ended: Iterable[str] | None = None
) -> None:
    """S3: the final status comes once, and nothing after it.

    Args:
        seen: What a watcher saw.
        ended: Jobs of which it must have seen the final status; None asks for none.
    """
    jobs = _by_job(seen)
    for statuses in jobs.values():
        for status in statuses[:-1]:
            assert not status.is_final, f"{_name(statuses[-1])} came after {_name(status)}"
    for job_id in ended or ():
        assert job_id in jobs, f"nothing was ever delivered of {job_id}"
        assert jobs[job_id][-1].is_final, f"{job_id} ended as {_name(jobs[job_id][-1])}"


def s4_real(
    seen: Iterable[JobStatus], find: Callable[[JobStatus], Mapping[str, object] | None]
) -> None:
    """S4: every status is one that the server really had, in all that it says.

    Args:
        seen: What a watcher saw.
        find: Returns what the server had at the position of a status: the values of fields of
            `JobStatus` by name, of as many as can be known. None where it had nothing there.
    """
    for status in seen:
        had = find(status)
        assert had is not None, f"{_name(status)} never existed at the server"
        for field, value in had.items():
            told = getattr(status, field)
            assert told == value, f"{field} of {_name(status)} was {value!r} there, not {told!r}"


def s5_skipped_is_counted(seen: Iterable[JobStatus], *, may_begin_anew: bool = False) -> None:
    """S5, either mode: `skipped` says how many versions are missing, None after a restart.

    Args:
        seen: What a watcher saw.
        may_begin_anew: Whether the history may have begun anew before the first of them was read.
    """
    for statuses in _by_job(seen).values():
        before = None
        for status in statuses:
            missing: int | None = status.version - 1
            if before is not None and before.epoch == status.epoch:
                missing = status.version - before.version - 1
            elif before is not None or (may_begin_anew and status.skipped is None):
                missing = None
            assert status.skipped == missing, (
                f"{_name(status)} says that {status.skipped} were skipped, not {missing}"
            )
            before = status


def s5_nothing_skipped(seen: Iterable[JobStatus], *, is_late: bool = False) -> None:
    """S5, mode all: nothing is missing, but what the server itself no longer keeps.

    Args:
        seen: What a watcher saw.
        is_late: Whether others watched before, so that the first status is the present one.
    """
    for statuses in _by_job(seen).values():
        for status in statuses[1:] if is_late else statuses:
            assert not status.skipped or status.gap, (
                f"{status.skipped} versions before {_name(status)} are missing without need"
            )


def s7_present_first(seen: Sequence[JobStatus], present: JobStatus) -> None:
    """S7: a late watcher sees the present status first, or a newer one."""
    assert seen, f"nothing was delivered, and {_name(present)} was known"
    assert seen[0].position >= present.position, (
        f"{_name(seen[0])} came first, and {_name(present)} was known"
    )


def l1_final_in_time(ended_at: float, *, healed_at: float, limit: float = 45.0) -> None:
    """L1: the end is known within a poll cap and a request timeout after the last fault."""
    late = ended_at - healed_at
    assert late <= limit, f"the end came {late:.3f} s after the last fault, not within {limit:g} s"


def l2_silence_noticed(
    noticed_at: float, *, silent_since: float, ping: float = 5.0, grace: float = 5.0
) -> None:
    """L2: a half-open socket is noticed within ping + grace + 1 s."""
    after, limit = noticed_at - silent_since, ping + grace + 1
    assert after <= limit, f"the dead socket was noticed after {after:.3f} s, not {limit:g} s"


def l4_timeout_in_time(ended_at: float, *, deadline: float) -> None:
    """L4: a timeout fires at its time, not before, and 0.1 s later at most."""
    late = ended_at - deadline
    assert -1e-6 <= late <= 0.1, f"the timeout fired {late:.3f} s after its time"


def l5_at_once(seconds: float) -> None:
    """L5: cancelling and closing take a tenth of a second at most."""
    assert seconds <= 0.1 + 1e-6, f"it took {seconds:.3f} s, not 0.1 s"


def e1_push_share(*, pushes: int, polls: int, share: float = 0.995) -> None:
    """E1: at least this share of the updates came by push."""
    updates = pushes + polls
    assert updates, "there was no update at all, so nothing is shown"
    assert pushes >= share * updates, f"{pushes} of {updates} updates came by push"


def e2_budget(times: Sequence[float], *, rate: float, burst: float) -> None:
    """E2: in no window are there more requests than the budget allows.

    Args:
        times: When requests were sent, ascending.
        rate: Requests per second.
        burst: Requests that may be saved up.
    """
    # The fullest windows begin and end with a request. With f(i) = i - rate * t(i), one from i to
    # j is too full where f(j) - f(i) + 1 exceeds the burst, so the least f so far is enough.
    least, least_at = math.inf, 0
    for index, at in enumerate(times):
        height = index - rate * at
        if height < least:
            least, least_at = height, index
        count = index - least_at + 1
        allowed = burst + rate * (at - times[least_at])
        assert count <= allowed + 1e-3, (
            f"{count} requests between {times[least_at]:.2f} and {at:.2f} s, {allowed:.1f} allowed"
        )


def e3_dials(times: Sequence[float], *, most: int = 10, window: float = 60.0) -> None:
    """E3: no minute has more than ten dials."""
    for index in range(len(times) - most):
        span = times[index + most] - times[index]
        assert span >= window - 1e-6, f"{most + 1} dials within {span:.3f} s, not {window:g} s"


def e4_retry_after(times: Iterable[float], asked: Iterable[tuple[float, float]]) -> None:
    """E4: no request is sent while the server has asked for none.

    Args:
        times: When requests were sent.
        asked: From when until when there should be none.
    """
    spans = list(asked)
    for at in times:
        for since, until in spans:
            assert not since < at < until - 1e-6, (
                f"a request at {at:.2f} s: at {since:.2f} s none was allowed until {until:.2f} s"
            )


def e5_one_socket(open_sockets: int, *, draining: int = 0) -> None:
    """E5: one socket an endpoint, and one more while one drains."""
    assert open_sockets <= 1 + draining, f"{open_sockets} sockets are open, {draining} draining"
