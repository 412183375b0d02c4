"""All schedules in a few numbers."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, cast

import pytest

from tidemill.kernel.schedules.rule import ScheduleRule
from tidemill.kernel.schedules.state import ScheduleState
from tidemill.kernel.services.ticking import Ticking, ticking

if TYPE_CHECKING:
    from tidemill.kernel.jetstream.buckets import Bucket


class Stored:
    """A bucket with these schedules in it."""

    def __init__(self, *states: ScheduleState) -> None:
        self._states = states

    async def items(self) -> dict[str, bytes]:
        return {state.id: state.to_json() for state in self._states} | {"alien": b'{"v": 99}'}


def state(name: str, expr: str, cursor: float) -> ScheduleState:
    rule = ScheduleRule(id=name, expr=expr)
    return ScheduleState(task=name, rule=rule, since=0.0, cursor=cursor, started=2, missed=1)


async def told(*states: ScheduleState) -> Ticking:
    return await ticking(cast("Bucket", Stored(*states)))


async def test_the_first_that_is_due_is_named() -> None:
    now = time.time()
    hourly, yearly = state("hourly", "@every 1h", now), state("yearly", "@every 2h", now)
    found = await told(yearly, hourly, replace(state("idle", "@every 1m", now), paused=now))
    assert (found.active, found.paused, found.started, found.missed) == (2, 1, 6, 3)
    assert (found.first, found.overdue) == ("hourly", 0.0)
    assert found.next == pytest.approx(now + 3600, abs=3600)


async def test_what_is_overdue_is_the_first() -> None:
    now = time.time()
    found = await told(state("hourly", "@every 1h", now), state("stuck", "@every 1m", now - 600))
    assert found.first == "stuck"
    assert found.overdue == pytest.approx(600, abs=120)


async def test_without_schedules_nothing_is_due() -> None:
    assert await told() == Ticking()
