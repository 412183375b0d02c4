"""The delay before the next attempt."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from tidemill.kernel.backoff import delay, spread

ATTEMPTS = st.integers(1, 5000)
FACTORS = st.floats(1, 1e6) | st.integers(1, 1000)
DELAYS = st.floats(0, 1e7)
JITTERS = st.floats(0, 1)


@given(ATTEMPTS, FACTORS, DELAYS, DELAYS, st.none() | JITTERS)
def test_it_is_never_negative_nor_above_the_maximum(
    attempt: int, factor: float, least: float, most: float, jitter: float | None
) -> None:
    value = delay(attempt, factor=factor, min_delay=least, max_delay=most, jitter=jitter)
    assert 0 <= value <= most
    assert math.isfinite(value)


@given(ATTEMPTS, FACTORS, DELAYS, DELAYS)
def test_it_never_shrinks(attempt: int, factor: float, least: float, most: float) -> None:
    first, second = (
        delay(number, factor=factor, min_delay=least, max_delay=most, jitter=None)
        for number in (attempt, attempt + 1)
    )
    assert first <= second


@given(ATTEMPTS, FACTORS, DELAYS, DELAYS, JITTERS)
def test_jitter_keeps_at_least_half(
    attempt: int, factor: float, least: float, most: float, jitter: float
) -> None:
    bare = delay(attempt, factor=factor, min_delay=least, max_delay=most, jitter=None)
    spread_out = delay(attempt, factor=factor, min_delay=least, max_delay=most, jitter=jitter)
    assert bare / 2 <= spread_out <= bare


def test_without_a_minimum_there_is_no_delay() -> None:
    assert delay(5000, factor=2, min_delay=0, max_delay=60, jitter=None) == 0


def test_it_doubles() -> None:
    delays = [delay(attempt, factor=2, min_delay=1, max_delay=10, jitter=None) for attempt in range(1, 7)]
    assert delays == [1, 2, 4, 8, 10, 10]


def test_the_spread_is_a_share() -> None:
    assert all(0 <= spread() <= 1 for _ in range(100))
