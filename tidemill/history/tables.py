"""The tables of the history, the same in SQLite and in PostgreSQL.

What comes from a stream is keyed by `number`: the message's sequence in its stream, moved up where the
stream was created anew. Numbers grow with time, so that a list's order, its pages and its ranges of time all
need the key alone. Moments are seconds since the epoch. Nothing here may be needed to execute a run.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Column,
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    String,
    Table,
    Text,
    text,
)

metadata: Final = MetaData()
# An alias of SQLite's rowid only where its type is INTEGER: a row then needs no second tree.
_Number = BigInteger().with_variant(Integer, "sqlite")


def _number() -> Column[int]:
    return Column("number", _Number, primary_key=True, autoincrement=False)


def _some(name: str, table: Table, column: str, *, key: str = "number") -> Index:
    """Index a column that few rows have a value in, and only those rows."""
    given = text(f"{column} IS NOT NULL")
    columns = [table.c[column]] if column == key else [table.c[column], table.c[key]]
    return Index(name, *columns, postgresql_where=given, sqlite_where=given)


runs: Final = Table(
    "runs",
    metadata,
    _number(),
    Column("id", String, nullable=False, unique=True),
    Column("task", String, nullable=False),
    Column("status", String, nullable=False),
    Column("source", String),
    Column("type", String),
    Column("event_id", String),
    Column("event_number", BigInteger),
    Column("tags", Text),
    Column("key", String),
    Column("parent_id", String),
    Column("root_id", String),
    Column("depth", SmallInteger, nullable=False),
    Column("replayof", String),
    Column("fork_at", String),
    Column("attempts", Integer, nullable=False),
    Column("starts", Integer, nullable=False),
    Column("reopened", Integer, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("start_at", Double),
    Column("expires_at", Double),
    Column("started_at", Double),
    Column("claimed_at", Double),
    Column("changed_at", Double, nullable=False),
    Column("ended_at", Double),
    Column("worker", String),
    Column("until", Double),
    Column("waits", Text),
    Column("reason", Text),
    Column("error_type", String),
    Column("error_message", Text),
    Column("fingerprint", String),
    Column("tail", BigInteger, nullable=False),
)
"""One row a run. `attempts` counts failed ones since the last opening, `starts` all claims; `waits` says what
a suspended run waits for; `fork_at` at which part or record the run in `replayof` was forked; `tail` is the
number of the newest record that was taken in."""

_LIVE = text("status <> 'completed'")
Index("runs_by_task", runs.c.task, runs.c.number)
# Nearly all runs are completed ones: an index that leaves them out costs a run without trouble nothing.
Index("runs_by_status", runs.c.status, runs.c.number, postgresql_where=_LIVE, sqlite_where=_LIVE)
Index(
    "runs_by_task_status",
    runs.c.task,
    runs.c.status,
    runs.c.number,
    postgresql_where=_LIVE,
    sqlite_where=_LIVE,
)
_some("runs_by_source", runs, "source")
_some("runs_by_type", runs, "type")
_some("runs_by_event", runs, "event_number")
_some("runs_by_parent", runs, "parent_id")
_some("runs_by_root", runs, "root_id")
_some("runs_by_replayof", runs, "replayof")
_some("runs_by_fingerprint", runs, "fingerprint")

run_tags: Final = Table(
    "run_tags",
    metadata,
    Column("tag", String, primary_key=True),
    Column("run", BigInteger, primary_key=True, autoincrement=False),
    sqlite_with_rowid=False,
)
Index("run_tags_by_run", run_tags.c.run)

run_bodies: Final = Table(
    "run_bodies",
    metadata,
    _number(),
    Column("payload", LargeBinary),
    Column("payload_bytes", BigInteger, nullable=False),
    Column("payload_blob", String),
    Column("result", LargeBinary),
    Column("result_bytes", BigInteger, nullable=False),
    Column("result_blob", String),
    Column("traceback", Text),
)
"""A run's input and result, their first bytes where they are long. An event's body stands with the event."""

timeline: Final = Table(
    "timeline",
    metadata,
    Column("run", BigInteger, primary_key=True, autoincrement=False),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("part", SmallInteger, primary_key=True, autoincrement=False),
    Column("kind", String, nullable=False),
    Column("key", String, nullable=False),
    Column("at", Double, nullable=False),
    Column("until", Double),
    Column("outcome", String),
    Column("data", Text),
    sqlite_with_rowid=False,
)
"""What happened to a run, a row for each record of its journal, or for each part of one that has several.
Its creation, its first claim and its newest end stand in `runs` alone."""

run_logs: Final = Table(
    "run_logs",
    metadata,
    _number(),
    Column("run", String, nullable=False),
    Column("at", Double, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("body", LargeBinary, nullable=False),
)
"""What runs have logged, a row for each message of the stream; `run` is the run's id."""
Index("run_logs_by_run", run_logs.c.run, run_logs.c.number)

ALL: Final = "*"
run_counts: Final = Table(
    "run_counts",
    metadata,
    Column("span", Integer, primary_key=True, autoincrement=False),
    Column("task", String, primary_key=True),
    Column("at", BigInteger, primary_key=True, autoincrement=False),
    Column("status", String, primary_key=True),
    Column("count", BigInteger, nullable=False),
    Column("seconds", Double, nullable=False),
    sqlite_with_rowid=False,
)
"""How many runs of a task were `created` or ended with a status in the `span` seconds from `at` on (60 and
3600), and how long those that ended had taken together. `attempt_failed` counts attempts. `ALL` stands for
all tasks together."""

run_totals: Final = Table(
    "run_totals",
    metadata,
    Column("task", String, primary_key=True),
    Column("status", String, primary_key=True),
    Column("count", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
"""How many rows of `runs` a task has in a status now."""

errors: Final = Table(
    "errors",
    metadata,
    Column("fingerprint", String, primary_key=True),
    Column("task", String, nullable=False),
    Column("error_type", String, nullable=False),
    Column("message", Text, nullable=False),
    Column("traceback", Text),
    Column("first_at", Double, nullable=False),
    Column("last_at", Double, nullable=False),
    Column("last_run", String, nullable=False),
    Column("count", BigInteger, nullable=False),
)
"""Errors of failed attempts and runs, those together that have the same fingerprint."""
Index("errors_by_last", errors.c.last_at, errors.c.fingerprint)
Index("errors_by_task", errors.c.task, errors.c.last_at, errors.c.fingerprint)

error_marks: Final = Table(
    "error_marks",
    metadata,
    Column("fingerprint", String, primary_key=True),
    Column("state", String, nullable=False),
    Column("at", Double, nullable=False),
    Column("by", String, nullable=False),
    Column("note", Text, nullable=False),
)
"""What people decided about errors: `resolved` or `ignored`. The only table that no stream can bring back."""

events: Final = Table(
    "events",
    metadata,
    _number(),
    Column("id", String, nullable=False),
    Column("key", String, nullable=False),
    Column("source", String, nullable=False),
    Column("type", String, nullable=False),
    Column("subject", Text),
    Column("time", String),
    Column("at", Double, nullable=False),
    Column("replayof", String),
    Column("bytes", BigInteger, nullable=False),
    Column("content_type", String),
)
"""Accepted events; `key` is the message id under which duplicates were found."""
Index("events_by_id", events.c.id)
Index("events_by_source", events.c.source, events.c.number)
Index("events_by_type", events.c.type, events.c.number)

event_bodies: Final = Table(
    "event_bodies",
    metadata,
    _number(),
    Column("facts", Text, nullable=False),
    Column("body", LargeBinary),
    Column("blob", String),
)
"""An event's attributes with its headers, and the first bytes of its body."""

verdicts: Final = Table(
    "verdicts",
    metadata,
    Column("event", BigInteger, primary_key=True, autoincrement=False),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("part", SmallInteger, primary_key=True, autoincrement=False),
    Column("verdict", String, nullable=False),
    Column("task", String, nullable=False),
    Column("at", Double, nullable=False),
    Column("data", Text, nullable=False),
    sqlite_with_rowid=False,
)
"""What the router decided about an event and a task, other than to start a run."""
Index("verdicts_by_number", verdicts.c.number)


def _log(name: str) -> Table:
    """Return a table of requests; a request's number is its piece's times `LINES`, plus its line."""
    return Table(
        name,
        metadata,
        _number(),
        Column("id", String, nullable=False),
        Column("source", String, nullable=False),
        Column("verdict", String, nullable=False),
        Column("at", Double, nullable=False),
        Column("status", Integer),
        Column("reason", String),
        Column("client", String),
        Column("data", Text, nullable=False),
    )


LINES: Final = 1 << 16
deliveries: Final = _log("deliveries")
"""Requests that brought something: accepted, duplicate, quarantined."""
refusals: Final = _log("refusals")
"""All other requests, as far as they were logged; `source` is empty where there is none of that name."""
_NOT_ACCEPTED = text("verdict <> 'accepted'")
Index("deliveries_by_source", deliveries.c.source, deliveries.c.number)
Index(
    "deliveries_by_verdict",
    deliveries.c.verdict,
    deliveries.c.number,
    postgresql_where=_NOT_ACCEPTED,
    sqlite_where=_NOT_ACCEPTED,
)
Index("refusals_by_source", refusals.c.source, refusals.c.number)
Index("refusals_by_verdict", refusals.c.verdict, refusals.c.number)

delivery_events: Final = Table(
    "delivery_events",
    metadata,
    Column("event", BigInteger, primary_key=True, autoincrement=False),
    Column("delivery", BigInteger, primary_key=True, autoincrement=False),
    sqlite_with_rowid=False,
)
"""Which request brought which event, or brought it again."""
Index("delivery_events_by_delivery", delivery_events.c.delivery)

quarantine: Final = Table(
    "quarantine",
    metadata,
    _number(),
    Column("key", String, nullable=False),
    Column("kind", String, nullable=False),
    Column("source", String, nullable=False),
    Column("type", String, nullable=False),
    Column("event_id", String, nullable=False),
    Column("task", String),
    Column("at", Double, nullable=False),
    Column("reason", Text, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("body", LargeBinary),
)
"""What has ever been put into quarantine; what still stands there the broker knows."""
Index("quarantine_by_key", quarantine.c.key)
Index("quarantine_by_source", quarantine.c.source, quarantine.c.number)
Index("quarantine_by_event", quarantine.c.event_id)

dead: Final = Table(
    "dead",
    metadata,
    _number(),
    Column("id", String, nullable=False),
    Column("task", String, nullable=False),
    Column("outcome", String, nullable=False),
    Column("at", Double, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("error_type", String),
    Column("error_message", Text),
    Column("data", Text, nullable=False),
)
"""Dead letters: what was given up on, with every attempt's error."""
Index("dead_by_id", dead.c.id)
Index("dead_by_task", dead.c.task, dead.c.number)

delivery_counts: Final = Table(
    "delivery_counts",
    metadata,
    Column("span", Integer, primary_key=True, autoincrement=False),
    Column("source", String, primary_key=True),
    Column("at", BigInteger, primary_key=True, autoincrement=False),
    Column("verdict", String, primary_key=True),
    Column("count", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
"""How many requests of a source had a verdict in the `span` seconds from `at` on. `event` counts accepted
events, `pair_…` what the router decided, `drift` what differed from what was known."""

positions: Final = Table(
    "positions",
    metadata,
    Column("stream", String, primary_key=True),
    Column("incarnation", String, nullable=False),
    Column("base", BigInteger, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("at", Double, nullable=False),
)
"""Up to which sequence of a stream everything is here; a message's number is `base` plus its sequence.
`incarnation` is when the stream was created: another one begins anew."""

facts: Final = Table(
    "facts",
    metadata,
    Column("name", String, primary_key=True),
    Column("value", Text, nullable=False),
)
"""What the database knows of itself, like its id."""

Row = dict[str, Any]
