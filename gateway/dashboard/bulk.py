"""The same for many: a page that shows what would be done, and then how far it is."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from starlette.responses import RedirectResponse
from starlette.routing import Route

from gateway.access.form import form_of
from gateway.api import run_query
from gateway.choosing import FIRST, Order
from gateway.dashboard.part import part
from gateway.dashboard.run_table import row_of
from tidemill.kernel.errors import NotFoundError
from tidemill.kernel.services.bulk_verbs import Kind, checked_kind
from tidemill.kernel.services.dead_query import DeadQuery
from tidemill.kernel.services.quarantine_query import QuarantineQuery

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from starlette.requests import Request
    from starlette.responses import Response

    from gateway.dashboard.services import Services
    from tidemill.history.rows import RunRow
    from tidemill.kernel.services.bulk import Selection

FILTERS: Final[Mapping[Kind, Sequence[str]]] = {
    "runs": run_query.NAMES,
    "dead": DeadQuery.NAMES,
    "quarantine": QuarantineQuery.NAMES,
}
WORDS: Final[Mapping[Kind, tuple[str, str]]] = {
    "runs": ("run", "runs"),
    "dead": ("dead letter", "dead letters"),
    "quarantine": ("entry", "entries of the quarantine"),
}
"""What one of a kind is called, and what several are."""
_STREAMS: Final[Mapping[Kind, str]] = {
    "runs": "JOURNAL",
    "dead": "DEAD,JOURNAL",
    "quarantine": "QUARANTINE,EVENTS",
}
_SEE_OTHER: Final = 303
_REASON_LIMIT: Final = 500
_MOMENT: Final = 1.0
"""Seconds that the page waits for what is done soon."""


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
        kind = checked_kind(form.get("what") or None)
        where = {name: text for name in FILTERS[kind] if (text := form.get(name).strip())}
        reason = form.get("why").strip()[:_REASON_LIMIT]
        selection, _ = await self.services.bulk.select(
            request, Order(kind, form.get("action"), where, reason)
        )
        return RedirectResponse(f"/bulk/{selection.token}", _SEE_OTHER)

    async def show(self, request: Request) -> Response:
        """What would be done to which runs, or how far it is."""
        selection, _ = await self.services.bulk.actions.find(request.path_params["token"])
        told = await self.services.bulk.look(selection.token)
        return self.services.frame.page(
            request,
            "bulk.html",
            title=f"Many {WORDS[selection.kind][1]}",
            active=selection.kind,
            live=f"/live?streams={_STREAMS[selection.kind]}" if told["state"] == "running" else "",
            told=told,
            words=WORDS[selection.kind],
            reason=selection.reason,
            first=(await part(self._first(request, selection))).content or [],
            left=len(selection.items) - FIRST,
        )

    async def execute(self, request: Request) -> Response:
        """Do it."""
        token = request.path_params["token"]
        await self.services.bulk.execute(request, token)
        await self.services.bulk.wait(token, _MOMENT)
        return RedirectResponse(f"/bulk/{token}", _SEE_OTHER)

    async def _first(self, request: Request, selection: Selection) -> list[Any]:
        """Return the first of a selection as the lists show them, as far as they can be looked up."""
        chooser = self.services.bulk.chooser
        match selection.kind:
            case "runs":
                rows = await asyncio.gather(*(part(self._row(run)) for run in selection.items[:FIRST]))
                return [row for row, _ in rows if row is not None]
            case "dead":
                return [letter.summary() for letter in await chooser.first_letters(selection.items)]
            case "quarantine":
                entries, masks = await chooser.first_entries(selection.items), self.services.reception.masks
                return [
                    masks.of_event(request, entry.event.get("source"), entry.event.get("type")).quarantined(
                        entry.summary()
                    )
                    for entry in entries
                ]

    async def _row(self, run: str) -> RunRow | None:
        """Return a run as it is now."""
        try:
            view = await self.services.runs.get(run)
        except NotFoundError:
            view = None
        if view is not None and view.state.created is not None:
            return row_of(view)
        return (await self.services.history.run(run)).run
