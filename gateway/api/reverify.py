"""Control API: verifying refused requests again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from starlette.responses import JSONResponse
from starlette.routing import Route

from gateway.access.changes import note
from gateway.api.parameters import json_object, only, whole_number
from gateway.reverification import MOST, Progress
from tidemill.kernel.errors import PayloadError

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from gateway.again import Again
    from gateway.reverification import Reverification


@dataclass(frozen=True, slots=True)
class ReverifyApi:
    """The endpoints `/api/v1/deliveries/reverify` and `/api/v1/deliveries/{id}/reverify`."""

    reverification: Reverification
    again: Again

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route("/api/v1/deliveries/reverify", self.reverify, methods=["POST"]),
            Route("/api/v1/deliveries/{id:path}/reverify", self.reverify_one, methods=["POST"]),
        ]

    async def reverify(self, request: Request) -> Response:
        """Verify refused requests that were kept with the secrets of today, and let in what is genuine."""
        document = await json_object(request)
        only(document, "source", "dry_run", "after", "limit")
        source, after = _text(document, "source"), _text(document, "after")
        answer = await self.reverification.run(
            source,
            dry=_flag(document, "dry_run"),
            after=None if after is None else Progress.parse(after),
            limit=_limit(document),
        )
        return JSONResponse(answer)

    async def reverify_one(self, request: Request) -> Response:
        """Verify one refused request that was kept, and let it in where it is genuine."""
        document = await json_object(request)
        only(document, "dry_run")
        row = await self.again.run(request.path_params["id"], dry=_flag(document, "dry_run"))
        note(request, verdict=str(row["verdict"]))
        return JSONResponse(row)


def _text(document: dict[str, Any], name: str) -> str | None:
    value = document.get(name)
    if value is None or isinstance(value, str):
        return value
    raise PayloadError(f"{name} is no text", hint=f'send "{name}": "…"')


def _flag(document: dict[str, Any], name: str) -> bool:
    value = document.get(name, False)
    if isinstance(value, bool):
        return value
    raise PayloadError(f"{name} is neither true nor false", hint=f'send "{name}": true')


def _limit(document: dict[str, Any]) -> int:
    limit = whole_number(document.get("limit", MOST))
    if limit is not None and 1 <= limit <= MOST:
        return limit
    raise PayloadError("limit can't be used", hint=f"send a whole number from 1 to {MOST}")
