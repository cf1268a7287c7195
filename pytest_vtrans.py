"""pytest fixtures for tests on virtual time; pytest finds them by itself once this is installed.

    async def test_a_job_of_ten_minutes(virtual_simulator):
        ...  # use virtual_simulator.url with any client of asyncio

A test that asks for one of them, itself or by another fixture, runs on a loop and a network of its
own, whose clock jumps from timer to timer. Its async fixtures run there, too, unless their scope is
wider than the function. No other plugin is needed, and with pytest-asyncio or anyio's, in whichever
mode, such tests are not theirs.

Each fixture takes its options from the marks of its name, of the test, its class and its module::

    @pytest.mark.virtual_simulator(delay=600, error_probability=0.1)
    @pytest.mark.virtual_time(shuffle=True)

Nothing of the simulator is imported before a test asks for it: this module is loaded by every run
of pytest in the environment, whoever's it is.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Generator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import pytest

if TYPE_CHECKING:
    from simulator import Simulator
    from simulator.testing import Network, VirtualRunner

__all__ = ["virtual_network", "virtual_seed", "virtual_simulator", "virtual_time"]

LONGEST_TEST = 86_400.0
"""Seconds of virtual time after which a test has failed, unless its mark says otherwise.

A test that waits in vain while some heartbeat goes on never comes to a deadlock."""

MARKERS = (
    "virtual_network(**options): options of `simulator.testing.Network`, such as latency=(0.1, 2).",
    "virtual_simulator(**options): options of `simulator.Simulator`, such as delay=600.",
    "virtual_time(**options): options of `simulator.testing.VirtualRunner`, such as shuffle=True.",
)


@pytest.fixture
def virtual_seed() -> int:
    """Return the seed of a test's randomness, 0; override or parametrize it to choose others."""
    return 0


@pytest.fixture
def virtual_time(request: pytest.FixtureRequest, virtual_seed: int) -> Iterator[VirtualRunner]:
    """Put a test on virtual time, whose `elapsed` counts it; a plain `def` calls its `run`.

    Its mark takes the options of `VirtualRunner`; without one, a test fails after a virtual day.
    """
    from simulator.testing import Network, VirtualRunner

    network = Network(virtual_seed, **_options(request, "virtual_network"))
    options = {"time_limit": LONGEST_TEST, **_options(request, "virtual_time")}
    with VirtualRunner(network, seed=virtual_seed, **options) as runner:
        yield runner


@pytest.fixture
def virtual_network(virtual_time: VirtualRunner) -> Network:
    """Return the network of a test, where faults are made; its mark takes those of `Network`."""
    return virtual_time.network


@pytest.fixture
def virtual_simulator(
    request: pytest.FixtureRequest, virtual_time: VirtualRunner, virtual_seed: int
) -> Iterator[Simulator]:
    """Run a simulator on the network of a test; its mark takes the options of `Simulator`."""
    from simulator import Simulator

    options = {"seed": virtual_seed, **_options(request, "virtual_simulator")}
    with virtual_time.hold(Simulator(**options)) as simulator:
        yield simulator


def pytest_configure(config: pytest.Config) -> None:
    """Let `--strict-markers` and `--markers` know of the marks."""
    for marker in MARKERS:
        config.addinivalue_line("markers", marker)


@pytest.hookimpl(tryfirst=True)
def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test on virtual time once, not once for each backend that anyio's plugin knows."""
    if {"anyio_backend", "virtual_time"} <= set(metafunc.fixturenames):
        metafunc.definition.add_marker(pytest.mark.parametrize("anyio_backend", ["asyncio"]))


# Wrappers that come first: what other plugins see of a test on virtual time is not async any more.


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_fixture_setup(
    fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest
) -> Generator[None, object, object]:
    """Run an async fixture on the loop of its test."""
    function = fixturedef.func
    is_async = inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)
    is_ours = fixturedef.scope == "function" and "virtual_time" in request.fixturenames
    if not (is_async and is_ours):
        return (yield)
    runner: VirtualRunner = request.getfixturevalue("virtual_time")
    with pytest.MonkeyPatch.context() as patch:
        # `FixtureDef` has no public way to do this; pytest-asyncio and anyio do the same.
        patch.setattr(fixturedef, "func", _synchronous_fixture(runner, function, request.instance))
        return (yield)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    """Run an async test on the loop of its fixture `virtual_time`."""
    runner = pyfuncitem.funcargs.get("virtual_time")
    test = pyfuncitem.obj
    if pyfuncitem.get_closest_marker("asyncio") is not None:
        # pytest-asyncio has wrapped it already.
        test = getattr(test, "__wrapped__", test)
    if runner is None or not inspect.iscoroutinefunction(test):
        return (yield)
    run = cast("VirtualRunner", runner).run

    def run_test(**arguments: object) -> object:
        return run(partial(test, **arguments))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pyfuncitem, "obj", run_test)
        return (yield)


def _synchronous_fixture(
    runner: VirtualRunner, function: Callable[..., Any], instance: object
) -> Callable[..., Any]:
    """Return what pytest can call instead of an async fixture function.

    Args:
        runner: where it runs.
        function: the fixture function.
        instance: of the class of the test; None if it has none.
    """
    if inspect.ismethod(function) and type(function.__self__) is type(instance):
        # pytest makes an instance for each test, and knows another one at first.
        function = function.__func__.__get__(instance)

    if inspect.iscoroutinefunction(function):
        return lambda **arguments: runner.run(partial(function, **arguments))

    def generate(**arguments: object) -> Iterator[object]:
        with runner.hold(asynccontextmanager(function)(**arguments)) as value:
            yield value

    return generate


def _options(request: pytest.FixtureRequest, name: str) -> dict[str, Any]:
    """Return what the marks of this name say; the mark that is closest to the test counts most."""
    options: dict[str, Any] = {}
    for mark in reversed(list(request.node.iter_markers(name))):
        if mark.args:
            raise pytest.UsageError(
                f"@pytest.mark.{name} takes keyword arguments only, and {request.node.nodeid} has "
                f"{mark.args!r}."
            )
        options |= mark.kwargs
    return options
