"""A copy of a history, whatever its database is: an SQLite file that can be read back into either."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, delete, select, text
from sqlalchemy.engine import make_url

from tidemill.history import search
from tidemill.history.bulk import insert_rows
from tidemill.history.database import Database, is_outdated, open_database
from tidemill.history.tables import error_marks, event_bodies, facts, metadata, run_bodies, runs
from tidemill.history.words import words_of
from tidemill.kernel.errors import ConflictError, HistoryError, NotFoundError

Report = Callable[[str, int], None]
_CHUNK: Final = 2_000
_WAL_PAGES: Final = 2_000
_SECONDS: Final = 86_400.0


def backup(database: Database, target: Path, report: Report | None = None) -> None:
    """Write a copy as of one moment into a new file; the writer goes on meanwhile.

    Args:
        database: what is copied.
        target: the file, which mustn't exist.
        report: is told now and then what was copied so far: a table's name and how many rows, or pages.

    Raises:
        ConflictError: the file exists.
        HistoryError: one of the databases can't be used.
    """
    if target.exists():
        raise ConflictError(f"{target} exists", hint="name another file; a backup overwrites nothing")
    partial = target.with_name(target.name + ".partial")
    partial.unlink(missing_ok=True)
    if database.file is not None:
        _copy_file(database.file, partial, report)
    else:
        copy = open_database(make_url(f"sqlite+pysqlite:///{partial}"))
        try:
            with database.reading(_SECONDS) as source, copy.writing() as written:
                source.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
                _copy_rows(source, written, report)
        finally:
            copy.close()
        _settle(partial)
    partial.replace(target)


def restore(database: Database, source: Path, report: Report | None = None) -> None:
    """Put a backup in the place of what a database holds.

    The writer goes on from where the backup ends: what has happened since is read from the streams again.

    Raises:
        NotFoundError: there is no such file.
        ConflictError: somebody writes the history.
        HistoryError: the file is no backup, or the database can't be used.
    """
    if not source.is_file():
        raise NotFoundError(f"there is no file {source}", hint="name one that `history backup` has written")
    if not database.claim():
        raise _busy()
    with _opened(source) as copy, copy.reading(_SECONDS) as read, database.writing() as written:
        _empty(written, marks=True)
        _copy_rows(read, written, report)
        _index_words(read, written)


@contextmanager
def _opened(source: Path) -> Iterator[Database]:
    """Yield a backup as a database; one of an older version is brought up to date in a copy of its own."""
    url = make_url(f"sqlite+pysqlite:///{source}")
    if not is_outdated(url):
        copy = open_database(url, create=False)
        try:
            yield copy
        finally:
            copy.close()
        return
    try:
        with tempfile.TemporaryDirectory(prefix=".tidemill-", dir=source.parent) as folder:
            newer = Path(folder) / source.name
            shutil.copyfile(source, newer)
            open_database(url.set(database=str(newer))).close()
            with _opened(newer) as copy:
                yield copy
    except OSError as error:
        raise HistoryError(f"{source} can't be copied: {error}", hint="check the disk") from error


def rebuild(database: Database) -> None:
    """Empty a history, so that its writer fills it again from what the streams still have.

    What people decided about errors stays. A writer that is at work notices and begins anew.

    Raises:
        HistoryError: the database can't be used.
    """
    with database.writing() as connection:
        _empty(connection, marks=False)


def _empty(connection: Connection, *, marks: bool) -> None:
    search.clear(connection)
    for table in metadata.tables.values():
        if table is facts or (table is error_marks and not marks):
            continue
        connection.execute(delete(table))


def _copy_file(source: Path, target: Path, report: Report | None) -> None:
    """Copy an SQLite database as a whole, its index of words too."""

    def progress(_status: int, remaining: int, total: int) -> None:
        if report is not None:
            report("pages", total - remaining)

    try:
        read, written = sqlite3.connect(source, timeout=30), sqlite3.connect(target)
        try:
            read.execute("BEGIN")
            read.execute("SELECT count(*) FROM facts").fetchone()
            read.backup(written, pages=-1 if report is None else _WAL_PAGES, progress=progress)
        finally:
            read.close()
            written.close()
    except sqlite3.Error as error:
        raise HistoryError(f"{source} can't be copied: {error}", hint="check the disk") from error
    _settle(target)


def _settle(file: Path) -> None:
    """Make a database one file, without a log beside it."""
    connection = sqlite3.connect(file)
    connection.execute("PRAGMA journal_mode = DELETE")
    connection.close()
    for ending in (".lock", ".writer"):
        file.with_name(file.name + ending).unlink(missing_ok=True)


def _copy_rows(source: Connection, target: Connection, report: Report | None) -> None:
    for table in metadata.tables.values():
        if table is facts:
            continue
        copied = 0
        rows = source.execution_options(yield_per=_CHUNK).execute(select(table)).mappings()
        for chunk in rows.partitions(_CHUNK):
            insert_rows(target, table, [dict(row) for row in chunk])
            copied += len(chunk)
            if report is not None:
                report(table.name, copied)


def _index_words(source: Connection, target: Connection) -> None:
    """Index what the copied rows say; the index of a copy depends on the kind of its database."""
    entries = words_said(source)
    while chunk := list(islice(entries, _CHUNK)):
        search.index(target, chunk)


def words_said(connection: Connection) -> Iterator[tuple[int, float, list[str]]]:
    """Yield what the search finds of each run: its number, when it was created, and its words."""
    query = (
        select(
            runs.c.number,
            runs.c.created_at,
            runs.c.error_type,
            runs.c.error_message,
            run_bodies.c.payload,
            event_bodies.c.body,
        )
        .outerjoin(run_bodies, run_bodies.c.number == runs.c.number)
        .outerjoin(event_bodies, event_bodies.c.number == runs.c.event_number)
        .order_by(runs.c.number)
    )
    for row in connection.execution_options(yield_per=_CHUNK).execute(query):
        number, created_at, kind, message, payload, body = row
        if words := words_of(*(one for one in (payload or body, kind, message) if one)):
            yield number, created_at, words


def _busy() -> ConflictError:
    return ConflictError(
        "the history is being written",
        hint="stop the processes with the engine's role `history` first, and start them again afterwards",
    )
