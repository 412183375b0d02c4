"""Control API: dead letters, and the workers that are alive."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import orjson
from starlette.responses import JSONResponse
from starlette.routing import Route

from gateway.api.parameters import before_of, filters, limit_of
from tidemill.kernel.services.dead_query import DeadQuery

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from gateway.masking import Masks
    from tidemill.kernel.jetstream.buckets import Bucket
    from tidemill.kernel.services.dead import DeadLetters

_ACCEPTED = 202


@dataclass(frozen=True, slots=True)
class DeadApi:
    """Endpoints under `/api/v1/dead` and `/api/v1/workers`."""

    letters: DeadLetters
    workers: Bucket
    masks: Masks

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route("/api/v1/dead", self.list_dead),
            Route("/api/v1/dead/{key}", self.show_dead),
            Route("/api/v1/dead/{key}/retry", self.retry, methods=["POST"]),
            Route("/api/v1/workers", self.list_workers),
        ]

    async def list_dead(self, request: Request) -> Response:
        """The newest dead letters."""
        query = DeadQuery.parse(filters(request, DeadQuery.NAMES))
        found = await self.letters.list(query, before=before_of(request), limit=limit_of(request))
        return JSONResponse({"dead": [letter.summary() for letter in found.rows], "next": found.next})

    async def show_dead(self, request: Request) -> Response:
        """One dead letter with every attempt's error."""
        details = (await self.letters.find(request.path_params["key"])).details()
        event = details.get("event")
        if event:
            mask = await self.masks.of_run(
                request, str(details["task"]), event.get("source"), event.get("type")
            )
            details |= {"event": mask.facts(event)}
        return JSONResponse(details)

    async def retry(self, request: Request) -> Response:
        """Let a dead letter's run go on from where it stopped."""
        key = request.path_params["key"]
        answer = await self.letters.retry(key)
        return JSONResponse({"run_id": key, "answer": answer}, 200 if answer == "done" else _ACCEPTED)

    async def list_workers(self, _: Request) -> Response:
        """The worker processes that are alive."""
        found = [orjson.loads(entry) for entry in (await self.workers.items()).values()]
        return JSONResponse({"workers": sorted(found, key=lambda worker: str(worker["id"]))})
