"""A scene of HeyGen's kind: its stand-in, a client, and an address at which webhooks are left.

Whatever a scene was about, leaving it judges everybody who watched by S1 to S4, and then nothing
may be left of it (R1, R3): no task, socket or timer, and no endpoint at the server.
"""

import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, nullcontext
from datetime import datetime
from functools import partial
from typing import Any

from simulator import Call, HeyGenOptions, Pace, Simulator
from simulator.testing import current_network
from tests.promises import s1_at_most_once, s2_ascending, s3_final_once_and_last, s4_real
from tests.virtual.chronicle import Chronicle, in_heygen, unsigned
from tests.virtual.heygen.doorstep import open_doorstep
from tests.virtual.scene import close, nothing_left, until
from vtrans_hybrid import AsyncClient, JobStatus, PollPolicy
from vtrans_hybrid.endpoints import Endpoint
from vtrans_hybrid.heygen import HeyGen
from vtrans_hybrid.webhooks import WebhookReceiver

__all__ = ["Hooked", "open_hooked"]

VIDEO = "https://example.com/talk.mp4"
LANGUAGES = ("Spanish", "French", "German", "Italian", "Japanese", "Korean", "Turkish", "Polish")


_ALONE = ("language", "created_at")
"""What is told in reads of one job alone."""


class Hooked:
    """What a test plays with; made by `open_hooked`.

    Args:
        sim: HeyGen's stand-in.
        client: Who orders and watches.
        receiver: Takes the webhooks for it.
        url: Where.
    """

    def __init__(
        self, sim: Simulator, client: AsyncClient, receiver: WebhookReceiver, url: str
    ) -> None:
        self.sim = sim
        self.client = client
        self.receiver = receiver
        self.url = url
        self.endpoint: Endpoint | None = None
        """What is registered; None where nothing is."""
        self.seen: dict[str, list[JobStatus]] = {}
        self.late: dict[str, float] = {}
        """Seconds from the end of each job until it was known."""

    async def order(self, count: int = 1, **options: Any) -> list[str]:
        """Order so many translations and return their ids."""
        made: list[str] = []
        while len(made) < count:
            languages = LANGUAGES[: count - len(made)]
            jobs = await self.client.submit_all(VIDEO, languages=languages, **options)
            made += [job.job_id for job in jobs]
        return made

    async def watch(self, job_ids: Sequence[str]) -> None:
        """Watch jobs to their ends, and note what is seen and how late the ends are known."""
        async for status in self.client.watch_all(job_ids):
            self.seen.setdefault(status.job_id, []).append(status)
            if status.is_final:
                [*_, last] = await self.sim.history(status.job_id)
                ended_at = datetime.fromisoformat(last.updated_at)
                self.late[status.job_id] = time.time() - ended_at.timestamp()

    @property
    def sources(self) -> Counter[str]:
        """By what the ends came to be known, and how many."""
        return Counter(str(statuses[-1].source) for statuses in self.seen.values())

    def calls(self, *beginnings: str) -> list[Call]:
        """Return the requests that begin so, such as "GET /v3/webhooks"."""
        calls = self.sim.calls
        return [each for each in calls if f"{each.method} {each.path}".startswith(beginnings)]

    async def judge(self) -> None:
        """Judge what was seen."""
        for job_id, seen in self.seen.items():
            s1_at_most_once(seen)
            s2_ascending(seen)
            s3_final_once_and_last(seen, ended=[job_id])
            chronicle = Chronicle()
            for status in await self.sim.history(job_id):
                chronicle.note(status)
            s4_real(map(unsigned, seen), partial(chronicle.had_once, show=in_heygen, untold=_ALONE))


@asynccontextmanager
async def open_hooked(
    *, delay: str = "30:90", is_registered: bool = True, **options: Any
) -> AsyncIterator[Hooked]:
    """Open a scene, and judge it at the end.

    Args:
        delay: How long a translation takes, in seconds.
        is_registered: Whether the server knows the address for webhooks.
        options: Of the simulator.
    """
    heygen = HeyGenOptions(concurrency=0)
    pace = Pace(updates=1)  # HeyGen tells of no progress
    options = {"seed": 0, "delay": delay, "heygen": heygen, "pace": pace, **options}
    async with nothing_left(current_network()), Simulator(**options) as sim:
        policy = PollPolicy.patient()
        client = AsyncClient(sim.url, api_key="any", dialect=HeyGen(), poll=policy)
        receiver = WebhookReceiver(client)
        async with open_doorstep(receiver) as url:
            scene = Hooked(sim, client, receiver, url)
            async with receiver.registered(url) if is_registered else nullcontext() as endpoint:
                scene.endpoint = endpoint
                yield scene
            await scene.judge()
            assert not await client.endpoints().known()
            await close(client)
        sim.faults.heal()
    await until(lambda: not current_network().connections, within=6)
