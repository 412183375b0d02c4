"""What is due, what starts, what is missed, and what a change, a pause or a clock that jumps means."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidemill.kernel.errors import DefinitionError
from tidemill.kernel.schedules.decide import (
    GRACE,
    MOST_CAUGHT_UP,
    MOST_COUNTED,
    SET_BACK,
    Wanted,
    adopt,
    advance,
    run_now,
    wake,
)
from tidemill.kernel.schedules.rule import ScheduleRule
from tidemill.kernel.schedules.state import ScheduleState
from tidemill.kernel.subjects import run_of_tick

HOUR = 3600.0
T0 = 1_800_000_000.0 // HOUR * HOUR


def rule(expr: str = "@hourly", **facts: Any) -> ScheduleRule:
    return ScheduleRule(id="nightly", expr=expr, **facts)


def state(cursor: float = T0, expr: str = "@hourly", **facts: Any) -> ScheduleState:
    kept = {name: facts.pop(name) for name in ("going", "paused", "removed", "last") if name in facts}
    return ScheduleState(task="nightly", rule=rule(expr, **facts), since=0.0, cursor=cursor, **kept)


def ticks(found: ScheduleState) -> list[float]:
    return [(start.at - T0) / HOUR for start in found.starting]


def test_a_tick_on_time_starts_one_run() -> None:
    found = advance(state(), T0 + HOUR + 0.3)
    assert ticks(found) == [1]
    assert found.starting[0].run == run_of_tick("nightly", T0 + HOUR)
    assert (found.cursor, found.started, found.missed) == (T0 + HOUR, 1, 0)
    assert found.late == pytest.approx(0.3)
    assert advance(found, T0 + HOUR + 1) == found
    assert wake(found) == T0 + 2 * HOUR


@pytest.mark.parametrize(
    ("missed", "late", "started"),
    [
        ("skip", GRACE, [5]),
        ("skip", GRACE + 1, []),
        ("once", GRACE + 1, [5]),
        ("all", GRACE + 1, [1, 2, 3, 4, 5]),
    ],
)
def test_ticks_of_a_downtime(missed: str, late: float, started: list[float]) -> None:
    found = advance(state(missed=missed), T0 + 5 * HOUR + late)
    assert ticks(found) == started
    assert found.missed == 5 - len(started)
    assert found.cursor == T0 + 5 * HOUR


def test_catching_up_is_bounded() -> None:
    found = advance(state(expr="* * * * * *", missed="all"), T0 + 365 * 24 * HOUR)
    assert len(found.starting) == MOST_CAUGHT_UP
    assert found.starting[-1].at == T0 + 365 * 24 * HOUR
    assert found.missed == MOST_COUNTED - MOST_CAUGHT_UP
    assert [start.last for start in found.starting[1:]] == [start.at for start in found.starting[:-1]]


def test_overlap_skips_cancels_or_allows() -> None:
    at = T0 + HOUR
    skipped = advance(state(going=("a",)), at, ["a"])
    assert (skipped.starting, skipped.skipped, skipped.going) == ((), 1, ("a",))
    cancelled = advance(state(going=("a",), overlap="cancel"), at, ["a"])
    assert cancelled.cancelling == ("a",)
    assert cancelled.going == (run_of_tick("nightly", at),)
    allowed = advance(state(overlap="allow"), at)
    assert (len(allowed.starting), allowed.going) == (1, ())
    ended = advance(state(going=("a",)), at, [])
    assert (len(ended.starting), ended.skipped) == (1, 0)


def test_nothing_starts_while_it_is_paused_and_missed_counts_then() -> None:
    paused = state(paused=T0)
    assert advance(paused, T0 + 9 * HOUR) == paused
    assert wake(paused) is None
    assert ticks(advance(replace(paused, paused=None), T0 + 9.5 * HOUR)) == [9]


def test_a_run_by_hand_leaves_the_ticks_alone() -> None:
    found = run_now(state(), "by-hand", T0 + 10)
    assert (found.cursor, found.going, found.started) == (T0, ("by-hand",), 0)
    assert [start.run for start in found.starting] == ["by-hand"]
    assert ticks(advance(found.settled, T0 + HOUR)) == [1]


def test_a_new_schedule_counts_from_its_definition_on() -> None:
    found = adopt(None, Wanted("nightly", rule(), T0 + 60), T0 + 5 * HOUR)
    assert found is not None
    assert found.cursor == T0 + 60
    ahead = adopt(None, Wanted("nightly", rule(), T0 + 99 * HOUR), T0)
    assert ahead is not None
    assert ahead.cursor == T0, "the worker's clock was ahead"


def test_a_change_of_the_moments_counts_from_its_definition_on() -> None:
    changed = adopt(state(), Wanted("nightly", rule("30 * * * *"), T0 + 2 * HOUR), T0 + 3 * HOUR)
    assert changed is not None
    assert changed.cursor == T0 + 2 * HOUR
    same = adopt(state(), Wanted("nightly", rule(missed="all"), T0 + 2 * HOUR), T0 + 3 * HOUR)
    assert same is not None
    assert (same.cursor, same.rule.missed) == (T0, "all")


def test_a_removed_schedule_starts_nothing_and_comes_back_from_then_on() -> None:
    removed = adopt(state(paused=T0), None, T0 + 10)
    assert removed is not None
    assert removed.removed == T0 + 10
    assert (advance(removed, T0 + 9 * HOUR), wake(removed)) == (removed, None)
    back = adopt(removed, Wanted("nightly", rule(), T0 + 5 * HOUR), T0 + 6 * HOUR)
    assert back is not None
    assert (back.removed, back.cursor, back.paused) == (None, T0 + 5 * HOUR, T0)
    seen_late = adopt(removed, Wanted("nightly", rule(), -HOUR), T0 + HOUR)
    assert seen_late is not None
    assert seen_late.cursor == T0, "an old view had it removed: nothing is lost by that"


def test_a_clock_that_is_set_back_lets_it_begin_again() -> None:
    ahead = state(cursor=T0 + 100 * HOUR)
    wanted = Wanted("nightly", rule(), 0.0)
    back = adopt(ahead, wanted, T0)
    assert back is not None
    assert back.cursor == T0
    little = state(cursor=T0 + SET_BACK)
    assert adopt(little, wanted, T0) == little
    assert advance(little, T0) == little


def test_spread_delays_the_start_and_not_the_tick() -> None:
    spread = state(spread=600.0)
    offset = spread.rule.offset
    assert 0 < offset < 600
    assert wake(spread) == T0 + HOUR + offset
    assert advance(spread, T0 + HOUR + offset - 0.01) == spread
    assert ticks(advance(spread, T0 + HOUR + offset)) == [1]
    offsets = {ScheduleRule(id=f"s{n}", expr="@hourly", spread=600).offset for n in range(100)}
    assert len(offsets) > 95
    assert max(offsets) - min(offsets) > 400


def test_it_is_read_back_as_it_was_written() -> None:
    full = run_now(advance(state(overlap="cancel", going=("a",)), T0 + HOUR, ["a"]), "b", T0 + HOUR)
    assert ScheduleState.from_json(full.to_json()) == full
    for broken in (b"", b"[]", b"{}", b'{"rule": 3}', full.to_json().replace(b'"task"', b'"tusk"')):
        with pytest.raises(DefinitionError, match="can't be read"):
            ScheduleState.from_json(broken)


@settings(deadline=None)
@given(
    looks=st.lists(st.floats(0, 20_000), min_size=1, max_size=30),
    missed=st.sampled_from(["skip", "once", "all"]),
    expr=st.sampled_from(["* * * * *", "*/7 * * * *", "@every 90s", "@hourly", "0 3 * * *"]),
)
def test_every_tick_is_decided_once_however_often_one_looks(
    looks: list[float], missed: str, expr: str
) -> None:
    found, started = state(expr=expr, missed=missed, overlap="allow"), []
    for look in sorted(looks):
        found = advance(found, T0 + look)
        started += [start.at for start in found.starting]
        found = found.settled
    passed = found.rule.rhythm.latest(T0, T0 + max(looks), 10_000)
    assert started == sorted(set(started))
    assert set(started) <= set(passed)
    assert len(started) + found.missed == len(passed)
    assert found.started == len(started)
    if passed:
        assert missed == "skip" or started[-1] == passed[-1]
        assert missed != "all" or (started == passed or len(started) >= MOST_CAUGHT_UP)
