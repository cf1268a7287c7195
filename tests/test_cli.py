"""The command line: what goes to stdout and to stderr, and exit codes.

Each exit code, signal and stream is tested on a process of its own. What concerns the commands
alone is tested in the process of the test, for it takes half a second to start another.
"""

import asyncio
import os
import re
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from itertools import pairwise

import aiohttp
import pytest
from anyio.from_thread import start_blocking_portal

from tests.command_line import Ended, is_served, run, run_vtrans, vtrans
from tests.pseudo_terminal import PseudoTerminal
from tests.sockets.server_process import ServerProcess
from tests.sockets.side_by_side import side_by_side, stage
from vtrans_hybrid.cli import main

__all__ = ["stage"]

VIDEO = "https://example.com/talk.mp4"
NOBODY = "http://127.0.0.1:1"
ELSEWHERE = "http://0.0.0.0:1"  # no address of loopback, though nothing leaves this machine

# Processes on real time: what is broken fails twice, a hiccup of the machine does not.
pytestmark = pytest.mark.flaky(reruns=1)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """Run a simulator whose jobs take a second."""
    with (
        start_blocking_portal("asyncio") as portal,
        portal.wrap_async_context_manager(ServerProcess("--delay", "1")) as server,
    ):
        yield server.url


async def order(url: str, **options: object) -> str:
    """Order a job and return its id."""
    fields = {"video_url": VIDEO, "language": "Spanish"} | options
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{url}/jobs", json=fields) as answer,
    ):
        document = await answer.json()
        assert answer.status == 202, document
        return str(document["jobs"][0]["job_id"])


def complaint(ended: Ended) -> str:
    """Return what stderr says, which is one line that begins with the program's name."""
    assert re.fullmatch(r"vtrans: [^\n]+\n", ended.stderr), ended.stderr
    return ended.stderr


# Each exit code, in a process.


@side_by_side
async def test_watch_writes_each_update_as_a_json_line(url: str) -> None:
    """A program gets whole statuses, ascending, the last one final; and exit code 0."""
    job = await order(url)
    ended = await run_vtrans("watch", job, "--base-url", url)
    assert (ended.code, ended.stderr) == (0, "")
    documents = ended.documents
    assert {document["job_id"] for document in documents} == {job}
    assert all(before["version"] < after["version"] for before, after in pairwise(documents))
    assert all(document["state"] in ("pending", "running") for document in documents[:-1])
    assert documents[-1]["state"] == "completed"
    assert documents[-1]["result_url"].startswith("https://")
    assert {document["source"] for document in documents} <= {"push", "poll"}


@pytest.mark.slow
@side_by_side
async def test_an_unreachable_server_is_exit_code_1() -> None:
    """One line says what to look at."""
    ended = await run_vtrans("watch", "job-1", "--base-url", NOBODY)
    assert (ended.code, ended.stdout) == (1, "")
    assert "base_url" in complaint(ended)


@side_by_side
async def test_wrong_usage_is_exit_code_2() -> None:
    """A job is missing: one line names the help."""
    ended = await run_vtrans("watch", "--base-url", NOBODY)
    assert (ended.code, ended.stdout) == (2, "")
    assert "vtrans watch --help" in complaint(ended)


@side_by_side
async def test_a_wrong_key_is_exit_code_3_and_is_not_echoed() -> None:
    """The key goes to the server and nowhere else, however much is logged."""
    async with ServerProcess("--api-key", "right") as server:
        key = {"VTRANS_API_KEY": "sesame-variable", "VTRANS_BASE_URL": server.url}
        as_variable = run_vtrans("status", "job-1", "-vv", environment=key)
        option = ("--api-key", "sesame-option")
        as_option = run_vtrans("watch", "job-1", *option, "-vv", environment=key)
        for ended in await asyncio.gather(as_variable, as_option):
            assert ended.code == 3, ended.stderr
            assert "VTRANS_API_KEY" in ended.stderr.splitlines()[-1]
            assert "sesame" not in ended.stdout + ended.stderr
        ended = await run_vtrans("status", "job-1", "--api-key", "right", environment=key)
    assert ended.code == 1, "the right key, but no such job"


@side_by_side
async def test_a_timeout_is_exit_code_4(url: str) -> None:
    """The time is over although the job runs; what came until then was written."""
    job = await order(url, delay=60)
    ended = await run_vtrans("watch", job, "--timeout", "2", "--base-url", url)
    assert ended.code == 4
    assert ended.documents[-1]["state"] in ("pending", "running")
    assert "--timeout" in complaint(ended)


@side_by_side
async def test_a_job_that_ends_in_error_is_exit_code_5(url: str) -> None:
    """`submit --watch` follows what it ordered; a failure is data, and nothing to complain of."""
    fields = ("-o", "error_probability=1", "-o", "delay=0.3", "--title", "Talk")
    languages = ("-l", "Spanish", "-l", "German")
    ended = await run_vtrans("submit", VIDEO, *languages, *fields, "--watch", "--base-url", url)
    assert (ended.code, ended.stderr) == (5, "")
    failed = [document for document in ended.documents if document["state"] == "error"]
    assert sorted(document["language"] for document in failed) == ["German", "Spanish"]
    assert all(document["error"]["message"] for document in failed)


@side_by_side
async def test_an_interrupt_is_exit_code_130_and_sigterm_143(url: str) -> None:
    """Both end a watch without a traceback."""
    job = await order(url, delay=60)
    for number, code, said in (
        (signal.SIGINT, 130, "vtrans: interrupted\n"),
        (signal.SIGTERM, 143, ""),
    ):
        async with vtrans("watch", job, "--base-url", url) as watch:
            assert job in await watch.line()
            watch.process.send_signal(number)
            ended = await watch.end()
        assert (ended.code, ended.stderr) == (code, said)


# Streams.


@side_by_side
async def test_a_reader_that_leaves_is_no_traceback(url: str) -> None:
    """As with `vtrans watch JOB | head -1`: silent, and the exit code of SIGPIPE."""
    job = await order(url)
    there, here = os.pipe()
    os.close(there)
    try:
        ended = await run_vtrans("watch", job, "--base-url", url, stdout=here)
    finally:
        os.close(here)
    assert (ended.code, ended.stderr) == (141, "")


@side_by_side
async def test_a_terminal_gets_text_and_bars(url: str) -> None:
    """On a terminal `watch` writes lines for people, whole ones, and shows bars in between."""
    job = await order(url, delay=2)
    async with PseudoTerminal() as terminal:
        environment = {"TERM": "xterm-256color", "COLUMNS": "60"}
        command = ("watch", job, "--base-url", url)
        async with vtrans(*command, environment=environment, **terminal.options) as watch:
            await terminal.until(".mp4")
            ended = await watch.end()
    assert ended.code == 0
    line = f"{job}  Spanish       completed  https://"
    # The bar is taken away before a line is written, not written over.
    assert re.search(rf"(?:\x1b\[2K|\n){line}", terminal.shown), terminal.shown
    assert re.search(r"[1-9]\d*%", terminal.shown), "no bar has moved"


# simulate, and the extra.


@side_by_side
async def test_simulate_serves_until_it_is_told_to_stop(tmp_path_factory: object) -> None:
    """It takes the simulator's options, not a file of that name, and leaves nobody behind."""
    assert isinstance(tmp_path_factory, pytest.TempPathFactory)
    place = tmp_path_factory.mktemp("elsewhere")
    (place / "simulator.py").write_text("raise SystemExit('not me')")
    for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
        options = ("--port", "0", "--api-key", "right", "--drain", "0")
        async with vtrans("simulate", *options, cwd=place) as simulate:
            url = (await simulate.line("http://")).split()[1]
            assert await is_served(url)
            simulate.process.send_signal(number)
            ended = await simulate.end()
        assert ended.code == code, ended.stderr
        assert not await is_served(url)


@side_by_side
async def test_simulate_passes_on_why_it_does_not_start(url: str) -> None:
    """The exit code and the message of the simulator are those of `vtrans simulate`."""
    ended = await run_vtrans("simulate", "--port", url.rpartition(":")[2])
    assert ended.code == 2
    assert "Cannot listen" in ended.stderr


@side_by_side
async def test_without_the_extra_one_line_says_what_to_install() -> None:
    """The library does without click and rich; its command line says how to get them."""
    for name in ("click", "rich"):
        script = (
            f"import sys; sys.modules[{name!r}] = None\n"
            "from vtrans_hybrid.cli import main; sys.exit(main(['demo']))"
        )
        ended = await run(sys.executable, "-c", script)
        assert ended.code == 1
        assert f"needs {name}" in complaint(ended)
        assert "pip install 'vtrans-hybrid[cli]'" in ended.stderr


# Commands, in the process of the test.

Vtrans = Callable[..., Ended]


@pytest.fixture
def here(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Vtrans:
    """Return a function that runs the command line here and now."""
    monkeypatch.delenv("VTRANS_BASE_URL", raising=False)
    monkeypatch.delenv("VTRANS_API_KEY", raising=False)
    monkeypatch.delenv("HEYGEN_API_KEY", raising=False)

    def run_here(*arguments: str) -> Ended:
        code = main(arguments)
        captured = capsys.readouterr()
        return Ended(code, captured.out, captured.err)

    return run_here


def ordered(url: str, **options: object) -> str:
    """Order a job that takes a moment and return its id."""
    return asyncio.run(order(url, **{"delay": 0.3} | options))


def test_submit_writes_the_jobs_and_leaves(url: str, here: Vtrans) -> None:
    """One job a language, in their order; fields of the order may be JSON or text."""
    fields = ("-o", "delay=0.3", "-o", "title=Talk")
    ended = here("submit", VIDEO, "-l", "Spanish", "-l", "German", *fields, "--base-url", url)
    assert (ended.code, ended.stderr) == (0, "")
    assert [document["language"] for document in ended.documents] == ["Spanish", "German"]
    assert {document["state"] for document in ended.documents} == {"pending"}


def test_text_is_a_line_for_each_change_of_state(url: str, here: Vtrans) -> None:
    """`--output text` leaves progress out; `--default` needs no id."""
    ended = here("watch", "--default", "--output", "text", "--base-url", url)
    assert (ended.code, ended.stderr) == (0, "")
    states = [line.split()[2] for line in ended.stdout.splitlines()]
    assert states[-1] == "completed"
    assert states == [state for state in ("pending", "running", "completed") if state in states]


def test_wait_writes_the_final_status_of_each_job(url: str, here: Vtrans) -> None:
    """`wait` is silent until a job ends; options may stand before the command as well."""
    jobs = [ordered(url), ordered(url)]
    ended = here("--base-url", url, "--transport", "poll", "wait", *jobs)
    assert (ended.code, ended.stderr) == (0, "")
    assert [document["state"] for document in ended.documents] == ["completed"] * 2
    assert {document["job_id"] for document in ended.documents} == set(jobs)
    assert {document["source"] for document in ended.documents} == {"poll"}
    assert here("wait", "--default", "--base-url", url).documents[0]["state"] == "completed"


def test_an_option_of_the_command_beats_one_before_it(url: str, here: Vtrans) -> None:
    """What is said last counts, also against the environment."""
    job = ordered(url)
    ended = here("--base-url", NOBODY, "--output", "jsonl", "status", job, "--base-url", url)
    assert ended.code == 0, ended.stderr
    assert ended.documents[0]["job_id"] == job


def test_cancel_ends_jobs(url: str, here: Vtrans) -> None:
    """`cancel` ends well and shows the jobs; to wait for them then ends badly."""
    jobs = [ordered(url, delay=60), ordered(url, delay=60)]
    ended = here("cancel", *jobs, "--base-url", url)
    assert (ended.code, ended.stderr) == (0, "")
    assert [document["state"] for document in ended.documents] == ["canceled"] * 2
    assert here("wait", *jobs, "--base-url", url).code == 5


def test_a_failed_job_shows_why_in_each_command(url: str, here: Vtrans) -> None:
    """Watched, waited for or read, a job in error is exit code 5, and text tells the reason."""
    job = ordered(url, error_probability=1)
    for command in ("watch", "wait", "status"):
        ended = here(command, job, "--output", "text", "--base-url", url)
        assert (ended.code, ended.stderr) == (5, "")
        assert re.search(rf"{job}  Spanish +error +\w+: \w", ended.stdout)


def test_an_unknown_job_hides_no_other(url: str, here: Vtrans) -> None:
    """What is known is written, the rest is exit code 1."""
    job = ordered(url)
    for command in ("status", "watch"):
        ended = here(command, job, "nobody", "--base-url", url)
        assert ended.code == 1
        assert {document["job_id"] for document in ended.documents} == {job}
        assert "nobody" in complaint(ended)
        assert "check the id" in ended.stderr


def test_text_of_a_server_cannot_command_the_terminal(url: str, here: Vtrans) -> None:
    """Control characters from a server neither reach the terminal nor break a line."""
    job = ordered(url, language="Spa\x1b[2Jnish\nvtrans: all is lost")
    ended = here("wait", job, "--output", "text", "--base-url", url)
    assert ended.code == 0, ended.stderr
    assert "\x1b" not in ended.stdout
    assert len(ended.stdout.splitlines()) == 1


def test_a_single_request_obeys_the_timeout(here: Vtrans) -> None:
    """`status` gives up on a server that accepts and says nothing: exit code 4."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        ended = here("status", "job-1", "--timeout", "0.3", "--base-url", address)
    assert (ended.code, ended.stdout) == (4, "")
    assert "within 0.3 s" in complaint(ended)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["bogus"], "No such command 'bogus'"),
        (["watch", "job-1"], "VTRANS_BASE_URL"),
        (["watch", "--base-url", NOBODY], "Name the jobs"),
        (["watch", "job-1", "--default", "--base-url", NOBODY], "--default"),
        (["cancel", "--base-url", NOBODY], "JOB"),
        (["status", "a/b", "--base-url", NOBODY], "no job id"),
        (["status", "a\r\nb", "--base-url", NOBODY], "no job id"),
        (["watch", "job-1", "--base-url", "ftp://host"], "https://"),
        (["watch", "job-1", "--base-url", "host:8080"], "https://"),
        (["watch", "job-1", "--timeout", "0", "--base-url", NOBODY], "--timeout"),
        (["watch", "job-1", "--timeout", "-3", "--base-url", NOBODY], "--timeout"),
        (["watch", "job-1", "--timeout", "nan", "--base-url", NOBODY], "timeout"),
        (["watch", "job-1", "--transport", "fax", "--base-url", NOBODY], "--transport"),
        (["watch", "job-1", "--api-key", "a b", "--base-url", NOBODY], "API key"),
        (["watch", "job-1", "--api-key", "", "--base-url", NOBODY], "VTRANS_API_KEY"),
        (["--api-key", " ", "list", "--heygen"], "HEYGEN_API_KEY"),
        (["status", "job-1", "--api-key", "k", "--base-url", ELSEWHERE], "--allow-insecure"),
        (["submit", VIDEO, "--base-url", NOBODY], "--language"),
        (["submit", VIDEO, "-l", "X", "-o", "=3", "--base-url", NOBODY], "NAME=VALUE"),
        (["submit", " ", "-l", "X", "--base-url", NOBODY], "empty"),
    ],
)
def test_wrong_usage_is_one_line_that_says_what_is_wrong(
    arguments: list[str], says: str, here: Vtrans
) -> None:
    """Exit code 2, nothing on stdout, and nothing is asked of the network."""
    ended = here(*arguments)
    assert (ended.code, ended.stdout) == (2, "")
    assert says in complaint(ended)


def test_a_key_goes_over_http_where_that_is_asked_for(here: Vtrans) -> None:
    """`--allow-insecure` is for networks that one knows; here nobody is to be found there."""
    for more in ([], ["--heygen"]):
        asked = ["status", "job-1", "--api-key", "k", "--base-url", ELSEWHERE, *more]
        ended = here(*asked, "--allow-insecure", "--timeout", "0.3")
        assert ended.code in (1, 4), ended.stderr
        assert "clear text" not in complaint(ended)


def test_without_a_command_there_is_help(here: Vtrans) -> None:
    """`vtrans` alone is wrong usage, and tells of every command and exit code."""
    ended = here()
    assert (ended.code, ended.stdout) == (2, "")
    for word in ("demo", "simulate", "submit", "watch", "wait", "status", "cancel", "130"):
        assert word in ended.stderr


def test_help_and_version_are_no_errors(here: Vtrans) -> None:
    """They go to stdout, and the exit code is 0."""
    for arguments in (["--help"], ["--version"], ["watch", "--help"]):
        ended = here(*arguments)
        assert (ended.code, ended.stderr) == (0, "")
        assert "vtrans" in ended.stdout


def test_a_key_is_not_in_the_help(here: Vtrans, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor is the key of the environment shown as a default."""
    monkeypatch.setenv("VTRANS_API_KEY", "sesame")
    for arguments in (["--help"], ["watch", "--help"]):
        assert "sesame" not in here(*arguments).stdout
