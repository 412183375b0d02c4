"""The control application: API, dashboard, metrics and health, behind the guard."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from gateway import metrics as metrics_format
from gateway.access.authorised import authorise
from gateway.access.guard import Access, Guard
from gateway.answer import problem_response
from gateway.api.openapi import control_document
from gateway.application import handlers, problem_of
from gateway.dashboard.frame import Frame, wants_page
from gateway.dashboard.headers import Hardened
from gateway.health import Check, health_routes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.requests import Request
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from gateway.metrics import Metrics


@dataclass(frozen=True, slots=True)
class Counted:
    """Counts an application's requests by method, endpoint and status."""

    app: ASGIApp
    metrics: Metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def counting(message: Message) -> None:
            if message["type"] == "http.response.start":
                endpoint = getattr(scope.get("endpoint"), "__name__", "none")
                method = scope["method"] if scope["method"] in _METHODS else "other"
                self.metrics.control_requests[method, endpoint, str(message["status"])] += 1
            await send(message)

        await self.app(scope, receive, counting)


_METHODS = frozenset({"GET", "HEAD", "POST", "OPTIONS", "PUT", "PATCH", "DELETE"})


def build_control(
    routes: Sequence[Route], metrics: Metrics, ready: Check, access: Access, frame: Frame
) -> ASGIApp:
    """Return the application of the control listener.

    Args:
        routes: the API's and the dashboard's.
        metrics: what `/metrics` shows.
        ready: what `/readyz` asks.
        access: who may use it.
        frame: makes pages of problems.
    """

    async def show_metrics(_: Request) -> Response:
        return Response(await metrics.scrape(), media_type=metrics_format.CONTENT_TYPE)

    async def on_error(request: Request, error: Exception) -> Response:
        problem = problem_of(request, error)
        return frame.problem(request, problem) if wants_page(request) else problem_response(problem)

    own = [
        *health_routes(ready, metrics.spool),
        Route("/metrics", show_metrics),
        Route("/openapi.json", _openapi),
    ]
    app = Starlette(
        routes=authorise([*own, *routes], frame.refusal, access.audit),
        exception_handlers=handlers(on_error),
    )
    app.router.redirect_slashes = False
    return Counted(Hardened(Guard(app, access, frame.refusal), https=access.https), metrics)


async def _openapi(_: Request) -> Response:
    return JSONResponse(control_document())
