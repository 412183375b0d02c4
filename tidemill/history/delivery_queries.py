"""Deliveries, quarantine and dead letters: what came in, what couldn't be processed, what was given up on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from sqlalchemy import Connection, Select, Table, select

from tidemill.history.cursors import Page, read_cursor, write_cursor
from tidemill.history.reading import dead_of, delivery_of, first_since, quarantine_of
from tidemill.history.rows import Body, DeadRow, DeliveryRow, QuarantineRow
from tidemill.history.run_lists import PAGE_LIMIT
from tidemill.history.tables import dead, deliveries, events, quarantine, runs
from tidemill.kernel.errors import NotFoundError, PayloadError
from tidemill.kernel.subjects import run_of_event

_LAST: Final = 2**62
_VERDICTS: Final = ("accepted", "refused", "duplicate", "quarantined")


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryQuery:
    """Which requests; `verdict` is one of `accepted`, `refused`, `duplicate`, `quarantined`."""

    verdict: str | None = None
    source: str | None = None
    since: float | None = None
    until: float | None = None


def list_deliveries(
    connection: Connection, query: DeliveryQuery, *, cursor: str | None = None, limit: int = 50
) -> Page[DeliveryRow]:
    """Return a page of requests, the newest first: accepted ones, and others as far as they were recorded.

    Raises:
        PayloadError: the cursor is another query's, or there is no such verdict.
    """
    if query.verdict not in (None, *_VERDICTS):
        raise PayloadError(f"there is no verdict {query.verdict!r}", hint=f"it is {' or '.join(_VERDICTS)}")
    limit = max(1, min(limit, PAGE_LIMIT))
    wanted = (query.verdict,) if query.verdict is not None else _VERDICTS
    place = read_cursor(asdict(query), cursor, (int,) * len(wanted))
    below = dict(zip(wanted, place or [_LAST] * len(wanted), strict=True))
    found: list[DeliveryRow] = []
    for verdict in wanted:
        found += _deliveries(connection, query, verdict, below[verdict], limit + 1)
    found.sort(key=lambda row: (-row.at, row.verdict, -row.number))
    for row in found[:limit]:
        below[row.verdict] = min(below[row.verdict], row.number)
    more = write_cursor(asdict(query), list(below.values())) if len(found) > limit else None
    return Page(tuple(found[:limit]), more)


def _deliveries(
    connection: Connection, query: DeliveryQuery, verdict: str, below: int, limit: int
) -> list[DeliveryRow]:
    table = {"accepted": events, "quarantined": quarantine}.get(verdict, deliveries)
    low = first_since(connection, table, query.since) if query.since is not None else 0
    if query.until is not None:
        below = min(below, first_since(connection, table, query.until))
    listed = _newest(table, low, below)
    if query.source is not None:
        listed = listed.where(table.c.source == query.source)
    if table is not deliveries:
        rows = connection.execute(listed.limit(limit)).mappings()
        return [_other(row, verdict) for row in rows]
    rows = connection.execute(listed.where(table.c.kind == verdict).limit(limit)).mappings()
    return [delivery_of(row) for row in rows]


def _other(row: Any, verdict: str) -> DeliveryRow:
    """Return a row of `events` or `quarantine` as a request."""
    data = {"reason": quarantine_of(row).reason} if verdict == "quarantined" else {"bytes": row["bytes"]}
    return DeliveryRow(
        verdict=verdict,
        number=row["number"],
        at=row["at"],
        source=row["source"],
        type=row["type"],
        event_id=row["event_id"] if verdict == "quarantined" else row["id"],
        data=data,
    )


def list_quarantine(
    connection: Connection, *, source: str | None = None, cursor: str | None = None, limit: int = 50
) -> Page[QuarantineRow]:
    """Return a page of what has been put into quarantine, the newest first, without bodies.

    Raises:
        PayloadError: the cursor is another query's.
    """
    limit, query = max(1, min(limit, PAGE_LIMIT)), {"list": "quarantine", "source": source}
    place = read_cursor(query, cursor, (int,))
    listed = _newest(quarantine, 0, place[0] if place is not None else _LAST)
    if source is not None:
        listed = listed.where(quarantine.c.source == source)
    rows = connection.execute(listed.limit(limit + 1)).mappings().all()
    more = write_cursor(query, [rows[limit - 1]["number"]]) if len(rows) > limit else None
    released = _released(connection, rows[:limit])
    return Page(tuple(quarantine_of(row, released=row["number"] in released) for row in rows[:limit]), more)


def quarantine_detail(connection: Connection, key: str) -> QuarantineRow:
    """Return the newest entry with a key, with its body.

    Raises:
        NotFoundError: the history has no such entry.
    """
    query = select(quarantine).where(quarantine.c.key == key).order_by(quarantine.c.number.desc()).limit(1)
    row = connection.execute(query).mappings().first()
    if row is None:
        raise NotFoundError(f"the history has nothing in quarantine as {key!r}", hint="look at the list")
    released = bool(_released(connection, [row]))
    return quarantine_of(row, released=released, body=Body(size=row["bytes"], data=row["body"]))


def list_dead(
    connection: Connection, *, task: str | None = None, cursor: str | None = None, limit: int = 50
) -> Page[DeadRow]:
    """Return a page of dead letters, the newest first, each with what its run has become.

    Raises:
        PayloadError: the cursor is another query's.
    """
    limit, query = max(1, min(limit, PAGE_LIMIT)), {"list": "dead", "task": task}
    place = read_cursor(query, cursor, (int,))
    listed = _newest(dead, 0, place[0] if place is not None else _LAST)
    if task is not None:
        listed = listed.where(dead.c.task == task)
    rows = connection.execute(listed.limit(limit + 1)).mappings().all()
    ids = [row["id"] for row in rows]
    known = connection.execute(select(runs.c.id, runs.c.status).where(runs.c.id.in_(ids)))
    status = {run: now for run, now in known}  # noqa: C416 - rows, which dict() doesn't take for pairs
    more = write_cursor(query, [rows[limit - 1]["number"]]) if len(rows) > limit else None
    return Page(tuple(dead_of(row, status.get(row["id"])) for row in rows[:limit]), more)


def _released(connection: Connection, rows: Sequence[Any]) -> set[int]:
    """Return the numbers of those entries whose event or whose run exists by now."""
    ids = {row["event_id"] for row in rows if row["kind"] == "delivery"}
    known = select(events.c.source, events.c.id).where(events.c.id.in_(ids)).limit(PAGE_LIMIT)
    arrived = {(row[0], row[1]) for row in connection.execute(known)}
    pairs = {run_of_event(row["key"].partition("-")[0], row["task"]): row for row in rows if row["task"]}
    begun = set(connection.execute(select(runs.c.id).where(runs.c.id.in_(pairs))).scalars())
    released = {row["number"] for row in rows if (row["source"], row["event_id"]) in arrived}
    paired = {row["number"] for row in rows if row["kind"] != "delivery"}
    return (released - paired) | {pairs[run]["number"] for run in begun}


def _newest(table: Table, low: int, below: int) -> Select[Any]:
    return select(table).where(table.c.number >= low, table.c.number < below).order_by(table.c.number.desc())
