from __future__ import annotations

import json
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from gateway.schemata import history
from gateway.schemata.history import NEWEST, StoredHistory
from tidemill.kernel.clock import now


class Events:
    """Stored events, the newest first, that are read page by page."""

    def __init__(self, *bodies: bytes, later: int = 0) -> None:
        moments = [now() + timedelta(hours=1 if number < later else -1) for number in range(len(bodies))]
        self.stored = [
            SimpleNamespace(seq=len(bodies) - number, at=at, facts={}, raw=body)
            for number, (body, at) in enumerate(zip(bodies, moments, strict=True))
        ]
        self.pages = 0

    async def list(self, *, event_type: str, before: int | None, limit: int) -> Any:
        assert event_type == "acme.paid"
        self.pages += 1
        return [event for event in self.stored if before is None or event.seq < before][:limit]


async def test_the_newest_are_read_page_by_page_but_for_those_that_came_later() -> None:
    events = Events(*(json.dumps(number).encode() for number in range(500)), later=3)
    found = await StoredHistory(events)("acme.paid")  # type: ignore[arg-type] # a fake
    assert found == list(range(3, NEWEST))


async def test_what_is_no_json_is_left_out_and_what_was_taken_out_of_the_body_counts() -> None:
    events = Events(b"{", b'{"id": 1}', b"")
    events.stored[0].facts = {"value": {"id": 0}}
    assert await StoredHistory(events)("acme.paid") == [{"id": 0}, {"id": 1}]  # type: ignore[arg-type] # a fake
    assert events.pages == 1


async def test_large_events_end_the_reading_early(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "MAX_BYTES", 1000)
    events = Events(*([b"[%s]" % (b"1," * 60 + b"1")] * 500))
    assert len(await StoredHistory(events)("acme.paid")) == history.PAGE  # type: ignore[arg-type] # a fake
