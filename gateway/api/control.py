"""The control application: the API for operators and containers, metrics and health, behind the guard."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from gateway import metrics as metrics_format
from gateway.api.auth import Guard
from gateway.api.openapi import control_document
from gateway.application import EXCEPTION_HANDLERS
from gateway.health import Check, health_routes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from starlette.requests import Request
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from gateway.metrics import Metrics
    from tidemill.kernel.settings.sections import ApiKey


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
    routes: Sequence[Route],
    metrics: Metrics,
    ready: Check,
    keys: Callable[[], Sequence[ApiKey]],
    *,
    loopback: bool,
) -> ASGIApp:
    """Return the application of the control listener.

    Args:
        routes: the API's.
        metrics: what `/metrics` shows.
        ready: what `/readyz` asks.
        keys: the present API keys; while there are none, only this machine is served.
        loopback: whether the listener's address is a loopback address.
    """

    async def show_metrics(_: Request) -> Response:
        return Response(metrics.text(), media_type=metrics_format.CONTENT_TYPE)

    app = Starlette(
        routes=[
            *health_routes(ready),
            Route("/metrics", show_metrics),
            Route("/openapi.json", _openapi),
            *routes,
        ],
        exception_handlers=EXCEPTION_HANDLERS,
    )
    app.router.redirect_slashes = False
    return Counted(Guard(app, keys, loopback=loopback), metrics)


async def _openapi(_: Request) -> Response:
    return JSONResponse(control_document())
