"""The life of the push channel: each row of the table at the top of link.py, and its rules."""

import logging
import math
from bisect import bisect_left
from random import Random

import pytest

from tests.promises import e3_dials
from vtrans_hybrid.errors import (
    AuthError,
    ConnectFailed,
    ConnectionLost,
    InvalidRequest,
    JobNotFound,
    ProtocolError,
    QuotaExceeded,
    RateLimited,
    RequestTimeout,
    Unavailable,
    Unsupported,
    VtransError,
)
from vtrans_hybrid.link import Dial, Hangup, Link, Phase, comes_back
from vtrans_hybrid.messages import Drain, Welcome
from vtrans_hybrid.policy import Backoff

WELCOME = Welcome(epoch="E1", ping=5.0, grace=5.0, spread=0.25)
CUT = ConnectionLost("cut", code=1006)


def make(rand: float = 0.5) -> Link:
    """Make a link whose random number is always the same."""
    return Link(lambda: rand, Backoff())


def dialing(now: float = 100.0, rand: float = 0.5) -> Link:
    """Make a link that dials its first connection."""
    link = make(rand)
    link.want(True, now)
    return link


def live(now: float = 100.0, rand: float = 0.5, welcome: Welcome = WELCOME) -> Link:
    """Make a link with a live and synced connection."""
    link = dialing(now, rand)
    assert link.opened(link.dials, welcome, now)
    link.synced(now)
    link.actions.clear()
    return link


def off(now: float = 100.0) -> Link:
    """Make a link that was refused for good."""
    link = dialing(now)
    link.lost(1, Unsupported("no channel", status=404), now)
    link.actions.clear()
    return link


# The phases.


def test_idle_dials_for_a_job() -> None:
    """IDLE, a job to follow: DIALING."""
    link = make()
    assert (link.phase, link.deadline()) == (Phase.IDLE, math.inf)

    link.want(True, 100.0)

    assert link.phase is Phase.DIALING
    assert link.actions == [Dial(1)]
    assert link.deadline() == 110.0


def test_dialing_is_live_by_the_welcome() -> None:
    """DIALING, welcome: LIVE, and silence counts from here on."""
    link = dialing(100.0)

    assert link.opened(1, WELCOME, 101.0)

    assert link.phase is Phase.LIVE
    assert link.covers(1)
    assert link.deadline() == 111.0


def test_a_welcome_counts_once() -> None:
    """A second welcome, or that of another connection, changes nothing."""
    link = live()

    assert not link.opened(1, WELCOME, 101.0)
    assert not link.opened(7, WELCOME, 101.0)


def test_dialing_has_ten_seconds() -> None:
    """DIALING, no welcome within 10 s: BACKOFF."""
    link = dialing(100.0)

    assert link.advance(109.9) == []
    [ended] = link.advance(110.0)

    assert not ended.is_live
    assert link.phase is Phase.BACKOFF
    assert link.actions[1:] == [Hangup(1, 4002, "no welcome within 10 s")]


def test_dialing_that_fails_backs_off() -> None:
    """DIALING, lost: BACKOFF, and at its time DIALING again."""
    link = dialing(100.0)

    link.lost(1, ConnectFailed("no"), 100.5)

    assert link.phase is Phase.BACKOFF
    assert link.retry_at == 100.5 + 0.5 * 1.0  # spread over a second until the server has spoken
    link.advance(link.retry_at)
    assert link.phase is Phase.DIALING
    assert link.actions == [Dial(1), Dial(2)]


@pytest.mark.parametrize(
    "error",
    [
        AuthError("key", status=401),
        AuthError("key", status=403),
        Unsupported("none", status=404),
        InvalidRequest("426", status=426),
        QuotaExceeded("none", status=402),
        JobNotFound("none", status=404),
        ProtocolError("HTML"),
    ],
)
def test_dialing_refused_for_good_is_off(error: VtransError) -> None:
    """DIALING, refused for good: OFF, and a probe after five minutes."""
    link = dialing(100.0)

    link.lost(1, error, 101.0)

    assert link.phase is Phase.OFF
    assert link.last_error is error
    assert link.deadline() == 401.0
    link.advance(400.9)
    assert link.phase is Phase.OFF
    link.advance(401.0)
    assert link.phase is Phase.DIALING


@pytest.mark.parametrize(
    "code", [None, 1000, 1001, 1005, 1006, 1008, 1011, 1012, 1013, 1014, 3000, 4000, 4008, 4499]
)
def test_live_lost_comes_back(code: int | None) -> None:
    """LIVE, lost with a code that comes back: BACKOFF; 1000 is no exception."""
    link = live()

    ended = link.lost(1, ConnectionLost("bye", code=code), 101.0)

    assert ended is not None
    assert ended.is_live
    assert link.phase is Phase.BACKOFF
    assert not link.covers(1)
    assert link.drops == 1


@pytest.mark.parametrize("code", [1002, 1003, 1007, 1010, 4500, 4501, 4505, 4999])
def test_live_lost_switches_off(code: int) -> None:
    """LIVE, lost with a code that switches off: OFF."""
    link = live()

    link.lost(1, ConnectionLost("bye", code=code), 101.0)

    assert link.phase is Phase.OFF


def test_live_dies_of_silence() -> None:
    """LIVE, nothing received for ping + grace: BACKOFF."""
    link = live(100.0)
    connection = link.find(1)
    assert connection is not None
    connection.heard_at = 103.0

    assert link.advance(112.9) == []
    assert link.advance(113.0) == [connection]

    assert link.phase is Phase.BACKOFF
    assert link.actions == [Hangup(1, 4002, "nothing received for 10.0 s")]


def test_live_dies_without_progress() -> None:
    """LIVE, no progress of a sync for 10 s: BACKOFF, though the server lives."""
    link = live(100.0)
    connection = link.find(1)
    assert connection is not None
    link.expect_sync(1, 101.0)
    connection.heard_at = 110.0

    [ended] = link.advance(111.0)

    assert ended is connection
    assert link.phase is Phase.BACKOFF


def test_progress_lifts_the_deadline() -> None:
    """A server that has answered everything owes nothing but signs of life."""
    link = live(100.0)
    link.expect_sync(1, 101.0)
    link.expect_sync(1, None)

    assert link.deadline() == 110.0


def test_live_with_nonsense_is_off() -> None:
    """LIVE, three frames that make no sense: OFF; fewer are an accident, and a sign of life."""
    link = live(100.0)
    error = ProtocolError("nonsense")

    assert link.nonsense(1, error, 101.0) is None
    assert link.nonsense(1, error, 102.0) is None
    assert link.deadline() == 112.0
    assert link.nonsense(9, error, 102.0) is None
    assert link.nonsense(1, error, 103.0) is not None

    assert link.phase is Phase.OFF
    assert link.actions == [Hangup(1, 4500, "nonsense")]


def test_no_job_ends_a_live_connection() -> None:
    """LIVE, no job to follow: IDLE; and so does a DIALING one."""
    for link in (live(), dialing()):
        link.actions.clear()

        link.want(False, 101.0)

        assert link.phase is Phase.IDLE
        assert link.actions == [Hangup(1, 1000, "no job is watched any more")]
        assert link.deadline() == math.inf


def test_a_delay_outlives_the_interest() -> None:
    """BACKOFF, no job to follow: the same, so that coming and going does not undercut a delay."""
    link = dialing(100.0)
    link.lost(1, Unavailable("full", status=503, retry_after=20.0), 100.0)
    link.want(False, 101.0)
    assert (link.phase, link.deadline()) == (Phase.BACKOFF, math.inf)

    link.want(True, 102.0)

    assert link.actions == [Dial(1)]
    assert link.deadline() == 120.0


def test_a_delay_that_is_over_does_not_wait() -> None:
    """BACKOFF or OFF whose time passed without a job: a new job dials at once."""
    for link, later in ((dialing(100.0), 200.0), (off(100.0), 500.0)):
        link.lost(1, CUT, 100.0)
        link.want(False, 101.0)
        link.actions.clear()

        link.want(True, later)

        assert link.actions == [Dial(2)]
        assert link.deadline() > later


def test_a_backend_without_a_channel_never_dials() -> None:
    """A link that is not enabled stays idle."""
    link = Link(lambda: 0.5, Backoff(), enabled=False)

    link.want(True, 100.0)

    assert (link.phase, link.actions) == (Phase.IDLE, [])


def test_close_hangs_up_for_good() -> None:
    """After close nothing is open, and no job opens anything."""
    link = live()

    link.close()
    link.want(True, 101.0)

    assert link.actions == [Hangup(1, 1000, "the client is closed")]
    assert link.deadline() == math.inf


def test_dead_generations_change_nothing() -> None:
    """What arrives from a connection that is gone counts no more."""
    link = live()
    link.lost(1, CUT, 101.0)
    link.advance(link.retry_at)
    before = (link.phase, link.attempt, link.drops)

    assert link.lost(1, CUT, 102.0) is None
    assert link.drop(1, 4000, CUT, 102.0) is None
    link.drain(1, Drain(), 102.0)

    assert (link.phase, link.attempt, link.drops) == before
    assert link.renew_at == math.inf


# Delays.


def test_delays_grow() -> None:
    """Failures in a row: first a share of the spread, then backoff, 5 s at most in a minute."""
    link = dialing(100.0, rand=1.0)
    link.announced(0.25)
    now, delays = 100.0, []
    for _ in range(7):
        link.lost(link.dials, ConnectFailed("no"), now)
        delays.append(link.retry_at - now)
        now = link.retry_at
        link.advance(now)

    assert delays == pytest.approx([0.25, 0.5, 1.0, 2.0, 4.0, 5.0, 5.0])


def test_after_a_minute_delays_grow_on() -> None:
    """An outage longer than a minute is not a short one: the cap is that of the policy."""
    link = dialing(100.0, rand=1.0)
    for _ in range(8):
        link.lost(link.dials, ConnectFailed("no"), 100.0)
        link.attempt += 1
        link.advance(link.retry_at)

    link.lost(link.dials, ConnectFailed("no"), 200.0)

    assert link.retry_at == 230.0


@pytest.mark.parametrize("down_for", [0.0, 2.0, 7.0, 20.0])
def test_a_crowd_stays_spread(down_for: float) -> None:
    """However long the server is away, 10,000 clients dial 2,500 times a second at most."""
    random = Random(1)
    dials: list[float] = []
    for _ in range(10_000):
        link = live(100.0, welcome=Welcome(epoch="E1", spread=5.0))
        link.rand = random.random
        link.lost(1, CUT, 110.0)
        while (now := link.retry_at) < 110.0 + down_for:
            dials.append(now)
            link.advance(now)
            link.lost(link.dials, ConnectFailed("no"), now)
        dials.append(now)
    dials.sort()
    fullest = max(bisect_left(dials, at + 1) - number for number, at in enumerate(dials))
    assert 1_900 <= fullest <= 2_500


def test_the_first_return_is_spread() -> None:
    """The first return after a loss is drawn from what the server announced last."""
    link = live(100.0, rand=0.5, welcome=Welcome(epoch="E1", spread=8.0))
    link.lost(1, CUT, 110.0)
    assert link.retry_at == 114.0

    link = live(100.0)
    link.announced(20.0)
    link.lost(1, CUT, 110.0)
    assert link.retry_at == 120.0


@pytest.mark.parametrize(("after", "attempt"), [(0.0, 3), (4.9, 3), (5.0, 1), (1000.0, 1)])
def test_failures_are_forgotten_late(after: float, attempt: int) -> None:
    """Only five seconds live and synced make earlier failures forgotten."""
    link = dialing(100.0)
    for _ in range(2):
        link.lost(link.dials, ConnectFailed("no"), 100.0)
        link.advance(link.retry_at)
    link.opened(link.dials, WELCOME, 110.0)
    link.synced(110.0)

    link.lost(link.dials, CUT, 110.0 + after)

    assert link.attempt == attempt


def test_live_alone_does_not_forget() -> None:
    """A connection that is live but never synced proves nothing."""
    link = dialing(100.0)
    link.lost(1, ConnectFailed("no"), 100.0)
    link.advance(link.retry_at)
    link.opened(2, WELCOME, 110.0)

    link.lost(2, CUT, 500.0)

    assert link.attempt == 2


def test_a_good_connection_is_remembered_when_it_is_not_needed() -> None:
    """Failures are forgotten, too, if we hang up ourselves after a good time."""
    link = dialing(100.0)
    link.lost(1, ConnectFailed("no"), 100.0)
    link.advance(link.retry_at)
    link.opened(2, WELCOME, 110.0)
    link.synced(110.0)

    link.want(False, 200.0)

    assert link.attempt == 0


@pytest.mark.parametrize(
    "error",
    [
        Unavailable("full", status=503, retry_after=30.0),
        RateLimited("many", status=429, retry_after=30.0),
        AuthError("key", status=403, retry_after=400.0),
    ],
)
def test_retry_after_is_a_lower_bound(error: Unavailable | RateLimited | AuthError) -> None:
    """A refused upgrade with Retry-After is not tried again sooner, even when it is off."""
    link = dialing(100.0)
    assert error.retry_after is not None

    link.lost(1, error, 101.0)

    assert link.deadline() >= 101.0 + error.retry_after


def test_a_hold_on_a_living_channel_counts_later() -> None:
    """A delay that the server asks for on the channel is kept when the channel is lost."""
    link = live(100.0)
    link.hold(130.0)

    link.lost(1, CUT, 101.0)
    assert link.deadline() == 130.0

    link.hold(150.0)
    link.advance(130.0)
    assert link.actions == []
    assert link.deadline() == 150.0


@pytest.mark.parametrize("lifetime", [0.0, 0.5, 6.0])
def test_ten_dials_a_minute(lifetime: float) -> None:
    """A server that accepts and closes gets ten dials a minute, however it goes about it."""
    link = dialing(100.0, rand=0.0)
    now, dials = 100.0, [100.0]
    while now < 700.0:
        link.opened(link.dials, WELCOME, now)
        link.synced(now)
        now += lifetime
        link.lost(link.dials, CUT, now)
        while link.phase is Phase.BACKOFF:
            assert link.deadline() > now or link.retry_at == now
            now = max(now, link.deadline())
            link.advance(now)
        dials.append(now)

    e3_dials(dials)
    assert len(dials) > 40, "it dials again and again, or nothing is shown"


def test_too_big_frames_shrink() -> None:
    """1009 halves the batches, down to one job."""
    link = live()
    for expected in (500, 250):
        link.lost(link.dials, ConnectionLost("big", code=1009), 101.0)
        assert link.phase is Phase.BACKOFF
        assert link.batch_limit == expected
        link.advance(link.retry_at)
    for _ in range(20):
        link.lost(link.dials, ConnectionLost("big", code=1009), 101.0)
        link.want(False, 101.0)
        link.primary = None
        link.want(True, 9999.0)
    assert link.batch_limit == 1


# What the server announces is believed within bounds.


@pytest.mark.parametrize(
    ("ping", "grace", "patience"),
    [(5.0, 5.0, 10.0), (1.0, 2.0, 3.0), (0.0, 0.0, 10.0), (-5.0, 1.0, 10.0), (1e300, 5.0, 10.0)],
)
def test_nonsense_heartbeats_get_the_default(ping: float, grace: float, patience: float) -> None:
    """A heartbeat that makes no sense must neither kill the channel nor hide its death."""
    link = live(100.0, welcome=Welcome(epoch="E1", ping=ping, grace=grace))

    assert link.deadline() == 100.0 + patience


@pytest.mark.parametrize(
    ("announced", "spread"), [(0.0, 0.25), (-1.0, 0.25), (5.0, 5.0), (1e300, 30.0)]
)
def test_spreads_are_bounded(announced: float, spread: float) -> None:
    """A spread that makes no sense must not keep us away for ever."""
    link = live(100.0, rand=1.0, welcome=Welcome(epoch="E1", spread=announced))

    link.lost(1, CUT, 101.0)

    assert link.retry_at == 101.0 + spread


@pytest.mark.parametrize(
    ("message", "renew_at"),
    [
        (Drain(spread=10.0, deadline=60.0), 105.0),
        (Drain(spread=100.0, deadline=60.0), 115.0),
        (Drain(spread=100.0, deadline=4.0), 102.0),
        (Drain(spread=-1.0, deadline=60.0), 100.0),
        (Drain(spread=10.0, deadline=-60.0), 100.0),
    ],
)
def test_drains_are_bounded(message: Drain, renew_at: float) -> None:
    """A drain moves us within its spread, its deadline and reason."""
    link = live(100.0)

    link.drain(1, message, 100.0)

    assert link.renew_at == renew_at


# Drain: make before break.


def draining(now: float = 100.0) -> Link:
    """Make a link whose second connection is dialed while the first one leaves."""
    link = live(now)
    link.drain(1, Drain(spread=2.0, deadline=20.0), now)
    assert link.advance(now + 1.0) == []
    link.actions.clear()
    return link


def test_drain_keeps_the_old_connection() -> None:
    """LIVE, drain: after a delay a second connection is dialed, and the first stays in use."""
    link = live(100.0)
    link.drain(1, Drain(spread=2.0, deadline=20.0), 100.0)
    assert link.phase is Phase.LIVE

    link.advance(101.0)

    assert link.actions == [Dial(2)]
    assert link.phase is Phase.DIALING
    assert link.covers(1)
    assert not link.covers(2)


def test_the_successor_replaces_when_it_is_synced() -> None:
    """Only when the successor has synced every job is the old connection hung up."""
    link = draining()
    link.opened(2, WELCOME, 101.5)
    assert link.covers(1)
    assert link.covers(2)

    leaving = link.synced(102.0)

    assert leaving is not None
    assert leaving.generation == 1
    assert link.actions == [Hangup(1, 1000, "replaced")]
    assert not link.covers(1)
    assert link.synced(103.0) is None


def test_a_second_drain_closes_the_older_first() -> None:
    """There are never three connections: the oldest goes when a third one is dialed."""
    link = draining()
    link.opened(2, WELCOME, 101.5)
    link.drain(2, Drain(spread=2.0, deadline=20.0), 101.5)

    [ended] = link.advance(102.5)

    assert ended.generation == 1
    assert link.actions == [Hangup(1, 1000, "replaced"), Dial(3)]
    assert link.covers(2)


def test_a_repeated_drain_does_not_postpone() -> None:
    """A server that repeats itself does not keep its client waiting."""
    link = live(100.0)
    for now in (100.0, 100.5, 100.9):
        link.drain(1, Drain(spread=2.0, deadline=20.0), now)

    assert link.renew_at == 101.0


def test_a_successor_that_fails_is_tried_again() -> None:
    """The successor fails: backoff, while the old connection goes on covering."""
    link = draining()

    ended = link.lost(2, ConnectFailed("no"), 101.5)

    assert ended is not None
    assert not ended.is_live
    assert link.covers(1)
    assert link.phase is Phase.BACKOFF
    link.advance(link.retry_at)
    assert link.actions == [Dial(3)]


def test_a_good_connection_is_remembered_when_it_leaves() -> None:
    """Failures before a connection that was good for long do not count for its successor."""
    link = dialing(100.0)
    for _ in range(4):
        link.lost(link.dials, ConnectFailed("no"), 100.0)
        link.advance(link.retry_at)
    link.opened(5, WELCOME, 120.0)
    link.synced(120.0)
    link.drain(5, Drain(spread=0.0), 129.0)
    link.advance(129.0)

    link.lost(6, ConnectFailed("no"), 129.0)

    assert link.attempt == 1


def test_the_server_may_close_the_old_one_first() -> None:
    """The old connection ends before its successor is there: that one goes on."""
    link = draining()

    ended = link.lost(1, ConnectionLost("restart", code=1012), 101.5)

    assert ended is not None
    assert ended.is_live
    assert link.phase is Phase.DIALING
    assert link.opened(2, WELCOME, 102.0)


def test_a_close_before_the_move_is_a_loss() -> None:
    """The connection ends before the successor was dialed: an ordinary loss."""
    link = live(100.0)
    link.drain(1, Drain(spread=20.0, deadline=60.0), 100.0)

    link.lost(1, ConnectionLost("restart", code=1012), 101.0)

    assert link.phase is Phase.BACKOFF
    assert link.renew_at == math.inf


def test_a_drained_connection_is_not_kept_for_ever() -> None:
    """A server that drains and never closes is left ten seconds after its deadline."""
    link = draining(100.0)
    connection = link.find(1)
    assert connection is not None
    connection.heard_at = 129.0
    link.lost(2, ConnectFailed("no"), 102.0)
    link.retry_at = math.inf

    assert link.advance(129.9) == []
    assert link.advance(130.0) == [connection]


def test_drain_without_a_dial_to_spend() -> None:
    """Where the budget is spent the old connection stays, and the dial waits."""
    link = live(100.0)
    link._dials.extend([95.0] * 10)
    link.drain(1, Drain(spread=0.0, deadline=20.0), 100.0)

    link.advance(100.0)

    assert link.actions == []
    assert link.covers(1)
    assert link.phase is Phase.BACKOFF
    assert link.retry_at == 155.0


def test_dying_of_both_at_once() -> None:
    """Both connections silent at once: both go, and one dial follows."""
    link = draining()
    link.opened(2, WELCOME, 101.5)
    for connection in (link.primary, link.leaving):
        assert connection is not None
        connection.heard_at = 102.0

    ended = link.advance(112.4)

    assert [connection.generation for connection in ended] == [1, 2]
    assert link.primary is None or link.primary.generation == 3


# Our own process stood still.


@pytest.mark.parametrize("late", [1.1, 30.0, 3600.0])
def test_a_stall_is_not_the_peers_fault(late: float) -> None:
    """A wake-up that comes late first lets the reader run: frames may wait in our own buffers."""
    link = live(100.0)

    assert link.advance(110.0 + late) == []
    assert link.deadline() == pytest.approx(111.0 + late)
    assert len(link.advance(111.0 + late)) == 1


def test_a_stall_while_dialing() -> None:
    """The same for a dial: its answer may be there already."""
    link = dialing(100.0)

    assert link.advance(150.0) == []
    assert link.opened(1, WELCOME, 150.2)


def test_a_stall_after_a_drain() -> None:
    """The same for a connection that should have been closed."""
    link = live(100.0)
    link.drain(1, Drain(spread=0.0, deadline=0.0), 100.0)
    connection = link.find(1)
    assert connection is not None
    link.renew_at = math.inf
    connection.heard_at = 149.0

    assert link.advance(150.0) == []
    assert connection.close_by == 151.0


@pytest.mark.parametrize(
    ("error", "is_back"),
    [
        (ConnectFailed("x"), True),
        (RequestTimeout("x"), True),
        (Unavailable("x"), True),
        (RateLimited("x"), True),
        (ConnectionLost("x", code=4029), True),
        (ConnectionLost("x", code=4500), False),
        (ProtocolError("x"), False),
        (AuthError("x"), False),
    ],
)
def test_which_errors_come_back(error: VtransError, is_back: bool) -> None:
    """What passes comes back by backoff; what does not is probed now and then."""
    assert comes_back(error) is is_back


# What is logged.


@pytest.mark.parametrize(
    ("is_live", "error", "how"),
    [
        (True, CUT, "lost"),
        (False, ConnectFailed("nobody"), "was not reached"),
        (False, Unavailable("full", status=503), "was refused"),
        (False, Unsupported("no channel", status=404), "was refused"),
    ],
)
def test_the_log_says_that_push_is_lost_and_that_it_is_back(
    is_live: bool, error: VtransError, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    """An end is told with its cause and the time of the next attempt, a return with how long."""
    caplog.set_level(logging.INFO)
    link = live() if is_live else dialing()
    link.lost(1, error, 101.0)
    wait = link.retry_at - 101.0
    link.advance(link.retry_at)
    assert link.opened(2, WELCOME, 101.0 + wait + 1)

    said = [record.getMessage() for record in caplog.records]
    first = ["channel 1 is open"] if is_live else []
    lost = f"channel 1 {how}: {error}; the next attempt is in {wait:.2f} s"
    assert said == [*first, lost, f"channel 2 is open, after {wait + 1:.2f} s without push"]


def test_the_log_says_of_a_drain_that_push_stayed(caplog: pytest.LogCaptureFixture) -> None:
    """While the leaving connection serves, a successor that fails is no time without push."""
    caplog.set_level(logging.INFO)
    link = live()
    link.drain(1, Drain(spread=1.0, deadline=20.0), 101.0)
    link.advance(101.5)
    link.lost(2, CUT, 102.0)
    link.advance(link.retry_at)
    assert link.opened(3, WELCOME, 104.0)

    assert caplog.messages[-1] == "channel 3 is open"


def test_the_log_says_of_a_drain_since_when_push_was_gone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Where the leaving connection goes first, push is away from then on."""
    caplog.set_level(logging.INFO)
    link = live()
    link.drain(1, Drain(spread=1.0, deadline=20.0), 101.0)
    link.advance(101.5)
    link.lost(1, CUT, 102.0)
    assert link.opened(2, WELCOME, 103.0)

    assert caplog.messages[1:] == [
        "channel 1 ended after its drain: cut",
        "channel 2 is open, after 1.00 s without push",
    ]
