"""Control API: the log of requests, and sending what a delivery brought again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from gateway.api.parameters import limit_of
from gateway.masking import Mask
from tidemill.kernel.errors import NotFoundError
from tidemill.kernel.services.deliveries import Query
from tidemill.kernel.services.delivery_log import Cursor

if TYPE_CHECKING:
    from starlette.requests import Request

    from gateway.masking import Masks
    from tidemill.kernel.services.deliveries import Deliveries
    from tidemill.kernel.services.delivery_log import Entry

_ACCEPTED = 202


@dataclass(frozen=True, slots=True)
class DeliveriesApi:
    """Endpoints under `/api/v1/deliveries`."""

    deliveries: Deliveries
    masks: Masks

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
            document = await self.deliveries.document(entry)
            return JSONResponse(masked_delivery(document, self._mask(request, entry)))
        body = await self.deliveries.body(entry)
        if body is None:
            raise NotFoundError(
                f"the body of the delivery {entry.id} isn't kept",
                hint="it stands on the delivery's events, as long as they are kept",
            )
        body = self._mask(request, entry).whole(body)
        return Response(body, media_type="application/octet-stream")

    async def replay_delivery(self, request: Request) -> Response:
        """Store a delivery's events again, under new ids."""
        entry = await self.deliveries.find(request.path_params["id"])
        return JSONResponse(await self.deliveries.replay(entry), _ACCEPTED)

    def _mask(self, request: Request, entry: Entry) -> Mask:
        return mask_of(self.masks, request, entry)


def mask_of(masks: Masks, request: Request, entry: Entry) -> Mask:
    """Return the mask of a request's body, by the events that it brought."""
    found = [masks.of_event(request, entry.source, str(event.get("type", ""))) for event in entry.events]
    return Mask(tuple(schema for mask in found for schema in mask.schemas))


def masked_delivery(document: dict[str, Any], mask: Mask) -> dict[str, Any]:
    """Return all that is known of a request as it may be seen: without a body that can't be taken apart."""
    if not mask.active or ("body" not in document and "body64" not in document):
        return document
    told = {name: value for name, value in document.items() if name not in ("body", "body64")}
    raw = mask.raw(str(document["body"]).encode("utf-8", "replace")) if "body" in document else None
    return told | ({"body": raw.decode()} if raw is not None else {"masked": True})
