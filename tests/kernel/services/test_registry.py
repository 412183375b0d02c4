"""Publishing definitions into the bucket: who is in force after restarts, rollbacks and removals."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tidemill.kernel.definition import TaskDefinition
from tidemill.kernel.errors import NotFoundError
from tidemill.kernel.jetstream.buckets import Bucket
from tidemill.kernel.jetstream.topology import TopologyLimits, apply, wanted
from tidemill.kernel.services.registry import Definitions, publish, remove

if TYPE_CHECKING:
    from tidemill.kernel.jetstream.bus import Bus

pytestmark = pytest.mark.integration
OLD, NEW = TaskDefinition(id="a.b", on=("x.y",)), TaskDefinition(id="a.b", on=("x.z",), aliases=("c",))


@pytest.fixture
async def bucket(bus: Bus) -> Bucket:
    await apply(bus, wanted(bus.names, TopologyLimits()))
    return Bucket(bus, "TASKS")


async def in_force(bucket: Bucket) -> TaskDefinition:
    definitions = Definitions(bucket)
    await definitions.refresh()
    return definitions.find("a.b")


async def test_an_old_worker_that_restarts_sets_nothing_back(bucket: Bucket) -> None:
    for definition, expected in ((OLD, OLD), (NEW, NEW), (OLD, NEW)):
        assert await publish(bucket, definition) == expected
        assert await in_force(bucket) == expected


async def test_with_force_the_old_version_is_in_force_again(bucket: Bucket) -> None:
    await publish(bucket, OLD)
    await publish(bucket, NEW)
    assert await publish(bucket, OLD, force=True) == OLD
    assert await publish(bucket, NEW) == OLD
    assert await in_force(bucket) == OLD


async def test_a_task_that_was_removed_begins_anew_with_any_version(bucket: Bucket) -> None:
    await publish(bucket, OLD)
    await publish(bucket, NEW)
    await remove(bucket, "a.b")
    with pytest.raises(NotFoundError, match=r"a\.b"):
        await in_force(bucket)
    assert await publish(bucket, OLD) == OLD
    assert await in_force(bucket) == OLD
