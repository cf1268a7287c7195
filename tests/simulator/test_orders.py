"""What an order becomes: pure, so no loop and no socket."""

from typing import Any

import pytest

from simulator.jobs import Failure, JobSpec, Pace, timeline
from simulator.messages import CreateRequest, JobError, ProblemError, ScriptStep, Status
from simulator.orders import Orders, canceled, life_of, specs, status_of, timestamp
from tests.simulator.backend import VIDEO, dice

ORDERS = Orders(delay="7", error_probability=0.5, speed=2.0)


def order(key: str | None = None, owner: str | None = None, **fields: Any) -> list[JobSpec]:
    """Return the specifications of an order with these fields."""
    request = CreateRequest(**({"video_url": VIDEO} | fields))
    return specs(request, ORDERS, dice(), epoch="E", created_at=9.0, owner=owner, key=key)


def test_one_job_for_each_language() -> None:
    """The jobs of an order come in the order of its languages, each with an id and a seed."""
    made = order(languages=["Spanish", "German"], title="Talk")

    assert [spec.language for spec in made] == ["Spanish", "German"]
    assert len({spec.job_id for spec in made}) == len({spec.seed for spec in made}) == 2
    assert {(spec.video_url, spec.title, spec.created_at) for spec in made} == {
        (VIDEO, "Talk", 9.0)
    }


def test_callbacks_are_kept_with_the_job() -> None:
    """Whom to tell of a job stands in its specification, and thereby in the log."""
    [told], [untold] = order(language="a", callback_url="https://me.example/"), order(language="a")

    assert (told.callback_url, told.dialect) == ("https://me.example/", "native")
    assert (untold.callback_url, untold.callback_id) == (None, None)
    assert "me.example" not in repr(told)


@pytest.mark.parametrize("fields", [{}, {"language": "a", "languages": ["b"]}])
def test_order_needs_language_or_languages(fields: dict[str, Any]) -> None:
    """An order with none or both of the two is refused."""
    with pytest.raises(ProblemError, match="either `language` or `languages`") as caught:
        order(**fields)
    assert caught.value.problem.code == "bad_request"


def test_order_says_or_the_server_does() -> None:
    """What an order leaves open is as the server's options have it."""
    [usual] = order(language="Spanish")
    [own] = order(language="Spanish", delay=3, error_probability=0.0)

    assert (usual.delay, usual.error_probability, usual.speed) == ("7", 0.5, 2.0)
    assert (own.delay, own.error_probability, own.speed) == ("3", 0.0, 2.0)


def test_script_is_taken_over() -> None:
    """The steps of a scripted order are the steps of its jobs."""
    script = [
        ScriptStep(at=0, state="running"),
        ScriptStep(at=2, state="error", error=JobError(code="no_audio", message="No audio.")),
    ]
    [spec] = order(language="Spanish", script=script)

    assert [(step.offset, step.state) for step in timeline(spec)] == [(0, "running"), (1, "error")]
    assert timeline(spec)[1].error == Failure("no_audio", "No audio.")


def test_ids_follow_from_the_idempotency_key() -> None:
    """The same key and owner meet the same jobs; another key, owner or no key does not."""
    same = [order(key="k", owner="o", language="a")[0].job_id for _ in range(2)]
    others = [
        order(key="l", owner="o", language="a")[0].job_id,
        order(key="k", owner="p", language="a")[0].job_id,
        order(language="a")[0].job_id,
    ]

    assert same[0] == same[1]
    assert same[0] not in others
    assert len(set(others)) == 3


def test_digest_tells_orders_apart() -> None:
    """Another order under the same key can be told from a repetition."""
    [one], [again] = order(key="k", language="a"), order(key="k", language="a")
    [other] = order(key="k", language="a", delay=9)

    assert one.request == again.request != other.request


@pytest.mark.parametrize("delay", ["soon", float("inf"), -1])
def test_bad_delay_is_the_callers_mistake(delay: float | str) -> None:
    """A delay that cannot be understood is a `bad_request` that says why."""
    [spec] = order(language="a", delay=delay)

    with pytest.raises(ProblemError, match=r"\d+") as caught:
        life_of(spec, Pace())
    assert caught.value.problem.code == "bad_request"


def test_status_tells_the_step() -> None:
    """Each step becomes a whole status document with the times of its job."""
    [spec] = order(language="Spanish", title="Talk", error_probability=1.0)
    first, *_, last = (status_of(step, spec, "E") for step in timeline(spec))

    assert first == Status(
        job_id=spec.job_id,
        state="pending",
        result="pending",
        version=1,
        epoch="E",
        progress=0.0,
        estimated_time_remaining=3.5,
        language="Spanish",
        title="Talk",
        created_at="1970-01-01T00:00:09.000Z",
        updated_at="1970-01-01T00:00:09.000Z",
    )
    assert (last.state, last.result) == ("error", "error")
    assert last.error is not None
    assert last.updated_at == "1970-01-01T00:00:12.500Z"


def test_canceled_is_the_next_version() -> None:
    """A canceled job keeps what was known of it and says that it was canceled."""
    [spec] = order(language="Spanish")
    running = status_of(timeline(spec)[2], spec, "E")

    end = canceled(running, at=11.0)

    assert (end.version, end.state, end.result) == (4, "canceled", "canceled")
    assert (end.estimated_time_remaining, end.progress) == (None, running.progress)
    assert end.error is not None
    assert (end.created_at, end.updated_at) == (running.created_at, timestamp(11.0))
