"""What several tests of the simulator build on."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from random import Random
from typing import Any, Self

import websockets

from simulator import Simulator
from simulator.clock import Clock
from simulator.histories import Entry
from simulator.log import MemoryLog
from simulator.messages import Status
from simulator.orders import Dice

VIDEO = "https://example.com/talk.mp4"
STANDING = [{"at": 0, "state": "pending"}, {"at": 100_000, "state": "completed"}]


class ManualTime:
    """Time that goes on when it is told to."""

    def __init__(self, now: float = 0.0) -> None:
        self.now = now

    def __call__(self) -> float:
        """Return the present."""
        return self.now

    @property
    def clock(self) -> Clock:
        """This time as a replica takes it."""
        return Clock(self, 0.0)


def loop_clock() -> Clock:
    """Return the clock of the running loop."""
    return Clock(asyncio.get_running_loop().time, 1_700_000_000.0)


def dice(seed: int = 1) -> Dice:
    """Return randomness that repeats itself."""
    return Dice(Random(f"{seed}:ids"), Random(f"{seed}:lives"))


def status(job_id: str = "job-1", version: int = 1, state: str = "running") -> Status:
    """Return a status document."""
    return Status(job_id=job_id, state=state, result=state, version=version, epoch="E")


def entry(job_id: str = "job-1", version: int = 1, state: str = "running") -> Entry:
    """Return a version as it stands in a log."""
    return Entry(version, status(job_id, version, state))


def versions_of(entries: Iterable[Entry]) -> list[int]:
    """Return the versions of these entries."""
    return [one.version for one in entries]


async def append(log: MemoryLog, job_id: str, *states: str) -> None:
    """Append versions of a job behind those that it has."""
    latest = await log.latest(job_id)
    version = latest.version if latest else 0
    for state in states:
        await log.append(version, status(job_id, version + 1, state))
        version += 1


async def until(condition: Callable[[], object]) -> None:
    """Wait until the condition holds; whoever calls bounds the time."""
    while not condition():  # noqa: ASYNC110 (what is waited for has no event of its own)
        await asyncio.sleep(0.005)


class Talk:
    """One conversation on the channel, message by message.

    Pings are answered while something else is waited for; everything that came is in `heard`.
    """

    def __init__(self, socket: websockets.ClientConnection) -> None:
        self.socket = socket
        self.heard: list[dict[str, Any]] = []
        self.answers_pings = True

    async def say(self, kind: str, **fields: Any) -> None:
        """Send a message of this type."""
        await self.socket.send(json.dumps({"type": kind} | fields))

    async def hear(self, *kinds: str) -> dict[str, Any]:
        """Return the next message of one of these types."""
        while True:
            message: dict[str, Any] = json.loads(await self.socket.recv())
            self.heard.append(message)
            if message["type"] == "ping" and self.answers_pings:
                await self.say("pong", n=message["n"])
            if message["type"] in kinds:
                return message

    async def greet(self, **fields: Any) -> dict[str, Any]:
        """Say hello and return the welcome."""
        await self.say("hello", agent="test", **fields)
        return await self.hear("welcome")

    async def subscribe(self, jobs: dict[str, int], **fields: Any) -> dict[str, Any]:
        """Subscribe jobs and return what synced says."""
        await self.say("subscribe", **({"id": 1, "jobs": jobs} | fields))
        return await self.hear("synced")

    async def events(self, until: Callable[[dict[str, Any]], Any]) -> list[dict[str, Any]]:
        """Return all events so far, once one of them fulfils the condition."""
        while not any(until(event) for event in self.told()):
            await self.hear("events")
        return self.told()

    def told(self) -> list[dict[str, Any]]:
        """Return all events so far."""
        return [event for message in self.heard for event in message.get("events", ())]

    async def closed(self) -> tuple[int | None, str | None]:
        """Wait for the end and return the close code and reason that the server gave."""
        try:
            while True:
                await self.hear()
        except websockets.ConnectionClosed as error:
            return (error.rcvd.code, error.rcvd.reason) if error.rcvd else (None, None)

    @classmethod
    @asynccontextmanager
    async def open(cls, url: str, **options: Any) -> AsyncIterator[Self]:
        """Connect without a word."""
        options = {
            "subprotocols": ["vtrans.v1"],
            "compression": None,
            "ping_interval": None,
        } | options
        async with websockets.connect(url, **options) as socket:
            yield cls(socket)


async def make(sim: Simulator, **order: Any) -> str:
    """Create one job and return its id."""
    [status] = await sim.create(**order)
    return status.job_id


def is_final(event: dict[str, Any]) -> bool:
    """Tell whether an event is its job's last."""
    return bool(event.get("final"))


def versions(events: list[dict[str, Any]]) -> list[int]:
    """Return the version of each event."""
    return [event["version"] for event in events]
