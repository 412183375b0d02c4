"""Requests: every one with what it came to, the refused ones too."""

from __future__ import annotations

import asyncio
import base64
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from starlette.responses import RedirectResponse
from starlette.routing import Route

from gateway.access.changes import note
from gateway.api.deliveries import mask_of, masked_delivery
from gateway.api.run_query import moment_of, text_of
from gateway.dashboard.addresses import address_of
from gateway.dashboard.part import part
from gateway.dashboard.shown import Shown, show_body, show_value
from tidemill.history.delivery_queries import DeliveryQuery
from tidemill.history.rows import Body
from tidemill.kernel.errors import HistoryError, NotFoundError
from tidemill.kernel.services.deliveries import VERDICTS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request
    from starlette.responses import Response

    from gateway.dashboard.services import Services
    from tidemill.history.rows import EventRow

PATH: Final = "/deliveries"
_SEE_OTHER: Final = 303
_EVENTS: Final = 20
_SAID: Final = frozenset({"let-in", "refused", "handshake", "unavailable"})
"""What a page says behind an attempt to verify its request again."""
_SHOWN: Final = ("reason", "tenant", "client", "status", "detail", "method", "path")
_APART: Final = ("headers", "body", "body64", "events")
NAMES: Final = ("verdict", "source", "reason", "since", "until")


@dataclass(frozen=True, slots=True)
class DeliveryPages:
    """Pages under `/deliveries`."""

    services: Services

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route(PATH, self.list_deliveries),
            Route("/deliveries/{id:path}/replay", self.replay, methods=["POST"]),
            Route("/deliveries/{id:path}/reverify", self.reverify, methods=["POST"]),
            Route("/deliveries/{id:path}", self.show_delivery),
        ]

    async def list_deliveries(self, request: Request) -> Response:
        """A page of requests, the newest first, each with its details folded away."""
        parameters = request.query_params
        query = DeliveryQuery(
            verdict=text_of(parameters, "verdict"),
            source=text_of(parameters, "source"),
            reason=text_of(parameters, "reason"),
            since=moment_of(parameters, "since"),
            until=moment_of(parameters, "until"),
        )
        found = await part(self.services.history.deliveries(query, cursor=parameters.get("cursor") or None))
        page = found.content
        given = {name: parameters.get(name, "") for name in NAMES}
        return self.services.frame.page(
            request,
            "deliveries.html",
            title="Deliveries",
            active="deliveries",
            live="" if "cursor" in parameters else "/live?streams=DELIVERIES,REFUSALS",
            found=found,
            deliveries=[(row, show_value(row.data)) for row in page.rows] if page is not None else [],
            verdicts=VERDICTS,
            given=given,
            filtered=any(given.values()),
            first=address_of(PATH, given),
            next=address_of(PATH, given, page.cursor) if page is not None and page.cursor else "",
        )

    async def show_delivery(self, request: Request) -> Response:
        """One request: its verdict, the events that it brought with their runs, its headers and its body."""
        reception = self.services.reception
        entry = await reception.deliveries.find(request.path_params["id"])
        read = await part(reception.deliveries.document(entry))
        mask = mask_of(reception.masks, request, entry)
        document = masked_delivery(read.content or entry.summary(), mask)
        known = await asyncio.gather(*(self._known(event) for event in entry.events[:_EVENTS]))
        facts = {name: value for name, value in document.items() if name not in _APART}
        return self.services.frame.page(
            request,
            "delivery.html",
            title=f"Delivery {entry.id}",
            active="deliveries",
            live="/live?streams=JOURNAL" if known else "",
            delivery=dict.fromkeys(_SHOWN) | document,
            source=str(entry.facts.get("source") or ""),
            events=list(zip(entry.events, known, strict=False)),
            left_out=max(0, len(entry.events) - _EVENTS),
            replayable=any(event.get("status") != "quarantined" for event in entry.events),
            kept=(await part(reception.again.of(entry))).content is not None,
            keeps=entry.facts.get("source") in reception.keeping and bool(entry.facts.get("kept")),
            said=said if (said := request.query_params.get("said", "")) in _SAID else "",
            missing=read.missing,
            body=_body(document),
            headers=show_value(document.get("headers")),
            facts=show_value(facts),
        )

    async def replay(self, request: Request) -> Response:
        """Store its events again, under new ids."""
        deliveries = self.services.reception.deliveries
        answer = await deliveries.replay(await deliveries.find(request.path_params["id"]))
        new = answer["replayed"]
        address = f"/events/{quote(str(new[0]['as']), safe='')}" if len(new) == 1 else "/events"
        return RedirectResponse(address, _SEE_OTHER)

    async def reverify(self, request: Request) -> Response:
        """Verify its request again, which was refused and kept; lead to what it has become."""
        name = request.path_params["id"]
        row = await self.services.reception.again.run(name)
        note(request, verdict=str(row["verdict"]))
        events, place = row.get("events", []), quote(name, safe="")
        if len(events) == 1:
            path = "quarantine" if row["verdict"] == "quarantined" else "events"
            return RedirectResponse(f"/{path}/{quote(str(events[0]['id']), safe='')}", _SEE_OTHER)
        return RedirectResponse(f"{PATH}/{place}?said={'let-in' if events else row['verdict']}", _SEE_OTHER)

    async def _known(self, event: Mapping[str, Any]) -> EventRow | None:
        """Return what the history knows of an event; None where it doesn't, or can't be asked."""
        try:
            detail = await self.services.history.event(str(event.get("id")))
        except (NotFoundError, HistoryError):
            return None
        return detail.event


def _body(document: Mapping[str, Any]) -> Shown:
    if "body64" in document:
        raw = base64.b64decode(document["body64"])
        return show_body(Body(size=len(raw), data=raw))
    if "masked" in document:
        return Shown(note="It may hold fields that viewers don't see.")
    if "body" not in document:
        return Shown(note="It isn't kept, or not any more.")
    raw = str(document["body"]).encode("utf-8", "replace")
    return show_body(Body(size=len(raw), data=raw))
