"""Events: lists, and a page each with what was decided about one and what it led to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from starlette.responses import RedirectResponse
from starlette.routing import Route

from gateway.api.run_query import moment_of, text_of
from gateway.dashboard.addresses import address_of
from gateway.dashboard.part import part
from gateway.dashboard.shown import TEXT_LIMIT, show_masked, show_value
from tidemill.history.event_queries import EventQuery
from tidemill.kernel.envelope import EDITED_BY
from tidemill.kernel.services.events import Events

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from gateway.dashboard.services import Services

PATH: Final = "/events"
NAMES: Final = ("source", "type", "since", "until")
_SEE_OTHER: Final = 303


@dataclass(frozen=True, slots=True)
class EventPages:
    """Pages under `/events`."""

    services: Services

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route(PATH, self.list_events),
            Route("/events/{id:path}/replay", self.replay, methods=["POST"]),
            Route("/events/{id:path}", self.show_event),
        ]

    async def list_events(self, request: Request) -> Response:
        """A page of events, the newest first."""
        parameters = request.query_params
        query = EventQuery(
            source=text_of(parameters, "source"),
            type=text_of(parameters, "type"),
            since=moment_of(parameters, "since"),
            until=moment_of(parameters, "until"),
        )
        found = await part(self.services.history.events(query, cursor=parameters.get("cursor") or None))
        given = {name: parameters.get(name, "") for name in NAMES}
        cursor = found.content.cursor if found.content is not None else None
        return self.services.frame.page(
            request,
            "events.html",
            title="Events",
            active="events",
            live="" if "cursor" in parameters else "/live?streams=EVENTS",
            found=found,
            events=found.content.rows if found.content is not None else (),
            given=given,
            filtered=any(given.values()),
            first=address_of(PATH, given),
            next=address_of(PATH, given, cursor) if cursor else "",
        )

    async def show_event(self, request: Request) -> Response:
        """One event: its attributes, headers and body, what was decided about it, and its runs."""
        detail = await self.services.history.event(request.path_params["id"])
        mask = self.services.reception.masks.of_event(request, detail.event.source, detail.event.type)
        extensions = detail.facts.get("extensions") or {}
        edited = mask.value(detail.facts.get("value")) if EDITED_BY in extensions else None
        facts: dict[str, Any] = {
            name: value
            for name, value in mask.facts(detail.facts).items()
            if name not in ("headers", "value") and value is not None
        }
        return self.services.frame.page(
            request,
            "event.html",
            title=f"Event {detail.event.type}",
            active="events",
            detail=detail,
            event=detail.event,
            facts=show_value(facts),
            editor=extensions.get(EDITED_BY),
            edited=show_value(edited, TEXT_LIMIT),
            headers=show_value(
                self.services.reception.redaction.show(detail.event.source, detail.facts.get("headers") or {})
            ),
            body=show_masked(detail.body, mask),
            verdicts=[(verdict, show_value(mask.seen(verdict.data))) for verdict in detail.event.verdicts],
        )

    async def replay(self, request: Request) -> Response:
        """Store it again, under a new id."""
        name = request.path_params["id"]
        events = Events(self.services.broker.bus, self.services.broker.blobs)
        known = await part(self.services.history.event(name))
        sources = (known.content.event.source,) if known.content is not None else ()
        new = await events.replay(await events.find(name, sources))
        return RedirectResponse(f"{PATH}/{quote(new.id, safe='')}", _SEE_OTHER)
