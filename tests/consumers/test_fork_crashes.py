"""Forks whose workers are killed: whatever dies when, nothing that was taken over is executed again."""

from __future__ import annotations

import asyncio
import json
import random
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.consumers.conftest import Mill, StartWorker
from tidemill.kernel.protocol.operations import Tell
from tidemill.kernel.protocol.records import Item
from tidemill.kernel.services.forks import Forks

pytestmark = [pytest.mark.integration, pytest.mark.crash]

HANDLERS = """
import asyncio, json, os
from tidemill import Context, task

async def work(run: str, key: str, value: int) -> int:
    line = (json.dumps({"run": run, "key": key}) + "\\n").encode()
    descriptor = os.open("notes", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, line)
    os.close(descriptor)
    await asyncio.sleep(0.05)
    return value

@task
async def large(number: int) -> str:
    return str(number) * 40_000

@task
async def pipeline(number: int, ctx: Context) -> list:
    me = ctx.run_id
    first = await ctx.step("first", work, me, "first", number)
    parts = await ctx.gather(*[large.call(part) for part in range(3)])
    said = await ctx.wait_for_signal("go", int, timeout=600)
    left, right = await ctx.gather(
        ctx.step("left", work, me, "left", 1), ctx.step("right", work, me, "right", 2)
    )
    await ctx.sleep(0.2)
    last = [await ctx.step("last", work, me, f"last {index}", index) for index in range(5)]
    return [first, [len(part) for part in parts], said, left, right, last, str(ctx.uuid())]
"""
TAKEN = {
    "first": set[str](),
    "right": {"first"},
    "sleep": {"first", "left", "right"},
    "last#3": {"first", "left", "right", "last 0", "last 1"},
}
"""What a fork at a point must not execute."""


def _executed(folder: Path, run: str) -> list[str]:
    notes: list[dict[str, Any]] = [json.loads(line) for line in (folder / "notes").read_text().splitlines()]
    return [note["key"] for note in notes if note["run"] == run]


async def test_forks_of_killed_workers_repeat_nothing_that_was_taken_over(
    mill: Mill, start_worker: StartWorker, tmp_path: Path
) -> None:
    settings = {"TIDEMILL_WORKER__LEASE": "1", "TIDEMILL_WORKER__LINGER": "0.02"}
    worker = await start_worker(HANDLERS, **settings)
    await worker.says("serves")
    run = await mill.trigger("pipeline", 7)
    await mill.broker.performer.perform(Tell(run, Item(id="go", box="signal:go", who="test", data=5)))
    told = (await mill.ended(run, within=60)).result
    forks = Forks(mill.runs)
    made = {at: (await forks.fork(run, at, key=at)).id for at in TAKEN}
    chance = random.Random(3)
    for _ in range(6):
        await asyncio.sleep(chance.uniform(0.05, 0.5))
        worker.signal(signal.SIGKILL)
        await worker.exits()
        worker = await start_worker(None, **settings)
    for at, fork in made.items():
        await mill.broker.performer.perform(
            Tell(fork, Item(id=f"go-{fork}", box="signal:go", who="t", data=5))
        )
        view = await mill.ended(fork, within=60)
        assert view.result == told, at
        assert view.facts()["forkof"]["key"] == at
        executed = _executed(tmp_path, fork)
        assert not TAKEN[at] & set(executed), at
        # Which of two branches was over first isn't told.
        everything = {"first", "left", "right", *(f"last {index}" for index in range(5))}
        assert everything - {"left"} <= set(executed) | TAKEN[at], at
        assert (await forks.fork(run, at, key=at)).id == fork
    await mill.empty("TICKETS")


async def test_a_fork_has_its_own_copy_of_what_is_large(mill: Mill, start_worker: StartWorker) -> None:
    worker = await start_worker(HANDLERS)
    await worker.says("serves")
    run = await mill.trigger("pipeline", 7)
    await mill.broker.performer.perform(Tell(run, Item(id="go", box="signal:go", who="test", data=5)))
    told = await mill.ended(run)
    fork = await Forks(mill.runs).fork(run, "left")
    boxes = fork.state.boxes["gather"].values()
    assert {item.run for item in boxes} == {None}
    assert all(item.blob is not None and item.blob.startswith(f"{fork.id}/") for item in boxes)
    assert {spawned.run for spawned in fork.state.spawned.values()} == {run}
    # The old run's journal and objects go, and those of its children: the fork needs none of them.
    await mill.broker.blobs.delete_of(run)
    for child in await mill.runs.list(task="large"):
        await mill.broker.journal.close(child.id, expect=child.state.tail, keep=1)
    ended = await mill.ended(fork.id)
    assert ended.result == told.result
