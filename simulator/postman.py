"""Carry one delivery to its receiver, and see whether he takes it: the I/O of webhooks."""

import asyncio
import logging
from types import TracebackType
from typing import Final, Self

import aiohttp
from yarl import URL

from simulator.destinations import Destinations

__all__ = ["Postman"]

logger = logging.getLogger("simulator.postman")

_ACKNOWLEDGE: Final = 10.0  # s for a receiver to answer
_PROBE: Final = 1.0  # s for a URL to answer when it is registered


class Postman:
    """Post deliveries; an async context manager.

    Each one dials anew, so that each is checked anew; redirects are not followed, and no cookie and
    no proxy of the environment has a say.

    Args:
        destinations: where they may go.
    """

    def __init__(self, destinations: Destinations) -> None:
        self._destinations = destinations
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(
            force_close=True, use_dns_cache=False, socket_factory=self._destinations.open_socket
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None),
            headers={"User-Agent": "vtrans-simulator", "Accept-Encoding": "identity"},
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def post(
        self, url: str, body: bytes, headers: dict[str, str], *, slowness: float = 0.0
    ) -> bool:
        """Send a delivery, and tell whether its receiver acknowledged it: a 2xx within 10 s.

        Args:
            url: where to.
            body: what he gets.
            headers: of the request.
            slowness: seconds that his answer travels besides.
        """
        return await self._ask("POST", url, body, headers, within=_ACKNOWLEDGE, slowness=slowness)

    async def probe(self, url: str) -> bool:
        """Tell whether somebody is there who answers OPTIONS: with a 2xx, within a second."""
        return await self._ask("OPTIONS", url, None, {}, within=_PROBE)

    async def _ask(
        self,
        method: str,
        url: str,
        body: bytes | None,
        headers: dict[str, str],
        *,
        within: float,
        slowness: float = 0.0,
    ) -> bool:
        assert self._session is not None, "a postman is entered first"
        try:
            async with asyncio.timeout(within):
                async with self._session.request(
                    method, URL(url), data=body, headers=headers, allow_redirects=False
                ) as answer:
                    status = answer.status
                if slowness:
                    await asyncio.sleep(slowness)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            # ValueError: a host that no name can be; its URL may be a secret, so it is not shown.
            logger.debug("< %s: %s", method, type(error).__name__)
            return False
        logger.debug("< %s: %d", method, status)
        return 200 <= status < 300
