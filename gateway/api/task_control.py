"""Control API: tasks that operators pause, resume and limit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.responses import JSONResponse
from starlette.routing import Route

from gateway.access.changes import note
from gateway.access.identity import name_of
from gateway.api.parameters import json_object, only, text_of, whole_number
from tidemill.kernel.errors import PayloadError
from tidemill.kernel.services.overrides import document

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from tidemill.kernel.definition import TaskDefinition
    from tidemill.kernel.services.overrides import Overrides
    from tidemill.kernel.services.registry import Definitions


@dataclass(frozen=True, slots=True)
class TaskControlApi:
    """Endpoints under `/api/v1/tasks/{task}`."""

    definitions: Definitions
    overrides: Overrides

    def routes(self) -> list[Route]:
        """Return the routes."""
        task = "/api/v1/tasks/{task}"
        return [
            Route("/api/v1/overrides", self.list_overrides),
            Route(f"{task}/pause", self.pause, methods=["POST"]),
            Route(f"{task}/resume", self.resume, methods=["POST"]),
            Route(f"{task}/limit", self.limit, methods=["POST"]),
        ]

    async def list_overrides(self, _: Request) -> Response:
        """What operators have decided about tasks."""
        found = sorted((await self.overrides.all()).items())
        return JSONResponse(
            {"overrides": [document(task, override) for task, override in found if not override.empty]}
        )

    async def pause(self, request: Request) -> Response:
        """Let none of its runs start or go on."""
        order, task = await json_object(request), await self._task(request)
        only(order, "reason")
        reason = text_of(order, "reason")
        done = await self.overrides.pause(task, reason=reason, by=name_of(request))
        return JSONResponse(document(task.id, done))

    async def resume(self, request: Request) -> Response:
        """Let its runs go on."""
        order, task = await json_object(request), await self._task(request)
        only(order)
        return JSONResponse(document(task.id, await self.overrides.resume(task, by=name_of(request))))

    async def limit(self, request: Request) -> Response:
        """Let so many of its runs execute at once; null for what its code says."""
        order, task = await json_object(request), await self._task(request)
        only(order, "limit")
        limit = whole_number(given) if (given := order.get("limit")) is not None else None
        if "limit" not in order or (limit is None) != (given is None):
            raise PayloadError("limit is no number", hint='send "limit": 5, or null for what the code says')
        note(request, limit=str(limit))
        return JSONResponse(document(task.id, await self.overrides.limit(task, limit, by=name_of(request))))

    async def _task(self, request: Request) -> TaskDefinition:
        await self.definitions.refresh()
        return self.definitions.find(request.path_params["task"])
