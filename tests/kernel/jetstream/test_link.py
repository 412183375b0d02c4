"""What a link says in the log: a loss is a warning, a wanted end isn't."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import pytest

from tidemill.kernel.jetstream.bus import Bus

if TYPE_CHECKING:
    from conftest import BrokerProcess

    from tidemill.kernel.subjects import Names

pytestmark = pytest.mark.integration


@pytest.mark.parametrize("ending", ["close", "drain"])
async def test_a_wanted_end_is_no_loss(
    broker: BrokerProcess, names: Names, ending: str, caplog: pytest.LogCaptureFixture
) -> None:
    bus = await Bus.connect([broker.url], names=names, name="wanted")
    await bus.subscribe("a", lambda _: None)
    await getattr(bus, ending)()
    await bus.wait_closed()
    assert [record.message for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_a_loss_is_told_once(
    own_broker: BrokerProcess, names: Names, caplog: pytest.LogCaptureFixture
) -> None:
    bus = await Bus.connect([own_broker.url], names=names, name="unlucky")
    own_broker.kill()
    async with asyncio.timeout(20):
        while bus.connected:  # noqa: ASYNC110 - a state of nats-py without an event
            await asyncio.sleep(0.01)
    await bus.close()
    told = [record.message for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(told) == 1
    assert told[0].startswith("broker connection unlucky: lost (")
