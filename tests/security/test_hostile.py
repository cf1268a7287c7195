"""Whatever a server answers, the client stays well. The command plays 100,000 cases."""

from tests.security.hostile import _Tally, meet, report


async def test_a_hostile_server_does_no_harm() -> None:
    """Documented errors come out, and nothing else; nothing hangs; no memory is kept."""
    harm = await meet(1_500, seed=1)

    assert harm.is_none, f"\n{report(harm)}"
    assert harm.in_process >= 1_400
    assert harm.by_socket >= 100
    assert harm.in_heygen >= 400
    assert len(harm.errors) >= 10, "the cases have become tame"


def test_what_is_not_documented_is_noticed() -> None:
    """The judge can condemn."""
    tally = _Tally()
    tally.note(KeyError("x"))
    assert tally.failures[0].startswith("batch 0: KeyError: 'x'")
