"""What the application gives: jobs, orders and timeouts, checked before anything is done."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from difflib import get_close_matches
from itertools import chain

import msgspec

from vtrans_hybrid.dialect import Capabilities, Submit
from vtrans_hybrid.models import Job, JobStatus, check_job_id

__all__ = [
    "check_dialect",
    "check_timeout",
    "check_type",
    "id_of",
    "ids_of",
    "known",
    "near_names",
    "order_of",
]

_ORDER_FIELDS = {"video", "video_url", "language", "languages"}


def id_of(job: Job | str) -> str:
    """Return the id of a job, or one that is fit to be an id.

    Raises:
        TypeError: It is neither.
        ValueError: It is text that cannot be a job id.
    """
    if isinstance(job, (Job, JobStatus)):
        return job.job_id
    if isinstance(job, Awaitable):
        raise TypeError(f"a job is expected, not {job!r:.80}: is there an `await` missing?")
    if isinstance(job, (list, tuple, set, frozenset, dict)):
        raise TypeError(
            f"one job is expected, not a {type(job).__name__}: `watch_all` and `as_completed` "
            "take several"
        )
    return check_job_id(job)


def ids_of(jobs: Iterable[Job | str]) -> Iterable[str]:
    """Return the ids of several jobs.

    Raises:
        TypeError: It is a single job, or not a job.
        ValueError: One of them cannot be a job id.
    """
    if isinstance(jobs, (str, Job, JobStatus)):
        raise TypeError("give several jobs, as a list for instance, not a single one")
    if isinstance(jobs, Awaitable):
        raise TypeError(f"jobs are expected, not {jobs!r:.80}: is there an `await` missing?")
    return map(id_of, jobs)


def known(jobs: Iterable[Job | str]) -> Callable[[], Awaitable[tuple[str, ...]]]:
    """Return how a watch finds its jobs when they are given."""
    job_ids = tuple(ids_of(jobs))

    async def find() -> tuple[str, ...]:
        return job_ids

    return find


def order_of(
    video: str, languages: Iterable[str], options: Mapping[str, object], key: str
) -> Submit:
    """Return the order of translations of a video.

    Raises:
        TypeError: Something is no text that should be, or an option is nothing that JSON has.
        ValueError: Something is empty, or given twice.
    """
    wanted = (languages,) if isinstance(languages, str) else tuple(languages)
    for each in (video, *wanted):
        if not isinstance(each, str):
            raise TypeError(f"video and languages are text, not {type(each).__name__}")
    if not video.strip():
        raise ValueError("video is the URL of a video, and it is empty")
    if not wanted or not all(map(str.strip, wanted)):
        raise ValueError("give at least one language, and none that is empty")
    if taken := _ORDER_FIELDS & options.keys():
        raise ValueError(f"{min(taken)!r} is no further field of an order: it has one already")
    for name, value in options.items():
        try:
            msgspec.json.encode(value)
        except (TypeError, ValueError, RecursionError) as error:
            raise TypeError(f"the option {name} cannot be sent as JSON: {error}") from None
    return Submit(video=video, languages=wanted, options=options, key=key)


def near_names(wanted: Iterable[str], known: Collection[str]) -> dict[str, list[str]]:
    """Return the names that are not known, each with the known ones that may be meant by it.

    What a name is specified by in brackets counts, and may be left out: "Spanish" may mean "Spanish
    (Spain)". Case does not count.

    Returns:
        At most three for each, the nearest first; none where nothing is near.
    """
    words: dict[str, list[str]] = {}
    for name in known:
        whole = name.casefold()
        for word in dict.fromkeys((whole, whole.partition(" (")[0])):
            words.setdefault(word, []).append(name)
    names = {name.casefold() for name in known}
    found: dict[str, list[str]] = {}
    for name in wanted:
        if (asked := name.strip().casefold()) not in names:
            close = get_close_matches(asked, words, 3, cutoff=0.7)
            meant = dict.fromkeys(chain.from_iterable(words[word] for word in close))
            found[name] = list(meant)[:3]
    return found


def check_dialect(dialect: object) -> None:
    """Check that an argument is a dialect, or None for one that is to be found out.

    Raises:
        TypeError: It is neither.
    """
    is_one = isinstance(getattr(dialect, "capabilities", None), Capabilities)
    if dialect is not None and (not is_one or isinstance(dialect, type)):
        raise TypeError(
            "dialect is a value that speaks to a kind of server, or None to find out which, not "
            f"{dialect!r:.80}; for HeyGen's API make the client with heygen()"
        )


def check_timeout(timeout: float) -> float:
    """Return a timeout in seconds.

    Raises:
        TypeError: It is no number.
        ValueError: It is not more than zero.
    """
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)):
        raise TypeError(f"timeout is a number of seconds, not {type(timeout).__name__}")
    if not timeout > 0:
        raise ValueError(f"timeout must be more than zero seconds, not {timeout}")
    return float(timeout)


def check_type(name: str, value: object, kind: type) -> None:
    """Check that an argument is of a type.

    Raises:
        TypeError: It is not.
    """
    if not isinstance(value, kind):
        raise TypeError(f"{name} is a {kind.__name__}, not {value!r:.80}")
