"""Events with their verdicts and runs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Final

import orjson
from sqlalchemy import Connection, Select, select

from tidemill.history.cursors import Page, read_cursor, write_cursor
from tidemill.history.inbound_projection import WITHOUT_BODY
from tidemill.history.reading import (
    delivery_of,
    event_of,
    first_since,
    quarantine_of,
    run_of,
    verdict_of,
)
from tidemill.history.rows import Body, DeliveryRow, EventDetail, EventRow, QuarantineRow, RunRow, VerdictRow
from tidemill.history.scanning import LAST, PAGE_LIMIT, look
from tidemill.history.shortening import plain
from tidemill.history.tables import (
    deliveries,
    delivery_events,
    event_bodies,
    events,
    quarantine,
    runs,
    verdicts,
)
from tidemill.kernel.envelope import edited_data
from tidemill.kernel.errors import NotFoundError

_MOST: Final = 2_000
"""Verdicts and runs that are shown of a page's events."""
_MOST_OF_ONE: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class EventQuery:
    """Which events: all that fit every field that is given. `since` and `until` are about their arrival."""

    source: str | None = None
    type: str | None = None
    since: float | None = None
    until: float | None = None


def list_events(
    connection: Connection, query: EventQuery, *, cursor: str | None = None, limit: int = 50
) -> Page[EventRow]:
    """Return a page of events, the newest first.

    Raises:
        PayloadError: the cursor is another query's.
    """
    limit = max(1, min(limit, PAGE_LIMIT))
    place = read_cursor(asdict(query), cursor, (int,))
    low = first_since(connection, events, query.since) if query.since is not None else 0
    below = first_since(connection, events, query.until) if query.until is not None else LAST
    below = min(below, place[0]) if place is not None else below
    rest = {"source": query.source} if query.type is not None and query.source is not None else {}
    rows, reached = look(connection, events, partial(_newest, query, low), below, rest, limit)
    more = rows[limit - 1]["number"] if len(rows) > limit else reached
    shown = _with_company(connection, [event_of(row) for row in rows[:limit]])
    return Page(tuple(shown), write_cursor(asdict(query), [more]) if more is not None else None)


def _newest(query: EventQuery, low: int, below: int) -> Select[Any]:
    """Return the query that one index answers in the order of its rows."""
    base = select(events).where(events.c.number >= low, events.c.number < below)
    base = base.order_by(events.c.number.desc())
    if query.type is not None:
        return base.where(events.c.type == query.type)
    return base.where(events.c.source == query.source) if query.source is not None else base


def event_detail(connection: Connection, event_id: str) -> EventDetail:
    """Return the newest event with an id, its body, and everything else that came under its id.

    Raises:
        NotFoundError: the history has no such event.
    """
    row = (
        connection.execute(
            select(events).where(events.c.id == plain(event_id)).order_by(events.c.number.desc()).limit(1)
        )
        .mappings()
        .first()
    )
    if row is None:
        raise NotFoundError(
            f"the history has no event {event_id!r}",
            hint="it is kept for as long as history.keep_runs says; new ones come within a second",
        )
    event = _with_company(connection, [event_of(row)])[0]
    body = connection.execute(select(event_bodies).where(event_bodies.c.number == event.number))
    kept = body.mappings().first()
    return EventDetail(
        event=event,
        facts=_attributes(kept["facts"]) if kept is not None else {},
        body=Body(size=event.size, data=kept["body"], blob=kept["blob"])
        if kept is not None
        else Body(size=event.size),
        deliveries=tuple(deliveries_of(connection, [event.number])),
        quarantine=tuple(quarantined_as(connection, event_id, event.source)),
    )


def _attributes(stored: str) -> dict[str, Any]:
    """Return an event's attributes, without its data unless they were edited."""
    facts: dict[str, Any] = orjson.loads(stored)
    hidden = (WITHOUT_BODY,) if edited_data(facts) is not None else ("value", WITHOUT_BODY)
    return {name: value for name, value in facts.items() if name not in hidden}


def events_with(connection: Connection, numbers: Sequence[int]) -> list[EventRow]:
    """Return the events with these numbers, with their verdicts and runs."""
    query = select(events).where(events.c.number.in_(numbers)).order_by(events.c.number)
    return _with_company(connection, [event_of(row) for row in connection.execute(query).mappings()])


def deliveries_of(connection: Connection, numbers: Sequence[int]) -> list[DeliveryRow]:
    """Return the requests that brought any of these events: the accepted ones, and duplicates."""
    found = (
        select(delivery_events.c.delivery)
        .where(delivery_events.c.event.in_(numbers))
        .order_by(delivery_events.c.event, delivery_events.c.delivery)
        .limit(_MOST_OF_ONE)
    )
    brought = list(connection.execute(found).scalars())
    query = select(deliveries).where(deliveries.c.number.in_(brought))
    return sorted((delivery_of(row) for row in connection.execute(query).mappings()), key=lambda row: row.at)


def quarantined_as(connection: Connection, event_id: str, source: str) -> list[QuarantineRow]:
    """Return what was put into quarantine with an event's id."""
    query = (
        select(quarantine)
        .where(quarantine.c.event_id == event_id)
        .order_by(quarantine.c.number)
        .limit(_MOST_OF_ONE)
    )
    found = [quarantine_of(row) for row in connection.execute(query).mappings()]
    return [row for row in found if row.source == source]


def _with_company(connection: Connection, shown: Sequence[EventRow]) -> list[EventRow]:
    """Add verdicts and runs to events."""
    numbers = [event.number for event in shown]
    if not numbers:
        return []
    judged: defaultdict[int, list[VerdictRow]] = defaultdict(list)
    query = select(verdicts).where(verdicts.c.event.in_(numbers)).limit(_MOST)
    for row in connection.execute(query).mappings():
        judged[row["event"]].append(verdict_of(row))
    started: defaultdict[int, list[RunRow]] = defaultdict(list)
    for row in connection.execute(
        select(runs).where(runs.c.event_number.in_(numbers)).limit(_MOST)
    ).mappings():
        started[row["event_number"]].append(run_of(row))
    return [_joined(event, judged[event.number], started[event.number]) for event in shown]


def _joined(event: EventRow, judged: Sequence[VerdictRow], started: Sequence[RunRow]) -> EventRow:
    fields = {name: getattr(event, name) for name in EventRow.__slots__}
    return EventRow(**fields | {"verdicts": tuple(judged), "runs": tuple(started)})
