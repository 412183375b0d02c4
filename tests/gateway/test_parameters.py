"""Parameters of an address."""

from __future__ import annotations

import pytest

from gateway.api.parameters import MAX_SEQUENCE, digits


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("1", 1),
        ("200", 200),
        ("0" * 5000 + "7", 7),
        ("0", None),
        ("0" * 5000, None),
        ("201", None),
        ("9" * 5000, None),
        ("0" * 19 + "1" + "9" * 5, None),
        ("", None),
        ("-1", None),
        ("1.0", None),
        ("1_0", None),
        ("٣", None),
    ],
)
def test_a_number_is_within_bounds_however_it_is_written(text: str, found: int | None) -> None:
    assert digits(text, 1, 200) == found


def test_nothing_may_be_a_number_too() -> None:
    assert digits("0" * 5000, 0, MAX_SEQUENCE) == 0
    assert digits(str(MAX_SEQUENCE), 0, MAX_SEQUENCE) == MAX_SEQUENCE
    assert digits(str(MAX_SEQUENCE + 1), 0, MAX_SEQUENCE) is None
