"""Drift of a running gateway: learned from stored events, counted, and reported as records."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from gateway.recipes.samples import find_sample
from gateway.schemata.profile import ENOUGH

if TYPE_CHECKING:
    from conftest import BrokerProcess

    from tidemill.kernel.settings.model import Settings
    from tidemill.kernel.subjects import Names

pytestmark = pytest.mark.integration


async def test_a_new_field_is_seen_after_a_restart_counted_and_reported(
    broker: BrokerProcess, names: Names, settled: Callable[..., Settings], housed: Callable[..., Any]
) -> None:
    push = find_sample("github", "push")
    settings = settled(broker.url, names)
    async with housed(settings) as house:
        for _ in range(ENOUGH):
            await house.deliver(orjson.dumps(push), event="push")
    async with housed(settings) as house:
        await house.deliver(orjson.dumps(push | {"tide": "high"}), event="push")
        await house.deliver(b'{"unknown": 1}', event="unheard_of")
        await house.gateway._drift.idle()
        house.gateway._drift.report()
        metrics = (await house.client.get(f"http://{house.gateway.control_address}/metrics")).text
        reports = await kept(house)
    assert 'tidemill_drift_total{kind="new_field",source="github",type="push"} 1.0' in metrics
    assert 'tidemill_drift_looked_total{source="github",type="push"} 1.0' in metrics
    assert 'tidemill_events_validated_total{outcome="fits",source="github"} 1.0' in metrics
    assert 'tidemill_events_validated_total{outcome="unvalidated",source="github"} 1.0' in metrics
    (report,) = reports
    assert (report["source"], report["type"]) == ("github", "push")
    assert report["findings"] == [{"kind": "new_field", "path": "$.tide", "events": 1, "example": None}]


async def kept(house: Any) -> list[dict[str, Any]]:
    """Return the reports as soon as there are any: they are sent behind everything else."""
    async with asyncio.timeout(10):
        while not (found := (await house.ask("records?kind=drift")).json()["records"]):  # noqa: ASYNC110 - as a user would
            await asyncio.sleep(0.01)
    return list(found)
