"""Control API: the record of changes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.responses import JSONResponse
from starlette.routing import Route

from gateway.api.parameters import before_of, limit_of

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from tidemill.kernel.services.audit import Audit


@dataclass(frozen=True, slots=True)
class AuditApi:
    """The endpoint `/api/v1/audit`."""

    audit: Audit

    def routes(self) -> list[Route]:
        """Return the route."""
        return [Route("/api/v1/audit", self.list_changes)]

    async def list_changes(self, request: Request) -> Response:
        """The newest changes."""
        given = request.query_params
        found = await self.audit.list(
            who=given.get("who"),
            action=given.get("action"),
            target=given.get("target"),
            before=before_of(request),
            limit=limit_of(request),
        )
        return JSONResponse({"audit": found})
