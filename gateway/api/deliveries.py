"""Control API: the log of requests, and sending what a delivery brought again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from gateway.api.parameters import limit_of
from tidemill.kernel.errors import NotFoundError
from tidemill.kernel.services.deliveries import Query
from tidemill.kernel.services.delivery_log import Cursor

if TYPE_CHECKING:
    from starlette.requests import Request

    from tidemill.kernel.services.deliveries import Deliveries

_ACCEPTED = 202


@dataclass(frozen=True, slots=True)
class DeliveriesApi:
    """Endpoints under `/api/v1/deliveries`."""

    deliveries: Deliveries

    def routes(self) -> list[Route]:
        """Return the routes; an event's id, which may be any text, names its delivery too."""
        return [
            Route("/api/v1/deliveries", self.list_deliveries),
            Route("/api/v1/deliveries/{id:path}/replay", self.replay_delivery, methods=["POST"]),
            Route("/api/v1/deliveries/{id:path}", self.show_delivery),
        ]

    async def list_deliveries(self, request: Request) -> Response:
        """The newest requests, or those before a cursor, with what each came to."""
        given = request.query_params
        query = Query.parse(given)
        before = Cursor.parse(given["before"]) if "before" in given else None
        listing = await self.deliveries.list(query, before=before, limit=limit_of(request))
        return JSONResponse(listing.document())

    async def show_delivery(self, request: Request) -> Response:
        """One request with its headers and, where it was genuine, its body."""
        entry = await self.deliveries.find(request.path_params["id"])
        if "raw" not in request.query_params:
            return JSONResponse(await self.deliveries.document(entry))
        body = await self.deliveries.body(entry)
        if body is None:
            raise NotFoundError(
                f"the body of the delivery {entry.id} isn't kept",
                hint="it stands on the delivery's events, as long as they are kept",
            )
        return Response(body, media_type="application/octet-stream")

    async def replay_delivery(self, request: Request) -> Response:
        """Store a delivery's events again, under new ids."""
        entry = await self.deliveries.find(request.path_params["id"])
        return JSONResponse(await self.deliveries.replay(entry), _ACCEPTED)
