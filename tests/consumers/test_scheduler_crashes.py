"""Engines that are killed while ticks come: no tick is lost, and none starts twice."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.conftest import BrokerProcess
from tests.consumers.conftest import Mill, Process
from tests.patience import until
from tidemill.kernel.definition import TaskDefinition
from tidemill.kernel.schedules.rule import ScheduleRule
from tidemill.kernel.schedules.state import ScheduleState
from tidemill.kernel.services import registry
from tidemill.kernel.settings.model import Settings
from tidemill.kernel.subjects import run_of_tick

pytestmark = [pytest.mark.integration, pytest.mark.crash]
SCHEDULES = 20
KILLS = 12


@asynccontextmanager
async def engines(settings: Settings, folder: Path) -> AsyncIterator[list[Process]]:
    """Start two schedulers in processes of their own; whoever kills one starts the next."""
    running: list[Process] = []
    try:
        for _ in range(2):
            running.append(start(settings, folder, len(running)))
        yield running
    finally:
        for process in running:
            process.close()


def start(settings: Settings, folder: Path, number: int) -> Process:
    environ = {
        "TIDEMILL_NATS__URL": settings.nats.url,
        "TIDEMILL_NATS__NAMESPACE": settings.nats.namespace,
    }
    words = ["engine", "--roles", "scheduler"]
    return Process(words, environ=environ, folder=folder, name=f"engine-{number}")


async def states(mill: Mill) -> dict[str, ScheduleState]:
    stored = await mill.broker.schedules.items()
    return {name: ScheduleState.from_json(value) for name, value in stored.items()}


def beats(number: int) -> TaskDefinition:
    rule = ScheduleRule(id=f"beat{number}", expr="* * * * * *", missed="all", overlap="allow")
    return TaskDefinition(id=rule.id, takes="none", schedules=(rule,))


@pytest.mark.timeout(180)
async def test_killed_engines_lose_no_tick_and_start_none_twice(
    mill: Mill, settings: Settings, tmp_path: Path
) -> None:
    luck = random.Random(5)
    for number in range(SCHEDULES):
        await registry.publish(mill.broker.tasks, beats(number))
    async with engines(settings, tmp_path) as running:
        await until(lambda: all_started(mill, 1), within=60)
        for kill in range(KILLS):
            victims = running[-2:] if kill % 4 == 3 else [luck.choice(running[-2:])]
            # What is torn is as random as when: looks of all schedules begin at each full second.
            await asyncio.sleep(luck.random() * 1.3)
            for victim in victims:
                victim.popen.kill()
            for _ in victims:
                running.append(start(settings, tmp_path, len(running)))
        before = max(state.started for state in (await states(mill)).values())
        await until(lambda: all_started(mill, before + 3), within=90)
    await check(mill)


@pytest.mark.timeout(180)
async def test_a_killed_broker_loses_no_tick_and_starts_none_twice(
    own_broker: BrokerProcess, mill: Mill
) -> None:
    for number in range(SCHEDULES):
        await registry.publish(mill.broker.tasks, beats(number))
    async with mill.engine("scheduler"):
        await until(lambda: all_started(mill, 2), within=60)
        for _ in range(3):
            own_broker.kill()
            await asyncio.sleep(1.2)  # ticks come while it is away
            own_broker.start()
            before = max(state.started for state in (await until(lambda: states(mill))).values())
            await until(lambda: all_started(mill, before + 2), within=90)  # noqa: B023 - it is awaited here
    await check(mill)


async def check(mill: Mill) -> None:
    """Hold the runs that there are against the ticks that there were."""
    found = await states(mill)
    assert len(found) == SCHEDULES
    expected = {
        run_of_tick(name, tick)
        for name, state in found.items()
        for tick in range(first_of(state), round(state.cursor) + 1)
    }
    counted = [entry.run async for entry in mill.broker.journal.runs(headers_only=True)]
    assert set(counted) - expected == set()
    torn = {start.run for state in found.values() for start in state.starting}
    assert expected - set(counted) <= torn
    for run in counted:
        assert len(await mill.broker.journal.read_leader(run)) == 1, (
            "one run, created once, worked on by nobody"
        )
    assert sum(state.missed for state in found.values()) == 0


def first_of(state: ScheduleState) -> int:
    """Return the first tick: as many before the last one as were started."""
    return round(state.cursor) - state.started + 1


async def all_started(mill: Mill, count: int) -> bool:
    found = await states(mill)
    return len(found) == SCHEDULES and all(state.started >= count for state in found.values())
