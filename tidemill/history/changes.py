"""What one transaction writes: rows to insert, rows to change, and what counts grow by."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any, Final

import psycopg
from sqlalchemy import Connection, Table, bindparam, func, insert, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError, IntegrityError

from tidemill.history import search
from tidemill.history.tables import (
    ALL,
    Row,
    dead,
    deliveries,
    delivery_counts,
    delivery_events,
    errors,
    event_bodies,
    events,
    quarantine,
    refusals,
    run_bodies,
    run_counts,
    run_tags,
    run_totals,
    runs,
    timeline,
    verdicts,
)

SPANS: Final = (60, 3600)
_UPDATED: Final = tuple(
    column.name
    for column in runs.c
    if column.name
    not in {
        "number", "id", "task", "source", "type", "event_id", "event_number", "tags", "key", "parent_id",
        "root_id", "depth", "replayof", "created_at", "start_at", "expires_at",
    }
)  # fmt: skip
"""What changes about a run after its creation."""
_update_runs: Final = (
    update(runs).where(runs.c.number == bindparam("of")).values({name: bindparam(name) for name in _UPDATED})
)


@dataclass(slots=True)
class Changes:
    """Rows by table, in the order in which they came; counts by their keys."""

    new_runs: list[Row] = field(default_factory=list)
    changed_runs: list[Row] = field(default_factory=list)
    bodies: list[Row] = field(default_factory=list)
    results: list[Row] = field(default_factory=list)
    tags: list[Row] = field(default_factory=list)
    timeline: list[Row] = field(default_factory=list)
    words: list[tuple[int, float, list[str]]] = field(default_factory=list)
    errors: dict[str, Row] = field(default_factory=dict)
    events: list[Row] = field(default_factory=list)
    event_bodies: list[Row] = field(default_factory=list)
    verdicts: list[Row] = field(default_factory=list)
    deliveries: list[Row] = field(default_factory=list)
    refusals: list[Row] = field(default_factory=list)
    delivery_events: list[Row] = field(default_factory=list)
    quarantine: list[Row] = field(default_factory=list)
    dead: list[Row] = field(default_factory=list)
    totals: defaultdict[tuple[str, str], int] = field(default_factory=lambda: defaultdict(int))
    run_counts: dict[tuple[int, str, str], list[float]] = field(default_factory=dict)
    delivery_counts: defaultdict[tuple[int, str, str], int] = field(default_factory=lambda: defaultdict(int))

    def count_run(self, at: float, task: str, status: str, seconds: float = 0.0) -> None:
        """Count a run that was created or ended, or an attempt that failed."""
        for name in (task, ALL):
            slot = self.run_counts.setdefault((int(at) // 60 * 60, name, status), [0, 0.0])
            slot[0] += 1
            slot[1] += seconds

    def count_delivery(self, at: float, source: str, verdict: str, number: int = 1) -> None:
        """Count a request or an event."""
        for name in (source, ALL):
            self.delivery_counts[int(at) // 60 * 60, name, verdict] += number

    def write(self, connection: Connection) -> None:
        """Write everything, in the transaction of a connection."""
        self._write_runs(connection)
        for table, rows in (
            (timeline, self.timeline),
            (run_tags, self.tags),
            (events, self.events),
            (event_bodies, self.event_bodies),
            (verdicts, self.verdicts),
            (deliveries, self.deliveries),
            (refusals, self.refusals),
            (delivery_events, self.delivery_events),
            (quarantine, self.quarantine),
            (dead, self.dead),
        ):
            _insert(connection, table, rows)
        search.index(connection, self.words)
        self._write_errors(connection)
        self._write_counts(connection)

    def _write_runs(self, connection: Connection) -> None:
        _insert(connection, runs, self.new_runs)
        if self.changed_runs:
            rows = [
                {name: row[name] for name in _UPDATED} | {"of": row["number"]} for row in self.changed_runs
            ]
            connection.execute(_update_runs, rows)
        _insert(connection, run_bodies, self.bodies)
        if self.results:
            adding = _upsert(connection, run_bodies)
            names = ("result", "result_bytes", "result_blob", "traceback")
            given = {name: adding.excluded[name] for name in names}
            connection.execute(
                adding.on_conflict_do_update(index_elements=["number"], set_=given), self.results
            )

    def _write_errors(self, connection: Connection) -> None:
        if not self.errors:
            return
        adding = _upsert(connection, errors)
        new = adding.excluded
        given = {
            "message": new.message,
            "traceback": new.traceback,
            "last_at": _later(connection, errors.c.last_at, new.last_at),
            "last_run": new.last_run,
            "count": errors.c.count + new.count,
        }
        rows = list(self.errors.values())
        connection.execute(adding.on_conflict_do_update(index_elements=["fingerprint"], set_=given), rows)

    def _write_counts(self, connection: Connection) -> None:
        _add(connection, run_totals, ("task", "status"), [
            {"task": task, "status": status, "count": count}
            for (task, status), count in self.totals.items()
            if count
        ])  # fmt: skip
        for span in SPANS:
            ended: defaultdict[tuple[int, str, str], list[float]] = defaultdict(lambda: [0, 0.0])
            for (at, task, status), (count, seconds) in self.run_counts.items():
                slot = ended[at // span * span, task, status]
                slot[0] += count
                slot[1] += seconds
            _add(connection, run_counts, ("span", "at", "task", "status"), [
                {"span": span, "at": at, "task": task, "status": status, "count": slot[0], "seconds": slot[1]}
                for (at, task, status), slot in ended.items()
            ])  # fmt: skip
            came: defaultdict[tuple[int, str, str], int] = defaultdict(int)
            for (at, source, verdict), number in self.delivery_counts.items():
                came[at // span * span, source, verdict] += number
            _add(connection, delivery_counts, ("span", "at", "source", "verdict"), [
                {"span": span, "at": at, "source": source, "verdict": verdict, "count": number}
                for (at, source, verdict), number in came.items()
            ])  # fmt: skip


def _insert(connection: Connection, table: Table, rows: list[Row]) -> None:
    """Insert rows; into PostgreSQL by COPY, which is several times as fast as a statement for each.

    Raises:
        IntegrityError: one of them is there already.
    """
    if not rows:
        return
    if connection.dialect.name == "sqlite":
        connection.execute(insert(table), rows)
        return
    names = [column.name for column in table.c]
    listed = ", ".join(f'"{name}"' for name in names)
    cursor: Any = connection.connection.cursor()
    try:
        with cursor, cursor.copy(f'COPY "{table.name}" ({listed}) FROM STDIN') as copy:
            for row in rows:
                copy.write_row([row[name] for name in names])
    except psycopg.IntegrityError as error:
        raise IntegrityError(f"COPY {table.name}", None, error) from error
    except psycopg.Error as error:
        raise DBAPIError(f"COPY {table.name}", None, error) from error


def _add(connection: Connection, table: Table, key: tuple[str, ...], rows: list[Row]) -> None:
    """Add to counts, which begin where they aren't there yet."""
    if rows:
        adding = _upsert(connection, table)
        given = {name: table.c[name] + adding.excluded[name] for name in rows[0] if name not in key}
        connection.execute(adding.on_conflict_do_update(index_elements=list(key), set_=given), rows)


def _upsert(connection: Connection, table: Table) -> Any:
    """Return an insert that knows of conflicts; both dialects' have the same words."""
    return (sqlite if connection.dialect.name == "sqlite" else postgresql).insert(table)


def _later(connection: Connection, one: Any, other: Any) -> Any:
    """Return the later of two moments: SQLite's `max` of two values is PostgreSQL's `greatest`."""
    return func.max(one, other) if connection.dialect.name == "sqlite" else func.greatest(one, other)
