"""Deliveries, quarantine and dead letters: what came in, what couldn't be processed, what was given up on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Select, Table, literal_column, select

from tidemill.history.cursors import Page, read_cursor, write_cursor
from tidemill.history.reading import dead_of, delivery_of, first_since, quarantine_of
from tidemill.history.rows import Body, DeadRow, DeliveryRow, QuarantineRow
from tidemill.history.scanning import LAST, PAGE_LIMIT, Budget, look
from tidemill.history.tables import dead, deliveries, events, quarantine, refusals, runs
from tidemill.kernel.errors import NotFoundError, PayloadError
from tidemill.kernel.services.deliveries import VERDICTS
from tidemill.kernel.services.delivery_log import DELIVERIES, REFUSALS, TAKEN
from tidemill.kernel.subjects import run_of_event

_TABLES: Final = {DELIVERIES: deliveries, REFUSALS: refusals}


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryQuery:
    """Which requests: all that fit every field that is given.

    `verdict` is one of `kernel.services.deliveries.VERDICTS`, `source` names a tenant too where it has one.
    """

    verdict: str | None = None
    source: str | None = None
    reason: str | None = None
    since: float | None = None
    until: float | None = None


def list_deliveries(
    connection: Connection, query: DeliveryQuery, *, cursor: str | None = None, limit: int = 50
) -> Page[DeliveryRow]:
    """Return a page of requests, the newest first.

    Raises:
        PayloadError: the cursor is another query's, or there is no such verdict.
    """
    if query.verdict not in (None, *VERDICTS):
        raise PayloadError(f"there is no verdict {query.verdict!r}", hint=f"it is {' or '.join(VERDICTS)}")
    limit = max(1, min(limit, PAGE_LIMIT))
    wanted = [
        name for name in _TABLES if query.verdict is None or (name == DELIVERIES) == (query.verdict in TAKEN)
    ]
    place = read_cursor(asdict(query), cursor, (int,) * len(wanted)) or [LAST] * len(wanted)
    budget = Budget()
    parts = [
        _Part(below, *_requests(connection, _TABLES[name], query, below, limit, budget))
        for name, below in zip(wanted, place, strict=True)
    ]
    rows: list[DeliveryRow] = []
    while len(rows) < limit and not any(part.blind for part in parts):
        heads = [part for part in parts if part.head is not None]
        if not heads:
            break
        rows.append(max(heads, key=lambda part: part.head.at if part.head else 0.0).take())
    more = any(part.more for part in parts)
    return Page(tuple(rows), write_cursor(asdict(query), [part.place for part in parts]) if more else None)


class _Part:
    """What was found in one table, on its way into a page of several."""

    def __init__(self, below: int, rows: Sequence[Any], reached: int | None) -> None:
        self._rows = [delivery_of(row) for row in rows]
        self._taken = 0
        self._reached = reached
        self.place = below
        self._settle()

    @property
    def head(self) -> DeliveryRow | None:
        """The newest row that wasn't taken yet."""
        return self._rows[self._taken] if self._taken < len(self._rows) else None

    @property
    def blind(self) -> bool:
        """Whether nothing is known of what follows."""
        return self.head is None and self._reached is not None

    @property
    def more(self) -> bool:
        """Whether something may follow."""
        return self.head is not None or self._reached is not None

    def take(self) -> DeliveryRow:
        """Take the head."""
        row = self._rows[self._taken]
        self._taken += 1
        self.place = row.number
        self._settle()
        return row

    def _settle(self) -> None:
        if self.blind and self._reached is not None:
            self.place = self._reached


def _requests(  # noqa: PLR0913, PLR0917 - a query, and where to look
    connection: Connection, table: Table, query: DeliveryQuery, below: int, limit: int, budget: Budget
) -> tuple[Sequence[Any], int | None]:
    low = first_since(connection, table, query.since) if query.since is not None else 0
    if query.until is not None:
        below = min(below, first_since(connection, table, query.until))
    rest = {
        name: value for name in ("verdict", "source", "reason") if (value := getattr(query, name)) is not None
    }
    given: list[ColumnElement[bool]] = []
    if "verdict" in rest and (table is refusals or query.verdict != "accepted"):
        given.append(table.c.verdict == rest.pop("verdict"))
        if table is deliveries:
            given.append(table.c.verdict != literal_column("'accepted'"))
    elif "source" in rest:
        given.append(table.c.source == rest.pop("source"))

    def base(number: int) -> Select[Any]:
        return _newest(table, low, number).where(*given)

    return look(connection, table, base, below, rest, limit, budget)


def list_quarantine(
    connection: Connection, *, source: str | None = None, cursor: str | None = None, limit: int = 50
) -> Page[QuarantineRow]:
    """Return a page of what has been put into quarantine, the newest first, without bodies.

    Raises:
        PayloadError: the cursor is another query's.
    """
    limit, query = max(1, min(limit, PAGE_LIMIT)), {"list": "quarantine", "source": source}
    place = read_cursor(query, cursor, (int,))
    listed = _newest(quarantine, 0, place[0] if place is not None else LAST)
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
    listed = _newest(dead, 0, place[0] if place is not None else LAST)
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
