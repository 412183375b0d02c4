"""Lists of runs: by one index, newest first, the rest of the filters held against so many rows at most."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Select, and_, literal_column, select

from tidemill.history.cursors import Page, read_cursor, write_cursor
from tidemill.history.reading import first_since, run_of
from tidemill.history.rows import RunRow
from tidemill.history.scanning import LAST, PAGE_LIMIT, Budget, look
from tidemill.history.search import find_numbers
from tidemill.history.tables import run_tags, runs
from tidemill.kernel.errors import PayloadError
from tidemill.kernel.protocol.state import Status

_WORD_SCAN_LIMIT: Final = 1_000
_CHUNK: Final = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class RunQuery:
    """Which runs: all that fit every field that is given; several statuses are alternatives.

    `since` and `until` are about creation. `text` searches payloads and errors for words, `wor*` for
    beginnings of words.
    """

    task: str | None = None
    statuses: tuple[str, ...] = ()
    source: str | None = None
    type: str | None = None
    tag: str | None = None
    text: str | None = None
    since: float | None = None
    until: float | None = None
    fingerprint: str | None = None
    parent_id: str | None = None
    root_id: str | None = None
    replayof: str | None = None
    event_number: int | None = None


# Equal ones of these, the narrowest first.
_INDEXED: Final = (
    "event_number", "parent_id", "replayof", "root_id", "fingerprint", "task", "type", "source",
)  # fmt: skip


def list_runs(
    connection: Connection, query: RunQuery, *, cursor: str | None = None, limit: int = 50
) -> Page[RunRow]:
    """Return a page of runs, the newest first.

    Raises:
        PayloadError: the cursor is another query's, a status is unknown, or the text has no words.
    """
    if unknown := set(query.statuses) - set(Status):
        raise PayloadError(f"there is no status {min(unknown)!r}", hint=f"statuses are {', '.join(Status)}")
    limit = max(1, min(limit, PAGE_LIMIT))
    place = read_cursor(asdict(query), cursor, (int,))
    low = first_since(connection, runs, query.since) if query.since is not None else 0
    below = first_since(connection, runs, query.until) if query.until is not None else LAST
    if place is not None:
        below = min(below, place[0])
    found: list[RunRow] = []
    floor, budget = -1, Budget()
    for status in dict.fromkeys(query.statuses) or (None,):
        part, reached = _part(connection, query, status, budget, low=low, below=below, limit=limit)
        found += part
        floor = max(floor, reached if reached is not None else -1)
    rows = sorted((row for row in found if row.number >= floor), key=lambda row: -row.number)
    more = rows[limit - 1].number if len(rows) > limit else floor if floor >= 0 else None
    return Page(tuple(rows[:limit]), write_cursor(asdict(query), [more]) if more is not None else None)


def _part(  # noqa: PLR0913 - a query, and where to look
    connection: Connection,
    query: RunQuery,
    status: str | None,
    budget: Budget,
    *,
    low: int,
    below: int,
    limit: int,
) -> tuple[list[RunRow], int | None]:
    """Return runs of one status, and the number down to which all were found, None where that is `low`."""
    if query.text is not None:
        return _by_words(connection, query, status, budget, low=low, below=below, limit=limit)
    driver, rest = _split(query, status)
    base = partial(_driven, driver, low)
    found, reached = look(connection, runs, base, below, rest, limit, budget)
    return [run_of(row) for row in found], reached


def _split(query: RunQuery, status: str | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the equalities that an index answers, and the others."""
    wanted = {name: value for name in _INDEXED if (value := getattr(query, name)) is not None}
    if status is not None:
        wanted["status"] = status
    if query.tag is not None:
        return {"tag": query.tag}, wanted
    first = next((name for name in _INDEXED if name in wanted), None)
    if status is not None and status != Status.COMPLETED and first in (None, "task", "type", "source"):
        names = ["task", "status"] if query.task is not None else ["status"]
    else:
        names = [first] if first is not None else []
    driver = {name: wanted.pop(name) for name in names}
    return driver, wanted


def _driven(driver: dict[str, Any], low: int, below: int) -> Select[Any]:
    """Return the query that one index answers in the order of its rows."""
    if "tag" in driver:
        joined = select(runs).join(run_tags, run_tags.c.run == runs.c.number)
        tagged = joined.where(run_tags.c.tag == driver["tag"], run_tags.c.run >= low, run_tags.c.run < below)
        return tagged.order_by(run_tags.c.run.desc())
    given: list[ColumnElement[bool]] = [runs.c[name] == value for name, value in driver.items()]
    if "status" in driver:
        # What the index leaves out must stand in the query, word for word.
        given.append(runs.c.status != literal_column("'completed'"))
    return (
        select(runs)
        .where(and_(*given, runs.c.number >= low, runs.c.number < below))
        .order_by(runs.c.number.desc())
    )


def _by_words(  # noqa: PLR0913 - as `_part`
    connection: Connection,
    query: RunQuery,
    status: str | None,
    budget: Budget,
    *,
    low: int,
    below: int,
    limit: int,
) -> tuple[list[RunRow], int | None]:
    driver, rest = _split(query, status)
    wanted, looked = driver | rest, 0
    rows: list[RunRow] = []
    chunk = _CHUNK if wanted else min(_CHUNK, limit + 1)
    while True:
        numbers, reached = find_numbers(
            connection, query.text or "", low=low, below=below, limit=chunk, budget=budget
        )
        rows += _fitting(connection, numbers, wanted)
        looked += len(numbers)
        if reached is None or looked >= _WORD_SCAN_LIMIT or len(rows) > limit or budget.spent:
            return rows, reached
        below = reached


def _fitting(connection: Connection, numbers: Sequence[int], wanted: dict[str, Any]) -> list[RunRow]:
    """Return the runs with these numbers that fit the other filters, the newest first."""
    if not numbers:
        return []
    tag = wanted.get("tag")
    query = select(runs).where(
        runs.c.number.in_(numbers),
        *(runs.c[name] == value for name, value in wanted.items() if name != "tag"),
    )
    if tag is not None:
        query = query.where(
            runs.c.number.in_(
                select(run_tags.c.run).where(run_tags.c.tag == tag, run_tags.c.run.in_(numbers))
            )
        )
    found = [run_of(row) for row in connection.execute(query).mappings()]
    return sorted(found, key=lambda row: -row.number)
