"""Control API: sending a sample as its provider would."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from starlette.responses import JSONResponse
from starlette.routing import Route

from gateway.access.changes import note
from gateway.access.identity import visit_of
from gateway.api.parameters import json_object, only, text_of
from gateway.rehearsal import Order
from tidemill.kernel.errors import PayloadError

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from gateway.rehearsal import Rehearsals, Rehearsed


@dataclass(frozen=True, slots=True)
class RehearsalApi:
    """`POST /api/v1/sources/{source}/send`."""

    rehearsals: Rehearsals

    def routes(self) -> list[Route]:
        """Return the route."""
        return [Route("/api/v1/sources/{source}/send", self.send, methods=["POST"])]

    async def send(self, request: Request) -> Response:
        """Sign a sample and let it in as a delivery; the answer says what its sender would be answered."""
        order = _order(request.path_params["source"], await json_object(request))
        return JSONResponse((await rehearse(self.rehearsals, request, order)).document())


async def rehearse(rehearsals: Rehearsals, request: Request, order: Order) -> Rehearsed:
    """Send a delivery in the name of whoever asks, and note in the record of changes what it was.

    Raises:
        TidemillError: as for `Rehearsals.send`.
    """
    visit = visit_of(request)
    sent = await rehearsals.send(order, visit.client if visit is not None else "unknown")
    note(request, source=order.source, type=order.type, event=sent.event or sent.sent_id)
    return sent


def _order(source: str, document: dict[str, Any]) -> Order:
    only(document, "type", "data", "body", "id", "tenant", "tamper")
    tamper, body = document.get("tamper", False), document.get("body")
    if not isinstance(tamper, bool):
        raise PayloadError("tamper is neither true nor false", hint='send "tamper": true')
    if body is not None and not isinstance(body, str):
        raise PayloadError("body is no text", hint="send JSON as `data`")
    return Order(
        source=source,
        type=text_of(document, "type"),
        document=document.get("data"),
        body=body.encode("utf-8", "replace") if body is not None else None,
        id=text_of(document, "id") or None,
        tenant=text_of(document, "tenant") or None,
        tamper=tamper,
    )
