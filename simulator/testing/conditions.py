"""The faults of the virtual network, each named for what a peer sees of it, and what they do now.

Pure: no loop and no clock. The network asks these questions about every dial and every piece of
data; randomness is drawn from the generator that it was given, in the order of the questions.

Rules:

* A fault is in force from the call that makes it until `Fault.heal()`, the end of its `with` block,
  or `Conditions.heal()`.
* `where` chooses connections; None hits all of them. It is asked anew for each piece of data, so it
  may depend on age and on the first bytes. A dial has no connection yet: only faults without
  `where` delay it.
* Of several faults of one kind that hit a connection, the youngest counts.
"""

import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Literal, Self, TypeVar

from simulator.testing.connection import Address, Connection, Direction, Where

__all__ = ["Answer", "Conditions", "Cuts", "Fault"]

Answer = Literal["accept", "refuse", "silence"]
"""What becomes of a dial."""

SEGMENT = 1_460  # bytes; what one Ethernet frame carries of a TCP stream

F = TypeVar("F", bound="Fault")


@dataclass(eq=False, kw_only=True)
class Fault:
    """One fault in force; heal it by `heal()` or by leaving it as a context manager.

    Made by `Network.stall` and the like.
    """

    where: Where | None = None
    remove: Callable[["Fault"], None] = field(repr=False)

    def __post_init__(self) -> None:
        if self.where is not None and not callable(self.where):
            raise TypeError(f"where is a function of a Connection, not {self.where!r}.")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.heal()

    def hits(self, connection: Connection | None) -> bool:
        """Tell whether it applies to `connection`; None is a dial, which has none yet."""
        if self.where is None:
            return True
        return connection is not None and self.where(connection)

    def heal(self) -> None:
        """End it. Healing twice does no harm."""
        self.remove(self)


@dataclass(eq=False, kw_only=True)
class _Latency(Fault):
    minimum: float
    maximum: float


@dataclass(eq=False, kw_only=True)
class _Bandwidth(Fault):
    bytes_per_second: float


@dataclass(eq=False, kw_only=True)
class _Slice(Fault):
    probability: float


@dataclass(eq=False, kw_only=True)
class _Corruption(Fault):
    probability: float


@dataclass(eq=False, kw_only=True)
class _Hold(Fault):
    directions: tuple[Direction, ...]


@dataclass(eq=False, kw_only=True)
class _Dials(Fault):
    answer: Answer
    address: tuple[str, int] | None


@dataclass(eq=False, kw_only=True)
class Cuts(Fault):
    """Each connection ends at a random age between `minimum` and `maximum` seconds."""

    minimum: float
    maximum: float
    clean: bool


class Conditions:
    """The faults in force and what follows from them.

    Args:
        rng: where all randomness of the network comes from.
        latency: (minimum, maximum) seconds that a piece of data travels while no fault says
            otherwise; a number means that long each time.
    """

    def __init__(self, rng: random.Random, latency: tuple[float, float] | float) -> None:
        if isinstance(latency, (int, float)):
            latency = (latency, latency)
        _check_range("latency", *latency)
        self.rng = rng
        self._draw = rng.random
        self._latency = latency
        self._faults: dict[type[Fault], list[Fault]] = {}

    @property
    def faults(self) -> tuple[Fault, ...]:
        """The faults in force, oldest first within each kind."""
        return tuple(fault for faults in self._faults.values() for fault in faults)

    def latency(
        self, minimum: float, maximum: float | None = None, *, where: Where | None = None
    ) -> Fault:
        """Let each piece of data travel for a random time.

        Args:
            minimum: seconds.
            maximum: seconds; None means the same as `minimum`.
            where: which connections; None means all, and dials.
        """
        maximum = minimum if maximum is None else maximum
        _check_range("latency", minimum, maximum)
        return self._add(
            _Latency(minimum=minimum, maximum=maximum, where=where, remove=self._remove)
        )

    def bandwidth(self, bytes_per_second: float, *, where: Where | None = None) -> Fault:
        """Let at most so many bytes a second through, in each direction of each connection.

        Args:
            bytes_per_second: more than 0.
            where: which connections; None means all.
        """
        if not bytes_per_second > 0:
            raise ValueError(f"bytes_per_second must be above 0, not {bytes_per_second!r}.")
        return self._add(
            _Bandwidth(bytes_per_second=bytes_per_second, where=where, remove=self._remove)
        )

    def slice(self, probability: float = 1.0, *, where: Where | None = None) -> Fault:
        """Cut a piece of data in two at a random place; the rest travels on its own.

        Args:
            probability: how likely it is for each piece, from 0 to 1.
            where: which connections; None means all.
        """
        _check_probability(probability)
        return self._add(_Slice(probability=probability, where=where, remove=self._remove))

    def corrupt(self, probability: float = 1.0, *, where: Where | None = None) -> Fault:
        """Flip one random bit in a piece of data.

        Args:
            probability: how likely it is for each piece, from 0 to 1.
            where: which connections; None means all.
        """
        _check_probability(probability)
        return self._add(_Corruption(probability=probability, where=where, remove=self._remove))

    def stall(self, *, where: Where | None = None) -> Fault:
        """Hold back what goes either way; nothing is lost, all of it arrives when healed.

        Neither peer is told: it is what a pulled cable looks like from both ends.

        Args:
            where: which connections; None means all.
        """
        directions: tuple[Direction, ...] = ("to_client", "to_server")
        return self._add(_Hold(directions=directions, where=where, remove=self._remove))

    def half_open(self, direction: Direction, *, where: Where | None = None) -> Fault:
        """Hold back what goes one way, as `stall` does, while the other way works on.

        Args:
            direction: which way is held back.
            where: which connections; None means all.
        """
        if direction not in ("to_client", "to_server"):
            raise ValueError(f"direction must be 'to_client' or 'to_server', not {direction!r}.")
        return self._add(_Hold(directions=(direction,), where=where, remove=self._remove))

    def refuse(self, *, address: tuple[str, int] | None = None) -> Fault:
        """Refuse new connections; open ones live on.

        Args:
            address: the (name or IP address, port) that refuses; None means all.
        """
        return self._add_dials("refuse", address)

    def blackhole(self, *, address: tuple[str, int] | None = None) -> Fault:
        """Leave dials unanswered until they time out; open connections live on (see `stall`).

        Args:
            address: the (name or IP address, port) that is silent; None means all.
        """
        return self._add_dials("silence", address)

    def cut_every(
        self,
        minimum: float,
        maximum: float | None = None,
        *,
        clean: bool = False,
        where: Where | None = None,
    ) -> Fault:
        """End each connection when it reaches a random age.

        Args:
            minimum: seconds of age. A connection that is older when this is called counts from now.
            maximum: seconds of age; None means the same as `minimum`.
            clean: whether the peers see an orderly end (FIN) instead of a reset (RST).
            where: which connections, asked at that age; None means all.
        """
        maximum = minimum if maximum is None else maximum
        _check_range("age", minimum, maximum)
        return self._add(
            Cuts(minimum=minimum, maximum=maximum, clean=clean, where=where, remove=self._remove)
        )

    def heal(self) -> None:
        """End all faults: what was held back arrives, what was cut stays cut."""
        self._faults.clear()
        self._faults_changed()

    def delay(self, connection: Connection | None) -> float:
        """Draw how many seconds the next piece of data travels; None asks for a dial."""
        fault = self._youngest(_Latency, connection)
        minimum, maximum = self._latency if fault is None else (fault.minimum, fault.maximum)
        return minimum if minimum == maximum else minimum + (maximum - minimum) * self._draw()

    def transmission_time(self, connection: Connection, size: int) -> float:
        """Return for how many seconds `size` bytes occupy the line."""
        fault = self._youngest(_Bandwidth, connection)
        return 0.0 if fault is None else size / fault.bytes_per_second

    def pieces(self, connection: Connection, data: bytes) -> tuple[bytes, ...]:
        """Return `data` as it will arrive: in one piece or in several, whole or damaged."""
        damage = self._youngest(_Corruption, connection)
        if damage is not None and self.rng.random() < damage.probability:
            data = self._damaged(data)
        if self._youngest(_Bandwidth, connection) is not None:
            # A slow line delivers as it goes, not all at the end.
            return tuple(data[at : at + SEGMENT] for at in range(0, len(data), SEGMENT))
        cut = self._youngest(_Slice, connection)
        if cut is None or len(data) < 2 or self.rng.random() >= cut.probability:
            return (data,)
        place = self.rng.randrange(1, len(data))
        return (data[:place], data[place:])

    def holds(self, connection: Connection, direction: Direction) -> bool:
        """Tell whether data in this direction waits for a fault to be healed."""
        holds = self._faults.get(_Hold)
        if not holds:
            return False  # the usual case, and asked about every piece of data
        return any(
            isinstance(fault, _Hold) and direction in fault.directions and fault.hits(connection)
            for fault in holds
        )

    def answer(self, address: Address) -> Answer:
        """Tell what becomes of a dial to `address`, if somebody listens there."""
        for fault in reversed(self._faults.get(_Dials, [])):
            if isinstance(fault, _Dials) and fault.address in (None, address):
                return fault.answer
        return "accept"

    def _address_of(self, host: str) -> str:
        """Return the IP address of a host."""
        return host

    def _add_dials(self, answer: Answer, address: tuple[str, int] | None) -> Fault:
        if address is not None:
            if not (isinstance(address, tuple) and isinstance(address[-1], int)):
                raise TypeError(f"address is (host, port), not {address!r}.")
            address = (self._address_of(address[0]), address[1])
        return self._add(_Dials(answer=answer, address=address, remove=self._remove))

    def _faults_changed(self) -> None:
        """Take note that faults came or went."""

    def _add(self, fault: Fault) -> Fault:
        self._faults.setdefault(type(fault), []).append(fault)
        self._faults_changed()
        return fault

    def _remove(self, fault: Fault) -> None:
        faults = self._faults.get(type(fault), [])
        if fault in faults:
            faults.remove(fault)
            self._faults_changed()

    def _youngest(self, kind: type[F], connection: Connection | None) -> F | None:
        faults = self._faults.get(kind)
        if not faults:
            return None
        for fault in reversed(faults):
            if isinstance(fault, kind) and fault.hits(connection):
                return fault
        return None

    def _damaged(self, data: bytes) -> bytes:
        damaged = bytearray(data)
        damaged[self.rng.randrange(len(damaged))] ^= 1 << self.rng.randrange(8)
        return bytes(damaged)


def _check_range(what: str, minimum: float, maximum: float) -> None:
    if not (0 <= minimum <= maximum and math.isfinite(maximum)):
        raise ValueError(f"{what} must be 0 <= minimum <= maximum, not {minimum!r} to {maximum!r}.")


def _check_probability(probability: float) -> None:
    if not 0 <= probability <= 1:
        raise ValueError(f"probability must be from 0 to 1, not {probability!r}.")
