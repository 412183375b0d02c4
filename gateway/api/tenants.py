"""Control API: secrets of tenants. A secret is shown when it is made here, and never again."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from starlette.responses import JSONResponse
from starlette.routing import Route

from gateway.api.parameters import json_object, limit_of, only

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from gateway.tenant_secrets import TenantDesk
    from tidemill.kernel.services.rewrap import Rewrapping

_UNSEEN: Final = {"Cache-Control": "no-store"}
_OF_SOURCE: Final = "/api/v1/sources/{source}/tenants"
_OF_TENANT: Final = f"{_OF_SOURCE}/{{tenant}}"
_SECRETS: Final = f"{_OF_TENANT}/secrets"


@dataclass(frozen=True, slots=True)
class TenantsApi:
    """Endpoints under `/api/v1/sources/{source}/tenants`, and the one that encrypts all anew."""

    desk: TenantDesk
    rewrapping: Rewrapping

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route(_OF_SOURCE, self.list_tenants, methods=["GET"]),
            Route(_SECRETS, self.secrets, methods=["GET", "POST"]),
            Route(f"{_SECRETS}/rotate", self.rotate_secret, methods=["POST"]),
            Route(f"{_SECRETS}/{{id}}", self.revoke_secret, methods=["DELETE"]),
            Route(_OF_TENANT, self.revoke_tenant, methods=["DELETE"]),
            Route("/api/v1/secrets/rewrap", self.rewrap, methods=["POST"]),
        ]

    async def list_tenants(self, request: Request) -> Response:
        """The tenants of a source by name; `after` the last one goes on."""
        after = request.query_params.get("after", "")
        found = await self.desk.list(request.path_params["source"], after, limit_of(request))
        return JSONResponse({"tenants": found})

    async def secrets(self, request: Request) -> Response:
        """What is said of a tenant's secrets, never what they are; POST gives the tenant one."""
        if request.method != "POST":
            return JSONResponse({"secrets": await self.desk.show(*_named(request))})
        order = await json_object(request)
        only(order, "secret", "until")
        made = await self.desk.add(*_named(request), order)
        return JSONResponse(made, HTTPStatus.CREATED, headers=_UNSEEN)

    async def rotate_secret(self, request: Request) -> Response:
        """Give a tenant a new secret, and let the others count for a while."""
        order = await json_object(request)
        only(order, "secret", "until", "overlap")
        made = await self.desk.rotate(*_named(request), order)
        return JSONResponse(made, HTTPStatus.CREATED, headers=_UNSEEN)

    async def revoke_secret(self, request: Request) -> Response:
        """Take a secret away."""
        return JSONResponse(await self.desk.revoke(*_named(request), request.path_params["id"]))

    async def revoke_tenant(self, request: Request) -> Response:
        """Take all secrets of a tenant away."""
        return JSONResponse(await self.desk.revoke(*_named(request), None))

    async def rewrap(self, _: Request) -> Response:
        """Encrypt all secrets on the broker anew with the first key."""
        return JSONResponse(await self.rewrapping.run())


def _named(request: Request) -> tuple[str, str]:
    return request.path_params["source"], request.path_params["tenant"]
