"""Looks at a schedule on a broker in memory: side by side, torn off at every operation, on old views."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import pytest

from tidemill.kernel.schedules import look as op
from tidemill.kernel.schedules.decide import Wanted, adopt
from tidemill.kernel.schedules.look import look
from tidemill.kernel.schedules.rule import ScheduleRule
from tidemill.kernel.schedules.state import ScheduleState

T0 = 1_800_000_000.0 // 3600 * 3600


@dataclass
class Memory:
    """A bucket of one schedule, its runs, and the looks that are planned."""

    stored: tuple[ScheduleState, int] | None = None
    created: Counter[str] = field(default_factory=Counter)
    ticks: list[float] = field(default_factory=list)
    ended: set[str] = field(default_factory=set)
    cancelled: list[str] = field(default_factory=list)
    wakes: set[float] = field(default_factory=set)

    def perform(self, operation: op.Operation) -> Any:
        match operation:
            case op.Load():
                return self.stored
            case op.Store(state, revision):
                if revision != (self.stored[1] if self.stored else 0):
                    return None
                self.stored = (state, revision + 1)
                return revision + 1
            case op.Going(runs):
                return tuple(run for run in runs if run not in self.ended)
            case op.StartRun(_, start):
                if not self.created[start.run]:
                    self.ticks.append(start.at)
                self.created[start.run] += 1
            case op.CancelRuns(_, runs):
                self.cancelled += runs
                self.ended |= set(runs)
            case op.WakeAt(_, at):
                self.wakes.add(at)
        return None

    @property
    def state(self) -> ScheduleState:
        assert self.stored is not None
        return self.stored[0]


def wanted(expr: str = "* * * * *", since: float = T0, **facts: Any) -> Wanted:
    return Wanted("nightly", ScheduleRule(id="nightly", expr=expr, **facts), since)


def drive(memory: Memory, *looks: op.Procedure[Any], luck: random.Random, crash: float = 0.0) -> None:
    """Perform looks side by side, an operation at a time in any order; some of them die on the way."""
    results: dict[int, Any] = dict.fromkeys(range(len(looks)))
    while results:
        number = luck.choice(sorted(results))
        try:
            operation = looks[number].send(results[number])
        except StopIteration:
            del results[number]
            continue
        performed = luck.random() >= crash / 2
        result = memory.perform(operation) if performed else None
        if not performed or luck.random() < crash / 2:
            del results[number]  # it died before the operation, or behind it without hearing of the result
        else:
            results[number] = result


@pytest.mark.parametrize("seed", range(150))
def test_no_tick_is_lost_and_none_starts_twice(seed: int) -> None:
    luck = random.Random(seed)
    missed = luck.choice(["once", "all"])
    memory, now, last = Memory(), T0, T0
    want = wanted(missed=missed, overlap=luck.choice(["allow", "skip", "cancel"]))
    for _ in range(30):
        now += luck.choice([1, 20, 60, 60, 61, 600])
        views = [luck.choice([now, now, last]) for _ in range(luck.randrange(1, 4))]
        drive(memory, *(look("nightly", want, view) for view in views), luck=luck, crash=0.3)
        last = now
        memory.ended |= {run for run in memory.created if luck.random() < 0.8}
    drive(memory, look("nightly", want, now), luck=luck)  # what wasn't acknowledged comes again
    state = memory.state
    passed = want.rule.rhythm.latest(T0, now, 10_000)
    assert memory.ticks == sorted(set(memory.ticks))
    assert state.started == len(memory.ticks)
    assert state.started + state.missed + state.skipped == len(passed)
    assert not state.starting
    assert state.cursor == (passed[-1] if passed else T0)
    assert passed[-1] + 60 in memory.wakes


def test_the_next_look_is_planned_also_where_nothing_is_due() -> None:
    memory, luck = Memory(), random.Random(1)
    drive(memory, look("nightly", wanted(), T0 + 1), luck=luck)
    assert memory.wakes == {T0 + 60}
    revision = memory.stored and memory.stored[1]
    drive(memory, look("nightly", wanted(), T0 + 2), luck=luck)
    assert memory.stored is not None
    assert memory.stored[1] == revision, "nothing was written"


def test_what_the_old_moments_had_due_is_decided_before_the_new_ones_count() -> None:
    memory, luck = Memory(), random.Random(1)
    drive(memory, look("nightly", wanted("0 * * * *", overlap="allow"), T0 + 1), luck=luck)
    changed = wanted("30 * * * *", since=T0 + 2 * 3600 + 5, overlap="allow")
    drive(memory, look("nightly", changed, T0 + 3 * 3600), luck=luck)
    assert [(at - T0) / 60 for at in memory.ticks] == [120, 150]
    assert memory.state.rule.expr == "30 * * * *"


def test_an_older_view_of_the_definition_removes_nothing_for_good() -> None:
    memory, luck = Memory(), random.Random(1)
    drive(memory, look("nightly", wanted(), T0 + 1), luck=luck)
    drive(memory, look("nightly", None, T0 + 30), luck=luck)
    assert memory.state.removed == T0 + 30
    drive(memory, look("nightly", wanted(), T0 + 61), luck=luck)
    assert memory.ticks == [T0 + 60]


def test_an_older_view_does_not_set_a_change_back() -> None:
    memory, luck = Memory(), random.Random(1)
    old, new = wanted("0 * * * *"), wanted("30 * * * *", since=T0 + 60)
    for version in (old, new, old):
        drive(memory, look("nightly", version, T0 + 120), luck=luck)
    assert memory.state.rule == new.rule
    drive(memory, look("nightly", old, T0 + 3600), luck=luck)
    assert [(at - T0) / 60 for at in memory.ticks] == [30]


def test_a_schedule_that_nobody_knows_is_left_alone() -> None:
    memory = Memory()
    drive(memory, look("nightly", None, T0), luck=random.Random(1))
    assert (memory.stored, memory.wakes) == (None, set())
    assert adopt(None, None, T0) is None


def test_overlap_is_asked_of_the_runs_that_were_started_last() -> None:
    memory, luck = Memory(), random.Random(1)
    want = wanted(overlap="skip")
    for minute in (1, 2, 3):
        drive(memory, look("nightly", want, T0 + 60 * minute), luck=luck)
    assert memory.ticks == [T0 + 60]
    assert memory.state.skipped == 2
    memory.ended |= set(memory.created)
    drive(memory, look("nightly", want, T0 + 240), luck=luck)
    assert memory.ticks == [T0 + 60, T0 + 240]


def test_overlap_cancels_before_it_starts() -> None:
    memory, luck = Memory(), random.Random(1)
    want = wanted(overlap="cancel")
    for minute in (1, 2):
        drive(memory, look("nightly", want, T0 + 60 * minute), luck=luck)
    assert len(memory.ticks) == 2
    first, second = memory.created
    assert memory.cancelled == [first]
    assert memory.state.going == (second,)
