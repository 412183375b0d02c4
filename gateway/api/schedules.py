"""Control API: schedules, pausing them, and running one now."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.responses import JSONResponse
from starlette.routing import Route

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from tidemill.kernel.services.schedules import Schedules

_ACCEPTED = 202


@dataclass(frozen=True, slots=True)
class SchedulesApi:
    """Endpoints under `/api/v1/schedules`."""

    schedules: Schedules

    def routes(self) -> list[Route]:
        """Return the routes."""
        one = "/api/v1/schedules/{schedule}"
        return [
            Route("/api/v1/schedules", self.list_schedules),
            Route(one, self.show_schedule),
            Route(f"{one}/pause", self.pause, methods=["POST"]),
            Route(f"{one}/resume", self.resume, methods=["POST"]),
            Route(f"{one}/trigger", self.trigger, methods=["POST"]),
        ]

    async def list_schedules(self, _: Request) -> Response:
        """All schedules with their next ticks."""
        return JSONResponse({"schedules": [view.facts() for view in await self.schedules.list()]})

    async def show_schedule(self, request: Request) -> Response:
        """One schedule."""
        return JSONResponse((await self.schedules.get(request.path_params["schedule"])).facts())

    async def pause(self, request: Request) -> Response:
        """Let no tick start a run."""
        return JSONResponse(await self.schedules.tell(request.path_params["schedule"], "pause"))

    async def resume(self, request: Request) -> Response:
        """Let ticks start runs again."""
        return JSONResponse(await self.schedules.tell(request.path_params["schedule"], "resume"))

    async def trigger(self, request: Request) -> Response:
        """Start a run now."""
        return JSONResponse(await self.schedules.tell(request.path_params["schedule"], "trigger"), _ACCEPTED)
