"""A plan file: many rules, in YAML or JSON. Pure.

Each rule is a dict as in the control API, or a text as on the command line::

    seed: 7
    rules:
      - fault: status
        parameters: {status: 503, retry_after: 2}
        match: {path: /status*}
        probability: 0.1
      - drop_event:probability=0.2,for=60
"""

import json
from typing import Any, Literal, NamedTuple

import msgspec
from msgspec import Struct

from simulator.rules import Rule, parse_rule

__all__ = ["Rulebook"]


class Rulebook(NamedTuple):
    """What a plan file says."""

    rules: tuple[Rule, ...]
    seed: int | str | None = None
    """Of all its randomness; None leaves that open."""

    @classmethod
    def parse(cls, text: str, *, syntax: Literal["json", "yaml"]) -> "Rulebook":
        """Understand a plan file.

        Args:
            text: what it holds: an object with `rules` and perhaps `seed`, or a list of rules. A
                rule is an object as in the control API, or a text as on the command line.
            syntax: in which it is written.

        Raises:
            ValueError: it cannot be understood; the text says which line, or which rule and field.
        """
        document = _decoded(text, syntax)
        if isinstance(document, list):
            document = {"rules": document}
        try:
            plan = msgspec.convert(document, _Document)
        except msgspec.ValidationError as error:
            raise ValueError(f"This is no plan: {error}.") from error
        rules = [_rule(number, rule) for number, rule in enumerate(plan.rules, 1)]
        return cls(tuple(rules), plan.seed)


class _Document(Struct, forbid_unknown_fields=True):
    """The outline of a plan file."""

    rules: list[Any]
    seed: int | str | None = None


def _decoded(text: str, syntax: str) -> Any:
    try:
        if syntax == "json":
            return json.loads(text)
        return msgspec.yaml.decode(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"line {error.lineno}, column {error.colno}: {error.msg}.") from error
    except msgspec.DecodeError as error:
        raise ValueError(" ".join(str(error).split())) from error
    except ImportError as error:
        raise ValueError("YAML takes the extra `yaml`; a plan may be JSON as well.") from error


def _rule(number: int, document: object) -> Rule:
    try:
        if isinstance(document, str):
            return parse_rule(document)
        return Rule.from_dict(document)
    except ValueError as error:
        raise ValueError(f"rule {number}: {error}") from error
