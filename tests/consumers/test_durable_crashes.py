"""Durable runs whose workers are killed at any moment, or frozen: no finished step is executed again."""

from __future__ import annotations

import asyncio
import json
import random
import signal
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from tests.consumers.conftest import Mill, StartWorker
from tests.patience import until
from tidemill.kernel.definition import TaskDefinition
from tidemill.kernel.protocol.operations import Tell
from tidemill.kernel.protocol.records import Item, Step
from tidemill.kernel.services import registry
from tidemill.kernel.services.run_view import RunView

pytestmark = [pytest.mark.integration, pytest.mark.crash]
RUNS = 12

HANDLERS = """
import asyncio, json, os, time
from tidemill import Context, Retry, task

def note(**facts):
    line = (json.dumps(facts | {"at": time.time(), "pid": os.getpid()}) + "\\n").encode()
    descriptor = os.open("notes", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, line)
    os.close(descriptor)

async def work(run: str, key: str, value: int) -> int:
    note(run=run, key=key)
    await asyncio.sleep(0.02)
    return value

@task
async def square(number: int) -> int:
    await asyncio.sleep(0.01)
    return number * number

@task
async def pipeline(number: int, ctx: Context) -> list[int]:
    me = ctx.run_id
    first = await ctx.step("first", work, me, "first", number)
    left, right = await ctx.gather(
        ctx.step("left", work, me, "left", first + 1), ctx.step("right", work, me, "right", first + 2)
    )
    await ctx.sleep(0.2)
    early = await ctx.wait_for_signal("early", int, timeout=600)
    who, _ = await ctx.first(ctx.sleep(0.1), ctx.sleep(600))
    parts = await ctx.gather(*[square.call(part) for part in range(10)])
    late = await ctx.wait_for_signal("late", int, timeout=600)
    last = await ctx.step("last", work, me, "last", sum(parts))
    return [first, left, right, early, who, late, last]

@task
async def freezes(ctx: Context) -> int:
    me = ctx.run_id
    await ctx.step("one", work, me, "one", 1)
    return await ctx.step("two", waits, me)

async def waits(run: str) -> int:
    note(run=run, key="two")
    while not os.path.exists("go"):
        await asyncio.sleep(0.05)
    return os.getpid()
"""


def _notes(folder: Path) -> list[dict[str, Any]]:
    file = folder / "notes"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


async def _say(mill: Mill, run: str, name: str, value: int) -> None:
    item = Item(id=f"{name}-{run}", box=f"signal:{name}", who="test", data=value)
    await mill.broker.performer.perform(Tell(run, item))


async def test_workers_that_are_killed_at_any_moment_repeat_nothing_that_is_finished(
    mill: Mill, start_worker: StartWorker, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    chance, kills = random.Random(7), int(request.config.getoption("--kills"))
    for task in ("pipeline", "square"):
        await registry.publish(mill.broker.tasks, TaskDefinition(id=task))
    runs = [await mill.trigger("pipeline", number) for number in range(RUNS)]
    for number, run in enumerate(runs):
        await _say(mill, run, "early", number)
    settings = {"TIDEMILL_WORKER__LEASE": "1", "TIDEMILL_WORKER__LINGER": "0.02"}
    for _ in range(kills):
        worker = await start_worker(HANDLERS, **settings)
        await asyncio.sleep(chance.uniform(0.0, 0.6))
        worker.signal(signal.SIGKILL)
        await worker.exits()
    await start_worker(None, **settings)
    for number, run in enumerate(runs):
        await _say(mill, run, "late", -number)
    for number, run in enumerate(runs):
        view = await mill.ended(run, within=60)
        assert view.status == "completed", view.facts()
        assert view.result == [number, number + 1, number + 2, number, 0, -number, 285]
        _check_steps(view, _notes(tmp_path))
    assert len(await mill.runs.list(task="square", limit=1000)) == RUNS * 10
    await mill.empty("TICKETS")


def _check_steps(view: RunView, notes: list[dict[str, Any]]) -> None:
    """Hold the executions of a run's steps against the journal: none begins after its step is finished."""
    finished: defaultdict[str, list[float]] = defaultdict(list)
    for entry in view.entries:
        if isinstance(entry.record, Step):
            finished[entry.record.key].append(entry.at)
    assert {key: len(times) for key, times in finished.items() if len(times) > 1} == {}
    for note in notes:
        if note["run"] == view.id:
            assert note["at"] < finished[note["key"]][0], f"{note['key']} was executed after it was finished"


async def test_a_frozen_owner_is_refused_and_its_step_counts_once(
    mill: Mill, start_worker: StartWorker, tmp_path: Path
) -> None:
    frozen = await start_worker(HANDLERS, "--no-engine")
    run = await mill.trigger("freezes")
    await until(lambda: any(note["key"] == "two" for note in _notes(tmp_path)))
    frozen.signal(signal.SIGSTOP)
    healthy = await start_worker(None, "--no-engine")
    await until(lambda: sum(note["key"] == "two" for note in _notes(tmp_path)) == 2)
    frozen.signal(signal.SIGCONT)
    await frozen.says("belongs to somebody else now")
    (tmp_path / "go").touch()
    view = await mill.ended(run)
    assert view.result == healthy.popen.pid
    _check_steps(view, [note for note in _notes(tmp_path) if note["key"] == "one"])
    steps = [entry.record.key for entry in view.entries if isinstance(entry.record, Step)]
    assert steps == ["one", "two"]
    await mill.empty("TICKETS")
