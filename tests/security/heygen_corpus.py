"""Answers that HeyGen's API never gives, generated from a seed, in its own words.

They begin as an answer of `tests/golden/heygen`, mostly as one to the request that was made.
"""

from __future__ import annotations

import json
import re
from functools import cache
from random import Random
from typing import Any, Final

from tests.security import corpus

__all__ = ["answers_to", "is_asked", "warm_up"]

_FITTING: Final = [
    (r"GET /v3/video-translations/statuses", "statuses-"),
    (r"GET /v3/video-translations/languages", "languages-"),
    (r"GET /v3/video-translations/", "translation-"),
    (r"GET /v3/video-translations", "list-"),
    (r"POST /v3/video-translations", "create-answer"),
    (r"DELETE /v3/video-translations", "delete-"),
    (r"POST /v3/webhooks/endpoints", "webhook-endpoint-created"),
    (r"GET /v3/webhooks/endpoints", "webhook-endpoints-"),
    (r"DELETE /v3/webhooks/endpoints", "webhook-removed-"),
    (r"GET /v3/webhooks/events", "webhook-events-"),
    (r"GET /v2/video_translate/target_languages", "v2-languages-"),
    (r"POST /v2/video_translate", "v2-create-answer"),
    (r"GET /v2/", "v2-translation-"),
]
"""How a request begins, and the answers to it; the first that fits counts."""

_ID: Final = re.compile(r"[0-9a-f]{32}(-[a-z]+)*")


def is_asked(request: str) -> bool:
    """Tell whether the first line of a request is for HeyGen."""
    return any(re.match(begins, request) for begins, _ in _FITTING)


def answers_to(request: str, random: Random) -> list[Any]:
    """Return the answers from which one to a request is made.

    Args:
        request: Its method and path.
        random: For whether they fit.
    """
    chance = random.random()
    if chance < 0.15:
        return _answers("error-") + _answers("translation-error-inside") + _answers("v2-error")
    if chance < 0.25:
        return _answers("")
    return _answers(next(name for begins, name in _FITTING if re.match(begins, request)))


@cache
def _answers(prefix: str) -> list[Any]:
    found = [_named(document) for document in corpus.golden(f"heygen/{prefix}")]
    assert found, f"there is no answer {prefix}*"
    return found


def _named(document: Any) -> Any:
    """Return a document whose jobs are those that the client asks about."""
    names: dict[str, str] = {}

    def name(found: re.Match[str]) -> str:
        return names.setdefault(found[0], f"job-{len(names) + 1}")

    return json.loads(_ID.sub(name, json.dumps(document)))


def warm_up() -> None:
    """Make what is made once, so that no measurement of memory counts it."""
    for prefix in ["", "error-", "v2-error", *(name for _, name in _FITTING)]:
        _answers(prefix)
