"""One made-up day of a history, repeated in the database: other numbers, ids and times, the same proportions.

What took the writer an hour takes the database minutes so; what the writer takes at that size is measured
behind it, with more runs.
"""

from __future__ import annotations

from typing import Final

from history_made import BODIES, DAY
from sqlalchemy import Column, Connection, Double, Table, func, select, text

from tidemill.history import search, tables
from tidemill.history.bulk import merge_rows
from tidemill.history.copying import words_said
from tidemill.history.database import Database

_NUMBERS: Final = {"number", "event_number", "tail", "run", "event"}
_LINES: Final = {("deliveries", "number"), ("refusals", "number"), ("delivery_events", "delivery")}
_RUNS: Final = {
    ("runs", "id"),
    ("dead", "id"),
    ("runs", "parent_id"),
    ("runs", "root_id"),
    ("runs", "replayof"),
    ("run_logs", "run"),
}
_NAMES: Final = {
    ("runs", "event_id"), ("events", "id"), ("events", "key"), ("deliveries", "id"), ("refusals", "id"),
    ("quarantine", "key"), ("quarantine", "event_id"),
}  # fmt: skip
_BODIES: Final = (tables.run_bodies, tables.event_bodies)
_COUNTS: Final = (
    (tables.run_counts, ("span", "task", "at", "status"), ("count", "seconds")),
    (tables.delivery_counts, ("span", "source", "at", "verdict"), ("count",)),
)
_ONCE: Final = {
    "errors", "error_marks", "run_totals", "positions", "facts", "run_counts", "delivery_counts",
}  # fmt: skip
_CACHE: Final = -1_500_000
"""SQLite's cache meanwhile, in kibibytes: ids come in no order."""


def repeat_day(database: Database, days: int) -> None:
    """Add the next days to a history that holds the first one, the oldest; the last ones with bodies."""
    with database.reading(600) as connection:
        step = connection.execute(select(func.max(tables.positions.c.seq))).scalar_one() + 1
        entries = list(words_said(connection)) if database.sqlite else []
        counted = [list(map(dict, connection.execute(select(table)).mappings())) for table, _, _ in _COUNTS]
    for day in range(1, days):
        with database.writing() as connection:
            if database.sqlite:
                connection.exec_driver_sql(f"PRAGMA cache_size = {_CACHE}")
            kept = day >= days - BODIES // DAY
            for table in tables.metadata.sorted_tables:
                if table.name not in _ONCE and (kept or table not in _BODIES):
                    _repeat(connection, table, day, step)
            _count(connection, counted, day, minutes=day >= days - 2)
            if kept and database.sqlite:
                moved = [(number + day * step, at + day * DAY, words) for number, at, words in entries]
                search.index(connection, moved)
            elif kept:
                connection.execute(text(
                    f"INSERT INTO run_words SELECT number + {day * step}, words FROM run_words"
                    f" WHERE number < {step}"
                ))  # fmt: skip
        print(f"  day {day + 1} of {days}", flush=True)
    with database.writing() as connection:
        for table in (tables.run_totals, tables.errors):
            connection.execute(table.update().values(count=table.c.count * days))
        moved_on = (days - 1) * step
        connection.execute(tables.errors.update().values(last_at=tables.errors.c.last_at + (days - 1) * DAY))
        connection.execute(tables.positions.update().values(seq=tables.positions.c.seq + moved_on))


def _count(connection: Connection, counted: list[list[tables.Row]], day: int, *, minutes: bool) -> None:
    """Add a day's counts; those by the minute are kept for two days only."""
    for rows, (table, key, summed) in zip(counted, _COUNTS, strict=True):
        moved = [row | {"at": row["at"] + day * DAY} for row in rows if minutes or row["span"] > 60]
        merge_rows(connection, table, key, moved, {name: f"old.{name} + new.{name}" for name in summed})


def _repeat(connection: Connection, table: Table, day: int, step: int) -> None:
    """Copy the first day's rows of a table to a later one, in the order of its key."""
    key = next(iter(table.primary_key.columns))
    listed = ", ".join(f'"{column.name}"' for column in table.c)
    given = ", ".join(_moved(table, column, day, step) for column in table.c)
    many = step * tables.LINES if (table.name, key.name) in _LINES else step
    first = next(column for column in table.primary_key.columns if column.name in {"number", "run", "event"})
    where = f'"{first.name}" < {many}'
    connection.execute(text(
        f'INSERT INTO "{table.name}" ({listed}) SELECT {given} FROM "{table.name}" WHERE {where}'
        f' ORDER BY "{key.name}"'
    ))  # fmt: skip


def _moved(table: Table, column: Column[object], day: int, step: int) -> str:
    """Return what stands in a column of the copy."""
    place = table.name, column.name
    if place in _LINES:
        return f'"{column.name}" + {day * step * tables.LINES}'
    if place in _RUNS:
        return f"""substr("{column.name}", 1, 27) || 'w{day:02}'"""
    if column.name in _NUMBERS:
        return f'"{column.name}" + {day * step}'
    if place in _NAMES:
        return f""""{column.name}" || '-{day}'"""
    if isinstance(column.type, Double):
        return f'"{column.name}" + {day * DAY}'
    return f'"{column.name}"'
