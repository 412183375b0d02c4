from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.schemas import BUNDLED, SchemaStore
from gateway.schemata.profile import ENOUGH, Finding, Known, described, differences, learn
from gateway.schemata.shape import shape_of

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "state": {"type": "string", "x-values": ["open", "paid"]},
        "note": {"type": ["string", "null"]},
        "metadata": {"type": "object", "additionalProperties": {"type": "string"}},
        "total": {"type": "number"},
    },
}
EVENT: dict[str, Any] = {
    "state": "open", "total": 1, "metadata": {"a": "b"}, "lines": [{"sku": "a"}], "by": {"name": "Noor"},
}  # fmt: skip
DOCUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


def known(times: int = ENOUGH) -> Known:
    profile = described(shape_of(SCHEMA))
    for _ in range(times):
        learn(profile, EVENT)
    return profile


@pytest.mark.parametrize(
    ("changed", "findings"),
    [
        (EVENT, []),
        (EVENT | {"note": None}, []),
        (EVENT | {"total": 1.5, "metadata": {"other": "key"}}, []),
        (EVENT | {"state": "void"}, [Finding("new_value", "$.state", "void")]),
        (EVENT | {"extra": {"deep": {"deeper": 1}}}, [Finding("new_field", "$.extra")]),
        (EVENT | {"by": {"name": 7}}, [Finding("new_type", "$.by.name", "integer")]),
        (EVENT | {"by": None}, [Finding("new_type", "$.by", "null")]),
        (EVENT | {"by": {}}, [Finding("missing_field", "$.by.name")]),
        (EVENT | {"lines": [{"sku": "a", "n": 1}]}, [Finding("new_field", "$.lines[*].n")]),
        (EVENT | {"lines": []}, []),
        (
            {},
            [Finding("missing_field", f"$.{name}") for name in ("state", "metadata", "total", "lines", "by")],
        ),
    ],
)
def test_what_differs_is_found_where_it_stands(changed: dict[str, Any], findings: list[Finding]) -> None:
    assert list(differences(known(), changed)) == findings


def test_a_member_is_missed_only_where_it_always_was_and_was_seen_often_enough() -> None:
    assert [one for one in differences(known(ENOUGH - 1), {}) if one.kind == "missing_field"] == []
    profile = known()
    learn(profile, {name: value for name, value in EVENT.items() if name != "by"})
    assert Finding("missing_field", "$.by") not in differences(profile, {})


def test_objects_with_very_many_members_are_maps() -> None:
    profile = Known()
    for number in range(70):
        learn(profile, {"prices": {f"sku-{number}": 1}})
    assert list(differences(profile, {"prices": {"sku-1000": 1}})) == []


def test_an_object_of_very_many_members_is_not_kept_whole() -> None:
    profile = Known()
    learn(profile, {f"key{number}": number for number in range(100_000)})
    assert profile.is_map
    assert len(profile.members) < 100


@given(st.lists(DOCUMENTS, min_size=1, max_size=30))
def test_what_was_learned_does_not_differ(documents: list[Any]) -> None:
    profile = Known()
    for document in documents:
        learn(profile, document)
    differing = [found for document in documents for found in differences(profile, document)]
    assert [found for found in differing if found.kind != "missing_field"] == []


def test_samples_have_no_value_that_their_schema_doesn_t_list() -> None:
    store, paths = SchemaStore(), list(BUNDLED.glob("*/*/samples/*.json"))
    assert len(paths) > 100
    for path in paths:
        schema = store.find((path.parents[2].name,), (path.parents[1].name,))
        if schema is not None:
            found = differences(described(shape_of(schema.document)), orjson.loads(path.read_bytes()))
            assert [one for one in found if one.kind in ("new_value", "new_type")] == [], path
