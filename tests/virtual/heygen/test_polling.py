"""HeyGen without webhooks: the real client follows jobs at the simulator's face by polls alone."""

import asyncio
import logging
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from simulator import Simulator
from simulator.faults import (
    AliasWords,
    ErrorInside,
    Fault,
    HttpStatus,
    LateUrl,
    NotFoundAtFirst,
    OutOfCredit,
    RegressState,
    TruncateBody,
    UnknownState,
)
from tests.virtual.heygen.account import JOBS, VIDEO, most_in_a_minute, open_account
from tests.virtual.scene import now
from vtrans_hybrid import (
    AuthError,
    ConnectionLost,
    JobFailed,
    JobNotFound,
    ProtocolError,
    QuotaExceeded,
    RateLimited,
    RetryPolicy,
    State,
    Unavailable,
    Unsupported,
    VtransError,
)

NO_RETRY = RetryPolicy(max_attempts=1)


async def test_the_ten_lines_of_the_page(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first program of docs/heygen.md prints where the results are."""
    page = (Path(__file__).parents[3] / "docs" / "heygen.md").read_text(encoding="utf-8")
    program = page.split("```python\n")[1].split("```")[0]
    program, run, _ = program.partition("\nasyncio.run(main())")
    assert run, "it runs as it stands"
    async with Simulator(delay=300, seed=0) as sim:
        monkeypatch.setenv("HEYGEN_API_KEY", "any")
        monkeypatch.setenv("HEYGEN_API_BASE", sim.url)
        names: dict[str, Any] = {}
        exec(program, names)
        await names["main"]()

        assert [line.startswith(f"{sim.url}/files/") for line in _lines(capsys)] == [True, True]


def _lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().out.splitlines()


async def test_two_hundred_jobs_cost_little() -> None:
    """At most five reads of many a minute, one more for each end, and every end once, with URL."""
    async with open_account(delay="uniform:300,900") as account:
        jobs = await account.order(200)
        viewer = account.watch(jobs)
        seen = await viewer.end(within=1200)

        assert len([status for status in seen if status.is_final]) == 200
        assert all(status.result_url for status in seen if status.is_final)
        assert most_in_a_minute(account.bulk) <= 5
        # The last nineteen are too few for reads of many.
        ends = [at for at, status in zip(viewer.times, seen, strict=True) if status.is_final]
        assert len([call for call in account.single if call.at <= ends[180]]) <= 181
        assert account.client.stats().polls == len(account.bulk) + len(account.single)


async def test_jobs_taken_up_cost_little_from_the_first_minute_on() -> None:
    """Jobs that were ordered before are read at once, and from then on together."""
    async with open_account(delay=200) as account:
        jobs = await account.order(120)
        await asyncio.sleep(100)
        async with account.client.heygen("a-key", base_url=account.sim.url) as other:
            statuses = [status async for status in other.watch_all(jobs)]

        assert len([status for status in statuses if status.is_final]) == 120
        assert most_in_a_minute(account.bulk) <= 5


async def test_a_lone_job_is_read_at_growing_intervals() -> None:
    """First five seconds after the order, then half as much again, up to thirty and then sixty."""
    async with open_account(delay=1000) as account:
        began = now()
        [job] = await account.order(1)
        await account.watch([job]).end(within=1100)

        times = [call.at - began for call in account.single]
        gaps = [b - a for a, b in pairwise(times)]
        assert times[0] == pytest.approx(5, abs=0.3)
        assert gaps[:3] == pytest.approx([7.5, 11.25, 16.9], rel=0.1)
        early = [gap for at, gap in zip(times, gaps, strict=False) if at < 175]
        assert max(early) <= 30.5
        assert 30 < max(gaps) <= 63


async def test_an_end_waits_for_its_result() -> None:
    """While there is no URL, the job goes on; it ends with the URL, once."""
    async with open_account(delay=30) as account:
        account.sim.faults.add(LateUrl(seconds=20))
        [job] = await account.order(1)
        seen = await account.watch([job]).end(within=120)

        assert [status.state for status in seen] == [State.RUNNING, State.COMPLETED]
        assert seen[-1].result_url


async def test_an_end_without_result_comes_after_a_minute() -> None:
    """A result that does not come does not hold up the end for more than a minute."""
    async with open_account(delay=30) as account:
        account.sim.faults.add(LateUrl(seconds=3600))
        began = now()
        [job] = await account.order(1)
        viewer = account.watch([job])
        seen = await viewer.end(within=150)

        assert seen[-1].ok
        assert seen[-1].result_url is None
        assert 90 <= viewer.times[-1] - began <= 125


async def test_a_job_may_be_unknown_at_first() -> None:
    """Some seconds without the job are no end."""
    async with open_account(delay=30) as account:
        account.sim.faults.add(NotFoundAtFirst(seconds=12))
        [job] = await account.order(1)
        seen = await account.watch([job]).end(within=120)

        assert seen[-1].ok


async def test_a_job_that_stays_unknown_is_given_up() -> None:
    """Three tries within half a minute, then the job is not there."""
    async with open_account(delay=300) as account:
        account.sim.faults.add(NotFoundAtFirst(seconds=200))
        began = now()
        [job] = await account.order(1)
        viewer = account.watch([job])
        with pytest.raises(JobNotFound):
            await viewer.end(within=60)

        assert len(account.single) == 3
        assert viewer.ended_at - began <= 30


async def test_a_job_that_was_deleted_is_gone() -> None:
    """Whoever watches a job that this client deletes learns of it at once."""
    async with open_account(delay=300) as account:
        jobs = await account.order(2)
        viewers = [account.watch([job]) for job in jobs]
        await asyncio.sleep(20)
        await account.client.delete(jobs[0])
        with pytest.raises(JobNotFound, match="deleted"):
            await viewers[0].end(within=0.1)
        with pytest.raises(JobNotFound):
            await account.client.status(jobs[0])
        assert (await viewers[1].end(within=400))[-1].ok


@pytest.mark.parametrize("is_known", [False, True])
async def test_a_job_that_was_deleted_is_not_waited_for(is_known: bool) -> None:
    """That the order is young is no reason to think that the server is late to hear of it."""
    async with open_account(delay=300) as account:
        [job_id] = await account.order(1)
        if is_known:
            await anext(account.client.watch(job_id))
        await account.client.delete(job_id)
        began = now()
        with pytest.raises(JobNotFound):
            await account.client.wait(job_id)
        assert now() - began < 6


async def test_a_key_that_is_revoked_ends_every_watch() -> None:
    """Afterwards nothing is asked any more: it would not be answered."""
    async with open_account(delay=600) as account:
        jobs = await account.order(50)
        viewers = [account.watch(jobs[:25]), account.watch(jobs[25:])]
        await asyncio.sleep(100)
        account.sim.faults.add(HttpStatus(status=401), match={"path": f"{JOBS}*"})
        for viewer in viewers:
            with pytest.raises(AuthError):
                await viewer.end(within=40)
        cost = len(account.sim.calls)
        await asyncio.sleep(600)

        assert len(account.sim.calls) == cost


@pytest.mark.parametrize(
    "code", ["insufficient_credit", "quota_exceeded", "resource_limit_reached"]
)
async def test_an_empty_account_is_told_at_once(code: Any) -> None:
    """An order that cannot be paid is not tried again."""
    async with open_account() as account:
        account.sim.faults.add(OutOfCredit(code=code))
        with pytest.raises(QuotaExceeded):
            await account.client.submit(VIDEO, language="Spanish")

        assert len(account.calls(JOBS, "POST")) == 1


@pytest.mark.parametrize("count", [1, 30])
async def test_an_account_that_is_empty_meanwhile_loses_nothing(count: int) -> None:
    """What was ordered is paid: refused reads go on, rarely, and find every end after all."""
    async with open_account(delay=60) as account:
        jobs = await account.order(count)
        viewer = account.watch(jobs)
        await asyncio.sleep(40)
        rule = account.sim.faults.add(HttpStatus(status=402), match={"path": f"{JOBS}*"})
        with pytest.raises(QuotaExceeded):
            await account.client.status(jobs[0])
        cost = len(account.sim.calls)
        await asyncio.sleep(600)
        refused = len(account.sim.calls) - cost
        account.sim.faults.remove(rule)
        seen = await viewer.end(within=200)

        assert len([status for status in seen if status.ok]) == count
        assert 10 < refused <= 60


async def test_too_many_jobs_at_once_wait_for_their_turn() -> None:
    """Beyond what may run at once an order is tried again when the server says, and placed."""
    async with open_account({"retry": RetryPolicy(total_timeout=300)}, concurrency=2) as account:
        await account.order(2)
        refused = await account.client.submit(VIDEO, language="Hindi")

        assert len(account.calls(JOBS, "POST")) > 2
        assert refused.language == "Hindi"
        await account.order(1)
        async with account.client.heygen(
            "a-key", base_url=account.sim.url, retry=NO_RETRY
        ) as hasty:
            with pytest.raises(RateLimited):
                await hasty.submit(VIDEO, language="Dutch")


@pytest.mark.parametrize(
    ("fault", "count"),
    [
        (AliasWords(style="guides"), 3),
        (AliasWords(style="v2"), 3),
        (AliasWords(style="upper"), 30),
        (RegressState(), 30),
        (ErrorInside(), 3),
        (TruncateBody(), 30),
        (HttpStatus(status=502, body="<html>Bad Gateway</html>"), 3),
        (HttpStatus(status=404, body="<html>nginx</html>"), 30),
    ],
    ids=str,
)
async def test_what_a_server_may_do_changes_nothing_but_the_delay(fault: Fault, count: int) -> None:
    """Every watch ends once, with a result, whatever half of the answers are like."""
    async with open_account(delay=60) as account:
        jobs = await account.order(count)
        account.sim.faults.add(fault, probability=0.5, match={"path": f"{JOBS}*"})
        seen = await account.watch(jobs).end(within=400)

        assert len([status for status in seen if status.ok and status.result_url]) == count


async def test_a_word_that_nobody_knows_is_no_end(caplog: pytest.LogCaptureFixture) -> None:
    """It is shown as it is, and warned of once."""
    async with open_account(delay=200) as account:
        account.sim.faults.add(UnknownState(word="dubbing"))
        jobs = await account.order(3)
        with caplog.at_level(logging.WARNING, "vtrans_hybrid"):
            seen = await account.watch(jobs).end(within=300)

        states = {str(status.state) for status in seen if not status.is_final}
        assert "dubbing" in states
        assert len([r for r in caplog.records if "dubbing" in r.getMessage()]) == 1


async def test_a_job_that_takes_an_hour_is_noted(caplog: pytest.LogCaptureFixture) -> None:
    """It is followed all the same, to its end."""
    async with open_account(delay=5400) as account:
        [job] = await account.order(1)
        with caplog.at_level(logging.WARNING, "vtrans_hybrid"):
            seen = await account.watch([job]).end(within=6000)

        assert seen[-1].ok
        assert len([r for r in caplog.records if "may be stuck" in r.getMessage()]) == 1


async def test_a_failed_job_says_why() -> None:
    """The text of the failure reaches the application."""
    async with open_account(delay=20) as account:
        job = await account.client.submit(f"{VIDEO}?sim-failure=audio", language="Spanish")
        with pytest.raises(JobFailed, match="audio is missing or corrupted") as caught:
            await account.client.result(job, timeout=100)
        assert caught.value.job_status.error is not None
        with pytest.raises(JobFailed):
            await account.client.refresh_url(job)
        running = await account.client.submit(VIDEO, language="Spanish")
        with pytest.raises(VtransError, match="no result yet"):
            await account.client.refresh_url(running)


async def test_many_statuses_at_once() -> None:
    """From twenty on they are read together, and ends alone, for the sake of their URL."""
    async with open_account(delay=30) as account:
        jobs = await account.order(25)
        await asyncio.sleep(40)
        going_on = await account.order(5)
        found = await account.client.statuses([*jobs, *going_on])

        assert [status.job_id for status in found.values()] == [
            job.job_id for job in (*jobs, *going_on)
        ]
        assert len([status for status in found.values() if status.result_url]) == 25
        assert (len(account.bulk), len(account.single)) == (1, 25)
        few = await account.client.statuses(jobs[:3])
        assert all(status.result_url for status in few.values())
        assert len(account.bulk) == 1


async def test_statuses_tell_which_jobs_are_missing() -> None:
    """A job that a read of many does not find is looked for alone, and then named."""
    async with open_account(delay=30) as account:
        jobs = await account.order(24)
        ghost = f"{'0' * 32}-es"
        with pytest.raises(JobNotFound) as caught:
            await account.client.statuses([*jobs, ghost])

        assert caught.value.job_id == ghost
        assert len(caught.value.statuses) == 24


async def test_lists_languages_and_fresh_urls() -> None:
    """What there is besides orders and statuses."""
    async with open_account(delay=10) as account:
        jobs = await account.order(7)
        [first, *_] = await account.watch(jobs).end(within=60)
        listed = [status async for status in account.client.list_jobs(page_size=3)]
        old = (await account.client.status(first.job_id)).result_url
        await asyncio.sleep(100)
        new = await account.client.refresh_url(first.job_id)

        assert {status.job_id for status in listed} == {job.job_id for job in jobs}
        assert len(account.calls(f"{JOBS}?")) == 3
        assert "Spanish" in await account.client.languages()
        assert new != old
        with pytest.raises(Unsupported, match="cancel"):
            await account.client.cancel(first.job_id)


@pytest.mark.parametrize("version", ["v3", "v2"])
async def test_an_order_whose_answer_is_lost(version: Any) -> None:
    """Version 3 is asked again with the same key, and orders once; version 2 is not asked again."""
    async with open_account({"api_version": version}, delay=30) as account:
        account.sim.faults.add(TruncateBody(), count=1)
        if version == "v3":
            await account.client.submit(VIDEO, language="Spanish")
        else:
            with pytest.raises((ConnectionLost, ProtocolError, Unavailable)):
                await account.client.submit(VIDEO, language="Spanish")

        assert len(account.sim.jobs) == 1
        assert len(account.calls("/v", "POST")) == (2 if version == "v3" else 1)


async def test_version_2() -> None:
    """The old version follows jobs as well, one by one."""
    async with open_account({"api_version": "v2"}, delay=40) as account:
        jobs = await account.order(25)
        seen = await account.watch(jobs).end(within=120)

        assert len([status for status in seen if status.ok and status.result_url]) == 25
        assert "Spanish" in await account.client.languages()
        assert not account.calls("/v3")
        with pytest.raises(Unsupported):
            await anext(account.client.list_jobs())
