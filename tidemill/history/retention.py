"""What is deleted after its time: a few rows at a time, so that nobody waits for it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from sqlalchemy import Column, Connection, Table, delete, func, select

from tidemill.history import search
from tidemill.history.bulk import merge_rows
from tidemill.history.database import Database
from tidemill.history.reading import first_since
from tidemill.history.tables import (
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
    run_logs,
    run_tags,
    run_totals,
    runs,
    timeline,
    verdicts,
)

CHUNK: Final = 500
EVERY: Final = 60.0
"""Seconds between two rounds."""
_MINUTES_KEPT: Final = 2 * 86_400.0
_HOURS_KEPT: Final = 400 * 86_400.0
_BY_NUMBER: Final = (events, deliveries, refusals, quarantine, dead, verdicts)
_OF_RUNS: Final = ((timeline, "run"), (run_tags, "run"), (run_bodies, "number"), (runs, "number"))

Step = Callable[[Connection], bool]
"""Deletes a few rows; says whether there is more to delete."""


class Retention:
    """Goes round now and then; each step is small and a transaction of its own.

    Runs are kept for `runs` seconds from their end, all else from its arrival; inputs, results and bodies for
    `bodies` seconds. A run that goes on keeps everything.
    """

    def __init__(
        self, database: Database, *, runs: float, bodies: float, clock: Callable[[], float] = time.time
    ) -> None:
        """Prepare.

        Args:
            database: whose rows are deleted.
            runs: seconds.
            bodies: seconds.
            clock: what time it is.
        """
        self._database = database
        self._keep_runs, self._keep_bodies = runs, min(bodies, runs)
        self._clock = clock
        self._next_at = float("-inf")
        self._work: list[Step] = []

    def prune(self, seconds: float = 0.0) -> bool:
        """Do what is due for so long, one step at least; say whether there is more to do at once.

        Raises:
            HistoryError: the database can't be used.
        """
        until = time.monotonic() + seconds
        now = self._clock()
        if not self._work:
            if now < self._next_at:
                return False
            self._next_at = now + EVERY
            old, stale = now - self._keep_runs, now - self._keep_bodies
            self._work = steps(now, runs_before=old, bodies_before=stale)
        while self._work:
            with self._database.writing() as connection:
                if not self._work[0](connection):
                    self._work.pop(0)
            if time.monotonic() >= until:
                break
        return bool(self._work)


def steps(now: float, *, runs_before: float, bodies_before: float) -> list[Step]:
    """Return what a round does, one after the other."""
    return [
        _Words(bodies_before),
        _Ended(run_bodies, bodies_before),
        _Ended(runs, runs_before),
        _Arrived(event_bodies, bodies_before, events),
        _Arrived(run_logs, bodies_before),
        *(_Arrived(table, runs_before) for table in _BY_NUMBER),
        lambda connection: _forget_counts(connection, now, runs_before),
    ]


class _Words:
    """Forgets the words of what was created before a moment."""

    def __init__(self, before: float) -> None:
        self._before = before
        self._below: int | None = None

    def __call__(self, connection: Connection) -> bool:
        if self._below is None:
            self._below = first_since(connection, runs, self._before)
        return search.forget(connection, before=self._before, below=self._below, limit=CHUNK) > 1


class _Ended:
    """Deletes runs, or their bodies, that ended before a moment: among those so old few go on.

    A round looks once at each that was created before it, the oldest one first.
    """

    def __init__(self, table: Table, before: float) -> None:
        self._table = table
        self._before = before
        self._next = 0
        self._below: int | None = None

    def __call__(self, connection: Connection) -> bool:
        if self._below is None:
            self._below = first_since(connection, runs, self._before)
        number = self._table.c.number
        look = select(number).where(number >= self._next, number < self._below)
        numbers = connection.execute(look.order_by(number).limit(CHUNK)).scalars().all()
        if numbers:
            self._next = numbers[-1] + 1
            # By their numbers: of a join PostgreSQL may go through all runs before the first of them.
            ended = select(runs.c.number, runs.c.task, runs.c.status)
            old = ended.where(runs.c.number.in_(numbers), runs.c.ended_at < self._before)
            gone = connection.execute(old).all()
            if gone:
                self._delete(connection, numbers, set(numbers).difference(row[0] for row in gone))
                if self._table is runs:
                    _uncount(connection, Counter((row[1], row[2]) for row in gone))
        return len(numbers) == CHUNK

    def _delete(self, connection: Connection, numbers: Sequence[int], stay: set[int]) -> None:
        for table, name in _OF_RUNS if self._table is runs else ((self._table, "number"),):
            column = table.c[name]
            gone = delete(table).where(column >= numbers[0], column <= numbers[-1])
            connection.execute(gone.where(column.not_in(stay)) if stay else gone)


class _Arrived:
    """Deletes what arrived before a moment; `times` is the table that says when, where it is another one."""

    def __init__(self, table: Table, before: float, times: Table | None = None) -> None:
        self._table = table
        self._times = times if times is not None else table
        self._before = before
        self._next = 0
        self._below: int | None = None

    def __call__(self, connection: Connection) -> bool:
        if self._below is None:
            self._below = first_since(connection, self._times, self._before)
        number = self._table.c.number
        look = select(number).where(number >= self._next, number < self._below)
        numbers = connection.execute(look.order_by(number).limit(CHUNK)).scalars().all()
        if numbers:
            first, last, self._next = numbers[0], numbers[-1], numbers[-1] + 1
            if self._table is deliveries:
                column = delivery_events.c.delivery
                connection.execute(delete(delivery_events).where(column >= first, column <= last))
            connection.execute(delete(self._table).where(number >= first, number <= last))
        return len(numbers) == CHUNK


def _uncount(connection: Connection, gone: Counter[tuple[str, str]]) -> None:
    """Take runs off the counts of those that there are."""
    rows = [{"task": task, "status": status, "count": -many} for (task, status), many in gone.items()]
    merge_rows(connection, run_totals, ("task", "status"), rows, {"count": "old.count + new.count"})


def _forget_counts(connection: Connection, now: float, old: float) -> bool:
    for table, name in ((run_counts, "task"), (delivery_counts, "source")):
        for span, kept in ((60, _MINUTES_KEPT), (3600, _HOURS_KEPT)):
            gone = table.c.span == span, table.c.at < int(now - kept)
            for given in _names(connection, table.c[name], span):
                connection.execute(delete(table).where(*gone, table.c[name] == given))
    connection.execute(delete(errors).where(errors.c.last_at < old))
    return False


def _names(connection: Connection, column: Column[str], span: int) -> Iterator[str]:
    """Yield a column's values one after the other: each is looked up behind the one before it."""
    query = select(func.min(column)).where(column.table.c.span == span)
    found = connection.execute(query).scalar_one()
    while found is not None:
        yield found
        found = connection.execute(query.where(column > found)).scalar_one()
