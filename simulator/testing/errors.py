"""What ends a run on virtual time that can not go on.

VirtualTimeError(RuntimeError)
 +- DeadlockError     nothing is ready and no timer is set
 +- LimitError        the run took longer, or more passes of the loop, than it was allowed
 +- UnsupportedError  something was asked for that virtual time can not give, such as a thread
"""

__all__ = ["DeadlockError", "LimitError", "UnsupportedError", "VirtualTimeError"]


class VirtualTimeError(RuntimeError):
    """A run on virtual time can not go on."""


class DeadlockError(VirtualTimeError):
    """Nothing is ready and no timer is set, so no task can ever go on."""


class LimitError(VirtualTimeError):
    """The run went past its limit of virtual time, or of passes of the loop."""


class UnsupportedError(VirtualTimeError):
    """Something was asked for that virtual time can not give."""
