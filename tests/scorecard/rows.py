"""The rows of the scorecard, in order."""

from __future__ import annotations

from importlib import import_module

from tests.scorecard.row import Measure, Result, Row

__all__ = ["ROWS"]


def _by(module: str, name: str) -> Measure:
    """Return a measure that imports its module when it is called: each row needs only its own."""

    def measure(is_short: bool) -> Result:
        found: Measure = getattr(import_module(f"tests.scorecard.{module}"), name)
        return found(is_short)

    return measure


ROWS = (
    Row(
        1,
        "fault schedules, whole stack",
        "30,000 a minute on 2 cores, 0 violations",
        _by("simulation", "schedules"),
    ),
    Row(
        2,
        "replay in 2 processes",
        "200 of 200 byte-identical",
        _by("simulation", "replay"),
    ),
    Row(
        3,
        "mutants found",
        "all of 25 or more, in 2,000 seeds each",
        _by("simulation", "mutants"),
    ),
    Row(
        4,
        "schedules of the pure core",
        "1,000,000 in 60 s, 0 violations",
        _by("core", "pure_core"),
    ),
    Row(
        5,
        "half-open connection noticed",
        "11 s with 0, 10 KB, 4 MB to send",
        _by("silence", "half_open"),
    ),
    Row(
        6,
        "final status after heal",
        "p50 2 s, p99 10 s, max 45 s",
        _by("healing", "final_after_heal"),
    ),
    Row(
        7,
        "cancel and close, dead peer",
        "0.1 s with 1 job and with 1,000",
        _by("leaving", "dead_peer"),
    ),
    Row(
        8,
        "leaks after fault schedules",
        "0",
        _by("simulation", "leaks"),
    ),
    Row(
        9,
        "memory over a day of rolling jobs",
        "slope 0: 24 bytes a job at most",
        _by("memory", "slope"),
    ),
    Row(
        10,
        "consumers that do not read",
        "1 MiB each, gone in 15 s, p99 of others unchanged",
        _by("slow_consumers", "do_not_read"),
    ),
    Row(
        11,
        "10,000 clients, one restart",
        "2,500 dials/s, 1,000 first polls/s, all back in 30 s",
        _by("herd", "restart"),
    ),
    Row(
        12,
        "budget of polls; Retry-After",
        "never exceeded; undercut 0 times",
        _by("budgets", "poll_budget"),
    ),
    Row(
        13,
        "push share without faults",
        "99.5 %; no reads but of silent jobs",
        _by("budgets", "push_share"),
    ),
    Row(
        14,
        "hostile peer",
        "100,000 cases, documented errors only, RSS +8 MiB",
        _by("security", "hostile_peer"),
    ),
    Row(
        15,
        "canary secrets found",
        "0",
        _by("security", "canaries"),
    ),
    Row(
        16,
        "exposure probes ended",
        "all, in 15 s",
        _by("security", "exposed_server"),
    ),
    Row(
        17,
        "webhooks: good, forged, replayed",
        "100 %",
        _by("webhooks", "webhooks"),
    ),
)
"""One promise about the whole a row. A row that has missed its goal says so, with the figure."""
