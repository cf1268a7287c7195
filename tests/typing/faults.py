"""How faults are asked for, with types. Never run: mypy alone reads it (see pyproject.toml)."""

from collections.abc import Mapping
from typing import Any, assert_type

from simulator import Match, Rule, Simulator
from simulator.faults import HttpStatus


def ways_to_write_a_rule(sim: Simulator, rule: Rule, said: Mapping[str, Any]) -> None:
    """A rule is a fault, a rule, a text or a dict, with the same options beside each."""
    assert_type(sim.faults.add(HttpStatus(status=503)), int)
    assert_type(sim.faults.add(rule, now=7.0), int)
    assert_type(sim.faults.add("status:count=1", probability=0.5, after=1, seed="mine"), int)
    assert_type(sim.faults.add(said, match=Match(job="a*"), count=None, for_=60), int)
    assert_type(Rule.of("mute", match={"nth": 2}), Rule)


def what_makes_no_rule(sim: Simulator) -> None:
    """What would be a TypeError is none that a type checker lets through."""
    sim.faults.add(HttpStatus)  # type: ignore[arg-type]
    sim.faults.add(["mute"])  # type: ignore[arg-type]
    sim.faults.add("mute", count="1")  # type: ignore[arg-type]
    sim.faults.add("mute", path="/status*")  # type: ignore[call-arg]
