"""Control API: how alerts stand, silencing them, and trying a channel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.responses import JSONResponse
from starlette.routing import Route

from gateway.access.changes import note
from gateway.access.identity import visit_of
from gateway.api.parameters import json_object

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from tidemill.kernel.services.alerts import Alerts

_CREATED = 201


@dataclass(frozen=True, slots=True)
class AlertsApi:
    """Endpoints under `/api/v1/alerts`."""

    alerts: Alerts

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route("/api/v1/alerts", self.show_alerts),
            Route("/api/v1/alerts/silences", self.silence, methods=["POST"]),
            Route("/api/v1/alerts/silences/{id}", self.end_silence, methods=["DELETE"]),
            Route("/api/v1/alerts/channels/{channel}/test", self.test, methods=["POST"]),
        ]

    async def show_alerts(self, _: Request) -> Response:
        """Rules, channels, alerts, what was sent, and silences."""
        return JSONResponse(await self.alerts.show())

    async def silence(self, request: Request) -> Response:
        """Silence alerts for a while."""
        document = await json_object(request)
        silence = await self.alerts.silence(document, who_asks(request))
        note(request, rule=silence.rule, key=silence.key, silence=silence.id)
        return JSONResponse(silence.facts(), _CREATED)

    async def end_silence(self, request: Request) -> Response:
        """End a silence."""
        name = request.path_params["id"]
        await self.alerts.end_silence(name)
        return JSONResponse({"ended": name})

    async def test(self, request: Request) -> Response:
        """Have the engine send a test to a channel; whether it was taken stands in the answer."""
        return JSONResponse(await self.alerts.test(request.path_params["channel"]))


def who_asks(request: Request) -> str:
    """Return the name of whoever is logged in."""
    visit = visit_of(request)
    return visit.identity.name if visit is not None else ""
