"""What a client has left behind in a run in which something else was broken first."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["leaks_of", "noted"]

_MARK = "left behind: "


@contextmanager
def noted(broken: BaseException | None) -> Iterator[None]:
    """Note a broken promise with the one that was broken before; None lets it pass.

    Other errors are no news: in a run that has failed, not everything can be done that follows.
    """
    try:
        yield
    except Exception as error:
        if broken is None:
            raise
        if isinstance(error, AssertionError):
            broken.add_note(f"{_MARK}{error}")


def leaks_of(broken: BaseException) -> list[str]:
    """Return what was noted with a broken promise."""
    notes: list[str] = getattr(broken, "__notes__", [])
    return [note.removeprefix(_MARK) for note in notes if note.startswith(_MARK)]
