"""What is said of a document that does not fit: pure, so no loop and no socket."""

from typing import Annotated, Any, Literal

import msgspec
import pytest
from msgspec import Meta, Struct

from simulator.messages import BulkRequest, decode_client
from simulator.misfits import fitted, misfit

Share = Annotated[float, Meta(ge=0, le=1)]


class Inner(Struct, frozen=True):
    """What a field of `Outer` holds."""

    direction: Literal["in", "out"] | None = None


class Outer(Struct):
    """A document with a field of each kind."""

    mode: Literal["latest"] = "latest"
    lost: Literal["all"] | Share = 0.0
    count: Annotated[int, Meta(ge=1)] = 1
    title: str = ""
    inner: Inner = Inner()
    many: list[Literal["a", "b"]] = []


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"mode": "all"}, "Invalid enum value 'all' - at `$.mode`; it takes 'latest'"),
        (
            {"lost": "some"},
            "Invalid enum value 'some' - at `$.lost`; it takes 'all' or a number from 0 to 1",
        ),
        (
            {"inner": {"direction": "up"}},
            "Invalid enum value 'up' - at `$.inner.direction`; it takes 'in' or 'out'",
        ),
        ({"count": 0}, "Expected `int` >= 1 - at `$.count`"),
        ({"title": 1}, "Expected `str`, got `int` - at `$.title`"),
        ({"many": ["c"]}, "Invalid enum value 'c' - at `$.many[0]`"),
    ],
)
def test_what_a_field_takes_is_told_where_it_is_a_short_list(
    fields: dict[str, Any], said: str
) -> None:
    """A misfit is told with its place, and with all that the place takes if that can be listed."""
    with pytest.raises(ValueError, match=r"^This is no") as caught:
        fitted(Outer, "document", **fields)
    assert str(caught.value) == f"This is no document: {said}."


def test_what_fits_is_made() -> None:
    """Arguments that fit become the document."""
    assert fitted(Outer, "document", mode="latest", lost=1) == Outer(lost=1.0)


def test_bare_value_is_told_of_without_a_place() -> None:
    """What is no field of anything is told of alike."""
    with pytest.raises(msgspec.ValidationError) as caught:
        msgspec.convert(2, Share)
    assert misfit(caught.value, Share) == ("Expected `float` <= 1.0; it takes a number from 0 to 1")


def test_modes_are_listed_to_who_asks_for_another() -> None:
    """A subscribe and a bulk read of an unknown mode are told which there are."""
    with pytest.raises(ValueError, match=r"`\$\.mode`; it takes 'all' or 'latest'$"):
        decode_client('{"type":"subscribe","id":1,"mode":"fast","jobs":{}}')
    with pytest.raises(ValueError, match=r"`\$\.mode`; it takes 'all' or 'latest'\.$"):
        fitted(BulkRequest, "read", jobs={}, mode="fast")
