"""How large a history is, without counting its rows."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Table, func, select, text

from tidemill.history.database import Database
from tidemill.history.overview import where_it_stands
from tidemill.history.tables import events, run_totals, runs
from tidemill.kernel import clock

_SECONDS = 10.0


def measure(database: Database) -> dict[str, Any]:
    """Return where a history is, its size in bytes, how many runs it has, since when, and its positions.

    Raises:
        HistoryError: the database can't be used.
    """
    with database.reading(_SECONDS) as connection:
        return {
            "place": database.place,
            "bytes": size(database, connection),
            "runs": int(connection.execute(select(func.sum(run_totals.c.count))).scalar_one() or 0),
            "runs_since": _first(connection, runs, "created_at"),
            "events_since": _first(connection, events, "at"),
            "positions": {position.stream: position.seq for position in where_it_stands(connection)},
        }


def size(database: Database, connection: Connection) -> int:
    """Return a database's size in bytes, its log included."""
    if database.file is None:
        found = connection.execute(text("SELECT pg_database_size(current_database())")).scalar_one()
        return int(found)
    files = (database.file.with_name(database.file.name + ending) for ending in ("", "-wal"))
    return sum(file.stat().st_size for file in files if file.exists())


def _first(connection: Connection, table: Table, at: str) -> str | None:
    found = connection.execute(select(table.c[at]).order_by(table.c.number).limit(1)).scalar_one_or_none()
    return clock.rfc3339_at(found) if found is not None else None
