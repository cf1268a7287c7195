"""`vtrans demo`, as a stranger runs it first."""

import asyncio
import re
import signal
from itertools import groupby

import pytest

from tests.command_line import Ended, is_served, run_vtrans, vtrans
from tests.pseudo_terminal import CTRL_C, PseudoTerminal
from tests.sockets.side_by_side import side_by_side, stage

__all__ = ["stage"]

LONGEST = 30.0  # seconds, twice what it promises: other programs run as well
ADDRESS = re.compile(r"http://127\.0\.0\.1:\d+")

# Processes on real time: what is broken fails twice, a hiccup of the machine does not.
pytestmark = [pytest.mark.slow, pytest.mark.flaky(reruns=1)]


async def test_the_demo_shows_push_then_polls_then_push_again() -> None:
    """Without a terminal it prints lines, in time, and sums up what they say."""
    began_at = asyncio.get_running_loop().time()
    ended = await run_vtrans("demo")
    assert (ended.code, ended.stderr) == (0, "")
    assert asyncio.get_running_loop().time() - began_at < LONGEST
    assert "\x1b" not in ended.stdout
    sources = re.findall(r"%  (push|poll)$", ended.stdout, re.MULTILINE)
    assert [source for source, _ in groupby(sources)] == ["push", "poll", "push"]
    assert ended.stdout.count(" completed ") == 3
    check_summary(ended, sources)
    assert not await is_served(address(ended.stdout)), "the simulator was left behind"


def check_summary(ended: Ended, sources: list[str]) -> None:
    """Check that the last lines agree with those before."""
    said = ended.stdout.partition("\n\n")[2]
    pushes, polls = sources.count("push"), sources.count("poll")
    assert f"{pushes} by push, {polls} by poll (push -> poll -> push)" in said
    requests = re.search(r"(\d+) polls, (\d+) dials", said)
    assert requests is not None
    assert int(requests[1]) >= 2
    assert int(requests[2]) == 3, "the first, the one that was refused, the last"
    assert re.search(r"drops +1$", said, re.MULTILINE)
    delay = re.search(r"median (\d+) ms, longest (\d+) ms", said)
    assert delay is not None
    assert int(delay[2]) < 1000


@side_by_side
async def test_on_a_terminal_the_demo_moves_bars_and_obeys_ctrl_c() -> None:
    """Ctrl-C goes to the simulator as well, as on any terminal, and nothing is left behind."""
    async with PseudoTerminal() as terminal:
        environment = {"TERM": "xterm-256color", "COLUMNS": "100"}
        async with vtrans("demo", environment=environment, **terminal.options) as demo:
            await terminal.until("by push")
            await terminal.until("15%")
            terminal.press(CTRL_C)
            ended = await demo.end()
    assert ended.code == 130
    assert "Spanish" in terminal.shown
    assert "\x1b[" in terminal.shown, "nothing has moved"
    assert "interrupted" in terminal.shown
    assert "Traceback" not in terminal.shown
    assert not await is_served(address(terminal.shown))


@side_by_side
async def test_the_demo_takes_its_simulator_along() -> None:
    """Whether it is interrupted or told to end, early or late, its simulator ends before it."""
    for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
        async with vtrans("demo") as demo:
            url = address(await demo.line("http://"))
            assert await is_served(url)
            demo.process.send_signal(number)
            ended = await demo.end()
        assert ended.code == code
        assert "Traceback" not in ended.stderr
        assert not await is_served(url)


def address(text: str) -> str:
    """Return the first address in a text."""
    found = ADDRESS.search(text)
    assert found is not None, text
    return found[0]
