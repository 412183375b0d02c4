"""The inputs that ask for a token's data, and the values that come back from them.

A flat object gets an input for each member; anything else is written as JSON.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import orjson

from tidemill.kernel.errors import PayloadError

if TYPE_CHECKING:
    from collections.abc import Mapping

PREFIX: Final = "data."
WHOLE: Final = "data"
_SIMPLE: Final = frozenset({"string", "integer", "number", "boolean"})


@dataclass(frozen=True, slots=True)
class Field:
    """One input: the member that it is for, what it is called, its type in JSON Schema."""

    name: str
    label: str
    type: str
    required: bool


def asks_for_nothing(schema: Mapping[str, Any] | None) -> bool:
    """Say whether a schema takes null alone."""
    return schema is not None and schema.get("type") == "null"


def fields_of(schema: Mapping[str, Any] | None) -> list[Field] | None:
    """Return the inputs of a flat object; None where the data are written as one text."""
    members = (schema or {}).get("properties")
    if (schema or {}).get("type") != "object" or not isinstance(members, dict) or not members:
        return None
    if any(not isinstance(one, dict) or one.get("type") not in _SIMPLE for one in members.values()):
        return None
    required = (schema or {}).get("required", [])
    return [
        Field(name, str(one.get("title", name)), one["type"], name in required)
        for name, one in members.items()
    ]


def read_data(schema: Mapping[str, Any] | None, form: Mapping[str, str]) -> Any:
    """Return the data that a form brought; whether they fit is judged elsewhere.

    Raises:
        PayloadError: they are no JSON where they must be.
    """
    if asks_for_nothing(schema):
        return None
    fields = fields_of(schema)
    if fields is None:
        return _whole(schema, form.get(WHOLE, ""))
    found: dict[str, Any] = {}
    for field in fields:
        text = form.get(PREFIX + field.name, "")
        if field.type == "boolean":
            found[field.name] = text == "on"
        elif text or (field.required and field.type == "string"):
            found[field.name] = text if field.type == "string" else _number(text)
    return found


def _whole(schema: Mapping[str, Any] | None, text: str) -> Any:
    if (schema or {}).get("type") == "string":
        return text
    try:
        return orjson.loads(text) if text.strip() else None
    except orjson.JSONDecodeError as error:
        raise PayloadError(f"the data are no JSON: {error}", hint='text stands in quotes: "text"') from error


def _number(text: str) -> Any:
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return text  # the schema says what is wrong with it
    return value if isinstance(value, int | float) and not isinstance(value, bool) else text
