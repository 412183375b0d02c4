"""Control API: destinations, and letting one be sent to again that has said that it is gone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.responses import JSONResponse
from starlette.routing import Route

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from tidemill.kernel.services.destinations import Destinations


@dataclass(frozen=True, slots=True)
class DestinationsApi:
    """Endpoints under `/api/v1/destinations`."""

    destinations: Destinations

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route("/api/v1/destinations", self.list_destinations),
            Route("/api/v1/destinations/{name}/enable", self.enable, methods=["POST"]),
        ]

    async def list_destinations(self, _: Request) -> Response:
        """Where events are forwarded to."""
        return JSONResponse({"destinations": await self.destinations.list()})

    async def enable(self, request: Request) -> Response:
        """Let a destination be sent to again."""
        name = request.path_params["name"]
        await self.destinations.enable(name)
        return JSONResponse({"enabled": name})
