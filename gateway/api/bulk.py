"""Control API: the same for many: looked at first, then done under a token."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.responses import JSONResponse
from starlette.routing import Route

from gateway.api.parameters import json_object, only, text_of
from gateway.choosing import Order
from tidemill.kernel.errors import PayloadError
from tidemill.kernel.services.bulk import Progress, told

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from gateway.bulk_desk import BulkDesk

_ACCEPTED = 202


@dataclass(frozen=True, slots=True)
class BulkApi:
    """Endpoints under `/api/v1/bulk`."""

    desk: BulkDesk

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route("/api/v1/bulk", self.select, methods=["POST"]),
            Route("/api/v1/bulk/{token}", self.show),
            Route("/api/v1/bulk/{token}/execute", self.execute, methods=["POST"]),
        ]

    async def select(self, request: Request) -> Response:
        """What fits a filter, kept under a token; nothing is done to it yet."""
        given = await json_object(request)
        only(given, "what", "action", "where", "reason")
        where = given.get("where")
        if not isinstance(where, dict):
            raise PayloadError("where is no JSON object", hint='send "where": {"status": "failed"}')
        order = Order(given.get("what"), given.get("action"), where, text_of(given, "reason"))
        selection, first = await self.desk.select(request, order)
        return JSONResponse(told(selection, Progress(total=len(selection.items))) | {"first": first})

    async def show(self, request: Request) -> Response:
        """How far a selection is."""
        return JSONResponse(await self.desk.look(request.path_params["token"]))

    async def execute(self, request: Request) -> Response:
        """Do it to all of a selection; repeated, it changes nothing."""
        return JSONResponse(await self.desk.execute(request, request.path_params["token"]), _ACCEPTED)
