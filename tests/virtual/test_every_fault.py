"""The client meets each fault of the catalogue, one by one, and each time all comes right."""

import asyncio
from typing import Any

import pytest

from simulator.faults import FAMILIES, FAULTS
from tests.promises import l1_final_in_time
from tests.virtual.heygen.account import open_account
from tests.virtual.scene import Scene, Viewer, now, open_scene, until
from vtrans_hybrid import (
    AuthError,
    JobLost,
    JobNotFound,
    QuotaExceeded,
    RetryPolicy,
    VtransError,
)

ENDS: dict[str, tuple[type[VtransError], ...]] = {
    "auth_expire": (AuthError,),
    "vanish": (JobLost, JobNotFound),
}
"""Faults after which a watch may end by an error, for no patience would help."""

MATCHES = {"corrupt": {"direction": "in"}}
"""Whom faults strike here: of damaged answers nobody could tell which of them are true."""

ALONE = {kind.name for family in ("rest", "server", "job") for kind in FAMILIES[family]}
"""Faults that a client without push meets in another way."""

UNMET = {kind.name for family in ("heygen", "webhook") for kind in FAMILIES[family]}
"""Faults that no client of our own paths can meet."""

NATIVE = [name for name in FAULTS if name not in UNMET]


@pytest.mark.parametrize(
    ("name", "transport"),
    [(name, "auto") for name in NATIVE] + [(name, "poll") for name in FAULTS if name in ALONE],
)
async def test_client_survives(name: str, transport: Any) -> None:
    """Under a fault and after it S, L, R and E hold; every watch ends once, by a final status."""
    options = {"transport": transport, "retry": RetryPolicy(max_attempts=10_000)}
    async with open_scene(options, error_probability=0.2) as scene:
        fault = FAULTS[name]()
        if fault.where == "order":
            scene.sim.faults.add(fault)
        job_ids = await scene.order(3, delay="20:50")
        viewers = [scene.watch(*job_ids, mode=mode) for mode in ("latest", "all")]
        await asyncio.sleep(5)
        await scene.remember()  # what the fault may make it forget
        if fault.where != "order":
            scene.sim.faults.add(fault, match=MATCHES.get(name, {}))
        await asyncio.sleep(5)
        late = scene.watch(job_ids[0], mode="all", is_late=True)
        await asyncio.sleep(30)
        await scene.remember()
        scene.sim.faults.heal()
        healed_at = now()
        done_at = await until(lambda: have_ended(scene), within=200)
        for viewer in [*viewers, late]:
            await end(viewer, name)
            l1_final_in_time(viewer.ended_at, healed_at=max(healed_at, done_at))


@pytest.mark.parametrize("name", [kind.name for kind in FAMILIES["heygen"]])
async def test_client_of_heygen_survives(name: str) -> None:
    """Under a fault of HeyGen's face and after it, every watch ends once, and with its result."""
    # The first read comes five seconds after the order, when a fault of five would be over.
    fault = FAULTS[name](**({"seconds": 10.0} if hasattr(FAULTS[name], "seconds") else {}))
    async with open_account(delay="20:50") as account:
        number = account.sim.faults.add(fault, after=0.5)
        jobs = await account.order(3)
        viewer = account.watch(jobs)
        await asyncio.sleep(40)
        if fault.where == "request":
            with pytest.raises(QuotaExceeded):
                await account.order(1)
        assert account.sim.faults.struck(number) > 0
        account.sim.faults.heal()
        seen = await viewer.end(within=100)
        assert len([status for status in seen if status.ok and status.result_url]) == 3


def have_ended(scene: Scene) -> bool:
    """Tell whether the server itself has brought its jobs to their end, or lost them."""
    return all(entry.is_final for entry in scene.sim.replica.listing())


async def end(viewer: Viewer, name: str) -> None:
    """Wait for the end of a watch, which may be an error where nothing else is left."""
    try:
        await viewer.end(within=100)
    except ENDS.get(name, ()):
        assert name in ENDS


def test_errors_are_of_faults() -> None:
    """Who is excused is in the catalogue."""
    assert ENDS.keys() <= FAULTS.keys()
