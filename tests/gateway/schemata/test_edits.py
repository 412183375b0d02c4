"""Edited data: the paths that changed, and masks that come back where secrets were."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.schemata.edits import MOST_PATHS, changed_paths, unmasked
from gateway.schemata.secret_fields import STARS, masked
from tidemill.kernel.errors import PayloadError

CARD: dict[str, Any] = {
    "properties": {
        "cards": {"items": {"properties": {"number": {"writeOnly": True}}}},
        "pin": {"writeOnly": True},
        "owner": {"type": "string"},
    }
}
OLD = {"pin": 7, "owner": "Ada", "cards": [{"number": "1", "of": "x"}, {"number": "2", "of": "y"}]}
ANY = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize(
    ("old", "new", "paths"),
    [
        ({"a": 1}, {"a": 1}, []),
        ({"a": 1}, {"a": True}, ["$.a"]),
        ({"a": 1}, {"a": 1.0}, ["$.a"]),
        ({"a": [1, {"b": 2}]}, {"a": [1, {"b": 3, "c d": 4}]}, ["$.a[1].b", '$.a[1]["c d"]']),
        ({"a": [1]}, {"a": []}, ["$.a"]),
        ({"a": 1}, {}, ["$.a"]),
        (None, {"a": 1}, ["$"]),
    ],
)
def test_the_places_that_changed_are_named(old: Any, new: Any, paths: list[str]) -> None:
    assert changed_paths(old, new) == paths


def test_what_is_named_has_bounds() -> None:
    paths = changed_paths({}, {f"{number}{'x' * 500}": number for number in range(100)})
    assert (len(paths), paths[-1]) == (MOST_PATHS + 1, "...")
    assert max(map(len, paths)) == 120


@given(ANY)
def test_nothing_changes_where_nothing_is_edited(value: Any) -> None:
    assert changed_paths(value, value) == []


def test_what_comes_back_masked_keeps_its_secrets() -> None:
    seen = masked(OLD, [CARD])
    assert STARS in (seen["pin"], seen["cards"][0]["number"])
    assert unmasked(seen, OLD, [CARD]) == OLD
    seen["owner"], seen["cards"][1]["of"] = "Eva", "z"
    restored = unmasked(seen, OLD, [CARD])
    cards = [{"number": "1", "of": "x"}, {"number": "2", "of": "z"}]
    assert restored == {"pin": 7, "owner": "Eva", "cards": cards}
    assert unmasked(seen | {"pin": 8}, OLD, [CARD])["pin"] == 8
    assert "pin" not in unmasked({"owner": STARS}, OLD, [CARD])
    assert unmasked({"owner": STARS}, OLD, [CARD]) == {"owner": STARS}


@pytest.mark.parametrize(
    "cards",
    [
        [{"number": STARS, "of": "y"}, {"number": STARS, "of": "x"}],
        [{"number": STARS, "of": "y"}],
        [{"number": STARS}, {"number": "2"}, {"number": "3"}],
    ],
)
def test_a_mask_that_has_moved_is_refused(cards: list[Any]) -> None:
    with pytest.raises(PayloadError, match=r"\$\.cards\[0\]\.number"):
        unmasked(OLD | {"cards": cards}, OLD, [CARD])


def test_a_mask_where_nothing_was_is_refused() -> None:
    with pytest.raises(PayloadError, match=r"\$\.pin"):
        unmasked({"pin": STARS}, {"owner": "Ada"}, [CARD])
    with pytest.raises(PayloadError, match=r"\$\.pin"):
        unmasked({"pin": STARS}, None, [CARD])


@given(ANY, ANY, ANY)
def test_without_masks_nothing_is_restored(pin: Any, owner: Any, old: Any) -> None:
    new = {"pin": [pin], "owner": owner}
    assert unmasked(new, old, [CARD]) == new
