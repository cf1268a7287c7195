"""An account at HeyGen: the simulator's face of it, a client, and what its jobs may cost.

HeyGen has no versions, so a watcher is not judged by the server's history but by what must hold for
any: no update twice (S1), in order (S2), the end once and last (S3), and of a completed job only
with its result.
"""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

from simulator import Call, Simulator
from simulator.heygen import HeyGenOptions
from simulator.testing import current_network
from tests.promises import s1_at_most_once, s2_ascending, s3_final_once_and_last
from tests.virtual.scene import Viewer, close, nothing_left, until
from vtrans_hybrid import AsyncClient, AsyncHeyGenClient, Job

__all__ = ["JOBS", "VIDEO", "Account", "most_in_a_minute", "open_account"]

JOBS = "/v3/video-translations"
VIDEO = "https://example.com/talk.mp4"

_LANGUAGES = ("Spanish", "French", "German", "Italian", "Polish")


class Account:
    """What a test plays with; made by `open_account`."""

    def __init__(self, sim: Simulator, client: AsyncHeyGenClient) -> None:
        self.sim = sim
        self.client = client
        self.viewers: list[Viewer] = []

    async def order(self, count: int) -> list[Job]:
        """Order so many jobs, five languages at a time."""
        made: list[Job] = []
        while len(made) < count:
            wanted = _LANGUAGES[: count - len(made)]
            made += await self.client.submit_all(VIDEO, languages=wanted)
        return made

    def watch(self, jobs: Iterable[Job]) -> Viewer:
        """Watch jobs."""
        job_ids = [job.job_id for job in jobs]
        viewer = Viewer(self.client.watch_all(job_ids), job_ids, wants_all=False)
        self.viewers.append(viewer)
        return viewer

    def calls(self, prefix: str, method: str = "GET") -> list[Call]:
        """Return the requests whose path begins so."""
        return [c for c in self.sim.calls if c.path.startswith(prefix) and c.method == method]

    @property
    def bulk(self) -> list[Call]:
        """Return the reads of many jobs."""
        return self.calls(f"{JOBS}/statuses")

    @property
    def single(self) -> list[Call]:
        """Return the reads of one job."""
        return [call for call in self.calls(f"{JOBS}/") if call not in self.bulk]

    def judge(self) -> None:
        """Judge what the watchers saw."""
        for viewer in self.viewers:
            s1_at_most_once(viewer.seen)
            s2_ascending(viewer.seen)
            has_ended = viewer.task.done() and not viewer.task.exception()
            s3_final_once_and_last(viewer.seen, ended=viewer.job_ids if has_ended else None)


@asynccontextmanager
async def open_account(
    client: dict[str, Any] | None = None, *, concurrency: int = 0, **simulator: Any
) -> AsyncIterator[Account]:
    """Open an account, and judge at the end.

    Args:
        client: Options of the client.
        concurrency: How many jobs may run at once; 0 sets no limit.
        simulator: Options of the simulator; `seed` is 0 where none is given.
    """
    network = current_network()
    face = HeyGenOptions(concurrency=concurrency)
    async with (
        nothing_left(network),
        Simulator(**{"seed": 0, "heygen": face, **simulator}) as sim,
    ):
        made = AsyncClient.heygen("a-key", base_url=sim.url, **(client or {}))
        account = Account(sim, made)
        try:
            yield account
            await close(made, account.viewers)
            account.judge()
        finally:
            for viewer in account.viewers:
                await viewer.leave()
            await made.aclose()
            sim.faults.heal()
        await until(lambda: not network.connections, within=6)


def most_in_a_minute(calls: Iterable[Call]) -> int:
    """Return how many requests at most came within any minute."""
    times = sorted(call.at for call in calls)
    return max((sum(at <= t < at + 60 for t in times) for at in times), default=0)
