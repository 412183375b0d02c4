"""The directory of open waits on a real broker."""

from __future__ import annotations

import time

import pytest

from tidemill.kernel.jetstream.buckets import Bucket
from tidemill.kernel.jetstream.bus import Bus
from tidemill.kernel.jetstream.topology import apply, wanted
from tidemill.kernel.services.waiting import Waiting, key_of
from tidemill.kernel.subjects import new_run

pytestmark = pytest.mark.integration


@pytest.fixture
async def waiting(bus: Bus) -> Waiting:
    await apply(bus, wanted(bus.names))
    return Waiting(Bucket(bus, "WAITS"))


async def test_an_entry_stays_as_it_is_until_it_is_closed_and_may_come_again(waiting: Waiting) -> None:
    run = new_run()
    await waiting.open(run, "event:a.b", {"n": 1}, until=time.time() + 60)
    await waiting.open(run, "event:a.b", {"n": 2}, until=None)
    found = await waiting.find(run, "event:a.b")
    assert found is not None
    assert (found["n"], found["run"], found["box"]) == (1, run, "event:a.b")
    await waiting.close(run, "event:a.b")
    assert await waiting.find(run, "event:a.b") is None
    assert await waiting.all() == []
    await waiting.open(run, "event:a.b", {"n": 3}, until=None)
    found = await waiting.find(run, "event:a.b")
    assert found is not None
    assert found["n"] == 3


async def test_changes_are_told_from_a_place_on(waiting: Waiting) -> None:
    first, second = new_run(), new_run()
    assert await waiting.changes(1) == ([], 1)
    await waiting.open(first, "token:ship it", {"n": 1}, until=None)
    await waiting.open(second, "event:x", {"n": 2}, until=None)
    changes, after = await waiting.changes(1)
    told = [(key, facts and facts["n"]) for key, facts, _ in changes]
    assert told == [(key_of(first, "token:ship it"), 1), (key_of(second, "event:x"), 2)]
    assert all(abs(at - time.time()) < 60 for _, _, at in changes)
    await waiting.close(first, "token:ship it")
    changes, then = await waiting.changes(after)
    assert [(key, facts) for key, facts, _ in changes] == [(key_of(first, "token:ship it"), None)]
    assert await waiting.changes(then) == ([], then)
