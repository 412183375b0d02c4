"""Control API: stored events, and records of requests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from gateway.api.parameters import before_of, limit_of
from tidemill.kernel.errors import PayloadError
from tidemill.kernel.subjects import pattern_problem

if TYPE_CHECKING:
    from starlette.requests import Request

    from gateway.masking import Masks
    from tidemill.kernel.services.events import Events, StoredEvent
    from tidemill.kernel.services.registry import Definitions
    from tidemill.kernel.services.runs import Runs

_ACCEPTED = 202


@dataclass(frozen=True, slots=True)
class EventsApi:
    """Endpoints under `/api/v1/events` and `/api/v1/records`."""

    events: Events
    runs: Runs
    definitions: Definitions
    sources: Sequence[str]
    masks: Masks

    def routes(self) -> list[Route]:
        """Return the routes; an event's id may be any text, slashes included."""
        return [
            Route("/api/v1/events", self.list_events),
            Route("/api/v1/events/{id:path}/replay", self.replay_event, methods=["POST"]),
            Route("/api/v1/events/{id:path}", self.show_event),
            Route("/api/v1/records", self.list_records),
        ]

    async def list_events(self, request: Request) -> Response:
        """The newest events."""
        event_type = request.query_params.get("type")
        if event_type and (problem := pattern_problem(event_type)):
            raise PayloadError(f"type={event_type!r} can't be used: {problem}", hint="like github.issues.*")
        found = await self.events.list(
            source=request.query_params.get("source"),
            event_type=event_type,
            before=before_of(request),
            limit=limit_of(request),
        )
        return JSONResponse({"events": [event.summary() for event in found]})

    async def show_event(self, request: Request) -> Response:
        """One event with its data, what was decided about it, and the runs that it started."""
        event = await self.events.find(request.path_params["id"], self.sources)
        body = await self.events.body(event)
        mask = self.masks.of_event(request, event.facts.get("source"), event.facts.get("type"))
        if "raw" in request.query_params:
            return Response(mask.whole(body), media_type="application/octet-stream")
        document = {
            "event": mask.facts(event.facts),
            "seq": event.seq,
            "received_at": event.at.isoformat(),
            "size": len(body),
            "data": mask.value(_data(event, body)),
            "verdicts": [mask.record(one) for one in await self.events.verdicts(event.key)],
            "runs": await self.runs.of_event(event.key, str(event.facts.get("type", ""))),
        }
        return JSONResponse(document)

    async def replay_event(self, request: Request) -> Response:
        """Store an event again, under a new id."""
        old = await self.events.find(request.path_params["id"], self.sources)
        new = await self.events.replay(old)
        return JSONResponse(new.summary(), _ACCEPTED)

    async def list_records(self, request: Request) -> Response:
        """What was decided about events: routing verdicts, duplicates and drift, as far as it was kept."""
        found = await self.events.records(
            kind=request.query_params.get("kind"),
            source=request.query_params.get("source"),
            limit=limit_of(request),
        )
        return JSONResponse({"records": [self._seen(request, record) for record in found]})

    def _seen(self, request: Request, record: dict[str, Any]) -> dict[str, Any]:
        event = record.get("event") or record
        name, event_type = record.get("source"), str(event.get("type", ""))
        return self.masks.of_event(request, event.get("source", name), event_type).record(record)


def _data(event: StoredEvent, body: bytes) -> Any:
    """Return an event's data, None where its body is no JSON: `?raw` has the bytes."""
    if "value" in event.facts:
        return event.facts["value"]
    try:
        return orjson.loads(body) if body else None
    except orjson.JSONDecodeError:
        return None
