"""What a port does to all of its connections at once."""

from random import Random

import pytest

from simulator.faults import Swizzle
from simulator.plan import FaultPlan
from simulator.port import Port


class Line:
    """Stands for a connection, and writes down when it is clogged and when it is let go."""

    def __init__(self, number: int, told: list[tuple[int, bool]]) -> None:
        self._number = number
        self._told = told

    def clog(self, _reason: str, *, is_clogged: bool) -> None:
        """Take note."""
        self._told.append((self._number, is_clogged))


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("count", [2, 3, 5])
async def test_swizzle_lets_go_in_another_order(count: int, seed: int) -> None:
    """Whatever chance says, connections come back in another order than they stalled in."""
    told: list[tuple[int, bool]] = []
    port = Port("127.0.0.1", 0, FaultPlan())
    for number in range(count):
        port._links[number] = Line(number, told)  # type: ignore[assignment]
    pauses: list[float] = []

    async def pause(seconds: float) -> bool:
        pauses.append(seconds)
        return False

    await port.swizzle(Swizzle(connections=count, interval=1.5), Random(seed), pause)

    stalled = [number for number, is_clogged in told[:count] if is_clogged]
    let_go = [number for number, is_clogged in told[count:] if not is_clogged]
    assert sorted(stalled) == sorted(let_go) == list(range(count))
    assert stalled != let_go
    assert pauses == [1.5] * 2 * count
