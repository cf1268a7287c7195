"""Rules as people write them: pure, so no loop and no socket."""

import sys
from typing import Any

import pytest

from simulator.rulebook import Rulebook
from simulator.rules import Rule, parse_rule

PLAN = """
seed: 7
rules:
  - fault: status
    parameters: {status: 503, retry_after: 2}
    match: {path: /status*, nth: 2}
    probability: 0.1
    for: 60
  - drop_event:probability=0.2,job=a*
"""


def test_plan_file_is_understood() -> None:
    """Rules can be objects or lines, and the plan can bring its seed."""
    book = Rulebook.parse(PLAN, syntax="yaml")

    assert book.seed == 7
    assert [rule.to_dict() for rule in book.rules] == [
        {
            "fault": "status",
            "parameters": {"status": 503, "retry_after": 2},
            "match": {"path": "/status*", "nth": 2},
            "probability": 0.1,
            "for": 60.0,
        },
        {"fault": "drop_event", "match": {"job": "a*"}, "probability": 0.2},
    ]


@pytest.mark.parametrize(
    ("text", "parameters"),
    [
        ("close:reason=one, two,code=4000", {"reason": "one, two", "code": 4000}),
        ("status:retry_after=3", {"retry_after": 3.0}),
        ("status:retry_after=soon", {"retry_after": "soon"}),
        ("status:retry_after=null,body=null", {"retry_after": None, "body": None}),
        ("delay:time=5", {"time": "5"}),
        ("restart:lose_state=0.5", {"lose_state": 0.5}),
        ("vanish:tombstone=true", {"tombstone": True}),
        ("half_open:direction=in", {"direction": "in"}),
        ("mute", {}),
    ],
)
def test_value_means_what_its_field_is(text: str, parameters: dict[str, Any]) -> None:
    """A text becomes a number, true, false or null where the field is one, and else stays."""
    assert parse_rule(text) == Rule.from_dict(
        {"fault": text.split(":")[0], "parameters": parameters}
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("flood", "There is no fault 'flood'; docs/faults.md lists all"),
        (
            "status:status=200",
            r"status=200: Expected `int` >= 400; it takes a number from 400 to",
        ),
        ("status:body", "'body' is no KEY=VALUE"),
        ("mute:volume=1", "'mute' has no 'volume'; it has age, probability, count, after, for, "),
        ("mute:probability=2", "probability=2: Expected `float` <= 1.0"),
        ("delay:time=long", "'long' is no delay"),
        ("mute:nth=0", "nth=0"),
    ],
)
def test_bad_line_is_refused_with_its_place(text: str, message: str) -> None:
    """What is wrong is named, with what there is to choose from."""
    with pytest.raises(ValueError, match=message):
        parse_rule(text)


@pytest.mark.parametrize(
    ("syntax", "text", "message"),
    [
        ("yaml", "rules:\n  - fault: [status\n", "line 3"),
        ("json", '{"rules":\n [}', "line 2, column 3"),
        (
            "yaml",
            "rules: [mute, {fault: status, parameters: {status: 5}}]",
            r"rule 2: .*\$\.status",
        ),
        ("yaml", "[{fault: mute, probability: 2}]", r"rule 1: .*\$\.probability"),
        ("yaml", "[flood]", "rule 1: There is no fault 'flood'"),
        ("yaml", "rules: mute", r"\$\.rules"),
        ("yaml", "rules: []\nsaed: 1", "unknown field `saed`"),
        ("yaml", "rules: []\nseed: 1.5", r"\$\.seed"),
        ("yaml", "7", "Expected `object`"),
        ("yaml", "", "Expected `object`"),
    ],
)
def test_bad_plan_is_refused_with_its_place(syntax: Any, text: str, message: str) -> None:
    """A mistake of syntax is named with its line, any other with its rule and field."""
    with pytest.raises(ValueError, match=message):
        Rulebook.parse(text, syntax=syntax)


def test_yaml_needs_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without PyYAML the error says what to install, and that there is JSON."""
    monkeypatch.setitem(sys.modules, "yaml", None)
    with pytest.raises(ValueError, match="extra `yaml`; a plan may be JSON"):
        Rulebook.parse("[]", syntax="yaml")
    assert Rulebook.parse("[]", syntax="json") == Rulebook(())
