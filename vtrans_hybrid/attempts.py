"""Requests that are repeated when they fail, as far as errors, policy and time allow."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

import anyio

from vtrans_hybrid.dialect import Answer
from vtrans_hybrid.errors import RequestTimeout, VtransError
from vtrans_hybrid.policy import RetryBudget, RetryPolicy

__all__ = ["Attempts"]

logger = logging.getLogger("vtrans_hybrid.client")


class Attempts:
    """Repeats requests for one client, out of one budget.

    Args:
        policy: How often, and how long to wait between.
        rand: Source of random numbers in [0, 1).
        closing: Set when there is nothing to wait for any more.
    """

    def __init__(
        self, policy: RetryPolicy, rand: Callable[[], float], closing: asyncio.Event
    ) -> None:
        self._policy = policy
        self._rand = rand
        self._closing = closing
        self._budget = RetryBudget(policy.max_attempts)

    async def make(
        self,
        exchange: Callable[[], Awaitable[Answer]],
        may_repeat: Callable[[VtransError], bool],
        give_up_at: float,
    ) -> Answer:
        """Return the answer of the first attempt that brings one.

        Args:
            exchange: Sends the request and deciphers the answer.
            may_repeat: Tells whether an error is worth another attempt.
            give_up_at: Monotonic seconds at which there must be an answer, or an error.

        Raises:
            RequestTimeout: There is none by then.
            VtransError: What the last attempt failed with.
        """
        attempt = 0
        while True:
            attempt += 1
            try:
                answer = await _until(give_up_at, exchange)
            except VtransError as error:
                if anyio.current_time() >= give_up_at:
                    raise  # the caller's haste is no failure of the server
                if attempt > 1:
                    error.add_note(f"after {attempt} attempts")
                delay = self._delay_after(error, attempt) if may_repeat(error) else None
                if delay is None or anyio.current_time() + delay > give_up_at:
                    raise
                logger.info("attempt %d failed, the next in %.2f s: %s", attempt, delay, error)
                with anyio.move_on_after(delay):
                    await self._closing.wait()
            else:
                self._budget.succeeded()
                return answer

    def _delay_after(self, error: VtransError, attempt: int) -> float | None:
        """Return the seconds to wait before the next attempt; None if there is to be none."""
        self._budget.failed(anyio.current_time())
        if attempt >= self._policy.max_attempts or not self._budget.may_retry:
            return None
        delay = self._policy.backoff.delay(attempt, self._rand())
        return max(delay, getattr(error, "retry_after", None) or 0.0)


async def _until(give_up_at: float, exchange: Callable[[], Awaitable[Answer]]) -> Answer:
    with anyio.CancelScope(deadline=give_up_at):
        return await exchange()
    raise RequestTimeout("the server did not answer in the time that the call was given")
