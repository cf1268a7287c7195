"""Interleaved rounds, so that a noisy neighbour meets every contestant alike."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import TracebackType
from typing import NamedTuple, Self, TypeVar

__all__ = ["Effort", "Options", "Stopwatch", "median_of", "quantile", "take_turns"]

T = TypeVar("T")


class Options(NamedTuple):
    """How thorough a run is."""

    is_quick: bool = False

    @property
    def rounds(self) -> int:
        """How often each contestant has its turn."""
        return 3 if self.is_quick else 5

    def size(self, full: int, quick: int) -> int:
        """Return how much work one round is."""
        return quick if self.is_quick else full


class Effort(NamedTuple):
    """What a stretch of work took, in seconds."""

    wall: float
    cpu: float
    """Processor time of this process."""


class Stopwatch:
    """Measures a `with` block; the garbage of what came before is not its own."""

    def __init__(self) -> None:
        self.effort = Effort(0.0, 0.0)

    def __enter__(self) -> Self:
        gc.collect()
        self._began = Effort(time.perf_counter(), time.process_time())
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        wall, cpu = time.perf_counter(), time.process_time()
        self.effort = Effort(wall - self._began.wall, cpu - self._began.cpu)


async def take_turns(
    contestants: Mapping[str, Callable[[], Awaitable[T]]], rounds: int
) -> dict[str, list[T]]:
    """Run each contestant once a round and return the results by name.

    Every other round goes backwards, so that nobody always follows the same neighbour.
    """
    results: dict[str, list[T]] = {name: [] for name in contestants}
    for number in range(rounds):
        names = list(contestants)
        for name in names if number % 2 == 0 else reversed(names):
            results[name].append(await contestants[name]())
    return results


def median_of(values: Sequence[float]) -> float:
    """Return the median."""
    return statistics.median(values)


def quantile(values: Sequence[float], share: float) -> float:
    """Return the value below which this share of the others lies."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
