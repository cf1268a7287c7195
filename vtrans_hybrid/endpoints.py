"""The addresses of ours that a server delivers webhooks to, and what it has told them lately."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from functools import partial
from itertools import chain
from types import TracebackType
from typing import Protocol, TypeVar
from urllib.parse import urlsplit

import anyio

from vtrans_hybrid.dialect import (
    AddEndpoint,
    Answer,
    Endpoint,
    EventHistory,
    ListEndpoints,
    Operation,
    RemoveEndpoint,
)
from vtrans_hybrid.errors import ClientClosed, InvalidRequest, ProtocolError, VtransError

__all__ = ["BlockingEndpoints", "Endpoint", "Endpoints", "Owner", "Registration", "Wait"]

logger = logging.getLogger("vtrans_hybrid.webhooks")

_T = TypeVar("_T")

_PAGE = 100
_PAGES = 5
"""How much of the history is read at most; what is older, the reads of each job have found."""

_MOST_PAGES = 50
"""How much of the list of endpoints is read: more than any account has."""

_START = 10.0
"""Seconds for a web server that starts beside us to listen. Until it does, whoever is asked to send
there sees nobody, and refuses."""

_START_INTERVAL = 0.5

_GOODBYE = 5.0
"""Seconds in which an endpoint is removed at the end, or left to the next run."""


class Endpoints:
    """Manages the endpoints of an account. Made by `AsyncClient.endpoints`.

    Every call takes a time limit in seconds for each of its requests with all its tries, where None
    is `RetryPolicy.total_timeout`, and raises `Unsupported` where the backend sends no webhooks.

    Args:
        call: Carries out an operation within a time limit.
    """

    def __init__(self, call: Callable[[Operation, float | None], Awaitable[Answer]]) -> None:
        self._call = call

    async def add(
        self, url: str, *, events: Iterable[str] = (), timeout: float | None = None
    ) -> Endpoint:
        """Let the server deliver webhooks to an address, and return the endpoint with its secret.

        The secret is shown this once. There may be endpoints at the same address already, and each
        gets its deliveries; see `replace`.

        Args:
            url: The address, which has to answer already: servers look whether it is there.
            events: What to deliver, in the backend's own words; empty for what jobs end with.
            timeout: Time limit.

        Raises:
            InvalidRequest: The server refuses the address, or nobody answers there.
            ProtocolError: The server did not tell the secret.
        """
        operation = AddEndpoint(url=url, events=tuple(events))
        answer = await self._call(operation, timeout)
        if len(answer.endpoints) != 1 or not answer.endpoints[0].secret:
            for endpoint in answer.endpoints:
                await _goodbye(self, endpoint)
            raise ProtocolError("the server added an endpoint and did not tell its secret")
        return answer.endpoints[0]

    async def known(self, *, timeout: float | None = None) -> list[Endpoint]:
        """Return the endpoints that there are, 5,000 of them at most, without their secrets.

        Args:
            timeout: Time limit.
        """
        found = {
            endpoint.endpoint_id: endpoint
            for page in await self._pages(
                lambda token: ListEndpoints(limit=_PAGE, token=token), _MOST_PAGES, timeout
            )
            for endpoint in page.endpoints
        }
        return list(found.values())

    async def remove(self, endpoint: Endpoint | str, *, timeout: float | None = None) -> None:
        """Let the server deliver no more to an endpoint.

        Args:
            endpoint: The endpoint, or its id.
            timeout: Time limit.
        """
        endpoint_id = endpoint.endpoint_id if isinstance(endpoint, Endpoint) else endpoint
        await self._call(RemoveEndpoint(endpoint_id=endpoint_id), timeout)

    async def replace(self, url: str, *, timeout: float | None = None) -> Endpoint:
        """Do as `add` does, then remove every other endpoint at the same address.

        They are what a run has left that crashed, or a request whose answer was lost. Should they
        stay, since they cannot be removed, their deliveries are refused: nobody has their secrets.

        Args:
            url: The address, which has to answer already.
            timeout: Time limit.
        """
        endpoint = await self.add(url, timeout=timeout)
        try:
            for other in await self.known(timeout=timeout):
                if other.url == url and other.endpoint_id != endpoint.endpoint_id:
                    await _remove(self, other, timeout)
                    logger.info("endpoint %s of an earlier run is removed", other.endpoint_id)
        except VtransError as error:
            logger.warning("endpoints of earlier runs may be left: %s", error)
        except BaseException:
            await _goodbye(self, endpoint)
            raise
        return endpoint

    async def recent_jobs(self, *, timeout: float | None = None) -> list[str]:
        """Return the ids of the jobs that the last 500 webhooks were about, delivered or not.

        Args:
            timeout: Time limit.
        """
        pages = await self._pages(
            lambda token: EventHistory(limit=_PAGE, token=token), _PAGES, timeout
        )
        happenings = chain.from_iterable(page.happenings for page in pages)
        return list(dict.fromkeys(chain.from_iterable(each.job_ids for each in happenings)))

    async def _pages(
        self, page_at: Callable[[str], Operation], most: int, timeout: float | None
    ) -> list[Answer]:
        pages: list[Answer] = []
        token = ""
        while len(pages) < most:
            pages.append(await self._call(page_at(token), timeout))
            if pages[-1].next_token in ("", token):
                break
            token = pages[-1].next_token
        return pages


class Wait(Protocol):
    """Waits for what runs in the loop of a client, as threads do."""

    def __call__(self, function: Callable[[], Awaitable[_T]]) -> _T:
        """Run a coroutine function there and return its result."""


class BlockingEndpoints:
    """Manages the endpoints of an account. Made by `Client.endpoints`; see `Endpoints`.

    Args:
        endpoints: Does the work.
        wait: Waits for it.
    """

    def __init__(self, endpoints: Endpoints, wait: Wait) -> None:
        self._endpoints = endpoints
        self._wait = wait

    def run(self, function: Callable[[Endpoints], Awaitable[_T]]) -> _T:
        """Run a coroutine function of the asynchronous endpoints, and return its result."""
        return self._wait(partial(function, self._endpoints))

    def add(
        self, url: str, *, events: Iterable[str] = (), timeout: float | None = None
    ) -> Endpoint:
        """Let the server deliver webhooks to an address; see `Endpoints.add`."""
        return self._wait(partial(self._endpoints.add, url, events=events, timeout=timeout))

    def known(self, *, timeout: float | None = None) -> list[Endpoint]:
        """Return the endpoints that there are; see `Endpoints.known`."""
        return self._wait(partial(self._endpoints.known, timeout=timeout))

    def remove(self, endpoint: Endpoint | str, *, timeout: float | None = None) -> None:
        """Let the server deliver no more to an endpoint; see `Endpoints.remove`."""
        self._wait(partial(self._endpoints.remove, endpoint, timeout=timeout))

    def replace(self, url: str, *, timeout: float | None = None) -> Endpoint:
        """Add an endpoint and remove others at the same address; see `Endpoints.replace`."""
        return self._wait(partial(self._endpoints.replace, url, timeout=timeout))

    def recent_jobs(self, *, timeout: float | None = None) -> list[str]:
        """Return the jobs that the last webhooks were about; see `Endpoints.recent_jobs`."""
        return self._wait(partial(self._endpoints.recent_jobs, timeout=timeout))


class Owner(Protocol):
    """Whose endpoints they are: an `AsyncClient`, a `Client`."""

    def endpoints(self) -> Endpoints | BlockingEndpoints:
        """Return what manages the endpoints."""

    def announced(self, jobs: Iterable[str]) -> None:
        """Read jobs soon, for they have news; none: such news are to be expected."""


class Registration:
    """An endpoint that lives as long as a block. Made by `WebhookReceiver.registered`.

    Args:
        owner: Whose endpoint it is: `async with` for an `AsyncClient`, `with` for a `Client`.
        url: Where the server reaches us.
        began: Called with the endpoint as soon as there is one.
        ended: Called with it when it is no more.
    """

    __slots__ = ("_began", "_ended", "_endpoint", "_host", "_owner", "_url")

    def __init__(
        self,
        owner: Owner,
        url: str,
        *,
        began: Callable[[Endpoint], None],
        ended: Callable[[Endpoint], None],
    ) -> None:
        self._owner = owner
        self._url = url
        # Of the address, logs show the host alone: whoever knows the path can send there.
        self._host = urlsplit(url).hostname
        self._began = began
        self._ended = ended
        self._endpoint: Endpoint | None = None

    async def __aenter__(self) -> Endpoint:
        endpoints = self._owner.endpoints()
        if not isinstance(endpoints, Endpoints):
            raise TypeError("a Client is registered by `with`, not by `async with`")
        return await self._open(endpoints)

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        endpoints = self._owner.endpoints()
        assert isinstance(endpoints, Endpoints), "so it was when this was entered"
        await self._close(endpoints)

    def __enter__(self) -> Endpoint:
        endpoints = self._owner.endpoints()
        if not isinstance(endpoints, BlockingEndpoints):
            raise TypeError("an AsyncClient is registered by `async with`, not by `with`")
        return endpoints.run(self._open)

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        endpoints = self._owner.endpoints()
        assert isinstance(endpoints, BlockingEndpoints), "so it was when this was entered"
        with suppress(ClientClosed):
            endpoints.run(self._close)

    async def _open(self, endpoints: Endpoints) -> Endpoint:
        self._endpoint = endpoint = await self._replace(endpoints)
        self._began(endpoint)
        logger.info("webhooks to %s are registered as %s", self._host, endpoint.endpoint_id)
        try:
            self._owner.announced(await self._recent_jobs(endpoints))
        except BaseException:
            await self._close(endpoints)
            raise
        return endpoint

    async def _recent_jobs(self, endpoints: Endpoints) -> list[str]:
        try:
            return await endpoints.recent_jobs()
        except VtransError as error:
            logger.warning("what happened before is found by polling alone: %s", error)
            return []

    async def _replace(self, endpoints: Endpoints) -> Endpoint:
        """Add our endpoint, which the server does while it sees somebody at the address."""
        give_up_at = anyio.current_time() + _START
        has_told = False
        while True:
            try:
                return await endpoints.replace(self._url)
            except InvalidRequest:
                if anyio.current_time() >= give_up_at:
                    raise
            if not has_told:
                has_told = True
                said = "webhooks to %s are refused so far: asking again for at most %g s"
                logger.info(said, self._host, _START)
            await anyio.sleep(_START_INTERVAL)

    async def _close(self, endpoints: Endpoints) -> None:
        assert self._endpoint is not None, "only what was entered is left"
        self._ended(self._endpoint)
        await _goodbye(endpoints, self._endpoint)


async def _goodbye(endpoints: Endpoints, endpoint: Endpoint) -> None:
    """Remove an endpoint even when everything is being cancelled, or leave it to the next run."""
    with anyio.CancelScope(shield=True):
        try:
            await _remove(endpoints, endpoint, _GOODBYE)
        except VtransError as error:
            logger.warning("endpoint %s is left: %s", endpoint.endpoint_id, error)


async def _remove(endpoints: Endpoints, endpoint: Endpoint, timeout: float | None) -> None:
    """Remove an endpoint, unless somebody else has done it."""
    try:
        await endpoints.remove(endpoint, timeout=timeout)
    except VtransError as error:
        if getattr(error, "status", None) not in (404, 410):
            raise
