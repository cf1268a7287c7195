"""What the client is given to read: the golden messages, and what is no message at all."""

from pathlib import Path

__all__ = ["GARBAGE", "golden", "names"]

GOLDEN = Path(__file__).parent.parent / "golden"

GARBAGE = (
    b"",
    b"null",
    b"5",
    b'"x"',
    b"[]",
    b"<html><body>Please log in</body></html>",
    b"\xff\xfe",
    b'{"a"',
    b"NaN",
    b"[" * 100_000,
    b'{"jobs":' + b"[" * 100_000,
)


def golden(name: str) -> bytes:
    """Return the bytes of a golden message."""
    return (GOLDEN / f"{name}.json").read_bytes()


def names(prefix: str) -> list[str]:
    """Return the names of golden messages."""
    return sorted(path.stem for path in GOLDEN.glob(f"{prefix}*.json"))
