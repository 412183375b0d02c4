from __future__ import annotations

from typing import Any

import orjson
import pytest

from gateway.schemas import BUNDLED, SchemaStore
from gateway.schemata.compatibility import Change, Side, compare

ORDER: dict[str, Any] = {
    "type": "object",
    "required": ["id", "total"],
    "properties": {
        "id": {"type": "string"},
        "total": {"type": "integer", "minimum": 0},
        "state": {"enum": ["open", "paid"]},
        "lines": {"type": "array", "items": {"$ref": "#/$defs/line"}},
        "note": {"type": ["string", "null"]},
    },
    "$defs": {"line": {"type": "object", "required": ["sku"], "properties": {"sku": {"type": "string"}}}},
}


def changed(**members: Any) -> dict[str, Any]:
    return ORDER | {"properties": ORDER["properties"] | members}


def without(name: str) -> dict[str, Any]:
    members = {key: value for key, value in ORDER["properties"].items() if key != name}
    return ORDER | {"properties": members, "required": [key for key in ORDER["required"] if key != name]}


@pytest.mark.parametrize(
    ("new", "expected"),
    [
        (ORDER | {"required": ["id", "total", "state"]}, ("$.state", "is required now", "writers")),
        (ORDER | {"required": ["id"]}, ("$.total", "may be missing now", "readers")),
        (without("total"), ("$.total", "is no longer described", "readers")),
        (without("note"), ("$.note", "is no longer described", "readers")),
        (changed(paid={"type": "boolean"}), ("$.paid", "is described now", None)),
        (changed(note={"type": "string"}), ("$.note", "may no longer be null", "writers")),
        (changed(id={"type": ["string", "integer"]}), ("$.id", "may now be integer too", "readers")),
        (changed(id={"type": "string", "pattern": "^o"}), ("$.id", "pattern '^o' is demanded", "writers")),
        (changed(total={"type": "integer", "minimum": 1}), ("$.total", "minimum 0 is now 1", "writers")),
        (changed(total={"type": "integer", "minimum": -1}), ("$.total", "minimum 0 is now -1", "readers")),
        (changed(total={"type": "integer"}), ("$.total", "minimum 0 is no longer promised", "readers")),
        (changed(state={"enum": ["open"]}), ("$.state", "may no longer be 'paid'", "writers")),
        (changed(state={"enum": ["open", "paid", "void"]}), ("$.state", "may now be 'void'", "readers")),
        (changed(state={}), ("$.state", "may be other than 'open', 'paid'", "readers")),
        (changed(id={"const": "7", "type": "string"}), ("$.id", "may only be '7'", "writers")),
        (changed(id={"type": "string", "format": "uuid"}), ("$.id", "format 'uuid' is demanded", None)),
        (ORDER | {"additionalProperties": False}, ("$", "may have no other members now", "writers")),
        (
            ORDER | {"$defs": {"line": {**ORDER["$defs"]["line"], "required": []}}},
            ("$.lines[*].sku", "may be missing now", "readers"),
        ),
    ],
)
def test_one_change_is_named_with_the_side_that_it_breaks(
    new: dict[str, Any], expected: tuple[str, str, Side | None]
) -> None:
    path, text, side = expected
    assert compare(ORDER, new) == [Change(path, text, (side,) if side else ())]


def test_widening_and_narrowing_mirror_each_other() -> None:
    wide = changed(id={"type": ["string", "integer"]}, state={"enum": ["open", "paid", "void"]})
    assert {side for change in compare(ORDER, wide) for side in change.breaks} == {"readers"}
    assert {side for change in compare(wide, ORDER) for side in change.breaks} == {"writers"}
    assert compare({"type": "integer"}, {"type": "number"})[0].breaks == ("readers",)
    assert compare({"type": "number"}, {"type": "integer"})[0].breaks == ("writers",)


def test_alternatives_and_references_to_itself_are_followed() -> None:
    tree = {
        "$ref": "#/$defs/node",
        "$defs": {"node": {"type": "object", "properties": {"next": {"$ref": "#/$defs/node"}}}},
    }
    assert compare(tree, tree) == []
    maybe = changed(lines={"anyOf": [ORDER["properties"]["lines"], {"type": "null"}]}) | {
        "$defs": ORDER["$defs"]
    }
    assert compare(ORDER, maybe) == [Change("$.lines", "may now be null too", ("readers",))]


def test_no_schema_of_the_product_differs_from_itself() -> None:
    documents = [orjson.loads(path.read_bytes()) for _, _, _, path in SchemaStore((BUNDLED,)).known()]
    assert len(documents) > 100
    assert [change for document in documents for change in compare(document, document)] == []
