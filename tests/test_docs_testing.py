"""The tests that docs/testing.md and docs/heygen.md show, run as a reader runs them."""

import asyncio
import re
import sys
from pathlib import Path

import pytest

from simulator import HeyGenOptions
from simulator.faults import FAMILIES, FAULTS
from simulator.testing import Network, VirtualLoop, VirtualRunner

pytest_plugins = ["pytester"]

DOCS = Path(__file__).parents[1] / "docs"
PAGE = (DOCS / "testing.md").read_text(encoding="utf-8")
HEYGEN = (DOCS / "heygen.md").read_text(encoding="utf-8")


def files(page: str) -> dict[str, str]:
    """Return the files that a page shows, by their names."""
    return dict(re.findall(r"^```python\n# (\w+\.py)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL))


FILES = files(PAGE)


def test_the_tests_of_the_page_pass(pytester: pytest.Pytester) -> None:
    """Each of the files, in a directory with nothing else, passes without a warning."""
    assert PAGE.count("```python") == len(FILES) == 3
    shown = FILES | files(HEYGEN)
    for name, code in shown.items():
        (pytester.path / name).write_text(code, encoding="utf-8")
    tests = sum(code.count("async def test_") for code in shown.values())
    result = pytester.runpytest_subprocess("-W", "error", "--strict-markers", "-p", "no:asyncio")
    result.assert_outcomes(passed=tests + 4)  # one of them under five seeds


def test_one_of_them_needs_no_vtrans_hybrid() -> None:
    """The first file knows nothing but aiohttp and the fixtures."""
    assert re.findall(r"^(?:import|from) (\w+)", FILES["test_poller.py"], re.MULTILINE) == [
        "asyncio",
        "aiohttp",
        "pytest",
    ]


def test_what_the_page_about_heygen_names_is_there() -> None:
    """Faults and options of the tables exist by these names."""
    _, _, section = HEYGEN.partition("### What can go wrong")
    rows = re.findall(r"^\| [^|]+ \| (`.*) \|$", section.partition("\n## ")[0], re.MULTILINE)
    faults = {name for row in rows for name in re.findall(r"`([a-z_]+)[:`]", row)}
    options = set(re.findall(r"^\| `--[^|]*\| `(\w+)[=`]", HEYGEN, re.MULTILINE))

    assert options == set(HeyGenOptions._fields)
    assert faults <= FAULTS.keys()
    assert {kind.name for kind in FAMILIES["heygen"]} <= faults


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
    _, _, refused = PAGE.partition("| what takes real time |")
    names = re.findall(r"`(?:loop\.)?((?:add|connect|create|sock|send)\w+)", refused)
    assert {"add_reader", "create_datagram_endpoint", "sendfile"} <= set(names)
    for name in names:
        assert hasattr(VirtualLoop, name) or hasattr(asyncio, name), name
