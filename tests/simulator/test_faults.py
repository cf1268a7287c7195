"""The catalogue of faults."""

import msgspec
import pytest

from simulator.faults import FAULTS, Close, Fault, Garbage, HttpStatus
from simulator.rules import Rule


@pytest.mark.parametrize("kind", FAULTS.values(), ids=FAULTS)
def test_fault_survives_its_dict(kind: type[Fault]) -> None:
    """Every fault can be written as a dict and be made of it again, as the control API does."""
    fault = kind()

    rule = Rule.from_dict({"fault": kind.name, "parameters": msgspec.to_builtins(fault)})

    assert rule.build() == fault


@pytest.mark.parametrize("kind", FAULTS.values(), ids=FAULTS)
def test_fault_explains_itself(kind: type[Fault]) -> None:
    """Every fault has a docstring that names each of its parameters."""
    text = kind.__doc__ or ""

    assert text.rstrip().endswith(".")
    assert all(f"{field.name}:" in text for field in msgspec.structs.fields(kind))


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("status", {"status": 200}, r"`int` >= 400 - at `\$.status`"),
        ("status", {"retry_after": -1}, r"retry_after"),
        ("close", {"code": 999}, r"`int` >= 1000 - at `\$.code`"),
        ("close", {"reason": "x" * 101}, r"length <= 100 - at `\$.reason`"),
        ("garbage", {"kind": "poem"}, r"poem"),
        ("reorder", {"window": 1}, r"`int` >= 2 - at `\$.window`"),
        ("restart", {"lose_state": "some"}, r"some"),
        ("mute", {"volume": 0}, r"unknown field `volume`"),
    ],
)
def test_bad_parameter_is_refused_by_its_name(
    name: str, parameters: dict[str, object], message: str
) -> None:
    """A parameter that is out of range, or not there, is refused with its name."""
    with pytest.raises(ValueError, match=message):
        Rule.from_dict({"fault": name, "parameters": parameters})


def test_faults_are_values() -> None:
    """Faults compare by their parameters and cannot be changed."""
    assert HttpStatus(status=429) == HttpStatus(status=429) != HttpStatus(status=500)
    assert Close(code=1001) != Close()
    with pytest.raises(AttributeError):
        Garbage().kind = "html"  # type: ignore[misc]
