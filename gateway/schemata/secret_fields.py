"""Fields that a JSON Schema marks as secret with `"writeOnly": true`: found, and replaced by stars.

Where a schema leaves open which of its branches a value fits (`anyOf`, `if`), all of them count: rather too
much is hidden than too little.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final
from urllib.parse import unquote

STARS: Final = "***"
KEYWORD: Final = "writeOnly"
_DEEPEST: Final = 100
"""Levels of a value that are looked at; what lies below one that a schema still describes is hidden."""
_MOST_BRANCHES: Final = 2_000
_SEVERAL: Final = ("allOf", "anyOf", "oneOf")
_SINGLE: Final = ("then", "else", "if", "not")
_REST: Final = ("additionalProperties", "unevaluatedProperties")
_NAMED: Final = ("dependentSchemas",)


def marks_secrets(schema: Any) -> bool:
    """Say whether a schema marks anything as secret."""
    waiting = [schema]
    while waiting:
        one = waiting.pop()
        if isinstance(one, Mapping):
            if one.get(KEYWORD) is True:
                return True
            waiting += one.values()
        elif isinstance(one, list | tuple):
            waiting += one
    return False


def masked(value: Any, schemas: Sequence[Any]) -> Any:
    """Return a copy of a JSON value in which what any of the schemas marks as secret is stars."""
    return _masked(value, [(schema, schema) for schema in schemas], 0)


_Part = tuple[Any, Any]
"""A schema and the document that its references lead into."""


def _masked(value: Any, parts: Sequence[_Part], depth: int) -> Any:
    every = list(_branches(parts))
    if not every:
        return value
    if depth > _DEEPEST or len(every) >= _MOST_BRANCHES:
        return STARS
    if any(part.get(KEYWORD) is True for part, _ in every):
        return STARS
    if isinstance(value, dict):
        return {name: _masked(one, _of_member(every, name), depth + 1) for name, one in value.items()}
    if isinstance(value, list):
        return [_masked(one, _of_item(every, place), depth + 1) for place, one in enumerate(value)]
    return value


def _branches(parts: Sequence[_Part]) -> Iterator[tuple[Mapping[str, Any], Any]]:
    """Yield all schemas that may describe the same value: those given, and what they refer to or combine."""
    waiting, seen = list(parts), set[int]()
    while waiting and len(seen) < _MOST_BRANCHES:
        part, root = waiting.pop()
        if not isinstance(part, Mapping) or id(part) in seen:
            continue
        seen.add(id(part))
        yield part, root
        references = [part[name] for name in ("$ref", "$dynamicRef") if isinstance(part.get(name), str)]
        waiting += [(_target(root, reference), root) for reference in references]
        for name in _SEVERAL:
            if isinstance(part.get(name), list):
                waiting += [(one, root) for one in part[name]]
        waiting += [(part[name], root) for name in _SINGLE if name in part]
        for name in _NAMED:
            if isinstance(part.get(name), Mapping):
                waiting += [(one, root) for one in part[name].values()]


def _of_member(parts: Sequence[tuple[Mapping[str, Any], Any]], name: str) -> list[_Part]:
    found: list[_Part] = []
    for part, root in parts:
        members, patterns = part.get("properties"), part.get("patternProperties")
        known = isinstance(members, Mapping) and name in members
        if isinstance(members, Mapping) and known:
            found.append((members[name], root))
        if isinstance(patterns, Mapping):
            matching = [one for pattern, one in patterns.items() if _matches(pattern, name)]
            found += [(one, root) for one in matching]
            known = known or bool(matching)
        if not known:
            found += [(part[rest], root) for rest in _REST if rest in part]
    return found


def _of_item(parts: Sequence[tuple[Mapping[str, Any], Any]], place: int) -> list[_Part]:
    found: list[_Part] = []
    for part, root in parts:
        first = part.get("prefixItems")
        if isinstance(first, list) and place < len(first):
            found.append((first[place], root))
        elif "items" in part:
            found.append((part["items"], root))
        found += [(part[rest], root) for rest in ("contains", "unevaluatedItems") if rest in part]
    return found


@lru_cache(maxsize=256)
def _pattern(text: str) -> re.Pattern[str] | None:
    try:
        return re.compile(text)
    except re.error:
        return None


def _matches(pattern: str, name: str) -> bool:
    """Say whether a member's name fits a pattern; one that can't be read fits all."""
    compiled = _pattern(pattern)
    return compiled is None or compiled.search(name) is not None


def _target(root: Any, reference: str) -> Any:
    """Return what a reference leads to in its own document: by a JSON Pointer, or an anchor below `$defs`."""
    if reference == "#":
        return root
    if not reference.startswith("#"):
        return None
    if not reference.startswith("#/"):
        named = (root.get("$defs") or {}).values() if isinstance(root, Mapping) else ()
        anchors = ("$anchor", "$dynamicAnchor")
        return next((one for one in named if any(one.get(name) == reference[1:] for name in anchors)), None)
    found = root
    for token in reference[2:].split("/"):
        name = unquote(token).replace("~1", "/").replace("~0", "~")
        if isinstance(found, Mapping):
            found = found.get(name)
        elif isinstance(found, list) and name.isascii() and name.isdigit() and int(name) < len(found):
            found = found[int(name)]
        else:
            return None
    return found
