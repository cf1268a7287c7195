"""What HeyGen's answers may look like: the schemas beside this file, and which one is whose."""

import json
from functools import cache
from pathlib import Path
from typing import Any, Final

import jsonschema  # type: ignore[import-untyped]  # it ships no types
from referencing import Registry, Resource

__all__ = ["NAMES", "check"]

_FOLDER: Final = Path(__file__).parent / "schemas"
_SCHEMAS: Final = {
    path.stem: json.loads(path.read_text(encoding="utf-8")) for path in _FOLDER.glob("*.json")
}
_REGISTRY: Final = Registry().with_resources(
    (name, Resource.from_contents(schema)) for name, schema in _SCHEMAS.items()
)

NAMES: Final = frozenset(_SCHEMAS)
"""The names of the schemas."""


def check(name: str, document: Any) -> None:
    """Check that an answer is as its schema has it.

    Raises:
        jsonschema.ValidationError: it is not; the text says where.
    """
    _validator(name).validate(document)


@cache
def _validator(name: str) -> Any:
    jsonschema.Draft202012Validator.check_schema(_SCHEMAS[name])
    return jsonschema.Draft202012Validator(_SCHEMAS[name], registry=_REGISTRY)
