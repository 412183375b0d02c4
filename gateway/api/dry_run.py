"""Control API: which tasks an event would start."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from starlette.responses import JSONResponse
from starlette.routing import Route

from gateway.api.parameters import json_object, only, text_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.requests import Request
    from starlette.responses import Response

    from gateway.masking import Masks
    from tidemill.kernel.services.dry_run import DryRun

PATH: Final = "/api/v1/dry-run"


@dataclass(frozen=True, slots=True)
class DryRunApi:
    """`POST /api/v1/dry-run`; `sources` are the names under which an event's id is looked up."""

    dry_run: DryRun
    sources: Sequence[str]
    masks: Masks

    def routes(self) -> list[Route]:
        """Return the route."""
        return [Route(PATH, self.judge, methods=["POST"])]

    async def judge(self, request: Request) -> Response:
        """What the tasks would make of a stored event, or of one that is written."""
        order = await json_object(request)
        only(order, "id", "event")
        if name := text_of(order, "id"):
            return JSONResponse(await dry_run_seen(self.dry_run, self.masks, request, name, self.sources))
        return JSONResponse(await self.dry_run.of_document(order.get("event")))


async def dry_run_seen(
    dry_run: DryRun, masks: Masks, request: Request, name: str, sources: Sequence[str]
) -> dict[str, Any]:
    """Return what the tasks would make of a stored event, as whoever asks may see it.

    Raises:
        NotFoundError: there is no such event.
        BrokerError: events or tasks can't be read.
    """
    found = await dry_run.of_event(name, sources)
    mask = masks.of_event(request, found["event"].get("source"), found["event"].get("type"))
    return found | {"tasks": [mask.seen(verdict) for verdict in found["tasks"]]}
