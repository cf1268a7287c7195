"""The server behind a client: what it speaks, as far as is known, and what carries the words."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from urllib.parse import urlsplit

from vtrans_hybrid.dialect import (
    AddEndpoint,
    Answer,
    Capabilities,
    Dialect,
    Operation,
    Read,
    ReadDefault,
    Response,
    Submit,
    lacking,
)
from vtrans_hybrid.errors import (
    ConnectFailed,
    JobNotFound,
    RateLimited,
    Unavailable,
    Unsupported,
    VtransError,
)
from vtrans_hybrid.transport import Transport

__all__ = ["Backend"]

logger = logging.getLogger("vtrans_hybrid.client")

_ESSENTIAL = (Read, ReadDefault)
"""Operations without which no job could have been followed."""


class Backend:
    """Exchanges operations for answers, and learns from them what the server speaks.

    Args:
        transport: Carries requests and opens channels.
        dialect: What the server speaks, as far as is known.
        has_heard: Tells whether the server has ever answered in the words of its dialect.
        adapt: Called with what the server can do when that turns out to be another thing.
    """

    def __init__(
        self,
        transport: Transport,
        dialect: Dialect,
        *,
        has_heard: Callable[[], bool],
        adapt: Callable[[Capabilities], None],
    ) -> None:
        self.transport = transport
        self.dialect = dialect
        self.requests = 0
        """How many requests were made."""
        self._has_heard = has_heard
        self._doubt = _doubt_about(transport.base_url, is_guess=dialect.fallback is not None)
        self._is_proven = False
        self._adapt = adapt

    async def exchange(self, operation: Operation) -> Answer:
        """Send one request and decipher the answer.

        Raises:
            Unsupported: The server has no such operation, or cannot carry it out in one request.
            VtransError: It refused, did not answer or made no sense.
        """
        dialect = self.dialect
        if not dialect.capabilities.offers(operation):
            raise lacking(operation)
        if not dialect.capabilities.admits(operation):  # what it can do was learned meanwhile
            raise Unsupported("this server does less at a time than was asked for")
        try:
            return await self._exchange_in(dialect, operation)
        except Unsupported as error:
            if self._has_heard() and error.status:
                if not isinstance(operation, _ESSENTIAL):
                    raise  # it says nothing of what the server speaks
                # It was there before, so this is a passing state of a server being replaced.
                raise Unavailable(str(error), status=error.status) from error
            other = dialect.fallback
            if other is None or not other.capabilities.offers(operation):
                raise  # what the other lacks as well tells nothing of which it is
            if self.dialect is dialect:
                self.adopt(other)
        return await self.exchange(operation)

    def may_repeat(self, operation: Operation, error: VtransError) -> bool:
        """Whether to send an operation again that failed with an error."""
        is_safe = not isinstance(operation, (Submit, AddEndpoint))
        if isinstance(operation, Submit):
            is_safe = self.dialect.capabilities.repeats_orders
        # These say that nothing came of it; after any other, it may have been carried out.
        return error.retryable and (is_safe or isinstance(error, (ConnectFailed, RateLimited)))

    def adopt(self, dialect: Dialect) -> None:
        """Speak another dialect from now on."""
        logger.info("the server does not speak %s: trying %s", self.dialect, dialect)
        self.dialect = dialect
        self._adapt(dialect.capabilities)

    async def _exchange_in(self, dialect: Dialect, operation: Operation) -> Answer:
        self.requests += 1
        request = dialect.request(operation)
        logger.debug("> %s %s", request.method, request.path)
        response = await self.transport.request(request)
        logger.debug("< %d, %d bytes", response.status, len(response.body))
        try:
            answer = dialect.decipher(operation, response)
        except VtransError as raised:
            error = self._weighed(raised, response)
            if self._doubt is not None and not isinstance(error, (RateLimited, Unavailable)):
                error.add_note(self._doubt)
            if error is raised:
                raise
            raise error from raised
        # Whoever says what makes sense is the one that was meant.
        self._is_proven, self._doubt = True, None
        return answer

    def _weighed(self, error: VtransError, response: Response) -> VtransError:
        """Return what an error is worth: no server that nobody has heard of proves a job gone.

        One that has no such path at all answers with just such a page; whoever took that for the
        end of a job would order it again.
        """
        is_page = "json" not in response.headers.get("content-type", "")
        if not isinstance(error, JobNotFound) or error.code or not is_page:
            return error
        if self._is_proven or self._has_heard():
            return error
        sentence = f"there is nothing at this address (HTTP {error.status}): is base_url right?"
        return Unsupported(
            f"{sentence} Of job {error.job_id} that says nothing",
            status=error.status,
            job_id=error.job_id,
        )


def _doubt_about(base_url: str, *, is_guess: bool) -> str | None:
    """Return what may be wrong with an address where nobody says what makes sense; None if nothing.

    It is no more than a doubt: any server may lie behind such a path.

    Args:
        base_url: The address.
        is_guess: Whether nobody has said what the server speaks.
    """
    path = urlsplit(base_url).path
    if is_guess and (found := _HEYGENS.search(path)):
        return (
            f"base_url holds {found[0]}: if it is that of HeyGen's API, make the client with "
            "heygen(), or give the command line --heygen, and leave that out"
        )
    if found := (_OURS if is_guess else _HEYGENS).search(path):
        return f"base_url holds {found[0]}, which requests add: should it be left out?"
    return None


_HEYGENS = re.compile(r"/v[23](?=/|$)")
_OURS = re.compile(r"/(?:create_job|events|jobs|status)(?=/|$)")
