"""Tasks and their queues: how much waits, what holds the slots, and what the task is."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from starlette.routing import Route

from gateway.dashboard.part import part
from gateway.dashboard.run_table import find_runs
from gateway.dashboard.shown import show_value
from tidemill.history.run_lists import RunQuery

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from gateway.dashboard.services import Services
    from tidemill.kernel.services.overrides import Override
    from tidemill.kernel.services.pulse import Queue

PATH: Final = "/tasks"
_HOLDERS: Final = 100
_RECENT: Final = 10


@dataclass(frozen=True, slots=True)
class TaskLine:
    """One task of the list; `workers` serve it, `totals` counts its runs by status.

    `override` is what an operator has decided about it.
    """

    id: str
    definition: Any
    queue: Queue | None
    totals: dict[str, int]
    workers: int
    override: Override | None


@dataclass(frozen=True, slots=True)
class Tasks:
    """Pages under `/tasks`."""

    services: Services

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [Route(PATH, self.list_tasks), Route("/tasks/{task}", self.show_task)]

    async def list_tasks(self, request: Request) -> Response:
        """All tasks with their queues."""
        services = self.services
        _, pulse, totals, decided = await asyncio.gather(
            services.definitions.refresh(),
            part(services.pulses.take()),
            part(services.history.totals()),
            part(services.overrides.all()),
        )
        queues = {queue.task: queue for queue in pulse.content.queues} if pulse.content is not None else {}
        workers = pulse.content.workers if pulse.content is not None else ()
        known = {definition.id: definition for definition in services.definitions.active()}
        lines = [
            TaskLine(
                id=task,
                definition=known.get(task),
                queue=queues.get(task),
                totals=(totals.content or {}).get(task, {}),
                override=(decided.content or {}).get(task),
                workers=sum(task in worker.get("tasks", ()) for worker in workers),
            )
            for task in sorted({*known, *queues})
        ]
        return services.frame.page(
            request,
            "tasks.html",
            title="Tasks",
            active="tasks",
            live="/live?streams=JOURNAL",
            lines=lines,
            pulse=pulse,
            totals=totals,
        )

    async def show_task(self, request: Request) -> Response:
        """One task: its definition, its queue, and which runs hold its slots."""
        services, task = self.services, request.path_params["task"]
        await services.definitions.refresh()
        definition = services.definitions.find(task)
        pulse, decided, totals, holders, recent = await asyncio.gather(
            part(services.pulses.take()),
            part(services.overrides.of(definition.id)),
            part(services.history.totals(task=definition.id)),
            find_runs(services, RunQuery(task=definition.id, statuses=("running",)), limit=_HOLDERS),
            find_runs(services, RunQuery(task=definition.id), limit=_RECENT),
        )
        queues = pulse.content.queues if pulse.content is not None else ()
        workers = pulse.content.workers if pulse.content is not None else ()
        return services.frame.page(
            request,
            "task.html",
            title=definition.id,
            active="tasks",
            live="/live?streams=JOURNAL",
            task=definition,
            override=decided.content,
            queue=next((queue for queue in queues if queue.task == definition.id), None),
            workers=[worker for worker in workers if definition.id in worker.get("tasks", ())],
            pulse=pulse,
            totals=(totals.content or {}).get(definition.id, {}),
            totals_missing=totals.missing,
            holders=holders,
            recent=recent,
            schema=show_value(definition.payload_schema, 8_000),
        )
