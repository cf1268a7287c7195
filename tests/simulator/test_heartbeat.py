"""Heartbeats: pure, so no loop and no socket."""

from simulator.heartbeat import Heartbeat


def beats(heartbeat: Heartbeat, until: float) -> list[tuple[float, str]]:
    """Let the time go on and return what was done when."""
    done: list[tuple[float, str]] = []
    while heartbeat.next_at <= until:
        now = heartbeat.next_at
        action = heartbeat.beat(now)
        if action:
            done.append((now, action))
        if action == "dead":
            break
    return done


def test_first_ping_comes_at_its_phase() -> None:
    """Of clients that came together each gets its first ping at another time."""
    assert beats(Heartbeat(5.0, 5.0, now=100.0, phase=0.3), 102.0) == [(101.5, "ping")]


def test_silent_peer_is_dead_after_ping_and_grace() -> None:
    """A peer that never answers is given up `grace` after the ping, and a second look."""
    assert beats(Heartbeat(5.0, 4.0, now=0.0, phase=1.0), 60.0) == [(5.0, "ping"), (9.25, "dead")]


def test_short_grace_has_a_short_second_look() -> None:
    """The second look never takes longer than the grace itself."""
    assert beats(Heartbeat(0.1, 0.1, now=0.0, phase=1.0), 9.0)[-1] == (0.1 + 0.1 + 0.1, "dead")


def test_peer_that_answers_is_pinged_on() -> None:
    """Answered pings follow each other at the interval."""
    heartbeat = Heartbeat(5.0, 5.0, now=0.0, phase=1.0)
    for expected in (5.0, 10.0, 15.0):
        assert beats(heartbeat, expected) == [(expected, "ping")]
        heartbeat.heard(expected)


def test_what_is_sent_stands_for_a_ping() -> None:
    """While both sides speak nobody pings; silence is never longer than the interval."""
    heartbeat = Heartbeat(5.0, 5.0, now=0.0, phase=0.0)
    assert beats(heartbeat, 0.0) == [(0.0, "ping")]
    for second in range(1, 60):
        assert beats(heartbeat, float(second)) == []
        heartbeat.sent(float(second))
        heartbeat.heard(float(second))
    assert beats(heartbeat, 64.0) == [(64.0, "ping")]


def test_listener_is_asked_however_much_is_sent() -> None:
    """A peer that says nothing is pinged and given up although events are sent all the time."""
    heartbeat = Heartbeat(5.0, 5.0, now=0.0, phase=1.0)
    done = []
    for tenth in range(200):
        heartbeat.sent(tenth / 10)
        done += beats(heartbeat, tenth / 10)
        if done and done[-1][1] == "dead":
            break

    assert [action for _, action in done] == ["ping", "dead"]
    assert 5.0 <= done[0][0] <= 5.1
    assert 10.0 <= done[1][0] <= 10.5


def test_process_that_was_stopped_reads_before_it_judges() -> None:
    """After a long stop a late timer does not kill a peer whose answer lies unread."""
    heartbeat = Heartbeat(5.0, 5.0, now=0.0, phase=1.0)
    assert heartbeat.beat(5.0) == "ping"

    assert heartbeat.beat(35.0) is None
    heartbeat.heard(35.0)

    assert beats(heartbeat, 36.0) == [(35.25, "ping")]
