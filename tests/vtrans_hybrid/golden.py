"""The golden messages, against which the client is tested for itself."""

from pathlib import Path

__all__ = ["golden", "names"]

GOLDEN = Path(__file__).parent.parent / "golden"


def golden(name: str) -> bytes:
    """Return the bytes of a golden message."""
    return (GOLDEN / f"{name}.json").read_bytes()


def names(prefix: str) -> list[str]:
    """Return the names of golden messages."""
    return sorted(path.stem for path in GOLDEN.glob(f"{prefix}*.json"))
