"""Row 4: the pure core alone, through a million schedules."""

from __future__ import annotations

import gc
import time
from concurrent.futures import ProcessPoolExecutor

from tests.scorecard.row import Result
from tests.scorecard.schedules import Broken, play

__all__ = ["pure_core"]

PROCESSES = 2
CHUNK = 5_000
COLLECTED = 500
"""Schedules between two collections of the memory: each leaves a few cycles of objects."""

GOAL = 60.0  # seconds for a million


def pure_core(is_short: bool) -> Result:
    """Play schedules in two processes."""
    count = 40_000 if is_short else 1_000_000
    starts = range(0, count, CHUNK)
    began = time.perf_counter()
    with ProcessPoolExecutor(PROCESSES, initializer=_prepare) as pool:
        broken = [sentence for found in pool.map(_play_chunk, starts) for sentence in found]
    seconds = time.perf_counter() - began
    per_million = seconds * 1_000_000 / count
    measured = f"{count:,} in {seconds:.1f} s on {PROCESSES} cores, {len(broken)} violations"
    if is_short:
        measured += f" ({per_million:.0f} s a million)"
    if broken:
        measured += f"; {broken[0]}"
    return Result(measured, not broken, per_million <= GOAL)


def _prepare() -> None:
    play(0)
    gc.freeze()
    gc.disable()


def _play_chunk(start: int) -> list[str]:
    broken = []
    for seed in range(start, start + CHUNK):
        try:
            play(seed)
        except Broken as error:
            broken.append(f"seed {seed}: {error}")
        if seed % COLLECTED == 0:
            gc.collect()
    return broken
