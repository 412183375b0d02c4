"""What is known of a type's events, and where one differs from it.

A profile starts from the schema, which names members and values, and learns from events: which members
there are, of which types, and which are always there. Objects that the schema describes as maps, or that
turn out to have very many members, are maps: their keys are data.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from gateway.recipes.selector import json_path
from gateway.schemata.shape import type_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.schemata.shape import Shape

Kind = Literal["new_field", "missing_field", "new_type", "new_value"]
KINDS: Final[tuple[Kind, ...]] = ("new_field", "missing_field", "new_type", "new_value")
ENOUGH: Final = 20
"""How many events are learned from before one can differ, and how often a member was there to be missed."""
_MAX_DEPTH: Final = 12
_MAX_ITEMS: Final = 10
_MAX_MEMBERS: Final = 64
_MAX_EXAMPLE: Final = 60
_Place = tuple[str | int, ...]


class Finding(NamedTuple):
    """One difference.

    Attributes:
        kind: what differs.
        path: where, `$.commits[*].id`.
        example: the new value or type, None where the path says all.
    """

    kind: Kind
    path: str
    example: str | None = None


@dataclass(slots=True)
class Known:
    """What is known of one place.

    Attributes:
        types: JSON types that stood there or are described.
        members: an object's members.
        items: an array's items, all taken together.
        values: texts that the schema lists, None where it lists none.
        count: how often something stood there.
        objects: how often that was an object.
        is_map: whether its keys are data.
    """

    types: set[str] = field(default_factory=set)
    members: dict[str, Known] = field(default_factory=dict)
    items: Known | None = None
    values: frozenset[str] | None = None
    count: int = 0
    objects: int = 0
    is_map: bool = False


def described(shape: Shape) -> Known:
    """Return what a schema says beforehand."""
    listed = frozenset(value for value in shape.known if isinstance(value, str))
    return Known(
        types=set(shape.types or ()),
        members={name: described(member) for name, member in shape.members.items()},
        items=described(shape.items) if shape.items else None,
        values=listed or None,
        is_map=shape.others is not None and not shape.members,
    )


def learn(known: Known, value: Any, depth: int = 0) -> None:
    """Take an event in."""
    known.count += 1
    known.types.add(type_name(value))
    if depth >= _MAX_DEPTH:
        return
    if isinstance(value, dict):
        known.objects += 1
        for name, member in islice(value.items(), 0 if known.is_map else _MAX_MEMBERS + 1):
            learn(known.members.setdefault(name, Known()), member, depth + 1)
        if len(known.members) > _MAX_MEMBERS:
            known.is_map = True
    elif isinstance(value, list):
        known.items = known.items or Known()
        for item in value[:_MAX_ITEMS]:
            learn(known.items, item, depth + 1)


def differences(known: Known, value: Any, at: _Place = ()) -> Iterator[Finding]:
    """Yield where an event differs; below a member that is new nothing more is said."""
    kind = type_name(value)
    if known.types and kind not in known.types and not (kind == "integer" and "number" in known.types):
        yield Finding("new_type", _path(at), kind)
        return
    if isinstance(value, str):
        if known.values is not None and value not in known.values:
            yield Finding("new_value", _path(at), value[:_MAX_EXAMPLE])
    elif len(at) >= _MAX_DEPTH:
        return
    elif isinstance(value, dict):
        yield from _members(known, value, at)
    elif isinstance(value, list) and known.items is not None and known.items.types:
        for item in value[:_MAX_ITEMS]:
            yield from differences(known.items, item, (*at, "*"))


def _members(known: Known, value: dict[str, Any], at: _Place) -> Iterator[Finding]:
    if known.is_map:
        return
    for name, member in value.items():
        expected = known.members.get(name)
        if expected is not None:
            yield from differences(expected, member, (*at, name))
        elif known.objects or known.members:
            yield Finding("new_field", _path((*at, name)))
    if known.objects >= ENOUGH:
        for name, expected in known.members.items():
            if expected.count == known.objects and name not in value:
                yield Finding("missing_field", _path((*at, name)))


def _path(at: _Place) -> str:
    return json_path(at).replace('["*"]', "[*]")
