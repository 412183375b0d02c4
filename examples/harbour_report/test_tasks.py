"""Tests of the schedules' tasks, with the harbour mocked and ticks made. Run them with `python -m pytest`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from datetime import UTC, datetime

import httpx
import pytest
import respx
from tasks import HARBOUR, inventory, level, report

from tidemill import testing


@pytest.fixture
def harbour() -> Iterator[respx.MockRouter]:
    with respx.mock(base_url=HARBOUR, assert_all_called=False) as mocked:
        mocked.get("/days").mock(return_value=httpx.Response(200, json={"arrivals": 12, "departures": 9}))
        mocked.post("/reports").mock(return_value=httpx.Response(202))
        yield mocked


def test_the_night_of_the_clock_change_reports_on_the_day_before(harbour: respx.MockRouter) -> None:
    """On 29 March 2026 there is no 02:30 in Berlin: the report comes at 03:00."""

    async def night() -> str:
        tick = testing.tick(report, at=datetime(2026, 3, 28, 12, tzinfo=UTC))
        assert tick.scheduled_at.isoformat() == "2026-03-29T03:00:00+02:00"
        with testing.active():
            return await report(tick)

    assert asyncio.run(night()) == "2026-03-28: 12 ships came, 9 left"
    assert json.loads(harbour.calls.last.request.content)["text"].startswith("2026-03-28")


def test_a_report_is_sent_once_with_a_key(harbour: respx.MockRouter) -> None:
    async def play() -> str:
        async with testing.play() as stage:
            run = await stage.start(report, testing.tick(report))
            return await run.result()

    assert "12 ships came" in asyncio.run(play())
    sent = [call.request for call in harbour.calls if call.request.method == "POST"]
    assert [request.headers["Idempotency-Key"] != "" for request in sent] == [True]


@pytest.mark.parametrize(("metres", "told"), [("3.19", "calm"), ("3.2", "alarm")])
def test_the_level_is_told(metres: str, told: str) -> None:
    async def look() -> str:
        with testing.active():
            return await level()

    with respx.mock(base_url=HARBOUR) as mocked:
        mocked.get("/level").mock(return_value=httpx.Response(200, text=metres))
        assert asyncio.run(look()) == told


def test_the_inventory_is_that_of_its_month(harbour: respx.MockRouter) -> None:
    async def count() -> str:
        with testing.active():
            return await inventory(testing.tick(inventory, at=datetime(2026, 11, 23, tzinfo=UTC)))

    assert asyncio.run(count()) == "2026-12: 3 ships at the quays"
    assert harbour.calls.last.request.url.params["date"] == "2026-12-01"
