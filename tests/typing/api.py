"""Every public call with its types. Never run: mypy alone reads it (see pyproject.toml)."""

from collections.abc import Callable, Mapping
from typing import assert_type

from vtrans_hybrid import (
    AsyncClient,
    AsyncHeyGenClient,
    Backoff,
    BlockingWatch,
    Client,
    ConnectFailed,
    ConnectionLost,
    Failure,
    HeyGenAsset,
    HeyGenClient,
    HeyGenOptions,
    Job,
    JobFailed,
    JobNotFound,
    JobStatus,
    NetworkOptions,
    PollPolicy,
    Position,
    RateLimited,
    Registration,
    RequestTimeout,
    RetryPolicy,
    Source,
    State,
    Stats,
    VtransError,
    Watch,
    WatchTimeout,
)
from vtrans_hybrid.webhooks import Delivery, ReceiverStats, Reply, WebhookReceiver, verify

VIDEO = "https://example.com/talk.mp4"


def policies() -> None:
    """Options are values with words of their own."""
    assert_type(PollPolicy.adaptive(min_interval=1.0, max_interval=30.0), PollPolicy)
    assert_type(PollPolicy.eta(min_interval=0.5), PollPolicy)
    assert_type(PollPolicy.fixed(5, jitter=0.1), PollPolicy)
    assert_type(PollPolicy.exponential(initial_interval=1, backoff_factor=2), PollPolicy)
    assert_type(PollPolicy(max_rate=5.0, max_wait_time=600), PollPolicy)
    assert_type(
        RetryPolicy(max_attempts=3, backoff=Backoff(cap=10), request_timeout=5), RetryPolicy
    )
    assert_type(NetworkOptions(ca_file="ca.pem", trust_env=True), NetworkOptions)


def plain(status: JobStatus) -> None:
    """Take a status at once."""


async def awaited(status: JobStatus) -> None:
    """Take a status in a while."""


def on_error(error: Exception, status: JobStatus | None) -> None:
    """Take what a callback raised."""


def status_fields(status: JobStatus) -> None:
    """A status is plain data."""
    assert_type(status.job_id, str)
    assert_type(status.state, State)
    assert_type(status.version, int)
    assert_type(status.epoch, str)
    assert_type(status.position, Position)
    assert_type(status.progress, float | None)
    assert_type(status.estimated_time_remaining, float | None)
    assert_type(status.language, str | None)
    assert_type(status.error, Failure | None)
    assert_type(status.result_url, str | None)
    assert_type(status.source, Source)
    assert_type(status.skipped, int | None)
    assert_type(status.is_final, bool)
    assert_type(status.ok, bool)


async def asynchronous() -> None:
    """`AsyncClient`, call by call."""
    client = AsyncClient(
        "http://127.0.0.1:8080",
        api_key="key",
        transport="auto",
        poll=PollPolicy(),
        retry=RetryPolicy(),
        timeout=600,
        on_update=awaited,
        on_error=on_error,
        options=NetworkOptions(),
    )
    async with client as entered:
        assert_type(entered, AsyncClient)
    job = await client.submit(VIDEO, language="Spanish", title="Talk")
    assert_type(job, Job)
    assert_type(job.job_id, str)
    assert_type(job.language, str | None)
    assert_type(job.status, JobStatus | None)
    assert_type(await client.submit_all(VIDEO, languages=["Spanish", "French"]), list[Job])
    assert_type(client.job("job-1"), Job)
    assert_type(await client.cancel(job), JobStatus)

    assert_type(await client.wait(job, timeout=60, on_update=plain), JobStatus)
    assert_type(await client.wait(), JobStatus)
    assert_type(await client.result("job-1", cancel_on_timeout=True), JobStatus)
    assert_type(await client.status(job), JobStatus)
    assert_type(await client.status(), JobStatus)
    assert_type(await client.statuses([job, "job-1"], limit=5), dict[str, JobStatus])

    watch = client.watch(job, mode="all", timeout=60, on_update=plain)
    assert_type(watch, Watch)
    assert_type(client.watch_all([job, "job-1"], mode="latest"), Watch)
    assert_type(client.as_completed([job, "job-1"], timeout=60), Watch)
    async with watch as followed:
        assert_type(followed, Watch)
        async for status in followed:
            assert_type(status, JobStatus)
    assert_type(await watch, JobStatus)
    assert_type(watch.errors, dict[str, VtransError])
    await watch.aclose()

    assert_type(client.on_update(plain), Registration)
    end: Callable[[], None] = client.on_update(awaited, job)
    end()

    @client.on_update()
    def every(status: JobStatus) -> None:
        """Take each status of all jobs."""

    @client.on_update(job=job, threaded=True)
    def one(status: JobStatus) -> None:
        """Take each status of one job."""

    assert_type(client.stats(), Stats)
    assert_type(client.stats().pushes, int)
    await client.aclose()


def blocking() -> None:
    """`Client`, call by call."""
    with Client("http://127.0.0.1:8080", transport="poll", on_update=plain) as client:
        assert_type(client, Client)
    job = client.submit(VIDEO, language="Spanish", title="Talk")
    assert_type(job, Job)
    assert_type(client.submit_all(VIDEO, languages=("Spanish", "French")), list[Job])
    assert_type(client.job("job-1"), Job)
    assert_type(client.cancel(job), JobStatus)

    assert_type(client.wait(job, timeout=60, on_update=plain), JobStatus)
    assert_type(client.result(), JobStatus)
    assert_type(client.status(job), JobStatus)
    assert_type(client.statuses([job, "job-1"]), dict[str, JobStatus])

    watch = client.watch(job, mode="all", timeout=60)
    assert_type(watch, BlockingWatch)
    assert_type(client.watch_all([job, "job-1"]), BlockingWatch)
    assert_type(client.as_completed([job, "job-1"]), BlockingWatch)
    with watch as followed:
        for status in followed:
            assert_type(status, JobStatus)
    assert_type(watch.errors, dict[str, VtransError])
    watch.close()

    assert_type(client.on_update(plain, job), Registration)

    @client.on_update
    def bare(status: JobStatus) -> None:
        """Take each status of all jobs, and stay what it is to the eye."""

    assert_type(bare(client.status(job)), object)
    assert_type(bare(), None)

    @client.on_update()
    def every(status: JobStatus) -> None:
        """Take each status of all jobs."""

    assert_type(client.stats(), Stats)
    client.close()


async def heygen() -> None:
    """A client of HeyGen is a client whose orders are typed."""
    async with AsyncClient.heygen("key", api_version="v2", timeout=60) as client:
        assert_type(client, AsyncHeyGenClient)
        anybody: AsyncClient = client
        job = await client.submit(VIDEO, language="Spanish", mode="precision", enable_caption=True)
        assert_type(job, Job)
        options: HeyGenOptions = {"title": "Talk", "speaker_num": 2}
        assert_type(await client.submit_all(VIDEO, languages=["Hindi"], **options), list[Job])
        await client.submit(VIDEO, language="Hindi", mode="fast")  # type: ignore[arg-type]
        await client.submit(VIDEO, language="Hindi", sped=1)  # type: ignore[call-arg]
        srt: HeyGenAsset = {"type": "asset_id", "asset_id": "a-1"}
        await client.submit(VIDEO, language="Hindi", srt=srt, timeout=5)
        assert_type(await anybody.languages(), list[str])
        assert_type([status async for status in anybody.list_jobs(page_size=10)], list[JobStatus])
        assert_type(await anybody.refresh_url(job), str)
        await anybody.delete(job.job_id, timeout=5)
    with Client.heygen(base_url="http://127.0.0.1:8080", poll=PollPolicy.patient()) as blocking:
        assert_type(blocking, HeyGenClient)
        assert_type(blocking.submit(VIDEO, language="Hindi", title="Talk"), Job)
        assert_type(list(blocking.list_jobs()), list[JobStatus])
        assert_type(blocking.languages(), list[str])
        assert_type(blocking.refresh_url("job-1"), str)


def webhooks(client: AsyncClient, blocking: Client, headers: Mapping[str, str]) -> None:
    """A receiver serves either client; a delivery can be checked without one."""
    receiver = WebhookReceiver(client, ["whsec_new", b"key"], tolerance=60)
    WebhookReceiver(client, None)  # type: ignore[arg-type]
    assert_type(receiver.receive("POST", headers, b"{}"), Reply)
    assert_type(receiver.stats(), ReceiverStats)
    status, said, body = WebhookReceiver(blocking, "whsec_one").receive("POST", [(b"a", b"b")], b"")
    assert_type(status, int)
    assert_type(said, dict[str, str])
    assert_type(body, bytes)
    delivery = verify(headers, b"{}", "whsec_one", now=1735689600.0)
    assert_type(delivery, Delivery)
    client.announced(delivery.job_ids)
    blocking.announced([Job(job_id="job-1"), "job-2"])


async def endpoints(client: AsyncClient, blocking: Client) -> None:
    """An endpoint lives as long as a block, or is managed by hand."""
    async with WebhookReceiver(client).registered("https://you.example/hooks") as endpoint:
        assert_type(endpoint.endpoint_id, str)
    with WebhookReceiver(blocking).registered("https://you.example/hooks") as endpoint:
        assert_type(endpoint.secret, str)
    added = await client.endpoints().add("https://you.example/hooks", events=["any"])
    await client.endpoints().remove(added)
    client.announced(await client.endpoints().recent_jobs(timeout=5))
    blocking.announced(blocking.endpoints().recent_jobs())
    assert_type([each.url for each in blocking.endpoints().known()], list[str])


def errors(error: VtransError) -> None:
    """Each error carries what there is to know, under a name."""
    assert_type(error.job_id, str | None)
    assert_type(error.retryable, bool)
    if isinstance(error, ConnectionLost):
        assert_type(error.code, int | None)
        assert_type(error.reason, str)
    if isinstance(error, RateLimited):
        assert_type(error.status, int)
        assert_type(error.retry_after, float | None)
        assert_type(error.request_id, str | None)
    if isinstance(error, JobNotFound):
        assert_type(dict(error.statuses), dict[str, JobStatus])
    if isinstance(error, JobFailed):
        assert_type(error.job_status, JobStatus)
    if isinstance(error, WatchTimeout):
        assert_type(error.last_status, JobStatus | None)
    refused: OSError = ConnectFailed("no connection")
    late: TimeoutError = WatchTimeout("too late")
    slow: TimeoutError = RequestTimeout("too slow")
    raise ExceptionGroup("all of them", [refused, late, slow])
