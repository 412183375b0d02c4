"""Errors by their fingerprints: what fails, how often, since when, and what people decided about it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

from starlette.responses import RedirectResponse
from starlette.routing import Route

from gateway.access.form import form_of
from gateway.access.identity import visit_of
from gateway.api.run_query import STATES, error_query, mark_of
from gateway.dashboard.part import part
from gateway.dashboard.run_table import find_runs
from gateway.dashboard.shown import clip
from tidemill.history.run_lists import RunQuery

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from gateway.dashboard.services import Services

PATH: Final = "/errors"
_RUNS: Final = 20
_NOTE_LIMIT: Final = 1_000
_TRACE: Final = 12_000
_SEE_OTHER: Final = 303


@dataclass(frozen=True, slots=True)
class Errors:
    """Pages under `/errors`."""

    services: Services

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route(PATH, self.list_errors),
            Route("/errors/{fingerprint}", self.show_error),
            Route("/errors/{fingerprint}/mark", self.mark, methods=["POST"]),
        ]

    async def list_errors(self, request: Request) -> Response:
        """A page of groups of errors, those that came last first."""
        query, cursor = error_query(request.query_params), request.query_params.get("cursor") or None
        found = await part(self.services.history.errors(query, cursor=cursor))
        given = {"task": query.task or "", "state": query.state or ""}
        more = found.content.cursor if found.content is not None else None
        return self.services.frame.page(
            request,
            "errors.html",
            title="Errors",
            active="errors",
            live="" if cursor else "/live?streams=JOURNAL",
            found=found,
            groups=found.content.rows if found.content is not None else (),
            given=given,
            states=STATES,
            next=f"{PATH}?{urlencode(given | {'cursor': more})}" if more else "",
        )

    async def show_error(self, request: Request) -> Response:
        """One group with its runs."""
        fingerprint = request.path_params["fingerprint"]
        group, runs = await asyncio.gather(
            self.services.history.error(fingerprint),
            find_runs(self.services, RunQuery(fingerprint=fingerprint), limit=_RUNS),
        )
        return self.services.frame.page(
            request,
            "error.html",
            title=f"{group.type} in {group.task}",
            active="errors",
            live="/live?streams=JOURNAL",
            group=group,
            message=clip(group.message),
            traceback=clip(group.traceback[-_TRACE:], _TRACE),
            runs=runs,
        )

    async def mark(self, request: Request) -> Response:
        """Resolve or ignore it, or take that back."""
        fingerprint, form, visit = request.path_params["fingerprint"], form_of(request), visit_of(request)
        by = visit.identity.name if visit is not None else ""
        note = form.get("note").strip()[:_NOTE_LIMIT]
        await self.services.history.mark_error(fingerprint, mark_of(form.get("state")), by=by, note=note)
        return RedirectResponse(f"{PATH}/{fingerprint}", _SEE_OTHER)
