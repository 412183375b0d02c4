"""Counts and errors: what an overview shows, without counting rows."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

from sqlalchemy import Connection, Float, cast, delete, select, tuple_
from sqlalchemy.dialects import postgresql, sqlite

from tidemill.history.cursors import Page, read_cursor, write_cursor
from tidemill.history.rows import Bucket, ErrorGroup, Position
from tidemill.history.scanning import PAGE_LIMIT, SCAN_LIMIT
from tidemill.history.tables import (
    ALL,
    delivery_counts,
    error_marks,
    errors,
    positions,
    run_counts,
    run_totals,
)
from tidemill.kernel.errors import NotFoundError, PayloadError

MINUTE: Final = 60
HOUR: Final = 3_600
_MOST: Final = 50_000
_STATES: Final = ("open", "resolved", "ignored", "reopened")
ErrorState = Literal["open", "resolved", "ignored", "reopened"]


def totals(connection: Connection, *, task: str | None = None) -> dict[str, dict[str, int]]:
    """Return how many runs each task has in each status now: `{task: {status: count}}`."""
    query = select(run_totals).where(run_totals.c.count != 0).limit(_MOST)
    if task is not None:
        query = query.where(run_totals.c.task == task)
    found: dict[str, dict[str, int]] = {}
    for row in connection.execute(query).mappings():
        found.setdefault(row["task"], {})[row["status"]] = row["count"]
    return found


def run_rates(
    connection: Connection, *, span: int, since: float, until: float | None = None, task: str | None = None
) -> list[Bucket]:
    """Return how many runs were `created` and ended, by task and status, in each minute or hour.

    Args:
        connection: where to look.
        span: 60 or 3600.
        since: from this moment on.
        until: before this moment.
        task: of this task only; without one the sums over all tasks, with an empty name.

    Raises:
        PayloadError: there are no counts of that span.
    """
    table, begin, end = run_counts, *_range(span, since, until)
    query = (
        select(table.c.at, table.c.status, table.c.count, table.c.seconds)
        .where(table.c.span == span, table.c.task == (task or ALL), table.c.at >= begin, table.c.at < end)
        .order_by(table.c.at)
        .limit(_MOST)
    )
    return [
        Bucket(at=at, name=task or "", what=status, count=count, seconds=seconds)
        for at, status, count, seconds in connection.execute(query)
    ]


def delivery_rates(
    connection: Connection, *, span: int, since: float, until: float | None = None, source: str | None = None
) -> list[Bucket]:
    """Return how many requests of a source, or of all together, had each verdict in each minute or hour.

    `event` counts accepted events, `pair_filtered` and the like what the router decided, `drift` what
    differed from what was known.

    Raises:
        PayloadError: there are no counts of that span.
    """
    table, begin, end = delivery_counts, *_range(span, since, until)
    name = source if source is not None else ALL
    query = (
        select(table.c.at, table.c.verdict, table.c.count)
        .where(table.c.span == span, table.c.source == name, table.c.at >= begin, table.c.at < end)
        .order_by(table.c.at)
        .limit(_MOST)
    )
    return [
        Bucket(at=at, name=source or "", what=verdict, count=count)
        for at, verdict, count in connection.execute(query)
    ]


def _range(span: int, since: float, until: float | None) -> tuple[int, int]:
    if span not in (MINUTE, HOUR):
        raise PayloadError(f"there are no counts of {span} seconds", hint="ask for 60 or 3600")
    return int(since // span * span), int(until if until is not None else 2**40)


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorQuery:
    """Which groups of errors: of a task, and in a state (`open` is what came after any mark)."""

    task: str | None = None
    state: ErrorState | None = None


def list_errors(
    connection: Connection, query: ErrorQuery, *, cursor: str | None = None, limit: int = 50
) -> Page[ErrorGroup]:
    """Return a page of errors, those that came last first.

    Raises:
        PayloadError: the cursor is another query's, or there is no such state.
    """
    if query.state not in (None, *_STATES):
        raise PayloadError(f"there is no state {query.state!r}", hint=f"it is {' or '.join(_STATES)}")
    limit = max(1, min(limit, PAGE_LIMIT))
    place = read_cursor(asdict(query), cursor, (float, str))
    listed = select(errors).order_by(errors.c.last_at.desc(), errors.c.fingerprint.desc())
    if query.task is not None:
        listed = listed.where(errors.c.task == query.task)
    if place is not None:
        listed = listed.where(
            errors.c.last_at <= place[0],
            tuple_(errors.c.last_at, errors.c.fingerprint) < (cast(place[0], Float(53)), place[1]),
        )
    found: list[ErrorGroup] = []
    batch = listed.limit(limit + 1 if query.state is None else min(SCAN_LIMIT, 20 * limit))
    rows = connection.execute(batch).mappings().all()
    marks = _marks(connection, [row["fingerprint"] for row in rows])
    groups = [_group(row, marks.get(row["fingerprint"])) for row in rows]
    found = [group for group in groups if query.state in (None, group.state)]
    last: ErrorGroup | None = found[limit - 1] if len(found) > limit else None
    if last is None and query.state is not None and len(rows) == min(SCAN_LIMIT, 20 * limit):
        last = groups[-1]
    more = write_cursor(asdict(query), [float(last.last_at), last.fingerprint]) if last else None
    return Page(tuple(found[:limit]), more)


def error_group(connection: Connection, fingerprint: str) -> ErrorGroup:
    """Return one group of errors.

    Raises:
        NotFoundError: there is none.
    """
    row = connection.execute(select(errors).where(errors.c.fingerprint == fingerprint)).mappings().first()
    if row is None:
        raise NotFoundError(f"the history has no error {fingerprint!r}", hint="look at the list of errors")
    return _group(row, _marks(connection, [fingerprint]).get(fingerprint))


def mark_error(
    connection: Connection, fingerprint: str, state: ErrorState, *, by: str, note: str = ""
) -> ErrorGroup:
    """Mark a group of errors as `resolved` or `ignored`, or take the mark away with `open`.

    Raises:
        NotFoundError: there is no such group.
        PayloadError: nobody can set that state.
    """
    error_group(connection, fingerprint)
    if state not in ("open", "resolved", "ignored"):
        raise PayloadError(f"nobody can set {state!r}", hint="set open, resolved or ignored")
    connection.execute(delete(error_marks).where(error_marks.c.fingerprint == fingerprint))
    if state != "open":
        made = {"fingerprint": fingerprint, "state": state, "at": time.time(), "by": by, "note": note}
        insert = (sqlite if connection.dialect.name == "sqlite" else postgresql).insert(error_marks)
        connection.execute(insert.values(made).on_conflict_do_nothing())
    return error_group(connection, fingerprint)


def where_it_stands(connection: Connection) -> list[Position]:
    """Return how far each stream has been taken in."""
    rows = connection.execute(select(positions).order_by(positions.c.stream)).mappings()
    return [Position(stream=row["stream"], seq=row["seq"], at=row["at"]) for row in rows]


def _marks(connection: Connection, fingerprints: Sequence[str]) -> dict[str, Any]:
    query = select(error_marks).where(error_marks.c.fingerprint.in_(fingerprints))
    return {row["fingerprint"]: row for row in connection.execute(query).mappings()}


def _group(row: Any, mark: Any) -> ErrorGroup:
    group = {
        "fingerprint": row["fingerprint"],
        "task": row["task"],
        "type": row["error_type"],
        "message": row["message"],
        "traceback": row["traceback"] or "",
        "first_at": row["first_at"],
        "last_at": row["last_at"],
        "last_run": row["last_run"],
        "count": row["count"],
    }
    if mark is None:
        return ErrorGroup(**group)
    again = mark["state"] == "resolved" and row["last_at"] > mark["at"]
    return ErrorGroup(
        **group,
        state="reopened" if again else mark["state"],
        marked_at=mark["at"],
        marked_by=mark["by"],
        note=mark["note"],
    )
