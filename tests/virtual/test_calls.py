"""Calls that are made once: how long they take, how often they try, and what they leave undone."""

import asyncio
from typing import Any

import pytest

from simulator.faults import HttpStatus, RefuseUpgrade
from simulator.testing import Network
from tests.virtual.scene import now, open_scene
from vtrans_hybrid import (
    AsyncClient,
    Client,
    ClientClosed,
    JobFailed,
    JobNotFound,
    JobStatus,
    RateLimited,
    RequestTimeout,
    RetryPolicy,
    Unavailable,
    Unsupported,
    VtransError,
)

VIDEO = "https://example.com/talk.mp4"


async def test_an_operation_does_not_wait_out_an_hour() -> None:
    """A Retry-After beyond the total timeout of the policy is an error at once, which says it."""
    async with open_scene() as scene:
        scene.sim.faults.add(HttpStatus(status=429, retry_after=3600))
        began = now()
        with pytest.raises(RateLimited) as caught:
            await scene.client.submit(VIDEO, language="Spanish")
        assert caught.value.retry_after == 3600
        assert now() - began < 1


async def test_a_watch_at_a_wrong_address_ends_at_once(network: Network) -> None:
    """Pages for paths that are none, whatever is asked: that is seen before a second read."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(
            b"HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 4\r\n\r\nnope"
        )
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 80):
        client = AsyncClient("http://127.0.0.1:80")
        began = now()
        with pytest.raises(Unsupported, match="nothing at this address"):
            await client.wait("job-1")
        assert now() - began < 0.5
        await client.aclose()


async def test_retries_end_with_their_total_timeout() -> None:
    """However many attempts would be left."""
    patient = RetryPolicy(max_attempts=100, total_timeout=20)
    async with open_scene({"retry": patient}) as scene:
        scene.sim.faults.add(HttpStatus(status=429, retry_after=6))
        began = now()
        with pytest.raises(RateLimited) as caught:
            await scene.client.status("job-1")
        assert 12 < now() - began < 21
        assert caught.value.__notes__ == ["after 4 attempts"]


@pytest.mark.parametrize("call", ["submit", "status", "statuses", "cancel"])
async def test_a_call_ends_with_its_own_timeout(call: str, network: Network) -> None:
    """Against a server that accepts and says nothing, too."""
    async with open_scene() as scene:
        client = scene.client
        calls = {
            "submit": lambda: client.submit(VIDEO, language="Thai", timeout=3),
            "status": lambda: client.status("job-1", timeout=3),
            "statuses": lambda: client.statuses(["job-1", "job-2"], timeout=3),
            "cancel": lambda: client.cancel("job-1", timeout=3),
        }
        network.stall()
        began = now()
        with pytest.raises(RequestTimeout):
            await calls[call]()
        assert now() - began == pytest.approx(3, abs=0.01)


async def test_an_outage_is_not_held_against_a_client_for_long() -> None:
    """A minute later a request may fail again and be repeated."""
    async with open_scene() as scene:
        scene.sim.faults.add(HttpStatus(status=500), count=5)
        with pytest.raises(Unavailable):
            await scene.client.submit(VIDEO, language="Spanish")
        await asyncio.sleep(20)
        scene.sim.faults.add(HttpStatus(status=503), count=2)
        assert (await scene.client.submit(VIDEO, language="Spanish")).job_id


async def test_leaving_waits_for_callbacks_that_run() -> None:
    """What the application does with the final status is done, for five seconds at most."""
    seen: list[str] = []

    async def save(status: JobStatus) -> None:
        await asyncio.sleep(0.4)
        seen.append(status.state)

    async with open_scene() as scene:
        [job_id] = await scene.order(delay=5)
        async with AsyncClient(scene.sim.url) as client:
            client.on_update(save, job_id)
            await client.wait(job_id)
        assert seen[-1] == "completed"


@pytest.mark.parametrize("fails", [True, False])
async def test_leaving_does_not_wait_for_ever(fails: bool) -> None:
    """A callback that does not end is cancelled: at once if an exception ends the block."""

    async def never_end(_: JobStatus) -> None:
        await asyncio.Event().wait()

    async def leave(url: str, job_id: str) -> None:
        async with AsyncClient(url) as client:
            client.on_update(never_end, job_id)
            await asyncio.sleep(1)
            assert not fails, "as agreed"

    async with open_scene(delay=600) as scene:
        [job_id] = await scene.order()
        began = now()
        [ended] = await asyncio.gather(leave(scene.sim.url, job_id), return_exceptions=True)
        assert isinstance(ended, AssertionError) == fails
        assert now() - began == pytest.approx(1 if fails else 6, abs=0.2)


async def test_leaving_can_be_cancelled() -> None:
    """Whoever is in a hurry does not wait for callbacks."""

    async def never_end(_: JobStatus) -> None:
        await asyncio.Event().wait()

    async def leave(url: str, job_id: str) -> None:
        async with AsyncClient(url) as client:
            client.on_update(never_end, job_id)
            await asyncio.sleep(1)

    async with open_scene(delay=600) as scene:
        [job_id] = await scene.order()
        began = now()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(leave(scene.sim.url, job_id), 2)
        assert now() - began == pytest.approx(2, abs=0.2)


async def test_an_internal_error_carries_its_cause(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever waits can see from the exception alone what happened."""
    async with open_scene() as scene:
        asyncio.get_running_loop().set_exception_handler(lambda *_: None)
        [job_id] = await scene.order(delay=600)
        waiting = asyncio.ensure_future(scene.client.wait(job_id))
        await asyncio.sleep(1)
        monkeypatch.setattr(scene.client._driver.core, "advance", None)
        with pytest.raises(ClientClosed) as caught:
            await waiting
        assert isinstance(caught.value.__cause__, TypeError)


async def test_a_fresh_job_is_read_when_push_is_refused() -> None:
    """Nobody waits in ignorance to see whether push comes back."""
    async with open_scene() as scene:
        [job_id] = await scene.order(delay=600)
        scene.sim.faults.add(RefuseUpgrade(status=503, retry_after=60))
        began = now()
        assert (await anext(scene.client.watch(job_id))).state in ("pending", "running")
        assert now() - began < 0.5


async def test_closing_as_a_callback_is_about_to_start() -> None:
    """Whoever waits for the callback is let go, though it never ran to its end."""

    async def take(_: JobStatus) -> None:
        await asyncio.sleep(100)

    async with open_scene(delay=30) as scene:
        [job_id] = await scene.order()

        async def close_early() -> None:
            async for _ in scene.client.watch(job_id):
                break
            await scene.client.aclose()

        closing = asyncio.ensure_future(close_early())
        await asyncio.sleep(0)
        waiting = asyncio.ensure_future(scene.client.wait(job_id, on_update=take))
        await closing
        async with asyncio.timeout(0.2):
            with pytest.raises(ClientClosed):
                await waiting


async def test_leaving_with_a_job_that_failed_waits_for_callbacks() -> None:
    """`JobFailed` is an everyday end, and its callback is done, too."""
    seen: list[str] = []

    async def save(status: JobStatus) -> None:
        await asyncio.sleep(0.4)
        seen.append(status.state)

    async def fail(url: str, job_id: str) -> None:
        async with AsyncClient(url, on_update=save) as client:
            await client.result(job_id)

    async with open_scene(delay=5, error_probability=1.0) as scene:
        [job_id] = await scene.order()
        with pytest.raises(JobFailed):
            await fail(scene.sim.url, job_id)
        assert seen[-1] == "error"


async def test_a_gateway_that_blocks_one_method_changes_nothing_else() -> None:
    """A 405 on a cancel is that call's error, and push goes on."""
    async with open_scene(delay=600) as scene:
        [job_id] = await scene.order()
        viewer = scene.watch(job_id)
        await scene.live()
        scene.sim.faults.add(HttpStatus(status=405), match={"path": "/jobs/*"})
        with pytest.raises(Unsupported):
            await scene.client.cancel(job_id)
        await asyncio.sleep(1)
        assert scene.client.stats().link == "live"
        await viewer.leave()


async def test_haste_is_not_held_against_the_server() -> None:
    """Calls that are given too little time cost others no retry."""
    async with open_scene() as scene:
        [job_id] = await scene.order(delay=600)
        for _ in range(8):
            with pytest.raises(RequestTimeout):
                await scene.client.status(job_id, timeout=0.0001)
        scene.sim.faults.add(HttpStatus(status=503), count=1)
        assert (await scene.client.status(job_id)).job_id == job_id


async def test_ending_a_callback_twice_spares_a_later_one() -> None:
    """What a registration returned ends that registration, and once."""
    seen: list[JobStatus] = []

    def take(status: JobStatus) -> None:
        seen.append(status)

    async with open_scene() as scene:
        [job_id] = await scene.order(delay=20)
        end = scene.client.on_update(take, job_id)
        await asyncio.sleep(2)
        end()
        count = len(seen)
        scene.client.on_update(take, job_id)
        await asyncio.sleep(1)
        end()
        await asyncio.sleep(30)
        assert seen[-1].is_final
        versions = [status.version for status in seen[count:]]
        assert len(set(versions)) == len(versions)


# What is given wrongly by hand.


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"base_url": "https://api.heygen.com/v3"}, "ends in /v3, which requests add"),
        ({"base_url": "http://127.0.0.1:8080/heygen/v2/"}, "ends in /v2, which requests add"),
        ({"base_url": "http://127.0.0.1:8080/v3/video-translations"}, "ends in /v3/video-transl"),
        ({"base_url": "http://127.0.0.1:8080/v2/video_translate/"}, "ends in /v2/video_transl"),
        ({"base_url": "http://api.heygen.com"}, "would travel to api.heygen.com in clear text"),
        ({"api_key": "https://user:secret@example.com"}, "api_key is an address"),
        ({"api_key": "Bearer secret"}, "a word such as"),
        ({"api_key": ""}, "leave it out and set the environment variable HEYGEN_API_KEY"),
    ],
)
def test_what_is_no_account(
    options: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The usual mistakes are found before a request is made, and what may be a key is not shown."""
    monkeypatch.setenv("HEYGEN_API_KEY", "that-of-another-account")
    for kind in (AsyncClient, Client):
        with pytest.raises(ValueError, match=message) as caught:
            kind.heygen(**{"api_key": "key", **options})
        assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "base_url",
    [
        "https://api.heygen.com",
        "https://API.heygen.com/v3",
        "https://api.heygen.com:443",
        "http://api.heygen.com/v2/",
    ],
)
def test_heygen_is_not_mistaken_for_another_server(base_url: str) -> None:
    """Whoever gives its address is told how to make a client that speaks to it."""
    for kind in (AsyncClient, Client):
        with pytest.raises(ValueError, match=r"heygen\(\)"):
            kind(base_url, api_key="key")


@pytest.mark.parametrize(
    ("path", "doubt"),
    [
        ("/v3", "base_url holds /v3: if it is that of HeyGen's API, make the client with heygen()"),
        ("/v2/video_translate", "base_url holds /v2: if it is that of HeyGen's API"),
        ("/status/job-1", "base_url holds /status, which requests add"),
        ("/api/events", "base_url holds /events"),
        ("/v30/statuses", None),
    ],
)
async def test_a_path_that_cannot_be_right(path: str, doubt: str | None) -> None:
    """Where nothing is found the error names what is wrong with the address, whatever the call."""
    async with open_scene() as scene, AsyncClient(scene.sim.url + path, api_key="any") as client:
        for call in (client.submit(VIDEO, language="Thai"), client.status("a"), client.wait("a")):
            with pytest.raises(VtransError) as caught:
                await call
            doubts = [n for n in getattr(caught.value, "__notes__", ()) if "holds" in n]
            assert not isinstance(caught.value, JobNotFound), "nothing is known of the job"
            assert len(doubts) == (doubt is not None), doubts
            assert doubts == [] or doubts[0].startswith(str(doubt))


@pytest.mark.parametrize("video", ["talk.mp4", "./talk", "C:\\talk.MOV", "example.com/v", "a b"])
async def test_a_file_is_no_video(video: str) -> None:
    """HeyGen would look for an asset of that name."""
    async with AsyncClient.heygen("key", base_url="http://127.0.0.1:1") as client:
        with pytest.raises(ValueError, match="neither the URL of a video nor the id"):
            await client.submit(video, language="Spanish")


async def test_a_video_that_is_fetched_in_another_way() -> None:
    """HeyGen fetches by http and https alone."""
    async with AsyncClient.heygen("key", base_url="http://127.0.0.1:1") as client:
        with pytest.raises(ValueError, match="not by 's3'"):
            await client.submit("s3://bucket/talk.mp4", language="Spanish")


async def test_a_field_that_is_spelled_wrongly(caplog: pytest.LogCaptureFixture) -> None:
    """It is sent, for the API may know it; but a field that is almost known is warned of."""
    async with open_scene() as scene, AsyncClient.heygen("any", base_url=scene.sim.url) as client:
        wrong: dict[str, Any] = {"titel": "Talk", "brand_new": 1}
        job = await client.submit("asset-1", language="Spanish", **wrong)
        assert job.job_id
    [warning] = [each.getMessage() for each in caplog.records if each.levelname == "WARNING"]
    assert "'titel'" in warning
    assert "'title'" in warning


async def test_a_job_that_is_none() -> None:
    """What was meant instead is said."""
    async with AsyncClient("http://127.0.0.1:1") as client:
        several: Any = ["job-1"]
        with pytest.raises(TypeError, match="`watch_all` and `as_completed` take several"):
            client.watch(several)
        forgotten: Any = client.submit(VIDEO, language="Spanish")
        for follow in (client.watch, client.watch_all):
            with pytest.raises(TypeError, match="is there an `await` missing"):
                follow(forgotten)
        forgotten.close()
