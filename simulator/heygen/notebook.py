"""What the face remembers beside the log: repeated orders, batches, titles, what was deleted.

It lives as long as the server, restarts included, and forgets what has become old.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple, Protocol, TypeVar

from simulator.envelope import Refused

__all__ = ["Batch", "Notebook", "Replay"]

_REPLAYS: Final = 24 * 3600.0  # s for which an Idempotency-Key is remembered
_BATCHES: Final = 48 * 3600.0  # s; about as long as there can be something of its jobs
_MOST: Final = 100_000  # of either; beyond that the oldest go early
_TIDY: Final = 1000  # remarks on jobs after which it is looked which jobs are still known


class Replay(NamedTuple):
    """The answer to an order that a repetition gets again."""

    digest: bytes
    """Of what was ordered."""
    status: int
    body: bytes
    until: float
    """Monotonic seconds."""


class Batch(NamedTuple):
    """What was ordered at once."""

    batch_id: str
    owner: str | None
    title: str | None
    created_at: int
    """Unix time in seconds."""
    items: list[str | dict[str, str]]
    """The id of each translation; where there is none, the error that it ended with."""
    until: float
    """Monotonic seconds."""


class Notebook:
    """Remember what the log does not hold.

    Args:
        now: returns monotonic time in seconds.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._in_flight: set[tuple[str | None, str]] = set()
        self._replays: dict[tuple[str | None, str], Replay] = {}
        self._batches: dict[str, Batch] = {}
        self._titles: dict[str, str] = {}
        self._deleted: set[str] = set()
        self._open: dict[str | None, list[str]] = {}
        self._ordered: dict[str | None, int] = {}
        self._remarks = 0

    # -- repeated orders ----------------------------------------------------------------------

    @contextmanager
    def exclusively(self, owner: str | None, key: str) -> Iterator[None]:
        """Let nobody else use this Idempotency-Key meanwhile.

        Raises:
            Refused: `request_in_progress`, somebody does.
        """
        place = (owner, key)
        if place in self._in_flight:
            text = "A request with this Idempotency-Key is in progress."
            raise Refused("request_in_progress", text)
        self._in_flight.add(place)
        try:
            yield
        finally:
            self._in_flight.discard(place)

    def replay(self, owner: str | None, key: str, digest: bytes) -> Replay | None:
        """Return the answer that this Idempotency-Key got before; None if it is new.

        Raises:
            Refused: `conflict`, it was used for another order.
        """
        _drop_old(self._replays, self._now())
        found = self._replays.get((owner, key))
        if found is not None and found.digest != digest:
            raise Refused("conflict", "This Idempotency-Key was used for another order.")
        return found

    def keep(self, owner: str | None, key: str, digest: bytes, status: int, body: bytes) -> None:
        """Remember an answer."""
        until = self._now() + _REPLAYS
        self._replays[owner, key] = Replay(digest, status, body, until)
        _drop_surplus(self._replays)

    # -- batches ------------------------------------------------------------------------------

    def add_batch(
        self,
        batch_id: str,
        items: list[str | dict[str, str]],
        *,
        owner: str | None,
        title: str | None,
        created_at: int,
    ) -> None:
        """Remember a batch."""
        until = self._now() + _BATCHES
        self._batches[batch_id] = Batch(batch_id, owner, title, created_at, items, until)
        _drop_surplus(self._batches)

    def batch(self, batch_id: str, owner: str | None) -> Batch | None:
        """Return a batch of this owner; None if there is none."""
        _drop_old(self._batches, self._now())
        found = self._batches.get(batch_id)
        return found if found is not None and found.owner in (None, owner) else None

    # -- remarks on jobs ----------------------------------------------------------------------

    def title(self, job_id: str) -> str | None:
        """Return the title that a job was given later; None if it was not."""
        return self._titles.get(job_id)

    def retitle(self, job_id: str, title: str) -> None:
        """Give a job another title."""
        self._titles[job_id] = title
        self._remarks += 1

    def is_deleted(self, job_id: str) -> bool:
        """Tell whether a job was deleted."""
        return job_id in self._deleted

    def delete(self, job_id: str) -> None:
        """Note that a job was deleted."""
        self._deleted.add(job_id)
        self._remarks += 1

    def tidy(self, is_known: Callable[[str], bool]) -> None:
        """Forget remarks on jobs that are not known any more, once many were made."""
        if self._remarks >= _TIDY:
            self._remarks = 0
            self._titles = {job: title for job, title in self._titles.items() if is_known(job)}
            self._deleted = {job for job in self._deleted if is_known(job)}
            known = {owner: list(filter(is_known, jobs)) for owner, jobs in self._open.items()}
            self._open = {owner: jobs for owner, jobs in known.items() if jobs}

    # -- accounts -----------------------------------------------------------------------------

    def open(self, owner: str | None, is_open: Callable[[str], bool]) -> list[str]:
        """Return which of the owner's translations are open."""
        left = [job_id for job_id in self._open.pop(owner, ()) if is_open(job_id)]
        if left:
            self._open[owner] = left
        return left

    def count(self, owner: str | None, job_ids: list[str]) -> None:
        """Note that the owner has ordered these."""
        self._ordered[owner] = self.ordered(owner) + len(job_ids)

    def watch(self, owner: str | None, job_ids: list[str]) -> None:
        """Count these among the open translations of the owner, until they are not."""
        self._open.setdefault(owner, []).extend(job_ids)
        self._remarks += len(job_ids)

    def ordered(self, owner: str | None) -> int:
        """Return how many translations the owner has ordered."""
        return self._ordered.get(owner, 0)


class _Ageing(Protocol):
    """What is forgotten at some time."""

    @property
    def until(self) -> float:
        """When, in monotonic seconds."""


K = TypeVar("K")
V = TypeVar("V", bound=_Ageing)


def _drop_old(kept: dict[K, V], now: float) -> None:
    """Forget what is too old by now; the oldest stand first, for all live equally long."""
    while kept:
        key = next(iter(kept))
        if kept[key].until > now:
            return
        del kept[key]


def _drop_surplus(kept: dict[K, V]) -> None:
    """Forget the oldest where there are too many."""
    while len(kept) > _MOST:
        del kept[next(iter(kept))]
