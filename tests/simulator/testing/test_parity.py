"""What a protocol is told in memory is what it is told on real sockets.

Each scenario runs on asyncio's own loop over loopback and on virtual time; both must tell the same
story.
"""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from simulator.testing import run
from tests.simulator.testing.recorder import BufferedRecorder, Recorder, connected

Runner = Callable[[Callable[[], Awaitable[None]]], None]
MEGABYTE = 1_048_576


def run_on_sockets(main: Callable[[], Awaitable[None]]) -> None:
    """Run `main` on asyncio's own loop."""

    async def start() -> None:
        await main()

    asyncio.run(start())


@pytest.fixture(params=["sockets", "memory"])
def runner(request: pytest.FixtureRequest) -> Runner:
    """Run a scenario on real sockets, then in memory."""
    return run_on_sockets if request.param == "sockets" else run


def test_an_orderly_close_ends_the_stream_of_the_peer(runner: Runner) -> None:
    """The peer receives all data, then the end, then a loss without an error."""

    async def main() -> None:
        client, server = Recorder(), Recorder()
        listener = await connected(client, server)
        client.transport.write(b"hello")
        client.transport.close()
        await server.until_noted("lost NoneType")
        await client.until_noted("lost NoneType")
        listener.close()
        assert server.events == ["made", "data", "eof", "lost NoneType"]
        assert server.received == b"hello"
        assert client.events == ["made", "lost NoneType"]

    runner(main)


def test_an_abort_with_nothing_unread_looks_like_an_end(runner: Runner) -> None:
    """A socket that is closed with an empty receive buffer sends FIN, even if aborted."""

    async def main() -> None:
        client, server = Recorder(), Recorder()
        listener = await connected(client, server)
        client.transport.abort()
        await server.until_noted("lost NoneType")
        listener.close()
        assert server.events == ["made", "eof", "lost NoneType"]

    runner(main)


def test_closing_with_unread_data_resets_the_peer(runner: Runner) -> None:
    """Data that nobody will read makes the close a reset."""

    async def main() -> None:
        client, server = Recorder(), Recorder()
        listener = await connected(client, server)
        client.transport.pause_reading()
        server.transport.write(b"unread")
        await asyncio.sleep(0.1)
        client.transport.close()
        await server.until_noted("lost ConnectionResetError")
        listener.close()
        assert server.events == ["made", "lost ConnectionResetError"]

    runner(main)


def test_writing_to_a_closed_peer_is_answered_by_a_reset(runner: Runner) -> None:
    """An end that keeps its side open and goes on writing learns that nobody listens."""

    async def main() -> None:
        client, server = Recorder(), Recorder(keep_open=True)
        listener = await connected(client, server)
        client.transport.close()
        await server.until_noted("eof")
        for _ in range(3):
            server.transport.write(b"anybody there?")
            await asyncio.sleep(0.1)
        await server.until(lambda: server.events[-1].startswith("lost"))
        listener.close()
        assert server.events[:2] == ["made", "eof"]
        assert server.events[2] in ("lost ConnectionResetError", "lost BrokenPipeError")

    runner(main)


def test_one_direction_can_be_closed_by_itself(runner: Runner) -> None:
    """After write_eof the other direction still carries data."""

    async def main() -> None:
        client, server = Recorder(), Recorder(keep_open=True)
        listener = await connected(client, server)
        client.transport.write(b"question")
        client.transport.write_eof()
        with pytest.raises(RuntimeError, match="after write_eof"):
            client.transport.write(b"more")
        await server.until_noted("eof")
        server.transport.write(b"answer")
        await client.until(lambda: client.received == b"answer")
        server.transport.close()
        await client.until_noted("lost NoneType")
        await server.until_noted("lost NoneType")
        listener.close()
        assert server.events == ["made", "data", "eof", "lost NoneType"]
        assert client.events == ["made", "data", "eof", "lost NoneType"]

    runner(main)


def test_a_refused_connection_is_a_connection_refused_error(runner: Runner) -> None:
    """Nobody listens at a port whose server was closed."""

    async def main() -> None:
        client, server = Recorder(), Recorder()
        listener = await connected(client, server)
        port = listener.sockets[0].getsockname()[1]
        listener.close()
        client.transport.close()
        await server.until_noted("lost NoneType")
        loop = asyncio.get_running_loop()
        with pytest.raises(ConnectionRefusedError, match="Connect call failed"):
            await loop.create_connection(asyncio.Protocol, "127.0.0.1", port)

    runner(main)


def test_a_peer_that_does_not_read_pauses_the_writer(runner: Runner) -> None:
    """Writing pauses at the high-water mark and resumes when the peer reads; nothing is lost."""

    async def main() -> None:
        client, server = Recorder(), Recorder()
        listener = await connected(client, server)
        server.transport.pause_reading()
        client.transport.write(bytes(16 * MEGABYTE))
        assert client.events == ["made", "pause"]
        assert client.transport.get_write_buffer_size() > 65_536
        server.transport.resume_reading()
        await server.until(lambda: len(server.received) == 16 * MEGABYTE)
        await client.until_noted("resume")
        client.transport.close()
        await server.until_noted("lost NoneType")
        listener.close()
        assert client.events == ["made", "pause", "resume", "lost NoneType"]

    runner(main)


def test_close_waits_for_a_peer_that_does_not_read(runner: Runner) -> None:
    """A close with a full buffer is not over until the peer reads, or until abort."""

    async def main() -> None:
        client, server = Recorder(), Recorder()
        listener = await connected(client, server)
        server.transport.pause_reading()
        client.transport.write(bytes(16 * MEGABYTE))
        client.transport.close()
        await asyncio.sleep(0.2)
        assert client.events == ["made", "pause"]
        client.transport.abort()
        await client.until_noted("lost NoneType")
        server.transport.abort()
        await server.until_noted("lost NoneType")
        listener.close()

    runner(main)


def test_pausing_inside_data_received_takes_effect_at_once(runner: Runner) -> None:
    """No more data comes after pause_reading, and none is lost by it."""

    async def main() -> None:
        server = Recorder(on_data=lambda recorder, _: recorder.transport.pause_reading())
        client = Recorder()
        listener = await connected(client, server)
        client.transport.write(b"first")
        await server.until(lambda: server.received == b"first")
        client.transport.write(b"second")
        await asyncio.sleep(0.1)
        assert server.received == b"first"
        server.transport.resume_reading()
        await server.until(lambda: server.received == b"firstsecond")
        server.transport.abort()
        await client.until_noted("lost NoneType")
        listener.close()

    runner(main)


def test_a_buffered_protocol_is_filled_piece_by_piece(runner: Runner) -> None:
    """Data goes into the buffer that the protocol offers, and waits while it has paused."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        server, client = BufferedRecorder(), Recorder()
        listener = await loop.create_server(lambda: server, "127.0.0.1", 0)
        port = listener.sockets[0].getsockname()[1]
        await loop.create_connection(lambda: client, "127.0.0.1", port)
        client.transport.write(b"0123456789")
        for count in (1, 2, 3):
            await server.changed.wait()
            server.changed.clear()
            await asyncio.sleep(0.05)
            assert len(server.pieces) == count
            server.transport.resume_reading()
        assert server.pieces == [b"0123", b"4567", b"89"]
        client.transport.close()
        await client.until_noted("lost NoneType")
        listener.close()
        await asyncio.sleep(0.05)

    runner(main)


def test_the_end_of_a_stream_comes_behind_what_was_buffered(runner: Runner) -> None:
    """After write_eof the write buffer is still sent, and then the end."""

    async def main() -> None:
        client, server = Recorder(), Recorder()
        listener = await connected(client, server)
        server.transport.pause_reading()
        client.transport.write(bytes(16 * MEGABYTE))
        client.transport.write_eof()
        server.transport.resume_reading()
        await server.until_noted("lost NoneType")
        await client.until_noted("lost NoneType")
        listener.close()
        assert len(server.received) == 16 * MEGABYTE
        assert server.events == ["made", "data", "eof", "lost NoneType"]

    runner(main)


def test_writing_finds_out_about_a_reset_while_reading_is_paused(runner: Runner) -> None:
    """An end that has paused reading learns of the peer's reset when it writes."""

    async def main() -> None:
        client, server = Recorder(), Recorder()
        listener = await connected(client, server)
        server.transport.pause_reading()
        client.transport.pause_reading()
        server.transport.write(b"unread, so that the close is a reset")
        await asyncio.sleep(0.1)
        client.transport.close()
        await asyncio.sleep(0.1)
        assert server.events == ["made"]
        server.transport.write(b"anybody there?")
        await server.until(lambda: server.events[-1].startswith("lost"))
        listener.close()
        assert server.events[-1] in ("lost ConnectionResetError", "lost BrokenPipeError")

    runner(main)


def test_an_exception_in_data_received_loses_the_connection(runner: Runner) -> None:
    """A protocol that fails is reported to the loop and loses its connection."""

    async def main() -> None:
        def fail(_: Recorder, __: bytes) -> None:
            raise LookupError("mine")

        reported: list[BaseException] = []
        asyncio.get_running_loop().set_exception_handler(
            lambda _, context: reported.append(context["exception"])
        )
        client, server = Recorder(), Recorder(on_data=fail)
        listener = await connected(client, server)
        client.transport.write(b"x")
        await server.until_noted("lost LookupError")
        await client.until_noted("lost NoneType")
        listener.close()
        assert [str(exc) for exc in reported] == ["mine"]

    runner(main)


def test_addresses_are_known_on_both_ends(runner: Runner) -> None:
    """What one end calls its own name the other calls its peer's."""

    async def main() -> None:
        client, server = Recorder(), Recorder()
        listener = await connected(client, server)
        ends = [
            (end.transport.get_extra_info("sockname"), end.transport.get_extra_info("peername"))
            for end in (client, server)
        ]
        assert ends[0] == (ends[1][1], ends[1][0])
        assert ends[1][0] == listener.sockets[0].getsockname()
        client.transport.close()
        await server.until_noted("lost NoneType")
        listener.close()
        assert listener.sockets == ()

    runner(main)
