"""Forgetting: what is older than the settings keep is deleted, a few hundred rows at a time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, Final

from sqlalchemy import Column, Connection, Table, delete, func, select, update

from tidemill.history import search
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
_BY_NUMBER: Final = (events, deliveries, refusals, quarantine, dead)


class Retention:
    """Goes round now and then; each call of `prune` does one small step in a transaction of its own.

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
        self._work: list[Callable[[Connection], bool]] = []
        self._from: dict[str, int] = {}

    def prune(self) -> bool:
        """Do the next step, where one is due; say whether there is more to do at once.

        Raises:
            HistoryError: the database can't be used.
        """
        now = self._clock()
        if not self._work:
            if now < self._next_at:
                return False
            self._begin(now)
        with self._database.writing() as connection:
            if not self._work[0](connection):
                self._work.pop(0)
        return bool(self._work)

    def _begin(self, now: float) -> None:
        self._next_at = now + EVERY
        self._from = {}
        old, stale = now - self._keep_runs, now - self._keep_bodies
        self._work = [
            lambda connection: self._forget_words(connection, stale),
            lambda connection: self._forget_bodies(connection, stale),
            lambda connection: self._forget_runs(connection, old),
            lambda connection: _forget_events_bodies(connection, stale),
            _forgetter(run_logs, stale),
            *(_forgetter(table, old) for table in _BY_NUMBER),
            lambda connection: _forget_verdicts(connection, old),
            lambda connection: _forget_counts(connection, now, old),
        ]

    def _forget_words(self, connection: Connection, before: float) -> bool:
        below = first_since(connection, runs, before)
        return search.forget(connection, before=before, below=below, limit=CHUNK) > 1

    def _forget_bodies(self, connection: Connection, before: float) -> bool:
        """Delete the next bodies of runs that ended before a moment; return whether more may follow."""
        found = self._next_old(connection, run_bodies, before)
        if found:
            connection.execute(delete(run_bodies).where(run_bodies.c.number.in_(found)))
        return self._from["run_bodies"] >= 0

    def _next_old(self, connection: Connection, table: Table, before: float) -> list[int]:
        """Return the next numbers of a table whose runs ended before a moment.

        A round looks at all that were created before it, once; those that go on are few.
        """
        start = self._from.get(table.name, 0)
        look = (
            select(table.c.number)
            .where(table.c.number >= start, table.c.number < first_since(connection, runs, before))
            .order_by(table.c.number)
            .limit(CHUNK)
        )
        numbers = list(connection.execute(look).scalars())
        self._from[table.name] = numbers[-1] + 1 if len(numbers) == CHUNK else -1
        ended = select(runs.c.number).where(runs.c.number.in_(numbers), runs.c.ended_at < before)
        return list(connection.execute(ended).scalars()) if numbers else []

    def _forget_runs(self, connection: Connection, before: float) -> bool:
        found = self._next_old(connection, runs, before)
        if found:
            gone = (
                select(runs.c.task, runs.c.status, func.count())
                .where(runs.c.number.in_(found))
                .group_by(runs.c.task, runs.c.status)
            )
            for task, status, count in connection.execute(gone).all():
                connection.execute(
                    update(run_totals)
                    .where(run_totals.c.task == task, run_totals.c.status == status)
                    .values(count=run_totals.c.count - count)
                )
            for table, column in ((timeline, "run"), (run_tags, "run"), (run_bodies, "number")):
                connection.execute(delete(table).where(table.c[column].in_(found)))
            connection.execute(delete(runs).where(runs.c.number.in_(found)))
        return self._from["runs"] >= 0


def _forget_events_bodies(connection: Connection, before: float) -> bool:
    """Take their bodies from old events; their attributes stay as long as they do."""
    below = first_since(connection, events, before)
    look = (
        select(event_bodies.c.number)
        .where(event_bodies.c.number < below)
        .order_by(event_bodies.c.number)
        .limit(CHUNK)
    )
    return _delete(connection, event_bodies, look)


def _forgetter(table: Table, before: float) -> Callable[[Connection], bool]:
    def forget(connection: Connection) -> bool:
        below = first_since(connection, table, before)
        look = select(table.c.number).where(table.c.number < below).order_by(table.c.number).limit(CHUNK)
        return _delete(connection, table, look)

    return forget


def _forget_verdicts(connection: Connection, before: float) -> bool:
    below = first_since(connection, verdicts, before)
    look = select(verdicts.c.number).where(verdicts.c.number < below)
    return _delete(connection, verdicts, look.order_by(verdicts.c.number).limit(CHUNK))


def _delete(connection: Connection, table: Table, look: Any) -> bool:
    numbers = list(connection.execute(look).scalars())
    if numbers:
        if table is deliveries:
            connection.execute(delete(delivery_events).where(delivery_events.c.delivery.in_(numbers)))
        connection.execute(delete(table).where(table.c.number.in_(numbers)))
    return len(numbers) == CHUNK


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
