"""A server that answers everything, and nothing of it honestly.

    python -m tests.security.hostile [--cases N] [--seed S] [--batch B]

Most cases go through the decoders and the core in this process; one in twenty travels over a real
socket. Only errors that `vtrans_hybrid.errors` documents may come out, nothing may hang, and the
memory may not grow. Cases come in batches of a hundred, each with a seed of its own, so that a
batch that failed can be played alone.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import ctypes
import gc
import hashlib
import logging
import os
import re
import sys
import time
import traceback
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from random import Random
from typing import Any, Final, NamedTuple

from tests.security import corpus
from vtrans_hybrid import AsyncClient, JobStatus, NetworkOptions, RetryPolicy, VtransError
from vtrans_hybrid.dialect import (
    Answer,
    Cancel,
    Operation,
    Read,
    ReadDefault,
    Response,
    Submit,
)
from vtrans_hybrid.errors import ConnectionLost, ProtocolError
from vtrans_hybrid.link import Dial
from vtrans_hybrid.merge import Watcher
from vtrans_hybrid.messages import decode_message, encode_message
from vtrans_hybrid.policy import PollPolicy
from vtrans_hybrid.push import Send
from vtrans_hybrid.schedule import Poll
from vtrans_hybrid.tracker import Tracker
from vtrans_hybrid.wire import Native, Plain

__all__ = ["GROWTH_LIMIT", "Harm", "meet", "report"]

GROWTH_LIMIT: Final = 8 * 2**20
"""Bytes by which the memory may grow."""

_BATCH: Final = 100
_BY_SOCKET: Final = 20  # one batch in so many
_CALLERS: Final = 50  # calls over sockets at once
_CALL_LIMIT: Final = 5.0  # s for a call that should take half a second at most
_WARM_UP: Final = 0.1  # share of the cases before the memory is measured: caches fill, pools grow


class Harm(NamedTuple):
    """What a hostile server did to a client."""

    in_process: int
    """Cases that went through decoders and core."""
    by_socket: int
    """Cases that travelled over a socket."""
    errors: Counter[str]
    """Documented errors, by name."""
    failures: list[str]
    """Whatever else came out."""
    growth: int
    """Bytes by which the memory in use grew after the warm-up."""
    seconds: float

    @property
    def is_none(self) -> bool:
        """Whether nothing happened that should not."""
        return not self.failures and self.growth <= GROWTH_LIMIT


async def meet(cases: int, seed: int, batch: int | None = None) -> Harm:
    """Meet a hostile server in so many cases, or in those of one batch."""
    began = time.monotonic()
    tally = _Tally()
    numbers = range(-(-cases // _BATCH)) if batch is None else range(batch, batch + 1)
    corpus.warm_up()
    baseline = None
    with _listening(tally):
        for number in numbers:
            if baseline is None and number >= len(numbers) * _WARM_UP:
                baseline = _memory()
            random = Random(f"{seed}:{number}")
            tally.batch = number
            if number % _BY_SOCKET == 0:
                await _call_over_sockets(random, tally)
            else:
                _live_through(random, tally)
    growth = _memory() - (baseline or _memory())
    seconds = time.monotonic() - began
    return Harm(tally.in_process, tally.by_socket, tally.errors, tally.failures, growth, seconds)


class _Tally:
    """What has happened so far."""

    def __init__(self) -> None:
        self.batch = 0
        self.in_process = 0
        self.by_socket = 0
        self.errors: Counter[str] = Counter()
        self.failures: list[str] = []

    def note(self, error: BaseException) -> None:
        """Note an error that came out."""
        if isinstance(error, VtransError):
            self.errors[type(error).__name__] += 1
        else:
            self.fail(f"{type(error).__name__}: {str(error)[:200]} {_trail(error)}")

    def fail(self, what: str) -> None:
        """Note what should not have happened."""
        self.failures.append(f"batch {self.batch}: {what}")


def _trail(error: BaseException) -> str:
    """Return what is in a group, and where the last of it came from."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    last = traceback.extract_tb(error.__traceback__)[-3:]
    return f"{error!r:.200} at {' > '.join(f'{each.name}:{each.lineno}' for each in last)}"


def _memory() -> int:
    """Return the resident memory of this process in bytes, without what is free in it.

    Answers of a megabyte, many at once, leave free pages behind, which the C library keeps for the
    next ones: up to 20 MiB that come and go.
    """
    gc.collect()
    with suppress(AttributeError, OSError):  # another C library keeps less
        ctypes.CDLL(None).malloc_trim(0)
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


class _listening(logging.Handler):  # noqa: N801 (it is used as a function)
    """Note what is logged as an error, and what the event loop complains of."""

    def __init__(self, tally: _Tally) -> None:
        super().__init__(logging.ERROR)
        self._tally = tally

    def emit(self, record: logging.LogRecord) -> None:
        """Note a record."""
        error = record.exc_info[1] if record.exc_info else None
        self._tally.fail(f"logged: {record.getMessage()[:200]} {error!r:.300}")

    def __enter__(self) -> None:
        logging.getLogger().addHandler(self)

    def __exit__(self, *_: object) -> None:
        logging.getLogger().removeHandler(self)


# -- in process -----------------------------------------------------------------------------------


class _Reader(Watcher):
    """Reads whatever it is told, as an application does."""

    def put(self, status: JobStatus) -> None:
        """Look at a status."""
        assert isinstance(status, JobStatus)
        assert isinstance(status.version, int)
        assert repr(status)
        assert status.is_final in (True, False)

    def fail(self, job_id: str | None, error: VtransError) -> None:
        """Take an error of a job."""
        assert isinstance(error, VtransError)
        assert str(error)

    def finish(self) -> None:
        """Take the end."""


_OPERATIONS: Final[list[Operation]] = [
    Submit(video="https://example.com/v", languages=("Spanish",), key="k"),
    Read(jobs={corpus.JOB: 0}),
    Read(jobs={corpus.JOB: 3}, epoch="E", wants_all=True),
    ReadDefault(),
    Cancel(job_id=corpus.JOB),
]


def _live_through(random: Random, tally: _Tally) -> None:
    """Let one core live through a batch of frames and answers."""
    life = _Life(random, tally)
    for _ in range(_BATCH):
        tally.in_process += 1
        try:
            life.suffer()
        except VtransError as error:
            tally.note(error)
        except Exception as error:
            tally.note(error)
            life = _Life(random, tally)


class _Life:
    """One core, its shell played by hand, and the server that it talks to."""

    def __init__(self, random: Random, tally: _Tally) -> None:
        self._random = random
        self._tally = tally
        self._dialect = random.choice([Native(), Plain()])
        self._now = 1000.0
        self._generation = 0
        self._polls: list[Poll] = []
        self._tracker = Tracker(
            Native.capabilities,
            random.random,
            self._now,
            poll=PollPolicy(),
            retry=RetryPolicy(),
        )
        wants_all = random.random() < 0.5
        self._tracker.attach(_Reader(), [corpus.JOB, "job-2"], self._now, wants_all=wants_all)
        self._act()

    def suffer(self) -> None:
        """Suffer one frame, or one answer."""
        random = self._random
        self._now = min(max(self._now, self._tracker.next_deadline()), self._now + random.random())
        self._tracker.advance(self._now)
        try:
            if random.random() < 0.5:
                self._take_frame(corpus.frame(random))
            else:
                self._take_answer()
        finally:
            self._act()

    def _take_frame(self, frame: bytes) -> None:
        try:
            message = decode_message(frame)
        except ProtocolError as error:
            self._tracker.push_garbled(self._generation, error, self._now)
            raise
        self._tracker.received(self._generation, message, self._now)

    def _take_answer(self) -> None:
        random = self._random
        status = int(re.sub("[^0-9]", "", corpus.status_line(random)[9:12]) or 200)
        headers = corpus.headers(random)
        response = Response(status=status, headers=headers, body=corpus.body(random))
        poll = self._polls.pop() if self._polls and random.random() < 0.8 else None
        operation = poll.read if poll else random.choice(_OPERATIONS)
        dialect = self._dialect if self._dialect.capabilities.admits(operation) else Native()
        result: Answer | VtransError
        try:
            result = dialect.decipher(operation, response)
        except VtransError as error:
            result = error
        if poll is not None:
            self._tracker.polled(poll.poll_id, result, self._now)
        if isinstance(result, VtransError):
            raise result
        self._tracker.observed(result.statuses, self._now)

    def _act(self) -> None:
        """Carry out the actions: dials succeed, and sends are encoded."""
        for action in self._tracker.actions():
            match action:
                case Dial(generation):
                    self._generation = generation
                    welcome = decode_message(b'{"type":"welcome","epoch":"01JD"}')
                    self._tracker.received(generation, welcome, self._now)
                case Send():
                    encode_message(action.message)
                case Poll():
                    self._polls.append(action)
        if len(self._polls) > 50:
            self._tally.fail("polls without end")
        if self._random.random() < 0.02:
            lost = ConnectionLost("the server went away")
            self._tracker.push_lost(self._generation, lost, self._now)


# -- over sockets ---------------------------------------------------------------------------------

Call = Callable[[AsyncClient], Awaitable[object]]

_CALLS: Final[list[Call]] = [
    lambda client: client.status(corpus.JOB),
    lambda client: client.status(),
    lambda client: client.statuses([corpus.JOB, "job-2"]),
    lambda client: client.submit("https://example.com/v", language="Spanish"),
    lambda client: client.cancel(corpus.JOB),
    lambda client: client.wait(corpus.JOB, timeout=0.3),
]


async def _call_over_sockets(random: Random, tally: _Tally) -> None:
    """Let clients make calls, until a batch of connections and requests was answered."""
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(
        lambda _, context: tally.fail(f"the loop complains: {context!r:.300}")
    )
    async with _hostile_server(random) as server:
        end = tally.by_socket + _BATCH
        while tally.by_socket < end:
            seeds = [random.random() for _ in range(_CALLERS)]
            await asyncio.gather(*(_call(server.url, Random(each), tally) for each in seeds))
            tally.by_socket += server.taken()
    loop.set_exception_handler(None)


async def _call(url: str, random: Random, tally: _Tally) -> None:
    transport = random.choice(["auto", "push", "poll", "poll"])
    retry = RetryPolicy(max_attempts=1, request_timeout=0.5)
    options = NetworkOptions(max_connections=2)
    client = AsyncClient(url, transport=transport, retry=retry, options=options, api_key="k")
    try:
        for call in random.choices(_CALLS, k=4) if transport == "poll" else _CALLS[-1:]:
            try:
                async with asyncio.timeout(_CALL_LIMIT) as limit:
                    await call(client)
            except VtransError as error:
                tally.note(error)
            except Exception as error:
                tally.note(error)
                if limit.expired():
                    tally.fail("a call hung")
    finally:
        await client.aclose()


class _Server:
    """Answers every connection with what a seed says."""

    def __init__(self, random: Random) -> None:
        self.url = ""
        self._random = random
        self._taken = 0
        self._tasks: set[asyncio.Task[None]] = set()

    def taken(self) -> int:
        """Return how many answers there were since it was asked last."""
        taken, self._taken = self._taken, 0
        return taken

    def begin(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take a connection."""
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def end(self) -> None:
        """Leave every connection."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
                async with asyncio.timeout(1):
                    await self._talk(reader, writer)
        finally:
            writer.transport.abort()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        random = Random(self._random.random())
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            self._taken += 1
            key = re.search(rb"(?i)sec-websocket-key: (\S+)", head)
            writer.write(_accepted(key[1], random) if key else corpus.answer(random))
            await writer.drain()
            if key or random.random() < 0.5:
                break
        # What the kernel has not sent yet goes with an abort.
        await asyncio.sleep(random.choice([0.005, 0.05]))


def _accepted(key: bytes, random: Random) -> bytes:
    """Return an open channel and what comes on it, or something instead."""
    if random.random() < 0.2:
        return corpus.refused_upgrade(random)
    digest = hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
    lines = [
        "HTTP/1.1 101 Switching Protocols",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Accept: {base64.b64encode(digest).decode()}",
        "Sec-WebSocket-Protocol: vtrans.v1",
        *("", ""),
    ]
    return "\r\n".join(lines).encode() + corpus.frames(random)


@asynccontextmanager
async def _hostile_server(random: Random) -> AsyncIterator[_Server]:
    server = _Server(random)
    listener = await asyncio.start_server(server.begin, "127.0.0.1", 0)
    server.url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    try:
        yield server
    finally:
        listener.close()
        await server.end()


# -- the command ----------------------------------------------------------------------------------


def report(harm: Harm) -> str:
    """Return what happened, for people."""
    lines = [
        f"cases      {harm.in_process:,} by decoders and core, {harm.by_socket:,} over sockets",
        f"errors     {_named(harm.errors.most_common())}",
        f"failures   {len(harm.failures)}",
        *(f"           {failure}" for failure in harm.failures[:20]),
        f"memory     {harm.growth / 2**20:+.1f} MiB, at most {GROWTH_LIMIT / 2**20:.0f} allowed",
        f"seconds    {harm.seconds:.1f}",
    ]
    return "\n".join(lines)


def _named(counts: Iterable[tuple[str, int]]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts)


def _main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.security.hostile", description=__doc__)
    parser.add_argument("--cases", type=int, default=100_000, help="(%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="(%(default)s)")
    parser.add_argument("--batch", type=int, help="play this batch alone")
    options: Any = parser.parse_args()
    logging.getLogger("vtrans_hybrid").setLevel(logging.ERROR)
    harm = asyncio.run(meet(options.cases, options.seed, options.batch))
    sys.stdout.write(report(harm) + "\n")
    return 0 if harm.is_none else 1


if __name__ == "__main__":
    sys.exit(_main())
