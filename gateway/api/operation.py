"""One operation of an OpenAPI document, and the pieces that it is made of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from gateway.api import shapes

if TYPE_CHECKING:
    from collections.abc import Mapping

Schema = dict[str, Any]

_RAW: Final[Schema] = {"application/octet-stream": {}}
_STREAM: Final[Schema] = {"text/event-stream": {}}


def operation(  # noqa: PLR0913 - what an operation of OpenAPI consists of
    summary: str,
    *,
    path: list[str] | None = None,
    query: list[str] | tuple[str, ...] = (),
    schemas: Mapping[str, Schema] = shapes.QUERY,
    header: str | None = None,
    body: Schema | None = None,
    status: str = "200",
    answer: Schema = shapes.OBJECT,
) -> Schema:
    """Return an operation that answers with JSON, or with the usual problems."""
    parameters = [in_path(name) for name in path or []]
    parameters += [
        {"name": name, "in": "query", "schema": schemas.get(name, shapes.ANY_TEXT)} for name in query
    ]
    if header:
        parameters.append({"name": header, "in": "header", "schema": shapes.NAMED})
    described: Schema = {
        "summary": summary,
        "parameters": parameters,
        "responses": {
            status: {
                "description": "done",
                "content": json_content(answer)
                | (_RAW if "raw" in query else {})
                | (_STREAM if "follow" in query else {}),
            },
            **problems("401", "403", "404", "409", "410", "413", "422", "503"),
        },
    }
    if body is None:
        return described
    needed = bool(body.keys() & {"required", "oneOf"})
    return described | {"requestBody": {"required": needed, "content": json_content(body)}}


def in_path(name: str) -> Schema:
    """Return a parameter of the path."""
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}


def json_content(schema: Schema) -> Schema:
    """Return what a body of JSON is."""
    return {"application/json": {"schema": schema}}


def problems(*statuses: str) -> Schema:
    """Return the answers that are problems, by their statuses."""
    content = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {status: {"description": "a problem", "content": content} for status in statuses}
