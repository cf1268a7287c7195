"""What is kept of an API key, so that the key itself appears in no log and no repr."""

import hashlib

__all__ = ["key_digest", "owner_of"]


def key_digest(key: str) -> str:
    """Return the digest by which a key is recognised.

    Raises:
        TypeError: it is no text.
        ValueError: the key is empty.
    """
    if not isinstance(key, str):
        raise TypeError(f"An API key is a text, not a {type(key).__name__}.")
    if not key.strip():
        raise ValueError("An API key must not be empty.")
    return hashlib.blake2b(key.encode(), digest_size=32).hexdigest()


def owner_of(key: str) -> str:
    """Return the owner that a key stands for, which names it in jobs, rules and logs.

    Raises:
        ValueError: the key is empty.
    """
    return key_digest(key)[:32]
