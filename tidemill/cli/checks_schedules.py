"""The doctor's check of schedules: does anything start them, and does anybody execute what they start."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Final

import orjson

from tidemill.cli.finding import Finding, ok, problem, warning
from tidemill.kernel.services.registry import Definitions
from tidemill.kernel.services.schedules import Schedules

if TYPE_CHECKING:
    from tidemill.kernel.services.broker import Broker

OVERDUE: Final = 120.0
"""Seconds after which a tick that nothing has looked at is a problem."""


async def schedules(opened: Broker) -> AsyncIterator[Finding]:
    """Look at all schedules."""
    views = await Schedules(opened, Definitions(opened.tasks)).list()
    served = {
        task
        for entry in (await opened.workers.items()).values()
        for task in orjson.loads(entry).get("tasks", ())
    }
    fine = True
    late = [view.state.id for view in views if view.overdue > OVERDUE]
    if late:
        fine = False
        told = f"{_several(late)} should have started something and didn't"
        yield problem("schedules", told, "start an engine with the role scheduler; its log says more")
    for view in views:
        if view.problem:
            fine = False
            yield problem("schedules", f"{view.state.id} doesn't tick: {view.problem}", "update this process")
    orphans = [view.state.id for view in views if view.state.active and view.state.task not in served]
    if orphans:
        fine = False
        hint = "start its worker; of a task that is gone from the code: 'tidemill tasks remove TASK'"
        yield warning("schedules", f"no worker serves the task of {_several(orphans)}", hint)
    if fine:
        paused = sum(view.state.paused is not None for view in views)
        yield ok("schedules", f"{len(views)} known, {paused} paused, none is overdue")


def _several(names: list[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > len(names[:3]) else ""
    return ", ".join(names[:3]) + more
