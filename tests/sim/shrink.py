"""Make a schedule that fails as small as it gets while it still fails in the same way."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from msgspec.structs import replace

from tests.sim.schedule import Schedule, Visit

__all__ = ["shrink"]


def shrink(schedule: Schedule, fails: Callable[[Schedule], bool]) -> Schedule:
    """Return the smallest schedule found that still fails.

    Args:
        schedule: One that fails.
        fails: Tells whether a schedule fails in the way that is looked into.
    """
    is_smaller = True
    while is_smaller:
        is_smaller = False
        for candidate in _smaller(schedule):
            if fails(candidate):
                schedule, is_smaller = candidate, True
                break
    return schedule


def _smaller(schedule: Schedule) -> Iterator[Schedule]:
    """Yield schedules with a little less in them, those with much less first."""
    for index in range(len(schedule.gusts)):
        yield replace(schedule, gusts=_without(schedule.gusts, index))
    if len(schedule.visits) > 1:
        for index in range(len(schedule.visits)):
            yield replace(schedule, visits=_without(schedule.visits, index))
    if len(schedule.delays) > 1:
        for index in range(len(schedule.delays)):
            yield _without_job(schedule, index)
    yield from _plainer(schedule)
    for index, gust in enumerate(schedule.gusts):
        for change in ({"chance": 1.0}, {"is_narrow": False}, {"at": round(gust.at)}):
            if any(getattr(gust, name) != value for name, value in change.items()):
                gusts = list(schedule.gusts)
                gusts[index] = replace(gust, **change)
                yield replace(schedule, gusts=tuple(gusts))
    for index, visit in enumerate(schedule.visits):
        for changed in _plainer_visits(visit):
            visits = list(schedule.visits)
            visits[index] = changed
            yield replace(schedule, visits=tuple(visits))


def _plainer(schedule: Schedule) -> Iterator[Schedule]:
    plain = Schedule(seed=schedule.seed)
    for name in ("is_shuffled", "is_calm", "closes_at", "estimate", "updates", "backend"):
        if getattr(schedule, name) != getattr(plain, name):
            yield replace(schedule, **{name: getattr(plain, name)})
    for index, delay in enumerate(schedule.delays):
        if delay != round(delay):
            delays = list(schedule.delays)
            delays[index] = float(max(1, round(delay)))
            yield replace(schedule, delays=tuple(delays))


def _plainer_visits(visit: Visit) -> Iterator[Visit]:
    plain = Visit()
    for name in ("leaves_after", "timeout", "pause", "mode", "how", "at"):
        if getattr(visit, name) != getattr(plain, name):
            yield replace(visit, **{name: getattr(plain, name)})


def _without_job(schedule: Schedule, gone: int) -> Schedule:
    visits = []
    for visit in schedule.visits:
        jobs = tuple(job - (job > gone) for job in visit.jobs if job != gone)
        if jobs or not visit.jobs:
            visits.append(replace(visit, jobs=jobs))
    delays = _without(schedule.delays, gone)
    return replace(schedule, delays=delays, visits=tuple(visits) or (Visit(),))


def _without(items: tuple, index: int) -> tuple:
    return items[:index] + items[index + 1 :]
