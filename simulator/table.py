"""The table of routes of a server: the same for every one in a process, and so made once.

To make a table takes aiohttp as long as to serve a dozen requests, and a test suite starts servers
by the hundred. What is shared knows no server: it asks the application of each request who answers.
"""

from collections.abc import Awaitable, Callable, Iterable
from functools import lru_cache
from typing import Any, Final

from aiohttp import web

__all__ = ["add_routes"]

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Line = tuple[str, str, tuple[tuple[str, Any], ...]]
"""Method, path and options of a route: what two servers have in common."""

_HANDLERS: Final = web.AppKey("handlers", list[Any])


def add_routes(app: web.Application, routes: Iterable[web.RouteDef]) -> None:
    """Let an application answer these routes, as its own method of this name does.

    Args:
        app: that has no routes yet.
        routes: all that it shall have; their handlers are functions.
    """
    chosen = tuple(routes)
    app[_HANDLERS] = [route.handler for route in chosen]
    lines = tuple((route.method, route.path, tuple(route.kwargs.items())) for route in chosen)
    for resource in _resources(lines):
        app.router.register_resource(resource)


@lru_cache(maxsize=8)  # with and without the control API, and those of tests
def _resources(lines: tuple[Line, ...]) -> tuple[web.AbstractResource, ...]:
    router = web.UrlDispatcher()
    for index, (method, path, options) in enumerate(lines):
        web.RouteDef(method, path, _asker(index), dict(options)).register(router)
    return tuple(router.resources())


def _asker(index: int) -> Handler:
    """Return a handler that hands a request on to the one that its application has there."""

    async def ask(request: web.Request) -> web.StreamResponse:
        answer: web.StreamResponse = await request.app[_HANDLERS][index](request)
        return answer

    return ask
