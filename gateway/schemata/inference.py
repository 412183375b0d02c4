"""Inferring a schema from documents: what all of them have in common.

A member is required if every object at its place had it. Text that took few values, each repeatedly, is
listed: as `x-values`, which lets others pass and counts them as drift, or as a binding `enum`. A format is
named where every text of a place has it. Objects whose keys differ from one document to the next are maps.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from gateway.schemas import DIALECT
from gateway.schemata.shape import KNOWN_VALUES, TYPES, type_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

_MAX_VALUES: Final = 8
_MAX_LENGTH: Final = 40
_MAX_DISTINCT: Final = 200
_MAP_KEYS: Final = 16
_FORMATS: Final[dict[str, Callable[[str], object]]] = {
    "date-time": re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)").fullmatch,
    "date": re.compile(r"\d{4}-\d\d-\d\d").fullmatch,
    "uuid": re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}").fullmatch,
    "uri": re.compile(r"https?://[^\s/?#]+[^\s]*").fullmatch,
    "email": re.compile(r"[^@\s]+@[^@\s]+\.[^@\s.]+").fullmatch,
}


@dataclass(slots=True)
class _Seen:
    """What stood at one place of the documents."""

    types: Counter[str] = field(default_factory=Counter)
    texts: Counter[str] = field(default_factory=Counter)
    formats: set[str] = field(default_factory=lambda: set(_FORMATS))
    members: dict[str, _Seen] = field(default_factory=dict)
    items: _Seen | None = None

    def add(self, value: Any) -> None:
        """Take one value in."""
        name = type_name(value)
        self.types[name] += 1
        if name == "string":
            self.formats = {one for one in self.formats if _FORMATS[one](value)}
            if len(self.texts) <= _MAX_DISTINCT:
                self.texts[value] += 1
        elif name == "object":
            for key, member in value.items():
                self.members.setdefault(key, _Seen()).add(member)
        elif name == "array":
            self.items = self.items or _Seen()
            for item in value:
                self.items.add(item)

    @property
    def count(self) -> int:
        """How many values stood there."""
        return self.types.total()


def infer_schema(
    documents: Iterable[Any], *, identifier: str = "", title: str = "", binding: bool = False
) -> dict[str, Any]:
    """Return a schema that all documents fit.

    Args:
        documents: what was seen; the more, the better.
        identifier: the schema's `$id`.
        title: the schema's title.
        binding: write values that repeat as `enum`, which refuses others, in place of `x-values`.
    """
    seen = _Seen()
    for document in documents:
        seen.add(document)
    head: dict[str, Any] = {"$schema": DIALECT}
    head |= {"$id": identifier} if identifier else {}
    head |= {"title": title} if title else {}
    number = seen.count
    head["description"] = f"Inferred from {number} {'document' if number == 1 else 'documents'}."
    return head | _schema(seen, binding=binding)


def _schema(seen: _Seen, *, binding: bool) -> dict[str, Any]:
    types = _named(seen.types)
    found: dict[str, Any] = {"type": types[0] if len(types) == 1 else types} if types else {}
    if "string" in types:
        found |= _text(seen, binding=binding)
    if "object" in types:
        found |= _object(seen, binding=binding)
    if "array" in types and seen.items is not None and seen.items.count:
        found["items"] = _schema(seen.items, binding=binding)
    return found


def _named(types: Mapping[str, int]) -> list[str]:
    """Return the types in their usual order; an integer where numbers stood is one of them."""
    return [name for name in TYPES if name in types and not (name == "integer" and "number" in types)]


def _text(seen: _Seen, *, binding: bool) -> dict[str, Any]:
    found: dict[str, Any] = {}
    fitting = [name for name in _FORMATS if name in seen.formats]
    if fitting:
        return {"format": fitting[0]}
    if seen.types.keys() <= {"string", "null"} and _repeats(seen.texts):
        values = sorted(seen.texts)
        if binding:
            found["enum"] = [*values, *([None] if "null" in seen.types else [])]
        else:
            found[KNOWN_VALUES] = values
    return found


def _repeats(texts: Counter[str]) -> bool:
    """Say whether text takes few values: each at least twice, and not all the same by chance."""
    few = 0 < len(texts) <= _MAX_VALUES and all(len(text) <= _MAX_LENGTH for text in texts)
    return few and texts.total() >= 4 * len(texts) and min(texts.values()) > 1


def _object(seen: _Seen, *, binding: bool) -> dict[str, Any]:
    objects = seen.types["object"]
    if _is_map(seen, objects):
        merged = _Seen()
        for member in seen.members.values():
            _merge(merged, member)
        return {"additionalProperties": _schema(merged, binding=binding)}
    required = [name for name, member in seen.members.items() if member.count == objects]
    found: dict[str, Any] = {"required": required} if required else {}
    if seen.members:
        found["properties"] = {
            name: _schema(member, binding=binding) for name, member in seen.members.items()
        }
    return found


def _is_map(seen: _Seen, objects: int) -> bool:
    """Say whether keys are data: many of them, none in even half of the objects, all of one kind."""
    if len(seen.members) < _MAP_KEYS or objects < _MAP_KEYS // 2:
        return False
    kinds = {tuple(_named(member.types)) for member in seen.members.values()}
    return len(kinds) == 1 and all(member.count * 2 < objects for member in seen.members.values())


def _merge(into: _Seen, other: _Seen) -> None:
    into.types.update(other.types)
    into.texts.update(other.texts)
    into.formats &= other.formats
    for name, member in other.members.items():
        _merge(into.members.setdefault(name, _Seen()), member)
    if other.items is not None:
        into.items = into.items or _Seen()
        _merge(into.items, other.items)
