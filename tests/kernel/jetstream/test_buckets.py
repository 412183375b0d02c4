from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tidemill.kernel.errors import WrongSequenceError
from tidemill.kernel.jetstream.buckets import Bucket
from tidemill.kernel.jetstream.topology import apply, wanted

if TYPE_CHECKING:
    from tidemill.kernel.jetstream.bus import Bus


@pytest.fixture
async def bucket(bus: Bus) -> Bucket:
    await apply(bus, wanted(bus.names))
    return Bucket(bus, "TASKS")


async def test_put_get_delete(bucket: Bucket) -> None:
    assert await bucket.get("a") is None
    first = await bucket.put("a", b"one")
    second = await bucket.put("a", b"\x00two", revision=first)
    value = await bucket.get("a")
    assert value is not None
    assert (value.value, value.revision) == (b"\x00two", second)
    await bucket.delete("a")
    assert await bucket.get("a") is None
    assert await bucket.items() == {}


async def test_a_revision_is_held_against_the_present_one(bucket: Bucket) -> None:
    first = await bucket.put("a", b"one", revision=0)
    for wrong in (0, first + 1):
        with pytest.raises(WrongSequenceError):
            await bucket.put("a", b"two", revision=wrong)
    await bucket.delete("a")
    assert await bucket.put("a", b"anew", revision=0) > first


async def test_all_keys_with_their_values_few_and_many(bucket: Bucket) -> None:
    assert await bucket.items() == {}
    await bucket.put("gone", b"x")
    await bucket.delete("gone")
    await bucket.put("a.b", b"1")
    assert await bucket.items() == {"a.b": b"1"}
    await asyncio.gather(*(bucket.put(f"key-{number}", str(number).encode()) for number in range(1100)))
    items = await bucket.items()  # more than one request may name
    assert len(items) == 1101
    assert items["key-77"] == b"77"
    assert len(await bucket.keys()) == 1101


async def test_a_watch_hints_at_every_write(bucket: Bucket) -> None:
    hints: asyncio.Queue[str] = asyncio.Queue()
    watching = await bucket.watch(hints.put_nowait)
    await bucket.put("a.b", b"1")
    await bucket.delete("a.b")
    assert [await asyncio.wait_for(hints.get(), 20) for _ in range(2)] == ["a.b", "a.b"]
    await watching.stop()
