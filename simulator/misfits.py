"""What to say of a document that does not fit its model. Pure.

msgspec says what is wrong and where; what a choice is from, and from where to where a number may
go, is said here.
"""

import re
from collections.abc import Iterator
from functools import cache
from typing import Any, Final, TypeVar

import msgspec
from msgspec import Struct, inspect

__all__ = ["fitted", "misfit"]

S = TypeVar("S", bound=Struct)

_PLACE: Final = re.compile(r" - at `\$((?:\.\w+)*)`$")


def fitted(model: type[S], what: str, /, **fields: object) -> S:
    """Return the document that arguments make.

    Args:
        model: of the document.
        what: it is, in words.
        fields: its fields.

    Raises:
        ValueError: a field does not fit; the text says which one, and what it takes.
    """
    try:
        return msgspec.convert(fields, model)
    except msgspec.ValidationError as error:
        raise ValueError(f"This is no {what}: {misfit(error, model)}.") from error


def misfit(error: Exception, model: Any) -> str:
    """Return what is wrong and where, and what the field takes instead if that is a short list.

    Args:
        error: as the decoder raised it.
        model: the type that the document should have.
    """
    text = str(error).rstrip(".")
    place = _PLACE.search(text)
    kinds = [_described(model)]
    for name in place[1].split(".")[1:] if place else ():
        kinds = [kind for outer in kinds for kind in _fields(outer, name)]
    choices = [choice for kind in kinds for choice in _choices(kind)]
    if not choices or (place is None and " - at `" in text) or None in choices:
        return text
    *others, last = dict.fromkeys(map(str, choices))
    return f"{text}; it takes {' or '.join(filter(None, (', '.join(others), last)))}"


@cache
def _described(model: Any) -> inspect.Type:
    return inspect.type_info(model)


def _fields(kind: inspect.Type, name: str) -> Iterator[inspect.Type]:
    """Iterate over the types of the fields of this name, of a Struct or of several."""
    if isinstance(kind, inspect.UnionType):
        for one in kind.types:
            yield from _fields(one, name)
    elif isinstance(kind, inspect.StructType):
        yield from (field.type for field in kind.fields if field.encode_name == name)


def _choices(kind: inspect.Type) -> Iterator[str | None]:
    """Iterate over what a field takes, in words; None stands for what is no short list."""
    match kind:
        case inspect.UnionType(types=types):
            for one in types:
                yield from _choices(one)
        case inspect.LiteralType(values=values):
            yield from map(repr, values)
        case inspect.FloatType(ge=low, le=high) | inspect.IntType(ge=low, le=high):
            if low is None or high is None:
                yield None
            else:
                yield f"a number from {low:,.10g} to {high:,.10g}"
        case inspect.NoneType():
            pass
        case _:
            yield None
