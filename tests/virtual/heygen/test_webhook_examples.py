"""The examples that are told by webhook, whole, on virtual time."""

import asyncio
import re
import sys
from importlib.util import module_from_spec, spec_from_file_location
from typing import Any

import pytest

from simulator import Simulator
from tests.command_line import ROOT
from tests.virtual.heygen.asgi_server import open_asgi_server


def loaded(name: str, url: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Load an example that talks to HeyGen's stand-in at an address."""
    monkeypatch.setenv("HEYGEN_API_BASE", url)
    monkeypatch.setattr(sys, "argv", [name])
    spec = spec_from_file_location(name, ROOT / "examples" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    example = module_from_spec(spec)
    spec.loader.exec_module(example)
    return example


TOLD = r"completed by webhook: http://127.0.0.1:\d+/files/[0-9a-f]{32}-es/.*\n"


async def test_webhooks_aiohttp(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A route of aiohttp hears of the end of a job."""
    async with Simulator(delay=300) as sim:
        await loaded("webhooks_aiohttp", sim.url, monkeypatch).main()
    assert re.fullmatch(TOLD, capsys.readouterr().out)


async def test_webhooks_starlette(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An ASGI application hears of it as well, though it registers before it is listened to."""
    async with Simulator(delay=300) as sim:
        example = loaded("webhooks_starlette", sim.url, monkeypatch)
        async with open_asgi_server(example.app, 9000):
            await asyncio.sleep(310)
    assert re.fullmatch(TOLD, capsys.readouterr().out)
