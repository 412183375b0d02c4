"""Runs by the words in their payloads and errors: an index of SQLite's (FTS5), or one of PostgreSQL's (GIN).

SQLite's are tables of a day, since it can't forget single rows without being told what was in them: they are
forgotten as a whole. A busy day has several: what many words begin with costs as much as a table has rows.
Neither keeps where in a text a word stands.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, text

from tidemill.history.scanning import LAST, Budget
from tidemill.history.words import wanted_words

_DAY_SECONDS: Final = 86_400
_NAME: Final = re.compile(r"run_words_(\d+)(?:_(\d+))?")
_PART_BITS: Final = 19
"""A table of SQLite's holds runs out of so many bits of numbers: half a million records of journals."""
_OPTIONS: Final = """content='', columnsize=0, detail=none, tokenize="ascii tokenchars '_'\""""
"""Words are made in `words`: all that SQLite has to find is where one ends."""


def find_numbers(  # noqa: PLR0913 - what, and where
    connection: Connection, search: str, *, low: int, below: int, limit: int, budget: Budget | None = None
) -> tuple[list[int], int | None]:
    """Return the numbers of up to `limit` runs, from `low` on and below another, the newest first.

    With them comes the number down to which all were found, None for all there are: beyond the limit, or
    after the budget's time, it isn't looked on.

    Raises:
        PayloadError: the search has no words, or too many.
    """
    words = wanted_words(search)
    if connection.dialect.name != "sqlite":
        found = _find_postgresql(connection, words, low=low, below=below, limit=limit)
        return found, found[-1] if len(found) >= limit else None
    wanted = " ".join(f'"{word}"*' if begins else f'"{word}"' for word, begins in words)
    found = []
    reached: int | None = None
    for part in reversed(parts(connection)):
        if reached is not None and part.first != reached and budget is not None and budget.spent:
            return found, reached
        if part.first >= below or part.last < low:
            continue
        query = text(
            f"SELECT rowid FROM {part.name} WHERE {part.name} MATCH :wanted"  # noqa: S608 - of our own
            " AND rowid >= :low AND rowid < :below ORDER BY rowid DESC LIMIT :limit"
        )
        given = {"wanted": wanted, "low": low, "below": below, "limit": limit - len(found)}
        found += connection.execute(query, given).scalars()
        if len(found) >= limit:
            return found, found[-1]
        reached = part.first
    return found, None


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
    by_table: dict[str, list[tuple[int, str]]] = {}
    for number, at, words in entries:
        name = f"run_words_{int(at // _DAY_SECONDS)}_{number >> _PART_BITS}"
        by_table.setdefault(name, []).append((number, " ".join(words)))
    for name, found in by_table.items():
        connection.exec_driver_sql(f"CREATE VIRTUAL TABLE IF NOT EXISTS {name} USING fts5(words, {_OPTIONS})")
        add = f"INSERT INTO {name} (rowid, words) VALUES (?, ?)"  # noqa: S608 - of our own
        connection.exec_driver_sql(add, found)


def forget(connection: Connection, *, before: float, below: int, limit: int) -> int:
    """Forget what was indexed before a moment, or below a number; return how much of it was found."""
    if connection.dialect.name != "sqlite":
        gone = text(
            "DELETE FROM run_words WHERE number IN"
            " (SELECT number FROM run_words WHERE number < :below ORDER BY number LIMIT :limit)"
        )
        return connection.execute(gone, {"below": below, "limit": limit}).rowcount
    old = [part for part in parts(connection) if (part.day + 1) * _DAY_SECONDS <= before]
    for part in old[:1]:
        connection.exec_driver_sql(f"DROP TABLE {part.name}")
    return len(old)


def clear(connection: Connection) -> None:
    """Forget everything."""
    if connection.dialect.name != "sqlite":
        connection.exec_driver_sql("DELETE FROM run_words")
        return
    for part in parts(connection):
        connection.exec_driver_sql(f"DROP TABLE {part.name}")


@dataclass(frozen=True, slots=True, order=True)
class Part:
    """A table of SQLite's: the runs of a day with numbers from `first` to `last`."""

    day: int
    first: int
    last: int
    name: str


def parts(connection: Connection) -> list[Part]:
    """Return the tables that SQLite has, in the order of what is in them."""
    names: Sequence[Any] = (
        connection.exec_driver_sql(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name GLOB 'run_words_[0-9]*'"
        )
        .scalars()
        .all()
    )
    return sorted(_part(found) for name in names if (found := _NAME.fullmatch(name)))


def _part(found: re.Match[str]) -> Part:
    """Read a table's name; older versions made one a day."""
    if found[2] is None:
        return Part(int(found[1]), 0, LAST, found[0])
    first = int(found[2]) << _PART_BITS
    return Part(int(found[1]), first, first + (1 << _PART_BITS) - 1, found[0])


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
