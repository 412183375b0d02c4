from __future__ import annotations

from bisect import bisect_left

from hypothesis import given
from hypothesis import strategies as st

from tidemill.history.halving import Gap, Place, first_from

NUMBERS = st.lists(st.integers(0, 2**40), min_size=2, max_size=60, unique=True).map(sorted)


def search(rows: list[Place], moment: float) -> tuple[int, int]:
    """Return the number that is found, and with how many looks."""
    looks = 0

    def find(number: int) -> Place:
        nonlocal looks
        looks += 1
        return rows[bisect_left(rows, (number, 0.0))]

    return first_from(Gap(find, moment, rows[0], rows[-1])), looks


@given(numbers=NUMBERS, moments=st.lists(st.floats(0, 1e9), min_size=60, max_size=60), share=st.floats(0, 1))
def test_it_is_right_wherever_rows_are(numbers: list[int], moments: list[float], share: float) -> None:
    rows = list(zip(numbers, sorted(moments), strict=False))
    moment = rows[0][1] + (rows[-1][1] - rows[0][1]) * share
    if not rows[0][1] < moment <= rows[-1][1]:
        return
    found, looks = search(rows, moment)
    assert all((at >= moment) == (number >= found) for number, at in rows)
    assert looks <= 150


def test_where_time_is_even_few_looks_are_enough() -> None:
    rows = [(number, 1e9 + number * 0.26) for number in range(1, 1_000_000, 3)]
    for moment in (1e9 + 1, 1e9 + 77_777, 1e9 + 259_000):
        found, looks = search(rows, moment)
        assert rows[bisect_left(rows, (found, 0.0))][1] >= moment
        assert looks <= 12
