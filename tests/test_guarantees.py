"""The page of guarantees names tests that exist."""

import ast
import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
PAGE = (TESTS.parent / "docs" / "guarantees.md").read_text()

PROMISES = [
    line.split("|")[1].strip() for line in PAGE.splitlines() if re.match(r"\| [A-Z]\d", line)
]
NAMED = sorted(set(re.findall(r"`([a-z_/]+\.py)::(test_\w+)`", PAGE)))


def test_every_promise_has_its_row() -> None:
    """No promise is forgotten, and none stands twice."""
    expected = [f"S{n}" for n in range(1, 8)] + [f"L{n}" for n in range(1, 7)]
    expected += [f"R{n}" for n in range(1, 4)] + [f"E{n}" for n in range(1, 6)]
    assert expected == PROMISES


@pytest.mark.parametrize(("path", "name"), NAMED)
def test_every_test_named_exists(path: str, name: str) -> None:
    """A proof that was renamed or removed is noticed."""
    tree = ast.parse((TESTS / path).read_text())
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    assert name in {node.name for node in tree.body if isinstance(node, functions)}
