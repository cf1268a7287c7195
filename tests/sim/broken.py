"""How a judge says which promise was broken."""

from __future__ import annotations

import traceback

__all__ = ["BrokenPromise", "check", "promise_of"]


class BrokenPromise(AssertionError):
    """A promise was broken that `tests/promises.py` has no function for.

    Args:
        promise: Its name in docs/guarantees.md.
        text: How.
    """

    def __init__(self, promise: str, text: str) -> None:
        super().__init__(text)
        self.promise = promise


def promise_of(error: BaseException) -> str:
    """Return the name of the promise that an error says was broken; its type where none is."""
    if isinstance(error, BrokenPromise):
        return error.promise
    for frame, _ in traceback.walk_tb(error.__traceback__):
        name = frame.f_code.co_name
        if frame.f_code.co_filename.endswith("promises.py") and name[2:3] == "_":
            return name[:2].upper()
    return _NAMES.get(type(error).__name__, type(error).__name__)


_NAMES = {"DeadlockError": "L6", "LimitError": "L6"}


def check(holds: bool, promise: str, text: str) -> None:
    """Raise `BrokenPromise` unless something holds."""
    if not holds:
        raise BrokenPromise(promise, text)
