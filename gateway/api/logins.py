"""Control API: ending what somebody has open in browsers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.responses import JSONResponse
from starlette.routing import Route

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from gateway.access.sessions import Sessions


@dataclass(frozen=True, slots=True)
class LoginsApi:
    """The endpoint `/api/v1/logins/{name}`."""

    sessions: Sessions

    def routes(self) -> list[Route]:
        """Return the route; a name may be any text."""
        return [Route("/api/v1/logins/{name:path}", self.end_logins, methods=["DELETE"])]

    async def end_logins(self, request: Request) -> Response:
        """End all logins that somebody has at present; with a key or a role they can log in again."""
        name = request.path_params["name"]
        await self.sessions.revoked.end_all(name, self.sessions.now())
        return JSONResponse({"ended": name})
