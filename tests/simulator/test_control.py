"""The control API on real sockets."""

import asyncio
import re
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

import aiohttp
import pytest

from simulator import FaultPlan, Simulator, control
from simulator.clock import Clock
from simulator.describe_faults import page
from simulator.faults import FAULTS, HttpStatus, Mute
from simulator.rules import Match
from simulator.testing import START, WALL_CLOCK_START
from tests.simulator.backend import Talk, until
from tests.simulator.rest_client import ask


@pytest.fixture
async def http(sim: Simulator) -> AsyncIterator[aiohttp.ClientSession]:
    """Open a client of the simulator."""
    async with aiohttp.ClientSession(sim.url) as client:
        yield client


async def test_faults_come_and_go(sim: Simulator, http: aiohttp.ClientSession) -> None:
    """A rule can be added, seen with what it did, and removed."""
    rule = {"fault": "status", "parameters": {"status": 418}, "match": {"path": "/health*"}}
    more = {"count": 3, "for_": 60}
    status, added = await ask(http, "POST", "/_control/faults", json=rule | more)
    assert (status, added) == (201, {"id": 1})
    assert (await ask(http, "GET", "/healthz"))[0] == 418

    _, shown = await ask(http, "GET", "/_control/faults")
    [line] = shown["rules"]
    assert (line["id"], line["fault"], line["struck"], line["count"]) == (1, "status", 1, 3)
    assert line["match"] == {"path": "/health*"}
    assert line["for"] == 60, "the name of the docs, whichever was given"
    assert shown["seed"] == 1

    assert await ask(http, "DELETE", "/_control/faults/1") == (200, {"removed": 1})
    assert (await ask(http, "GET", "/healthz"))[0] == 200
    assert (await ask(http, "DELETE", "/_control/faults/1"))[0] == 404


@pytest.mark.parametrize("method_and_path", ["POST /_control/heal", "DELETE /_control/faults"])
async def test_everything_heals(
    sim: Simulator, http: aiohttp.ClientSession, method_and_path: str
) -> None:
    """Healing removes all rules."""
    sim.faults.add(HttpStatus())
    sim.faults.add(Mute(), match=Match(connection=3))

    assert await ask(http, *method_and_path.split()) == (200, {"removed": 2})
    assert sim.faults.rules == {}


async def test_log_of_faults(sim: Simulator, http: aiohttp.ClientSession) -> None:
    """Every injection can be read with its facts."""
    sim.faults.add(HttpStatus())
    await ask(http, "GET", "/status/a")

    _, answer = await ask(http, "GET", "/_control/faults/log")

    [injection] = answer["injections"]
    assert (injection["rule"], injection["fault"]) == (1, "status")
    assert injection["facts"]["path"] == "/status/a"


async def test_times_are_those_of_other_programs(virtual_simulator: Simulator) -> None:
    """What happened has the time of the machine's clock, also while faults set the simulator's."""
    sim = virtual_simulator
    sim.faults.add("clock_jump:seconds=1000000")
    sim.faults.add("skew:seconds=-1000")
    async with aiohttp.ClientSession(sim.url) as http:
        await asyncio.sleep(90)
        sim.faults.add("status", count=1)
        assert (await ask(http, "GET", "/healthz"))[0] == 503
        _, log = await ask(http, "GET", "/_control/faults/log")
        _, answer = await ask(http, "GET", "/_control/calls")

    entries = [each for each in log["injections"] if each["fault"] == "status"]
    entries += [each for each in answer["calls"] if each["path"] == "/healthz"]
    assert len(entries) == 2
    for entry in entries:
        wall_time = datetime.fromisoformat(entry["wall_time"])
        assert abs(wall_time.timestamp() - WALL_CLOCK_START - entry["at"]) < 0.001
        assert 90 <= entry["at"] - START < 91


@pytest.mark.parametrize(
    ("path", "body", "message"),
    [
        ("faults", {"fault": "flood"}, "There is no fault 'flood'"),
        ("faults", {"fault": "mute", "count": 0}, "$.count"),
        ("faults", {"fault": "close", "parameters": {"code": 1}}, "$.code"),
        ("faults", [], "Expected `object`"),
        ("restart", {"lose_state": "some"}, "some"),
        ("restart", {"down": 1}, "unknown field `down`"),
        ("drain", {"deadline": -1}, "$.deadline"),
        ("drop", {"how": "gently"}, "gently"),
    ],
)
async def test_bad_request_says_why(
    sim: Simulator, http: aiohttp.ClientSession, path: str, body: object, message: str
) -> None:
    """What cannot be done is refused with the reason, and nothing happens."""
    status, problem = await ask(http, "POST", f"/_control/{path}", json=body)

    assert (status, problem["code"]) == (400, "bad_request")
    assert message in problem["detail"]
    assert sim.faults.rules == {}


async def test_body_that_is_no_json_is_refused(http: aiohttp.ClientSession) -> None:
    """A body must be JSON."""
    status, problem = await ask(http, "POST", "/_control/faults", data=b"{")
    assert (status, problem["code"]) == (400, "bad_request")


@pytest.mark.parametrize(("lose_state", "is_lost"), [("none", False), ("all", True)])
async def test_restart_answers_first(
    sim: Simulator, http: aiohttp.ClientSession, lose_state: str, is_lost: bool
) -> None:
    """The call is answered, then the server goes and comes back."""
    await sim.create()
    epoch, replica = sim.epoch, sim.replica

    status, _ = await ask(http, "POST", "/_control/restart", json={"lose_state": lose_state})
    assert status == 202
    await until(lambda: is_up(sim) and sim.replica is not replica)

    assert (sim.epoch != epoch, sim.jobs == {}) == (is_lost, is_lost)
    assert (await ask(http, "GET", "/healthz"))[0] == 200


def is_up(sim: Simulator) -> bool:
    """Tell whether the simulator has a replica."""
    return sim.stats().replica is not None


async def test_drain_over_control(sim: Simulator, http: aiohttp.ClientSession, talk: Talk) -> None:
    """The channels are asked to move with what the call says."""
    body = {"deadline": 0.3, "spread": 0.1, "reason": "deploy"}

    assert (await ask(http, "POST", "/_control/drain", json=body))[0] == 202

    assert await talk.hear("drain") == {"type": "drain"} | body
    assert await talk.closed() == (1012, "deploy")


@pytest.mark.parametrize(
    ("body", "expected"),
    [({}, (None, None)), ({"how": "close", "code": 4050, "reason": "x"}, (4050, "x"))],
)
async def test_drop_over_control(
    http: aiohttp.ClientSession, talk: Talk, body: dict[str, Any], expected: tuple[Any, Any]
) -> None:
    """All channels end now, by a reset unless a close is asked for."""
    assert await ask(http, "POST", "/_control/drop", json=body) == (200, {"dropped": 1})
    assert await talk.closed() == expected


async def test_stats_and_calls(sim: Simulator, http: aiohttp.ClientSession, talk: Talk) -> None:
    """The numbers of the server and its latest calls can be read."""
    await sim.create()
    await ask(http, "GET", "/healthz")

    _, stats = await ask(http, "GET", "/_control/stats")
    _, calls = await ask(http, "GET", "/_control/calls")

    assert stats["epoch"] == sim.epoch
    assert (stats["replica"]["jobs"], stats["channel"]["open"]) == (1, 1)
    assert [call["path"] for call in calls["calls"]] == ["/healthz", "/_control/stats"]


async def test_control_can_be_left_out() -> None:
    """Without control the paths do not exist."""
    async with Simulator(has_control=False) as sim, aiohttp.ClientSession(sim.url) as http:
        status, problem = await ask(http, "GET", "/_control/stats")
    assert (status, problem["code"]) == (404, "unknown_path")


async def test_control_needs_no_key() -> None:
    """On loopback control works without a key."""
    async with Simulator(api_keys=["k"]) as sim, aiohttp.ClientSession(sim.url) as http:
        assert (await ask(http, "GET", "/_control/stats"))[0] == 200


CONTROL_CALLS = [
    ("GET", "faults"),
    ("POST", "faults"),
    ("DELETE", "faults"),
    ("GET", "faults/log"),
    ("DELETE", "faults/1"),
    ("POST", "heal"),
    ("POST", "restart"),
    ("POST", "drain"),
    ("POST", "drop"),
    ("GET", "stats"),
    ("GET", "calls"),
]


@pytest.mark.parametrize(("method", "path"), CONTROL_CALLS)
@pytest.mark.parametrize("stranger", ["page", "peer"])
async def test_strangers_control_nothing(
    sim: Simulator,
    http: aiohttp.ClientSession,
    monkeypatch: pytest.MonkeyPatch,
    method: str,
    path: str,
    stranger: str,
) -> None:
    """Neither a page of another site nor another machine may call any of it."""
    headers = {"Origin": "http://evil.example"} if stranger == "page" else {}
    if stranger == "peer":
        monkeypatch.setattr(aiohttp.web.Request, "remote", "192.0.2.7")
    body = {"fault": "mute"} if (method, path) == ("POST", "faults") else {}

    status, problem = await ask(
        http, method, f"/_control/{path}", headers=headers, json=body if method == "POST" else None
    )

    assert (status, problem["code"]) == (403, "forbidden")
    assert sim.faults.rules == {}
    await asyncio.sleep(0)
    assert is_up(sim)


def test_no_path_of_control_is_untested(sim_routes: set[tuple[str, str]]) -> None:
    """The list above is complete."""
    listed = {(method, f"/_control/{path}") for method, path in CONTROL_CALLS}
    assert {(method, path.replace("{number:[0-9]{1,9}}", "1")) for method, path in sim_routes} == (
        listed
    )


def test_no_path_of_control_is_unwritten(sim_routes: set[tuple[str, str]]) -> None:
    """The page about faults lists every call, and none that is not there."""
    written = set(re.findall(r"`([A-Z]+) (/_control/[^ `]+)`", page()))
    served = {(method, path.replace("{number:[0-9]{1,9}}", "{id}")) for method, path in sim_routes}
    assert written == served


@pytest.fixture
def sim_routes() -> set[tuple[str, str]]:
    """Return the methods and paths of the control API."""
    server: Any = None
    routes = control.routes(FaultPlan(), server, Clock(lambda: 0.0, 0.0))
    return {(route.method, route.path) for route in routes}


def test_every_fault_can_be_asked_for_by_name() -> None:
    """The names of the catalogue are those of the control API."""
    assert set(FAULTS) == {kind.name for kind in FAULTS.values()}
