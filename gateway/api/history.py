"""Control API: what has happened, by the history: runs, errors, counts, lineage."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import orjson
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from gateway.access.identity import visit_of
from gateway.api.history_rows import document
from gateway.api.parameters import json_object, limit_of, number, only, run_id
from gateway.api.parameters import text_of as text_in
from gateway.api.run_query import address_of, error_query, mark_of, moment_of, run_query, text_of

if TYPE_CHECKING:
    from starlette.requests import Request

    from gateway.masking import Masks
    from tidemill.history.reader import HistoryReader

RUNS: Final = "/api/v1/history/runs"
_HOUR: Final = 3600
_NOTE_LIMIT: Final = 1_000


@dataclass(frozen=True, slots=True)
class HistoryApi:
    """Endpoints under `/api/v1/history`; where the history can't be asked they answer 503."""

    history: HistoryReader
    masks: Masks

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route(RUNS, self.list_runs),
            Route(f"{RUNS}/{{run}}", self.show_run),
            Route(f"{RUNS}/{{run}}/lineage", self.show_lineage),
            Route("/api/v1/history/errors", self.list_errors),
            Route("/api/v1/history/errors/{fingerprint}", self.show_error),
            Route("/api/v1/history/errors/{fingerprint}/mark", self.mark_error, methods=["POST"]),
            Route("/api/v1/history/totals", self.show_totals),
            Route("/api/v1/history/rates", self.show_rates),
        ]

    async def list_runs(self, request: Request) -> Response:
        """A page of runs, the newest first; `next` is the next page's address."""
        query, cursor = run_query(request.query_params), _cursor(request)
        await self.masks.check_search(request, query.text)
        page = await self.history.runs(query, cursor=cursor, limit=limit_of(request))
        following = address_of(RUNS, query, page.cursor) if page.cursor is not None else None
        return JSONResponse(
            {"runs": [document(row) for row in page.rows], "cursor": page.cursor, "next": following}
        )

    async def show_run(self, request: Request) -> Response:
        """A run with its bodies, its waterfall and its nearest family."""
        detail = await self.history.run(run_id(request))
        run = detail.run
        mask = await self.masks.of_run(request, run.task, run.source, run.type)
        return JSONResponse(document(mask.detail(detail)))

    async def show_lineage(self, request: Request) -> Response:
        """Everything that belongs together with a run: requests, events, runs."""
        lineage = await self.history.lineage(run_id(request))
        events = [self.masks.of_event(request, one.source, one.type).row(one) for one in lineage.events]
        return JSONResponse(document(replace(lineage, events=tuple(events))))

    async def list_errors(self, request: Request) -> Response:
        """A page of groups of errors, those that came last first."""
        query = error_query(request.query_params)
        page = await self.history.errors(query, cursor=_cursor(request), limit=limit_of(request))
        return JSONResponse({"errors": [document(row) for row in page.rows], "cursor": page.cursor})

    async def show_error(self, request: Request) -> Response:
        """One group of errors."""
        return JSONResponse(document(await self.history.error(request.path_params["fingerprint"])))

    async def mark_error(self, request: Request) -> Response:
        """Resolve or ignore a group of errors, or take that back."""
        order, visit = await json_object(request), visit_of(request)
        only(order, "state", "note")
        state, note = mark_of(text_in(order, "state")), text_in(order, "note")[:_NOTE_LIMIT]
        by = visit.identity.name if visit is not None else ""
        fingerprint = request.path_params["fingerprint"]
        return JSONResponse(document(await self.history.mark_error(fingerprint, state, by=by, note=note)))

    async def show_totals(self, request: Request) -> Response:
        """How many runs each task has in each status now."""
        task = text_of(request.query_params, "task")
        return JSONResponse({"tasks": await self.history.totals(task=task)})

    async def show_rates(self, request: Request) -> Response:
        """How many runs were created and ended, and how many requests had which verdict, by time."""
        parameters = request.query_params
        since = moment_of(parameters, "since")
        given: dict[str, Any] = {
            "span": number(request, "span", 60, _HOUR),
            "since": since if since is not None else time.time() - _HOUR,
            "until": moment_of(parameters, "until"),
        }
        runs, requests = await asyncio.gather(
            self.history.run_rates(**given, task=text_of(parameters, "task")),
            self.history.delivery_rates(**given, source=text_of(parameters, "source")),
        )
        # Thousands of rows: the standard library would take as long to write them as the rest together.
        told = {"runs": [document(row) for row in runs], "requests": [document(row) for row in requests]}
        return Response(orjson.dumps(told), media_type="application/json")


def _cursor(request: Request) -> str | None:
    return request.query_params.get("cursor") or None
