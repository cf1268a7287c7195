"""Give a run on virtual time its own randomness and its own wall clock.

Randomness that libraries draw from the operating system (WebSocket masks and keys, UUIDs) and the
time of day (Date headers, log records) differ in every run; inside `determined` they come from a
seed and from the virtual clock. What it can not reach: the random numbers of OpenSSL,
`datetime.now()`, a `random.Random()` made without a seed, and the order of a set of objects that
hash by their address.
"""

import asyncio
import itertools
import math
import os
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from threading import get_ident
from typing import Any, ClassVar, Self

import aiohttp.connector
import aiohttp.http
from anyio._backends import _asyncio as anyio_asyncio

from simulator.testing.errors import UnsupportedError

__all__ = ["WALL_CLOCK_START", "determined"]

WALL_CLOCK_START = 1_704_067_200.0
"""How far `time.time()` is ahead of the virtual clock, in seconds: 2024-01-01T00:00:00Z."""

NANOSECONDS = 1_000_000_000


@contextmanager
def determined(seed: int, clock: Callable[[], float]) -> Iterator[None]:
    """Determine randomness and the wall clock of this process while the context is open.

    `os.urandom`, `secrets`, the functions of `random`, WebSocket masks and anyio's order of
    cancellation follow from `seed`; `time.time`, `time.monotonic` and their `_ns` twins follow
    `clock`. The whole process is concerned: no other thread should do anything that matters. One
    that wants an event loop of its own gets an `UnsupportedError`, for its timers would never fire.

    Args:
        seed: of all randomness.
        clock: returns the virtual time in seconds.
    """
    entropy = random.Random(seed)
    new_event_loop = _only_here(asyncio.new_event_loop)

    def wall_clock() -> float:
        return WALL_CLOCK_START + clock()

    replacements: tuple[tuple[object, str, object], ...] = (
        (os, "urandom", entropy.randbytes),
        (random, "_urandom", entropy.randbytes),  # the copy that SystemRandom and secrets use
        (time, "time", wall_clock),
        (time, "time_ns", lambda: int(wall_clock() * NANOSECONDS)),
        (time, "monotonic", clock),
        (time, "monotonic_ns", lambda: int(clock() * NANOSECONDS)),
        (aiohttp.connector, "monotonic", clock),  # a copy, for the age of idle connections
        (anyio_asyncio, "CancelScope", OrderedCancelScope),
        (asyncio, "new_event_loop", new_event_loop),
        (asyncio.events, "new_event_loop", new_event_loop),  # the one that asyncio.Runner calls
    )
    OrderedCancelScope.numbers = itertools.count()
    originals = [getattr(owner, name) for owner, name, _ in replacements]
    states = [(generator, generator.getstate()) for generator in _generators()]
    try:
        for owner, name, value in replacements:
            setattr(owner, name, value)
        for generator, _ in states:
            generator.seed(entropy.getrandbits(64))
        yield
    finally:
        for (owner, name, _), original in zip(replacements, originals, strict=True):
            setattr(owner, name, original)
        for generator, state in states:
            generator.setstate(state)


def _only_here(make: Callable[[], asyncio.AbstractEventLoop]) -> Callable[[], Any]:
    """Return a function that makes loops in the present thread, and refuses to in others."""
    here = get_ident()

    def new_event_loop() -> asyncio.AbstractEventLoop:
        if get_ident() != here:
            raise UnsupportedError(
                "A thread was to run an event loop of its own, whose clock would stand still on "
                "virtual time. Test a blocking client, such as vtrans_hybrid.Client, on a real "
                "loop, against `python -m simulator --speed 100`; or use its async twin."
            )
        return make()

    return new_event_loop


@cache
def _generators() -> tuple[random.Random, ...]:
    """Return the generators of this process that libraries draw from.

    They are the one behind the functions of `random`, and those that aiohttp's client masks
    WebSocket frames with: made when aiohttp is imported, as the default of a parameter.
    """
    behind_functions: Any = random.getrandbits
    defaults: dict[str, Any] = aiohttp.http.WebSocketWriter.__init__.__kwdefaults__ or {}
    masks = (value for value in defaults.values() if isinstance(value, random.Random))
    return (behind_functions.__self__, *masks)


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
