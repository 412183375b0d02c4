from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill.kernel.jetstream.budget import Budget


def no_wake() -> None:
    return


async def test_places_are_taken_given_back_and_awaited() -> None:
    budget = Budget(3)
    assert budget.take(2) == 2
    assert budget.take(5) == 1
    assert budget.take(1) == 0
    waiting = asyncio.create_task(budget.wait_free())
    await asyncio.sleep(0)
    assert not waiting.done()
    budget.give_back()
    await asyncio.wait_for(waiting, 20)
    assert budget.free == 1


async def test_a_budget_without_places_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        Budget(0)


async def test_one_place_is_kept_for_each_active_sharer() -> None:
    budget = Budget(10)
    greedy, quiet, resting = (budget.join(no_wake) for _ in range(3))
    greedy.activate()
    quiet.activate()
    assert greedy.take(100) == 9
    assert greedy.take(100) == 0
    assert quiet.take(1) == 1
    quiet.unused(1)
    quiet.rest()
    assert greedy.take(100) == 1
    assert resting.held == 0


async def test_who_has_waited_longest_is_woken_first() -> None:
    budget = Budget(1)
    woken: list[str] = []
    first = budget.join(lambda: woken.append("first"))
    second = budget.join(lambda: woken.append("second"))
    third = budget.join(lambda: woken.append("third"))
    for share in (first, second, third):
        share.activate()
    assert first.take(1) == 1
    assert second.take(1) == 0
    assert third.take(1) == 0
    first.unused(1)
    assert woken == ["second"]
    assert first.take(1) == 0
    assert third.take(1) == 0
    assert second.take(1) == 1
    second.leave()
    assert woken == ["second", "third"]


steps = st.lists(
    st.tuples(
        st.integers(0, 3), st.sampled_from(["take", "used", "unused", "activate", "rest"]), st.integers(1, 9)
    ),
    max_size=60,
)


@given(st.integers(1, 12), steps)
def test_no_place_is_ever_lost_or_made(places: int, moves: list[tuple[int, str, int]]) -> None:
    async def play() -> None:
        budget = Budget(places)
        shares = [budget.join(no_wake) for _ in range(4)]
        working = 0
        for who, move, number in moves:
            share = shares[who]
            if move == "take":
                share.take(number)
            elif move == "used" and share.held:
                share.used()
                working += 1
            elif move == "unused":
                share.unused(min(number, share.held))
            elif move == "activate":
                share.activate()
            elif move == "rest":
                share.rest()
            assert budget.free >= 0
            assert budget.free + working + sum(one.held for one in shares) == places
        for share in shares:
            share.leave()
        budget.give_back(working)
        assert (budget.free, budget.sharers, budget.empty_handed) == (places, 0, 0)

    asyncio.run(play())
