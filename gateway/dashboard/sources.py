"""Sources: how each fares, its secrets' state, and how its provider is set up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from starlette.responses import RedirectResponse
from starlette.routing import Route

from gateway.access.changes import note
from gateway.dashboard.part import part
from tidemill.kernel.errors import NotFoundError

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from gateway.dashboard.services import Services

PATH: Final = "/sources"
_LATEST: Final = 10
_STREAMS: Final = "/live?streams=DELIVERIES,REFUSALS"
_SEE_OTHER: Final = 303


@dataclass(frozen=True, slots=True)
class SourcePages:
    """Pages under `/sources`."""

    services: Services

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route(PATH, self.list_sources),
            Route("/sources/{source}", self.show_source),
            Route("/sources/{source}/reverify", self.reverify, methods=["POST"]),
        ]

    async def list_sources(self, request: Request) -> Response:
        """All sources with their last day."""
        register = self.services.reception.register
        fared = await part(register.all_fared())
        return self.services.frame.page(
            request,
            "sources.html",
            title="Sources",
            active="sources",
            live=_STREAMS,
            sources=[register.summary(name) for name in register.names],
            fared=fared.content or {},
            missing=fared.missing,
        )

    async def show_source(self, request: Request) -> Response:
        """One source."""
        reception, name = self.services.reception, request.path_params["source"]
        details = reception.register.details(name)
        fared = await part(reception.register.fared(name, latest=_LATEST))
        schemas = reception.registry.rows(name)
        said = request.query_params.get("reverified", "")
        return self.services.frame.page(
            request,
            "source.html",
            title=name,
            active="sources",
            live=_STREAMS,
            source=details,
            help=details["help"],
            fared=fared.content,
            missing=fared.missing,
            schemas=schemas,
            drifting=[row for row in schemas if any(row["drifting"].values())],
            keeps=name in reception.keeping,
            said=said if said.isascii() and said.isdigit() else "",
        )

    async def reverify(self, request: Request) -> Response:
        """Verify the requests that it has refused and kept again, and let in what is genuine."""
        name = request.path_params["source"]
        if name not in self.services.reception.keeping:
            raise NotFoundError(f"the source {name!r} keeps no refused requests", hint="set its keep_refused")
        answer = await self.services.reception.reverification.run(name)
        let_in = sum("events" in row for row in answer["reverified"])
        note(request, let_in=str(let_in), looked_at=str(len(answer["reverified"])))
        return RedirectResponse(f"{PATH}/{quote(name, safe='')}?reverified={let_in}", _SEE_OTHER)
