"""Each flaw is planted once, and the checker finds it: a checker that finds nothing shows nothing."""

from __future__ import annotations

from typing import Any

import pytest

from tests.model import flaws
from tests.model.exploring import explore_all, name
from tests.model.plants import Plant, unexplored
from tests.model.scenarios import PAIRS, PAIRS_OF_TWO, SINGLES_OF_TWO, SPECIALS, Scenario, combine
from tests.model.world import Fault
from tidemill.kernel.protocol import attempt, closer, mailman, sweeper
from tidemill.kernel.protocol.conclusions import Policy


def in_attempt(name: str, scenario: Scenario, violation: str, function: str, broken: Any) -> Plant:
    return Plant(name, scenario, violation, module=attempt, function=function, broken=broken)


def in_mailman(name: str, scenario: Scenario, violation: str, function: str, broken: Any) -> Plant:
    return Plant(name, scenario, violation, module=mailman, function=function, broken=broken)


def in_closer(name: str, scenario: Scenario, violation: str, broken: Any) -> Plant:
    return Plant(name, scenario, violation, module=closer, function="close", broken=broken)


ENDLESS = Scenario("cancelled while it runs on and on", ("endless",), ("cancel",))
EXPIRED = Scenario("expired, crash", cause="caller", expired=True, faults=((Fault.CRASH, 1),))
FAILS_TWICE = Scenario("fails twice", ("fatal",), ("retry",), faults=((Fault.EXPIRY, 1),), workers=2)
STALE_TWICE = Scenario("two stale reads", ("fail", "ok"), faults=((Fault.STALE, 2), (Fault.CRASH, 1)))
SWEPT = Scenario("a needless sweep", faults=((Fault.SWEEP, 1),))
UNCARRIED = "nothing carries the run"

PLANTS = [
    in_attempt(
        "F1 an empty journal runs",
        combine("crash", "closing"),
        "comes back to life",
        "judge",
        flaws.judge_absent_runs,
    ),
    in_closer(
        "F1 closed before its event is routed",
        combine("crash", "closing"),
        "comes back to life",
        flaws.close_unrouted,
    ),
    in_mailman(
        "F1 a signal revives a closed run",
        combine("cancel", "closing"),
        "comes back to life",
        "respond",
        flaws.respond_creates,
    ),
    in_attempt(
        "F2 a loser acknowledges",
        combine("expiry"),
        "settles the ticket",
        "settle",
        flaws.settle_and_acknowledge,
    ),
    Plant(
        "F3 a signaller without redelivery",
        combine("cancel", "crash"),
        "is lost with its mailman",
        flaws.AcknowledgedAtDelivery,
    ),
    Plant("F4 one ticket per run", combine("retry"), UNCARRIED, flaws.OneTicketPerRun),
    Plant("F4 Msg-Id of the run", combine("reopen"), UNCARRIED, flaws.MessageIdOfTheRun),
    Plant("F5 a stale read decides", STALE_TWICE, UNCARRIED, flaws.LeaderLagsToo),
    in_attempt(
        "F6 a first delivery claims", combine("duplicate", workers=2), "claim", "judge", flaws.judge_by_count
    ),
    in_attempt(
        "F7 a duplicate takes over", combine("duplicate", workers=2), "claim", "judge", flaws.judge_takes_over
    ),
    in_attempt(
        "F8 effects aren't redone", combine("retry", "crash"), UNCARRIED, "judge", flaws.judge_never_redoes
    ),
    in_attempt(
        "F9 a suspend overwrites news",
        combine("retry", "cancel"),
        "a cancelled run is suspended",
        "commit",
        flaws.commit_blindly,
    ),
    Plant("F10 tickets replaced in flight", SWEPT, "its slot, is gone", flaws.TicketsReplaced),
    Plant("F11 a schedule with a Msg-Id", combine("retry"), UNCARRIED, flaws.ScheduleWithMessageId),
    in_attempt(
        "F12 own record not recognised",
        combine("unanswered"),
        "claims without progress",
        "owns",
        flaws.owns_nothing,
    ),
    in_attempt(
        "F13 no record of the attempt",
        combine("crash"),
        "no claim in the journal",
        "claimed",
        flaws.claimed_silently,
    ),
    in_attempt(
        "a suspect is executed in company",
        Scenario("the last owner dies alone", policy=Policy(max_crashes=2), faults=((Fault.CRASH, 1),)),
        "beside others",
        "claimed",
        flaws.claimed_in_company,
    ),
    Plant("F15 cancel waits for a slot", ENDLESS, "at rest", flaws.SignalsNeedASlot),
    Plant("F16 max_deliver", combine("crash"), "at rest", flaws.DeliveredOnceOnly),
    in_mailman(
        "F17 signals of ended runs stay",
        combine("cancel"),
        "returned without acknowledging",
        "deliver",
        flaws.deliver_and_leave,
    ),
    in_closer("F17 journals stay open", combine("closing"), "never closed", flaws.close_never),
    Plant(
        "an old timer in the place of the present one",
        combine("retry", "expiry"),
        UNCARRIED,
        flaws.OneTimerPerRun,
        attempt,
        "judge",
        flaws.judge_redoes_own,
    ),
    Plant(
        "a late end cancels the timer of the next opening",
        combine("retry", "reopen", workers=2),
        UNCARRIED,
        flaws.OneTimerPerRun,
        attempt,
        "end_effects",
        flaws.end_effects_with_timer,
    ),
    in_attempt(
        "a final failure overwrites a cancellation",
        combine("reopen", "cancel"),
        "a cancelled run has failed",
        "commit",
        flaws.commit_blindly,
    ),
    in_attempt(
        "an expired run is executed", EXPIRED, "expired before it began", "execute", flaws.execute_if_begun
    ),
    Plant(
        "the sweeper ends a run that has begun",
        Scenario("expires unseen", cause="caller", expired=True, faults=((Fault.SWEEP, 1),)),
        "end sweep-",
        module=sweeper,
        function="overdue",
        broken=flaws.overdue_although_begun,
    ),
    Plant(
        "an end whose effects nobody repeats",
        Scenario("its caller dies", cause="once", expired=True, faults=((Fault.CRASH, 2), (Fault.RESCUE, 3))),
        "no dead letter says so",
        module=sweeper,
        function="_expire",
        broken=flaws.expire_without_a_ticket,
    ),
    Plant("a late dead letter", combine("reopen"), "dead letter of end", flaws.NoLetterBeforeReopening),
    Plant("a later letter is taken back", FAILS_TWICE, "no dead letter says so", flaws.AllLettersExhumed),
    in_mailman(
        "the letter stays where the run went on",
        combine("reopen", "cancel", "crash"),
        "dead letter of end",
        "effects",
        flaws.effects_if_ready,
    ),
    Plant("a journal is closed in any order", combine("crash", "closing"), UNCARRIED, flaws.EndDeletedFirst),
]


@pytest.mark.parametrize("plant", PLANTS, ids=lambda plant: plant.name)
def test_a_planted_flaw_is_found(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    plant.found(monkeypatch)


@pytest.mark.parametrize(
    "scenario", unexplored(PLANTS, PAIRS, PAIRS_OF_TWO, SINGLES_OF_TWO, SPECIALS), ids=name
)
def test_without_the_flaw_nothing_is_found(scenario: Scenario) -> None:
    explore_all(scenario)
