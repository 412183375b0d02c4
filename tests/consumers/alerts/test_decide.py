"""Which alerts there are and which messages are due, over made-up readings and times."""

from __future__ import annotations

import itertools
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from consumers.alerts.budget import HOUR, MOST_QUEUED, MOST_WAITING, Refused, Taken, drop_channels, settle
from consumers.alerts.decide import (
    MOST_ALERTS,
    MOST_LISTED,
    OTHERS,
    Reading,
    Timing,
    drop_rules,
    evaluate,
    tell,
)
from consumers.alerts.rules import Rule
from consumers.alerts.state import AlertState, Example, Message

TIMING = Timing(group_wait=10, group_interval=300, per_hour=20)
START = 1_000_000.0


def rule(**given: Any) -> Rule:
    facts = {"name": "failed", "kind": "run_failed", "threshold": 1.0, "window": 300.0, "channels": ("ops",)}
    return Rule(**{**facts, **given})


class World:
    """One rule and a state, by a clock that the test moves."""

    def __init__(self, *rules: Rule, timing: Timing = TIMING) -> None:
        self.rules = rules or (rule(),)
        self.timing = timing
        self.state = AlertState()
        self.now = START
        self.ids = (f"alr_{number}" for number in itertools.count())
        self.silenced: set[tuple[str, ...]] = set()

    def look(self, after: float = 0.0, **fresh: int) -> list[Message]:
        """Let time pass, take readings in, and return the new messages."""
        self.now += after
        before = {message.id for message in self.state.outbox}
        readings = {key: Reading(number > 0, number, number) for key, number in fresh.items()}
        for one in self.rules:
            evaluate(self.state, one, readings, self.now)
        tell(self.state, self.rules, self.is_silenced, self.now, self.timing, self.ids.__next__)
        return [message for message in self.state.outbox if message.id not in before]

    def is_silenced(self, *alert: str) -> bool:
        return alert in self.silenced

    def deliver(self) -> list[Message]:
        """Have every channel take everything."""
        taken = list(self.state.outbox)
        for message in taken:
            for name in list(message.to):
                settle(self.state, message, name, Taken(), self.now, retry_for=3600)
        return taken


def test_an_alert_waits_for_others_of_its_rule_and_is_told_once() -> None:
    world = World()
    assert world.look(a=1) == []
    assert world.look(5, a=1, b=3) == []
    [message] = world.look(5, a=1, b=3)
    assert {alert.key: alert.total for alert in message.alerts} == {"a": 3, "b": 6}
    assert message.title == "2 alerts of failed"
    assert all(world.look(10, a=1) == [] for _ in range(20))


def test_ten_times_as_much_is_told_again_but_not_before_the_interval() -> None:
    world = World()
    world.look(a=1)
    assert world.look(10)  # what is over before it was told is told all the same
    assert world.look(60, a=3) == []
    assert world.look(60, a=500) == []
    [message] = world.look(300, a=1)
    assert [alert.total for alert in message.alerts] == [504]
    assert world.look(400, a=4000) == []
    assert world.look(10, a=1000) == []
    [message] = world.look(10)
    assert message.alerts[0].total == 5504


def test_what_lasts_is_told_again_after_a_while() -> None:
    world = World(rule(repeat=3600, kind="queue_age", resolved=True))
    world.look(a=1)
    assert len(world.look(10, a=1)) == 1
    times = [len(world.look(60, a=1)) for _ in range(130)]
    assert sum(times) == 2


def test_it_has_to_last_before_it_counts_and_before_it_is_over() -> None:
    world = World(rule(kind="queue_age", lasting=60, resolved=True))
    world.look(a=1)
    assert world.look(59, a=1) == []
    world.look(1)  # it wasn't so for a moment: from the beginning
    world.look(1, a=1)
    assert world.look(59, a=1) == []
    world.look(1, a=1)
    [message] = world.look(10, a=1)
    assert message.status == "firing"
    world.look(300)
    world.look(59)
    assert world.look(0.5, a=1) == []
    world.look(1)
    world.look(60)
    [message] = world.look(10)
    assert (message.status, message.alerts[0].key) == ("resolved", "a")
    assert world.state.alerts == []


def test_ends_are_told_where_the_rule_says_so_alone() -> None:
    world = World(rule(resolved=False))
    world.look(a=1)
    assert len(world.look(10, a=1)) == 1
    assert all(world.look(100) == [] for _ in range(10))
    assert world.state.alerts == []


def test_what_is_silenced_is_told_when_the_silence_ends() -> None:
    world = World()
    world.silenced = {("failed", "a")}
    world.look(a=1)
    assert world.look(10, a=1) == []
    world.silenced = set()
    world.look(10, a=1)
    assert len(world.look(10, a=1)) == 1


def test_a_message_names_some_and_counts_the_others() -> None:
    world = World()
    many = {f"task{number}": 1 for number in range(37)}
    world.look(**many)
    [message] = world.look(10, **many)
    assert (len(message.alerts), message.more) == (MOST_LISTED, 37 - MOST_LISTED)


def test_more_alerts_than_have_room_are_one() -> None:
    world = World()
    many = {f"task{number}": 1 for number in range(MOST_ALERTS + 50)}
    world.look(**many)
    world.look(**many)
    assert len(world.state.alerts) == MOST_ALERTS + 1
    others = world.state.alerts[-1]
    assert (others.key, others.total) == (OTHERS, 100)


def test_what_a_channel_may_not_have_is_counted_and_said_later() -> None:
    rules = tuple(rule(name=f"rule{number}") for number in range(30))
    world = World(*rules)
    world.look(a=1)
    messages = world.look(10, a=1)
    assert len(messages) == 20
    world.deliver()
    channel = world.state.channels["ops"]
    assert (channel.held, channel.held_back, channel.sent) == (10, 10, 20)
    assert all(world.look(300, a=1) == [] for _ in range(11))
    [digest] = world.look(400, a=1)
    assert (digest.status, digest.to["ops"].held, len(digest.alerts), digest.more) == (
        "held_back",
        10,
        10,
        20,
    )
    assert channel.held == 0


def test_a_channel_that_takes_nothing_keeps_its_queue_short_and_the_others_go_on() -> None:
    rules = tuple(rule(name=f"rule{number}", channels=("ops", "night")) for number in range(50))
    world = World(*rules, timing=Timing(10, 300, 1000))
    world.look(a=1)
    for _ in range(20):
        world.look(10, a=1)
        for message in list(world.state.outbox):
            settle(world.state, message, "night", Taken(), world.now, retry_for=3600)
    assert sum("ops" in message.to for message in world.state.outbox) == MOST_QUEUED
    assert world.state.channels["ops"].held_back == 30
    assert len(world.state.outbox) <= MOST_WAITING


def test_a_message_is_tried_again_ever_more_slowly_and_then_given_up() -> None:
    world = World()
    world.look(a=1)
    [message] = world.look(10, a=1)
    pauses, tries = [], 0
    while "ops" in message.to:
        due = message.to["ops"].due
        pauses.append(due - world.now)
        world.now = max(world.now, due)
        settle(world.state, message, "ops", Refused("no"), world.now, retry_for=7200)
        tries += 1
    assert pauses[:4] == [0.0, 5.0, 10.0, 20.0]
    assert max(pauses) == 900
    channel = world.state.channels["ops"]
    assert (channel.failed, channel.held, channel.failures, world.state.outbox) == (1, 1, tries, [])
    assert world.state.sent[-1].outcome == "failed"


def test_retry_after_is_kept_and_what_never_works_is_given_up_at_once() -> None:
    world = World()
    world.look(a=1)
    [message] = world.look(10, a=1)
    settle(world.state, message, "ops", Refused("slow down", after=120), world.now, retry_for=7200)
    assert message.to["ops"].due == world.now + 120
    settle(world.state, message, "ops", Refused("gone", again=False), world.now, retry_for=7200)
    assert world.state.channels["ops"].failed == 1
    settle(world.state, message, "ops", Taken(), world.now, retry_for=7200)  # nobody asks any more
    assert world.state.channels["ops"].sent == 0


def test_a_dead_channel_is_not_told_of_its_own_losses_over_and_over() -> None:
    world = World()
    world.look(a=1)
    world.look(10, a=1)
    tries = 0
    for _ in range(12 * 60):
        for message in list(world.state.outbox):
            settle(world.state, message, "ops", Refused("no_service", again=False), world.now, retry_for=60)
            tries += 1
        world.look(60)
    assert tries <= 13


def test_rules_and_channels_that_are_gone_leave_nothing_behind() -> None:
    world = World()
    world.look(a=1)
    world.look(10, a=1)
    drop_rules(world.state, ())
    drop_channels(world.state, ())
    assert (world.state.alerts, world.state.rules, world.state.channels, world.state.outbox) == (
        [],
        {},
        {},
        [],
    )


STEPS = st.lists(
    st.tuples(
        st.floats(0, 5000),
        st.dictionaries(st.sampled_from("abcdefgh"), st.integers(0, 10_000), max_size=8),
        st.booleans(),
    ),
    max_size=60,
)


@given(STEPS)
def test_however_much_happens_channels_get_no_more_than_they_may(steps: list[Any]) -> None:
    rules = (rule(), rule(name="old", kind="queue_age", lasting=60, resolved=True, repeat=60))
    world = World(*rules, timing=Timing(5, 1, 7))
    given_at: list[float] = []
    for after, fresh, works in steps:
        given_at += [world.now] * len(world.look(after, **fresh))
        if works:
            world.deliver()
        assert len(world.state.outbox) <= MOST_WAITING
        assert len(world.state.sent) <= 60
    for at in given_at:
        assert sum(at - HOUR < other <= at for other in given_at) <= 7 + 1  # the same moment counts once


@given(STEPS, st.integers(0, 59))
def test_a_state_that_was_written_and_read_goes_on_as_if_it_had_not_been(steps: list[Any], cut: int) -> None:
    rules = (rule(), rule(name="old", kind="queue_age", lasting=60, resolved=True, repeat=60))
    worlds = World(*rules), World(*rules)
    for number, (after, fresh, works) in enumerate(steps):
        if number == cut:
            worlds[1].state = AlertState.unpack(worlds[1].state.pack())
        told = [world.look(after, **fresh) for world in worlds]
        assert told[0] == told[1]
        if works:
            for world in worlds:
                world.deliver()
    assert worlds[0].state == worlds[1].state


@given(STEPS)
def test_every_alert_is_told_or_silenced_or_still_waits(steps: list[Any]) -> None:
    """With room enough nothing that began is dropped before it was told."""
    world = World(timing=Timing(10, 20, 1000))
    begun: set[str] = set()
    told: set[str] = set()
    for after, fresh, _ in steps:
        for message in world.look(after, **fresh):
            told |= {alert.key for alert in message.alerts}
        begun |= {key for key, number in fresh.items() if number}
        world.deliver()
    for _ in range(3):
        for message in world.look(30):
            told |= {alert.key for alert in message.alerts}
        world.deliver()
    assert begun <= told


@given(st.floats(-1e6, 1e6))
def test_a_state_moves_in_time_as_a_whole(seconds: float) -> None:
    world, moved = World(), World()
    for one in (world, moved):
        one.look(a=1)
        one.look(5, a=1, b=1)
    moved.state.shift(seconds)
    moved.now += seconds
    first, second = world.look(6, a=1), moved.look(6, a=1)
    assert [alert.key for message in first for alert in message.alerts] == [
        alert.key for message in second for alert in message.alerts
    ]


def test_a_state_that_is_too_large_lets_examples_go_first() -> None:
    world = World(*(rule(name=f"rule{number}", channels=("ops", "night")) for number in range(60)))
    example = Example("x" * 100, "\N{SNOWMAN}" * 240, "/" * 200)
    for one in world.rules:
        readings = {
            f"{'k' * 200}{number}": Reading(value=1, breached=True, fresh=1, examples=(example,) * 3)
            for number in range(20)
        }
        evaluate(world.state, one, readings, world.now)
    world.look(10, a=1)
    assert len(world.state.pack()) <= 900_000
