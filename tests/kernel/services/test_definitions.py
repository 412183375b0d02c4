"""A process's view of the definitions, over a bucket that a test makes up."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import cast

import pytest

from tidemill.kernel import clock
from tidemill.kernel.definition import TaskDefinition, TaskEntry
from tidemill.kernel.errors import BrokerUnavailableError, NotFoundError
from tidemill.kernel.jetstream.buckets import Bucket
from tidemill.kernel.services import registry
from tidemill.kernel.services.registry import Definitions


class FakeBucket:
    """Holds entries; counts the looks; tells a watcher of writes, and whether that one has left."""

    def __init__(self, *definitions: TaskDefinition) -> None:
        self.stored: dict[str, bytes] = {}
        self.looks = 0
        self.away = False
        self.hint: Callable[[str], None] | None = None
        for definition in definitions:
            self.write(definition)

    def write(self, definition: TaskDefinition) -> None:
        self.stored[definition.id] = TaskEntry.first(definition, clock.now()).to_json()
        if self.hint is not None:
            self.hint(definition.id)

    async def items(self) -> dict[str, bytes]:
        self.looks += 1
        if self.away:
            raise BrokerUnavailableError("away")
        await asyncio.sleep(0)
        return dict(self.stored)

    async def watch(self, hint: Callable[[str], None]) -> FakeBucket:
        self.hint = hint
        return self

    async def stop(self) -> None:
        self.hint = None


def _view(bucket: FakeBucket) -> Definitions:
    return Definitions(cast("Bucket", bucket))


async def _until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - what is awaited has no event
            await asyncio.sleep(0.005)


OLD = TaskDefinition(id="old", on=("x.y",))
NEW = TaskDefinition(id="new", aliases=("old",), on=("x.y",))


async def test_a_renamed_task_is_found_by_both_names_and_wants_events_once() -> None:
    view = _view(FakeBucket(OLD, NEW))
    await view.refresh()
    assert view.find("old") == view.find("new") == NEW
    assert view.active() == (NEW,)


async def test_what_is_not_there_is_said_with_what_is_near() -> None:
    view = _view(FakeBucket(OLD))
    with pytest.raises(NotFoundError) as caught:
        view.find("olf")
    assert "start a worker" in caught.value.hint
    await view.refresh()
    with pytest.raises(NotFoundError) as caught:
        view.find("olf")
    assert "did you mean old" in caught.value.hint


async def test_a_view_that_is_new_enough_is_not_read_again_and_readers_share_a_look() -> None:
    bucket = FakeBucket(OLD)
    view = _view(bucket)
    begun = time.time()
    await asyncio.gather(*(view.refresh(newer_than=begun - 1) for _ in range(20)))
    assert bucket.looks == 1
    await view.refresh(newer_than=begun - 1)
    assert bucket.looks == 1
    await view.refresh(newer_than=time.time() + 1)
    assert bucket.looks == 2


async def test_a_followed_view_settles_on_what_was_written_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_POLL_SECONDS", 30.0)
    bucket, stopping = FakeBucket(), asyncio.Event()
    view = _view(bucket)
    following = asyncio.create_task(view.follow(stopping))
    await _until(lambda: bucket.looks)
    await asyncio.sleep(0.01)
    await view.settle()
    assert (bucket.looks, view.active()) == (1, ())
    bucket.write(OLD)
    await view.settle()
    await view.settle()
    assert (bucket.looks, view.active()) == (2, (OLD,))
    bucket.write(NEW)
    bucket.away = True
    with pytest.raises(BrokerUnavailableError):
        await view.settle()
    bucket.away = False
    await view.settle()  # what couldn't be read is still to be read
    assert view.active() == (NEW,)
    stopping.set()
    await following
    assert bucket.hint is None


async def test_following_goes_on_through_an_outage_and_without_hints(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(registry, "_POLL_SECONDS", 0.02)
    bucket, stopping = FakeBucket(), asyncio.Event()
    bucket.away = True
    view = _view(bucket)
    following = asyncio.create_task(view.follow(stopping))
    await _until(lambda: bucket.looks >= 2)
    bucket.away, bucket.hint = False, None
    bucket.write(OLD)
    await _until(view.active)
    stopping.set()
    await following
    assert "were not read" in caplog.text


async def test_an_entry_that_can_not_be_read_is_named_once_and_hides_no_other(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bucket = FakeBucket(OLD)
    bucket.stored["alien"] = b"{}"
    view = _view(bucket)
    for _ in range(3):
        await view.refresh()
    assert view.active() == (OLD,)
    assert caplog.text.count("task alien") == 1
    bucket.stored["alien"] = b"[]"
    await view.refresh()
    assert caplog.text.count("task alien") == 2
