"""Secret fields are found wherever a schema may describe them, and nothing else is hidden."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, SecretStr

from gateway.schemata.secret_fields import STARS, marks_secrets, masked

SECRET = {"type": "string", "writeOnly": True}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda below: st.lists(below) | st.dictionaries(st.text(), below),
    max_leaves=20,
)


class Login(BaseModel):
    name: str
    password: SecretStr
    others: list[Login] = []


@pytest.mark.parametrize(
    ("schema", "value", "seen"),
    [
        (SECRET, "x", STARS),
        ({"properties": {"a": SECRET}}, {"a": {"b": 1}, "c": 2}, {"a": STARS, "c": 2}),
        ({"items": {"properties": {"a": SECRET}}}, [{"a": 1}, {"b": 2}], [{"a": STARS}, {"b": 2}]),
        ({"prefixItems": [{}, SECRET]}, [1, 2, 3], [1, STARS, 3]),
        ({"additionalProperties": SECRET, "properties": {"a": {}}}, {"a": 1, "b": 2}, {"a": 1, "b": STARS}),
        ({"patternProperties": {"^x-": SECRET}}, {"x-a": 1, "a": 2}, {"x-a": STARS, "a": 2}),
        ({"patternProperties": {"(": SECRET}}, {"a": 2}, {"a": STARS}),
        ({"anyOf": [{"type": "null"}, {"properties": {"a": SECRET}}]}, {"a": 1}, {"a": STARS}),
        ({"if": {}, "then": {"properties": {"a": SECRET}}}, {"a": 1}, {"a": STARS}),
        ({"$ref": "#/$defs/x", "$defs": {"x": {"properties": {"a": SECRET}}}}, {"a": 1}, {"a": STARS}),
        (
            {"$ref": "#x", "$defs": {"y": {"$anchor": "x", "properties": {"a": SECRET}}}},
            {"a": 1},
            {"a": STARS},
        ),
        ({"properties": {"a": {"writeOnly": False}}}, {"a": 1}, {"a": 1}),
        ({"$ref": "#"}, {"a": 1}, {"a": 1}),
        ({"$ref": "https://elsewhere/x"}, {"a": 1}, {"a": 1}),
        (True, {"a": 1}, {"a": 1}),
    ],
)
def test_what_is_marked_is_stars(schema: Any, value: Any, seen: Any) -> None:
    assert masked(value, [schema]) == seen


def test_several_schemas_hide_what_any_of_them_marks() -> None:
    schemas = [{"properties": {"a": SECRET}}, {"properties": {"b": SECRET}}]
    assert masked({"a": 1, "b": 2, "c": 3}, schemas) == {"a": STARS, "b": STARS, "c": 3}


def test_models_mark_their_secrets_at_any_depth() -> None:
    schema = Login.model_json_schema()
    value: dict[str, Any] = {"name": "n", "password": "p", "others": [{"name": "m", "password": "q"}]}
    assert masked(value, [schema]) == {
        "name": "n",
        "password": STARS,
        "others": [{"name": "m", "password": STARS}],
    }


def test_what_is_too_deep_to_look_at_is_hidden() -> None:
    value: Any = {"password": "p"}
    for _ in range(500):
        value = {"others": [value]}
    assert "'p'" not in str(masked(value, [Login.model_json_schema()]))


@given(JSON)
def test_nothing_is_changed_where_nothing_is_marked(value: Any) -> None:
    assert masked(value, [{"properties": {"a": {"type": "string"}}, "additionalProperties": {}}]) == value


@given(JSON, st.text(min_size=1))
def test_a_marked_member_never_shows(value: Any, name: str) -> None:
    schema = {"properties": {name: SECRET}}
    seen = masked({name: value, "": 0} if name else {}, [schema])
    assert seen[name] == STARS


def test_schemas_that_mark_something_are_known() -> None:
    assert marks_secrets({"a": [SECRET]})
    assert marks_secrets(SECRET)
    assert not marks_secrets({})
    assert not marks_secrets(None)
