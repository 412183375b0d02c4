"""A broker that is away while runs are executed: longer than their leases, and while they end."""

from __future__ import annotations

import asyncio
import logging

import pytest

from tests.conftest import BrokerProcess
from tests.consumers.conftest import Mill
from tests.patience import until
from tidemill import Retry, task
from tidemill.kernel.jetstream.blobs import INLINE_LIMIT

pytestmark = [pytest.mark.integration, pytest.mark.crash]
ONCE = Retry(max_attempts=1)


async def test_an_outage_longer_than_the_lease_executes_nothing_twice(
    own_broker: BrokerProcess, mill: Mill
) -> None:
    calls: list[int] = []
    release = asyncio.Event()

    @task(retry=ONCE)
    async def slow(number: int) -> int:
        calls.append(number)
        await release.wait()
        return number

    async with mill.worker(slow, lease=1.0) as worker:
        runs = [await mill.trigger("slow", number) for number in range(5)]
        await until(lambda: len(calls) == 5)
        own_broker.kill()
        await until(lambda: not worker._leases._held)  # all leases have run out
        own_broker.start()
        await until(lambda: len(worker._leases._held) == 5)  # and all have come back
        release.set()
        views = [await mill.ended(run) for run in runs]
    assert [view.result for view in views] == list(range(5))
    assert sorted(calls) == list(range(5))
    assert {view.state.starts for view in views} == {1}
    await mill.empty("TICKETS")


async def test_what_ends_during_an_outage_has_ended_when_the_broker_is_back(
    own_broker: BrokerProcess, mill: Mill, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    calls: list[int] = []
    release = asyncio.Event()
    large = "x" * INLINE_LIMIT

    @task(retry=ONCE)
    async def work(number: int) -> str:
        calls.append(number)
        await release.wait()
        if number % 2:
            raise ValueError(f"number {number}")
        return large

    async with mill.worker(work, lease=5.0):
        runs = [await mill.trigger("work", number) for number in range(8)]
        await until(lambda: len(calls) == 8)
        own_broker.kill()
        await until(lambda: not mill.broker.bus.connected)
        release.set()
        await asyncio.sleep(0.5)
        own_broker.start()
        views = [await mill.ended(run) for run in runs]
    assert [view.status for view in views] == ["completed", "failed"] * 4
    assert [view.result for view in views[::2]] == [large] * 4
    assert len(calls) == 8
    assert await mill.count("DEAD") == 4
    await mill.empty("TICKETS")
    assert caplog.text.count("work waits for the broker") == 1
