"""A simulator in its own process, started, frozen and killed."""

import asyncio
import os

import aiohttp
import pytest

from tests.sockets.server_process import ServerProcess


async def is_healthy(server: ServerProcess, timeout: float = 10) -> bool:
    """Tell whether the server answers within `timeout` seconds."""
    limit = aiohttp.ClientTimeout(total=timeout)
    try:
        async with (
            aiohttp.ClientSession(timeout=limit) as session,
            session.get(f"{server.url}/healthz") as answer,
        ):
            return answer.status == 200
    except (aiohttp.ClientError, TimeoutError):
        return False


async def test_it_listens_when_started_and_is_gone_afterwards() -> None:
    """Inside the context the server answers, after it the process is reaped."""
    async with ServerProcess() as server:
        assert server.url == f"http://127.0.0.1:{server.port}"
        assert await is_healthy(server)
        pid = server.pid
    assert not server.is_running
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_a_killed_server_returns_at_its_port() -> None:
    """After a kill nobody answers, after a restart the same port does."""
    async with ServerProcess() as server:
        port, pid = server.port, server.pid
        await server.kill()
        assert not await is_healthy(server)
        await server.restart()
        assert server.port == port
        assert server.pid != pid
        assert await is_healthy(server)


async def test_a_frozen_server_is_silent_until_it_goes_on() -> None:
    """A stopped process accepts and answers nothing; continued, it answers again."""
    async with ServerProcess() as server:
        server.stop()
        assert not await is_healthy(server, timeout=0.3)
        server.cont()
        assert await is_healthy(server)


async def test_a_frozen_server_is_reaped() -> None:
    """Leaving the context ends a stopped process too."""
    async with ServerProcess() as server:
        server.stop()
    assert not server.is_running


async def test_terminate_ends_in_order() -> None:
    """SIGTERM makes the server end with exit code 0."""
    async with ServerProcess() as server:
        assert await server.terminate() == 0
        with pytest.raises(RuntimeError, match="not running"):
            server.stop()


async def test_a_second_start_is_misuse() -> None:
    """A running server is not started again."""
    async with ServerProcess() as server:
        with pytest.raises(RuntimeError, match="running already"):
            await server.start()


async def test_a_failed_start_is_reported() -> None:
    """A server that ends instead of listening is an error, not a hang."""
    async with ServerProcess() as first:
        second = ServerProcess(port=first.port)
        with pytest.raises(RuntimeError, match="did not say where it listens"):
            async with asyncio.timeout(30):
                await second.__aenter__()
        assert not second.is_running
