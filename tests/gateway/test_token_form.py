"""Inputs for a token's data, and what comes back from them."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.pages.form import fields_of, read_data
from tidemill.kernel.errors import PayloadError

FLAT: dict[str, Any] = {
    "type": "object",
    "required": ["street", "count"],
    "properties": {
        "street": {"type": "string", "title": "Street"},
        "count": {"type": "integer"},
        "price": {"type": "number"},
        "gift": {"type": "boolean"},
    },
}


def test_a_flat_object_has_an_input_for_each_member() -> None:
    fields = fields_of(FLAT)
    assert fields is not None
    assert [(f.name, f.label, f.type, f.required) for f in fields] == [
        ("street", "Street", "string", True),
        ("count", "count", "integer", True),
        ("price", "price", "number", False),
        ("gift", "gift", "boolean", False),
    ]
    form = {"data.street": "Main St", "data.count": "2", "data.price": "", "data.gift": "on"}
    assert read_data(FLAT, form) == {"street": "Main St", "count": 2, "gift": True}
    assert read_data(FLAT, {"data.count": "two"}) == {"street": "", "count": "two", "gift": False}
    assert read_data(FLAT, {"data.count": "true"})["count"] == "true"


@pytest.mark.parametrize(
    ("schema", "text", "value"),
    [
        ({"type": "string"}, "12", "12"),
        ({"type": "integer"}, "12", 12),
        (None, '{"a": 1}', {"a": 1}),
        (None, " ", None),
        ({"type": "null"}, "12", None),
        ({"type": "object", "properties": {"a": {"type": "array"}}}, "[]", []),
        ({"type": "object", "properties": {"a": {"anyOf": []}}}, "1", 1),
        ({"type": "object"}, "{}", {}),
    ],
)
def test_anything_else_is_one_text(schema: dict[str, Any] | None, text: str, value: Any) -> None:
    assert fields_of(schema) is None
    assert read_data(schema, {"data": text}) == value


def test_a_text_that_must_be_json_is_said_to() -> None:
    with pytest.raises(PayloadError, match="no JSON"):
        read_data(None, {"data": "{"})
