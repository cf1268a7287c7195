"""Counters as Prometheus reads them: the text exposition format, version 0.0.4."""

from collections.abc import Iterable
from typing import Final, Literal, NamedTuple

__all__ = ["CONTENT_TYPE", "Metric", "exposition"]

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


class Metric(NamedTuple):
    """One number and what it means."""

    name: str
    """Matches `[a-z_]+`; that of a counter ends in `_total`."""
    kind: Literal["counter", "gauge"]
    help: str
    """One line, without backslashes."""
    value: float


def exposition(metrics: Iterable[Metric]) -> str:
    """Return the text of the metrics, in their order."""
    return "".join(
        f"# HELP {metric.name} {metric.help}\n"
        f"# TYPE {metric.name} {metric.kind}\n"
        f"{metric.name} {metric.value}\n"
        for metric in metrics
    )
