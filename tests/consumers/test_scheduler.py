"""The scheduler on a real broker: ticks, changes, pauses, lost looks, two engines and a worker."""

from __future__ import annotations

import asyncio
import time
from datetime import datetime
from typing import Any

import pytest

from consumers import scheduler
from tests.consumers.conftest import Mill
from tests.patience import until
from tidemill import Context, Cron, Tick, task
from tidemill.kernel.schedules.state import ScheduleState
from tidemill.kernel.services import registry
from tidemill.kernel.services.registry import Definitions

pytestmark = pytest.mark.integration
ROLES = ("router", "mailman", "scheduler")


async def state(mill: Mill, schedule: str) -> ScheduleState | None:
    stored = await mill.broker.schedules.get(schedule.replace(":", "%3A"))
    return None if stored is None else ScheduleState.from_json(stored.value)


async def known(mill: Mill, schedule: str, **facts: Any) -> ScheduleState:
    """Wait until a schedule is known and has so much of something."""

    async def look() -> ScheduleState | None:
        found = await state(mill, schedule)
        fits = found is not None and all(getattr(found, name) == value for name, value in facts.items())
        return found if fits else None

    found: ScheduleState = await until(look)
    return found


async def started(mill: Mill, schedule: str, count: int) -> ScheduleState:
    """Wait until a schedule has started so many runs."""

    async def look() -> ScheduleState | None:
        found = await state(mill, schedule)
        return found if found is not None and found.started >= count else None

    found: ScheduleState = await until(look)
    return found


async def test_two_engines_start_each_tick_once(mill: Mill) -> None:
    seen: list[Tick] = []

    @task(schedule=Cron("* * * * * *", tz="Europe/Berlin", missed="all", overlap="allow"))
    async def beat(tick: Tick) -> str:
        seen.append(tick)
        return tick.schedule

    async with mill.engine(*ROLES), mill.engine(*ROLES), mill.worker(beat):
        found = await started(mill, "beat", 4)
        await until(lambda: len(seen) >= 4)
    ticks = [tick.scheduled_at.timestamp() for tick in seen]
    assert sorted(ticks) == [min(ticks) + n for n in range(len(ticks))]
    assert {tick.scheduled_at.utcoffset() for tick in seen} == {
        datetime.fromtimestamp(ticks[0]).astimezone(found.rule.rhythm.zone).utcoffset()
    }
    seen.sort(key=lambda tick: tick.scheduled_at)
    assert seen[0].last_at is None
    assert all(
        tick.last_at is not None and tick.scheduled_at.timestamp() - tick.last_at.timestamp() == 1
        for tick in seen[1:]
    )
    assert found.missed == 0
    runs = await mill.runs.list(limit=100)
    assert {view.state.created.tags for view in runs if view.state.created} == {("schedule:beat",)}


async def test_a_tick_waits_for_no_worker_and_the_next_is_skipped(mill: Mill) -> None:
    @task(schedule=Cron("* * * * * *"))
    async def beat() -> str:
        return "done"

    await registry.publish(mill.broker.tasks, beat.definition)
    async with mill.engine(*ROLES):

        async def skipped() -> bool:
            found = await state(mill, "beat")
            return found is not None and found.skipped >= 2

        await until(skipped)
        found = await known(mill, "beat")
        assert (found.started, len(found.going)) == (1, 1)
        async with mill.worker(beat):
            assert (await mill.ended(found.going[0])).status == "completed"
            await started(mill, "beat", 2)


async def test_overlap_cancels_the_previous_run(mill: Mill) -> None:
    @task(schedule=Cron("* * * * * *", overlap="cancel"))
    async def slow(ctx: Context) -> None:
        await ctx.sleep("1h")

    async with mill.engine(*ROLES), mill.worker(slow):
        await started(mill, "slow", 3)

        async def cancelled() -> int:
            return len(await mill.runs.list(status="cancelled"))

        assert await until(cancelled) >= 1


async def test_a_change_and_a_removal_take_effect_with_their_version(mill: Mill) -> None:
    def version(*schedules: Cron) -> Any:
        @task(id="report", schedule=schedules)
        async def report() -> None: ...

        return report

    async with mill.engine(*ROLES):
        old = version(Cron("0 3 * * *"), Cron("@daily", name="other"))
        await registry.publish(mill.broker.tasks, old.definition)
        await known(mill, "report")
        await known(mill, "report:other", removed=None)
        new = version(Cron("0 4 * * *"))
        await registry.publish(mill.broker.tasks, new.definition)
        await known(mill, "report", rule=new.definition.schedules[0])
        await until(lambda: removed(mill, "report:other"))
        # An old worker of a rolling deploy restarts: it is known, and changes nothing.
        await registry.publish(mill.broker.tasks, old.definition)
        await registry.remove(mill.broker.tasks, "report")
        await until(lambda: removed(mill, "report"))
        found = await known(mill, "report")
        assert found.rule.expr == "0 4 * * *"


async def removed(mill: Mill, schedule: str) -> bool:
    found = await state(mill, schedule)
    return found is not None and found.removed is not None


async def test_ticks_of_a_downtime_of_the_engine(mill: Mill) -> None:
    @task(id="beat", schedule=Cron("* * * * * *", missed="all", overlap="allow"))
    async def beat() -> None: ...

    await registry.publish(mill.broker.tasks, beat.definition)
    async with mill.engine(*ROLES):
        first = await started(mill, "beat", 1)
    assert first.last is not None
    resumed_at = first.last.at + 4
    await until(lambda: time.time() > resumed_at)
    async with mill.engine(*ROLES):
        later = await started(mill, "beat", first.started + 3)
    assert later.last is not None
    assert later.missed == 0
    assert later.started == first.started + later.last.at - first.last.at


async def test_the_search_finds_a_look_that_is_lost_while_an_engine_runs(
    mill: Mill, monkeypatch: pytest.MonkeyPatch
) -> None:
    @task(id="nightly", schedule=Cron("@every 5s", overlap="allow"))
    async def nightly() -> None: ...

    monkeypatch.setattr(scheduler, "OVERDUE", 1.0)
    await registry.publish(mill.broker.tasks, nightly.definition)
    definitions = Definitions(mill.broker.tasks)
    await definitions.refresh()
    role = scheduler.Scheduler(mill.broker, definitions, search_every=0.5)
    async with asyncio.TaskGroup() as group:
        group.create_task(role.run())
        await until(lambda: planned(mill))
        lost = await mill.broker.bus.api(f"STREAM.PURGE.{mill.names.stream('TICKS')}")
        found = await started(mill, "nightly", 1)
        await role.stop()
    assert lost["purged"] == 1
    assert found.last is not None
    await mill.runs.get(found.last.run)


async def planned(mill: Mill) -> bool:
    """Say whether the schedule is known and nothing but its next look is stored."""
    return await state(mill, "nightly") is not None and await mill.count("TICKS") == 1


async def test_an_engine_that_starts_looks_at_every_schedule(mill: Mill) -> None:
    @task(id="nightly", schedule=Cron("@every 1s", overlap="allow"))
    async def nightly() -> None: ...

    await registry.publish(mill.broker.tasks, nightly.definition)
    async with mill.engine(*ROLES):
        found = await started(mill, "nightly", 1)
    await mill.broker.bus.api(f"STREAM.PURGE.{mill.names.stream('TICKS')}")
    assert await mill.count("TICKS") == 0
    async with mill.engine(*ROLES):  # an engine that starts looks at every schedule
        await started(mill, "nightly", found.started + 2)
