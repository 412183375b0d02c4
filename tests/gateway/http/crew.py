"""Who works beside a gateway: the engine's roles and a worker, on the house's own broker."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from consumers.engine import Engine
from consumers.loader import AnyTask
from consumers.worker import Worker
from tests.patience import PATIENCE, until
from tidemill.kernel.services.runs import Runs
from tidemill.kernel.settings.model import Settings
from tidemill.kernel.settings.sections import WorkerSettings

if TYPE_CHECKING:
    from conftest import House


@contextlib.asynccontextmanager
async def engine(house: House, *roles: str, settings: Settings | None = None) -> AsyncIterator[None]:
    """Run some roles of the engine."""
    running, stopping = Engine(house.broker, settings or Settings.load(None, {}), roles), asyncio.Event()
    task = asyncio.create_task(running.run(stopping))
    try:
        yield
    finally:
        stopping.set()
        await asyncio.wait_for(task, PATIENCE)


@contextlib.asynccontextmanager
async def serving(
    house: House, *tasks: AnyTask, roles: tuple[str, ...] = ("router", "mailman"), shutdown: float = 5.0
) -> AsyncIterator[None]:
    """Run the engine, and a worker for tasks."""
    limits = WorkerSettings(lease=2.0, shutdown_timeout=shutdown, linger=0.0)
    worker, stopping, ready = Worker(house.broker, tasks, limits), asyncio.Event(), asyncio.Event()
    async with engine(house, *roles):
        running = asyncio.create_task(worker.run(stopping, ready))
        try:
            await asyncio.wait_for(ready.wait(), PATIENCE)
            yield
        finally:
            stopping.set()
            await asyncio.wait_for(running, PATIENCE)


async def ended(house: House, count: int) -> dict[str, str]:
    """Wait for the ends of so many runs; return their states by task."""
    runs = Runs(house.broker)

    async def look() -> dict[str, str] | None:
        views = await runs.list()
        if len(views) != count or not all(view.ended for view in views):
            return None
        return {view.facts()["task"]: view.status for view in views}

    found: dict[str, str] = await until(look)
    return found
