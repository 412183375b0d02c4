"""Schedules: when tasks start by themselves, what their last ticks started, and pausing them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, urlencode

from starlette.responses import RedirectResponse
from starlette.routing import Route

from gateway.api.run_query import text_of
from gateway.dashboard.part import part
from gateway.dashboard.run_table import find_runs
from tidemill.history.run_lists import RunQuery
from tidemill.kernel.services.schedule_performer import TAG

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from gateway.dashboard.services import Services
    from tidemill.kernel.services.schedules import ScheduleVerb

PATH: Final = "/schedules"
_PAGE: Final = 50
_RECENT: Final = 10
_SEE_OTHER: Final = 303
_SAID: Final = {
    "pause": "It is paused: no tick starts a run until it is resumed.",
    "resume": "Its ticks start runs again.",
}


@dataclass(frozen=True, slots=True)
class SchedulePages:
    """Pages under `/schedules`."""

    services: Services

    def routes(self) -> list[Route]:
        """Return the routes."""
        one = f"{PATH}/{{schedule}}"
        return [
            Route(PATH, self.list_schedules),
            Route(one, self.show_schedule),
            Route(f"{one}/pause", self.pause, methods=["POST"]),
            Route(f"{one}/resume", self.resume, methods=["POST"]),
            Route(f"{one}/trigger", self.trigger, methods=["POST"]),
        ]

    async def list_schedules(self, request: Request) -> Response:
        """A page of schedules, by their ids."""
        after = text_of(request.query_params, "after") or ""
        found = await part(self.services.schedules.list())
        views = [view for view in found.content or [] if view.state.id > after]
        more = urlencode({"after": views[_PAGE - 1].state.id}) if len(views) > _PAGE else ""
        return self.services.frame.page(
            request,
            "schedules.html",
            title="Schedules",
            active="schedules",
            live="/live?streams=JOURNAL",
            found=found,
            views=views[:_PAGE],
            next=f"{PATH}?{more}" if more else "",
            after=after,
        )

    async def show_schedule(self, request: Request) -> Response:
        """One schedule: its next ticks, its last one, and the newest runs."""
        view = await self.services.schedules.get(request.path_params["schedule"])
        recent = await find_runs(self.services, RunQuery(tag=f"{TAG}{view.state.id}"), limit=_RECENT)
        return self.services.frame.page(
            request,
            "schedule.html",
            title=view.state.id,
            active="schedules",
            live="/live?streams=JOURNAL",
            view=view,
            recent=recent,
            tag=f"{TAG}{view.state.id}",
            said=_SAID.get(text_of(request.query_params, "said") or "", ""),
        )

    async def pause(self, request: Request) -> Response:
        """Let no tick start a run."""
        return await self._tell(request, "pause")

    async def resume(self, request: Request) -> Response:
        """Let ticks start runs again."""
        return await self._tell(request, "resume")

    async def trigger(self, request: Request) -> Response:
        """Start a run now, and lead to it."""
        run = await self.services.schedules.trigger(request.path_params["schedule"])
        return RedirectResponse(f"/runs/{run}", _SEE_OTHER)

    async def _tell(self, request: Request, verb: ScheduleVerb) -> Response:
        schedule = request.path_params["schedule"]
        await self.services.schedules.tell(schedule, verb)
        return RedirectResponse(f"{PATH}/{quote(schedule, safe='')}?said={verb}", _SEE_OTHER)
