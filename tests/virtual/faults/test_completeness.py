"""The catalogue as a whole: nothing in it is untested, undescribed, or had in one way only."""

import ast
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from simulator.describe_faults import page
from simulator.faults import FAMILIES, FAULTS, Fault
from simulator.rulebook import Rulebook
from simulator.rules import Match, Rule, parse_rule

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
CHANNEL_WAYS = {"half_open"}
"""Faults with a way of their own, for the ways of a rule are those of a link, request or event."""


@pytest.fixture(autouse=True)
def shown() -> None:
    """Check no log: these tests show no fault."""


def covered() -> set[str]:
    """Return the names of the tests beside this one."""
    return {
        node.name.removeprefix("test_")
        for path in HERE.glob("test_*.py")
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.AsyncFunctionDef)
    }


def test_every_fault_is_seen_from_outside() -> None:
    """Each fault has a test of its name here, which checks that it was shown."""
    assert sorted(FAULTS.keys() - covered()) == []


def test_every_fault_has_one_family() -> None:
    """No fault is missing in the families, or in two of them."""
    kinds = [kind for family in FAMILIES.values() for kind in family]
    assert len(kinds) == len(set(kinds)) == len(FAULTS)
    assert set(kinds) == set(Fault.__subclasses__())


@pytest.mark.parametrize("kind", FAULTS.values(), ids=FAULTS)
def test_four_ways_make_one_rule(kind: type[Fault]) -> None:
    """In process, over the control API, on the command line and in a file: the same rule."""
    options: dict[str, Any] = {"probability": 0.25, "count": 3, "for_": 60.0}
    parameters = msgspec.to_builtins(kind())
    rule = Rule.of(kind(), match=Match(connection=2), **options)
    document = {"fault": kind.name, "parameters": parameters, "match": {"connection": 2}} | options
    said = ",".join(f"{key}={_said(value)}" for key, value in parameters.items())
    line = f"{kind.name}:{said}{',' if said else ''}probability=0.25,count=3,for=60,connection=2"

    assert Rule.from_dict(json.loads(json.dumps(document))) == rule
    assert parse_rule(line) == rule
    for syntax in ("json", "yaml"):
        book = Rulebook.parse(json.dumps([document, line]), syntax=syntax)  # type: ignore[arg-type]
        assert book.rules == (rule, rule)


def _said(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


@pytest.mark.parametrize("kind", FAULTS.values(), ids=FAULTS)
def test_no_parameter_hides_a_field_of_the_rule(kind: type[Fault]) -> None:
    """On the command line all names stand side by side."""
    taken = {field.name for struct in (Rule, Match) for field in msgspec.structs.fields(struct)}
    own = {field.name for field in msgspec.structs.fields(kind)}
    if kind.name not in CHANNEL_WAYS:
        assert own & taken == set()


def test_page_is_up_to_date() -> None:
    """docs/faults.md is what `python -m simulator.describe_faults` prints."""
    assert (ROOT / "docs" / "faults.md").read_text(encoding="utf-8") == page()


@pytest.mark.parametrize("kind", FAULTS.values(), ids=FAULTS)
def test_page_describes_every_fault(kind: type[Fault]) -> None:
    """Each fault has its heading, and each parameter a line that says something."""
    _, _, rest = page().partition(f"### `{kind.name}`\n")
    section = rest.partition("\n### ")[0].partition("\n## ")[0]
    assert f"*{kind.where}*" in section
    for field in msgspec.structs.fields(kind):
        [line] = [line for line in section.splitlines() if line.startswith(f"| `{field.name}` ")]
        assert len(line.split("|")[3]) > 10
