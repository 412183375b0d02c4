"""The schema registry: what is validated, by which versions, and what has drifted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from starlette.routing import Route

from gateway.api.parameters import number
from gateway.api.run_query import text_of
from gateway.dashboard.part import part
from gateway.dashboard.shown import show_value
from gateway.schemata.registry import KINDS

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from gateway.dashboard.services import Services

PATH: Final = "/schemas"
_MOST_VERSIONS: Final = 10**9
_MOST_ROWS: Final = 150
_MOST_SAMPLES: Final = 8
_TEXT: Final = 16_000
_SAMPLE: Final = 3_000


@dataclass(frozen=True, slots=True)
class SchemaPages:
    """Pages under `/schemas`."""

    services: Services

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [Route(PATH, self.list_schemas), Route("/schemas/{source}/{type:path}", self.show_schema)]

    async def list_schemas(self, request: Request) -> Response:
        """The types that have schemas: those that hold a configured source, or those of one owner."""
        reception = self.services.reception
        source = text_of(request.query_params, "source")
        every = reception.registry.rows()
        rows = [row for row in every if (row["holds"] if source is None else source in _names(row))]
        reported = await part(reception.registry.drift())
        return self.services.frame.page(
            request,
            "schemas.html",
            title="Schemas",
            active="schemas",
            live="/live?streams=RECORDS",
            rows=rows[:_MOST_ROWS],
            left_out=max(0, len(rows) - _MOST_ROWS),
            kinds=KINDS,
            owners=sorted({name for row in every for name in _names(row)}),
            source=source or "",
            counted={name: reception.register.counted(name) for name in reception.register.names},
            drift=(reported.content or [])[:_MOST_ROWS],
            missing=reported.missing,
        )

    async def show_schema(self, request: Request) -> Response:
        """One type: a version's text, its samples, and what has drifted."""
        registry = self.services.reception.registry
        source, event_type = request.path_params["source"], request.path_params["type"]
        schema = registry.find(source, event_type, number(request, "version", None, _MOST_VERSIONS))
        (row,) = [one for one in registry.rows() if (one["source"], one["type"]) == (source, event_type)]
        reported = await part(registry.drift(source, event_type))
        samples = registry.samples(source, event_type)
        return self.services.frame.page(
            request,
            "schema.html",
            title=f"{source} {event_type}",
            active="schemas",
            live="/live?streams=RECORDS",
            row=row,
            kinds=KINDS,
            schema=schema,
            version=int(schema.path.stem),
            versions=registry.versions(source, event_type),
            text=show_value(schema.document, _TEXT),
            samples=[(name, show_value(value, _SAMPLE)) for name, value in samples.items()][:_MOST_SAMPLES],
            drift=(reported.content or [])[:_MOST_ROWS],
            missing=reported.missing,
        )


def _names(row: dict[str, object]) -> set[str]:
    holds = row["holds"]
    return {str(row["source"]), *(map(str, holds) if isinstance(holds, list) else ())}
