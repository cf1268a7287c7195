"""An application of which every request is answered in one way, those to no route included.

aiohttp's middlewares would do that, too. But aiohttp keeps the chains of middlewares of the last
1,024 handlers of the process, and with each its application: a server that was stopped long ago
would stay in memory with all of its jobs. So each handler is wrapped here as its route is made.
"""

from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import Final

from aiohttp import hdrs, web

from simulator.messages import MAX_FRAME
from simulator.table import add_routes

__all__ = ["Admit", "Handle", "make_app", "routes_of"]

Handle = Callable[[web.Request], Awaitable[web.StreamResponse]]
Admit = Callable[..., Awaitable[web.StreamResponse]]
"""Answers a request, its only argument, with the help of the `handler` that it is for."""

_ELSEWHERE: Final = "/{path:.*}"


def make_app(routes: Iterable[web.RouteDef], admit: Admit) -> web.Application:
    """Return an application that lets `admit` answer every request.

    Args:
        routes: of the application.
        admit: called with each request, and its `handler`; for a request to no route it is one that
            raises what aiohttp does, `HTTPNotFound` or `HTTPMethodNotAllowed`.
    """
    app = web.Application(client_max_size=MAX_FRAME)
    wrapped = []
    for route in (*routes, web.route(hdrs.METH_ANY, _ELSEWHERE, _refuse)):
        handler = partial(admit, handler=route.handler)
        wrapped.append(web.route(route.method, route.path, handler, **route.kwargs))
    add_routes(app, wrapped)
    return app


def routes_of(app: web.Application) -> list[web.AbstractRoute]:
    """Return the routes that an application was made of."""
    return [route for route in app.router.routes() if route.method != hdrs.METH_ANY]


async def _refuse(request: web.Request) -> web.StreamResponse:
    """Refuse a request to no route, or to one that does not take its method."""
    allowed: set[str] = set()
    for resource in request.app.router.resources():
        _, methods = await resource.resolve(request)
        allowed |= methods
    allowed.discard(hdrs.METH_ANY)
    if allowed:
        raise web.HTTPMethodNotAllowed(request.method, allowed)
    raise web.HTTPNotFound
