"""The public face of the simulator, in process and on the command line."""

import asyncio
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import aiohttp
import pytest

import simulator
from simulator import ChannelOptions, HeyGenOptions, Pace, Simulator
from simulator.__main__ import main
from simulator.options import base_url
from simulator.terms import check_origin_text
from tests.simulator.backend import Talk, until


def test_public_names_are_importable_and_sorted() -> None:
    """`__all__` is sorted and complete."""
    assert simulator.__all__ == sorted(simulator.__all__)
    assert all(hasattr(simulator, name) for name in simulator.__all__)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"delay": "soon"}, "delay: 'soon' is no delay"),
        ({"delay": -1}, "delay: '-1': -1 is not between 0 and"),
        ({"port": 99_999}, "port is from 0 to 65535, not 99999"),
        ({"port": -1}, "port is from 0 to 65535, not -1"),
        ({"channel": ChannelOptions(origins=frozenset({"x"}))}, "'x' is no origin: write "),
        ({"api_keys": ["key", " "]}, "key must not be empty"),
        ({"error_probability": 1.5}, "from 0 to 1"),
        ({"error_probability": float("nan")}, "from 0 to 1"),
        ({"speed": 0}, "above 0"),
        ({"speed": float("inf")}, "at most"),
        ({"ping": 0}, "above 0"),
        ({"grace": -1}, "above 0"),
        ({"heygen": HeyGenOptions(concurrency=-1)}, "concurrency is 0 or more"),
        ({"heygen": HeyGenOptions(quota=-1)}, "quota is 0 or more"),
        ({"heygen": HeyGenOptions(url_lifetime=0.5)}, "url_lifetime is from 1"),
        ({"heygen": HeyGenOptions(legacy_v2="off")}, "legacy_v2 is on, deprecated or retired"),
    ],
)
def test_bad_options_are_refused_at_once(options: dict[str, Any], message: str) -> None:
    """What cannot be is refused when the simulator is made, with the reason."""
    with pytest.raises(ValueError, match=message):
        Simulator(**options)


ORIGIN: Any = "https://app.example"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        # The client has HeyGenOptions of its own, which are no account.
        ({"heygen": {"title": "Talk"}}, r"heygen is a simulator\.HeyGenOptions, not a dict"),
        ({"pace": 3}, r"pace is a simulator\.Pace, not a int"),
        ({"pace": 0}, r"pace is a simulator\.Pace, not a int"),
        ({"channel": 5.0}, r"channel is a simulator\.ChannelOptions, not a float"),
        ({"channel": ChannelOptions(origins=ORIGIN)}, "origins is a set of origins"),
        ({"api_keys": "secret"}, r"api_keys is a list of keys: write api_keys=\[key\]"),
        ({"api_keys": [b"secret"]}, "An API key is a text, not a bytes"),
    ],
)
def test_options_of_another_kind_are_refused(options: dict[str, Any], message: str) -> None:
    """What is of another kind is refused when the simulator is made, with what it must be."""
    with pytest.raises(TypeError, match=message):
        Simulator(**options)


@pytest.mark.parametrize(
    "origin",
    ["x", "app.example", "https://app.example/", "https://APP.example", "https://*.example", "*"],
)
def test_what_is_no_origin_is_refused(origin: str) -> None:
    """An origin that no browser ever sends would let nobody in, and is refused."""
    with pytest.raises(ValueError, match=re.escape(f"{origin!r} is no origin")):
        check_origin_text(origin)


@pytest.mark.parametrize(
    "origin",
    ["https://app.example", "http://localhost:3000", "http://[::1]:80", "tauri://a", "null"],
)
def test_what_is_an_origin_is_taken(origin: str) -> None:
    """Origins are taken as browsers send them."""
    ChannelOptions(origins=frozenset({origin})).check()


def test_simulator_must_be_started_first() -> None:
    """Before it runs a simulator has no address, and says what to do."""
    with pytest.raises(RuntimeError, match="Start the simulator first"):
        _ = Simulator().url


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("0.0.0.0", "http://127.0.0.1:80"),
        ("::", "http://[::1]:80"),
        ("192.0.2.1", "http://192.0.2.1:80"),
        ("2001:db8::1", "http://[2001:db8::1]:80"),
    ],
)
def test_address_of_every_host(host: str, address: str) -> None:
    """A wildcard is no address to dial, and clients send no key there: it is the loopback's."""
    assert base_url(host, 80) == address


async def test_simulator_is_started_once(sim: Simulator) -> None:
    """Starting twice is a mistake."""
    with pytest.raises(RuntimeError, match="started already"):
        await sim.start()


async def test_closing_before_starting_is_harmless() -> None:
    """Whoever did not get to start may close."""
    await Simulator().aclose()


async def test_orders_in_process(sim: Simulator) -> None:
    """Jobs can be created without a request, and looked at."""
    made = await sim.create(languages=["Spanish", "German"], delay=0.1)
    assert [status.language for status in made] == ["Spanish", "German"]
    await until(lambda: all(status.state == "completed" for status in sim.jobs.values()))

    assert list(sim.jobs) == [status.job_id for status in made]
    history = await sim.history(made[0].job_id)
    assert history[0] == made[0]
    assert [status.version for status in history] == list(range(1, len(history) + 1))
    with pytest.raises(TypeError, match="no field 'langage'; it has video_url, language, "):
        await sim.create(langage="Spanish")
    with pytest.raises(ValueError, match=r"video_url"):
        await sim.create(video_url=3)


@pytest.mark.virtual_simulator(delay=10)
@pytest.mark.parametrize(
    ("order", "message"),
    [
        ({"delay": -1}, "This is no order: delay: '-1.0': -1.0 is not between 0 and"),
        ({"delay": "x"}, "This is no order: delay: 'x' is no delay"),
        ({"language": "a", "languages": ["b"]}, "Send either `language` or `languages`"),
        ({"script": [{"at": 1, "state": "error"}, {"at": 2, "state": "x"}]}, "script: Only the"),
    ],
)
async def test_what_no_job_can_be_is_a_value_error(
    virtual_simulator: Simulator, order: dict[str, Any], message: str
) -> None:
    """Of an order in process a bad field is named by a ValueError, whichever floor finds it."""
    with pytest.raises(ValueError, match=message):
        await virtual_simulator.create(**order)
    assert virtual_simulator.jobs == {}


@pytest.mark.parametrize(
    ("deed", "arguments", "message"),
    [
        ("restart", {"lose_state": "some"}, "'all', 'none' or a number from 0 to 1"),
        ("restart", {"lose_state": 3}, r"\$.lose_state`; it takes 'all', 'none' or a number"),
        ("restart", {"lose_state": -1}, r"\$.lose_state"),
        ("restart", {"lose_state": None}, r"\$.lose_state"),
        ("restart", {"down_for": "x"}, r"\$.down_for`; it takes a number from 0 to 1,000,000,000"),
        ("drop", {"how": "x"}, r"\$.how`; it takes 'close' or 'reset'"),
        ("drop", {"how": "close", "code": 1}, r"\$.code`; it takes a number from 1,000 to 4,999"),
        ("drain", {"deadline": -1}, r"\$.deadline"),
        ("drain", {"spread": "x"}, r"\$.spread"),
    ],
)
async def test_what_cannot_be_done_leaves_the_simulator_as_it_is(
    virtual_simulator: Simulator, deed: str, arguments: dict[str, Any], message: str
) -> None:
    """A restart, drain or drop with a bad argument is refused before anything has happened."""
    async with Talk.open(virtual_simulator.channel_url) as talk:
        await talk.greet()
        before = virtual_simulator.replica
        with pytest.raises(ValueError, match=message):
            await getattr(virtual_simulator, deed)(**arguments)
        assert virtual_simulator.replica is before
        assert len(virtual_simulator.connections) == 1


async def test_same_seed_same_lives_other_ids() -> None:
    """Two simulators with one seed have jobs of the same lives under different ids."""
    told = []
    for _ in range(2):
        async with Simulator(seed=5, delay="0.01:0.2", error_probability=0.5) as sim:
            jobs = [(await sim.create())[0].job_id for _ in range(10)]
            await until(lambda: all(status.result in ENDS for status in sim.jobs.values()))
            told.append((jobs, [sim.jobs[job_id].state for job_id in jobs]))

    assert told[0][1] == told[1][1]
    assert set(told[0][0]).isdisjoint(told[1][0])


ENDS = ("completed", "error")


async def test_seed_is_told_when_it_was_drawn() -> None:
    """A run whose seed was drawn can be repeated."""
    assert Simulator().seed != Simulator().seed
    assert Simulator(seed="x").seed == "x"


async def test_speed_and_pace() -> None:
    """A fast simulator runs minutes in a moment, and tells as often as it is asked to."""
    async with asyncio.timeout(5), Simulator(delay=60, speed=600, pace=Pace(3, 0.01)) as sim:
        [status] = await sim.create()
        assert status.estimated_time_remaining == 0.1
        await until(lambda: sim.jobs[status.job_id].state == "completed")
        assert sim.jobs[status.job_id].version == 4


async def test_address_of_ipv6() -> None:
    """The URL of an IPv6 address has brackets."""
    try:
        async with Simulator("::1") as sim:
            url = sim.url
    except OSError:
        pytest.skip("this machine has no IPv6 loopback")
    assert re.fullmatch(r"http://\[::1\]:\d+", url)


# -- python -m simulator --------------------------------------------------------------------------


def launch(*arguments: str) -> subprocess.Popen[str]:
    """Start a simulator in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "simulator", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_process_says_where_it_is_and_leaves_when_told(number: signal.Signals) -> None:
    """The first line has the URL, the last three are for a shell; a signal ends it with 0."""
    arguments = ("--port", "0", "--delay", "3:10", "--seed", "7", "--api-key", "canary")
    with launch(*arguments) as process:
        try:
            assert process.stdout is not None
            assert process.stderr is not None
            first = process.stdout.readline()
            assert re.fullmatch(r"simulator  http://127\.0\.0\.1:\d+\n", first)
            url = first.split()[1]
            process.send_signal(number)
            rest, errors = process.stdout.read(), process.stderr.read()
            process.wait(timeout=10)
        finally:
            process.kill()

    assert (process.returncode, errors) == (0, "")
    *lines, base, key, command = rest.splitlines()
    banner = dict(line.split(maxsplit=1) for line in lines)
    assert banner["channel"] == f"ws{url.removeprefix('http')}/events"
    assert banner["control"].startswith(f"{url}/_control/")
    assert banner["seed"] == "7"
    assert len({line.index(line.split(maxsplit=1)[1]) for line in [first, *lines]}) == 1
    assert base.startswith(f"export HEYGEN_API_BASE={url} ")
    assert key == "export HEYGEN_API_KEY=...  # one of yours"
    assert command.startswith('curl "$HEYGEN_API_BASE/v3/video-translations" ')
    assert "canary" not in rest


async def test_process_shows_the_faults_it_is_given(tmp_path: Path) -> None:
    """Rules of a file and of the command line hold from the start, in this order."""
    plan = tmp_path / "plan.json"
    plan.write_text('{"seed": 7, "rules": [{"fault": "mute", "probability": 0.5}]}')
    with launch("--port", "0", "--faults", str(plan), "--fault", "status:path=/healthz") as process:
        try:
            assert process.stdout is not None
            url = (await asyncio.to_thread(process.stdout.readline)).split()[1]
            async with aiohttp.ClientSession(url) as http:
                async with http.get("/healthz") as answer:
                    assert answer.status == 503
                async with http.get("/_control/faults") as answer:
                    shown = await answer.json()
        finally:
            process.kill()

    assert str(shown["seed"]) == "7"
    assert [(rule["fault"], rule["struck"]) for rule in shown["rules"]] == [
        ("mute", 0),
        ("status", 1),
    ]


async def test_process_whose_port_is_taken_says_so(sim: Simulator) -> None:
    """A taken port is one clear line and exit code 2."""
    process = launch("--port", str(sim.port))
    output, errors = await asyncio.to_thread(process.communicate, timeout=20)

    assert (process.returncode, output) == (2, "")
    assert errors.startswith(f"Cannot listen on 127.0.0.1:{sim.port}: ")
    assert errors.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--port", "70000"], "a port is from 0 to 65535"),
        (["--port", "x"], "--port"),
        (["--fault", "flood"], "There is no fault 'flood'"),
        (["--fault", "drop_evnt"], "docs/faults.md lists all. Did you mean drop_event"),
        (["--origin", "x"], "'x' is no origin"),
        (["--fault", "status:status=200"], "status=200: Expected `int` >= 400"),
        (["--faults", "/nowhere.yaml"], "/nowhere.yaml: No such file"),
        (["--delay", "soon"], "'soon' is no delay"),
        (["--error-probability", "2"], "2 is not from 0 to 1"),
        (["--error-probability", "nan"], "nan is not from 0 to 1"),
        (["--speed", "0"], "0 is not from"),
        (["--concurrency", "-1"], "-1 is not from 0"),
        (["--quota", "1.5"], "--quota"),
        (["--legacy-v2", "off"], "--legacy-v2"),
        (["--ping", "-1"], "-1"),
        (["--drain", "1e9"], "1e9 is not from"),
        (["--api-key", " "], "a key must not be empty"),
        (["--what"], "unrecognized arguments"),
    ],
)
def test_bad_argument_is_refused(
    capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    """A wrong argument is exit code 2 with what is wrong."""
    with pytest.raises(SystemExit) as caught:
        main(arguments)

    assert caught.value.code == 2
    assert message in capsys.readouterr().err
