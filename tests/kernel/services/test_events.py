from __future__ import annotations

import pytest

from tidemill.kernel.subjects import escape_pattern


@pytest.mark.parametrize(
    ("pattern", "tokens"),
    [
        ("github.push", "github.push"),
        ("github.issues.*", "github.issues.*"),
        ("shopify.orders/create", "shopify.orders%2Fcreate"),
        ("shopify.>", "shopify.>"),
    ],
)
def test_types_are_escaped_as_they_stand_in_subjects_and_wildcards_stay(pattern: str, tokens: str) -> None:
    assert escape_pattern(pattern) == tokens
