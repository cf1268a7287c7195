"""What one watcher saw, and what the server says that it really had."""

import json
from collections.abc import Iterable

import aiohttp

from vtrans_hybrid import JobStatus, Source

__all__ = ["Witness", "history"]


class Witness:
    """Keeps every update in the order in which it came; is itself a callback."""

    def __init__(self) -> None:
        self.seen: dict[str, list[JobStatus]] = {}

    def __call__(self, status: JobStatus) -> None:
        """Take an update."""
        self.seen.setdefault(status.job_id, []).append(status)

    @property
    def updates(self) -> int:
        """How many updates came."""
        return sum(map(len, self.seen.values()))

    @property
    def finals(self) -> int:
        """How many of them were final."""
        return sum(status.is_final for statuses in self.seen.values() for status in statuses)

    @property
    def push_share(self) -> float:
        """Which share of the updates came by push."""
        pushes = sum(
            status.source == Source.PUSH for statuses in self.seen.values() for status in statuses
        )
        return pushes / self.updates

    def check(self, job_ids: Iterable[str]) -> None:
        """Check S1 to S3 for jobs that have ended: no version twice, ascending, one final, last."""
        wanted = set(job_ids)
        assert wanted == set(self.seen), "updates came for other jobs than those watched"
        for job_id in wanted:
            self._check_one(job_id)

    def _check_one(self, job_id: str) -> None:
        statuses = self.seen[job_id]
        positions = [status.position for status in statuses]
        assert len(set(positions)) == len(positions), f"{job_id}: twice in {positions}"
        assert positions == sorted(positions), f"{job_id}: out of order in {positions}"
        ends = [number for number, status in enumerate(statuses) if status.is_final]
        assert ends == [len(statuses) - 1], f"{job_id}: finals at {ends} of {len(statuses)}"

    def check_real(self, truth: dict[tuple[str, int], str]) -> None:
        """Check S4: whatever was seen, the server had, if it still knows that version."""
        known = {job_id for job_id, _ in truth}
        for job_id in self.seen.keys() & known:
            for status in self.seen[job_id]:
                state = truth.get((job_id, status.version), status.state)
                assert status.state == state, f"{job_id} was never {status.state} there"


async def history(url: str, job_ids: Iterable[str]) -> dict[tuple[str, int], str]:
    """Return the state of every version that the server still keeps, by job and version."""
    truth: dict[tuple[str, int], str] = {}
    wanted = dict.fromkeys(job_ids, 0)
    async with aiohttp.ClientSession() as session:
        while wanted:
            body = json.dumps({"epoch": None, "mode": "all", "jobs": wanted})
            async with session.post(f"{url}/status", data=body) as answer:
                document = await answer.json()
            wanted = {} if document["poll_after"] else wanted
            for event in document["events"]:
                truth[event["job_id"], event["version"]] = event["state"]
                if event["job_id"] in wanted:
                    wanted[event["job_id"]] = event["version"]
            if not document["events"]:
                break
    return truth
