"""The faults of the virtual network as pure decisions."""

import random

import pytest

from simulator.testing.conditions import Conditions
from simulator.testing.connection import Address, Connection

SERVER = Address("127.0.0.1", 80)


def a_connection(index: int = 0, first_bytes: bytes = b"") -> Connection:
    """Return a connection of 7.5 seconds."""
    return Connection(
        index=index,
        client=Address("127.0.0.1", 40_000 + index),
        server=SERVER,
        opened_at=10.0,
        clock=lambda: 17.5,
        first_bytes=first_bytes,
    )


def some_conditions(seed: int = 0) -> Conditions:
    """Return conditions whose latency is half a second."""
    return Conditions(random.Random(seed), (0.5, 0.5))


def test_latency_is_drawn_from_its_range() -> None:
    """Each piece travels for a time between minimum and maximum, and not for the same time."""
    conditions = some_conditions()
    conditions.latency(1, 3)
    delays = [conditions.delay(a_connection()) for _ in range(100)]
    assert all(1 <= delay <= 3 for delay in delays)
    assert len(set(delays)) > 50


def test_latency_by_one_number_is_exact() -> None:
    """A latency without a maximum is the same for each piece."""
    conditions = some_conditions()
    conditions.latency(2)
    assert conditions.delay(a_connection()) == 2
    assert Conditions(random.Random(), 3).delay(a_connection()) == 3


def test_the_youngest_fault_counts_until_it_is_healed() -> None:
    """Of two faults of one kind the younger one hides the older."""
    conditions = some_conditions()
    conditions.latency(1)
    younger = conditions.latency(2)
    assert conditions.delay(a_connection()) == 2
    younger.heal()
    assert conditions.delay(a_connection()) == 1


def test_healing_twice_does_no_harm() -> None:
    """A fault that is healed by hand inside its with block is gone, once."""
    conditions = some_conditions()
    with conditions.stall() as fault:
        fault.heal()
    assert conditions.faults == ()


def test_leaving_the_block_heals() -> None:
    """A fault made in a with statement ends with it."""
    conditions = some_conditions()
    with conditions.stall():
        assert conditions.holds(a_connection(), "to_client")
    assert not conditions.holds(a_connection(), "to_client")


def test_heal_ends_everything() -> None:
    """`heal` ends faults of every kind."""
    conditions = some_conditions()
    conditions.stall()
    conditions.refuse()
    conditions.latency(9)
    conditions.bandwidth(1)
    conditions.heal()
    assert conditions.faults == ()
    assert conditions.answer(SERVER) == "accept"
    assert conditions.delay(a_connection()) == 0.5


def test_where_chooses_connections() -> None:
    """A fault with `where` leaves other connections alone, and dials."""
    conditions = some_conditions()
    conditions.latency(7, where=lambda connection: connection.index == 1)
    assert conditions.delay(a_connection(0)) == 0.5
    assert conditions.delay(a_connection(1)) == 7
    assert conditions.delay(None) == 0.5


def test_where_may_look_at_the_age_and_at_the_first_bytes() -> None:
    """The facts of a connection tell an upgrade from a request, and an old one from a new one."""
    upgrade = a_connection(first_bytes=b"GET /events HTTP/1.1\r\nUpgrade: WebSocket\r\n\r\n")
    request = a_connection(first_bytes=b"GET / HTTP/1.1\r\n\r\nupgrade: websocket\r\n")
    assert upgrade.is_upgrade
    assert not request.is_upgrade
    assert upgrade.age == 7.5


def test_half_open_holds_one_direction() -> None:
    """A half-open connection still works the other way."""
    conditions = some_conditions()
    conditions.half_open("to_client")
    assert conditions.holds(a_connection(), "to_client")
    assert not conditions.holds(a_connection(), "to_server")


def test_bandwidth_takes_time_and_delivers_as_it_goes() -> None:
    """A slow line carries segments, each of which occupies it for its size."""
    conditions = some_conditions()
    conditions.bandwidth(1_000)
    pieces = conditions.pieces(a_connection(), bytes(3_000))
    assert [len(piece) for piece in pieces] == [1_460, 1_460, 80]
    assert conditions.transmission_time(a_connection(), 500) == 0.5


def test_slices_put_together_are_the_data() -> None:
    """Slicing cuts in two at random places and loses nothing."""
    conditions = some_conditions()
    conditions.slice()
    data = bytes(range(100))
    places = set()
    for _ in range(50):
        first, second = conditions.pieces(a_connection(), data)
        assert first + second == data
        places.add(len(first))
    assert len(places) > 10


def test_a_single_byte_is_not_sliced() -> None:
    """There is no place inside one byte."""
    conditions = some_conditions()
    conditions.slice()
    assert conditions.pieces(a_connection(), b"x") == (b"x",)


def test_corruption_flips_one_bit() -> None:
    """Damaged data has the same length and differs in exactly one bit."""
    conditions = some_conditions()
    conditions.corrupt()
    data = bytes(64)
    (damaged,) = conditions.pieces(a_connection(), data)
    assert len(damaged) == len(data)
    assert sum(byte.bit_count() for byte in damaged) == 1


def test_probability_zero_does_nothing() -> None:
    """A fault of probability 0 is in force and never strikes."""
    conditions = some_conditions()
    conditions.corrupt(0)
    conditions.slice(0)
    assert conditions.pieces(a_connection(), b"data") == (b"data",)


def test_dials_are_refused_or_unanswered_by_address() -> None:
    """A fault for one address leaves dials to others alone."""
    conditions = some_conditions()
    conditions.refuse(address=SERVER)
    conditions.blackhole(address=("127.0.0.1", 81))
    assert conditions.answer(SERVER) == "refuse"
    assert conditions.answer(Address("127.0.0.1", 81)) == "silence"
    assert conditions.answer(Address("127.0.0.1", 82)) == "accept"


def test_what_would_hit_nothing_is_refused() -> None:
    """A fault says at once that it can choose no connection, and no address, by a text."""
    conditions = some_conditions()
    with pytest.raises(TypeError, match="where is a function of a Connection, not '127"):
        conditions.stall(where="127.0.0.1")  # type: ignore[arg-type]  # the mistake itself
    with pytest.raises(TypeError, match=r"address is \(host, port\), not '127"):
        conditions.refuse(address="127.0.0.1:80")  # type: ignore[arg-type]  # the mistake itself
    assert conditions.faults == ()


def test_the_same_seed_makes_the_same_decisions() -> None:
    """Two sets of conditions with one seed answer alike, with another differently."""

    def decisions(seed: int) -> list[object]:
        conditions = some_conditions(seed)
        conditions.latency(0, 1)
        conditions.slice(0.5)
        return [
            (conditions.delay(None), conditions.pieces(a_connection(), b"0123456789"))
            for _ in range(20)
        ]

    assert decisions(1) == decisions(1)
    assert decisions(1) != decisions(2)


@pytest.mark.parametrize(
    "make",
    [
        lambda conditions: conditions.latency(-1),
        lambda conditions: conditions.latency(2, 1),
        lambda conditions: conditions.latency(float("nan")),
        lambda conditions: conditions.latency(float("inf")),
        lambda conditions: conditions.bandwidth(0),
        lambda conditions: conditions.slice(1.5),
        lambda conditions: conditions.corrupt(-0.1),
        lambda conditions: conditions.half_open("sideways"),
        lambda conditions: conditions.cut_every(5, 2),
    ],
)
def test_impossible_numbers_are_refused(make: object) -> None:
    """A fault that can not be is a ValueError, and is not in force afterwards."""
    conditions = some_conditions()
    with pytest.raises(ValueError):
        make(conditions)  # type: ignore[operator]  # the lambdas above
    assert conditions.faults == ()
