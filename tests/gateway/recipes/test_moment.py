from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.recipes.moment import datetime_of, parse_moment


@pytest.mark.parametrize(
    ("text", "unit", "seconds"),
    [
        ("1793000000", "s", 1_793_000_000.0),
        ("1793000000500", "ms", 1_793_000_000.5),
        ("2026-10-26T07:33:20Z", "rfc3339", 1_793_000_000.0),
        ("2026-10-26T08:33:20.5+01:00", "rfc3339", 1_793_000_000.5),
        ("2026-10-26T07:33:20", "rfc3339", None),
        ("179300000²", "s", None),
        ("١٧٩٣٠٠٠٠٠٠", "s", None),
        ("1e9", "s", None),
        ("", "s", None),
        ("1" * 16, "ms", None),
    ],
)
def test_instants_are_read_as_providers_write_them(text: str, unit: str, seconds: float | None) -> None:
    assert parse_moment(text, unit) == seconds


@given(text=st.text(max_size=30), unit=st.sampled_from(["s", "ms", "rfc3339"]))
def test_any_text_is_an_instant_or_none(text: str, unit: str) -> None:
    seconds = parse_moment(text, unit)
    assert seconds is None or isinstance(seconds, float)


@pytest.mark.parametrize("seconds", [float("inf"), float("nan"), 1e15, -1e15, 1e300])
def test_an_instant_outside_of_the_calendar_is_no_datetime(seconds: float) -> None:
    assert datetime_of(seconds) is None
