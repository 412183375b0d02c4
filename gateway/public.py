"""The public application: webhooks, events, pages for people, health, and its own OpenAPI document."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

from gateway.api.openapi import public_document
from gateway.application import EXCEPTION_HANDLERS
from gateway.events.endpoint import PATH as EVENTS
from gateway.health import Check, Facts, health_routes

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence

    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import Receive, Scope, Send

    from gateway.events.endpoint import EventApi
    from gateway.ingress import Ingress

_PREFIX = "/webhooks/"


class PublicApplication(Starlette):
    """Starlette with a short cut: webhooks and events pass by all middleware and routing."""

    def __init__(
        self,
        ingress: Ingress,
        health: Sequence[Route],
        events: EventApi | None = None,
        pages: Sequence[Route] = (),
    ) -> None:
        self._ingress = ingress
        self._events = events
        super().__init__(
            routes=[
                *health,
                Route("/openapi.json", _openapi),
                *pages,
            ],
            exception_handlers=EXCEPTION_HANDLERS,
        )
        self.router.redirect_slashes = False

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Coroutine[Any, Any, None]:
        """Serve one request."""
        if scope["type"] == "http" and scope["path"].startswith(_PREFIX):
            return self._ingress(scope, receive, send)
        if scope["type"] == "http" and scope["path"] == EVENTS and self._events is not None:
            return self._events(scope, receive, send)
        return super().__call__(scope, receive, send)


def build_public(
    ingress: Ingress,
    ready: Check,
    events: EventApi | None = None,
    pages: Sequence[Route] = (),
    spool: Facts | None = None,
) -> PublicApplication:
    """Return the application of the public listener; `pages` are those for people."""
    return PublicApplication(ingress, health_routes(ready, spool), events, pages)


async def _openapi(_: Request) -> Response:
    return JSONResponse(public_document())
