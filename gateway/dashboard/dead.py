"""Dead letters: what was given up on, with every attempt's error, and the way back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import orjson
from starlette.responses import RedirectResponse
from starlette.routing import Route

from gateway.api.parameters import before_of, filters
from gateway.dashboard.addresses import address_of
from gateway.dashboard.part import part
from gateway.dashboard.shown import clip, show_masked
from tidemill.history.rows import Body
from tidemill.kernel.protocol.records import BURIED
from tidemill.kernel.services.dead_query import DeadQuery
from tidemill.kernel.services.looking import Found

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from gateway.dashboard.services import Services

PATH: Final = "/dead"
_PAGE: Final = 50
_TRACE: Final = 6_000
_SHOWN: Final = 32 << 10
_SEE_OTHER: Final = 303


@dataclass(frozen=True, slots=True)
class Dead:
    """Pages under `/dead`."""

    services: Services

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route(PATH, self.list_dead),
            Route("/dead/{key}", self.show_dead),
            Route("/dead/{key}/retry", self.retry, methods=["POST"]),
        ]

    async def list_dead(self, request: Request) -> Response:
        """A page of dead letters, the newest first."""
        given, before = filters(request, DeadQuery.NAMES), before_of(request)
        found = await part(self.services.letters.list(DeadQuery.parse(given), before=before, limit=_PAGE))
        content = found.content or Found()
        return self.services.frame.page(
            request,
            "dead.html",
            title="Dead letters",
            active="dead",
            live="" if before else "/live?streams=DEAD",
            found=found,
            letters=[letter.summary() for letter in content.rows],
            given=dict.fromkeys(DeadQuery.NAMES, "") | given,
            filtered=any(given.values()),
            outcomes=sorted(BURIED),
            first=address_of(PATH, given),
            next=address_of(PATH, given, before=content.next) if content.next else "",
        )

    async def show_dead(self, request: Request) -> Response:
        """One letter with every attempt's error and its input."""
        letter = await self.services.letters.find(request.path_params["key"])
        attempts = [
            fault | {"shown": clip(str(fault.get("traceback") or "")[-_TRACE:], _TRACE)}
            for fault in letter.facts.get("attempts") or []
        ]
        event = letter.facts.get("event")
        masks, source = self.services.reception.masks, event or {}
        mask = await masks.of_run(request, letter.task, source.get("source"), source.get("type"))
        return self.services.frame.page(
            request,
            "letter.html",
            title=f"Dead letter of {letter.task}",
            active="dead",
            letter=letter.summary(),
            is_run=letter.is_run,
            attempts=attempts[::-1],
            event=orjson.dumps(mask.facts(event), option=orjson.OPT_INDENT_2).decode() if event else "",
            payload=show_masked(
                Body(size=len(letter.raw), data=letter.raw[:_SHOWN], blob=letter.facts.get("blob")), mask
            ),
        )

    async def retry(self, request: Request) -> Response:
        """Let its run go on from where it stopped."""
        key = request.path_params["key"]
        answer = await self.services.letters.retry(key)
        said = "retry" if answer == "done" else "queued"
        return RedirectResponse(f"/runs/{key}?said={said}", _SEE_OTHER)
