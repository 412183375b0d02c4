"""Control API: the quarantine, and the ways out of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from gateway.access.changes import note
from gateway.access.identity import name_of
from gateway.api.parameters import before_of, filters, json_object, limit_of, only
from tidemill.kernel.errors import PayloadError
from tidemill.kernel.services.quarantine_query import QuarantineQuery

if TYPE_CHECKING:
    from starlette.requests import Request

    from gateway.amendment import Amendments
    from gateway.masking import Mask, Masks
    from tidemill.kernel.services.quarantine import Quarantine, Quarantined

_ACCEPTED = 202


@dataclass(frozen=True, slots=True)
class QuarantineApi:
    """Endpoints under `/api/v1/quarantine`."""

    quarantine: Quarantine
    amendments: Amendments
    masks: Masks

    def routes(self) -> list[Route]:
        """Return the routes; an entry's key, or its event's id, may be any text, slashes included."""
        return [
            Route("/api/v1/quarantine", self.list_quarantine),
            Route("/api/v1/quarantine/{id:path}/release", self.release, methods=["POST"]),
            Route("/api/v1/quarantine/{id:path}/discard", self.discard, methods=["POST"]),
            Route("/api/v1/quarantine/{id:path}", self.show_quarantine),
        ]

    async def list_quarantine(self, request: Request) -> Response:
        """The newest entries of the quarantine."""
        query = QuarantineQuery.parse(filters(request, QuarantineQuery.NAMES))
        await self.masks.check_search(request, query.text)
        found = await self.quarantine.list(query, before=before_of(request), limit=limit_of(request))
        told = [self._mask(request, entry).quarantined(entry.summary()) for entry in found.rows]
        return JSONResponse({"quarantine": told, "next": found.next})

    async def show_quarantine(self, request: Request) -> Response:
        """One entry, with its reason and its body."""
        entry = await self.quarantine.find(request.path_params["id"])
        body, mask = await self.quarantine.body(entry), self._mask(request, entry)
        if "raw" in request.query_params:
            return Response(mask.whole(body), media_type="application/octet-stream")
        seen = mask.raw(body)
        shown = {"facts": _entry_facts(entry, mask), "body": (seen or b"").decode("utf-8", "replace")}
        return JSONResponse(mask.quarantined(entry.summary()) | shown)

    async def release(self, request: Request) -> Response:
        """Send an entry on, as it is or with edited data."""
        document = await json_object(request)
        only(document, "data", "force")
        force = document.get("force", False)
        if not isinstance(force, bool):
            raise PayloadError("force: it is neither true nor false")
        entry = await self.quarantine.find(request.path_params["id"])
        if "data" not in document:
            return JSONResponse(await self.quarantine.release(entry), _ACCEPTED)
        data = orjson.dumps(document["data"])
        amendment = await self.amendments.prepare(entry, data, name_of(request), force=force)
        note(request, **amendment.told())
        outcome = await self.quarantine.release(entry, amendment.edit)
        return JSONResponse(outcome | {"edited": amendment.paths}, _ACCEPTED)

    async def discard(self, request: Request) -> Response:
        """Take an entry out for good; nothing is made of it."""
        entry = await self.quarantine.find(request.path_params["id"])
        outcome = await self.quarantine.discard(entry)
        note(request, **{name: str(one) for name, one in outcome.items() if one is not None})
        return JSONResponse(outcome)

    def _mask(self, request: Request, entry: Quarantined) -> Mask:
        return self.masks.of_event(request, entry.event.get("source"), entry.event.get("type"))


def _entry_facts(entry: Quarantined, mask: Mask) -> dict[str, Any]:
    told = mask.facts(entry.facts)
    return {name: mask.seen(one) if name in ("quarantine", "pair") else one for name, one in told.items()}
