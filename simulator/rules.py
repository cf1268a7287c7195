"""A rule of a fault plan, and the ways to write one. Pure.

In Python a rule is a `Rule`, or a fault with options beside it. In the control API and in a plan
file it is a dict of the same names, and on a command line a text:
``status:status=503,probability=0.1,count=5,path=/status*``, which is the name of the fault, then
any of its parameters, of the fields of `Rule` and of those of `Match`, in this order where a name
is known to several. `Rule.of` takes them all.
"""

import json
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from difflib import get_close_matches
from typing import Annotated, Any, Final, Self, TypedDict, Unpack

import msgspec
from msgspec import Meta, Struct, field, structs

from simulator.faults import FAULTS, Direction, Fault
from simulator.keys import owner_of
from simulator.misfits import misfit

__all__ = ["Match", "Rule", "RuleOptions", "parse_rule"]

Seconds = Annotated[float, Meta(ge=0, le=1e9)]

_MOST_NEAR: Final = 5  # names that are offered in place of one that is unknown
_PAIR: Final = re.compile(r",(?=[a-z_]+=)")  # a comma in a value is followed by no name


class Match(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """Whom a rule strikes; None matches everything.

    Args:
        path: a glob over the path of the request, such as `/status/*`.
        job: a glob over the job id.
        connection: the number of the channel, or of the TCP connection for a fault of the link.
        key: the API key of the caller; of a rule that was added only its digest is kept and shown.
        nth: only the n-th occasion (from 1) that fits the rest.
        direction: `in` for what the server receives, `out` for what it sends.
    """

    path: str | None = None
    job: str | None = None
    connection: Annotated[int, Meta(ge=1)] | None = None
    key: Annotated[str, Meta(min_length=1, max_length=1000)] | None = None
    nth: Annotated[int, Meta(ge=1)] | None = None
    direction: Direction | None = None


class RuleOptions(TypedDict, total=False):
    """What may stand beside a fault: the other fields of `Rule`."""

    match: Match | Mapping[str, object]
    probability: float
    count: int | None
    after: float
    for_: float | None
    seed: int | str | None


class Rule(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """One line of a plan: which fault, whom it strikes, how often and when.

    Args:
        fault: the name of the fault.
        parameters: the fields of that fault.
        match: whom it strikes.
        probability: how likely a fitting occasion is struck.
        count: how often it strikes at most; None for no limit.
        after: seconds after it was added from which it strikes.
        for_: seconds, from then, for which it strikes; None for ever.
        seed: of its randomness; None takes it from the plan and the number of the rule.
    """

    fault: str
    parameters: dict[str, Any] = {}
    match: Match = Match()
    probability: Annotated[float, Meta(ge=0, le=1)] = 1.0
    count: Annotated[int, Meta(ge=1)] | None = None
    after: Seconds = 0.0
    for_: Seconds | None = field(default=None, name="for")
    seed: int | str | None = None

    @classmethod
    def of(
        cls, described: "Fault | Rule | str | Mapping[str, Any]", **options: Unpack[RuleOptions]
    ) -> Self:
        """Return the rule that is described in whichever way.

        Args:
            described: a fault, a rule, the text of one, or its dict.
            options: other fields of the rule; each takes the place of what `described` says of it,
                `match` as a whole.

        Raises:
            TypeError: `described` is none of these, or there is no such option.
            ValueError: it makes no rule; the text says where and why.
        """
        unknown = sorted(options.keys() - RuleOptions.__annotations__.keys())
        if unknown:
            known = ", ".join(RuleOptions.__annotations__)
            raise TypeError(
                f"A rule has no option {unknown[0]!r} beside its fault; it has {known}."
            )
        document = _plain(_document(described)) | _plain(options)
        if isinstance(document.get("match"), Match):
            document["match"] = msgspec.to_builtins(document["match"])
        return cls.from_dict(document)

    @classmethod
    def from_dict(cls, document: object) -> Self:
        """Return the rule that a dict describes.

        Args:
            document: its fields as the control API and plan files have them; `for_` may stand for
                `for`.

        Raises:
            ValueError: it describes none; the text says where and why.
        """
        if isinstance(document, dict):
            document = _plain(document)
        try:
            rule = msgspec.convert(document, cls)
        except msgspec.ValidationError as error:
            raise ValueError(f"This is no rule: {misfit(error, cls)}.") from error
        rule.build()
        return rule

    def to_dict(self) -> dict[str, Any]:
        """Return the dict from which `from_dict` makes this rule."""
        document: dict[str, Any] = msgspec.to_builtins(self)
        if not document.get("match", True):
            del document["match"]  # however the rule was written: it strikes whom it meets
        return document

    def without_key(self) -> Self:
        """Return this rule with the digest of a key in place of the key, to be kept and shown."""
        if self.match.key is None:
            return self
        match = structs.replace(self.match, key=owner_of(self.match.key))
        return structs.replace(self, match=match)

    def build(self) -> Fault:
        """Return the fault itself.

        Raises:
            ValueError: there is no fault of this name, or it has no such parameters.
        """
        kind = _kind(self.fault)
        try:
            return msgspec.convert(self.parameters, kind)
        except msgspec.ValidationError as error:
            text = misfit(error, kind)
            raise ValueError(f"The fault {self.fault!r} has other parameters: {text}.") from error


def parse_rule(text: str) -> Rule:
    """Understand a rule as it is written on a command line.

    Args:
        text: `NAME` or `NAME:KEY=VALUE,KEY=VALUE...`; a value may hold a comma.

    Raises:
        ValueError: it is no rule; the text says what is wrong, and what there is to choose from.
    """
    name, _, rest = text.partition(":")
    kind = _kind(name)
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


def _document(described: Fault | Rule | str | Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the dict of a rule that may be described in another way."""
    match described:
        case Fault():
            return {"fault": described.name, "parameters": msgspec.to_builtins(described)}
        case Rule():
            return described.to_dict()
        case str():
            return parse_rule(described).to_dict()
        case Mapping():
            return described
    is_class = isinstance(described, type) and issubclass(described, Fault)
    name = described.__name__ if is_class else type(described).__name__
    raise TypeError(
        "A rule is made of a fault such as HttpStatus(status=503), of a Rule, of a text such as "
        "'status:status=503,count=1', or of a dict such as {'fault': 'status', 'count': 1}; "
        + (f"{name} is the class of a fault, write {name}()." if is_class else f"not of {name}.")
    )


def _plain(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a rule by the names they have outside of Python."""
    if "for_" in document and "for" in document:
        return dict(document)  # that is one too many, and refused as a field that is unknown
    return {"for" if key == "for_" else key: said for key, said in document.items()}


def _kind(name: str) -> type[Fault]:
    kind = FAULTS.get(name)
    if kind is None:
        near = get_close_matches(name, FAULTS, n=_MOST_NEAR)
        meant = f" Did you mean {' or '.join(near)}?" if near else ""
        raise ValueError(f"There is no fault {name!r}; docs/faults.md lists all.{meant}")
    return kind


def _types(kind: type[Struct], leave_out: Iterable[str] = ()) -> Mapping[str, Any]:
    """Return the fields of a Struct, as people write them, with their types."""
    fields = structs.fields(kind)
    return {each.encode_name: each.type for each in fields if each.name not in leave_out}


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
    raise ValueError(f"{key}={text}: {misfit(errors[0], kind)}.")
