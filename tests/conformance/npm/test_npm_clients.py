"""Clients of HeyGen's API that others wrote run against the simulator as they are."""

import hashlib
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.sockets.server_process import ServerProcess

HERE = Path(__file__).parent
INSTALL_TIMEOUT = 240
"""Seconds; 35 MB of packages come from far away."""
RUN_TIMEOUT = 60
"""Seconds for the calls of one client."""

# What npm says when no registry answers; anything else that goes wrong is a failure.
OFFLINE = re.compile(r"EAI_AGAIN|ECONNREFUSED|ECONNRESET|ENETUNREACH|ENOTFOUND|ETIMEDOUT|network")

pytestmark = [pytest.mark.conformance, pytest.mark.timeout(INSTALL_TIMEOUT + 2 * RUN_TIMEOUT)]


@pytest.fixture(scope="module")
def clients(request: pytest.FixtureRequest) -> Path:
    """Return a folder in which the clients are installed; the next run finds them there."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        pytest.skip("node and npm are not installed")
    wanted = hashlib.sha256((HERE / "package.json").read_bytes()).hexdigest()[:16]
    folder: Path = request.config.cache.mkdir(f"heygen-clients-{wanted}")
    for name in ("package.json", *(path.name for path in HERE.glob("*.mjs"))):
        shutil.copy(HERE / name, folder)
    if not (folder / "installed").exists():
        options = ("--ignore-scripts", "--no-audit", "--no-fund", "--fetch-retries=1")
        try:
            subprocess.run(
                [npm, "install", *options],
                cwd=folder,
                check=True,
                capture_output=True,
                text=True,
                timeout=INSTALL_TIMEOUT,
            )
        except subprocess.TimeoutExpired:
            pytest.skip(f"the registry of npm took more than {INSTALL_TIMEOUT} s")
        except subprocess.CalledProcessError as error:
            if OFFLINE.search(error.stderr):
                pytest.skip("the registry of npm cannot be reached")
            pytest.fail(error.stderr)
        (folder / "installed").touch()
    return folder


async def play(clients: Path, script: str) -> Any:
    """Run a script against a simulator that asks for the key `right`; return what it prints."""
    async with ServerProcess("--delay", "1", "--api-key", "right") as server:
        return run(clients, script, server.url)


def run(clients: Path, script: str, url: str) -> Any:
    """Run a script against a server and return what it prints, as JSON."""
    done = subprocess.run(
        ["node", "--import", "./redirect.mjs", script],
        cwd=clients,
        check=False,
        capture_output=True,
        text=True,
        timeout=RUN_TIMEOUT,
        env=os.environ | {"HEYGEN_API_BASE": url, "HEYGEN_API_KEY": "right"},
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


async def test_typescript_sdk(clients: Path) -> None:
    """It lists languages, orders, and follows its translation to the end; errors are its own."""
    told = await play(clients, "typescript_sdk.mjs")

    assert "Spanish" in told["languages"]
    assert re.fullmatch(r"[0-9a-f]{32}-es", told["made"]["video_translate_id"])
    states = [status["status"] for status in told["seen"]]
    assert list(dict.fromkeys(states)) == ["pending", "running", "success"]
    assert told["seen"][0]["url"] is None
    assert "/video.mp4?Expires=" in told["seen"][-1]["url"]
    assert [error[:2] for error in told["errors"]] == [
        ["APIError", 401],
        ["APIError", 404],
        ["APIError", 400],
    ]
    assert told["errors"][0][2] == "Invalid or missing API key."


async def test_n8n_node(clients: Path) -> None:
    """It orders one language and several, with fields that only it knows; errors are n8n's own."""
    told = await play(clients, "n8n_node.mjs")

    [one] = told["one"]["data"]["video_translation_ids"]
    two = told["two"]["data"]["video_translation_ids"]
    assert one.endswith("-es")
    assert [job_id.partition("-")[2] for job_id in two] == ["es-ES", "fr"]
    assert told["wrongKey"] == {"thrown": "NodeApiError", "httpCode": "401"}
    assert told["wrongLanguage"] == {"thrown": "NodeApiError", "httpCode": "400"}
