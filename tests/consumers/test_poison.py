"""A run that kills its workers, and its neighbours: real processes, a real broker."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.consumers.conftest import Mill, Process, StartWorker
from tidemill.kernel.definition import TaskDefinition
from tidemill.kernel.services import registry

pytestmark = [pytest.mark.integration, pytest.mark.crash]
NEIGHBOURS = 10

HANDLERS = """
import asyncio, os
from tidemill import task

def note(name):
    descriptor = os.open("notes", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, f"{name}\\n".encode())
    os.close(descriptor)

@task
async def poison() -> None:
    note("poison")
    await asyncio.sleep(0.4)
    os._exit(9)

@task
async def neighbour(number: int) -> int:
    note("neighbour")
    await asyncio.sleep(0.8)
    return number
"""


@asynccontextmanager
async def _a_worker_always(start_worker: StartWorker) -> AsyncIterator[list[Process]]:
    """Keep one worker alive, as whoever supervises it does: each death is followed by a new start."""
    workers: list[Process] = []

    async def supervise() -> None:
        while True:
            source = None if workers else HANDLERS
            workers.append(await start_worker(source, wait=False, TIDEMILL_WORKER__LEASE="1"))
            assert await workers[-1].exits(within=120) == 9

    supervisor = asyncio.create_task(supervise(), name="supervisor")
    try:
        yield workers
    finally:
        supervisor.cancel()
        workers[-1].close()
        await asyncio.wait({supervisor})


async def test_a_run_that_kills_its_workers_takes_no_neighbour_along(
    mill: Mill, start_worker: StartWorker, tmp_path: Path
) -> None:
    for task in ("poison", "neighbour"):
        await registry.publish(mill.broker.tasks, TaskDefinition(id=task))
    poison = await mill.trigger("poison")
    neighbours = [await mill.trigger("neighbour", number) for number in range(NEIGHBOURS)]
    async with _a_worker_always(start_worker) as workers:
        views = [await mill.ended(run, within=90) for run in neighbours]
        assert Counter(view.status for view in views) == {"completed": NEIGHBOURS}
        assert (await mill.ended(poison)).status == "crashed"
    assert len(workers) == 4
    assert (tmp_path / "notes").read_text().splitlines().count("poison") == 3
    assert [letter.key for letter in await mill.letters()] == [poison]
