"""Control API: the configured sources, and the schemas that hold their deliveries."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from starlette.responses import JSONResponse
from starlette.routing import Route

from gateway.api.history_rows import document
from gateway.api.parameters import number
from tidemill.kernel.clock import rfc3339, rfc3339_at

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request
    from starlette.responses import Response

    from gateway.register import Register
    from gateway.schemata.registry import SchemaRegistry

_LATEST = 20
_MOST_VERSIONS = 10**9


@dataclass(frozen=True, slots=True)
class SourcesApi:
    """Endpoints under `/api/v1/sources` and `/api/v1/schemas` that only tell."""

    register: Register
    registry: SchemaRegistry

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route("/api/v1/sources", self.list_sources),
            Route("/api/v1/sources/{source}", self.show_source),
            Route("/api/v1/schemas", self.list_schemas),
            Route("/api/v1/schemas/{source}/{type:path}", self.show_schema),
        ]

    async def list_sources(self, _: Request) -> Response:
        """All sources as they are set; never a secret."""
        return JSONResponse(
            {"sources": [_dated(self.register.summary(name)) for name in self.register.names]}
        )

    async def show_source(self, request: Request) -> Response:
        """One source: its settings, its provider's set-up, and how its requests fared."""
        name = request.path_params["source"]
        details = self.register.details(name)
        fared = await self.register.fared(name, latest=_LATEST)
        last = rfc3339_at(fared["last"]) if fared["last"] is not None else None
        newest = [document(row) for row in fared["rows"]]
        told = {"last_24_hours": fared["counts"], "last_received": last, "newest": newest}
        return JSONResponse(_dated(details) | told)

    async def list_schemas(self, request: Request) -> Response:
        """The types that have schemas, with what has drifted since this process started."""
        return JSONResponse({"schemas": self.registry.rows(request.query_params.get("source"))})

    async def show_schema(self, request: Request) -> Response:
        """One schema's text, its type's samples, and what has drifted."""
        source, event_type = request.path_params["source"], request.path_params["type"]
        schema = self.registry.find(source, event_type, number(request, "version", None, _MOST_VERSIONS))
        return JSONResponse(
            {
                "source": source,
                "type": event_type,
                "version": int(schema.path.stem),
                "versions": self.registry.versions(source, event_type),
                "dataschema": schema.identifier,
                "schema": schema.document,
                "samples": self.registry.samples(source, event_type),
                "drift": await self.registry.drift(source, event_type),
            }
        )


def _dated(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a source with the moments of its secrets as RFC 3339."""
    secrets = [
        secret
        | {
            "until": rfc3339(secret["until"]) if secret["until"] is not None else None,
            "changed": rfc3339_at(secret["changed"]) if secret["changed"] is not None else None,
        }
        for secret in row["secrets"]
    ]
    return {**row, "secrets": secrets}
