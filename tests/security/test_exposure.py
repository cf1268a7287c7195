"""No caller can hold a connection, or the attention of the server, for nothing."""

import pytest

from simulator import Simulator
from simulator.testing import run
from tests.security.exposure import PROBES, Exposure, expose, table


@pytest.mark.parametrize("name", PROBES)
def test_callers_who_misbehave_are_ended(name: str) -> None:
    """Whatever a caller does instead of asking, it is ended in time and nobody else waits."""

    async def main() -> Exposure:
        async with Simulator() as sim:
            return await expose(sim.url, frozenset({name}))

    exposure = run(main)

    assert exposure.is_good, f"\n{table(exposure)}"
