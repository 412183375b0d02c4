"""The public application: webhooks, health, and its own OpenAPI document."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

from gateway.api.openapi import public_document
from gateway.application import EXCEPTION_HANDLERS
from gateway.health import Check, health_routes

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import Receive, Scope, Send

    from gateway.ingress import Ingress

_PREFIX = "/webhooks/"


class PublicApplication(Starlette):
    """Starlette with a short cut: webhooks go to the ingress before any middleware or routing."""

    def __init__(self, ingress: Ingress, ready: Check) -> None:
        self._ingress = ingress
        super().__init__(
            routes=[
                *health_routes(ready),
                Route("/openapi.json", _openapi),
            ],
            exception_handlers=EXCEPTION_HANDLERS,
        )
        self.router.redirect_slashes = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "http" and scope["path"].startswith(_PREFIX):
            await self._ingress(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)


def build_public(ingress: Ingress, ready: Check) -> PublicApplication:
    """Return the application of the public listener."""
    return PublicApplication(ingress, ready)


async def _openapi(_: Request) -> Response:
    return JSONResponse(public_document())
