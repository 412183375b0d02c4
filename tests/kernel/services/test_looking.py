"""Filters of lists on a broker: what they fit, what they refuse, where a search stops."""

from __future__ import annotations

from dataclasses import fields
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from tidemill.kernel.errors import PayloadError
from tidemill.kernel.jetstream.scan import StoredMessage
from tidemill.kernel.services import looking
from tidemill.kernel.services.dead_query import DeadQuery
from tidemill.kernel.services.looking import Found, Query, look
from tidemill.kernel.services.quarantine_query import QuarantineQuery

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
EVENT = {"source": "shop/eu", "type": "shop.order.sold"}
LETTER = {"task": "ship", "outcome": "failed", "error": "ValueError: Too Much water"}
SCHEMA = {"code": "schema", "path": "$.total", "detail": "it is no number"}
PAIR = {"task": "ship", "clause": "data.total > 3", "reason": "no such key: total"}


@pytest.mark.parametrize(
    ("given", "fits"),
    [
        ({}, True),
        ({"task": " ship "}, True),
        ({"task": "shi"}, False),
        ({"source": "shop"}, True),
        ({"source": "shop/eu"}, True),
        ({"source": "shop/e"}, False),
        ({"source": "sho"}, False),
        ({"type": "shop.>"}, True),
        ({"type": "shop.order"}, False),
        ({"outcome": "crashed"}, False),
        ({"error": "too much WATER"}, True),
        ({"error": "keyerror"}, False),
        ({"until": "2026-11-22T12:00:00Z"}, False),
        ({"until": "2026-11-22T13:00:01+01:00", "task": "ship", "error": ""}, True),
    ],
)
def test_letters_fit(given: dict[str, str], fits: bool) -> None:  # noqa: FBT001 - what varies
    assert DeadQuery.parse(given).fits(LETTER, EVENT, NOON) is fits


def test_a_letter_without_an_event_has_no_source() -> None:
    assert DeadQuery.parse({"task": "ship"}).fits(LETTER, None, NOON)
    assert not DeadQuery.parse({"source": "shop"}).fits(LETTER, None, NOON)


@pytest.mark.parametrize(
    ("given", "reason", "fits"),
    [
        ({"reason": "schema"}, SCHEMA, True),
        ({"reason": "schema"}, PAIR, False),
        ({"reason": "where"}, PAIR, True),
        ({"reason": "where"}, SCHEMA, False),
        ({"task": "ship"}, PAIR, True),
        ({"task": "ship"}, SCHEMA, False),
        ({"text": "$.TOTAL"}, SCHEMA, True),
        ({"text": "such key"}, PAIR, True),
        ({"text": "schema"}, SCHEMA, False),
        ({"source": "shop", "type": "shop.*.sold"}, SCHEMA, True),
    ],
)
def test_entries_fit(given: dict[str, str], reason: dict[str, Any], fits: bool) -> None:  # noqa: FBT001 - what varies
    assert QuarantineQuery.parse(given).fits(EVENT, reason, NOON) is fits


@pytest.mark.parametrize(
    "given",
    [
        {"reason": "schema"},
        {"sauce": "shop"},
        {"task": 7},
        {"task": "x" * 501},
        {"since": "yesterday"},
        {"until": "2026-11-22T12:00:00"},
        {"type": "a..b"},
    ],
)
def test_a_filter_that_cant_be_used_is_named(given: dict[str, Any]) -> None:
    with pytest.raises(PayloadError, match=next(iter(given))):
        DeadQuery.parse(given)


def test_every_filter_is_a_field_and_every_field_a_filter() -> None:
    for query in (Query, DeadQuery, QuarantineQuery):
        assert set(query.NAMES) == {field.name for field in fields(query)}


async def _messages(count: int) -> AsyncIterator[StoredMessage]:
    for seq in range(count, 0, -1):
        yield StoredMessage("x", seq, datetime.fromtimestamp(seq, UTC), b"")


def _even(message: StoredMessage) -> int | None:
    return message.seq if message.seq % 2 == 0 else None


async def test_a_search_stops_at_its_limit_its_beginning_and_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    assert await look(_messages(9), _even, since=0, limit=9, seconds=9) == Found((8, 6, 4, 2))
    assert await look(_messages(9), _even, since=0, limit=2, seconds=9) == Found((8, 6), 6)
    assert await look(_messages(9), _even, since=0, limit=4, seconds=9) == Found((8, 6, 4, 2), 2)
    assert await look(_messages(8), _even, since=5, limit=9, seconds=9) == Found((8, 6))
    assert await look(_messages(0), _even, since=0, limit=9, seconds=9) == Found()
    monkeypatch.setattr(looking, "time", _Clock())
    assert await look(_messages(9), _even, since=0, limit=9, seconds=2.5) == Found((8,), 7)


class _Clock:
    """A clock on which a second passes with each look at it."""

    def __init__(self) -> None:
        self._now = 0.0

    def monotonic(self) -> float:
        self._now += 1
        return self._now
