"""Readiness of a gateway: what the streams say, and what happened to the last deliveries."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from gateway.health import FRESH_SECONDS, Readiness
from gateway.storing import TRIAL_SECONDS, Storing
from tidemill.kernel.errors import BrokerError
from tidemill.kernel.settings.model import Settings
from tidemill.kernel.subjects import Names

if TYPE_CHECKING:
    from conftest import BrokerProcess, House

pytestmark = pytest.mark.integration


async def test_a_failure_to_store_is_told_until_something_is_stored(house: House) -> None:
    said = Storing()
    readiness = Readiness(house.broker, said)
    assert await readiness.problems() == {}
    said.failed(BrokerError("no space left"))
    assert await readiness.problems() == {"events": "no space left"}
    said.succeeded()
    assert await readiness.problems() == {}


async def test_a_full_stream_is_found_without_a_delivery(
    broker: BrokerProcess, names: Names, settled: Callable[..., Settings], housed: Callable[..., Any]
) -> None:
    moment = 0.0
    async with housed(settled(broker.url, names, events='max_bytes = "16KiB"')) as house:
        readiness = Readiness(house.broker, Storing(), monotonic=lambda: moment)
        for _ in range(14):
            await house.broker.bus.publish(names.event("test", "a"), b"x" * 1024)
        (said,) = (await readiness.problems()).values()
        assert said.startswith("it is full: ")
        await house.broker.bus.api(f"STREAM.PURGE.{names.stream('EVENTS')}")
        assert await readiness.problems()
        moment += FRESH_SECONDS
        assert await readiness.problems() == {}


async def test_a_gateway_whose_deliveries_are_refused_is_not_ready_and_recovers(
    broker: BrokerProcess,
    names: Names,
    settled: Callable[..., Settings],
    housed: Callable[..., Any],
) -> None:
    async with housed(settled(broker.url, names)) as house:
        ready = f"http://{house.public}/readyz"
        stream = names.stream("EVENTS")
        config = (await house.broker.bus.api(f"STREAM.INFO.{stream}"))["config"]
        assert (await house.client.get(ready)).status_code == 200
        await house.broker.bus.api(f"STREAM.UPDATE.{stream}", config | {"max_msgs": 1})
        body = b'{"zen": "x"}'
        assert [(await house.deliver(body)).status for _ in range(2)] == [202, 503]
        answer = await house.client.get(ready)
        assert answer.status_code == 503
        assert "exceeded" in answer.json()["problems"]["events"]
        await house.broker.bus.api(f"STREAM.UPDATE.{stream}", config)
        assert (await house.deliver(body)).status == 202
        assert (await house.client.get(ready)).status_code == 200


async def test_a_gateway_that_gets_no_deliveries_any_more_is_ready_when_something_can_be_stored(
    house: House,
) -> None:
    moment = 0.0
    said = Storing(monotonic=lambda: moment)
    readiness = Readiness(house.broker, said)
    bus, names = house.broker.bus, house.broker.names
    records = names.stream("RECORDS")
    config = (await bus.api(f"STREAM.INFO.{records}"))["config"]
    await bus.api(f"STREAM.UPDATE.{records}", config | {"max_msgs": 1, "discard": "new"})
    await bus.publish(names.record("drift", "test", "key"), b"{}")
    said.failed(BrokerError("no space left"))
    assert await readiness.problems() == {"events": "no space left"}
    moment += TRIAL_SECONDS
    assert "exceeded" in (await readiness.problems())["events"]
    await bus.api(f"STREAM.UPDATE.{records}", config)
    assert "exceeded" in (await readiness.problems())["events"]  # it isn't tried all the time
    moment += TRIAL_SECONDS
    assert await readiness.problems() == {}
    assert [record["kind"] for record in (await house.ask("records")).json()["records"]] == ["drift"]
