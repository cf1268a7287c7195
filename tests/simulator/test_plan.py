"""Fault plans: pure, so no loop and no socket."""

from typing import Any

import pytest

from simulator.faults import FAULTS, Close, DropEvent, HttpStatus, Lag, Mute, Restart, Stall
from simulator.keys import owner_of
from simulator.plan import Facts, FaultPlan, Injection, Strike
from simulator.rules import Match, Rule, parse_rule


def struck(plan: FaultPlan, times: int, **facts: Any) -> list[bool]:
    """Return whether each of so many equal requests is struck."""
    return [plan.decide("request", Facts(**facts), 0.0) is not None for _ in range(times)]


def test_empty_plan_strikes_nothing() -> None:
    """Without rules there are no faults, and nobody needs to ask."""
    plan = FaultPlan()

    assert not plan.asks("request")
    assert plan.decide("request", Facts(path="/status"), 0.0) is None


def test_rule_strikes_its_occasion_alone() -> None:
    """A fault of requests strikes requests, and nothing else."""
    plan = FaultPlan()
    plan.add(HttpStatus(status=429))

    assert plan.asks("request")
    assert not plan.asks("event")
    assert plan.decide("request", Facts(), 0.0) == HttpStatus(status=429)
    assert plan.decide("event", Facts(), 0.0) is None


@pytest.mark.parametrize(
    ("match", "facts", "fits"),
    [
        ({"path": "/status/*"}, {"path": "/status/job-1"}, True),
        ({"path": "/status/*"}, {"path": "/jobs"}, False),
        ({"path": "/status/*"}, {}, False),
        ({"job": "job-?"}, {"job": "job-1"}, True),
        ({"job": "job-?"}, {"job": "job-10"}, False),
        ({"connection": 2}, {"connection": 2}, True),
        ({"connection": 2}, {"connection": 1}, False),
        ({"direction": "out"}, {"direction": "out"}, True),
        ({"direction": "out"}, {"direction": "in"}, False),
        ({"path": "/status/*", "job": "a"}, {"path": "/status/a", "job": "b"}, False),
        ({}, {"path": "/status/a", "job": "b"}, True),
    ],
)
def test_match_says_whom(match: dict[str, Any], facts: dict[str, Any], fits: bool) -> None:
    """A rule strikes only what fits all that it asks for."""
    plan = FaultPlan()
    plan.add(HttpStatus(), match=match)

    assert struck(plan, 1, **facts) == [fits]


def test_count_limits_the_strikes() -> None:
    """A rule with a count is spent after so many."""
    plan = FaultPlan()
    number = plan.add(HttpStatus(), count=2)

    assert struck(plan, 4) == [True, True, False, False]
    assert plan.struck(number) == 2
    assert plan.struck(99) == 0


def test_nth_strikes_once_in_its_turn() -> None:
    """`nth` counts the occasions that fit the rest of the match."""
    plan = FaultPlan()
    plan.add(HttpStatus(), match=Match(path="/a", nth=2))

    assert struck(plan, 1, path="/b") == [False]
    assert struck(plan, 4, path="/a") == [False, True, False, False]


def test_probability_is_kept_and_repeatable() -> None:
    """About the given part is struck, the same part with the same seed, another with another."""
    runs = []
    for seed in (1, 1, 2):
        plan = FaultPlan(seed)
        plan.add(HttpStatus(), probability=0.3)
        runs.append(struck(plan, 1000))

    assert 250 < sum(runs[0]) < 350
    assert runs[0] == runs[1] != runs[2]


def test_rule_can_bring_its_own_seed() -> None:
    """With a seed of its own a rule strikes the same in every plan."""
    runs = []
    for seed in (1, 2):
        plan = FaultPlan(seed)
        plan.add(HttpStatus(), probability=0.5, seed="mine")
        runs.append(struck(plan, 100))

    assert runs[0] == runs[1]


def test_rule_holds_for_its_time() -> None:
    """`after` and `for_` bound the time in which a rule strikes."""
    plan = FaultPlan()
    plan.add(HttpStatus(), now=100.0, after=5.0, for_=10.0)

    times = (100.0, 104.9, 105.0, 114.9, 115.0)
    decided = [plan.decide("request", Facts(), now) is not None for now in times]

    assert decided == [False, False, True, True, False]
    assert [plan.next_change(now) for now in times] == [105.0, 105.0, 115.0, 115.0, None]


def test_rule_begins_when_the_plan_is_next_asked() -> None:
    """A rule that was added without a time counts from the first time the plan learns."""
    plan = FaultPlan()
    plan.add(HttpStatus(), after=5.0)

    assert plan.next_change(50.0) == 55.0
    assert plan.decide("request", Facts(), 54.0) is None
    assert plan.decide("request", Facts(), 55.0) is not None


def test_first_rule_that_strikes_wins() -> None:
    """Rules are asked in the order in which they were added."""
    plan = FaultPlan()
    plan.add(HttpStatus(status=500), count=1)
    plan.add(HttpStatus(status=503))

    decided = [plan.decide("request", Facts(), 0.0) for _ in range(2)]

    assert decided == [HttpStatus(status=500), HttpStatus(status=503)]


def test_channel_is_decided_once_and_stands() -> None:
    """What a rule decided for a connection stands, is logged once, and ends with the connection."""
    plan = FaultPlan(3)
    plan.add(Mute(), probability=0.5)

    first = [plan.standing("channel", Facts(connection=n), 0.0) for n in range(50)]
    again = [plan.standing("channel", Facts(connection=n), 1.0) for n in range(50)]

    assert first == again
    assert {(), (Strike(1, Mute(), None),)} == set(map(tuple, first))
    assert len(plan.log) == sum(map(len, first))


def test_connection_that_is_gone_is_forgotten() -> None:
    """A connection that comes under a number that was there before is decided anew."""
    plan = FaultPlan()
    plan.add(Mute(), count=1)
    assert plan.standing("channel", Facts(connection=1), 0.0)

    plan.forget("channel", 1)

    assert not plan.standing("channel", Facts(connection=1), 1.0)


def test_all_faults_of_a_connection_stand_together() -> None:
    """A connection can suffer several faults at once, each confined to the way of its rule."""
    plan = FaultPlan()
    plan.add(Lag(), match={"direction": "out"})
    plan.add(Stall(), match={"connection": 2})

    found = plan.standing("link", Facts(connection=2), 0.0)

    assert found == [Strike(1, Lag(), "out"), Strike(2, Stall(), None)]
    assert plan.standing("link", Facts(connection=3), 0.0) == found[:1]


def test_fault_that_could_do_nothing_is_spared() -> None:
    """An occasion that a fault could not change is neither counted nor logged."""
    plan = FaultPlan()
    number = plan.add(HttpStatus(), match={"nth": 2})

    for applies in (True, False, False, True):
        plan.decide("request", Facts(), 0.0, applies=lambda *_, does=applies: does)

    assert plan.struck(number) == len(plan.log) == 1


def test_key_is_kept_as_a_digest() -> None:
    """A rule for one key fits its owner, and shows the key nowhere."""
    plan = FaultPlan()
    number = plan.add(HttpStatus(), match={"key": "secret"})

    assert struck(plan, 1, key=owner_of("other")) == [False]
    assert struck(plan, 1, key=owner_of("secret")) == [True]
    assert "secret" not in f"{plan.rules[number]} {plan.log}"


def test_count_counts_connections() -> None:
    """A count of one strikes one connection, for as long as the rule holds."""
    plan = FaultPlan()
    plan.add(Close(), count=1)

    decided = [bool(plan.standing("channel", Facts(connection=n), 0.0)) for n in (1, 2, 1, 2)]

    assert decided == [True, False, True, False]


def test_server_is_struck_once() -> None:
    """A restart that was decided is not decided again, however often the plan is asked."""
    plan = FaultPlan()
    plan.add(Restart())

    decided = [plan.decide("server", Facts(), 0.0) for _ in range(3)]

    assert decided == [Restart(), None, None]


def test_healing_ends_everything_but_the_log() -> None:
    """After `heal` nothing is struck; what was shown stays in the log."""
    plan = FaultPlan()
    plan.add(HttpStatus(status=500))
    plan.decide("request", Facts(path="/a"), 7.0)

    plan.heal()

    assert struck(plan, 1) == [False]
    assert plan.rules == {}
    assert plan.log == [Injection(7.0, 1, "status", Facts(path="/a"))]


def test_one_rule_can_be_removed() -> None:
    """Removing a rule leaves the others; removing none says so."""
    plan = FaultPlan()
    first = plan.add(HttpStatus(status=500))
    second = plan.add(HttpStatus(status=503))

    assert plan.remove(first)
    assert not plan.remove(first)
    assert list(plan.rules) == [second]
    assert plan.decide("request", Facts(), 0.0) == HttpStatus(status=503)


def test_listeners_hear_of_changes() -> None:
    """Whoever listens is called when rules come or go, until it stops listening."""
    plan = FaultPlan()
    heard: list[int] = []
    stop = plan.on_change(lambda: heard.append(len(plan.rules)))

    number = plan.add(DropEvent())
    plan.remove(number)
    plan.add(DropEvent())
    plan.heal()
    stop()
    plan.add(DropEvent())

    assert heard == [1, 0, 1, 0]


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({}, "missing required field `fault`"),
        ({"fault": "flood"}, "There is no fault 'flood'; docs/faults.md lists all"),
        ({"fault": "mute", "probability": 2}, r"`float` <= 1.0 - at `\$.probability`"),
        ({"fault": "mute", "probability": float("nan")}, "probability"),
        ({"fault": "mute", "count": 0}, r"at `\$.count`"),
        ({"fault": "mute", "after": -1}, r"at `\$.after`"),
        ({"fault": "mute", "match": {"nth": 0}}, r"at `\$.match.nth`"),
        ({"fault": "mute", "match": {"who": "me"}}, "unknown field `who`"),
        ({"fault": "mute", "match": {"direction": "up"}}, "it takes 'in' or 'out'"),
        ([], "Expected `object`"),
    ],
)
def test_bad_rule_is_refused_with_the_place(document: object, message: str) -> None:
    """A rule that cannot be is refused with what is wrong, and where."""
    with pytest.raises(ValueError, match=message):
        Rule.from_dict(document)


def test_bad_option_is_refused_in_process() -> None:
    """In process the same checks hold as over the control API."""
    with pytest.raises(ValueError, match="probability"):
        FaultPlan().add(Mute(), probability=-0.1)
    with pytest.raises(ValueError, match="status"):
        FaultPlan().add(HttpStatus(status=99))


@pytest.mark.parametrize(
    "whole",
    [
        HttpStatus(status=429),
        Rule.of(HttpStatus(status=429)),
        "status:status=429",
        {"fault": "status", "parameters": {"status": 429}},
    ],
    ids=lambda whole: type(whole).__name__,
)
def test_rule_is_taken_however_it_is_written(whole: Any) -> None:
    """Whatever a rule is made of, the options beside it hold."""
    plan = FaultPlan()
    number = plan.add(whole, count=1, for_=60.0, match={"path": "/a"})

    assert plan.rules[number] == Rule(
        fault="status",
        parameters=Rule.of(whole).parameters,
        match=Match(path="/a"),
        count=1,
        for_=60.0,
    )
    assert plan.rules[number].build() == HttpStatus(status=429)


@pytest.mark.parametrize(
    "whole",
    [
        "mute:probability=0.5,for=9,job=a*,nth=2",
        {"fault": "mute", "probability": 0.5, "for_": 9, "match": {"job": "a*", "nth": 2}},
        {"fault": "mute", "probability": 0.5, "for": 9, "match": Match(job="a*", nth=2)},
        Rule(fault="mute", probability=0.5, for_=9.0, match=Match(job="a*", nth=2)),
    ],
    ids=["text", "dict", "dict with a match", "rule"],
)
def test_option_takes_the_place_of_what_a_rule_says(whole: Any) -> None:
    """An option beside a whole rule replaces its field, a match as a whole; the rest stays."""
    assert Rule.of(whole).to_dict() == {
        "fault": "mute",
        "match": {"job": "a*", "nth": 2},
        "probability": 0.5,
        "for": 9.0,
    }
    changed = Rule.of(whole, probability=1.0, for_=None, match=Match(path="/events"))
    assert changed == Rule(fault="mute", match=Match(path="/events"))


@pytest.mark.parametrize(
    ("whole", "options", "message"),
    [
        (HttpStatus, {}, r"HttpStatus is the class of a fault, write HttpStatus\(\)\."),
        (None, {}, "HttpStatus.*a Rule.*'status:status=503,count=1'.*a dict.*not of NoneType"),
        (["mute"], {}, "not of list"),
        (Mute(), {"cuont": 1}, "no option 'cuont' beside its fault; it has match, probability, "),
        ("mute", {"path": "/a"}, "no option 'path'"),
    ],
    ids=["class", "none", "list", "misspelt", "of the match"],
)
def test_what_makes_no_rule_is_a_type_error(
    whole: Any, options: dict[str, Any], message: str
) -> None:
    """What is no way to write a rule is refused with those that there are, and nothing is added."""
    plan = FaultPlan()
    with pytest.raises(TypeError, match=message):
        plan.add(whole, **options)
    assert plan.rules == {}


def test_one_field_by_two_names_is_refused() -> None:
    """A dict says `for`, or `for_` as in Python, but not both."""
    with pytest.raises(ValueError, match="unknown field `for_`"):
        Rule.from_dict({"fault": "mute", "for": 1, "for_": 2})


@pytest.mark.parametrize(
    "name", ["drop_evnt", "drop-event", "webhook", "restrat", "HttpStatus", "x"]
)
def test_few_names_are_offered_in_place_of_an_unknown_one(name: str) -> None:
    """Who has mistyped a fault is offered what is like it, and never the whole catalogue."""
    with pytest.raises(ValueError, match=f"no fault '{name}'; docs/faults.md lists all") as caught:
        parse_rule(name)
    assert sum(known in str(caught.value).split() for known in FAULTS) <= 5
    near = {"drop_evnt": "drop_event", "drop-event": "drop_event", "restrat": "restart"}
    assert near.get(name, "") in str(caught.value)


@pytest.mark.parametrize("whole", ["mute", Mute(), {"fault": "mute", "match": {}}])
def test_rule_about_everybody_matches_nobody_by_name(whole: Any) -> None:
    """However it was written, the dict of a rule leaves out what it leaves open."""
    assert Rule.of(whole).to_dict().keys() <= {"fault", "parameters"}


def test_rule_survives_its_dict() -> None:
    """A rule can be written as a dict, without what it leaves open, and be made of it again."""
    rule = Rule.of(Close(code=4001), match=Match(job="a*"), count=3, for_=2.0)

    assert rule.to_dict() == {
        "fault": "close",
        "parameters": {"code": 4001, "reason": "", "age": 0.0},
        "match": {"job": "a*"},
        "count": 3,
        "for": 2.0,
    }
    assert Rule.from_dict(rule.to_dict()) == rule
