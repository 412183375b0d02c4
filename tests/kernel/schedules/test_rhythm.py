"""Cron expressions and intervals: moments, daylight saving time, and errors that name the place."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.kernel.schedules.oracle import Expected
from tidemill.kernel.errors import DefinitionError
from tidemill.kernel.schedules.rhythm import Rhythm, rhythm

ZONES = ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Africa/Cairo", "Asia/Kolkata", "UTC")
CHANGES = {
    "Europe/Berlin": (datetime(2026, 3, 29, 1, tzinfo=UTC), datetime(2026, 10, 25, 1, tzinfo=UTC)),
    "America/New_York": (datetime(2026, 3, 8, 7, tzinfo=UTC), datetime(2026, 11, 1, 6, tzinfo=UTC)),
    "Australia/Lord_Howe": (datetime(2026, 10, 3, 15, 30, tzinfo=UTC), datetime(2026, 4, 4, 15, tzinfo=UTC)),
    "Africa/Cairo": (datetime(2026, 4, 23, 22, tzinfo=UTC), datetime(2026, 10, 29, 21, tzinfo=UTC)),
}


def shown(expr: str, zone: str, begin: str, count: int) -> list[str]:
    """Return the next ticks as the wall clock of the zone shows them."""
    start = datetime.fromisoformat(begin).replace(tzinfo=ZoneInfo(zone)).timestamp()
    ticks = itertools.islice(rhythm(expr, zone).after(start), count)
    return [datetime.fromtimestamp(tick, ZoneInfo(zone)).strftime("%d %H:%M%z") for tick in ticks]


@pytest.mark.parametrize(
    ("expr", "zone", "begin", "ticks"),
    [
        # In spring the clock goes from 02:00 to 03:00: what is left out comes at once, and once.
        ("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00", ["29 03:00+0200", "30 02:30+0200"]),
        ("0,30 2 * * *", "Europe/Berlin", "2026-03-29T01:00", ["29 03:00+0200", "30 02:00+0200"]),
        ("30 2 * * *", "America/New_York", "2026-03-08T00:00", ["08 03:00-0400", "09 02:30-0400"]),
        ("15 2 * * *", "Australia/Lord_Howe", "2026-10-04T00:00", ["04 02:30+1100", "05 02:15+1100"]),
        # In autumn 02:30 comes twice: the first one counts.
        ("30 2 * * *", "Europe/Berlin", "2026-10-25T00:00", ["25 02:30+0200", "26 02:30+0100"]),
        ("30 1 * * *", "America/New_York", "2026-11-01T00:00", ["01 01:30-0400", "02 01:30-0500"]),
        ("45 1 * * *", "Australia/Lord_Howe", "2026-04-05T00:00", ["05 01:45+1100", "06 01:45+1030"]),
        # With a star the wall clock is followed: nothing at 02:30 that isn't, two at one that is twice.
        ("30 * * * *", "Europe/Berlin", "2026-03-29T01:00", ["29 01:30+0100", "29 03:30+0200"]),
        ("30 * * * *", "Europe/Berlin", "2026-10-25T02:00", ["25 02:30+0200", "25 02:30+0100"]),
        ("0 */2 * * *", "Europe/Berlin", "2026-10-25T01:00", ["25 02:00+0200", "25 02:00+0100"]),
        ("@daily", "Africa/Cairo", "2026-04-23T12:00", ["24 01:00+0300", "25 00:00+0300"]),
        ("@hourly", "Asia/Kolkata", "2026-01-01T00:10", ["01 01:00+0530", "01 02:00+0530"]),
        ("0 9 * * MON-FRI", "Europe/Berlin", "2026-01-02T10:00", ["05 09:00+0100", "06 09:00+0100"]),
        ("0 0 29 FEB *", "UTC", "2026-01-01T00:00", ["29 00:00+0000", "29 00:00+0000"]),
    ],
)
def test_clock_changes(expr: str, zone: str, begin: str, ticks: list[str]) -> None:
    assert shown(expr, zone, begin, 2) == ticks


def test_the_second_of_two_equal_hours_repeats_no_tick() -> None:
    """Whoever asks in the second 02:10 has had the 02:30 that is meant: it was before."""
    second = datetime(2026, 10, 25, 2, 10, tzinfo=ZoneInfo("Europe/Berlin"), fold=1)
    tick = next(rhythm("30 2 * * *", "Europe/Berlin").after(second.timestamp()))
    assert datetime.fromtimestamp(tick, UTC).isoformat() == "2026-10-26T01:30:00+00:00"


numbers = st.integers


@st.composite
def fields(draw: st.DrawFn, low: int, high: int) -> str:
    def term() -> str:
        first = draw(numbers(low, high))
        kind = draw(st.sampled_from(["one", "range", "step", "both"]))
        last, step = draw(numbers(first, high)), draw(numbers(1, high))
        return {"one": f"{first}", "range": f"{first}-{last}", "step": f"{first}/{step}"}.get(
            kind, f"{first}-{last}/{step}"
        )

    star = draw(st.sampled_from(["*", f"*/{draw(numbers(1, high))}", ""]))
    return star or ",".join(term() for _ in range(draw(numbers(1, 3))))


@st.composite
def expressions(draw: st.DrawFn) -> str:
    """Expressions that come true now and then within days: their month is open."""
    parts = [draw(fields(0, 59)), draw(fields(0, 23)), draw(st.sampled_from(["*", draw(fields(1, 28))]))]
    return " ".join([*parts, "*", draw(st.sampled_from(["*", "*", draw(fields(0, 7))]))])


@settings(max_examples=100, deadline=None)
@given(expr=expressions(), zone=st.sampled_from(ZONES), data=st.data())
def test_it_agrees_with_a_look_at_every_minute(expr: str, zone: str, data: st.DataObject) -> None:
    around = data.draw(st.sampled_from(CHANGES.get(zone, (datetime(2026, 2, 27, tzinfo=UTC),))))
    after = around + timedelta(seconds=data.draw(numbers(-200_000, 20_000)))
    until = after + timedelta(hours=60)
    expected = Expected(expr, ZoneInfo(zone)).between(after, until)
    assert Rhythm(expr, zone).latest(after.timestamp(), until.timestamp(), 10_000) == expected


@settings(max_examples=60, deadline=None)
@given(expr=expressions(), zone=st.sampled_from(ZONES), data=st.data())
def test_it_makes_no_difference_where_one_begins(expr: str, zone: str, data: st.DataObject) -> None:
    around = data.draw(st.sampled_from(CHANGES.get(zone, (datetime(2026, 2, 27, tzinfo=UTC),)))).timestamp()
    one, two, three = sorted(around + data.draw(numbers(-20_000, 20_000)) for _ in range(3))
    found = rhythm(expr, zone)
    whole = found.latest(one, three, 10_000)
    assert found.latest(one, two, 10_000) + found.latest(two, three, 10_000) == whole
    assert found.latest(one, three, 3) == whole[-3:]


@given(length=numbers(1, 10**6), after=st.floats(0, 4e9))
def test_an_interval_means_its_multiples(length: int, after: float) -> None:
    first, second = itertools.islice(rhythm(f"@every {length}s", "Europe/Berlin").after(after), 2)
    assert first % length == 0
    assert first - length <= after < first == second - length


def test_six_fields_begin_with_the_second() -> None:
    assert rhythm("*/20 * * * * *", "UTC").latest(0, 60, 9) == [20, 40, 60]


@pytest.mark.parametrize(
    ("expr", "place", "hint"),
    [
        ("61 * * * *", "'61' is no minute", "0 to 59"),
        ("0,99 * * * *", "'99' in '0,99' is no minute", "0 to 59"),
        ("* 24 * * *", "'24' is no hour", "0 to 23"),
        ("0 0 * * FRIDAY", "'FRIDAY' is no day of the week", "SUN to SAT"),
        ("0 0 * JANUARY *", "'JANUARY' is no month", "JAN to DEC"),
        ("60 * * * * *", "'60' is no second", "0 to 59"),
        ("0 22-6 * * *", "'22-6' is no hour", "22-23,0-6"),
        ("*/0 * * * *", "'*/0' is no minute", "at least 1"),
        ("0 0 ? * *", "'?' is no day of the month", "* instead"),
        ("0 0 30 2 *", "never comes true", "L is"),
        ("0 0 31 4,6,9,11 *", "never comes true", "L is"),
        ("* * * *", "has 4 fields", "minute, hour"),
        ("", "has 0 fields", "minute, hour"),
        ("@reboot", "no '@reboot'", "no machine"),
        ("@fortnightly", "no '@fortnightly'", "@weekly"),
        ("@every", "'' is no interval", "90s"),
        ("@every 0.5s", "'0.5s' is no interval", "whole seconds"),
        ("@every soon", "'soon' is no interval", "whole seconds"),
        ("*," * 200 + "* * * * *", "characters", "at most"),
    ],
)
def test_a_wrong_expression_names_its_place(expr: str, place: str, hint: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        Rhythm(expr, "UTC")
    assert place in caught.value.sentence
    assert hint in caught.value.hint


@pytest.mark.parametrize("zone", ["Europe/Berln", "../../etc/passwd", "", "CEST", "\0", "Europe"])
def test_a_wrong_zone_is_an_error(zone: str) -> None:
    with pytest.raises(DefinitionError, match="no time zone"):
        Rhythm("@daily", zone)


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=40) | st.text("0123456789*/-,LW#@ \t", max_size=30))
def test_any_text_is_a_rhythm_or_an_error_with_a_hint(expr: str) -> None:
    hints = []
    try:
        next(Rhythm(expr, "UTC").after(0), None)
    except DefinitionError as error:
        hints.append(error.hint)
    assert all(hints)
