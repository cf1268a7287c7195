"""The command line with `--heygen`, in the process of the test, at the simulator's face."""

import json
import logging
from collections.abc import Callable, Iterator

import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal

from simulator import Simulator
from simulator.faults import HttpStatus, OutOfCredit
from simulator.heygen import HeyGenOptions
from vtrans_hybrid.cli import main

VIDEO = "https://example.com/talk.mp4"

Vtrans = Callable[..., tuple[int, list[str], str]]


@pytest.fixture(scope="module")
def portal() -> Iterator[BlockingPortal]:
    """Run an event loop beside the tests."""
    with start_blocking_portal("asyncio") as running:
        yield running


@pytest.fixture(scope="module")
def sim(portal: BlockingPortal) -> Iterator[Simulator]:
    """Run a simulator whose jobs are done at once."""
    made = Simulator(delay=0, seed=1, heygen=HeyGenOptions(concurrency=0))
    with portal.wrap_async_context_manager(made) as running:
        yield running


@pytest.fixture
def vtrans(
    sim: Simulator,
    portal: BlockingPortal,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Vtrans]:
    """Run a command with a key and an address in the environment."""
    for name in ("VTRANS_BASE_URL", "VTRANS_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HEYGEN_API_KEY", "a-key")
    monkeypatch.setenv("HEYGEN_API_BASE", sim.url)

    def call(*arguments: str) -> tuple[int, list[str], str]:
        code = main(arguments)
        captured = capsys.readouterr()
        return code, captured.out.splitlines(), captured.err

    yield call
    portal.call(sim.faults.heal)


def order(vtrans: Vtrans, *languages: str) -> list[str]:
    """Order translations and return their ids."""
    options = [word for language in languages for word in ("--language", language)]
    code, lines, _ = vtrans("submit", VIDEO, *options, "--heygen")
    assert code == 0
    return [json.loads(line)["job_id"] for line in lines]


def test_languages_are_names(vtrans: Vtrans) -> None:
    """One a line; HeyGen is meant where its key is there and no other address is."""
    code, lines, _ = vtrans("languages", "--output", "text")

    assert code == 0
    assert "Spanish (Spain)" in lines
    assert json.loads(vtrans("languages")[1][0]) == {"language": "English"}


def test_an_order_is_one_job_for_each_language(vtrans: Vtrans) -> None:
    """Ids are told in the order of the languages."""
    assert [job.rpartition("-")[2] for job in order(vtrans, "Spanish", "French")] == ["es", "fr"]


def test_submit_waits_if_asked(vtrans: Vtrans, sim: Simulator) -> None:
    """With --wait each job is shown once, as it ended; here of a server that pushes it at once."""
    code, lines, _ = vtrans(
        "submit", VIDEO, "-l", "Spanish", "-l", "French", "--wait", "--base-url", sim.url
    )
    documents = [json.loads(line) for line in lines]

    assert code == 0
    assert [document["state"] for document in documents] == ["completed", "completed"]
    assert {document["language"] for document in documents} == {"Spanish", "French"}


def test_what_can_be_done_with_a_job_that_is_there(vtrans: Vtrans, sim: Simulator) -> None:
    """Its result has a fresh address, it is listed, and it can be deleted."""
    [job] = order(vtrans, "German")
    code, [address], _ = vtrans("url", job)
    assert code == 0
    assert address.startswith(f"{sim.url}/files/{job}/video.mp4?")
    assert any(json.loads(line)["job_id"] == job for line in vtrans("list")[1])
    assert vtrans("delete", job)[:2] == (0, [])
    code, _, complaint = vtrans("status", job)
    assert (code, job in complaint) == (1, True)


def test_quota_and_rate_limit_are_told_apart(
    vtrans: Vtrans, sim: Simulator, portal: BlockingPortal
) -> None:
    """Against the one waiting does not help, against the other it does."""
    empty = portal.call(sim.faults.add, OutOfCredit())
    code, _, complaint = vtrans("submit", VIDEO, "-l", "Spanish")
    assert (code, "waiting does not help" in complaint) == (6, True)
    portal.call(sim.faults.remove, empty)
    portal.call(sim.faults.add, HttpStatus(status=429, retry_after=3600))
    code, _, complaint = vtrans("submit", VIDEO, "-l", "Spanish")
    assert (code, "wait a little" in complaint) == (7, True)


def test_a_warning_says_whose_it_is(vtrans: Vtrans, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is logged as a warning stands on stderr as complaints do."""
    monkeypatch.setattr(logging.root, "handlers", [])
    code, _, complaint = vtrans("submit", VIDEO, "-l", "Spanish", "-o", "titel=x")
    assert code == 0
    assert complaint.startswith("vtrans: an order has no field 'titel'")


def test_a_language_that_is_misspelt(vtrans: Vtrans) -> None:
    """Whoever is refused is told which language may be meant, or where to look."""
    code, _, complaint = vtrans("submit", VIDEO, "-l", "Frensh", "-l", "german")
    assert code == 1
    assert "did you mean 'French' or" in complaint
    assert complaint.count("'Frensh'") == 1
    assert "German" not in complaint
    complaint = vtrans("submit", VIDEO, "-l", "fr", "-l", "fr")[2]
    assert "twice" in complaint
    assert "`vtrans languages`" not in complaint
    assert "`vtrans languages`" in vtrans("submit", VIDEO, "-l", "Xyzzy")[2]
    complaint = vtrans("submit", VIDEO, "-l", "fr", "-o", "speaker_num=-1")[2]
    assert "speaker_num" in complaint
    assert "languages" not in complaint


def test_an_empty_key_is_not_that_of_the_environment(vtrans: Vtrans) -> None:
    """It was to be the key of a certain account, and nothing is asked with that of another."""
    code, lines, complaint = vtrans("list", "--api-key", "")
    assert (code, lines, "HEYGEN_API_KEY" in complaint) == (2, [], True)


def test_the_key_of_heygen_is_asked_for(vtrans: Vtrans, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a key there is nothing to ask; without --heygen either, there is no address."""
    monkeypatch.delenv("HEYGEN_API_KEY")
    code, _, complaint = vtrans("languages", "--heygen")
    assert (code, "HEYGEN_API_KEY" in complaint) == (3, True)
    code, _, complaint = vtrans("languages")
    assert (code, "--base-url" in complaint) == (2, True)


def test_an_address_of_another_server_is_not_taken_for_heygen(
    vtrans: Vtrans, sim: Simulator
) -> None:
    """A key for HeyGen in the environment does not change what --base-url means."""
    code, _, complaint = vtrans("languages", "--base-url", sim.url)

    assert (code, "cannot list its languages" in complaint) == (1, True)


def test_heygen_has_no_push_channel(vtrans: Vtrans) -> None:
    """To ask for push alone is a mistake."""
    assert vtrans("list", "--heygen", "--transport", "push")[0] == 2
