"""The flaws of simpler waits, news and children: each is planted, and the checker finds it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.model import durable_flaws, flaws, parts
from tests.model.durable import (
    BOOM,
    FAMILIES,
    GO,
    JOINS,
    NEVER,
    PAIRS,
    WAITS,
    Do,
    Together,
    combine,
    item,
    join,
    signal,
    sleep,
    world,
)
from tests.model.exploring import explore_all, name
from tests.model.plants import Plant, unexplored
from tests.model.scenarios import Scenario
from tidemill.kernel.protocol import attempt, mailman
from tidemill.kernel.protocol.conclusions import Policy

UNCARRIED, STILL = "nothing carries the run", "stands still"
SIGNAL = combine("signal")
TWO_SIGNALS = world("two signals", signal("go"), signal("on"), signals=(GO, item("on")))
JOIN = world("a join of one", join("all", 1), terse=True)
JOIN_AND_CRASH = world("a join of one, crash", join("all", 1), crash=1, terse=True)
ANY = world("one of two", join("any", 2, 1), terse=True, workers=2)
HOPELESS: dict[str, Any] = {"child": (NEVER,), "signals": ("cancel",), "terse": True}
CANCELLED = world("cancelled with its child", join("all", 1), **HOPELESS)
DYING = world("cancelled with its child, crash", join("all", 1), crash=1, **HOPELESS)
GHOST = world("cancelled before its child is born", join("all", 1), ghost=1, **HOPELESS)
REOPENED = world("reopened", Together(((join("all", 1),), (BOOM,))), signals=("retry",), terse=True)
HARD_OF_HEARING = world("a worker that hears badly", Do("a"), Do("b"), unanswered=1, expiry=1, workers=2)
QUICK = world("a whole time is over", sleep("nap"), policy=Policy(jitter=False, max_duration=0.5))
RACE = world("a wait that may time out", signal("go", timed=True), signals=(GO,), workers=2)


def put(name: str, scenario: Scenario, violation: str, place: tuple[Any, str], broken: Any) -> Plant:
    module, function = place
    return Plant(name, scenario, violation, module=module, function=function, broken=broken)


PLANTS = [
    put(
        "F2 who has read of its loss appends",
        HARD_OF_HEARING,
        "behind a run that is owned",
        (parts, "remember"),
        durable_flaws.remember_carelessly,
    ),
    Plant("F3 news without redelivery", combine("signal", "crash"), "is lost", flaws.AcknowledgedAtDelivery),
    put(
        "F3 acknowledged before the ticket",
        combine("signal", "crash"),
        UNCARRIED,
        (mailman, "bring"),
        durable_flaws.bring_hastily,
    ),
    put("early news are dropped", SIGNAL, "doesn't know of it", (mailman, "bring"), durable_flaws.bring_late),
    Plant("F4 Msg-Id of the run", TWO_SIGNALS, UNCARRIED, flaws.MessageIdOfTheRun),
    Plant("F4 one ticket per run", SIGNAL, UNCARRIED, flaws.OneTicketPerRun),
    put("F7 a duplicate takes over", RACE, "claim", (attempt, "judge"), flaws.judge_takes_over),
    put(
        "F8 a wake-up isn't redone",
        combine("signal", "crash"),
        UNCARRIED,
        (attempt, "judge"),
        flaws.judge_never_redoes,
    ),
    put(
        "F8 an end isn't told again",
        JOIN_AND_CRASH,
        STILL,
        (attempt, "judge"),
        durable_flaws.judge_ends_finally,
    ),
    put(
        "F9 a suspension over unread news",
        SIGNAL,
        UNCARRIED,
        (attempt, "suspend_effects"),
        durable_flaws.suspend_effects_unread,
    ),
    Plant(
        "F14 a child is closed before its parent",
        world("a join of one, closing", join("all", 1), closing=True, terse=True),
        "closed before its parent",
        durable_flaws.ChildrenClosedEarly,
    ),
    Plant("a child's end is told to nobody", JOIN, STILL, durable_flaws.ToldOnce),
    Plant("every news wakes", ANY, "woken twice", durable_flaws.EveryNewsWakes),
    put(
        "children before the journal says so",
        DYING,
        UNCARRIED,
        (parts.Join, "spawn"),
        durable_flaws.spawn_unannounced,
    ),
    put(
        "a cancellation stops at the run itself",
        CANCELLED,
        STILL,
        (attempt, "end_effects"),
        durable_flaws.end_effects_without_children,
    ),
    put(
        "a cancelled child is born later",
        GHOST,
        "doesn't know of it",
        (mailman, "respond"),
        durable_flaws.respond_to_the_living,
    ),
    put(
        "a reopened parent waits for whom it missed",
        REOPENED,
        STILL,
        (parts, "create_child"),
        durable_flaws.create_child_only,
    ),
    put(
        "time is over by another clock",
        combine("sleep"),
        "a moment that is over",
        (parts.Execution, "time"),
        durable_flaws.own_clock,
    ),
    put(
        "the whole time is over by another clock",
        QUICK,
        "a moment that is over",
        (attempt, "execute"),
        durable_flaws.execute_by_the_clock,
    ),
]


@pytest.mark.parametrize("plant", PLANTS, ids=lambda plant: plant.name)
def test_a_planted_flaw_is_found(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    plant.found(monkeypatch)


@pytest.mark.parametrize("scenario", unexplored(PLANTS, PAIRS, WAITS, JOINS, FAMILIES), ids=name)
def test_without_the_flaw_nothing_is_found(scenario: Scenario) -> None:
    explore_all(scenario)
