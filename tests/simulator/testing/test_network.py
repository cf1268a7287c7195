"""The virtual network: connections, faults as a peer sees them, and its records."""

import asyncio
import contextvars
import errno
import socket
from collections.abc import AsyncIterator

import pytest

from simulator.testing import Connection, Network, VirtualLoop, run
from tests.simulator.testing.recorder import Recorder, connected

pytestmark = pytest.mark.usefixtures("virtual_time")

KILOBYTES_64 = 65_536


class Pair:
    """A client and a server that are connected, and their connection."""

    def __init__(self, network: Network, client: Recorder, server: Recorder) -> None:
        self.client = client
        self.server = server
        self.connection: Connection = network.connections[-1]

    def send_both_ways(self) -> None:
        """Write something at each end."""
        self.client.transport.write(b"to server")
        self.server.transport.write(b"to client")


@pytest.fixture
async def pair(virtual_network: Network) -> AsyncIterator[Pair]:
    """Yield a connected pair and end what is left of it."""
    client, server = Recorder(), Recorder()
    listener = await connected(client, server)
    yield Pair(virtual_network, client, server)
    virtual_network.heal()
    client.transport.abort()
    server.transport.abort()
    listener.close()
    await listener.wait_closed()
    await asyncio.sleep(1)
    assert virtual_network.connections == ()


def now() -> float:
    """Return the virtual time."""
    return asyncio.get_running_loop().time()


async def test_latency_delays_data(virtual_network: Network, pair: Pair) -> None:
    """Data arrives after exactly the latency that is set."""
    virtual_network.latency(3)
    start = now()
    pair.client.transport.write(b"x")
    await pair.server.until_noted("data")
    assert now() - start == 3


async def test_data_stays_in_order_whatever_the_latency(
    virtual_network: Network, pair: Pair
) -> None:
    """A piece that travels faster does not overtake."""
    virtual_network.latency(0, 10)
    sent = b"".join(b"%03d," % number for number in range(200))
    for start in range(0, len(sent), 4):
        pair.client.transport.write(sent[start : start + 4])
    await pair.server.until(lambda: len(pair.server.received) == len(sent))
    assert pair.server.received == sent


async def test_bandwidth_spreads_data_over_time(virtual_network: Network, pair: Pair) -> None:
    """A megabyte at 100 kB/s takes ten seconds, and part of it is there before."""
    virtual_network.latency(0)
    virtual_network.bandwidth(100_000)
    start = now()
    pair.client.transport.write(bytes(1_000_000))
    await pair.server.until_noted("data")
    assert now() - start < 0.1
    await pair.server.until(lambda: len(pair.server.received) == 1_000_000)
    assert now() - start == pytest.approx(10)


async def test_slices_arrive_apart(virtual_network: Network) -> None:
    """A sliced message needs several calls of data_received and is whole in the end."""
    pieces: list[bytes] = []
    client, server = Recorder(), Recorder(on_data=lambda _, data: pieces.append(data))
    listener = await connected(client, server)
    virtual_network.latency(0.1, 5)
    virtual_network.slice()
    client.transport.write(b"0123456789")
    await server.until(lambda: server.received == b"0123456789")
    assert len(pieces) == 2
    client.transport.close()
    await server.until_noted("lost NoneType")
    listener.close()


async def test_corruption_damages_data(virtual_network: Network, pair: Pair) -> None:
    """Damaged data has its length and not its content."""
    virtual_network.corrupt()
    pair.client.transport.write(b"intact")
    await pair.server.until(lambda: len(pair.server.received) == 6)
    assert pair.server.received != b"intact"


async def test_a_stall_holds_both_ways_and_loses_nothing(
    virtual_network: Network, pair: Pair
) -> None:
    """During a stall nothing arrives, not even the end; healed, all of it does."""
    fault = virtual_network.stall()
    pair.send_both_ways()
    pair.client.transport.close()
    await asyncio.sleep(3_600)
    assert pair.server.events == ["made"]
    fault.heal()
    await pair.server.until_noted("data")
    assert pair.server.received == b"to server"


async def test_half_open_holds_one_way(virtual_network: Network, pair: Pair) -> None:
    """The silent direction says nothing, the other works."""
    with virtual_network.half_open("to_client"):
        pair.send_both_ways()
        await asyncio.sleep(3_600)
        assert pair.server.received == b"to server"
        assert pair.client.received == b""
    await pair.client.until(lambda: pair.client.received == b"to client")


async def test_a_stalled_peer_pauses_the_writer(virtual_network: Network, pair: Pair) -> None:
    """What fits into the pipe is gone, the rest waits and pauses the protocol."""
    with virtual_network.stall():
        pair.client.transport.write(bytes(KILOBYTES_64))
        assert pair.client.transport.get_write_buffer_size() == 0
        pair.client.transport.write(bytes(KILOBYTES_64))
        assert pair.client.transport.get_write_buffer_size() == KILOBYTES_64
        assert pair.client.events == ["made"]
        pair.client.transport.write(b"x")
        assert pair.client.events == ["made", "pause"]
        await asyncio.sleep(60)
        assert pair.client.events == ["made", "pause"]
    await pair.client.until_noted("resume")
    await pair.server.until(lambda: len(pair.server.received) == 2 * KILOBYTES_64 + 1)


async def test_written_data_may_be_changed_afterwards(virtual_network: Network, pair: Pair) -> None:
    """A bytearray that waits in the write buffer is the caller's again after write()."""
    data = bytearray(b"x" * 3 * KILOBYTES_64)
    pair.client.transport.write(data)
    data.clear()
    await pair.server.until(lambda: pair.server.received == b"x" * 3 * KILOBYTES_64)


async def test_data_under_way_at_a_close_does_not_reset(
    virtual_network: Network, pair: Pair
) -> None:
    """Only what has arrived unread makes a close a reset; what comes later is answered later."""
    virtual_network.latency(1)
    pair.server.transport.write(b"too late")
    pair.client.transport.close()
    await pair.server.until_noted("lost NoneType")
    assert pair.server.events == ["made", "eof", "lost NoneType"]


async def test_reset_tells_both_ends(virtual_network: Network, pair: Pair) -> None:
    """Both protocols lose the connection with ECONNRESET, data on its way is lost."""
    pair.send_both_ways()
    assert virtual_network.reset() == 1
    await pair.client.until_noted("lost ConnectionResetError")
    await pair.server.until_noted("lost ConnectionResetError")
    assert pair.client.received == pair.server.received == b""
    assert virtual_network.connections == ()


async def test_reset_strikes_through_a_stall(virtual_network: Network, pair: Pair) -> None:
    """A reset is made at both ends, so it needs no working line."""
    virtual_network.stall()
    virtual_network.reset()
    await pair.client.until_noted("lost ConnectionResetError")


async def test_an_abort_does_not_get_through_a_stall(virtual_network: Network, pair: Pair) -> None:
    """A peer behind a dead line does not learn that the other end is gone."""
    virtual_network.stall()
    pair.client.transport.abort()
    await asyncio.sleep(3_600)
    assert pair.server.events == ["made"]
    assert virtual_network.connections == (pair.connection,)


async def test_close_ends_both_streams_in_order(virtual_network: Network, pair: Pair) -> None:
    """Both protocols see the end of the stream, as behind a proxy that closes."""
    assert virtual_network.close() == 1
    await pair.client.until_noted("lost NoneType")
    await pair.server.until_noted("lost NoneType")
    assert pair.client.events == pair.server.events == ["made", "eof", "lost NoneType"]


async def test_what_is_left_to_send_ends_with_a_reset_of_the_peer(
    virtual_network: Network, pair: Pair
) -> None:
    """A closing transport does not go on to send, for minutes, to a peer that is gone."""
    with virtual_network.bandwidth(2_000):
        pair.server.transport.write(bytes(2 * KILOBYTES_64))
        pair.server.transport.close()
        await asyncio.sleep(1)
        pair.client.transport.abort()
        await asyncio.sleep(2)
        assert pair.server.events[-1] == "lost ConnectionResetError"
    assert virtual_network.connections == ()


async def test_writing_after_a_close_in_the_middle_is_reset(virtual_network: Network) -> None:
    """An end that keeps its side open is told when it writes into the closed connection."""
    client, server = Recorder(), Recorder(keep_open=True)
    listener = await connected(client, server)
    virtual_network.close()
    await server.until_noted("eof")
    server.transport.write(b"anybody there?")
    await server.until_noted("lost ConnectionResetError")
    listener.close()


@pytest.mark.parametrize("who", ["network", "server"])
async def test_a_reset_strikes_who_stays_after_an_orderly_end(
    virtual_network: Network, who: str
) -> None:
    """An end that keeps its side open after the end of the stream is not out of reach."""
    client, server = Recorder(), Recorder(keep_open=True)
    listener = await connected(client, server)
    virtual_network.close()
    await server.until_noted("eof")
    if who == "network":
        assert virtual_network.reset() == 1
    else:
        server.transport.get_extra_info("reset")()
    await server.until_noted("lost ConnectionResetError")
    listener.close()
    assert virtual_network.connections == ()


async def test_an_orderly_end_meets_a_full_write_buffer(
    virtual_network: Network, pair: Pair
) -> None:
    """A transport that waits for room to send the rest is lost, closing or not."""
    virtual_network.stall()
    for end in (pair.client, pair.server):
        end.transport.write(bytes(2 * KILOBYTES_64))
    pair.server.transport.close()
    await asyncio.sleep(1)
    assert virtual_network.close() == 1
    await asyncio.sleep(1)
    assert pair.client.events[-1].startswith("lost")
    assert pair.server.events[-1].startswith("lost")
    assert virtual_network.connections == ()


async def test_faults_choose_connections(virtual_network: Network) -> None:
    """Only the connection that `where` names is reset."""
    ends = [(Recorder(), Recorder()) for _ in range(3)]
    listeners = [await connected(client, server) for client, server in ends]
    assert virtual_network.reset(where=lambda connection: connection.index == 1) == 1
    await ends[1][0].until_noted("lost ConnectionResetError")
    assert [client.events[-1] for client, _ in ends] == [
        "made",
        "lost ConnectionResetError",
        "made",
    ]
    virtual_network.reset()
    await asyncio.sleep(1)
    for listener in listeners:
        listener.close()


async def test_cuts_come_at_a_random_age(virtual_network: Network) -> None:
    """Each connection lives between the minimum and the maximum, not equally long."""
    virtual_network.cut_every(8, 12)
    ages = []
    for _ in range(10):
        client, server = Recorder(), Recorder()
        listener = await connected(client, server)
        connection = virtual_network.connections[-1]
        await client.until_noted("lost ConnectionResetError")
        ages.append(connection.age)
        await server.until_noted("lost ConnectionResetError")
        listener.close()
    assert all(8 <= age <= 12 for age in ages)
    assert max(ages) - min(ages) > 1


async def test_a_cut_counts_from_now_for_an_older_connection(
    virtual_network: Network, pair: Pair
) -> None:
    """A connection that is past the age is not cut at once, but after that many seconds."""
    await asyncio.sleep(100)
    start = now()
    virtual_network.cut_every(5, clean=True)
    await pair.client.until_noted("lost NoneType")
    assert now() - start == 5


async def test_a_healed_cut_does_not_come(virtual_network: Network, pair: Pair) -> None:
    """After healing, connections grow older than the age of the cut."""
    with virtual_network.cut_every(5):
        await asyncio.sleep(1)
    await asyncio.sleep(60)
    assert pair.client.events == ["made"]


async def test_a_refused_dial(virtual_network: Network) -> None:
    """A refused dial fails at once, open connections live on, healed dials succeed."""
    client, server = Recorder(), Recorder()
    listener = await connected(client, server)
    host, port = listener.sockets[0].getsockname()
    with virtual_network.refuse():
        with pytest.raises(ConnectionRefusedError) as caught:
            await asyncio.open_connection(host, port)
        assert caught.value.errno == errno.ECONNREFUSED
        client.transport.write(b"still here")
        await server.until(lambda: server.received == b"still here")
    server.transport.abort()
    again = Recorder()
    await asyncio.get_running_loop().create_connection(lambda: again, host, port)
    again.transport.abort()
    client.transport.abort()
    listener.close()
    await asyncio.sleep(1)
    assert [dial.outcome for dial in virtual_network.dials] == ["connected", "refused", "connected"]


async def test_a_dial_is_refused_by_name(virtual_network: Network) -> None:
    """A fault of dials takes a name, also one that nobody listens at yet."""
    virtual_network.refuse(address=("api.example", 80))
    loop = asyncio.get_running_loop()
    listener = await loop.create_server(asyncio.Protocol, ["api.example", "other.example"], 80)
    with pytest.raises(ConnectionRefusedError):
        await loop.create_connection(asyncio.Protocol, "api.example", 80)
    transport, _ = await loop.create_connection(asyncio.Protocol, "other.example", 80)
    transport.abort()
    listener.close()


async def test_a_blackholed_dial_times_out(virtual_network: Network) -> None:
    """An unanswered dial fails after 127 seconds, as Linux does it."""
    virtual_network.blackhole()
    start = now()
    with pytest.raises(TimeoutError) as caught:
        await asyncio.open_connection("127.0.0.1", 80)
    assert caught.value.errno == errno.ETIMEDOUT
    assert now() - start == 127
    assert [dial.outcome for dial in virtual_network.dials] == ["timed out"]


async def test_a_blackholed_dial_succeeds_when_healed(virtual_network: Network) -> None:
    """The retries of a dial find a network that has come back."""
    listener = await asyncio.get_running_loop().create_server(Recorder, "127.0.0.1", 80)
    fault = virtual_network.blackhole()
    asyncio.get_running_loop().call_later(5, fault.heal)
    start = now()
    _, writer = await asyncio.open_connection("127.0.0.1", 80)
    assert 7 <= now() - start < 8
    writer.close()
    await writer.wait_closed()
    listener.close()


async def test_a_cancelled_dial_leaves_nothing(virtual_network: Network) -> None:
    """A server that had accepted a dial that was given up sees its end."""
    server = Recorder()
    listener = await asyncio.get_running_loop().create_server(lambda: server, "127.0.0.1", 80)
    virtual_network.latency(1)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1.5):
            await asyncio.open_connection("127.0.0.1", 80)
    await server.until_noted("lost NoneType")
    listener.close()
    await asyncio.sleep(5)
    assert virtual_network.connections == ()
    assert [dial.outcome for dial in virtual_network.dials] == ["cancelled"]


async def test_a_reset_during_a_dial_reaches_the_client(virtual_network: Network) -> None:
    """A connection that is reset before its client has taken it up is lost right after."""
    listener = await asyncio.get_running_loop().create_server(Recorder, "127.0.0.1", 80)
    virtual_network.latency(1)
    asyncio.get_running_loop().call_later(1.5, virtual_network.reset)
    client = Recorder()
    await asyncio.get_running_loop().create_connection(lambda: client, "127.0.0.1", 80)
    await client.until_noted("lost ConnectionResetError")
    assert virtual_network.connections == ()
    listener.close()


async def test_a_client_that_fails_to_make_its_protocol_leaves_nothing(
    virtual_network: Network,
) -> None:
    """A protocol factory that raises ends the connection that was made for it."""
    server = Recorder()
    loop = asyncio.get_running_loop()
    listener = await loop.create_server(lambda: server, "127.0.0.1", 80)

    def fail() -> Recorder:
        raise LookupError("mine")

    with pytest.raises(LookupError):
        await loop.create_connection(fail, "127.0.0.1", 80)
    await server.until_noted("lost NoneType")
    listener.close()
    assert virtual_network.connections == ()


async def test_a_socket_that_is_given_up_ends_its_connection(virtual_network: Network) -> None:
    """A client that connects a socket and drops it leaves no connection."""
    server = Recorder()
    loop = asyncio.get_running_loop()
    listener = await loop.create_server(lambda: server, "127.0.0.1", 80)
    sock = socket.socket()
    sock.setblocking(False)
    await loop.sock_connect(sock, ("127.0.0.1", 80))
    sock.close()
    del sock
    await server.until_noted("lost NoneType")
    listener.close()
    assert virtual_network.connections == ()


async def test_counters(virtual_network: Network, pair: Pair) -> None:
    """Dials, connections and bytes are counted, and stay counted when a connection is over."""
    pair.send_both_ways()
    await pair.client.until_noted("data")
    await pair.server.until_noted("data")
    pair.client.transport.write(b"more")
    await pair.server.until(lambda: pair.server.received.endswith(b"more"))
    assert (pair.connection.bytes_to_client, pair.connection.bytes_to_server) == (9, 13)
    assert pair.connection.first_bytes == b"to servermore"
    virtual_network.reset()
    await asyncio.sleep(1)
    assert virtual_network.stats() == (1, 1, 0, 9, 13)


async def test_each_end_has_its_own_context() -> None:
    """A context variable of the client is not seen by the server, nor the reverse."""
    who: contextvars.ContextVar[str] = contextvars.ContextVar("who", default="nobody")
    seen: list[str] = []
    who.set("server")
    server = Recorder(on_data=lambda recorder, _: seen.append(who.get()))
    listener = await asyncio.get_running_loop().create_server(lambda: server, "127.0.0.1", 80)

    async def dial() -> None:
        who.set("client")
        client = Recorder(on_data=lambda recorder, _: seen.append(who.get()))
        await asyncio.get_running_loop().create_connection(lambda: client, "127.0.0.1", 80)
        client.transport.write(b"x")
        await server.until_noted("data")
        server.transport.write(b"y")
        await client.until_noted("data")
        client.transport.close()

    await asyncio.create_task(dial())
    await server.until_noted("lost NoneType")
    listener.close()
    assert seen == ["server", "client"]


def test_a_network_serves_one_loop_at_a_time() -> None:
    """A second loop is refused while the first is open, and welcome afterwards."""
    network = Network()
    first = VirtualLoop(network)
    with pytest.raises(RuntimeError, match="one loop at a time"):
        VirtualLoop(network)
    first.close()
    VirtualLoop(network).close()


def test_the_observer_sees_everything_that_arrives() -> None:
    """An observer is told time, connection, direction and bytes."""
    seen: list[tuple[float, int, str, bytes]] = []
    network = Network(
        latency=(1, 1),
        observer=lambda at, connection, direction, data: seen.append(
            (at - connection.opened_at, connection.index, direction, data)
        ),
    )

    async def main() -> None:
        client, server = Recorder(), Recorder()
        listener = await connected(client, server)
        client.transport.write(b"one way")
        await server.until_noted("data")
        server.transport.write(b"and back")
        await client.until_noted("data")
        client.transport.close()
        await server.until_noted("lost NoneType")
        listener.close()

    run(main, network=network)
    assert seen == [(2, 0, "to_server", b"one way"), (3, 0, "to_client", b"and back")]


def test_no_capacity_is_misuse() -> None:
    """A pipe that holds nothing carries nothing."""
    with pytest.raises(ValueError, match="capacity"):
        Network(capacity=0)
