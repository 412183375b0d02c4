"""Durations and instants."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill.kernel.clock import LONGEST, now, rfc3339, rfc3339_at, schedulable, seconds
from tidemill.kernel.errors import SettingsError

UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
ZONES = st.sampled_from([UTC, timezone(timedelta(hours=-3, minutes=-30)), timezone(timedelta(hours=14))])
MOMENTS = st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1), timezones=ZONES)  # noqa: DTZ001 - bounds


@given(st.lists(st.tuples(st.integers(0, 1000), st.sampled_from(list(UNITS))), min_size=1, max_size=4))
def test_parts_add_up(parts: list[tuple[int, str]]) -> None:
    expected = sum(number * UNITS[unit] for number, unit in parts)
    assert seconds("".join(f"{number}{unit}" for number, unit in parts)) == pytest.approx(expected)
    assert seconds(" ".join(f"{number} {unit}" for number, unit in parts)) == pytest.approx(expected)


@given(st.floats(0, LONGEST))
def test_a_number_is_seconds(number: float) -> None:
    assert seconds(number) == number
    assert seconds(timedelta(seconds=int(number % 1e9))) == int(number % 1e9)


@given(st.text() | st.floats() | st.integers() | st.timedeltas())
def test_anything_is_a_duration_or_refused(duration: float | str | timedelta) -> None:
    try:
        assert 0 <= seconds(duration) <= LONGEST
    except SettingsError as error:
        assert error.hint  # noqa: PT017 - either outcome is right, nothing else is


@pytest.mark.parametrize(
    "duration",
    [
        "",
        " ",
        "5",
        "1 0s",
        "1h30",
        "-5s",
        "s",
        "1e3s",
        "1,5s",
        "5 parsecs",
        "9" * 400 + "s",
        10**400,
        -1,
        1e300,
        "36526d",
    ],
)
def test_what_is_no_duration_is_refused(duration: float | str) -> None:
    with pytest.raises(SettingsError, match="is no duration"):
        seconds(duration)


@given(MOMENTS)
def test_an_instant_is_written_in_utc_and_can_be_read_back(moment: datetime) -> None:
    text = rfc3339(moment)
    assert text.endswith("Z")
    assert datetime.fromisoformat(text) == moment.astimezone(UTC)


def test_an_instant_is_written_from_the_epoch() -> None:
    assert rfc3339_at(0) == "1970-01-01T00:00:00Z"
    assert rfc3339_at(1.5) == "1970-01-01T00:00:01.500000Z"


def test_now_has_a_zone() -> None:
    assert now().tzinfo is UTC


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        (datetime(1970, 1, 1, tzinfo=UTC), True),
        (datetime(1969, 12, 31, tzinfo=UTC), False),
        (datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=23))), False),
        (datetime(9999, 12, 31, 23, 59, tzinfo=timezone(timedelta(hours=-23))), False),
        (datetime(2300, 1, 1, tzinfo=UTC), False),
    ],
)
def test_what_lies_beyond_the_brokers_time_is_never_planned(moment: datetime, expected: object) -> None:
    assert schedulable(moment) is expected
    assert schedulable(now() + timedelta(seconds=LONGEST - 60))
