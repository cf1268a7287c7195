"""Hearsay: something says that a job has news, and only a read of that job alone settles it.

    what is heard                                  what is done
    -------------                                  ------------
    a bulk answer that cannot show the whole end   it is withheld, and the job read alone at once
    a bulk answer that does not know a job         the same
    a read alone that shows an end without result  it is withheld, and the job read alone after a
                                                   while; after 60 s the end is taken as it is
    an announcement, such as a webhook             the job is read alone at once; the update that
                                                   comes of it has the source "webhook"
    the same, and the read shows no end            it is read alone again after a while, for what
                                                   answers reads may lag behind what announces;
                                                   after 60 s it is read as any other
    the same, and nobody watches the job           that is done as soon as somebody does

A job whose read is under way when it is announced is read again at once, for that read may be older
than what was announced. A read that fails leaves the job to the next one that is planned.

While announcements prove to come, the reads that only look for news are stretched, never stopped:

    announcements are  event                                                    they are then
    -----------------  -----                                                    -------------
    not live           one comes, or it is known that they are to come          live
    live               a read finds an end, and 30 s later nobody announced it  not live: every job
                                                                                is read, as if a
                                                                                channel was lost
    live               the same, but the job was neither seen open nor ordered  live
                       just now: it may have been announced long ago
"""

from __future__ import annotations

import logging
import math
from collections.abc import Collection, Iterable

from vtrans_hybrid.models import Source
from vtrans_hybrid.schedule import Poll, Schedule

__all__ = ["Hearsay"]

logger = logging.getLogger("vtrans_hybrid.tracker")

_PATIENCE = 60.0
"""Seconds for which an end without its result is withheld, or what was announced looked for."""

_SHORTEST_DELAY = 1.0
"""Seconds before the first further look; then as many as have passed already."""

_ANNOUNCED_WITHIN = 30.0
"""Seconds by which an announcement may come later than the read that finds the same."""

_MOST_REMEMBERED = 1000
"""Announced jobs that nobody watches, of which the newest are remembered: a job may end, and that
be known, before its order is answered."""


class Hearsay:
    """Keeps what was heard and is not settled. `now` is monotonic seconds throughout.

    Args:
        schedule: When to read.
    """

    def __init__(self, schedule: Schedule) -> None:
        self._schedule = schedule
        self._line = schedule.line
        self._withheld_since: dict[str, float] = {}
        self._unconfirmed_since: dict[str, float] = {}
        self._expected_by: dict[str, float] = {}
        self._remembered: dict[str, None] = {}

    @property
    def is_live(self) -> bool:
        """Whether announcements prove to come."""
        return self._schedule.is_stretched

    def announced(self, job_ids: Iterable[str]) -> None:
        """Note that these jobs were announced, whoever watches them; none: that some will be."""
        if not self.is_live:
            logger.info("announcements come: polling is stretched")
        self._schedule.is_stretched = True
        for job_id in job_ids:
            self._expected_by.pop(job_id, None)
            self._unconfirmed_since.pop(job_id, None)

    def remember(self, job_id: str) -> None:
        """Keep in mind that a job was announced, for nobody watches it yet."""
        self._remembered.pop(job_id, None)
        self._remembered[job_id] = None
        if len(self._remembered) > _MOST_REMEMBERED:
            del self._remembered[next(iter(self._remembered))]

    def recall(self, job_id: str) -> bool:
        """Whether a job was announced before it was watched; it is forgotten by this."""
        return self._remembered.pop(job_id, job_id) is None

    def confirm(self, job_id: str) -> None:
        """Let the next read of an announced job that begins be of it alone."""
        self._line.single_out(job_id, Source.WEBHOOK)

    def needs_confirmation(self, job_id: str) -> bool:
        """Whether the next read of a job is to be of it alone."""
        return self._line.singled_out(job_id) is not None

    def withhold(self, poll: Poll, job_ids: Collection[str], now: float) -> dict[str, float]:
        """Return the jobs of which an answer does not count, and in how many seconds to ask again.

        Args:
            poll: What was asked.
            job_ids: The jobs of which the answer does not settle what it says.
            now: Monotonic seconds.
        """
        is_alone = len(poll.records) == 1
        withheld = {}
        for job_id in job_ids:
            passed = 0.0
            if is_alone:
                passed = now - self._withheld_since.setdefault(job_id, now)
            if passed < _PATIENCE:
                is_announced = self._line.singled_out(job_id) is Source.WEBHOOK
                self._line.single_out(job_id, poll.source)
                withheld[job_id] = _delay(passed) if is_alone and not is_announced else 0.0
        return withheld

    def unconfirmed(self, job_id: str, now: float) -> float:
        """Note that a read does not confirm what was announced: it shows no end, and may be behind.

        Returns:
            In how many seconds to look again; infinite for not.
        """
        passed = now - self._unconfirmed_since.setdefault(job_id, now)
        if passed >= _PATIENCE:
            return math.inf
        self.confirm(job_id)
        return _delay(passed)

    def unanswered(self, poll: Poll) -> None:
        """Note that a read failed: what was announced is still to be confirmed."""
        if poll.source is Source.WEBHOOK:
            for record in poll.records:
                self.confirm(record.job_id)

    def settled(self, job_id: str) -> None:
        """Note that a read has shown all there is to know of a job at present."""
        if self._withheld_since:
            self._withheld_since.pop(job_id, None)

    def ended(self, job_id: str, source: Source, now: float) -> None:
        """Note that a read found that a job has ended since: an announcement should not be far."""
        is_announced = self._line.singled_out(job_id) is Source.WEBHOOK
        if self.is_live and source is not Source.WEBHOOK and not is_announced:
            self._expected_by.setdefault(job_id, now + _ANNOUNCED_WITHIN)

    def forget(self, job_id: str) -> None:
        """Note that nobody asks for a job any more."""
        self.settled(job_id)
        self._unconfirmed_since.pop(job_id, None)
        self._line.pardon(job_id)

    def next_deadline(self) -> float:
        """Return when `advance` has something to do; infinite for never."""
        return next(iter(self._expected_by.values())) if self._expected_by else math.inf

    def advance(self, now: float) -> bool:
        """Return whether announcements have just proven not to come."""
        if now < self.next_deadline():
            return False
        logger.warning("a job ended and nobody announced it: polling goes on at its usual pace")
        self._expected_by.clear()
        self._schedule.is_stretched = False
        return True

    def clear(self) -> None:
        """Forget everything."""
        self._remembered.clear()
        self._withheld_since.clear()
        self._unconfirmed_since.clear()
        self._expected_by.clear()


def _delay(passed: float) -> float:
    """Return in how many seconds to look again for what has been missing for so many."""
    return max(_SHORTEST_DELAY, min(passed, _PATIENCE - passed))
