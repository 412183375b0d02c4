"""Rows of the history as JSON: moments as RFC 3339, bodies as text or base64."""

from __future__ import annotations

import base64
from dataclasses import fields, is_dataclass
from typing import Any, Final

from tidemill.history.rows import Body
from tidemill.kernel import clock

_MOMENTS: Final = frozenset({"at", "until"})


def document(row: Any) -> dict[str, Any]:
    """Return a row as a JSON object."""
    told = {field.name: _value(field.name, getattr(row, field.name)) for field in fields(row)}
    return {name: value for name, value in told.items() if name not in ("number", "event_number")}


def body(given: Body) -> dict[str, Any]:
    """Return a body: `text` where it is some, else `base64`; what is cut off is told by `size`."""
    told: dict[str, Any] = {"size": given.size, "whole": given.whole}
    if given.data is None:
        return told
    try:
        return told | {"text": given.data.decode()}
    except UnicodeDecodeError:
        return told | {"base64": base64.b64encode(given.data).decode()}


def _value(name: str, value: Any) -> Any:
    if isinstance(value, Body):
        return body(value)
    if isinstance(value, int | float) and (name in _MOMENTS or name.endswith("_at")):
        return clock.rfc3339_at(value)
    if is_dataclass(value):
        return document(value)
    if isinstance(value, tuple):
        return [_value("", one) for one in value]
    return value
