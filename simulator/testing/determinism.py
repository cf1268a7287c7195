"""Give a run on virtual time its own randomness and its own wall clock.

Randomness that libraries draw from the operating system (WebSocket masks and keys, UUIDs) and the
time of day (Date headers, log records) differ in every run; inside `determined` they come from a
seed and from the virtual clock. What it can not reach: the random numbers of OpenSSL,
`datetime.now()`, a `random.Random()` made without a seed, and the order of a set of objects that
hash by their address.
"""

import itertools
import math
import os
import random
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, ClassVar, Self

import aiohttp.connector
import aiohttp.http
from anyio._backends import _asyncio as anyio_asyncio

__all__ = ["WALL_CLOCK_START", "determined"]

WALL_CLOCK_START = 1_704_067_200.0
"""How far `time.time()` is ahead of the virtual clock, in seconds: 2024-01-01T00:00:00Z."""

NANOSECONDS = 1_000_000_000


@contextmanager
def determined(seed: int, clock: Callable[[], float]) -> Iterator[None]:
    """Determine randomness and the wall clock of this process while the context is open.

    `os.urandom`, `secrets`, the functions of `random`, WebSocket masks and anyio's order of
    cancellation follow from `seed`; `time.time`, `time.monotonic` and their `_ns` twins follow
    `clock`. The whole process is concerned: no other thread should do anything that matters.

    Args:
        seed: of all randomness.
        clock: returns the virtual time in seconds.
    """
    entropy = random.Random(seed)

    def wall_clock() -> float:
        return WALL_CLOCK_START + clock()

    OrderedCancelScope.numbers = itertools.count()
    with ExitStack() as stack:
        for owner, name, value in (
            (os, "urandom", entropy.randbytes),
            (random, "_urandom", entropy.randbytes),  # the copy that SystemRandom and secrets use
            (time, "time", wall_clock),
            (time, "time_ns", lambda: int(wall_clock() * NANOSECONDS)),
            (time, "monotonic", clock),
            (time, "monotonic_ns", lambda: int(clock() * NANOSECONDS)),
            (aiohttp.connector, "monotonic", clock),  # a copy, for the age of idle connections
            (anyio_asyncio, "CancelScope", OrderedCancelScope),
        ):
            stack.enter_context(_replaced(owner, name, value))
        stack.enter_context(_reseeded_functions(entropy.getrandbits(64)))
        for generator in _mask_generators():
            stack.enter_context(_reseeded(generator, entropy.getrandbits(64)))
        yield


@contextmanager
def _replaced(owner: object, name: str, value: object) -> Iterator[None]:
    original = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, original)


@contextmanager
def _reseeded_functions(seed: int) -> Iterator[None]:
    """Seed the generator behind the functions of `random`."""
    state = random.getstate()
    random.seed(seed)
    try:
        yield
    finally:
        random.setstate(state)


@contextmanager
def _reseeded(generator: random.Random, seed: int) -> Iterator[None]:
    state = generator.getstate()
    generator.seed(seed)
    try:
        yield
    finally:
        generator.setstate(state)


def _mask_generators() -> Iterator[random.Random]:
    """Yield the generators that aiohttp's client masks WebSocket frames with.

    They are made when aiohttp is imported, as the default of a parameter.
    """
    defaults: dict[str, Any] = aiohttp.http.WebSocketWriter.__init__.__kwdefaults__ or {}
    yield from (value for value in defaults.values() if isinstance(value, random.Random))


class OrderedCancelScope(anyio_asyncio.CancelScope):
    """anyio's CancelScope with a hash by number.

    anyio keeps the children of a scope in a set and cancels them in its order, which otherwise
    follows from their addresses.
    """

    __slots__ = ("number",)

    numbers: ClassVar[Iterator[int]]
    number: int

    def __new__(cls, *, deadline: float = math.inf, shield: bool = False) -> Self:
        scope = super().__new__(cls, deadline=deadline, shield=shield)
        scope.number = next(cls.numbers)
        return scope

    def __hash__(self) -> int:
        return self.number
