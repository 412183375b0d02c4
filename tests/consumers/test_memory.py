"""Workers that hold too much memory, and runs that kill their workers: real processes, a real broker."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest

from consumers.memory import resident_bytes
from tests.consumers.conftest import Mill, StartWorker
from tests.patience import until
from tidemill.kernel.definition import TaskDefinition
from tidemill.kernel.services import registry

pytestmark = [pytest.mark.integration, pytest.mark.crash, pytest.mark.timeout(150)]
LIMIT = str(300 << 20)
"""Bytes: a worker that has nothing to do takes a third of it, `grows` more than the whole."""
HANDLERS = """
import asyncio, os, signal
from tidemill import Retry, task
kept = []

@task
async def grows(mebibytes: int) -> int:
    kept.append(bytearray(os.urandom(1 << 20) * mebibytes))
    await asyncio.sleep(2)
    return os.getpid()

@task
async def looks() -> int:
    return os.getpid()

@task(retry=Retry(max_attempts=100, min_delay=0))
async def killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_process_holds_is_told_in_bytes() -> None:
    before = resident_bytes()
    held = bytearray(b"x" * (64 << 20))
    assert resident_bytes() - before > len(held) // 2


async def test_a_worker_that_holds_too_much_finishes_its_runs_and_ends_for_its_keeper(
    mill: Mill, start_worker: StartWorker
) -> None:
    worker = await start_worker(HANDLERS, "--kept", "--no-engine", TIDEMILL_WORKER__MAX_MEMORY=LIMIT)
    run = await mill.trigger("grows", 400)
    assert await worker.exits(within=60) == 75
    assert "are too much" in worker.text()
    assert (await mill.ended(run)).status == "completed"


async def test_a_run_that_kills_workers_is_crashed_and_workers_are_replaced(
    mill: Mill, start_worker: StartWorker
) -> None:
    await start_worker(HANDLERS, "--no-engine", wait=False, TIDEMILL_WORKER__MAX_MEMORY=LIMIT)
    for task in ("looks", "grows", "killed"):
        await until(partial(_served, mill, task), within=60)
    first = (await mill.ended(await mill.trigger("looks"), within=60)).result
    grown = await mill.ended(await mill.trigger("grows", 400), within=60)
    assert (grown.status, grown.result) == ("completed", first)
    second = (await mill.ended(await mill.trigger("looks"), within=60)).result
    assert second != first
    view = await mill.ended(await mill.trigger("killed"), within=90)
    assert view.status == "crashed"
    assert (await mill.ended(await mill.trigger("looks"), within=60)).result != second


async def _served(mill: Mill, task: str) -> TaskDefinition | None:
    await asyncio.sleep(0.1)
    definitions = registry.Definitions(mill.broker.tasks)
    await definitions.refresh()
    return next((found for found in definitions.active() if found.id == task), None)


async def test_a_limit_below_what_a_worker_needs_is_said(start_worker: StartWorker) -> None:
    worker = await start_worker(
        HANDLERS, "--kept", "--no-engine", wait=False, TIDEMILL_WORKER__MAX_MEMORY="10MiB"
    )
    assert await worker.exits(within=60) == 2
    assert "worker.max_memory is 10 MiB" in worker.text()
