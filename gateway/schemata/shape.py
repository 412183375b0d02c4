"""The shape that a schema describes, as far as readers and writers of its documents depend on it.

References are followed, `allOf` is merged, of `anyOf` and `oneOf` the union is taken: where several
alternatives are objects a member is required only if all of them require it. What a shape can't say
(`if`, `not`, `dependentRequired`) is left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

TYPES: Final = ("null", "boolean", "integer", "number", "string", "array", "object")
KNOWN_VALUES: Final = "x-values"
"""The keyword for values that were known when a schema was written: others pass, and count as drift."""
CONSTRAINTS: Final = (
    "pattern", "format", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf",
    "minLength", "maxLength", "minItems", "maxItems", "uniqueItems", "minProperties", "maxProperties",
)  # fmt: skip
_MAX_DEPTH: Final = 24


@dataclass(slots=True)
class Shape:
    """What one place of a document may hold.

    Attributes:
        types: JSON types; None for any.
        values: the only values, None where all are allowed.
        known: values that were known, without being binding.
        members: an object's named members.
        required: names of those that have to be there.
        others: an object's other members; None where nothing is said about them.
        closed: whether an object may have no other members.
        items: an array's items.
        constraints: other keywords that bind the value.
        title: the schema's title.
        name: of the definition that describes it, empty where it stands in place.
    """

    types: frozenset[str] | None = None
    values: tuple[Any, ...] | None = None
    known: tuple[Any, ...] = ()
    members: dict[str, Shape] = field(default_factory=dict)
    required: frozenset[str] = frozenset()
    others: Shape | None = None
    closed: bool = False
    items: Shape | None = None
    constraints: dict[str, Any] = field(default_factory=dict)
    title: str = ""
    name: str = ""

    @property
    def nullable(self) -> bool:
        """Whether null is allowed."""
        return self.types is None or "null" in self.types


def shape_of(schema: Any, root: Mapping[str, Any] | None = None, depth: int = 0) -> Shape:
    """Return the shape that a schema describes.

    Args:
        schema: the schema, or a part of it.
        root: the whole schema, in which references lead.
        depth: how deep it stands; what refers to itself is followed so far only.
    """
    if not isinstance(schema, dict) or depth > _MAX_DEPTH:
        return Shape()
    root = root or schema
    reference = schema.get("$ref")
    found = _own(schema, root, depth)
    if isinstance(reference, str):
        target = shape_of(_lookup(reference, root), root, depth + 1)
        target.name = target.name or reference.rsplit("/", 1)[-1]
        found = _both(target, found)
    for part in schema.get("allOf", ()):
        found = _both(found, shape_of(part, root, depth + 1))
    alternatives = [*schema.get("anyOf", ()), *schema.get("oneOf", ())]
    if alternatives:
        found = _both(found, _any([shape_of(part, root, depth + 1) for part in alternatives]))
    return found


def _own(schema: Mapping[str, Any], root: Mapping[str, Any], depth: int) -> Shape:
    """Return what the schema's own keywords say."""
    others, items = schema.get("additionalProperties"), schema.get("items")
    values = (schema["const"],) if "const" in schema else schema.get("enum")
    return Shape(
        types=_types(schema.get("type")),
        values=None if values is None else tuple(values),
        known=tuple(schema.get(KNOWN_VALUES, ())),
        members={
            name: shape_of(part, root, depth + 1) for name, part in schema.get("properties", {}).items()
        },
        required=frozenset(schema.get("required", ())),
        others=shape_of(others, root, depth + 1) if isinstance(others, dict) else None,
        closed=others is False,
        items=shape_of(items, root, depth + 1) if isinstance(items, dict) else None,
        constraints={name: schema[name] for name in CONSTRAINTS if name in schema},
        title=str(schema.get("title", "")),
    )


def _types(named: Any) -> frozenset[str] | None:
    if named is None:
        return None
    found = {named} if isinstance(named, str) else set(named)
    return frozenset(found - {"integer"} if "number" in found else found)


def _lookup(reference: str, root: Mapping[str, Any]) -> Any:
    """Follow a reference within the schema; others lead nowhere."""
    here: Any = root
    if not reference.startswith("#"):
        return {}
    for part in reference.removeprefix("#").strip("/").split("/"):
        key = part.replace("~1", "/").replace("~0", "~")
        here = here.get(key, {}) if isinstance(here, dict) else {}
    return here


def _both(first: Shape, second: Shape) -> Shape:
    """Return the shape of what is both."""
    members = dict(first.members)
    for name, shape in second.members.items():
        members[name] = _both(members[name], shape) if name in members else shape
    return Shape(
        types=_common(first.types, second.types),
        values=first.values if second.values is None else second.values,
        known=first.known or second.known,
        members=members,
        required=first.required | second.required,
        others=first.others or second.others,
        closed=first.closed or second.closed,
        items=first.items or second.items,
        constraints=first.constraints | second.constraints,
        title=first.title or second.title,
        name=first.name or second.name,
    )


def _common(first: frozenset[str] | None, second: frozenset[str] | None) -> frozenset[str] | None:
    if first is None or second is None:
        return second if first is None else first
    return first & second


def _any(shapes: list[Shape]) -> Shape:
    """Return the shape of what is at least one of some."""
    objects = [shape for shape in shapes if shape.types != frozenset({"null"})]
    if not objects:
        return shapes[0]
    first = objects[0]
    types = None if any(shape.types is None for shape in shapes) else _union(shapes)
    closed = [shape.values for shape in shapes]
    members: dict[str, Shape] = {}
    for shape in objects:
        for name, member in shape.members.items():
            members[name] = _any([members[name], member]) if name in members else member
    return Shape(
        types=types,
        values=None if None in closed else tuple(value for part in closed for value in part or ()),
        known=first.known,
        members=members,
        required=frozenset.intersection(*(shape.required for shape in objects)),
        others=first.others,
        closed=all(shape.closed for shape in objects),
        items=next((shape.items for shape in objects if shape.items), None),
        constraints=first.constraints if len(objects) == 1 else {},
        title=first.title,
        name=first.name if len(objects) == 1 else "",
    )


def _union(shapes: Iterable[Shape]) -> frozenset[str]:
    return _types([name for shape in shapes for name in shape.types or ()]) or frozenset()


def type_name(value: Any) -> str:
    """Return the JSON type of a value."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, str):
        return "string"
    if isinstance(value, int):
        return "integer"
    if isinstance(value, float):
        return "number"
    return "object" if isinstance(value, dict) else "array"
