"""Operations that may take several requests: an order of many languages, a read of many jobs.

How many depends on what the backend turns out to be, which the first request may show. Then nothing
has been carried out yet, and the operation is cut anew.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import anyio
import msgspec

from vtrans_hybrid.dialect import Capabilities, Read, Submit
from vtrans_hybrid.driver import Driver
from vtrans_hybrid.errors import JobNotFound, ProtocolError, Unsupported, VtransError
from vtrans_hybrid.models import JobStatus, Source

__all__ = ["as_read", "place_order", "read_jobs"]

_T = TypeVar("_T")


async def place_order(driver: Driver, order: Submit, give_up_at: float) -> list[JobStatus]:
    """Place an order and return the first status of each job, in the order of the languages."""

    async def place(capabilities: Capabilities) -> list[JobStatus]:
        parts = _parts(order, capabilities)
        answers = [await driver.call(part, give_up_at=give_up_at) for part in parts]
        return [status for answer in answers for status in answer.statuses]

    return await _in_its_way(driver, place)


async def read_jobs(
    driver: Driver, job_ids: Sequence[str], limit: int, give_up_at: float
) -> dict[str, JobStatus]:
    """Read jobs, with at most `limit` requests under way at once, until a monotonic time.

    Returns:
        The status by job id, in the order given.

    Raises:
        JobNotFound: The server does not know some of them; its `statuses` holds the others.
        ProtocolError: The server says nothing of a job.
    """
    found: dict[str, JobStatus] = {}
    missing: dict[str, VtransError] = {}

    async def read(capabilities: Capabilities) -> None:
        limiter = anyio.CapacityLimiter(limit)

        async def read_chunk(chunk: list[str]) -> None:
            operation = Read(jobs=dict.fromkeys(chunk, 0))
            async with limiter:
                try:
                    answer = await driver.call(operation, give_up_at=give_up_at)
                except JobNotFound as error:
                    missing[chunk[0]] = error
                    return
            half = set(answer.hearsay) if len(chunk) > 1 else set()
            for job_id in half:
                tasks.start_soon(read_chunk, [job_id])
            news = (status for status in answer.statuses if status.job_id not in half)
            found.update((status.job_id, as_read(status)) for status in news)
            missing.update((job_id, e) for job_id, e in answer.errors.items() if job_id not in half)

        async with anyio.create_task_group() as tasks:
            for chunk in capabilities.chunks(job_ids):
                tasks.start_soon(read_chunk, chunk)

    await _in_its_way(driver, read)
    for error in missing.values():
        if not isinstance(error, JobNotFound):
            raise error
    if missing:
        raise _unknown_jobs(missing, found) from next(iter(missing.values()))
    for job_id in job_ids:
        if job_id not in found:
            raise ProtocolError(f"the server's answer says nothing of job {job_id}", job_id=job_id)
    return {job_id: found[job_id] for job_id in job_ids}


def as_read(status: JobStatus) -> JobStatus:
    """Return a status as one that was asked for and stands alone: it has skipped nothing."""
    return msgspec.structs.replace(status, source=Source.POLL, skipped=0)


async def _in_its_way(driver: Driver, function: Callable[[Capabilities], Awaitable[_T]]) -> _T:
    """Call a function with what the backend can do, again if that turns out to be less."""
    driver.check_usable()
    while True:
        dialect = driver.backend.dialect
        failure: BaseException
        try:
            return await function(dialect.capabilities)
        except* VtransError as group:
            failure = group
            while isinstance(failure, BaseExceptionGroup):
                failure = failure.exceptions[0]
        if not isinstance(failure, Unsupported) or driver.backend.dialect is dialect:
            raise failure


def _parts(order: Submit, capabilities: Capabilities) -> list[Submit]:
    """Cut an order into as many as the backend wants, each with a key of its own."""
    most = capabilities.languages_per_order
    if most is None or len(order.languages) <= most:
        return [order]
    return [
        Submit(
            video=order.video,
            languages=order.languages[start : start + most],
            options=order.options,
            key=f"{order.key}-{start}",
        )
        for start in range(0, len(order.languages), most)
    ]


def _unknown_jobs(missing: dict[str, VtransError], found: dict[str, JobStatus]) -> JobNotFound:
    first = next(iter(missing))
    others = f", nor {len(missing) - 1} more" if len(missing) > 1 else ""
    error = JobNotFound(
        f"the server does not know job {first}{others}",
        status=404,
        code="not_found",
        job_id=first,
    )
    for note in getattr(missing[first], "__notes__", ()):
        error.add_note(note)
    error.statuses = found
    return error
