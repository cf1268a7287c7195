"""The tests that docs/testing.md shows, run as a reader runs them who has copied them."""

import re
import sys
from pathlib import Path

import pytest

from simulator.testing import Network, VirtualRunner

pytest_plugins = ["pytester"]

PAGE = (Path(__file__).parents[1] / "docs" / "testing.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"^```python\n# (\w+\.py)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL))


def test_the_tests_of_the_page_pass(pytester: pytest.Pytester) -> None:
    """Each of the three files, in a directory with nothing else, passes without a warning."""
    assert PAGE.count("```python") == len(FILES) == 3
    for name, code in FILES.items():
        (pytester.path / name).write_text(code, encoding="utf-8")
    tests = sum(code.count("async def test_") for code in FILES.values())
    result = pytester.runpytest_subprocess("-W", "error", "--strict-markers", "-p", "no:asyncio")
    result.assert_outcomes(passed=tests + 4)  # one of them under five seeds


def test_one_of_them_needs_no_vtrans_hybrid() -> None:
    """The first file knows nothing but aiohttp and the fixtures."""
    assert re.findall(r"^(?:import|from) (\w+)", FILES["test_poller.py"], re.MULTILINE) == [
        "asyncio",
        "aiohttp",
        "pytest",
    ]


def test_what_the_page_names_is_there() -> None:
    """Fixtures, faults and errors of the tables exist by these names."""
    [faults] = re.findall(r"the `Network`: (.*?);", PAGE)
    for name in re.findall(r"`(\w+)`", faults):
        assert callable(getattr(Network, name)), name
    for name in re.findall(r"^\| `(\w+Error)` \|", PAGE, re.MULTILINE):
        assert hasattr(sys.modules["simulator.testing"], name), name
    for name in re.findall(r"^\| `(virtual_\w+)` \|", PAGE, re.MULTILINE):
        assert name in PAGE.partition("## What there is")[0] + "virtual_seed", name
    assert callable(VirtualRunner.run)
