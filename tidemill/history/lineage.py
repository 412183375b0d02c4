"""From a request to its last grandchild."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlalchemy import Connection, select

from tidemill.history.event_queries import deliveries_of, event_detail, events_with
from tidemill.history.reading import run_of
from tidemill.history.rows import EventRow, Lineage, RunRow
from tidemill.history.run_details import FAMILY_LIMIT, family, find_run
from tidemill.history.tables import runs

_MOST_REPLAYS: Final = 20


def lineage(connection: Connection, name: str) -> Lineage:
    """Return everything that belongs together with a run's or an event's id.

    A run's is that of the event at its root; where no event started the root, it begins with the root run.

    Raises:
        NotFoundError: the history has no such run or event.
    """
    if not name.startswith("run_"):
        event = event_detail(connection, name).event
        return _of_events(connection, [event], event.runs)
    run = find_run(connection, name)
    root = _root(connection, run)
    found = events_with(connection, [root.event_number]) if root.event_number is not None else []
    return _of_events(connection, found, (root,))


def _of_events(connection: Connection, found: Sequence[EventRow], begun: Sequence[RunRow]) -> Lineage:
    """Return events and the trees of the runs that they started, or of others that are given."""
    roots = {run.id: run for event in found for run in event.runs} | {run.id: run for run in begun}
    told = deliveries_of(connection, [event.number for event in found])
    trees: list[RunRow] = []
    more = False
    for root in sorted(roots.values(), key=lambda run: run.number):
        below = family(connection, "root_id", root.id)
        more = more or len(below) == FAMILY_LIMIT
        trees += [root, *below]
        if len(trees) > FAMILY_LIMIT:
            more = True
            break
    return Lineage(deliveries=tuple(told), events=tuple(found), runs=tuple(trees[:FAMILY_LIMIT]), more=more)


def _root(connection: Connection, run: RunRow) -> RunRow:
    """Return the run at the root of a tree; a copy of a run (a replay) is a root of its own."""
    if run.root_id is None:
        return run
    row = connection.execute(select(runs).where(runs.c.id == run.root_id)).mappings().one_or_none()
    return run_of(row) if row is not None else run
