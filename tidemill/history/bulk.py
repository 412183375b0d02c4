"""Many rows at once, past SQLAlchemy, which costs as much again for each row as the database does.

SQLite takes one prepared statement and a tuple a row; PostgreSQL COPYs them, or takes arrays in one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from operator import itemgetter
from typing import Any, Final

import psycopg
from sqlalchemy import Connection, Dialect, Table
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import DBAPIError, IntegrityError

from tidemill.history.tables import Row

_POSTGRESQL: Final[Dialect] = postgresql.dialect()  # type: ignore[no-untyped-call]  # its own


def insert_rows(connection: Connection, table: Table, rows: Sequence[Row]) -> None:
    """Insert rows, each with every column of the table.

    Raises:
        IntegrityError: one of them is there already.
    """
    if not rows:
        return
    names = tuple(table.c.keys())
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql(_insert(table, names), _tuples(names, rows))
        return
    cursor: Any = connection.connection.cursor()
    try:
        with cursor, cursor.copy(f'COPY "{table.name}" ({_listed(names)}) FROM STDIN') as copy:
            for row in _tuples(names, rows):
                copy.write_row(row)
    except psycopg.IntegrityError as error:
        raise IntegrityError(f"COPY {table.name}", None, error) from error
    except psycopg.Error as error:
        raise DBAPIError(f"COPY {table.name}", None, error) from error


def merge_rows(
    connection: Connection, table: Table, key: tuple[str, ...], rows: Sequence[Row], merged: Mapping[str, str]
) -> None:
    """Insert rows, or change those that are there.

    Args:
        connection: in whose transaction.
        table: where.
        key: the columns of its primary key; no two rows have the same one.
        rows: all with the same columns.
        merged: what columns become where a row is there: `old` stands for its table, `new` for the row.
    """
    if not rows:
        return
    names = tuple(rows[0])
    changes = ", ".join(
        f'"{name}" = {said.replace("old.", f"{table.name}.").replace("new.", "excluded.")}'
        for name, said in merged.items()
    )
    conflict = f"ON CONFLICT ({_listed(key)}) DO UPDATE SET {changes}"
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql(f"{_insert(table, names)} {conflict}", _tuples(names, rows))
        return
    insert = f'INSERT INTO "{table.name}" ({_listed(names)}) SELECT * FROM {_arrays(table, names)} {conflict}'  # noqa: S608 - own names
    connection.exec_driver_sql(insert, _columns(names, rows))


def update_rows(
    connection: Connection, table: Table, key: str, names: tuple[str, ...], rows: Sequence[Row]
) -> None:
    """Give these columns of rows that are there new values; `key` says which row it is."""
    if not rows:
        return
    if connection.dialect.name == "sqlite":
        changes = ", ".join(f'"{name}" = ?' for name in names)
        update = f'UPDATE "{table.name}" SET {changes} WHERE "{key}" = ?'  # noqa: S608 - own names
        connection.exec_driver_sql(update, _tuples((*names, key), rows))
        return
    given = (*names, key)
    changes = ", ".join(f'"{name}" = given."{name}"' for name in names)
    update = (
        f'UPDATE "{table.name}" SET {changes}'  # noqa: S608 - own names
        f" FROM {_arrays(table, given)} AS given ({_listed(given)})"
        f' WHERE "{table.name}"."{key}" = given."{key}"'
    )
    connection.exec_driver_sql(update, _columns(given, rows))


def _insert(table: Table, names: Sequence[str]) -> str:
    return f'INSERT INTO "{table.name}" ({_listed(names)}) VALUES ({", ".join("?" * len(names))})'  # noqa: S608 - own names


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)


def _tuples(names: tuple[str, ...], rows: Sequence[Row]) -> list[tuple[Any, ...]]:
    return list(map(_picker(names), rows))


@cache
def _picker(names: tuple[str, ...]) -> Callable[[Row], tuple[Any, ...]]:
    return itemgetter(*names)


def _columns(names: tuple[str, ...], rows: Sequence[Row]) -> tuple[list[Any], ...]:
    return tuple([row[name] for row in rows] for name in names)


@cache
def _arrays(table: Table, names: tuple[str, ...]) -> str:
    """Return the table that arrays make in PostgreSQL, one a column."""
    kinds = [table.c[name].type.compile(_POSTGRESQL) for name in names]
    return f"unnest({', '.join(f'%s::{kind}[]' for kind in kinds)})"
