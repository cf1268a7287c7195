"""Nothing that people get to see holds a secret."""

import asyncio

import pytest

from tests.security.canary import KEY, SCENARIOS, Search, hunt, table


@pytest.mark.parametrize("name", SCENARIOS)
def test_no_canary_sings(name: str) -> None:
    """Logs, exceptions, objects and output hold no key, password or signature."""
    search = asyncio.run(hunt(frozenset({name})))

    assert search.searched > 0
    assert not search.finds, f"\n{table(search)}"


def test_a_canary_that_sings_is_heard() -> None:
    """The search finds what is there: in a cause, and in the locals of a frame."""

    class Holder:
        def __repr__(self) -> str:
            return KEY

    search = Search()
    try:
        try:
            raise ValueError(Holder())
        except ValueError as error:
            raise RuntimeError from error
    except RuntimeError as error:
        search.error(error)

    assert {find.where for find in search.finds} >= {"exception ValueError", "traceback"}
