"""What a task's page lets people do: pause, resume, limit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from starlette.responses import RedirectResponse
from starlette.routing import Route

from gateway.access.changes import note
from gateway.access.form import form_of
from gateway.access.identity import name_of
from tidemill.kernel.errors import PayloadError

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from gateway.dashboard.services import Services
    from tidemill.kernel.definition import TaskDefinition

_SEE_OTHER: Final = 303
_REASON_LIMIT: Final = 500
_DIGITS: Final = 8


@dataclass(frozen=True, slots=True)
class TaskActions:
    """Forms under `/tasks/{task}`."""

    services: Services

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route("/tasks/{task}/pause", self.pause, methods=["POST"]),
            Route("/tasks/{task}/resume", self.resume, methods=["POST"]),
            Route("/tasks/{task}/limit", self.limit, methods=["POST"]),
        ]

    async def pause(self, request: Request) -> Response:
        """Let none of its runs start or go on."""
        task = await self._task(request)
        reason = form_of(request).get("reason").strip()[:_REASON_LIMIT]
        await self.services.overrides.pause(task, reason=reason, by=name_of(request))
        return _back(task)

    async def resume(self, request: Request) -> Response:
        """Let its runs go on."""
        task = await self._task(request)
        await self.services.overrides.resume(task, by=name_of(request))
        return _back(task)

    async def limit(self, request: Request) -> Response:
        """Let so many of its runs execute at once; an empty field stands for what its code says."""
        task, text = await self._task(request), form_of(request).get("limit").strip()
        if text and not (text.isascii() and text.isdigit() and len(text) <= _DIGITS):
            raise PayloadError(f"a limit of {text[:20]!r} can't be used", hint="write a whole number")
        limit = int(text) if text else None
        note(request, limit=str(limit))
        await self.services.overrides.limit(task, limit, by=name_of(request))
        return _back(task)

    async def _task(self, request: Request) -> TaskDefinition:
        await self.services.definitions.refresh()
        return self.services.definitions.find(request.path_params["task"])


def _back(task: TaskDefinition) -> Response:
    return RedirectResponse(f"/tasks/{quote(task.id, safe='')}", _SEE_OTHER)
