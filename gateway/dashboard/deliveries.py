"""Requests: every one with what it came to, the refused ones too."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

from starlette.routing import Route

from gateway.api.run_query import moment_of, text_of
from gateway.dashboard.part import part
from gateway.dashboard.shown import show_value
from tidemill.history.delivery_queries import DeliveryQuery
from tidemill.kernel.services.deliveries import VERDICTS

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from gateway.dashboard.services import Services

PATH: Final = "/deliveries"
NAMES: Final = ("verdict", "source", "reason", "since", "until")


@dataclass(frozen=True, slots=True)
class DeliveryPages:
    """`GET /deliveries`."""

    services: Services

    def routes(self) -> list[Route]:
        """Return the route."""
        return [Route(PATH, self.list_deliveries)]

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
            first=_address(given),
            next=_address(given, page.cursor) if page is not None and page.cursor else "",
        )


def _address(given: dict[str, str], cursor: str | None = None) -> str:
    wanted = {name: value for name, value in given.items() if value} | ({"cursor": cursor} if cursor else {})
    return f"{PATH}?{urlencode(wanted)}" if wanted else PATH
