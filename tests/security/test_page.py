"""The page of security names tests that exist."""

import ast
import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
PAGE = (TESTS.parent / "docs" / "security.md").read_text()
NAMED = sorted(set(re.findall(r"`([a-z_/]+\.py)::(test_\w+)`", PAGE)))


def test_the_page_names_its_proofs() -> None:
    """Every rule in the tables has one."""
    rules = [line for line in PAGE.splitlines() if line.startswith("| ") and line.endswith("` |")]
    assert len(rules) >= 15
    assert all("::test_" in rule for rule in rules)


@pytest.mark.parametrize(("path", "name"), NAMED)
def test_every_test_named_exists(path: str, name: str) -> None:
    """A proof that was renamed or removed is noticed."""
    tree = ast.parse((TESTS / path).read_text())
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    assert name in {node.name for node in tree.body if isinstance(node, functions)}
