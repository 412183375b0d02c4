"""The first schema."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make all tables."""
    _runs()
    _run_indices()
    _run_tags()
    _run_bodies()
    _timeline()
    _run_counts()
    _run_totals()
    _errors()
    _error_marks()
    _events()
    _event_bodies()
    _verdicts()
    _deliveries()
    _refusals()
    _delivery_events()
    _quarantine()
    _dead()
    _delivery_counts()
    _positions()
    _facts()
    if op.get_bind().dialect.name == "postgresql":
        _words()


def _partial(name: str, table: str, columns: list[str], where: str) -> None:
    """Make an index of some rows."""
    op.create_index(name, table, columns, postgresql_where=sa.text(where), sqlite_where=sa.text(where))


def _words() -> None:
    """Make PostgreSQL's index of words; SQLite's come and go, one a day."""
    op.create_table(
        "run_words",
        sa.Column("number", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("words", postgresql.TSVECTOR(), nullable=False),
    )
    op.create_index("run_words_by_word", "run_words", ["words"], postgresql_using="gin")


def _runs() -> None:
    op.create_table(
        "runs",
        sa.Column("number", _NUMBER, autoincrement=False, nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("task", sa.String(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("source", sa.String()),
        sa.Column("type", sa.String()),
        sa.Column("event_id", sa.String()),
        sa.Column("event_number", sa.BigInteger()),
        sa.Column("tags", sa.Text()),
        sa.Column("key", sa.String()),
        sa.Column("parent_id", sa.String()),
        sa.Column("root_id", sa.String()),
        sa.Column("depth", sa.SmallInteger(), nullable=False),
        sa.Column("replayof", sa.String()),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("starts", sa.Integer(), nullable=False),
        sa.Column("reopened", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("start_at", sa.Double()),
        sa.Column("expires_at", sa.Double()),
        sa.Column("started_at", sa.Double()),
        sa.Column("claimed_at", sa.Double()),
        sa.Column("changed_at", sa.Double(), nullable=False),
        sa.Column("ended_at", sa.Double()),
        sa.Column("worker", sa.String()),
        sa.Column("until", sa.Double()),
        sa.Column("waits", sa.Text()),
        sa.Column("reason", sa.Text()),
        sa.Column("error_type", sa.String()),
        sa.Column("error_message", sa.Text()),
        sa.Column("fingerprint", sa.String()),
        sa.Column("tail", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("number"),
        sa.UniqueConstraint("id"),
    )


def _run_indices() -> None:
    _partial("runs_by_event", "runs", ["event_number", "number"], "event_number IS NOT NULL")
    _partial("runs_by_fingerprint", "runs", ["fingerprint", "number"], "fingerprint IS NOT NULL")
    _partial("runs_by_parent", "runs", ["parent_id", "number"], "parent_id IS NOT NULL")
    _partial("runs_by_replayof", "runs", ["replayof", "number"], "replayof IS NOT NULL")
    _partial("runs_by_root", "runs", ["root_id", "number"], "root_id IS NOT NULL")
    _partial("runs_by_source", "runs", ["source", "number"], "source IS NOT NULL")
    _partial("runs_by_status", "runs", ["status", "number"], "status <> 'completed'")
    op.create_index("runs_by_task", "runs", ["task", "number"])
    _partial("runs_by_task_status", "runs", ["task", "status", "number"], "status <> 'completed'")
    _partial("runs_by_type", "runs", ["type", "number"], "type IS NOT NULL")


def _run_tags() -> None:
    op.create_table(
        "run_tags",
        sa.Column("tag", sa.String(), nullable=False),
        sa.Column("run", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("tag", "run"),
        sqlite_with_rowid=False,
    )
    op.create_index("run_tags_by_run", "run_tags", ["run"])


def _run_bodies() -> None:
    op.create_table(
        "run_bodies",
        sa.Column("number", _NUMBER, autoincrement=False, nullable=False),
        sa.Column("payload", sa.LargeBinary()),
        sa.Column("payload_bytes", sa.BigInteger(), nullable=False),
        sa.Column("payload_blob", sa.String()),
        sa.Column("result", sa.LargeBinary()),
        sa.Column("result_bytes", sa.BigInteger(), nullable=False),
        sa.Column("result_blob", sa.String()),
        sa.Column("traceback", sa.Text()),
        sa.PrimaryKeyConstraint("number"),
    )


def _timeline() -> None:
    op.create_table(
        "timeline",
        sa.Column("run", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("part", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("until", sa.Double()),
        sa.Column("outcome", sa.String()),
        sa.Column("data", sa.Text()),
        sa.PrimaryKeyConstraint("run", "number", "part"),
        sqlite_with_rowid=False,
    )


def _run_counts() -> None:
    op.create_table(
        "run_counts",
        sa.Column("span", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("task", sa.String(), nullable=False),
        sa.Column("at", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.Column("seconds", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("span", "task", "at", "status"),
        sqlite_with_rowid=False,
    )


def _run_totals() -> None:
    op.create_table(
        "run_totals",
        sa.Column("task", sa.String(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("task", "status"),
        sqlite_with_rowid=False,
    )


def _errors() -> None:
    op.create_table(
        "errors",
        sa.Column("fingerprint", sa.String(), nullable=False),
        sa.Column("task", sa.String(), nullable=False),
        sa.Column("error_type", sa.String(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("traceback", sa.Text()),
        sa.Column("first_at", sa.Double(), nullable=False),
        sa.Column("last_at", sa.Double(), nullable=False),
        sa.Column("last_run", sa.String(), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("fingerprint"),
    )
    op.create_index("errors_by_last", "errors", ["last_at", "fingerprint"])
    op.create_index("errors_by_task", "errors", ["task", "last_at", "fingerprint"])


def _error_marks() -> None:
    op.create_table(
        "error_marks",
        sa.Column("fingerprint", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("by", sa.String(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("fingerprint"),
    )


def _events() -> None:
    op.create_table(
        "events",
        sa.Column("number", _NUMBER, autoincrement=False, nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("type", sa.String(), nullable=False),
        sa.Column("subject", sa.Text()),
        sa.Column("time", sa.String()),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("replayof", sa.String()),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("content_type", sa.String()),
        sa.PrimaryKeyConstraint("number"),
    )
    op.create_index("events_by_id", "events", ["id"])
    op.create_index("events_by_source", "events", ["source", "number"])
    op.create_index("events_by_type", "events", ["type", "number"])


def _event_bodies() -> None:
    op.create_table(
        "event_bodies",
        sa.Column("number", _NUMBER, autoincrement=False, nullable=False),
        sa.Column("facts", sa.Text(), nullable=False),
        sa.Column("body", sa.LargeBinary()),
        sa.Column("blob", sa.String()),
        sa.PrimaryKeyConstraint("number"),
    )


def _verdicts() -> None:
    op.create_table(
        "verdicts",
        sa.Column("event", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("part", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("verdict", sa.String(), nullable=False),
        sa.Column("task", sa.String(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("data", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("event", "number", "part"),
        sqlite_with_rowid=False,
    )
    op.create_index("verdicts_by_number", "verdicts", ["number"])


def _deliveries() -> None:
    op.create_table(
        "deliveries",
        sa.Column("number", _NUMBER, autoincrement=False, nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("verdict", sa.String(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("status", sa.Integer()),
        sa.Column("reason", sa.String()),
        sa.Column("client", sa.String()),
        sa.Column("data", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("number"),
    )
    op.create_index("deliveries_by_source", "deliveries", ["source", "number"])
    _partial("deliveries_by_verdict", "deliveries", ["verdict", "number"], "verdict <> 'accepted'")


def _refusals() -> None:
    op.create_table(
        "refusals",
        sa.Column("number", _NUMBER, autoincrement=False, nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("verdict", sa.String(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("status", sa.Integer()),
        sa.Column("reason", sa.String()),
        sa.Column("client", sa.String()),
        sa.Column("data", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("number"),
    )
    op.create_index("refusals_by_source", "refusals", ["source", "number"])
    op.create_index("refusals_by_verdict", "refusals", ["verdict", "number"])


def _delivery_events() -> None:
    op.create_table(
        "delivery_events",
        sa.Column("event", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("delivery", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("event", "delivery"),
        sqlite_with_rowid=False,
    )
    op.create_index("delivery_events_by_delivery", "delivery_events", ["delivery"])


def _quarantine() -> None:
    op.create_table(
        "quarantine",
        sa.Column("number", _NUMBER, autoincrement=False, nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("type", sa.String(), nullable=False),
        sa.Column("event_id", sa.String(), nullable=False),
        sa.Column("task", sa.String()),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("body", sa.LargeBinary()),
        sa.PrimaryKeyConstraint("number"),
    )
    op.create_index("quarantine_by_event", "quarantine", ["event_id"])
    op.create_index("quarantine_by_key", "quarantine", ["key"])
    op.create_index("quarantine_by_source", "quarantine", ["source", "number"])


def _dead() -> None:
    op.create_table(
        "dead",
        sa.Column("number", _NUMBER, autoincrement=False, nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("task", sa.String(), nullable=False),
        sa.Column("outcome", sa.String(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("error_type", sa.String()),
        sa.Column("error_message", sa.Text()),
        sa.Column("data", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("number"),
    )
    op.create_index("dead_by_id", "dead", ["id"])
    op.create_index("dead_by_task", "dead", ["task", "number"])


def _delivery_counts() -> None:
    op.create_table(
        "delivery_counts",
        sa.Column("span", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("at", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("verdict", sa.String(), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("span", "source", "at", "verdict"),
        sqlite_with_rowid=False,
    )


def _positions() -> None:
    op.create_table(
        "positions",
        sa.Column("stream", sa.String(), nullable=False),
        sa.Column("incarnation", sa.String(), nullable=False),
        sa.Column("base", sa.BigInteger(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("stream"),
    )


def _facts() -> None:
    op.create_table(
        "facts",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
