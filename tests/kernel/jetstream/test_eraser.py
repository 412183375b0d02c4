"""The eraser, on a real broker: it removes what it was told to, and nothing else, in any order of things."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.clock import Clock
from tidemill.kernel.jetstream.eraser import Eraser

if TYPE_CHECKING:
    from tidemill.kernel.jetstream.bus import Bus

pytestmark = pytest.mark.integration


async def _stream(bus: Bus, name: str, messages: int) -> None:
    config = {"name": name, "subjects": [f"{name}.*"], "storage": "memory"}
    await bus.api(f"STREAM.CREATE.{name}", config)
    for number in range(messages):
        await bus.publish(f"{name}.{number}", b"x")


async def _left(bus: Bus, name: str) -> set[int]:
    info = await bus.api(f"STREAM.INFO.{name}", {"deleted_details": True})
    state = info["state"]
    if not state["messages"]:
        return set()
    return set(range(state["first_seq"], state["last_seq"] + 1)) - set(state.get("deleted") or ())


async def test_what_stands_at_the_head_goes_at_once_and_the_rest_when_its_time_has_come(bus: Bus) -> None:
    await _stream(bus, "ER1", 12)
    clock = Clock(0.0)
    eraser = Eraser(bus, "ER1", patience=1.0, clock=clock)
    eraser.add((1, 3))
    eraser.add((2, 6))
    await eraser.remove()
    assert await _left(bus, "ER1") == {4, 5, 6, 7, 8, 9, 10, 11, 12}
    assert len(eraser) == 1
    clock.now = 1.0
    await eraser.remove()
    assert await _left(bus, "ER1") == {4, 5, 7, 8, 9, 10, 11, 12}
    assert len(eraser) == 0
    eraser.add((4, 5))
    eraser.add((7, 8))
    await eraser.remove()
    await eraser.remove()
    assert await _left(bus, "ER1") == {9, 10, 11, 12}


async def test_sequences_that_have_gone_or_come_twice_do_no_harm(bus: Bus) -> None:
    await _stream(bus, "ER2", 4)
    eraser = Eraser(bus, "ER2", patience=0.0)
    eraser.add((1, 2))
    await eraser.remove()
    eraser.add((1, 2))
    eraser.add((4,))
    eraser.add((4,))
    await eraser.remove()
    assert await _left(bus, "ER2") == {3}
    assert len(eraser) == 0


async def test_a_stream_that_was_created_again_keeps_its_new_messages(bus: Bus) -> None:
    await _stream(bus, "ER3", 5)
    eraser = Eraser(bus, "ER3")
    eraser.add((1, 2, 3, 4))
    await eraser.remove()
    await bus.api("STREAM.DELETE.ER3")
    await _stream(bus, "ER3", 3)
    eraser.add((5,))
    await eraser.remove()
    assert await _left(bus, "ER3") == {1, 2, 3}


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    groups=st.lists(st.lists(st.integers(1, 40), min_size=1, max_size=4), max_size=15),
    passes=st.lists(st.integers(0, 3), max_size=15),
)
async def test_it_removes_just_what_it_was_told_to(
    bus: Bus, groups: list[list[int]], passes: list[int]
) -> None:
    name = "ER4"
    await _stream(bus, name, 40)
    try:
        clock = Clock(0.0)
        eraser = Eraser(bus, name, clock=clock)
        for number, group in enumerate(groups):
            eraser.add(tuple(group))
            for _ in range(passes[number] if number < len(passes) else 0):
                clock.now += 0.4
                await eraser.remove()
        clock.now += 2.0
        await eraser.remove()
        assert await _left(bus, name) == set(range(1, 41)) - {seq for group in groups for seq in group}
        assert len(eraser) == 0
    finally:
        await bus.api(f"STREAM.DELETE.{name}")
