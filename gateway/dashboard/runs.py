"""Lists of runs: filters, words, pages."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from starlette.routing import Route

from gateway.api.run_query import NAMES, address_of, run_query
from gateway.dashboard.part import part
from gateway.dashboard.run_table import find_runs
from tidemill.kernel.protocol.state import Status

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from gateway.dashboard.services import Services

PATH: Final = "/runs"
STATUSES: Final = tuple(str(status) for status in Status)


@dataclass(frozen=True, slots=True)
class RunList:
    """`GET /runs`."""

    services: Services

    def routes(self) -> list[Route]:
        """Return the route."""
        return [Route(PATH, self.list_runs)]

    async def list_runs(self, request: Request) -> Response:
        """A page of runs, the newest first."""
        parameters = request.query_params
        query = run_query(parameters)
        await self.services.reception.masks.check_search(request, query.text)
        table, _ = await asyncio.gather(
            find_runs(self.services, query, cursor=parameters.get("cursor") or None),
            part(self.services.definitions.refresh()),
        )
        return self.services.frame.page(
            request,
            "runs.html",
            title="Runs",
            active="runs",
            live="" if "cursor" in parameters else "/live?streams=JOURNAL",
            table=table,
            given={name: parameters.get(name, "") for name in NAMES},
            picked=query.statuses,
            filtered=any(parameters.get(name) for name in NAMES),
            statuses=STATUSES,
            tasks=sorted(definition.id for definition in self.services.definitions.active()),
            first=address_of(PATH, query),
            next=address_of(PATH, query, table.cursor) if table.cursor else "",
        )
