"""A bug on purpose: a small change of the product at run time, which must be found.

A simulation that finds nothing proves nothing until it has shown that it would. A mutant replaces
one attribute by its name, so it fails loudly when that is gone; it counts how often it was reached,
so a patch that changes nothing any more is told from a bug that nobody notices.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from importlib import import_module
from typing import Any

__all__ = ["Make", "Mutant", "constant"]

Make = Callable[[Any], Any]
"""Returns what stands in place of the original: a function, a property or a value."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """One bug.

    Attributes:
        place: Module and name of the attribute that it replaces: `package.module:Class.name`.
        make: Makes the replacement.
        breaks: The promises of which one must be found broken by it: another failure may be a flaw
            of the mutant itself, and proves no judge.
    """

    place: str
    make: Make
    breaks: tuple[str, ...] = ()

    @contextmanager
    def applied(self) -> Iterator[Callable[[], int]]:
        """Put the bug in; yield a function that tells how often it was reached.

        Raises:
            AttributeError: The place is gone.
            ValueError: The replacement is what was there before.
        """
        module, _, path = self.place.partition(":")
        owner: Any = import_module(module)
        *way, name = path.split(".")
        for step in way:
            owner = getattr(owner, step)
        original = vars(owner).get(name)
        if original is None:
            raise AttributeError(f"{self.place} is gone: what does this mutant mean now?")
        count = 0

        def counted(function: Callable[..., Any]) -> Callable[..., Any]:
            @wraps(function)
            def call(*arguments: Any, **options: Any) -> Any:
                nonlocal count
                count += 1
                return function(*arguments, **options)

            return call

        changed = self.make(original)
        if changed == original:
            raise ValueError(f"{self.place} is {original!r} anyway: this mutant changes nothing")
        if isinstance(changed, property):
            assert changed.fget is not None
            changed = property(counted(changed.fget))
        elif callable(changed):
            changed = counted(changed)
        setattr(owner, name, changed)
        try:
            yield lambda: count
        finally:
            setattr(owner, name, original)


def constant(value: Any) -> Make:
    """Return how to replace a value, or a function by one that returns a value."""
    return lambda original: (lambda *_, **__: value) if callable(original) else value
