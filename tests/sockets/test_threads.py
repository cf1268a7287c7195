"""The client without `await`, in programs of threads and in a program that is interrupted."""

import signal
import subprocess
import sys
import threading
import time

import pytest

from tests.promises import s1_at_most_once, s2_ascending, s3_final_once_and_last
from tests.sockets.server_process import ROOT
from vtrans_hybrid import Client, JobStatus
from vtrans_hybrid.blocking import BlockingWatch

VIDEO = "https://example.com/talk.mp4"

PROGRAM = """
import sys
from vtrans_hybrid import Client

with Client(sys.argv[1]) as client:
    job = client.submit("https://example.com/talk.mp4", language="Spanish", delay=60)
    for status in client.watch(job):
        print(status.state, flush=True)
"""


def test_threads_that_share_a_client(calm_url: str) -> None:
    """Ten threads watch five jobs each at the same time: every one of them sees all of its own."""
    seen: list[list[JobStatus]] = [[] for _ in range(10)]
    ordered: list[list[str]] = [[] for _ in range(10)]

    def work(client: Client, number: int) -> None:
        languages = [f"language {number}.{each}" for each in range(5)]
        jobs = client.submit_all(VIDEO, languages=languages)
        ordered[number] = [job.job_id for job in jobs]
        seen[number] = list(client.watch_all(jobs, mode="all"))
        assert all(status.ok for status in client.statuses(jobs).values())

    with Client(calm_url) as client:
        heard: list[JobStatus] = []
        client.on_update(heard.append)
        threads = [threading.Thread(target=work, args=(client, number)) for number in range(10)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert client.stats().dials == 1
    everything = [job_id for job_ids in ordered for job_id in job_ids]
    for statuses, job_ids in zip([*seen, heard], [*ordered, everything], strict=True):
        assert len(job_ids) in (5, 50)
        s1_at_most_once(statuses)
        s2_ascending(statuses)
        s3_final_once_and_last(statuses, ended=job_ids)


def test_a_program_that_is_interrupted(calm_url: str) -> None:
    """Ctrl-C ends a program that watches, at once and without a word but its own traceback."""
    with subprocess.Popen(
        [sys.executable, "-X", "dev", "-W", "error", "-c", PROGRAM, calm_url],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == "pending\n"
        program.send_signal(signal.SIGINT)
        began = time.monotonic()
        _, said = program.communicate(timeout=20)
    assert time.monotonic() - began < 3
    assert program.returncode == -signal.SIGINT
    assert said.startswith("Traceback")
    assert said.endswith("\nKeyboardInterrupt\n")
    assert "never" not in said
    assert "Exception ignored" not in said


FORGETFUL = """
import sys
from vtrans_hybrid import Client

client = Client(sys.argv[1])
job = client.submit("https://example.com/talk.mp4", language="Spanish", delay=60)
print(next(iter(client.watch(job))).state, flush=True)
"""


def test_a_program_that_forgets_to_close(calm_url: str) -> None:
    """It ends all the same."""
    ended = subprocess.run(
        [sys.executable, "-c", FORGETFUL, calm_url],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "pending\n", "")


def test_a_client_that_is_dropped(calm_url: str) -> None:
    """It is closed with a warning, and its thread ends."""

    def loops() -> set[threading.Thread]:
        return {each for each in threading.enumerate() if each.name == "vtrans-hybrid"}

    others = loops()
    client = Client(calm_url)
    assert client.status(client.submit(VIDEO, language="Spanish")).job_id
    [loop] = loops() - others
    with pytest.warns(ResourceWarning, match="unclosed <Client http"):
        del client
    loop.join(timeout=10)
    assert not loop.is_alive()


def test_a_watch_keeps_its_client(calm_url: str) -> None:
    """Nobody has to hold the client beside it."""
    with Client(calm_url) as client:
        job_id = client.submit(VIDEO, language="Spanish").job_id

    def follow() -> BlockingWatch:
        return Client(calm_url).watch(job_id)

    watch = follow()
    assert [*watch][-1].ok
    with pytest.warns(ResourceWarning, match="unclosed <Client http"):
        del watch


def test_a_closed_client_knows_other_threads(calm_url: str) -> None:
    """A thread that got the number of the loop's thread is not taken for it."""
    client = Client(calm_url)
    client.close()
    failures: list[BaseException] = []

    def close_again() -> None:
        try:
            client.close()
        except RuntimeError as error:
            failures.append(error)

    for _ in range(20):
        threads = [threading.Thread(target=close_again) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not failures
