"""What one transaction writes: rows to insert, rows to change, and what counts grow by."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Final

from sqlalchemy import Connection

from tidemill.history import search
from tidemill.history.bulk import insert_rows, merge_rows, update_rows
from tidemill.history.tables import (
    ALL,
    Row,
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

SPANS: Final = (60, 3600)
_UPDATED: Final = tuple(
    column.name
    for column in runs.c
    if column.name
    not in {
        "number", "id", "task", "source", "type", "event_id", "event_number", "tags", "key", "parent_id",
        "root_id", "depth", "replayof", "fork_at", "created_at", "start_at", "expires_at",
    }
)  # fmt: skip
"""What changes about a run after its creation."""


@dataclass(slots=True)
class Changes:
    """Rows by table, in the order in which they came; counts by their keys."""

    new_runs: list[Row] = field(default_factory=list)
    changed_runs: list[Row] = field(default_factory=list)
    bodies: list[Row] = field(default_factory=list)
    results: list[Row] = field(default_factory=list)
    tags: list[Row] = field(default_factory=list)
    timeline: list[Row] = field(default_factory=list)
    words: list[tuple[int, float, list[str]]] = field(default_factory=list)
    errors: dict[str, Row] = field(default_factory=dict)
    events: list[Row] = field(default_factory=list)
    event_bodies: list[Row] = field(default_factory=list)
    verdicts: list[Row] = field(default_factory=list)
    deliveries: list[Row] = field(default_factory=list)
    refusals: list[Row] = field(default_factory=list)
    delivery_events: list[Row] = field(default_factory=list)
    quarantine: list[Row] = field(default_factory=list)
    dead: list[Row] = field(default_factory=list)
    logs: list[Row] = field(default_factory=list)
    totals: defaultdict[tuple[str, str], int] = field(default_factory=lambda: defaultdict(int))
    run_counts: dict[tuple[int, str, str], list[float]] = field(default_factory=dict)
    delivery_counts: defaultdict[tuple[int, str, str], int] = field(default_factory=lambda: defaultdict(int))

    def count_run(self, at: float, task: str, status: str, seconds: float = 0.0) -> None:
        """Count a run that was created or ended, or an attempt that failed."""
        for name in (task, ALL):
            slot = self.run_counts.setdefault((int(at) // 60 * 60, name, status), [0, 0.0])
            slot[0] += 1
            slot[1] += seconds

    def count_delivery(self, at: float, source: str, verdict: str, number: int = 1) -> None:
        """Count a request or an event."""
        for name in (source, ALL):
            self.delivery_counts[int(at) // 60 * 60, name, verdict] += number

    def write(self, connection: Connection) -> None:
        """Write everything, in the transaction of a connection."""
        self._write_runs(connection)
        for table, rows in (
            (timeline, self.timeline),
            (run_tags, self.tags),
            (events, self.events),
            (event_bodies, self.event_bodies),
            (verdicts, self.verdicts),
            (deliveries, self.deliveries),
            (refusals, self.refusals),
            (delivery_events, self.delivery_events),
            (quarantine, self.quarantine),
            (dead, self.dead),
            (run_logs, self.logs),
        ):
            insert_rows(connection, table, rows)
        search.index(connection, self.words)
        self._write_errors(connection)
        self._write_counts(connection)

    def _write_runs(self, connection: Connection) -> None:
        insert_rows(connection, runs, self.new_runs)
        update_rows(connection, runs, "number", _UPDATED, self.changed_runs)
        insert_rows(connection, run_bodies, self.bodies)
        given = {name: f"new.{name}" for name in ("result", "result_bytes", "result_blob", "traceback")}
        merge_rows(connection, run_bodies, ("number",), self.results, given)

    def _write_errors(self, connection: Connection) -> None:
        later = "max" if connection.dialect.name == "sqlite" else "greatest"
        given = {
            "message": "new.message",
            "traceback": "new.traceback",
            "last_at": f"{later}(old.last_at, new.last_at)",
            "last_run": "new.last_run",
            "count": "old.count + new.count",
        }
        merge_rows(connection, errors, ("fingerprint",), list(self.errors.values()), given)

    def _write_counts(self, connection: Connection) -> None:
        totals = [
            {"task": task, "status": status, "count": count}
            for (task, status), count in self.totals.items()
            if count
        ]
        merge_rows(connection, run_totals, ("task", "status"), totals, _ADDED)
        for span in SPANS:
            ended: defaultdict[tuple[int, str, str], list[float]] = defaultdict(lambda: [0, 0.0])
            for (at, task, status), (count, seconds) in self.run_counts.items():
                slot = ended[at // span * span, task, status]
                slot[0] += count
                slot[1] += seconds
            counted = [
                {"span": span, "at": at, "task": task, "status": status, "count": slot[0], "seconds": slot[1]}
                for (at, task, status), slot in ended.items()
            ]
            merge_rows(connection, run_counts, ("span", "task", "at", "status"), counted, _ADDED_TIMES)
            came: defaultdict[tuple[int, str, str], int] = defaultdict(int)
            for (at, source, verdict), number in self.delivery_counts.items():
                came[at // span * span, source, verdict] += number
            requests = [
                {"span": span, "at": at, "source": source, "verdict": verdict, "count": number}
                for (at, source, verdict), number in came.items()
            ]
            merge_rows(connection, delivery_counts, ("span", "source", "at", "verdict"), requests, _ADDED)


_ADDED: Final = {"count": "old.count + new.count"}
_ADDED_TIMES: Final = _ADDED | {"seconds": "old.seconds + new.seconds"}
