"""The calls that ask the server for something, and end with its answer."""

from __future__ import annotations

import math
import random
import uuid
from collections.abc import AsyncIterator, Iterable

from vtrans_hybrid.arguments import check_timeout, id_of, ids_of, order_of
from vtrans_hybrid.bulk import as_read, place_order, read_jobs
from vtrans_hybrid.dialect import (
    Answer,
    Cancel,
    Delete,
    Languages,
    ListJobs,
    Operation,
    ReadDefault,
)
from vtrans_hybrid.driver import Driver
from vtrans_hybrid.endpoints import Endpoints
from vtrans_hybrid.errors import ProtocolError, VtransError
from vtrans_hybrid.models import Job, JobStatus, check_job_id
from vtrans_hybrid.watch import check_result

__all__ = ["Calls"]


class Calls:
    """Orders, reads, lists and ends jobs. `AsyncClient` adds to it what follows them.

    Each call repeats what fails, as its policy has it. `Unsupported` is raised for what the backend
    does not do.

    Args:
        driver: Carries out operations.
        rand: Source of the keys by which orders are told apart.
        total_timeout: Seconds that a call may take which is given no timeout; None sets no limit.
    """

    def __init__(self, driver: Driver, rand: random.Random, total_timeout: float | None) -> None:
        self._driver = driver
        self._random = rand
        self._total_timeout = total_timeout

    # Order and cancel.

    async def submit(
        self, video: str, *, language: str, timeout: float | None = None, **options: object
    ) -> Job:
        """Order the translation of a video into one language.

        Args:
            video: URL of the video.
            language: Target language.
            timeout: Total time limit in seconds; None takes `RetryPolicy.total_timeout`.
            options: Further fields of the order in the backend's words, such as `title`.

        Raises:
            InvalidRequest: The server rejects the order.
            VtransError: It is not known whether the order was placed. The client's own tries never
                place it twice; another call may, where the answer to this one was lost.
        """
        [job] = await self.submit_all(video, languages=[language], timeout=timeout, **options)
        return job

    async def submit_all(
        self,
        video: str,
        *,
        languages: Iterable[str],
        timeout: float | None = None,
        **options: object,
    ) -> list[Job]:
        """Order translations of a video into several languages: one job each, in their order.

        An idempotency key goes with every order, so that a retry never orders twice.

        Args:
            video: URL of the video.
            languages: Target languages.
            timeout: Total time limit in seconds; None takes `RetryPolicy.total_timeout`.
            options: Further fields of the order in the backend's words, such as `title`.

        Raises:
            InvalidRequest: The server rejects the order.
            VtransError: As for `submit`.
        """
        key = str(uuid.UUID(int=self._random.getrandbits(128), version=4))
        order = order_of(video, languages, options, key)
        statuses = await place_order(self._driver, order, self._give_up_at(timeout))
        wanted = order.languages
        if len(statuses) != len(wanted):
            raise ProtocolError(f"{len(wanted)} languages were ordered, {len(statuses)} jobs came")
        self._driver.created(statuses)
        return [
            Job(job_id=check_job_id(status.job_id), language=language, status=as_read(status))
            for status, language in zip(statuses, wanted, strict=True)
        ]

    async def cancel(self, job: Job | str, *, timeout: float | None = None) -> JobStatus:
        """Cancel a job and return its status; a job that has ended stays as it is.

        Args:
            job: The job, or its id.
            timeout: Total time limit in seconds; None takes `RetryPolicy.total_timeout`.

        Raises:
            Unsupported: The backend cannot cancel.
            JobNotFound: The server does not know the job.
        """
        operation = Cancel(job_id=id_of(job))
        answer = await self._driver.call(operation, give_up_at=self._give_up_at(timeout))
        self._driver.observed(answer.statuses)
        return as_read(answer.statuses[0])

    async def delete(self, job: Job | str, *, timeout: float | None = None) -> None:
        """Delete a job and its result for good; whoever watches it gets `JobNotFound`.

        Args:
            job: The job, or its id.
            timeout: Total time limit in seconds; None takes `RetryPolicy.total_timeout`.

        Raises:
            Unsupported: The backend cannot delete.
            JobNotFound: The server does not know the job, perhaps since an attempt before this one
                deleted it and the answer was lost.
        """
        answer = await self._call(Delete(job_id=id_of(job)), timeout)
        self._driver.observed(answer.statuses)

    # What there is.

    def job(self, job_id: str) -> Job:
        """Take up a job again whose id is known. No request is made.

        Args:
            job_id: What the backend called it.

        Raises:
            ValueError: It cannot be a job id, which has 1 to 128 letters, digits and `_.:-`.
        """
        return Job(job_id=check_job_id(job_id))

    async def status(
        self, job: Job | str | None = None, *, timeout: float | None = None
    ) -> JobStatus:
        """Read the status of one job now.

        Args:
            job: The job, or its id; None is the default job of a server that has one.
            timeout: Total time limit in seconds; None takes `RetryPolicy.total_timeout`.

        Raises:
            JobNotFound: The server does not know the job.
        """
        if job is None:
            give_up_at = self._give_up_at(timeout)
            answer = await self._driver.call(ReadDefault(), give_up_at=give_up_at)
            return as_read(answer.statuses[0])
        return next(iter((await self.statuses([job], timeout=timeout)).values()))

    async def statuses(
        self, jobs: Iterable[Job | str], *, limit: int = 10, timeout: float | None = None
    ) -> dict[str, JobStatus]:
        """Read the status of many jobs now, in as few requests as the server allows.

        Args:
            jobs: The jobs, or their ids.
            limit: How many requests may be under way at once.
            timeout: Total time limit in seconds; None takes `RetryPolicy.total_timeout`.

        Returns:
            The status by job id, in the order given.

        Raises:
            JobNotFound: The server does not know some of them; its `statuses` holds the others.
        """
        if limit < 1:
            raise ValueError(f"limit must be at least 1, not {limit}")
        job_ids = list(dict.fromkeys(ids_of(jobs)))
        return await read_jobs(self._driver, job_ids, limit, self._give_up_at(timeout))

    async def refresh_url(self, job: Job | str, *, timeout: float | None = None) -> str:
        """Return an address of the result that was signed just now: such addresses expire.

        Args:
            job: The job, or its id.
            timeout: Total time limit in seconds; None takes `RetryPolicy.total_timeout`.

        Raises:
            JobFailed: The job ended without a result.
            JobNotFound: The server does not know the job.
            VtransError: There is no result yet.
        """
        status = await self.status(id_of(job), timeout=timeout)
        if status.is_final:
            check_result(status)
        if status.result_url is None:
            sentence = f"job {status.job_id} is {status.state} and has no result yet"
            raise VtransError(sentence, job_id=status.job_id)
        return status.result_url

    async def list_jobs(
        self, *, page_size: int | None = None, timeout: float | None = None
    ) -> AsyncIterator[JobStatus]:
        """Iterate over all jobs of this key as they are now, in the order that the server has.

        Args:
            page_size: How many jobs to ask for at a time; None leaves it to the server.
            timeout: Time limit in seconds of each request with all its tries; None takes
                `RetryPolicy.total_timeout`.

        Raises:
            Unsupported: The backend cannot list jobs.
        """
        token = ""
        while True:
            page = await self._call(ListJobs(limit=page_size, token=token), timeout)
            for status in page.statuses:
                yield as_read(status)
            if not page.next_token or page.next_token == token:
                return
            token = page.next_token

    async def languages(self, *, timeout: float | None = None) -> list[str]:
        """Return the languages that videos can be translated into, as orders name them.

        Args:
            timeout: Total time limit in seconds; None takes `RetryPolicy.total_timeout`.

        Raises:
            Unsupported: The backend does not tell.
        """
        return list((await self._call(Languages(), timeout)).languages)

    def endpoints(self) -> Endpoints:
        """Return what manages the addresses that the server sends webhooks to; asks nothing."""
        return Endpoints(self._call)

    # Private methods.

    async def _call(self, operation: Operation, timeout: float | None) -> Answer:
        return await self._driver.call(operation, give_up_at=self._give_up_at(timeout))

    def _give_up_at(self, timeout: float | None) -> float:
        """Return the monotonic time in seconds at which a call that begins now has to end."""
        total = self._total_timeout if timeout is None else check_timeout(timeout)
        now = self._driver.check_usable().time()
        return math.inf if total is None else now + total
