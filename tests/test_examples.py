"""Each example runs, against a simulator in a process of its own, and prints what it is for."""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from anyio.from_thread import start_blocking_portal

from tests.command_line import ROOT, run
from tests.sockets.server_process import ServerProcess
from tests.sockets.side_by_side import side_by_side, stage

__all__ = ["stage"]

EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
LONGEST = 40  # lines

# Processes on real time: what is broken fails twice, a hiccup of the machine does not.
pytestmark = pytest.mark.flaky(reruns=1)

ELSEWHERE = ROOT / "tests" / "virtual" / "heygen" / "test_webhook_examples.py"
"""Further tests, on virtual time, which the server of this file would not bear."""


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """Run a simulator for the examples."""
    with (
        start_blocking_portal("asyncio") as portal,
        portal.wrap_async_context_manager(ServerProcess("--delay", "1.5")) as server,
    ):
        yield server.url


async def printed(name: str, *arguments: str, environment: dict[str, str] | None = None) -> str:
    """Run an example to its end, which must be a good one, and return what it printed."""
    path = ROOT / "examples" / f"{name}.py"
    ended = await run(sys.executable, path, *arguments, environment=environment)
    assert ended.code == 0, ended.stderr
    assert ended.stderr == ""
    return ended.stdout


def shares(text: str) -> list[int]:
    """Return the percentages in a text."""
    return [int(share) for share in re.findall(r"(\d+)%", text)]


def test_each_example_has_a_test() -> None:
    """There is a test named after each example, and an example for each thing to show."""
    names = {path.stem for path in EXAMPLES}
    assert names >= {
        *("quickstart", "callbacks", "bulk", "blocking", "survive_drops", "plain_server"),
        *("webhooks_aiohttp", "webhooks_starlette"),
    }
    elsewhere = ELSEWHERE.read_text(encoding="utf-8")
    untested = {
        name
        for name in names
        if not callable(globals().get(f"test_{name}")) and f"def test_{name}(" not in elsewhere
    }
    assert not untested


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_short(path: Path) -> None:
    """An example has at most 40 lines, and begins with the command that runs it."""
    source = path.read_text(encoding="utf-8")
    assert len(source.splitlines()) <= LONGEST
    said = ast.get_docstring(ast.parse(source))
    assert said is not None
    command = f"`python examples/{path.name} [URL]`"
    serves = f"`uvicorn --app-dir examples {path.stem}:app"
    assert command in said or serves in said


@side_by_side
async def test_quickstart(url: str) -> None:
    """One job, by push from its beginning to its end."""
    text = await printed("quickstart", url)
    lines = text.splitlines()
    # On a busy machine the job may be under way before the channel is.
    assert lines[0].split() in (["pending", "0%", "by", "push"], ["running", "0%", "by", "push"])
    assert lines[-2].split() == ["completed", "100%", "by", "push"]
    assert lines[-1].startswith("result: https://")
    assert shares(text) == sorted(shares(text))


@side_by_side
async def test_callbacks(url: str) -> None:
    """A callback that fails is reported and stops nothing; a slow one gets the end, and last."""
    text = await printed("callbacks", environment={"VTRANS_BASE_URL": url})
    for language in ("Spanish", "German"):
        assert f"a callback failed: {language} is only pending" in text
        told = [line for line in text.splitlines() if line.startswith(f"{language} is ")]
        assert told[0] == f"{language} is pending at 0%"
        assert told[-1] == f"{language} is completed at 100%"
        assert shares("".join(told)) == sorted(shares("".join(told)))


@side_by_side
async def test_bulk(url: str) -> None:
    """Two hundred jobs end, for two requests and one WebSocket."""
    lines = (await printed("bulk", url)).splitlines()
    assert "200 of 200 have ended" in lines
    assert lines[-2] == "states: 200 completed"
    assert re.fullmatch(r"cost: 2 requests, 1 WebSocket, \d{3,} pushes", lines[-1])


@side_by_side
async def test_blocking(url: str) -> None:
    """The client without `await` watches one job, takes the ends of two, and meets a timeout."""
    lines = (await printed("blocking", url)).splitlines()
    # On a busy machine the job may be under way before the channel is.
    assert lines[0].split() in (["pending", "0%", "by", "push"], ["running", "0%", "by", "push"])
    assert "completed 100%  by push" in lines
    assert {"German is completed", "Thai is completed"} <= set(lines)
    assert lines[-1].startswith("not yet: ")


@side_by_side
async def test_survive_drops() -> None:
    """Each version of a job comes once and in order, through three cuts."""
    # A server of its own, for others would feel the cuts as well.
    async with ServerProcess("--delay", "3") as server:
        lines = (await printed("survive_drops", server.url)).splitlines()
    assert [line for line in lines if line.startswith("cut")] == [
        f"cut after version {version}" for version in (3, 5, 7)
    ]
    versions = [int(version) for version in lines[-2].removeprefix("versions: ").split()]
    assert versions == list(range(1, versions[-1] + 1))
    # On a busy machine a cut may find the channel not back yet.
    assert re.match(r"completed after [123] drops, ", lines[-1]), lines[-1]


@side_by_side
async def test_plain_server() -> None:
    """A job of a server that knows nothing but `GET /status` is followed by polls to its end."""
    lines = (await printed("plain_server")).splitlines()
    assert lines[:-1] == ["pending  by poll", "completed  by poll"]
    assert re.fullmatch(r"polls: [1-9]", lines[-1])


@side_by_side
async def test_heygen(url: str) -> None:
    """Where it goes is said by the environment alone; two languages, and a file for each."""
    environment = {"HEYGEN_API_KEY": "any", "HEYGEN_API_BASE": url}
    lines = (await printed("heygen", environment=environment)).splitlines()
    assert sorted(line.split()[:2] for line in lines) == [
        ["French", "completed"],
        ["Spanish", "completed"],
    ]
    assert all(f" {url}/files/" in line for line in lines)
    assert len((ROOT / "examples" / "heygen.py").read_text(encoding="utf-8").splitlines()) <= 15
