"""A witness between a client and its carrier: when it sent what, and what it heard.

It stands where `transport.Transport` stands, so that it sees exactly when a request leaves, which a
server sees only later, if at all. It can also be a proxy of the kind that is met in the field: one
that serves old answers, and one that knows no versions.
"""

from __future__ import annotations

import asyncio
import calendar
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any, Literal

import msgspec
from websockets.exceptions import InvalidStatus

from tests.sim.trace import Trace
from vtrans_hybrid import AsyncClient
from vtrans_hybrid.dialect import Capabilities, Request, Response

__all__ = ["Dialed", "Sent", "Witness"]

_EPOCH = re.compile(rb'"epoch": ?"([^"]+)"')


@dataclass(slots=True)
class Sent:
    """One request. Times are seconds of the loop."""

    path: str
    at: float
    body: bytes | None
    ended_at: float | None = None


@dataclass(slots=True)
class Dialed:
    """One connection of the channel, from its dial on. Times are seconds of the loop."""

    at: float
    heard: list[float] = field(default_factory=list)
    """When it was opened, and when frames arrived."""
    left_at: float | None = None
    """When the client let go of it, or learned that it was gone."""
    was_idle: bool = False
    """Whether the client let go of it because nobody needed it."""


class Witness:
    """Takes the place of a client's carrier.

    Args:
        client: The client, which has not been used yet.
        random: For which answers are old.
        is_bare: Whether the answers of the server lose whatever a plain server would not say.
        trace: Told of each thing that happens.
    """

    def __init__(
        self,
        client: AsyncClient,
        random: Random,
        *,
        is_bare: bool,
        trace: Trace,
    ) -> None:
        self.requests: list[Sent] = []
        self.dials: list[Dialed] = []
        self.held_reads: list[tuple[float, float]] = []
        """From when until when the server asked for no reads."""
        self.held_dials: list[tuple[float, float]] = []
        """From when until when it asked for no dials."""
        self.is_misdirected = False
        """Whether a redirect arrived before any good answer or frame."""
        self.most_channels = 0
        self._channels = 0
        self._has_heard = False
        self._damaged = 0
        self._random = random
        self._is_bare = is_bare
        self._note = trace.note
        self._old_answers: dict[str, list[Response]] = {}
        self._chances: list[float] = []
        self._damages: dict[Literal["answer", "frame"], list[float]] = {"answer": [], "frame": []}
        self._now = asyncio.get_running_loop().time
        driver: Any = client._driver
        self._carrier, driver.backend.transport = driver.backend.transport, self

    def serve_old_answers(self, chance: float) -> Callable[[], None]:
        """Answer some requests as they were answered before, until what is returned is called."""
        self._chances.append(chance)
        return lambda: self._chances.remove(chance)

    def damage_epochs(self, what: Literal["answer", "frame"], chance: float) -> Callable[[], None]:
        """Damage one epoch in some of what arrives, until what is returned is called."""
        self._damages[what].append(chance)
        return lambda: self._damages[what].remove(chance)

    # What the driver calls.

    async def request(self, request: Request) -> Response:
        """Carry out a request as the carrier does."""
        sent = Sent(request.path, self._now(), request.body)
        self.requests.append(sent)
        self._note(">", request.method, request.path, request.body)
        try:
            whole = self._aged(request, await self._carrier.request(request))
            response = replace(whole, body=self.damaged("answer", whole.body))
        except BaseException as error:
            self._note("<", request.path, error)
            raise
        finally:
            sent.ended_at = self._now()
        self._note("<", response.status, response.body)
        # What contradicts itself or makes no sense is no answer to a client that has had no other.
        is_whole = response.status == 200 and response.body == whole.body
        self._has_heard |= is_whole and _makes_sense(whole.body)
        self.is_misdirected |= response.status == _REDIRECT and not self._has_heard
        if response.status >= 400:
            self._hold(self.held_reads, response.headers)
        return _stripped(response) if self._is_bare else response

    async def open_channel(self, capabilities: Capabilities) -> Any:
        """Open a channel as the carrier does."""
        dialed = Dialed(self._now())
        self.dials.append(dialed)
        number = len(self.dials)
        self._note("dial", number)
        try:
            channel = await self._carrier.open_channel(capabilities)
        except BaseException as error:
            dialed.left_at = self._now()
            self._note("dial", number, error)
            self._note_refusal(error)
            raise
        dialed.heard.append(self._now())
        self._channels += 1
        self.most_channels = max(self.most_channels, self._channels)
        return _Channel(self, channel, dialed, number)

    def _note_refusal(self, error: BaseException) -> None:
        # What the server wrote, not what the client makes of it.
        refusal = error.__cause__
        if isinstance(refusal, InvalidStatus):
            headers = {name.lower(): value for name, value in refusal.response.headers.raw_items()}
            self._hold(self.held_dials, headers)

    def _hold(self, held: list[tuple[float, float]], headers: Mapping[str, str]) -> None:
        wait = _seconds_of(headers.get("retry-after", ""))
        if wait > 0:
            held.append((self._now(), self._now() + wait))

    async def aclose(self) -> None:
        """Close the carrier."""
        self._note("close")
        await self._carrier.aclose()

    # What the channels say.

    def heard(self, number: int, dialed: Dialed, frame: bytes) -> None:
        """Note a frame that arrived."""
        dialed.heard.append(self._now())
        self._has_heard = True
        self._note("< channel", number, frame)

    def told(self, number: int, frame: bytes) -> None:
        """Note a frame that is sent."""
        self._note("> channel", number, frame)

    def left(self, number: int, dialed: Dialed, why: str) -> None:
        """Note that a channel is over."""
        if dialed.left_at is None:
            dialed.left_at = self._now()
            self._channels -= 1
            self._note("channel", number, why)

    def damaged(self, what: Literal["answer", "frame"], text: bytes) -> bytes:
        """Return a message, or one with an epoch that sorts after all others, or before."""
        chances = self._damages[what]
        if not chances or self._random.random() >= max(chances):
            return text
        places = [match.span(1) for match in _EPOCH.finditer(text)]
        if not places:
            return text
        start, end = self._random.choice(places)
        self._damaged += 1  # no two accidents make the same of it
        damaged = f"{self._random.choice('0Z')}{self._damaged:0{end - start - 1}}"
        return text[:start] + damaged.encode() + text[end:]

    def _aged(self, request: Request, response: Response) -> Response:
        """Return the answer, or one that was given before."""
        known = self._old_answers.setdefault(request.path, [])
        if response.status == 200:
            known.append(response)
            del known[:-8]
            if self._chances and self._random.random() < max(self._chances):
                return self._random.choice(known)
        return response


_REDIRECT = 302


def _seconds_of(text: str) -> float:
    """Return how long a server wants to be left alone, 0 for no such wish.

    The product has a reader of its own for this, which is what is judged here. Both ends go by the
    same clock, so a date needs no other to compare it with.
    """
    if not text or text.isdecimal():
        return float(text or 0)
    return calendar.timegm(time.strptime(text, "%a, %d %b %Y %H:%M:%S GMT")) - time.time()


def _makes_sense(body: bytes) -> bool:
    try:
        return isinstance(msgspec.json.decode(body), dict)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return False


class _Channel:
    """One open channel, witnessed."""

    def __init__(self, witness: Witness, channel: Any, dialed: Dialed, number: int) -> None:
        self._witness = witness
        self._channel = channel
        self._dialed = dialed
        self._number = number

    async def receive(self) -> bytes:
        try:
            frame: bytes = await self._channel.receive()
        except Exception as error:
            self._witness.left(self._number, self._dialed, f"lost: {error}")
            raise
        frame = self._witness.damaged("frame", frame)
        self._witness.heard(self._number, self._dialed, frame)
        return frame

    async def send(self, frame: bytes) -> None:
        self._witness.told(self._number, frame)
        await self._channel.send(frame)

    async def aclose(self, code: int = 1000, reason: str = "") -> None:
        if self._dialed.left_at is None:
            self._dialed.was_idle = reason in _NEEDLESS
        self._witness.left(self._number, self._dialed, f"left: {code} {reason}")
        await self._channel.aclose(code, reason)


_NEEDLESS = ("no job is watched any more", "the client is closed")
"""Why a client leaves a connection with which all is well."""

_KEPT = ("result", "estimated_time_remaining")


def _stripped(response: Response) -> Response:
    """Return an answer without what only a native server says."""
    try:
        document = msgspec.json.decode(response.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return response
    if response.status != 200 or not isinstance(document, dict):
        return response
    body = msgspec.json.encode({key: document[key] for key in _KEPT if key in document})
    return Response(status=response.status, headers=response.headers, body=body)
