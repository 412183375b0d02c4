"""The record of changes: who did what, when, from where, and what came of it. Administrators see it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from starlette.routing import Route

from gateway.api.parameters import before_of
from gateway.api.run_query import text_of
from gateway.dashboard.addresses import address_of
from gateway.dashboard.part import part

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from gateway.dashboard.services import Services

PATH: Final = "/audit"
NAMES: Final = ("who", "action", "target")
_PAGE: Final = 50


@dataclass(frozen=True, slots=True)
class AuditPage:
    """`GET /audit`."""

    services: Services

    def routes(self) -> list[Route]:
        """Return the route."""
        return [Route(PATH, self.list_changes)]

    async def list_changes(self, request: Request) -> Response:
        """A page of changes, the newest first."""
        parameters, before = request.query_params, before_of(request)
        wanted = {name: text_of(parameters, name) for name in NAMES}
        found = await part(self.services.audit.list(**wanted, before=before, limit=_PAGE + 1))
        rows = found.content or []
        given = {name: value or "" for name, value in wanted.items()}
        more = given | {"before": str(rows[_PAGE - 1]["seq"])} if len(rows) > _PAGE else None
        return self.services.frame.page(
            request,
            "audit.html",
            title="Audit",
            active="audit",
            found=found,
            rows=rows[:_PAGE],
            given=given,
            filtered=any(given.values()),
            paged=before is not None,
            first=address_of(PATH, given),
            next=address_of(PATH, more) if more else "",
        )
