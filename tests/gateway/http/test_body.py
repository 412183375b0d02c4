from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.body import Budget, Fault, declared_length, read_body

Receive = Callable[[], Awaitable[dict[str, Any]]]


def sender(chunks: list[bytes], taken: list[int], *, leaves: bool = False) -> Receive:
    left = list(chunks)

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(0)
        if not left and leaves:
            return {"type": "http.disconnect"}
        chunk = left.pop(0)
        taken.append(len(chunk))
        return {"type": "http.request", "body": chunk, "more_body": bool(left) or leaves}

    return receive


@given(st.lists(st.binary(max_size=20), min_size=1), st.integers(0, 200))
def test_a_body_is_read_whole_or_not_at_all_and_never_past_the_cap(chunks: list[bytes], limit: int) -> None:
    taken: list[int] = []
    budget, whole = Budget(10_000), b"".join(chunks)
    found = asyncio.run(read_body(sender(chunks, taken), 0, limit, budget))
    assert found == (whole if len(whole) <= limit else Fault.TOO_LARGE)
    # Nothing is asked for once the cap is passed.
    assert sum(taken[:-1]) <= limit
    assert budget.take(10_000)


def test_a_declared_length_over_the_cap_takes_nothing() -> None:
    taken: list[int] = []
    assert asyncio.run(read_body(sender([b"x"], taken), 11, 10, Budget())) is Fault.TOO_LARGE
    assert taken == []


@pytest.mark.parametrize("chunks", [[], [b"x"], [b"x", b"y"]])
def test_a_client_that_leaves_gets_no_body(chunks: list[bytes]) -> None:
    budget = Budget(10)
    assert asyncio.run(read_body(sender(chunks, [], leaves=True), 0, 10, budget)) is Fault.GONE
    assert budget.take(10)


def test_all_bodies_together_stay_under_a_budget() -> None:
    budget = Budget(100)
    assert budget.take(60)
    chunks = [b"x" * 30, b"x" * 30]
    assert asyncio.run(read_body(sender(chunks, []), 0, 1000, budget)) is Fault.BUSY
    assert asyncio.run(read_body(sender([b"x" * 90], []), 0, 1000, budget)) == b"x" * 90
    budget.give(60)
    assert asyncio.run(read_body(sender(chunks, []), 0, 1000, budget)) == b"x" * 60


@pytest.mark.parametrize(
    ("value", "length"), [(b"7", 7), (b"0", 0), (b"-1", 0), (b"x", 0), (b"9" * 5000, 10**18), (b"", 0)]
)
def test_a_declared_length_is_read_without_trust(value: bytes, length: int) -> None:
    assert declared_length([(b"host", b"a"), (b"content-length", value)]) == length
