"""The client without `await`: each call, from any thread, interrupted or not, and the end."""

import gc
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from anyio.from_thread import start_blocking_portal

from simulator import Simulator
from tests.promises import s1_at_most_once
from vtrans_hybrid import (
    AsyncClient,
    Client,
    ClientClosed,
    Job,
    JobFailed,
    JobLost,
    JobNotFound,
    JobStatus,
    PollPolicy,
    WatchTimeout,
)
from vtrans_hybrid.webhooks import WebhookReceiver

VIDEO = "https://example.com/talk.mp4"


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """Run a simulator of fast jobs in a thread of its own and yield its address."""
    with (
        start_blocking_portal("asyncio") as portal,
        portal.wrap_async_context_manager(Simulator(delay=0.4, seed=1)) as simulator,
    ):
        yield simulator.url


@pytest.fixture
def client(url: str) -> Iterator[Client]:
    """Open a client."""
    with Client(url) as client:
        yield client


def order(client: Client, **options: object) -> Job:
    """Order one job."""
    return client.submit(VIDEO, language="Spanish", **options)


def until(condition: Callable[[], bool]) -> None:
    """Wait until the condition holds, two seconds at most."""
    for _ in range(400):
        if condition():
            return
        time.sleep(0.005)
    raise AssertionError("it has not come about")


def interrupt_later(seconds: float) -> threading.Timer:
    """Press Ctrl-C in a while."""
    timer = threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    return timer


def test_it_has_the_calls_of_the_asynchronous_client() -> None:
    """Every public name is there, with the same parameters; only the end is called otherwise."""
    names = {name for name in dir(AsyncClient) if not name.startswith("_")}
    assert {name for name in dir(Client) if not name.startswith("_")} == (
        names - {"aclose"} | {"close"}
    )
    for name in names - {"aclose"}:
        assert _parameters(Client, name) == _parameters(AsyncClient, name), name
    assert _parameters(Client, "__init__") == _parameters(AsyncClient, "__init__")


def _parameters(kind: type, name: str) -> dict[str, object]:
    code = getattr(kind, name).__code__
    count = code.co_argcount + code.co_kwonlyargcount
    defaults = getattr(kind, name).__kwdefaults__ or {}
    return {each: defaults.get(each) for each in code.co_varnames[:count]}


def test_a_job_is_ordered_and_followed(client: Client) -> None:
    """Iteration yields ascending statuses, the last one final, and then ends for good."""
    watch = client.watch(order(client), mode="all")
    statuses = list(watch)
    assert [status.version for status in statuses] == list(range(1, len(statuses) + 1))
    assert [status.is_final for status in statuses].count(True) == 1
    assert statuses[-1].ok
    assert list(watch) == []
    assert watch.errors == {}


def test_waiting_and_results(client: Client) -> None:
    """`wait` returns the final status, `result` insists on success."""
    good, bad = order(client), order(client, error_probability=1)
    assert client.wait(good).ok
    assert client.result(good).ok
    assert client.wait(bad).state == "error"
    with pytest.raises(JobFailed, match=bad.job_id):
        client.result(bad)


def test_many_jobs_at_once(client: Client) -> None:
    """`submit_all`, `watch_all`, `as_completed` and `statuses` work on many jobs."""
    jobs = client.submit_all(VIDEO, languages=["Spanish", "French", "German"])
    ids = [job.job_id for job in jobs]
    assert [job.language for job in jobs] == ["Spanish", "French", "German"]
    last = {status.job_id: status for status in client.watch_all(jobs)}
    assert all(last[each].ok for each in ids)
    assert sorted(status.job_id for status in client.as_completed(jobs)) == sorted(ids)
    assert list(client.statuses(jobs)) == ids


def test_single_reads_and_errors(client: Client) -> None:
    """`status`, `job` and `cancel` answer; an unknown job is `JobNotFound`, a wrong id misuse."""
    job = order(client, delay=60)
    assert client.status(client.job(job.job_id)).job_id == job.job_id
    assert client.cancel(job).state == "canceled"
    with pytest.raises(JobNotFound):
        client.status("nobody-knows-it")
    with pytest.raises(JobNotFound):
        client.wait("nobody-knows-it")
    with pytest.raises(ValueError, match="job id"):
        client.watch("a/b")
    with pytest.raises(WatchTimeout):
        client.wait(order(client, delay=60), timeout=0.1)


def test_callbacks(client: Client) -> None:
    """Callbacks are called until they are ended, as a function, a decorator or by watch."""
    every: list[JobStatus] = []
    one: list[JobStatus] = []
    threads: set[str] = set()
    end = client.on_update(every.append)
    job = order(client)

    @client.on_update(job=job, threaded=True)
    def note(status: JobStatus) -> None:
        threads.add(threading.current_thread().name)

    watched: list[JobStatus] = []
    assert client.wait(job, on_update=one.append).ok
    until(lambda: bool(threads))
    s1_at_most_once(one)
    assert one[-1].is_final
    assert every == one
    assert not threads & {"MainThread", "vtrans-hybrid"}
    end()
    end()
    for _ in client.watch(order(client), on_update=watched.append):
        pass
    assert watched[-1].ok
    assert every[-1].job_id == job.job_id
    assert callable(note)


def test_a_callback_that_calls_its_own_client_is_told_so(client: Client) -> None:
    """A plain callback runs in the loop, which cannot wait for itself: an error, not a deadlock."""
    raised: list[BaseException] = []

    def ask(status: JobStatus) -> None:
        for call in (lambda: client.status(status.job_id), client.close):
            try:
                call()
            except RuntimeError as error:
                raised.append(error)

    assert client.wait(order(client), on_update=ask).ok
    assert len(raised) >= 2
    assert all("threaded=True" in str(error) for error in raised)


def test_a_threaded_callback_may_call_its_client_but_not_close_it(client: Client) -> None:
    """From a worker thread every call works, but closing it would wait for the callback itself."""
    said: list[object] = []

    def ask(status: JobStatus) -> None:
        said.append(client.status(status.job_id).job_id)
        try:
            client.close()
        except RuntimeError as error:
            said.append(str(error))

    job = order(client)
    end = client.on_update(ask, job, threaded=True)
    assert client.wait(job).ok
    until(lambda: len(said) >= 2)
    end()
    assert said[:2] == [job.job_id, "a callback must not close the client that runs it"]


def test_a_callback_may_end_itself(client: Client) -> None:
    """That needs no waiting, so it works from within the loop."""
    seen: list[JobStatus] = []

    def take(status: JobStatus) -> None:
        seen.append(status)
        end()

    job = order(client)
    end = client.on_update(take)
    assert client.wait(job).ok
    assert len(seen) == 1


def test_a_blocking_callback_does_not_hold_up_the_end(url: str) -> None:
    """A worker thread cannot be cancelled; closing leaves it to itself."""
    is_called, may_end = threading.Event(), threading.Event()

    def block(_: JobStatus) -> None:
        is_called.set()
        may_end.wait(10)

    client = Client(url)
    client.on_update(block, order(client), threaded=True)
    assert is_called.wait(10)
    began = time.monotonic()
    client.close()
    may_end.set()
    assert time.monotonic() - began < 5


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_process_is_told_to_make_its_own(client: Client) -> None:
    """The loop does not run there: a call would wait for ever."""
    job = order(client)
    read, write = os.pipe()
    child = os.fork()
    if not child:
        signal.alarm(10)
        try:
            client.status(job)
        except RuntimeError as error:
            os.write(write, str(error).encode())
        os._exit(0)
    os.close(write)
    os.waitpid(child, 0)
    with os.fdopen(read) as said:
        assert "does not survive a fork" in said.read()


def test_leaving_a_loop_early_leaves_nothing_behind(client: Client) -> None:
    """`break`, and the end of a `with` block, end the following."""
    job = order(client, delay=60)
    for _ in client.watch(job):
        break
    until(lambda: client.stats().watched_jobs == 0)
    with client.watch(job) as watch:
        assert not next(watch).is_final
        assert client.stats().watched_jobs == 1
    assert client.stats().watched_jobs == 0
    watch.close()


def test_several_threads_share_a_client(client: Client) -> None:
    """Each thread gets what it asked for, and all of them use one socket."""
    finals: dict[int, JobStatus] = {}

    def work(number: int) -> None:
        job = order(client, title=str(number))
        *_, finals[number] = client.watch(job)
        assert finals[number].job_id == job.job_id

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({status.job_id for status in finals.values()}) == 8
    assert all(status.ok for status in finals.values())
    assert client.stats().dials == 1


def test_closing_ends_what_other_threads_wait_for(url: str) -> None:
    """A thread that waits gets `ClientClosed` at once, and the loop's thread is gone."""
    client = Client(url)
    job = order(client, delay=60)
    raised: list[BaseException] = []

    def wait() -> None:
        try:
            client.wait(job)
        except ClientClosed as error:
            raised.append(error)

    waiting = threading.Thread(target=wait)
    waiting.start()
    until(lambda: client.stats().watched_jobs == 1)
    began = time.monotonic()
    closing = [threading.Thread(target=client.close) for _ in range(3)]
    for thread in closing:
        thread.start()
    for thread in [waiting, *closing]:
        thread.join(timeout=10)
        assert not thread.is_alive()
    assert time.monotonic() - began < 5
    assert len(raised) == 1
    assert "vtrans-hybrid" not in {thread.name for thread in threading.enumerate()}


def test_a_closed_client_says_so(url: str) -> None:
    """After the end every call is `ClientClosed`; closing and ending things again is harmless."""
    client = Client(url)
    job = order(client, delay=60)
    watch = client.watch(job)
    end = client.on_update(lambda status: None)
    client.close()
    client.close()
    watch.close()
    end()
    for call in (lambda: client.status(job), lambda: next(watch), lambda: order(client)):
        with pytest.raises(ClientClosed):
            call()
    with pytest.raises(ClientClosed):
        list(client.watch(job))
    with pytest.raises(ClientClosed), client:
        pass
    assert repr(client) == f"<Client {url}>"


def test_endpoints_keep_their_client(url: str) -> None:
    """Whoever holds nothing but them holds the client, which is closed when nobody does."""
    held = [Client.heygen("any", base_url=url).endpoints()]
    gc.collect()

    assert held[0].known() == []

    with pytest.warns(ResourceWarning, match="unclosed"):
        held.clear()


def test_wrong_arguments_start_no_thread() -> None:
    """Misuse is found before a loop is started."""
    before = threading.active_count()
    with pytest.raises(ValueError, match="base_url"):
        Client("nowhere")
    assert threading.active_count() == before


def test_ctrl_c_while_waiting(url: str) -> None:
    """The interrupted call ends on the other side too, and the client goes on working."""
    with Client(url) as client:
        timer = interrupt_later(0.1)
        with pytest.raises(KeyboardInterrupt):
            client.wait(order(client, delay=60))
        timer.join()
        until(lambda: client.stats().watched_jobs == 0)
        watch = client.watch(order(client, delay=60))
        next(watch)
        timer = interrupt_later(0.1)
        with pytest.raises(KeyboardInterrupt):
            list(watch)
        timer.join()
        assert client.wait(order(client)).ok
    assert "vtrans-hybrid" not in {thread.name for thread in threading.enumerate()}


def test_announcements_from_any_thread(url: str) -> None:
    """News told of by another thread are read at once, and nobody waits; a closed client says so.

    Without the word the first read of a job of this client would come after an hour.
    """
    with Client(url, transport="poll", poll=PollPolicy.fixed(3600)) as client:
        job = order(client, delay=1.0)
        client.announced(["job-of-nobody"])  # nothing is watched yet
        seen: list[JobStatus] = []
        watching = threading.Thread(target=lambda: seen.extend(client.watch(job)))
        watching.start()
        until(lambda: client.stats().poll_updates == 1)
        time.sleep(1.05)
        client.announced([job, "job-of-nobody"])
        watching.join(timeout=5)
        assert seen[-1].ok
        assert seen[-1].source == "webhook"
    for closed in (client, client._client):
        with pytest.raises(ClientClosed):
            closed.announced([job])


class _Hooks(BaseHTTPRequestHandler):
    """A web server of threads, as most frameworks without `await` are."""

    receiver: WebhookReceiver

    def answer(self) -> None:
        """Hand a request over, and answer what the receiver says."""
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        status, headers, said = self.receiver.receive(self.command, self.headers, body)
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(said))}.items():
            self.send_header(name, value)
        self.end_headers()

    do_POST = do_OPTIONS = do_GET = answer  # noqa: N815 (the names that http.server looks for)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def test_webhooks_in_threads(url: str) -> None:
    """A web server of threads takes deliveries in, for a client that nobody awaits."""
    with (
        Client.heygen("any", base_url=url) as client,
        ThreadingHTTPServer(("127.0.0.1", 0), _Hooks) as server,
    ):
        _Hooks.receiver = WebhookReceiver(client)
        serving = threading.Thread(target=server.serve_forever, args=(0.01,))
        serving.start()
        with _Hooks.receiver.registered(f"http://127.0.0.1:{server.server_port}/"):
            job = client.submit(f"{VIDEO}?sim-delay=0.3", language="Spanish")
            status = client.wait(job, timeout=10)
        assert client.endpoints().known() == []
        server.shutdown()
        serving.join()
    assert status.ok
    assert status.source == "webhook"
    assert _Hooks.receiver.stats().accepted == 1


def test_ctrl_c_in_a_with_block_closes(url: str) -> None:
    """The block is left by the interrupt, and its end closes the client."""

    def work() -> None:
        with Client(url) as client:
            job = order(client, delay=60)
            timers.append(interrupt_later(0.1))
            client.wait(job)

    timers: list[threading.Timer] = []
    with pytest.raises(KeyboardInterrupt):
        work()
    timers[0].join()
    assert "vtrans-hybrid" not in {thread.name for thread in threading.enumerate()}


def test_a_lost_job() -> None:
    """Errors of the watch travel to the caller's thread: here, a server that forgot its jobs."""
    with (
        start_blocking_portal("asyncio") as portal,
        portal.wrap_async_context_manager(Simulator(delay=60)) as simulator,
        Client(simulator.url) as client,
    ):
        watch = client.watch(order(client))
        lost = next(watch).job_id
        portal.call(partial(simulator.restart, lose_state="all"))
        with pytest.raises(JobLost):
            list(watch)
        assert list(watch.errors) == [lost]
