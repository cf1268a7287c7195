"""What ends a run on virtual time that can not go on.

VirtualTimeError(RuntimeError)
 +- DeadlockError     nothing is ready and no timer is set
 +- LimitError        the run took longer, or more passes of the loop, than it was allowed
 +- UnsupportedError(NotImplementedError)  virtual time can not give what was asked for, a thread
"""

__all__ = ["DeadlockError", "LimitError", "UnsupportedError", "VirtualTimeError"]


class VirtualTimeError(RuntimeError):
    """A run on virtual time can not go on."""


class DeadlockError(VirtualTimeError):
    """Nothing is ready and no timer is set, so no task can ever go on."""


class LimitError(VirtualTimeError):
    """The run went past its limit of virtual time, or of passes of the loop."""


class UnsupportedError(VirtualTimeError, NotImplementedError):
    """Something was asked for that virtual time can not give.

    It is a NotImplementedError, as every loop of asyncio raises for what its platform lacks: a
    library that can do without (signals, sendfile) does so here, too.
    """
