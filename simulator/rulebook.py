"""Rules as people write them: one on a command line, many in a plan file. Pure.

On a command line a rule is ``status:status=503,probability=0.1,count=5,path=/status*``: the name
of the fault, then any of its parameters, of the fields of `Rule` and of those of `Match`, in this
order where a name is known to several. A plan file is YAML or JSON::

    seed: 7
    rules:
      - fault: status
        parameters: {status: 503, retry_after: 2}
        match: {path: /status*}
        probability: 0.1
      - drop_event:probability=0.2,for=60
"""

import json
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any, Final, Literal, NamedTuple

import msgspec
from msgspec import Struct, structs

from simulator.faults import FAULTS
from simulator.plan import Match, Rule

__all__ = ["Rulebook", "parse_rule"]

_PAIR: Final = re.compile(r",(?=[a-z_]+=)")  # a comma in a value is followed by no name


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


def parse_rule(text: str) -> Rule:
    """Understand a rule as it is written on a command line.

    Args:
        text: `NAME` or `NAME:KEY=VALUE,KEY=VALUE...`; a value may hold a comma.

    Raises:
        ValueError: it is no rule; the text says what is wrong, and what there is to choose from.
    """
    name, _, rest = text.partition(":")
    kind = FAULTS.get(name)
    if kind is None:
        raise ValueError(f"There is no fault {name!r}; there are {', '.join(FAULTS)}.")
    parameters: dict[str, Any] = {}
    match: dict[str, Any] = {}
    options: dict[str, Any] = {}
    places = (
        (_types(kind), parameters),
        (_types(Rule, leave_out=("fault", "parameters", "match")), options),
        (_types(Match), match),
    )
    for key, value in _pairs(rest):
        for types, target in places:
            if key in types:
                target[key] = _value(key, value, types[key])
                break
        else:
            keys = dict.fromkeys(key for types, _ in places for key in types)
            raise ValueError(f"{name!r} has no {key!r}; it has {', '.join(keys)}.")
    return Rule.from_dict({"fault": name, "parameters": parameters, "match": match, **options})


def _types(kind: type[Struct], leave_out: Iterable[str] = ()) -> Mapping[str, Any]:
    """Return the fields of a Struct, as people write them, with their types."""
    fields = structs.fields(kind)
    return {f.name.rstrip("_"): f.type for f in fields if f.name not in leave_out}


def _pairs(text: str) -> list[tuple[str, str]]:
    pairs = []
    for pair in _PAIR.split(text) if text else []:
        key, equals, value = pair.partition("=")
        if not equals:
            raise ValueError(f"{pair!r} is no KEY=VALUE.")
        pairs.append((key.strip(), value))
    return pairs


def _value(key: str, text: str, kind: Any) -> Any:
    """Return what a text means for a field: a number, true, false, null, or itself."""
    meanings: list[object] = []
    with suppress(json.JSONDecodeError):
        meanings.append(json.loads(text))
    errors = []
    for meaning in [*meanings, text]:
        try:
            return msgspec.convert(meaning, kind)
        except msgspec.ValidationError as error:
            errors.append(error)
    raise ValueError(f"{key}={text}: {errors[0]}.")


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
