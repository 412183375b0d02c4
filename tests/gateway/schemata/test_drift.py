from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gateway.schemas import EventSchema, SchemaStore
from gateway.schemata import drift
from gateway.schemata.drift import EVERY, FIRST, QUEUE_LENGTH, REPEAT_AFTER, DriftWatch
from gateway.schemata.profile import ENOUGH
from tidemill.kernel.errors import BrokerUnavailableError

PAID = {"id": 1, "by": "noor"}


@pytest.fixture
def schema(tmp_path: Path) -> EventSchema:
    (tmp_path / "acme/paid").mkdir(parents=True)
    document = {"properties": {"state": {"type": "string", "x-values": ["open"]}}}
    (tmp_path / "acme/paid/1.json").write_text(json.dumps(document))
    found = SchemaStore((tmp_path,)).find(("acme",), ("paid",))
    assert found is not None
    return found


class Site:
    """A watch with made-up history, reports that are kept, and a clock that stands still."""

    def __init__(self, past: list[Any]) -> None:
        self.past = past
        self.asked: list[str] = []
        self.reports: list[tuple[str, dict[str, Any]]] = []
        self.now = 1000.0
        self.away = False
        self.unknown: set[str] = set()
        report = self.reports.append
        self.watch = DriftWatch(self.history, lambda *one: report(one), clock=lambda: self.now)

    async def history(self, event_type: str) -> list[Any]:
        self.asked.append(event_type)
        if self.away:
            raise BrokerUnavailableError("away", hint="")
        return self.past if event_type not in self.unknown else []

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.watch.run(), name="watch")
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


async def test_what_is_new_is_counted_logged_once_and_reported(
    schema: EventSchema, caplog: pytest.LogCaptureFixture
) -> None:
    site = Site([PAID] * ENOUGH)
    with caplog.at_level(logging.WARNING):
        async with site.running():
            for _ in range(3):
                site.watch("shop", "paid.now", schema, PAID | {"state": "void", "extra": 1})
            site.watch("shop", "paid.now", schema, {"id": 1})
            site.watch("shop", "paid.now", schema, PAID)
            await site.watch.idle()
            site.watch.report()
            site.watch.report()
    assert site.asked == ["shop.paid.now"]
    assert site.watch.looked == {("shop", "paid"): 5}
    assert site.watch.drifting == {
        ("shop", "paid", "new_value"): 3,
        ("shop", "paid", "new_field"): 3,
        ("shop", "paid", "missing_field"): 1,
    }
    ((source, report),) = site.reports
    assert (source, report["type"]) == ("shop", "paid.now")
    assert sorted(report["findings"], key=lambda one: str(one["path"])) == [
        {"kind": "missing_field", "path": "$.by", "events": 1, "example": None},
        {"kind": "new_field", "path": "$.extra", "events": 3, "example": None},
        {"kind": "new_value", "path": "$.state", "events": 3, "example": "void"},
    ]
    assert len(caplog.records) == 3
    assert "drift of shop.paid.now: new field at $.extra" in caplog.text


async def test_what_goes_on_is_reported_now_and_then_and_what_is_new_at_once(schema: EventSchema) -> None:
    site = Site([PAID] * ENOUGH)
    async with site.running():
        for minute in range(2 * REPEAT_AFTER + 2):
            new = {"more": 1} if minute == 3 else {}
            site.watch("shop", "paid", schema, PAID | {"extra": 1} | new)
            await site.watch.idle()
            site.watch.report()
    told = [{one["path"]: one["events"] for one in report["findings"]} for _, report in site.reports]
    assert told[:2] == [{"$.extra": 1}, {"$.extra": 3, "$.more": 1}]
    assert told[2:] == [{"$.extra": REPEAT_AFTER + 1}]


async def test_events_that_keep_their_type_have_a_past_too(schema: EventSchema) -> None:
    site = Site([PAID] * ENOUGH)
    site.unknown = {"events.paid"}
    async with site.running():
        site.watch("events", "paid", schema, PAID | {"extra": 1})
        await site.watch.idle()
    assert site.asked == ["events.paid", "paid"]
    assert site.watch.drifting == {("events", "paid", "new_field"): 1}


@pytest.mark.parametrize("away", [False, True])
async def test_without_a_past_the_first_events_are_learned_from(schema: EventSchema, away: bool) -> None:  # noqa: FBT001 - a parameter
    site = Site([])
    site.away = away
    async with site.running():
        for number in range(ENOUGH):
            site.watch("shop", "paid", schema, PAID | {f"key{number}": 1})
        site.watch("shop", "paid", schema, PAID | {"another": 1})
        await site.watch.idle()
    assert site.watch.drifting == {("shop", "paid", "new_field"): 1}


async def test_each_type_s_first_events_and_then_one_in_a_while_are_looked_at(schema: EventSchema) -> None:
    site = Site([PAID])
    async with site.running():
        for _ in range(FIRST * 3):
            site.watch("shop", "paid", schema, PAID)
        await site.watch.idle()
        assert site.watch.looked == {("shop", "paid"): FIRST + 1}
        site.now += EVERY
        site.watch("shop", "paid", schema, PAID)
        site.watch("shop", "paid", schema, PAID)
        await site.watch.idle()
    assert site.watch.looked == {("shop", "paid"): FIRST + 2}


async def test_what_is_kept_is_bounded(schema: EventSchema, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drift, "MAX_TYPES", 4)
    monkeypatch.setattr(drift, "MAX_FINDINGS", 2)
    site = Site([PAID] * ENOUGH)
    for number in range(6):
        for _ in range(FIRST):
            site.watch("shop", f"paid.{number}", schema, PAID | {"a": 1, "b": 2, "c": 3})
    assert site.watch.skipped == 4 * FIRST - QUEUE_LENGTH
    async with site.running():
        await site.watch.idle()
    site.watch.report()
    assert {len(report["findings"]) for _, report in site.reports} == {2}
    assert site.watch.drifting["shop", "paid", "new_field"] == QUEUE_LENGTH


async def test_an_event_that_can_t_be_compared_doesn_t_end_the_watch(
    schema: EventSchema, caplog: pytest.LogCaptureFixture
) -> None:
    deep: Any = 1
    for _ in range(5000):
        deep = [deep]
    site = Site([deep, PAID])
    async with site.running():
        site.watch("shop", "paid", schema, {"id": deep})
        site.watch("shop", "void", schema, object())
        site.watch("shop", "paid", schema, PAID)
        await site.watch.idle()
    assert site.watch.looked["shop", "paid"] >= 2
    assert "Recursion" not in caplog.text
