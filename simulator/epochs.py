"""The identities of histories: words that sort by when the history began (a ULID). Pure."""

from random import Random
from typing import Final

__all__ = ["new_epoch"]

_CROCKFORD: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_TIME: Final = 10  # letters that say when it began


def new_epoch(wall: float, random: Random, *, after: str | None = None) -> str:
    """Return an identity for a new history, that sorts after all earlier ones.

    Args:
        wall: Unix time in seconds.
        random: makes two of the same millisecond differ.
        after: an identity that it must sort after whatever the time is; None for no such one.
    """
    began = int(wall * 1000)
    if after is not None:
        began = max(began, _value(after[:_TIME]) + 1)
    number = (began << 80) | random.getrandbits(80)
    return "".join(_CROCKFORD[(number >> shift) & 31] for shift in range(125, -1, -5))


def _value(letters: str) -> int:
    number = 0
    for letter in letters:
        number = number << 5 | _CROCKFORD.index(letter)
    return number
