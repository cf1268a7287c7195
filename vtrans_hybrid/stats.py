"""What a client has done so far: numbers for logs, dashboards and tests."""

from __future__ import annotations

from typing import NamedTuple

from vtrans_hybrid.driver import Driver
from vtrans_hybrid.ledger import Counters

__all__ = ["Stats", "stats_of"]


class Stats(NamedTuple):
    """What a client has done so far, and what it is doing."""

    link: str
    """State of the push channel: idle, dialing, live, backoff or off."""
    watched_jobs: int
    """Jobs that are followed now."""
    pushes: int
    """Updates that came by push."""
    poll_updates: int
    """Updates that came by polling."""
    webhook_updates: int
    """Updates that a webhook announced."""
    polls: int
    """Requests that polling cost."""
    requests: int
    """All HTTP requests, polls included."""
    dials: int
    """Attempts to open the channel."""
    drops: int
    """Open channels that were lost."""
    duplicates: int
    """Statuses dropped because they were known already."""
    gaps_healed: int
    """Holes in a history that were noticed and read again."""
    failures: int
    """Jobs that could not be followed to their end."""


def stats_of(driver: Driver) -> Stats:
    """Return counters and the state of the channel; costs nothing."""
    core = driver.core
    counters = Counters() if core is None else core.counters
    return Stats(
        link="idle" if core is None else core.link.phase.value if core.link.enabled else "off",
        watched_jobs=0 if core is None else core.open_jobs,
        pushes=counters.pushes,
        poll_updates=counters.poll_updates,
        webhook_updates=counters.webhook_updates,
        polls=counters.polls,
        requests=driver.backend.requests,
        dials=0 if core is None else core.link.dials,
        drops=0 if core is None else core.link.drops,
        duplicates=counters.duplicates,
        gaps_healed=counters.holes,
        failures=counters.failures,
    )
