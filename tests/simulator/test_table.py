"""Routes that servers share, and handlers that they do not."""

import aiohttp
from aiohttp import web

from simulator import Simulator
from simulator.table import add_routes
from simulator.testing import run


async def by_its_name(_request: web.Request) -> web.Response:
    """Answer nothing: only the routes are looked at."""
    return web.Response()


def test_a_table_is_what_aiohttp_would_have_made() -> None:
    """Methods, paths and their order are the same, HEAD included where GET has one."""
    routes = [
        web.get("/a", by_its_name),
        web.post("/a", by_its_name),
        web.get("/b/{name}", by_its_name, allow_head=False),
    ]
    ours, theirs = web.Application(), web.Application()
    add_routes(ours, routes)
    theirs.add_routes(routes)

    def shown(app: web.Application) -> list[tuple[str, str]]:
        return [
            (route.method, route.resource.canonical)
            for route in app.router.routes()
            if route.resource is not None
        ]

    assert shown(ours) == shown(theirs)


def test_a_table_is_made_once() -> None:
    """Two applications with the same routes have the same resources."""
    one, other = web.Application(), web.Application()
    for app in (one, other):
        add_routes(app, [web.get("/once", by_its_name)])
    assert list(one.router.resources()) == list(other.router.resources())


def test_servers_with_one_table_answer_for_themselves() -> None:
    """Each of two servers that run side by side knows its own jobs, and not the other's."""

    async def main() -> list[int]:
        found = []
        async with Simulator() as one, Simulator() as other, aiohttp.ClientSession() as session:
            [job] = await one.create()
            for sim in (one, other):
                async with session.get(f"{sim.url}/status/{job.job_id}") as answer:
                    found.append(answer.status)
        return found

    assert run(main) == [200, 404]
