"""Windows of single sources: one word per key and window, whoever asks."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest

from tidemill.kernel.jetstream.buckets import Bucket
from tidemill.kernel.jetstream.topology import apply, wanted
from tidemill.kernel.services.windows import Windows, key_within

if TYPE_CHECKING:
    from tidemill.kernel.jetstream.bus import Bus

pytestmark = pytest.mark.integration


@pytest.fixture
async def bucket(bus: Bus) -> Bucket:
    await apply(bus, wanted(bus.names))
    return Bucket(bus, "WINDOWS")


async def test_a_key_has_one_word_within_its_window(bucket: Bucket) -> None:
    one, other = Windows(bucket), Windows(bucket)
    word = await one.word("a" * 40, 60)
    assert await other.word("a" * 40, 60) == word
    assert await one.word("b" * 40, 60) != word


async def test_of_many_at_the_same_moment_all_get_the_same_word(bucket: Bucket) -> None:
    words = await asyncio.gather(*(Windows(bucket).word("k" * 40, 60) for _ in range(20)))
    assert len(set(words)) == 1


async def test_after_the_window_the_word_is_another(bucket: Bucket) -> None:
    windows = Windows(bucket)
    word = await windows.word("k" * 40, 1)
    async with asyncio.timeout(10):
        while await windows.word("k" * 40, 1) == word:  # noqa: ASYNC110 - the broker removes it within seconds
            await asyncio.sleep(0.1)


def test_the_id_depends_on_key_and_word() -> None:
    ids = {key_within(key, word) for key in ("a" * 40, "b" * 40) for word in ("0", "1")}
    assert len(ids) == 4
    assert {len(one) for one in ids} == {40}


async def test_words_that_were_chosen_in_an_outage_are_settled_afterwards(bucket: Bucket) -> None:
    windows = Windows(bucket)
    noted = await windows.word("a" * 40, 60)
    moment = time.time()
    assert await windows.settle("a" * 40, 60, "mine", moment + 1) == noted
    # What came before the note was written isn't in its window, nor is what came after it.
    assert await windows.settle("a" * 40, 60, "mine", moment - 30) == "mine"
    assert await windows.settle("a" * 40, 60, "mine", moment + 90) == "mine"
    # Without a note the word is noted for what is left of the window.
    assert await windows.settle("b" * 40, 60, "mine", moment - 10) == "mine"
    assert await windows.word("b" * 40, 60) == "mine"
    assert await windows.settle("b" * 40, 60, "mine", moment - 10) == "mine"
    assert await windows.settle("c" * 40, 60, "mine", moment - 70) == "mine"
    assert await windows.word("c" * 40, 60) != "mine"
