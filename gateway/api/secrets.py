"""Control API: secrets that senders brought themselves. Seeing one takes the role that may change things."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.responses import JSONResponse
from starlette.routing import Route

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from tidemill.kernel.services.learned import LearnedSecrets


@dataclass(frozen=True, slots=True)
class SecretsApi:
    """Endpoints under `/api/v1/sources/{source}/secret`."""

    learned: LearnedSecrets

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route("/api/v1/sources/{source}/secret/reveal", self.reveal, methods=["POST"]),
            Route("/api/v1/sources/{source}/secret", self.forget, methods=["DELETE"]),
        ]

    async def reveal(self, request: Request) -> Response:
        """The secret that a source has learned, when and from whom: a POST, for readers must not have it."""
        found = await self.learned.find(request.path_params["source"])
        return JSONResponse(found.revealed(), headers={"Cache-Control": "no-store"})

    async def forget(self, request: Request) -> Response:
        """Forget it, so that the next one is learned."""
        source = request.path_params["source"]
        await self.learned.forget(source)
        return JSONResponse({"forgotten": source})
