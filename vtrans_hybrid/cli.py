"""The command line `vtrans`; its commands are in `commands.py`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

__all__ = ["main"]

_EXTRA = frozenset({"click", "rich"})


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code.

    Args:
        arguments: Those after the program's name; None takes them from the command line.

    Returns:
        0 ok, 1 the server or the network failed (or the extra `cli` is missing), 2 wrong usage, 3
        the API key is missing or wrong, 4 the timeout passed, 5 a job ended in error or was
        canceled, 130 Ctrl-C, 143 told to end.
    """
    try:
        # Not at the top: the library does without these two packages, and then says so.
        from vtrans_hybrid.commands import run
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in _EXTRA:
            raise
        sys.stderr.write(
            f"vtrans: the command line needs {missing}, which is not installed: "
            "pip install 'vtrans-hybrid[cli]'\n"
        )
        return 1
    return run(sys.argv[1:] if arguments is None else arguments)
