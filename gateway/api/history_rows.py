"""Rows of the history as JSON: moments as RFC 3339, bodies as text or base64."""

from __future__ import annotations

import base64
from dataclasses import fields, is_dataclass
from functools import cache, lru_cache
from typing import Any, Final

from tidemill.history.rows import Body
from tidemill.kernel import clock

_MOMENTS: Final = frozenset({"at", "until"})
_INNER: Final = frozenset({"number", "event_number"})


def document(row: Any) -> dict[str, Any]:
    """Return a row as a JSON object."""
    kind: Any = type(row)
    return {name: _value(getattr(row, name), moment=moment) for name, moment in _told(kind)}


def body(given: Body) -> dict[str, Any]:
    """Return a body: `text` where it is some, else `base64`; what is cut off is told by `size`."""
    told: dict[str, Any] = {"size": given.size, "whole": given.whole}
    if given.data is None:
        return told
    try:
        return told | {"text": given.data.decode()}
    except UnicodeDecodeError:
        return told | {"base64": base64.b64encode(given.data).decode()}


@cache
def _told(kind: Any) -> tuple[tuple[str, bool], ...]:
    """Return which fields of a row are told, and which of them are moments."""
    names = (field.name for field in fields(kind) if field.name not in _INNER)
    return tuple((name, name in _MOMENTS or name.endswith("_at")) for name in names)


@lru_cache(1024)
def _moment(stamp: float) -> str:
    # Counts come by minute and hour: many rows have the same one.
    return clock.rfc3339_at(stamp)


def _value(value: Any, *, moment: bool = False) -> Any:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, int | float):
        return _moment(value) if moment else value
    if isinstance(value, Body):
        return body(value)
    if is_dataclass(value):
        return document(value)
    if isinstance(value, tuple):
        return [_value(one) for one in value]
    return value
