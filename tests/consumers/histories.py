"""What the journals of a namespace say, to hold a history against: folded by the protocol itself."""

from __future__ import annotations

from collections import Counter
from typing import Any

import orjson
from sqlalchemy import func, select

from tests.consumers.conftest import Mill
from tidemill.history import tables
from tidemill.history.database import Database
from tidemill.kernel.jetstream.records import scan
from tidemill.kernel.protocol.records import Created, Entry, Record, Step, Suspend, decode
from tidemill.kernel.protocol.state import State, fold
from tidemill.kernel.services.run_view import RunView


async def journals(mill: Mill) -> dict[str, list[Entry]]:
    """Return all journals, in the order of the stream; closed ones are left out."""
    found: dict[str, list[Entry]] = {}
    stream = mill.names.stream("JOURNAL")
    async for record in scan(mill.broker.bus, stream, mill.names.subject("journal", ">")):
        entry = Entry(record.seq, decode(record.body), record.at)
        found.setdefault(record.subject.rpartition(".")[2], []).append(entry)
    return {
        run: entries
        for run, entries in found.items()
        if entries[-1].record is not None and isinstance(entries[0].record, Created)
    }


def check(database: Database, journals: dict[str, list[Entry]]) -> None:
    """Hold a history against journals: every run once, as it is, with all that happened to it."""
    with database.reading(60) as connection:
        rows = {row["id"]: dict(row) for row in connection.execute(select(tables.runs)).mappings()}
        told = Counter(connection.execute(select(tables.timeline.c.run, tables.timeline.c.kind)).all())
        totals = {
            (row[0], row[1]): row[2]
            for row in connection.execute(
                select(tables.run_totals.c.task, tables.run_totals.c.status, tables.run_totals.c.count)
            )
            if row[2]
        }
        counts = {
            (row[0], row[1]): row[2]
            for row in connection.execute(
                select(
                    tables.run_counts.c.task, tables.run_counts.c.status, func.sum(tables.run_counts.c.count)
                )
                .where(tables.run_counts.c.span == 60, tables.run_counts.c.task != tables.ALL)
                .group_by(tables.run_counts.c.task, tables.run_counts.c.status)
            )
        }
        results = {
            row[0]: row[1]
            for row in connection.execute(select(tables.run_bodies.c.number, tables.run_bodies.c.result))
        }
    assert set(journals) <= set(rows), f"{len(set(journals) - set(rows))} runs are missing"
    for run, entries in journals.items():
        _check_run(rows[run], run, entries, told, results)
    if set(journals) == set(rows):
        assert totals == _totals(journals)
        assert counts == _counts(journals)


def _check_run(
    row: dict[str, Any], run: str, entries: list[Entry], told: Counter[Any], results: dict[int, bytes | None]
) -> None:
    state = fold(entries)
    view = RunView(run, state, tuple(entries))
    assert (row["task"], row["status"], row["tail"]) == (state.task, view.status, state.tail)
    assert (row["created_at"], row["changed_at"]) == (state.began_at, state.changed_at)
    assert (row["attempts"], row["starts"]) == (state.attempts, state.starts)
    kinds = Counter(type(entry.record) for entry in entries if entry.record is not None)
    assert told[row["number"], "step"] == kinds[Step]
    assert told[row["number"], "suspend"] == kinds[Suspend]
    assert told[row["number"], "claim"] == max(0, state.starts - 1)
    if state.end is not None:
        assert row["ended_at"] == entries[-1].at
        kept = results.get(row["number"])
        assert (orjson.loads(kept) if kept else None) == state.end.result


def _totals(journals: dict[str, list[Entry]]) -> dict[tuple[str, str], int]:
    states = [fold(entries) for entries in journals.values()]
    return dict(Counter((state.task, str(state.status)) for state in states))


def _counts(journals: dict[str, list[Entry]]) -> dict[tuple[str, str], int]:
    found: Counter[tuple[str, str]] = Counter()
    for entries in journals.values():
        state = State()
        for entry in entries:
            state.apply(entry.seq, entry.record, entry.at)
            if (what := _counted(entry.record)) is not None:
                found[state.task, what] += 1
    return dict(found)


def _counted(record: Record | None) -> str | None:
    if isinstance(record, Created):
        return "created"
    if isinstance(record, Suspend):
        return "attempt_failed" if record.wait == "retry" else None
    return getattr(record, "outcome", None) if record is not None and record.KIND == "end" else None
