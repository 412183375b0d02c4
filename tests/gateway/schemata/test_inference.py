from __future__ import annotations

import jsonschema
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.schemas import BUNDLED
from gateway.schemata.inference import infer_schema

SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
)
DOCUMENTS = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)


@given(st.lists(DOCUMENTS, min_size=1, max_size=12), st.booleans())
def test_what_a_schema_was_inferred_from_fits_it(documents: list[object], binding: bool) -> None:  # noqa: FBT001 - drawn
    schema = infer_schema(documents, binding=binding)
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    assert [document for document in documents if not validator.is_valid(document)] == []


def test_members_types_and_formats() -> None:
    schema = infer_schema(
        [
            {"id": "a", "total": 1, "at": "2026-10-26T07:33:20Z", "to": "a@example.com", "note": None},
            {
                "id": "b",
                "total": 1.5,
                "at": "2026-10-26T09:33:20.5+01:00",
                "to": "b@example.com",
                "tags": ["x"],
            },
        ],
        identifier="tidemill:schemas/acme/paid/1",
        title="Paid",
    )
    assert schema == {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "tidemill:schemas/acme/paid/1",
        "title": "Paid",
        "description": "Inferred from 2 documents.",
        "type": "object",
        "required": ["id", "total", "at", "to"],
        "properties": {
            "id": {"type": "string"},
            "total": {"type": "number"},
            "at": {"type": "string", "format": "date-time"},
            "to": {"type": "string", "format": "email"},
            "note": {"type": "null"},
            "tags": {"type": "array", "items": {"type": "string"}},
        },
    }


@pytest.mark.parametrize(
    ("texts", "values"),
    [
        (["open", "paid"] * 4, ["open", "paid"]),
        (["open", "paid", "void"], None),
        (["open"] * 8 + ["once"], None),
        ([f"{number % 9}" for number in range(90)], None),
        (["x" * 41] * 20, None),
        (["2026-10-26"] * 20, None),
    ],
)
def test_values_are_listed_only_where_few_repeat(texts: list[str], values: list[str] | None) -> None:
    assert infer_schema(texts).get("x-values") == values
    assert infer_schema(texts, binding=True).get("enum") == values


def test_objects_with_keys_of_data_are_maps() -> None:
    documents = [{"prices": {f"sku-{number}": 100 + number, f"sku-{number + 50}": 7}} for number in range(20)]
    prices = infer_schema(documents)["properties"]["prices"]
    assert prices == {"type": "object", "additionalProperties": {"type": "integer"}}


def test_samples_of_the_product_give_schemas_that_they_fit() -> None:
    folders = list(BUNDLED.glob("*/*/samples"))
    assert len(folders) > 100
    for folder in folders:
        documents = [orjson.loads(path.read_bytes()) for path in folder.glob("*.json")]
        validator = jsonschema.Draft202012Validator(infer_schema(documents, binding=True))
        assert all(validator.is_valid(document) for document in documents), folder
