"""Runs by the words in their payloads and errors: an index of SQLite's (FTS5), or one of PostgreSQL's (GIN).

SQLite's is one table a day, since it can't forget single rows without being told what was in them: a day is
forgotten as a whole. Neither keeps where in a text a word stands.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import Connection, text

from tidemill.history.words import wanted_words

_DAY_SECONDS: Final = 86_400
_NAME: Final = re.compile(r"run_words_(\d+)")
_OPTIONS: Final = """content='', columnsize=0, detail=none, tokenize="ascii tokenchars '_'\""""
"""Words are made in `words`: all that SQLite has to find is where one ends."""


def find_numbers(connection: Connection, search: str, *, low: int, below: int, limit: int) -> list[int]:
    """Return the numbers of up to `limit` runs, from `low` on and below another, the newest first.

    Raises:
        PayloadError: the search has no words, or too many.
    """
    words = wanted_words(search)
    if connection.dialect.name != "sqlite":
        return _find_postgresql(connection, words, low=low, below=below, limit=limit)
    wanted = " ".join(f'"{word}"*' if begins else f'"{word}"' for word, begins in words)
    found: list[int] = []
    for day in reversed(days(connection)):
        query = text(
            f"SELECT rowid FROM run_words_{day} WHERE run_words_{day} MATCH :wanted"  # noqa: S608 - a number
            " AND rowid >= :low AND rowid < :below ORDER BY rowid DESC LIMIT :limit"
        )
        given = {"wanted": wanted, "low": low, "below": below, "limit": limit - len(found)}
        found += connection.execute(query, given).scalars()
        if len(found) >= limit:
            break
    return found


def index(connection: Connection, entries: Sequence[tuple[int, float, list[str]]]) -> None:
    """Take in the words of new runs: each one's number, the moment of its creation, and its words."""
    if not entries:
        return
    if connection.dialect.name != "sqlite":
        # Words hold letters, digits and underscores alone: in quotes each is one lexeme.
        given = {
            "numbers": [number for number, _, _ in entries],
            "words": [" ".join(f"'{word}'" for word in words) for _, _, words in entries],
        }
        add = (
            "INSERT INTO run_words (number, words) SELECT number, CAST(words AS tsvector)"
            " FROM unnest(CAST(:numbers AS bigint[]), CAST(:words AS text[])) AS given (number, words)"
            " ON CONFLICT (number) DO UPDATE SET words = run_words.words || excluded.words"
        )
        connection.execute(text(add), given)
        return
    by_day: dict[int, list[tuple[int, str]]] = {}
    for number, at, words in entries:
        by_day.setdefault(int(at // _DAY_SECONDS), []).append((number, " ".join(words)))
    for day, found in by_day.items():
        make = f"CREATE VIRTUAL TABLE IF NOT EXISTS run_words_{day} USING fts5(words, {_OPTIONS})"
        connection.exec_driver_sql(make)
        add = f"INSERT INTO run_words_{day} (rowid, words) VALUES (?, ?)"  # noqa: S608 - a number
        connection.exec_driver_sql(add, found)


def forget(connection: Connection, *, before: float, below: int, limit: int) -> int:
    """Forget what was indexed before a moment, or below a number; return how much of it was found."""
    if connection.dialect.name != "sqlite":
        gone = text(
            "DELETE FROM run_words WHERE number IN"
            " (SELECT number FROM run_words WHERE number < :below ORDER BY number LIMIT :limit)"
        )
        return connection.execute(gone, {"below": below, "limit": limit}).rowcount
    old = [day for day in days(connection) if (day + 1) * _DAY_SECONDS <= before]
    for day in old[:1]:
        connection.exec_driver_sql(f"DROP TABLE run_words_{day}")
    return len(old)


def clear(connection: Connection) -> None:
    """Forget everything."""
    if connection.dialect.name != "sqlite":
        connection.exec_driver_sql("DELETE FROM run_words")
        return
    for day in days(connection):
        connection.exec_driver_sql(f"DROP TABLE run_words_{day}")


def days(connection: Connection) -> list[int]:
    """Return the days that SQLite has an index of, since the epoch, in their order."""
    names: Sequence[Any] = (
        connection.exec_driver_sql(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name GLOB 'run_words_[0-9]*'"
        )
        .scalars()
        .all()
    )
    return sorted(int(found[1]) for name in names if (found := _NAME.fullmatch(name)))


def _find_postgresql(
    connection: Connection, words: Sequence[tuple[str, bool]], *, low: int, below: int, limit: int
) -> list[int]:
    # Words hold letters, digits and underscores alone: in quotes they are nothing but words.
    wanted = " & ".join(f"'{word}':*" if begins else f"'{word}'" for word, begins in words)
    query = text(
        "SELECT number FROM run_words WHERE words @@ CAST(:wanted AS tsquery) AND number >= :low"
        " AND number < :below ORDER BY number DESC LIMIT :limit"
    )
    given = {"wanted": wanted, "low": low, "below": below, "limit": limit}
    return list(connection.execute(query, given).scalars())
