"""One way in for every request, and a server that is gone once it has stopped."""

import asyncio
import gc
import weakref

import aiohttp
import pytest
from aiohttp import web

from simulator import Simulator
from simulator.entrance import Handle, make_app, routes_of


async def get_job(request: web.Request) -> web.Response:
    """Answer with the job of the path."""
    return web.Response(text=request.match_info["job"])


def with_a_head(seen: list[str]) -> web.Application:
    """Make an application that writes down each request before it is answered."""

    async def admit(request: web.Request, handler: Handle) -> web.StreamResponse:
        seen.append(f"{request.method} {request.path}")
        try:
            return await handler(request)
        except web.HTTPException as error:
            return web.Response(text=f"{error.status} {error.headers.get('Allow', '')}".strip())

    return make_app([web.get("/jobs/{job}", get_job), web.delete("/jobs/{job}", get_job)], admit)


@pytest.mark.parametrize(
    ("method", "path", "text"),
    [
        ("GET", "/jobs/a", "a"),
        ("DELETE", "/jobs/a", "a"),
        ("POST", "/jobs/a", "405 DELETE,GET,HEAD"),
        ("GET", "/jobs", "404"),
        ("POST", "/", "404"),
        ("PROPFIND", "/jobs/a/b", "404"),
    ],
)
async def test_every_request_comes_in_by_one_way(method: str, path: str, text: str) -> None:
    """Whether there is a route or none: what lets in is asked, and knows what is wrong."""
    seen: list[str] = []
    runner = web.AppRunner(with_a_head(seen))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}{path}"
    async with aiohttp.ClientSession() as http, http.request(method, url) as answer:
        said = await answer.text()
    await runner.cleanup()

    assert said == text
    assert seen == [f"{method} {path}"]


def test_the_routes_are_those_that_were_given() -> None:
    """What takes the requests to no route is none of them."""
    shown = [(route.method, route.resource) for route in routes_of(with_a_head([]))]

    assert [method for method, _ in shown] == ["HEAD", "GET", "DELETE"]


async def test_a_stopped_simulator_is_gone() -> None:
    """Whatever was asked of it, nothing keeps it: a suite with a thousand of them stays small."""
    async with Simulator() as sim:
        [job] = await sim.create(delay=100)
        async with aiohttp.ClientSession(sim.url) as http:
            for path in ("/jobs", f"/status/{job.job_id}", "/healthz", "/nowhere", "/v3/x"):
                async with http.get(path) as answer:
                    await answer.read()
            async with http.ws_connect("/events") as channel:
                await channel.send_str('{"type":"hello"}')
                await channel.receive()
    servers = [weakref.ref(sim._server), weakref.ref(sim)]
    del sim
    await asyncio.sleep(0)  # the present pass of the loop still holds what ends in it
    gc.collect()

    assert [server() for server in servers] == [None, None]
