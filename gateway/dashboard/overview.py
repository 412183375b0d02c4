"""The first page: what happened last."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from starlette.routing import Route

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from gateway.dashboard.frame import Frame
    from tidemill.kernel.services.runs import Runs

_RECENT: Final = 20


@dataclass(frozen=True, slots=True)
class Overview:
    """`GET /`."""

    frame: Frame
    runs: Runs

    def routes(self) -> list[Route]:
        """Return the route."""
        return [Route("/", self.show_overview)]

    async def show_overview(self, request: Request) -> Response:
        """The runs that changed last."""
        recent = [view.facts() for view in await self.runs.list(limit=_RECENT)]
        return self.frame.page(request, "overview.html", title="Overview", active="overview", runs=recent)
