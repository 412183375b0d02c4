"""Control API: which tasks an event would start."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from starlette.responses import JSONResponse
from starlette.routing import Route

from gateway.api.parameters import json_object, only, text_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.requests import Request
    from starlette.responses import Response

    from tidemill.kernel.services.dry_run import DryRun

PATH: Final = "/api/v1/dry-run"


@dataclass(frozen=True, slots=True)
class DryRunApi:
    """`POST /api/v1/dry-run`; `sources` are the names under which an event's id is looked up."""

    dry_run: DryRun
    sources: Sequence[str]

    def routes(self) -> list[Route]:
        """Return the route."""
        return [Route(PATH, self.judge, methods=["POST"])]

    async def judge(self, request: Request) -> Response:
        """What the tasks would make of a stored event, or of one that is written."""
        order = await json_object(request)
        only(order, "id", "event")
        if name := text_of(order, "id"):
            return JSONResponse(await self.dry_run.of_event(name, self.sources))
        return JSONResponse(await self.dry_run.of_document(order.get("event")))
