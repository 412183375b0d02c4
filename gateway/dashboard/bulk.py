"""The same for many runs: a page that shows what would be done, and then how far it is."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from starlette.responses import RedirectResponse
from starlette.routing import Route

from gateway.access.form import form_of
from gateway.api.run_query import NAMES
from gateway.bulk_desk import FIRST
from gateway.dashboard.part import part
from gateway.dashboard.run_table import row_of
from tidemill.kernel.errors import NotFoundError

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from gateway.dashboard.services import Services
    from tidemill.history.rows import RunRow

_SEE_OTHER: Final = 303
_REASON_LIMIT: Final = 500


@dataclass(frozen=True, slots=True)
class BulkPages:
    """Pages under `/bulk`."""

    services: Services

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route("/bulk", self.select, methods=["POST"]),
            Route("/bulk/{token}", self.show),
            Route("/bulk/{token}/execute", self.execute, methods=["POST"]),
        ]

    async def select(self, request: Request) -> Response:
        """Select what a list shows."""
        form = form_of(request)
        where = {name: text for name in NAMES if (text := form.get(name).strip())}
        reason = form.get("reason").strip()[:_REASON_LIMIT]
        selection, _ = await self.services.bulk.select(request, form.get("action"), where, reason)
        return RedirectResponse(f"/bulk/{selection.token}", _SEE_OTHER)

    async def show(self, request: Request) -> Response:
        """What would be done to which runs, or how far it is."""
        selection, _ = await self.services.bulk.actions.find(request.path_params["token"])
        first = await asyncio.gather(*(part(self._row(run)) for run in selection.runs[:FIRST]))
        told = await self.services.bulk.look(selection.token)
        return self.services.frame.page(
            request,
            "bulk.html",
            title="Many runs",
            active="runs",
            live="/live?streams=JOURNAL" if told["state"] == "running" else "",
            told=told,
            reason=selection.reason,
            first=[row for row, _ in first if row is not None],
            left=len(selection.runs) - FIRST,
        )

    async def execute(self, request: Request) -> Response:
        """Do it."""
        token = request.path_params["token"]
        await self.services.bulk.execute(request, token)
        return RedirectResponse(f"/bulk/{token}", _SEE_OTHER)

    async def _row(self, run: str) -> RunRow | None:
        """Return a run as it is now."""
        try:
            view = await self.services.runs.get(run)
        except NotFoundError:
            view = None
        if view is not None and view.state.created is not None:
            return row_of(view)
        return (await self.services.history.run(run)).run
